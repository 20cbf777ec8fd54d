-- Why: an agent's conversation about a line of work is kept by what attempts report of it, and a task that
-- goes on with one waits for the machine that has it, but not for ever.
--
--     an attempt ends            -> its session is ok (kept) or poisoned (never gone on with)
--     a reply, what was blocked  -> pinned to the machine that has the session (line_session)
--     the machine stays away     -> unpinned (unpin_sessions); whoever takes it begins with a brief
--     an attempt begins          -> whether the session is gone on with (begin_attempt, …beginning)

-- The tasks of a line of work: what it began with, and what followed.
create function hub_internal.line_tasks(p_root uuid)
  returns setof public.mac_tasks
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query select t.* from public.mac_tasks t where t.id = p_root;
  return query select t.* from public.mac_tasks t where t.root_id = p_root;
end;
$$;

-- What a report says of the session: ok, poisoned, or nothing (null). One that has just done its work, waits,
-- was stopped or met a limit is fine without a word; after anything else it takes one, or an id would be
-- believed that a program made up when it could not go on.
create function hub_internal.session_state(p_meta jsonb, p_outcome text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case
    when p_meta ->> 'session_state' = 'poisoned' or p_meta ->> 'reason' in ('session_lost', 'context_full')
      then 'poisoned'
    when p_meta ->> 'session_id' is null then null
    when p_meta ->> 'session_state' = 'ok' or p_outcome in ('complete', 'cancelled', 'parked', 'limited')
      then 'ok' end;
end;
$$;

-- What the row of a task says of its session when an attempt has ended. One that is pinned stays pinned; one
-- that is to be tried again is not pinned by that.
create function hub_internal.session_after(
  p_task public.mac_tasks, p_outcome text, p_meta jsonb, p_again boolean,
  out session_id text, out session_device text)
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  session_id := p_task.session_id;
  session_device := p_task.session_device;
  case hub_internal.session_state(p_meta, p_outcome)
    when 'ok' then
      session_id := p_meta ->> 'session_id';
      session_device := case when p_again then p_task.session_device else p_task.claimed_by end;
    when 'poisoned' then
      session_id := null;
      session_device := null;
    else
      null;
  end case;
end;
$$;

-- Keeps what an attempt reports of its session, which is ok or poisoned (session_state). Its figures are what
-- this attempt used; those of a session that was gone on with, under a new id too, are added up. The caller
-- holds the task.
create function hub_internal.note_session(
  p_task public.mac_tasks, p_state text, p_error text, p_meta jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_root    uuid := coalesce(p_task.root_id, p_task.id);
  v_account text := hub_internal.account_of(p_task.claimed_by, p_task.agent);
begin
  if p_task.agent is null or p_task.claimed_by is null then
    return;
  end if;
  case p_state
    when 'poisoned' then
      update public.hub_sessions s
         set state = 'poisoned',
             why = hub_internal.said_line(p_error),
             used_at = p_now
       where s.root_id = v_root
         and s.agent = p_task.agent
         and s.account = v_account
         and s.state = 'ok';
    when 'ok' then
      insert into public.hub_sessions as s
        (root_id, agent, account, server_id, thread_id, device, folder,
         version, session_id,
         tokens_in, tokens_out,
         tokens_cached, cost_usd, created_at, used_at)
      values
        (v_root, p_task.agent, v_account, p_task.server_id, p_task.thread_id, p_task.claimed_by, p_task.project,
         hub_internal.said_line(p_meta ->> 'agent_version'), p_meta ->> 'session_id',
         coalesce((p_meta ->> 'tokens_in')::bigint, 0), coalesce((p_meta ->> 'tokens_out')::bigint, 0),
         coalesce((p_meta ->> 'tokens_cached')::bigint, 0),
         coalesce((hub_internal.priced(p_meta, p_now)).cost, 0), p_now, p_now)
      on conflict on constraint hub_sessions_key do update
        set server_id = excluded.server_id,
            thread_id = excluded.thread_id,
            device = excluded.device,
            folder = excluded.folder,
            version = coalesce(excluded.version, s.version),
            session_id = excluded.session_id,
            state = 'ok',
            why = null,
            tokens_in = excluded.tokens_in + case when hub_internal.goes_on(s, excluded.session_id, p_task)
                                                  then s.tokens_in else 0 end,
            tokens_out = excluded.tokens_out + case when hub_internal.goes_on(s, excluded.session_id, p_task)
                                                    then s.tokens_out else 0 end,
            tokens_cached = excluded.tokens_cached
                            + case when hub_internal.goes_on(s, excluded.session_id, p_task)
                                   then s.tokens_cached else 0 end,
            cost_usd = excluded.cost_usd + case when hub_internal.goes_on(s, excluded.session_id, p_task)
                                                then s.cost_usd else 0 end,
            created_at = case when hub_internal.goes_on(s, excluded.session_id, p_task)
                              then s.created_at else p_now end,
            used_at = p_now;
  end case;
end;
$$;

-- Whether what is reported is the session that is known, under its id or a new one.
create function hub_internal.goes_on(p_session public.hub_sessions, p_session_id text, p_task public.mac_tasks)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return p_session.state = 'ok'
         and p_session.device = p_task.claimed_by
         and p_session.session_id in (p_session_id, p_task.session_id);
end;
$$;

-- Going on with it -------------------------------------------------------------------------------------------

-- Since when a machine that has a session can not be waited for; null: it can.
create function hub_internal.away_since(p_device public.mesh_devices)
  returns timestamptz
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return least(p_device.signed_off_at, p_device.drained_at, p_device.stopping_at, p_device.last_heartbeat_at);
end;
$$;

-- The session in which what follows a task goes on, and whose it is: that of the agent which worked on the
-- line last. Without a device where its machine has been away for too long already. Asked: whoever was asked
-- for when the line began.
create function hub_internal.line_session(
  p_last public.mac_tasks, out session_id text, out session_device text, out agent text, out asked text)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_root    uuid := coalesce(p_last.root_id, p_last.id);
  v_session public.hub_sessions;
  v_device  public.mesh_devices;
begin
  asked := case when p_last.root_id is null then p_last.requested_agent
                else (select t.requested_agent from public.mac_tasks t where t.id = v_root) end;
  select s.* into v_session
    from public.hub_sessions s
   where s.root_id = v_root
   order by s.used_at desc
   limit 1;
  if not found then
    -- Nothing was reported, or an executor of the older kind wrote it into the row.
    session_id := p_last.session_id;
    session_device := p_last.session_device;
    agent := case when p_last.session_id is not null then p_last.agent end;
    return;
  end if;
  select d.* into v_device
    from public.mesh_devices d
   where d.name = v_session.device and d.revoked_at is null;
  if v_session.state = 'ok' and v_device.name is not null then
    session_id := v_session.session_id;
    agent := v_session.agent;
    if hub_internal.away_since(v_device) > now() - hub_internal.setting('session_wait') then
      session_device := v_session.device;
    end if;
  end if;
end;
$$;

-- Whether a task whose session is at a limit until then waits for it: if that is not long, or its channel
-- says so.
create function hub_internal.waits_in_session(p_task public.mac_tasks, p_until timestamptz, p_now timestamptz)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return p_until < p_now + hub_internal.setting('session_wait')
      or exists (select from public.hub_channels c
                  where c.id = p_task.channel_id and c.when_limited = 'wait');
end;
$$;

-- A channel, for who owns its server, or 42501.
create function hub_internal.owned_channel(p_channel_id uuid)
  returns public.hub_channels
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_channel public.hub_channels := hub_internal.readable_channel(p_channel_id);
begin
  if not hub_internal.may_own(v_channel.server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'channels of this server',
      'An owner of the server may do this.');
  end if;
  return v_channel;
end;
$$;

create function hub_internal.set_when_limited(p_channel_id uuid, p_when_limited text)
  returns public.hub_channels
  language plpgsql
  volatile
  security definer                                -- owners hold no write grant on channels
  set search_path = ''
as $$
declare
  v_channel public.hub_channels := hub_internal.owned_channel(p_channel_id);
begin
  if (p_when_limited in ('wait', 'brief')) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_when_limited', 'wait or brief.');
  end if;
  update public.hub_channels c
     set when_limited = p_when_limited
   where c.id = p_channel_id
  returning c.* into v_channel;
  return v_channel;
end;
$$;

-- What waits for a machine that does not come, or can not work for longer than that, goes to any, with the
-- agent that was asked for, if any. It would still go on in its session, where that machine takes it. For a
-- limit it waits on where its channel says so.
create function hub_internal.unpin_sessions(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_wait  interval := hub_internal.setting('session_wait');
  v_lane  integer;
  v_lanes integer[];
  v_count integer;
begin
  with late as materialized (
    select t.id
      from public.mac_tasks t
      join public.mesh_devices d on d.name = t.session_device
      left join public.hub_channels c on c.id = t.channel_id
     where t.status = 'pending'
       and t.session_device is not null
       and (d.revoked_at is not null
            or hub_internal.away_since(d) <= p_now - v_wait
            or exists (select from hub_internal.device_lanes x
                        where x.device = d.name
                          and x.lane = t.lane
                          and (x.within_limits or c.when_limited is distinct from 'wait')
                          and (x.limited_until >= p_now + v_wait
                               or t.updated_at <= p_now - v_wait and not x.eligible and x.is_free)))
     order by t.queue_key
     limit p_limit
       for no key update of t skip locked
  ), unpinned as (
    update public.mac_tasks t
       set session_device = null
      from late
     where t.id = late.id
    returning t.lane
  )
  select count(*), array_agg(distinct u.lane) into v_count, v_lanes from unpinned u;
  foreach v_lane in array coalesce(v_lanes, '{}') loop
    perform hub_internal.wake_devices(v_lane);
  end loop;
  return v_count;
end;
$$;
insert into public.hub_errands (name, about, function, position) values
  ('sessions', 'replies that wait for a machine that stays away go on elsewhere',
   'hub_internal.unpin_sessions', 135);
