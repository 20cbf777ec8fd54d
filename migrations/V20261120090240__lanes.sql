-- Why: who may take which task. A lane is everything that decides it, as one number; device_lanes says for
-- each device and lane whether it may, a column a condition.
--
--     a task                     -> its lane, by what decides it (lane_of)
--     device x lane x way        -> device_offers, condition by condition
--     ... in the way it goes now -> device_lanes: the claim, waking and explaining read it

-- Lanes -----------------------------------------------------------------------------------------------------

-- What puts a task into a lane holds this, shared, until it commits; what takes a lane away holds it alone:
-- it sees the task, or it waits.
create function hub_internal.lane_lock(
  p_server_id uuid, p_project text, p_model text, p_agent text, p_platform text, p_device text,
  p_pinned boolean, p_channel_id uuid, p_person uuid)
  returns bigint
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hashtextextended(
    concat_ws('/', 'hub_lane', p_server_id, p_project, p_model, p_agent, p_platform, p_device,
              case when p_pinned then 'pinned' end, 'c' || p_channel_id, 'p' || p_person), 0);
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

-- The agent that a task in the queue is for: whose session it is pinned to, else the one that was asked for.
-- The former stands in `agent` while the task is pinned, and goes with the pin.
create function hub_internal.wanted_agent(p_task public.mac_tasks)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_task.session_id is not null and p_task.session_device is not null
              then coalesce(p_task.agent, p_task.requested_agent)
              else p_task.requested_agent end;
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
  v_device  text;
  v_agent   text := p_task.requested_agent;
  v_model   text := p_task.model_preference;
  v_offers  jsonb;
  v_pinned  boolean;
  v_channel uuid;
  v_person  uuid;
  v_key     bigint;
  v_lane    hub_internal.lanes;
begin
  if exists (select from public.hub_budgets b where b.scope in ('channel', 'person')) then
    v_channel := hub_internal.bounded_subject(p_task.server_id, 'channel', p_task.channel_id);
    v_person := hub_internal.bounded_subject(p_task.server_id, 'person', p_task.created_by);
  end if;
  -- Only a machine that is still enrolled can have the session; else the follow-up starts afresh anywhere.
  if p_task.session_id is not null and p_task.session_device is not null then
    select d.name, d.agents into v_device, v_offers
      from public.mesh_devices d
     where d.name = p_task.session_device and d.revoked_at is null;
    if found then
      v_agent := hub_internal.wanted_agent(p_task);
      v_model := hub_internal.model_offered(v_offers, v_agent, v_model);
    end if;
  elsif p_task.requested_device is not null then
    select d.name into v_device
      from public.mesh_devices d
     where d.name = p_task.requested_device and d.revoked_at is null;
  end if;
  -- Where the agent or the machine is chosen, or any model will do, there is no other way anyhow.
  v_pinned := p_task.model_pinned
              and v_model <> 'any'
              and v_agent is null
              and v_device is null;
  v_key := hub_internal.lane_lock(p_task.server_id, p_task.project, v_model,
                                  v_agent, p_task.platform, v_device, v_pinned, v_channel, v_person);
  perform pg_advisory_xact_lock_shared(v_key);
  select l.id into v_lane.id
    from hub_internal.lanes l
   where l.key = v_key
     and l.server_id is not distinct from p_task.server_id
     and l.project is not distinct from p_task.project
     and l.model = v_model
     and l.agent is not distinct from v_agent
     and l.platform = p_task.platform
     and l.device is not distinct from v_device
     and l.pinned = v_pinned
     and l.channel_id is not distinct from v_channel
     and l.person is not distinct from v_person
   order by l.id
   limit 1;
  if not found then
    if p_bounded then
      perform hub_internal.require_room('server_lanes',
        (select count(*) from hub_internal.lanes l where l.server_id = p_task.server_id));
    end if;
    insert into hub_internal.lanes
      (key, server_id, project, model, pinned,
       agent, platform, device, channel_id, person,
       ways, weighed_at, delay)
    values
      (v_key, p_task.server_id, p_task.project, v_model, v_pinned,
       v_agent, p_task.platform, v_device, v_channel, v_person,
       array[v_model], now(), hub_internal.delay_of(p_task.server_id, p_task.project))
    returning * into v_lane;
    perform hub_internal.put_weighed(array[v_lane], now());
  end if;
  return v_lane.id;
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
                     for no key update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

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
    continue when not pg_try_advisory_xact_lock(v_lane.key);
    -- Looked at again, with the lock: a task may have been committed since.
    -- Whoever has its row at this moment is not waited for.
    delete from hub_internal.lanes l
     where l.id in (select x.id from hub_internal.lanes x where x.id = v_lane.id for update skip locked)
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

-- Who may take what -----------------------------------------------------------------------------------------

