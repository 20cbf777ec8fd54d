-- Why: who may take which task. A lane is everything that decides it, as one number; device_lanes says for
-- each device and lane whether it may, a column a condition.

-- Lanes -----------------------------------------------------------------------------------------------------

-- What puts a task into a lane holds this, shared, until it commits; what takes a lane away holds it alone:
-- it sees the task, or it waits.
create function hub_internal.lane_lock(
  p_server_id uuid, p_project text, p_model text, p_agent text, p_platform text, p_device text)
  returns bigint
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hashtextextended(
    concat_ws('/', 'hub_lane', p_server_id, p_project, p_model, p_agent, p_platform, p_device), 0);
end;
$$;

-- Where a task stands in its lane: when it was made, and ten minutes earlier for each step of priority, so
-- that nothing starves.
create function hub_internal.queue_key(p_created_at timestamptz, p_priority int)
  returns timestamptz
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return p_created_at - (p_priority - 5) * interval '10 minutes';
end;
$$;

-- p_bounded: refuse a lane too many (UH006). A claim looks into each lane of its device: who makes many makes
-- everybody's claims slow.
create function hub_internal.lane_of(p_task public.mac_tasks, p_bounded boolean default false)
  returns integer
  language plpgsql
  volatile
  security definer                                -- lanes are bookkeeping: nobody holds a grant on them
  set search_path = ''
as $$
declare
  v_device text;
  v_lane   integer;
begin
  -- Only a machine that is still enrolled can have the session; else the follow-up starts afresh anywhere.
  if p_task.session_id is not null and p_task.session_device is not null then
    select d.name into v_device
      from public.mesh_devices d
     where d.name = p_task.session_device and d.revoked_at is null;
  end if;
  perform pg_advisory_xact_lock_shared(hub_internal.lane_lock(
    p_task.server_id, p_task.project, p_task.model_preference, p_task.requested_agent, p_task.platform,
    v_device));
  select l.id into v_lane
    from hub_internal.lanes l
   where l.server_id is not distinct from p_task.server_id
     and l.project is not distinct from p_task.project
     and l.model = p_task.model_preference
     and l.agent is not distinct from p_task.requested_agent
     and l.platform = p_task.platform
     and l.device is not distinct from v_device;
  if not found then
    if p_bounded then
      perform hub_internal.require_room('server_lanes',
        (select count(*) from hub_internal.lanes l where l.server_id = p_task.server_id));
    end if;
    insert into hub_internal.lanes (server_id, project, model, agent, platform, device)
    values (p_task.server_id, p_task.project, p_task.model_preference, p_task.requested_agent,
            p_task.platform, v_device)
    -- Sets nothing, but returns the row a neighbour just made.
    on conflict on constraint lanes_key do update set platform = excluded.platform
    returning id into v_lane;
  end if;
  return v_lane;
end;
$$;

