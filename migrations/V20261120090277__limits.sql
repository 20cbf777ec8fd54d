-- Why: an account runs dry, or a login breaks, and what waits for it waits: it is not tried again and again,
-- and goes on by itself once it can.
--
--     reported, or the end of an attempt (…endings)  -> mesh_quota_pools, mesh_logins
--     who may take what (…lanes)                     -> reads them at each claim
--     a share of it, a reserve (…mesh)               -> what is left is kept for people, or is not any more
--     a limit is over: lift_limits at that moment    -> machines with that account are woken
--     a login holds again, or its worker began anew  -> as if a task had come

-- Words -----------------------------------------------------------------------------------------------------

-- Without a device: wherever it could run.
create function hub_internal.limit_text(p_agent text, p_device text, p_limit public.mesh_quota_pools)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  -- Rounded up: at the time that is named it is over.
  return format('%s%s is %s until %s UTC (%s)', p_agent, ' on ' || p_device,
                case when p_limit.kept then 'kept for people' else 'at its limit' end,
                to_char(date_trunc('minute', p_limit.limited_until at time zone 'utc'
                                               + interval '59.999999 seconds'),
                        'YYYY-MM-DD HH24:MI'),
                case p_limit.source when 'structured' then 'says ' || p_agent
                                    when 'text' then 'as its message says'
                                    else 'a guess' end);
end;
$$;

