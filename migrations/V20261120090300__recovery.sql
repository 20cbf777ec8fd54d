-- Why: what died, what was never told and what waits for nothing is put right by whoever keeps time.
-- hub_recover calls what hub_errands name.

-- Outages ---------------------------------------------------------------------------------------------------

-- When whoever keeps time was here last. That it comes later than it was to tells of an outage.
create table hub_internal.rounds (
  ran_at      timestamptz,
  due_at      timestamptz,
  outage_from timestamptz,
  outage_to   timestamptz,
  one         boolean primary key default true,
  constraint rounds_one_check check (one)
);
comment on table hub_internal.rounds is
  'One row: the last round of hub_recover, when the next was due at the latest, and the last outage: from the '
  'round before it to the round after it.';

alter table hub_internal.rounds enable row level security;

insert into hub_internal.rounds default values;

-- Notes that a round begins. Gives the moment from which on leases that ran out are left alone; null for none.
-- While the hub was away, or frozen with all that it is, nobody could renew a lease, and a device delivers
-- once it is back. A round is due when the next lease ends, and after a minute (the keeper's next_due); one
-- that is later than that by ten seconds ends an outage. That nobody kept time looks the same, and may. One
-- outage after the other is one. Of two at a time each comes to the same end, and one writes it: neither
-- waits, nor takes what the other spares.
create function hub_internal.begin_round(p_now timestamptz)
  returns timestamptz
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_grace interval := hub_internal.setting('outage_grace');
  v_round hub_internal.rounds;
begin
  select r.* into v_round from hub_internal.rounds r;
  if p_now > v_round.due_at + interval '10 seconds' then
    if (p_now between v_round.outage_to and v_round.outage_to + v_grace) is not true then
      v_round.outage_from := v_round.ran_at;
    end if;
    v_round.outage_to := p_now;
  end if;
  update hub_internal.rounds r
     set ran_at = p_now,
         due_at = least(p_now + interval '60 seconds', (select t.lease_expires_at
                                                          from public.mac_tasks t
                                                         where t.status = 'running'
                                                           and t.lease_expires_at >= p_now
                                                         order by t.lease_expires_at
                                                         limit 1)),
         outage_from = v_round.outage_from,
         outage_to = v_round.outage_to
   where r.one in (select x.one from hub_internal.rounds x for no key update skip locked);
  return case when p_now >= v_round.outage_to and p_now < v_round.outage_to + v_grace
              then v_round.outage_from end;
end;
$$;

-- What died ------------------------------------------------------------------------------------------------

-- Leases that ran out. What is told in a conversation that somebody writes in at this moment is left for the
-- next round (lock_conversations). What ran out during an outage is left alone for a moment after, and so is
-- what was claimed before the database started.
create function hub_internal.recover_leases(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids     uuid[];
  v_task    public.mac_tasks;
  v_error   text;
  v_device  public.mesh_devices;
  v_gone    boolean;
  v_unbegun boolean;
  v_done    integer := 0;
  v_outage  timestamptz := hub_internal.begin_round(p_now);
  v_settled boolean := p_now >= pg_postmaster_start_time() + hub_internal.setting('outage_grace');
begin
  select array_agg(x.id) into v_ids
    from (select t.id
            from public.mac_tasks t
           where t.status = 'running'
             and t.lease_expires_at < p_now
             and (t.claimed_at >= pg_postmaster_start_time() or v_settled) is not false
             and (t.lease_expires_at < v_outage) is not false
           order by t.lease_expires_at
           limit p_limit
             for no key update skip locked) x;
  v_ids := coalesce(hub_internal.lock_conversations(v_ids), v_ids[1:1]);
  for v_task in
    select t.*
      from public.mac_tasks t
     where t.id = any (v_ids)
  loop
    select d.* into v_device from public.mesh_devices d where d.name = v_task.claimed_by;
    v_gone := v_device.revoked_at is not null;
    v_unbegun := hub_internal.never_begun(v_task.id, v_task.attempt);
    v_error := case
      when v_gone then format('lease lost: %s was revoked', v_task.claimed_by)
      -- After a heartbeat that names the attempt its lease lasts a minute. One that was on its way while the
      -- task was claimed could not name it.
      when v_device.signed_off_at is null
           and v_device.last_heartbeat_at > v_task.claimed_at + interval '10 seconds'
           and v_device.last_heartbeat_at > v_task.lease_expires_at - interval '60 seconds'
           and v_device.last_heartbeat_at > p_now - interval '60 seconds'
        then format('lease lost: %s is there and did not go on with it', v_task.claimed_by)
      else format('lease lost: %s was not heard of since %s', v_task.claimed_by,
                  hub_internal.moment_text(greatest(v_device.last_heartbeat_at, v_task.claimed_at))) end
      || case when v_unbegun then ', before it had begun' else '' end;
    perform hub_internal.end_attempt(v_task, 'lost', v_error,
                                     case when v_gone then '{"reason": "revoked"}'::jsonb end, p_now);
    if v_task.cancel_requested_at is not null then
      update public.mac_tasks t
         set status = 'cancelled',
             error = 'on request; its device was not heard of again',
             finished_at = p_now
       where t.id = v_task.id;
    elsif v_unbegun or v_task.attempt < v_task.max_attempts then
      if v_unbegun then
        perform hub_internal.keep_allowance(v_task);
      end if;
      update public.mac_tasks t
         set status = 'pending',
             error = v_error,
             max_attempts = case when v_unbegun then greatest(t.max_attempts, t.attempt) + 1
                                 else t.max_attempts end,
             run_after = null
       where t.id = v_task.id;
    else
      update public.mac_tasks t
         set status = 'failed',
             error = v_error,
             finished_at = p_now
       where t.id = v_task.id;
    end if;
    v_done := v_done + 1;
  end loop;
  return v_done;
end;
$$;

-- Endings that were never told: imported rows, a trigger that was off. The mark and the message are one
-- transaction.
create function hub_internal.tell_endings(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids  uuid[];
  v_task public.mac_tasks;
  v_done integer := 0;
begin
  select array_agg(x.id) into v_ids
    from (select t.id
            from public.mac_tasks t
           where t.channel_id is not null
             and t.status in ('complete', 'failed', 'cancelled')
             and t.told is distinct from t.status || ':' || t.attempt::text
           order by t.channel_id
           limit p_limit
             for no key update skip locked) x;
  v_ids := coalesce(hub_internal.lock_conversations(v_ids), v_ids[1:1]);
  for v_task in
    select t.*
      from public.mac_tasks t
     where t.id = any (v_ids)
     order by t.channel_id, t.finished_at
  loop
    if v_task.thread_id is null and hub_internal.is_threaded(v_task.channel_id) then
      v_task.thread_id := (hub_internal.new_thread_for(v_task)).id;
    end if;
    v_task.told := hub_internal.tell_end(v_task, v_task.thread_id);
    update public.mac_tasks t
       set told = v_task.told,
           thread_id = v_task.thread_id
     where t.id = v_task.id;
    v_done := v_done + 1;
  end loop;
  return v_done;
end;
$$;

-- Told of leases where one ends before the next round would be.
insert into public.hub_errands (name, about, wakes, function, position) values
  ('leases', 'attempts whose device fell silent are taken back', true, 'hub_internal.recover_leases', 100);
insert into public.hub_errands (name, about, function, position) values
  ('endings', 'endings that were never told are told', 'hub_internal.tell_endings', 110),
  ('lanes',   'rows that stand in no lane get one',    'hub_internal.enlane',       130);

create function hub_internal.recover(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_errand public.hub_errands;
  v_count  integer;
  v_done   integer := 0;
begin
  perform hub_internal.require_trusted('recovering');
  perform hub_internal.require_round(p_now, p_limit);
  for v_errand in
    select e.*
      from public.hub_errands e
     where e.function is not null
     order by e.position
  loop
    continue when v_errand.counts and v_done >= p_limit;
    -- One that can not be done keeps no other from being done. A round that is told to end, or that another is
    -- in the way of, is begun again as a whole.
    begin
      -- The name comes from the registry, which only migrations change.
      execute format('select %s($1, $2)', v_errand.function)
         into v_count
        using p_now, case when v_errand.counts then p_limit - v_done else p_limit end;
    exception
      when query_canceled or transaction_rollback then
        raise;
      when others then
        raise warning 'errand % is not done: % (%)', v_errand.name, sqlerrm, sqlstate;
        v_count := 0;
    end;
    if v_errand.counts then
      v_done := v_done + v_count;
    end if;
  end loop;
  return v_done;
end;
$$;