-- Rows that came in with the triggers off, and so stand in no lane.
create function hub_internal.enlane(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_count integer;
begin
  update public.mac_tasks t
     set lane = hub_internal.lane_of(t),
         queue_key = coalesce(t.queue_key, hub_internal.queue_key(t.created_at, t.priority))
   where t.id in (select x.id
                    from public.mac_tasks x
                   where x.status = 'pending' and x.lane is null
                   limit p_limit
                     for update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

update public.mac_tasks t
   set queue_key = hub_internal.queue_key(t.created_at, t.priority),
       lane = hub_internal.lane_of(t)
 where t.status in ('pending', 'blocked', 'waiting');

-- Lanes with nothing pending go; a task that wants one makes it anew. One that somebody puts a task into just
-- now stays.
create function hub_internal.reap_lanes(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_lane hub_internal.lanes;
  v_done integer := 0;
begin
  for v_lane in
    select l.* from hub_internal.lanes l
     where not exists (select from public.mac_tasks t
                        where t.lane = l.id and t.status = 'pending' and t.run_after is null)
       and not exists (select from public.mac_tasks t
                        where t.lane = l.id and t.status = 'pending' and t.run_after is not null)
     limit p_limit
  loop
    continue when not pg_try_advisory_xact_lock(hub_internal.lane_lock(
      v_lane.server_id, v_lane.project, v_lane.model, v_lane.agent, v_lane.platform, v_lane.device));
    -- Looked at again, with the lock: a task may have been committed since.
    delete from hub_internal.lanes l
     where l.id = v_lane.id
       and not exists (select from public.mac_tasks t
                        where t.lane = l.id and t.status = 'pending' and t.run_after is null)
       and not exists (select from public.mac_tasks t
                        where t.lane = l.id and t.status = 'pending' and t.run_after is not null);
    if found then
      v_done := v_done + 1;
    end if;
  end loop;
  return v_done;
end;
$$;
insert into public.hub_errands (name, about, function, position, counts) values
  ('idle_lanes', 'lanes that nothing waits in go', 'hub_internal.reap_lanes', 810, false);

-- Agents ----------------------------------------------------------------------------------------------------

-- Survey is no model, and takes the place of none that is only limited or not logged in.
create function hub_internal.offer(
  p_agents jsonb, p_agent text, p_model text, p_stopped text[] default null)
  returns jsonb
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  -- Nearly always nothing is stopped, and a claim asks this for each of its lanes.
  if p_stopped is null then
    return (
      select o
        from jsonb_array_elements(p_agents) with ordinality as e (o, n)
       where (p_agent is null or o ->> 'agent' = p_agent)
         and (p_model = 'any' or o -> 'models' ? p_model or o -> 'models' ? 'any')
       order by o ->> 'agent' = 'survey', n
       limit 1
    );
  end if;
  return (
    select o
      from jsonb_array_elements(p_agents) with ordinality as e (o, n)
     where (p_agent is null or o ->> 'agent' = p_agent)
       and (p_model = 'any' or o -> 'models' ? p_model or o -> 'models' ? 'any')
     order by o ->> 'agent' = 'survey',
              p_stopped && array[o ->> 'agent' || '/', o ->> 'agent' || '/' || p_model],
              n
     limit 1
  );
end;
$$;
comment on function hub_internal.offer(jsonb, text, text, text[]) is
  'What a device offers that fits: the agent asked for, if any, with the model asked for; else the first of '
  'those that do, those that are stopped after the others, survey last of all. Null: nothing does.';

-- An agent is a name that somebody means: one that is shipped, or that a machine of these servers offers.
-- Else anybody could make lanes without end, or find out what others' machines run.
create function hub_internal.is_known_agent(p_agent text, p_server_ids uuid[])
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return p_agent in ('claude', 'codex', 'gemini', 'survey')
      or exists (select from public.mesh_devices d
                  where d.revoked_at is null
                    and d.agents @> jsonb_build_array(jsonb_build_object('agent', p_agent))
                    and (d.serves_all
                         or exists (select from public.mesh_device_servers e
                                     where e.device = d.name
                                       and e.server_id = any (p_server_ids)
                                       -- Who may call this could ask for any server.
                                       and e.server_id in (select hub_internal.my_server_ids()))));
end;
$$;
grant execute on function hub_internal.is_known_agent to authenticated;

-- Who may take what -----------------------------------------------------------------------------------------

-- A row for each device that is not revoked and each lane, a column a condition, each of that device alone.
-- has_folder says what the function of that name says (…reach): called for each row, it would be most of a
-- claim's time.
create view hub_internal.device_offers as
select d.name as device,
       l.id as lane,
       l.platform in ('any', d.platform) as on_platform,
       l.device is null or l.device = d.name as has_session,
       d.serves_all
         or exists (select from public.mesh_device_servers e
                     where e.device = d.name and e.server_id = l.server_id)
         as serves,
       l.server_id is null
         or exists (select from public.hub_places p
                     where p.server_id = l.server_id
                       and p.kind = 'project'
                       and (p.device is null or p.device = d.name)
                       and (p.target in ('*', l.project) or starts_with(l.project, p.target || '/')))
         as has_folder,
       -- It has told of projects, and has not been asked for this one, or has not answered.
       d.projects_told and l.project is not null and p.device is null as must_look,
       l.project is null or coalesce(p.present, not d.projects_told) as has_project,
       coalesce(d.disk_free_bytes
                  >= (select q.amount from hub_internal.quotas q where q.name = 'device_free_disk'),
                true)
         as has_disk,
       o.offer ->> 'agent' as agent,
       coalesce(d.memory_free_bytes >= (o.offer ->> 'memory_bytes')::numeric, true) as has_memory,
       s.broken is null or (o.offer ->> 'agent' = any (s.broken)) is not true as logged_in,
       s.limited is null
         or (s.limited && array[o.offer ->> 'agent' || '/', o.offer ->> 'agent' || '/' || l.model])
            is not true
         as within_limits,
       case when s.limited is not null
            then (hub_internal.limit_of(d.name, o.offer ->> 'agent', l.model)).limited_until end
         as limited_until,
       least(d.signed_off_at,
             d.last_heartbeat_at
               + (select s.value from hub_internal.settings s where s.name = 'device_offline_after'))
         as offline_at,
       d.drained_at is null and d.stopping_at is null as accepts,
       d.capacity
  from public.mesh_devices d
 -- Once a device, and only where there is a limit or a broken login anywhere.
 cross join lateral (
   select case when (select exists (select from public.mesh_quota_pools q where q.limited_until > now()))
               then hub_internal.limited_agents(d.name) end as limited,
          case when (select exists (select from public.mesh_logins))
               then (select array_agg(b.agent) from hub_internal.broken_agents(d.name) b) end
            as broken
   offset 0) s
 cross join hub_internal.lanes l
  left join hub_internal.device_projects p on p.device = d.name and p.project = l.project
 -- offset 0: asked once a row, and only where the rest holds.
 cross join lateral (
   select hub_internal.offer(
            d.agents, l.agent, l.model,
            case when s.limited is null and s.broken is null then null
                 else s.limited || (select array_agg(b || '/') from unnest(s.broken) b) end) as offer
   offset 0) o
 where d.revoked_at is null;
comment on view hub_internal.device_offers is
  'What speaks for and against each device taking from each lane, condition by condition, and which agent it '
  'would run. Revoked devices have no row.';
comment on column hub_internal.device_offers.has_session is
  'The lane is for any device, or pinned to this one, which has the session.';
comment on column hub_internal.device_offers.has_project is
  'It said so, or it never tells of projects and did not say that it has not.';
comment on column hub_internal.device_offers.within_limits is
  'Its account is not at a limit of that agent, all of it or what it runs for the model of the lane.';
comment on column hub_internal.device_offers.offline_at is
  'Since when it is offline, or will be unless it is heard of before. Null: it never was heard of.';

-- Who may take what. The claim takes where all conditions hold (eligible), hub_explain_task names the first
-- that no device meets, waking goes by the same. A new condition is one more column of device_offers, and one
-- more in eligible. online and accepts are of the device alone: a claim comes from one that is there, and
-- looks at its own.
--
-- What a device does not decide alone: survey only lists what is in a folder, so it leaves work that did not
-- ask for it by name to a machine that has an agent for it, even where that is busy, at its limit or not
-- logged in. One that has not said yet whether it has the project may have it. Looked for only where survey
-- was chosen: CASE keeps it from costing any other claim.
create view hub_internal.device_lanes as
select c.*,
       c.on_platform and c.has_session and c.serves and c.has_folder and c.has_project and c.has_disk
         and c.agent is not null and c.has_memory and c.logged_in and c.within_limits and not c.yields
         as eligible
  from (select x.*,
               case when x.agent = 'survey'
                    then exists (select
                                   from hub_internal.device_offers o
                                   join hub_internal.lanes l on l.id = o.lane
                                  where o.lane = x.lane
                                    and l.agent is null
                                    and o.device <> x.device
                                    and o.accepts
                                    and o.capacity > 0
                                    and o.offline_at > now()
                                    and o.on_platform
                                    and o.has_session
                                    and o.serves
                                    and o.has_folder
                                    and (o.has_project or o.must_look)
                                    and o.has_disk
                                    and o.agent <> 'survey'
                                    and o.has_memory)
                    else false end as yields
          from hub_internal.device_offers x) c;
comment on view hub_internal.device_lanes is
  'Which device may take from which lane (eligible), condition by condition, and which agent it would run.';
comment on column hub_internal.device_lanes.yields is
  'It would run survey, and another that is online has an agent for it.';

create function hub_internal.held_count(p_device text)
  returns integer
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select count(*)
            from public.mac_tasks t
           where t.claimed_by = p_device and t.status = 'running' and t.lease_expires_at is not null);
end;
$$;
comment on function hub_internal.held_count(text) is
  'How many tasks a device holds by a lease: what its capacity counts.';
