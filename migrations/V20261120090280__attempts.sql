-- Why: an attempt is claimed, and says what it is doing; its end is …endings. Each is one transaction; what
-- people see follows by triggers (…telling, …task_triggers). Bodies take the time as an argument; what the
-- API exposes passes now().

-- Claiming --------------------------------------------------------------------------------------------------

-- Three steps. The best tasks of the lanes that the device may take from are locked; whoever has one already
-- is passed by and not waited for. Then, before the first word, the conversations that are told that they
-- started: tasks whose conversation somebody writes in at this moment are left for the next claim, unless
-- there are no others; then the best alone is waited for. So a claim never waits while it holds a
-- conversation: it can not be part of a ring, and one busy channel does not hold up the work of others. Then
-- they are claimed.
create function hub_internal.claim_tasks(p_device text, p_limit int, p_lease interval, p_now timestamptz)
  returns setof public.mac_tasks
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on mac_tasks
  set search_path = ''
  -- Planned anew at each call, its plan took longer than the claim.
  set plan_cache_mode = force_generic_plan
  -- While statistics tell of many lanes, compiling the plan took fifty times as long as running it.
  set jit = off
as $$
declare
  v_device public.mesh_devices;
  v_want   integer;
  v_ids    uuid[] := array[]::uuid[];
  v_agents text[] := array[]::text[];
  v_places text[] := array[]::text[];
  v_models text[] := array[]::text[];             -- in place of what a task is for; null: that
  v_more   uuid[];
  v_by     text[];
  v_in     text[];
  v_as     text[];
  v_crowd  boolean;
  v_left   boolean := false;
  v_free   uuid[];
  v_seen   bigint;
  v_window bigint;
  v_room   jsonb;                                 -- how many more may run, by bound; null: none binds
  v_under  text[];
  v_fit    boolean[];