-- A row for each device that is not revoked, each lane and each of its ways, a column a condition, each of
-- that device alone. What is of the device is looked at anew by whoever asks: a limit holds everywhere at
-- once. What is of the lane stands in its row, worked out seldom (…weighing): a claim costs the same with all
-- of it. has_folder says what the function of that name says (…reach): called for each row, it would be most
-- of a claim's time.
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
         or (s.limited && array[o.offer ->> 'agent' || '/', o.offer ->> 'agent' || '/' || w.model])
            is not true
         as within_limits,
       -- Survey changes nothing: it is in nobody's way. CASE: nobody looks where projects have worktrees.
       case when p.kind = 'plain' and o.offer ->> 'agent' <> 'survey' then p.project end as place,
       case when p.kind = 'plain' and o.offer ->> 'agent' <> 'survey'
            then hub_internal.place_is_free(d.name, p.project)
            else true end as is_free,
       case when s.limited is not null
            then (hub_internal.limit_of(d.name, o.offer ->> 'agent', w.model)).limited_until end
         as limited_until,
       l.held_by is null
         and (l.held_agents is null or (o.offer ->> 'agent' <> all (l.held_agents)) is not false)
         as within_budget,
       case when l.bounds is null and l.agent_bounds is null then true
            else hub_internal.has_room(l.bounds, (l.agent_bounds ->> (o.offer ->> 'agent'))::bigint,
                                       (select hub_internal.full_bounds())) end
         as has_room,
       l.delay,
       case when l.bounds is not null or l.agent_bounds is not null
            then l.bounds || (l.agent_bounds ->> (o.offer ->> 'agent'))::bigint end
         as bounds,
       least(d.signed_off_at,
             d.last_heartbeat_at
               + (select s.value from hub_internal.settings s where s.name = 'device_offline_after'))
         as offline_at,
       d.drained_at is null and d.stopping_at is null as accepts,
       d.capacity,
       w.model as as_model,
       (w.n - 1)::integer as way,
       w.model = coalesce(l.runs_as, l.model) as is_current
  from public.mesh_devices d
 -- Once a device, and only where there is a limit or a broken login anywhere.
 cross join lateral (
   select case when (select exists (select from public.mesh_quota_pools q where q.limited_until > now()))
               then hub_internal.limited_agents(d.name) end as limited,
          case when (select exists (select from public.mesh_logins))
               then hub_internal.broken_names(d.name) end
            as broken
   offset 0) s
 cross join hub_internal.lanes l
 cross join lateral unnest(l.ways) with ordinality w (model, n)
  left join hub_internal.device_projects p on p.device = d.name and p.project = l.project
 -- offset 0: asked once a row, and only where the rest holds.
 cross join lateral (
   select hub_internal.offer(
            d.agents, l.agent, w.model,
            case when s.limited is null and s.broken is null and l.held_agents is null
                      and l.agent_bounds is null then null
                 else hub_internal.stopped_agents(
                        s.limited, s.broken, l.held_agents, l.agent_bounds,
                        (select hub_internal.full_bounds())) end)
            as offer
   offset 0) o
 where d.revoked_at is null;
comment on view hub_internal.device_offers is
  'What speaks for and against each device taking from each lane, condition by condition, and which agent it '
  'would run. Revoked devices have no row.';
comment on column hub_internal.device_offers.way is
  'Which of the ways of the lane: 0 its own model, then what stands in for it (as_model).';
comment on column hub_internal.device_offers.is_current is 'It is the way that the lane goes now.';
comment on column hub_internal.device_offers.has_session is
  'The lane is for any device, or pinned to this one, which has the session or was asked for by name.';
comment on column hub_internal.device_offers.has_project is
  'It said so, or it never tells of projects and did not say that it has not.';
comment on column hub_internal.device_offers.place is
  'The project, where it is worked in in place there: one task at a time.';
comment on column hub_internal.device_offers.is_free is 'Nothing runs in that place.';
comment on column hub_internal.device_offers.within_limits is
  'Its account is not at a limit of that agent, all of it or what it runs for that model.';
comment on column hub_internal.device_offers.within_budget is
  'No budget that is met covers the lane, or the agent in its server.';
comment on column hub_internal.device_offers.has_room is
  'Fewer tasks run than may, under each bound that covers the lane, or the agent in its server (bounds).';
comment on column hub_internal.device_offers.offline_at is
  'Since when it is offline, or will be unless it is heard of before. Null: it never was heard of.';

-- Whether another machine that is there has an agent for what is for no agent by name, survey apart; also one
-- that is busy, at its limit or not logged in. A function, as all that few rows ask for: what stands in a
-- view is made ready by each claim, also where it is not looked at.
create function hub_internal.others_can(p_lane integer, p_device text)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select
                   from hub_internal.device_offers o
                   join hub_internal.lanes l on l.id = o.lane
                  where o.lane = p_lane
                    and o.is_current
                    and l.agent is null
                    and o.device <> p_device
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
                    and o.has_memory);
end;
$$;

-- Who may take what. The claim takes where all conditions hold (eligible), hub_explain_task names the first
-- that no device meets, waking goes by the same. A new condition is one more column of device_offers, and one
-- more in eligible. online and accepts are of the device alone: a claim comes from one that is there, and
-- looks at its own.
--
-- What a device does not decide alone: survey only lists what is in a folder, so it leaves work that did not
-- ask for it by name to a machine that has an agent for it, even where that is busy, at its limit or not
-- logged in. One that has not said yet whether it has the project may have it. Looked for only where survey
-- was chosen (others_can): CASE keeps it from costing any other claim.
create view hub_internal.device_lanes as
select c.*,
       c.on_platform and c.has_session and c.serves and c.has_folder and c.has_project and c.has_disk
         and c.is_free and c.agent is not null and c.has_memory and c.logged_in and c.within_limits
         and c.within_budget and c.has_room and not c.yields
         as eligible
  from (select x.*,
               case when x.agent = 'survey' then hub_internal.others_can(x.lane, x.device)
                    else false end as yields
          from hub_internal.device_offers x
         where x.is_current) c;
comment on view hub_internal.device_lanes is
  'Which device may take from which lane (eligible) in the way that it goes now, condition by condition, and '
  'which agent it would run.';
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