create function hub_internal.login_text(p_agent text, p_device text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return format('%s on %s is not logged in', p_agent, p_device);
end;
$$;

-- What an agent said, in one line.
create function hub_internal.said_line(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return nullif(hub_internal.shorten(hub_internal.one_line(hub_internal.tamed(left(p_text, 4000))), 500), '');
end;
$$;

create function hub_internal.require_offered(p_device public.mesh_devices, p_agent text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if p_agent is null
     or not p_device.agents @> jsonb_build_array(jsonb_build_object('agent', p_agent)) then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_agent %s', coalesce(quote_literal(left(p_agent, 100)), 'is null')),
      format('%s does not offer it; hub_register_device says what it offers.', p_device.name));
  end if;
end;
$$;

-- Limits ----------------------------------------------------------------------------------------------------

-- What is known of a limit, kept. It is at its limit where p_until says until when, or p_used does not say
-- that some is left; then until its window begins anew, where that is known. A guess is of five minutes, twice
-- as long each time it turns out too short, at most an hour; while a limit holds, one more guess says nothing
-- new: it is of an attempt that ran already. Neither is a worse source believed over a better one. What was
-- only kept for people is at its limit once somebody meets one.
create function hub_internal.note_limit(
  p_device text, p_agent text, p_model text, p_until timestamptz, p_reason text, p_source text,
  p_window text, p_used numeric, p_resets_at timestamptz, p_now timestamptz)
  returns public.mesh_quota_pools
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_pool   public.mesh_quota_pools;
  v_account text := hub_internal.account_of(p_device, p_agent);
  v_resets timestamptz := case when p_resets_at > p_now
                               then least(p_resets_at, p_now + interval '8 days') end;
  v_said   timestamptz := coalesce(p_until, case when (p_used < 1) is not true then v_resets end);
  -- A share of a window that is over says nothing of the one that began.
  v_used   numeric := case when p_until is null and p_used < 1 and p_resets_at <= p_now then null
                           else least(p_used, 1) end;
  v_source text := case when v_said is null and (p_used < 1) is not true then 'guess' else p_source end;
  v_until  timestamptz := least(greatest(v_said, p_now + interval '1 minute'), p_now + interval '8 days');
  v_kept   boolean;
  v_was    timestamptz;
begin
  insert into public.mesh_quota_pools as q
    (account, servers, agent, model, window_name, used_share, resets_at, source, reported_by, reported_at)
  values
    (v_account, hub_internal.account_party(p_device, v_account),
     hub_internal.program_of(p_device, p_agent), p_model,
     p_window, v_used, v_resets, v_source, p_device, p_now)
  on conflict on constraint mesh_quota_pools_key do update
    set reported_by = excluded.reported_by,
        reported_at = excluded.reported_at,
        used_share = coalesce(excluded.used_share, q.used_share),
        resets_at = coalesce(excluded.resets_at, case when q.resets_at > p_now then q.resets_at end)
  returning * into v_pool;
  -- Who names models without end forgets what they named first. Looked for, then locked: OFFSET would lock all
  -- that it leaves out, too, and in no order.
  delete from public.mesh_quota_pools q
   where q.id in (select o.id
                    from public.mesh_quota_pools o
                   where o.id in (select x.id
                                    from public.mesh_quota_pools x
                                   where x.account = v_pool.account
                                     and x.servers is not distinct from v_pool.servers
                                     and x.id <> v_pool.id
                                   order by x.limited_until > p_now desc nulls last, x.reported_at desc
                                  offset 200)
                     for update skip locked);
  v_kept := v_pool.kept and v_pool.limited_until > p_now;
  if v_said is null then
    if (p_used < 1) is true then
      v_was := v_pool.limited_until;
      v_pool := hub_internal.weigh_reserve(v_pool, p_now);
      if v_pool.limited_until > p_now and (v_was > p_now) is not true then
        perform hub_internal.reweigh(p_device);
      end if;
      return v_pool;
    end if;
    v_until := case when v_kept then v_pool.limited_until
                    else p_now + least(interval '1 hour',
                      case when v_pool.source = 'guess' and v_pool.limited_until > p_now - interval '1 hour'
                           then 2 * (v_pool.limited_until - v_pool.limited_since)
                           else interval '5 minutes' end) end;
  end if;
  if v_pool.limited_until > p_now
     and not v_kept
     and (v_source = 'guess' or v_source = 'text' and v_pool.source = 'structured') then
    return v_pool;
  end if;
  update public.mesh_quota_pools q
     set limited_since = case when q.limited_until > p_now then q.limited_since else p_now end,
         limited_until = v_until,
         source = v_source,
         reason = hub_internal.said_line(p_reason),
         used_share = v_used,
         lifted_at = null,
         kept = false
   where q.id = v_pool.id
  returning * into v_pool;
  perform hub_internal.reweigh(p_device);
  return v_pool;
end;
$$;

create function hub_internal.report_rate_limit(
  p_device text, p_agent text, p_model text, p_until timestamptz, p_reason text, p_source text,
  p_window text, p_used numeric, p_resets_at timestamptz, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on mesh_quota_pools
  set search_path = ''
as $$
declare
  v_device public.mesh_devices;
begin
  perform hub_internal.require_present(p_now);
  v_device := hub_internal.acting_device(p_device);
  perform hub_internal.require_offered(v_device, p_agent);
  if char_length(p_model) not between 1 and 200 or hub_internal.said_line(p_model) is distinct from p_model then
    perform hub_internal.refuse('UH001', 'bad input', 'p_model',
      'The name of a model, 1 to 200 characters that are seen, or null for all of the agent.');
  elsif not isfinite(p_until) then
    perform hub_internal.refuse('UH001', 'bad input', format('p_until %s', p_until),
      'A moment, or null if nobody knows.');
  elsif not isfinite(p_resets_at) then
    perform hub_internal.refuse('UH001', 'bad input', format('p_resets_at %s', p_resets_at),
      'When the window begins anew, or null if nobody knows.');
  elsif (p_source in ('structured', 'text', 'guess')) is not true then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_source %s', coalesce(quote_literal(left(p_source, 100)), 'is null')),
      'structured, text or guess.');
  elsif p_window not in ('five_hour', 'seven_day', 'day', 'minute') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_window %L', left(p_window, 100)),
      'five_hour, seven_day, day, minute, or null if it is not known.');
  elsif p_used not between 0 and 100 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_used', 'A share: 0 is nothing, 1 is all.');
  end if;
  perform hub_internal.note_limit(p_device, p_agent, p_model, p_until, p_reason, p_source, p_window, p_used,
                                  p_resets_at, p_now);
end;
$$;

-- The limit that ended an attempt. A limit of a model by the name that the agent has for it says nothing of
-- the tasks to come, which name another: so it is kept for what this task named, too, or it would be taken
-- again at once. Locked in the order of their names. Where the machine is none of ours any more, nothing is
-- kept, and what is returned is only for the task.
create function hub_internal.note_attempt_limit(
  p_task public.mac_tasks, p_error text, p_limit jsonb, p_now timestamptz)
  returns public.mesh_quota_pools
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_until timestamptz := (p_limit ->> 'until')::timestamptz;
  v_named text := p_limit ->> 'model';
  v_ran   text;
  v_model text;
  v_pool  public.mesh_quota_pools;
  v_last  public.mesh_quota_pools;
begin
  if p_task.agent is null
     or not exists (select from public.mesh_devices d where d.name = p_task.claimed_by) then
    v_last.source := case when v_until is null then 'guess' else coalesce(p_limit ->> 'source', 'text') end;
    v_last.limited_until := least(greatest(coalesce(v_until, p_now + interval '5 minutes'),
                                           p_now + interval '1 minute'),
                                  p_now + interval '8 days');
    return v_last;
  end if;
  -- As the claim took it (…lanes), which may be in place of what the task is for.
  select hub_internal.model_offered(d.agents, p_task.agent,
                                    case when a.fallback_from is not null then p_task.model
                                         else p_task.model_preference end)
    into v_ran
    from public.mesh_devices d
    left join public.hub_task_attempts a on a.task_id = p_task.id and a.attempt = p_task.attempt
   where d.name = p_task.claimed_by;
  for v_model in
    select distinct m.model collate "C"
      from unnest(array[v_named, case when v_named is not null then v_ran end]) m (model)
     order by 1
  loop
    v_pool := hub_internal.note_limit(
      p_task.claimed_by, p_task.agent, v_model, v_until, p_error,
      coalesce(p_limit ->> 'source', case when v_until is null then 'guess' else 'text' end),
      p_limit ->> 'window', null, null, p_now);
    if v_last.id is null or v_pool.limited_until > v_last.limited_until then
      v_last := v_pool;
    end if;
  end loop;
  return v_last;
end;
$$;

-- A limit that is over is told once to the machines with that account.
create function hub_internal.lift_limits(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids  bigint[];
  v_name text;
begin
  with over as (
    update public.mesh_quota_pools q
       set lifted_at = p_now
     where q.id in (select x.id
                      from public.mesh_quota_pools x
                     where x.limited_until <= p_now and x.lifted_at is null
                     order by x.limited_until
                     limit p_limit
                       for update skip locked)
    returning q.id
  )
  select array_agg(over.id) into v_ids from over;
  if v_ids is null then
    return 0;
  end if;
  perform pg_notify('hub_tasks', '');
  for v_name in
    select d.name
      from public.mesh_devices d
     where d.revoked_at is null
       and d.drained_at is null
       and exists (select
                     from hub_internal.device_logins(d.name) l
                     join public.mesh_quota_pools q on q.account = l.account and q.agent = l.program
                    where q.id = any (v_ids)
                      and q.servers is not distinct from hub_internal.account_party(d.name, l.account))
  loop
    perform hub_internal.reweigh(v_name);
    perform hub_internal.wake_device(v_name);
  end loop;
  return cardinality(v_ids);
end;
$$;

-- What was last heard of a month ago says nothing any more.
create function hub_internal.reap_limits(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_count integer;
begin
  delete from public.mesh_quota_pools q
   where q.id in (select x.id
                    from public.mesh_quota_pools x
                   where x.reported_at < p_now - interval '30 days'
                     and (x.limited_until < p_now) is not false
                   limit p_limit
                     for update skip locked);
  get diagnostics v_count = row_count;
  delete from hub_internal.login_leases l
   where l.id in (select x.id
                    from hub_internal.login_leases x
                   where x.until < p_now - interval '1 hour'
                   limit p_limit
                     for update skip locked);
  return v_count;
end;
$$;
insert into public.hub_errands (name, about, function, position, counts) values
  ('limits',     'limits that are over are told to machines', 'hub_internal.lift_limits', 140, true),
  ('old_limits', 'limits nobody spoke of for a month go',     'hub_internal.reap_limits', 817, false);

-- Logins ----------------------------------------------------------------------------------------------------

create function hub_internal.note_login(
  p_device text, p_agent text, p_ok boolean, p_reason text, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_ok then
    delete from public.mesh_logins b
     where b.device = p_device
       and hub_internal.account_of(b.device, b.agent) = hub_internal.account_of(p_device, p_agent)
       and hub_internal.program_of(b.device, b.agent) = hub_internal.program_of(p_device, p_agent);
    if found then
      perform pg_notify('hub_tasks', '');
      perform hub_internal.wake_device(p_device);
    end if;
  else
    insert into public.mesh_logins (device, agent, broken_since, reason)
    values (p_device, p_agent, p_now, hub_internal.said_line(p_reason))
    on conflict (device, agent) do update
      set reason = excluded.reason;
  end if;
  perform hub_internal.reweigh(p_device);
end;
$$;

create function hub_internal.report_login(
  p_device text, p_agent text, p_ok boolean, p_reason text, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on mesh_logins
  set search_path = ''
as $$
declare
  v_device public.mesh_devices;
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.require_given(p_ok, 'p_ok');
  v_device := hub_internal.acting_device(p_device);
  perform hub_internal.require_offered(v_device, p_agent);
  perform hub_internal.note_login(p_device, p_agent, p_ok, p_reason, p_now);
end;
$$;