begin
  perform hub_internal.require_present(p_now);
  if p_limit is null or p_limit not between 1 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_limit %s', coalesce(p_limit::text, 'is null')), 'Claim 1 to 1000 tasks at once.');
  end if;
  if p_lease is null or p_lease < interval '1 second' or p_lease > interval '1 day' then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_lease %s', coalesce(p_lease::text, 'is null')), 'A lease is 1 second to 1 day.');
  end if;
  v_device := hub_internal.acting_device(p_device);
  if v_device.signed_off_at is not null or v_device.stopping_at is not null then
    update public.mesh_devices d
       set signed_off_at = null,
           stopping_at = null
     where d.name = p_device;
  end if;
  if v_device.drained_at is not null then
    return;
  end if;
  -- Two workers of one name claim one after the other, or their capacity would count twice.
  perform pg_advisory_xact_lock(hashtextextended('hub_claim:' || p_device, 0));
  v_want := least(p_limit, v_device.capacity - hub_internal.held_count(p_device));
  if v_want <= 0 then
    return;
  end if;
  v_room := hub_internal.lock_bounds(v_device, v_want);

  -- A few rounds: what neighbours locked first is skipped, and there may be more behind it, so each looks
  -- further. Nobody would wake who went away with nothing.
  for v_round in 1 .. 5 loop
    exit when v_want <= 0;
    v_window := (v_want + 16) * 4 ^ (v_round - 1);
    -- An ordered look into each lane this device may take from; the best of them, locked and looked at again.
    with lanes as materialized (
      select x.lane as id, x.agent, x.place, case when x.way > 0 then x.as_model end as as_model,
             x.bounds::text as bounds, x.delay
        from hub_internal.device_lanes x
       where x.device = p_device
         and x.eligible
         and (x.place is null or x.place <> all (v_places))
         and (v_room is null or hub_internal.fits(v_room, x.bounds))
    ), heads as materialized (
      select h.id, h.queue_key + lanes.delay as stands, lanes.agent, lanes.place, lanes.as_model, lanes.bounds
        from lanes
       cross join lateral (
         (select t.id, t.queue_key
            from public.mac_tasks t
           where t.lane = lanes.id
             and t.status = 'pending'
             and t.run_after is null
           order by t.queue_key
           limit v_window + cardinality(v_ids))
         union all
         (select t.id, t.queue_key
            from public.mac_tasks t
           where t.lane = lanes.id
             and t.status = 'pending'
             and t.run_after is not null
             and t.run_after <= p_now
           order by t.run_after
           limit v_window + cardinality(v_ids))
       ) h
       where h.id <> all (v_ids)
       order by h.queue_key + lanes.delay
       limit v_window
    ), locked as (
      select t.id, heads.agent, heads.place, heads.as_model, heads.bounds
        from heads
        join public.mac_tasks t on t.id = heads.id
       where t.status = 'pending' and (t.run_after is null or t.run_after <= p_now)
       order by heads.stands
       limit v_want
         for no key update of t skip locked
    )
    select array_agg(locked.id), array_agg(locked.agent), array_agg(locked.place),
           array_agg(locked.as_model), array_agg(locked.bounds), (select count(*) from heads)
      into v_more, v_by, v_in, v_as, v_under, v_seen
      from locked;
    -- Of those that would work in one place, the first; then the round is not the last.
    v_crowd := false;
    if v_room is not null and v_more is not null then
      select r.p_room, r.fits into v_room, v_fit from hub_internal.take_room(v_room, v_under) r;
    else
      v_fit := null;
    end if;
    if false = any (v_fit) then
      select array_agg(m.id order by m.n), array_agg(m.agent order by m.n), array_agg(m.place order by m.n),
             array_agg(m.as_model order by m.n)
        into v_more, v_by, v_in, v_as
        from unnest(v_more, v_by, v_in, v_as, v_fit) with ordinality m (id, agent, place, as_model, fits, n)
       where m.fits;
    end if;
    if array_remove(v_in, null) <> '{}' then
      select array_agg(x.id order by x.n), array_agg(x.agent order by x.n),
             array_agg(x.as_model order by x.n),
             v_places || array_remove(array_agg(x.place), null), count(*) < cardinality(v_more)
        into v_more, v_by, v_as, v_places, v_crowd
        from (select m.*, row_number() over (partition by m.place order by m.n) as nth
                from unnest(v_more, v_by, v_in, v_as) with ordinality m (id, agent, place, as_model, n)) x
       where x.place is null or x.nth = 1;
      v_left := v_left or v_crowd;
    end if;
    if v_more is not null then
      v_ids := v_ids || v_more;
      v_agents := v_agents || v_by;
      v_models := v_models || v_as;
      v_want := v_want - cardinality(v_more);
    end if;
    -- All there is was seen. Where all of it was locked, once more: a lock may have been nothing but a look.
    exit when v_seen < v_window
              and not v_crowd
              and (false = any (v_fit)) is not true
              and (v_more is not null or v_seen = 0 or v_round >= 2);
  end loop;
  -- What lock_bounds has counted is for this claim alone.
  if current_setting('hub.full_bounds', true) <> '' then
    perform set_config('hub.full_bounds', '', true);
  end if;
  if cardinality(v_ids) = 0 then
    return;
  end if;
  v_free := v_ids;
  if cardinality(v_ids) > 1 then
    v_free := coalesce(hub_internal.lock_conversations(v_ids), v_ids[1:1]);
  end if;
  if v_left or cardinality(v_free) < cardinality(v_ids) then
    -- What was left is there when this commits, for anybody.
    perform pg_notify('hub_tasks', '');
    perform hub_internal.wake_device(p_device);
  end if;
  -- Whoever keeps time looks once in a minute, and wherever a lease that it knows of ends.
  if p_lease < interval '1 minute' then
    perform hub_internal.wake_errand('leases');
  end if;
  return query
    with claimed as (
      update public.mac_tasks t
         set status = 'running',
             attempt = t.attempt + 1,
             claimed_by = p_device,
             agent = c.agent,
             model = coalesce(c.as_model, t.model),
             lease_expires_at = p_now + p_lease,
             claimed_at = p_now,
             run_after = null,
             partial_output = null,
             progress_count = 0,
             quiet = false
        from unnest(v_ids, v_agents, v_models) c (id, agent, as_model)
       where t.id = c.id and c.id = any (v_free)
      returning t.*
    ), recorded as (
      insert into public.hub_task_attempts (task_id, attempt, device, agent, started_at, fallback_from)
      select c.id, c.attempt, p_device, c.agent, p_now,
             case when m.as_model is not null then c.model_preference end
        from claimed c
        join unnest(v_ids, v_models) m (id, as_model) on m.id = c.id
    )
    select * from claimed order by queue_key;
end;
$$;

-- Writing to an attempt -------------------------------------------------------------------------------------

-- The device that writes to an attempt; null for a trusted caller, who writes for whoever holds it.
create function hub_internal.writing_device()
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_device text;
begin
  if not hub_internal.is_trusted() then
    v_device := hub_internal.live_device();
    if v_device is null and hub_internal.token_device() is not null then
      perform hub_internal.refuse('UH005', 'device revoked', hub_internal.token_device(),
        'It is revoked or was never enrolled.');
    elsif v_device is null then
      perform hub_internal.refuse('42501', 'permission denied', 'attempts are written by devices',
        'Use the token of the device that holds the task.');
    end if;
  end if;
  return v_device;
end;
$$;

create function hub_internal.refuse_lost(p_task_id uuid, p_attempt int)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.refuse('UH002', 'lease lost',
    format('task %s is not held at attempt %s', p_task_id, coalesce(p_attempt::text, 'null')),
    'Discard what this attempt did: another device holds the task, or it ended.');
end;
$$;

-- The live attempt, locked, or UH002.
create function hub_internal.held_task(p_task_id uuid, p_attempt int)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_device text := hub_internal.writing_device();
  v_task   public.mac_tasks;
begin
  select t.* into v_task
    from public.mac_tasks t
   where t.id = p_task_id
     and t.attempt = p_attempt
     and t.status = 'running'
     and (v_device is null or t.claimed_by = v_device)
     for no key update;
  if not found then
    perform hub_internal.refuse_lost(p_task_id, p_attempt);
  end if;
  return v_task;
end;
$$;

-- The live attempt as held_task has it, looked at and not locked.
create function hub_internal.live_attempt(p_task_id uuid, p_attempt int)
  returns public.mac_tasks
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_device text := hub_internal.writing_device();
  v_task   public.mac_tasks;
begin
  select t.* into v_task
    from public.mac_tasks t
   where t.id = p_task_id
     and t.attempt = p_attempt
     and t.status = 'running'
     and (v_device is null or t.claimed_by = v_device);
  if not found then
    perform hub_internal.refuse_lost(p_task_id, p_attempt);
  end if;
  return v_task;
end;
$$;

create function hub_internal.report_progress(p_task_id uuid, p_attempt int, p_note text, p_quiet boolean)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_device text;
begin
  perform hub_internal.require_text(p_note, 'p_note');
  if p_quiet is null then
    perform hub_internal.require_given(p_quiet, 'p_quiet');
  end if;
  v_device := hub_internal.writing_device();
  -- The fence is in the update itself: a note is the commonest write, and a lock ahead of it would be a
  -- second version of the row.
  update public.mac_tasks t
     set partial_output = p_note,
         quiet = p_quiet
   where t.id = p_task_id
     and t.attempt = p_attempt
     and t.status = 'running'
     and (v_device is null or t.claimed_by = v_device);
  if not found then
    perform hub_internal.refuse_lost(p_task_id, p_attempt);
  end if;
end;
$$;
