-- Why: what of who may take a task is not a device's but a lane's is worked out seldom, by one function, and
-- written to the lane's row, where a claim reads it.
--
--     a new lane                                  -> weighed as it is made (lane_of)
--     a limit, a login, a machine, an order       -> asks that lanes be weighed (reweigh), at once
--     a budget is met, or is not any more         -> those that it covers (note_met), in the same round
--     nothing was heard of                        -> weighed each minute, where that could matter
--
-- No claim on a model at its limit depends on it: that, device_lanes sees by itself.

-- Lanes as they are to be.
create function hub_internal.weighed(p_lanes hub_internal.lanes[], p_now timestamptz)
  returns setof hub_internal.lanes
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_ways integer[] := array(select l.id from unnest(p_lanes) l where cardinality(l.ways) > 1);
  v_row  record;
  v_lane hub_internal.lanes;
begin
  for v_row in
    select l as lane, f.runs_as
      from unnest(p_lanes) l
      left join hub_internal.fallbacks_for(v_ways, p_now) f on f.lane = l.id
  loop
    v_lane := v_row.lane;
    v_lane.runs_as := v_row.runs_as;
    v_lane.weighed_at := p_now;
    return next v_lane;
  end loop;
end;
$$;

-- Writes what differs; gives those whose tasks are for others now.
create function hub_internal.put_weighed(p_lanes hub_internal.lanes[], p_now timestamptz)
  returns integer[]
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_changed integer[];
begin
  -- Its ways and what holds it first: they are what it is weighed by.
  update hub_internal.lanes l
     set ways = hub_internal.ways_of(l.server_id, l.model)
   where l.id in (select x.id from unnest(p_lanes) x where hub_internal.may_fall_back(x))
     and l.ways <> hub_internal.ways_of(l.server_id, l.model);
  update hub_internal.lanes l
     set held_by = h.held_by,
         held_agents = h.held_agents,
         bounds = h.bounds,
         agent_bounds = h.agent_bounds
    from (select x.id, b.held_by, b.held_agents, b.bounds, b.agent_bounds
            from unnest(p_lanes) x
            left join hub_internal.budgets_for(p_lanes, p_now) b on b.lane = x.id) h
   where l.id = h.id
     and (l.held_by, l.held_agents, l.bounds, l.agent_bounds)
         is distinct from (h.held_by, h.held_agents, h.bounds, h.agent_bounds);
  with weighed as materialized (
    select w.*
      from hub_internal.weighed(
             array(select l from hub_internal.lanes l where l.id in (select x.id from unnest(p_lanes) x)),
             p_now) w
  ), written as (
    update hub_internal.lanes l
       set runs_as = w.runs_as,
           weighed_at = w.weighed_at
      from weighed w
     where l.id = w.id and (l.runs_as, l.weighed_at) is distinct from (w.runs_as, w.weighed_at)
  )
  select array_agg(w.id) into v_changed
    from weighed w
    join unnest(p_lanes) l on l.id = w.id
   where (w.runs_as, w.held_by, w.held_agents, w.bounds, w.agent_bounds)
         is distinct from (l.runs_as, l.held_by, l.held_agents, l.bounds, l.agent_bounds);
  return coalesce(v_changed, '{}');
end;
$$;

-- Has lanes weighed as soon as this commits, where that can make a difference: a limit holds, or a lane goes
-- another way.
create function hub_internal.request_weighing(p_device text, p_server_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if exists (select from public.mesh_quota_pools q where q.limited_until > now())
     or exists (select from hub_internal.lanes l where l.runs_as is not null) then
    insert into hub_internal.weigh_requests (device, server_id) values (p_device, p_server_id);
    perform hub_internal.wake_errand('lanes_weighed');
  end if;
end;
$$;

-- Something of this machine is otherwise now.
create function hub_internal.reweigh(p_device text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.request_weighing(p_device, null);
end;
$$;

-- The lanes that were asked for are marked.
create function hub_internal.mark_to_weigh()
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_limited boolean := exists (select from public.mesh_quota_pools q where q.limited_until > now());
  v_devices text[];
  v_servers uuid[];
  v_all     boolean;
begin
  with taken as (
    delete from hub_internal.weigh_requests r
     where r.id in (select x.id from hub_internal.weigh_requests x for update skip locked)
    returning r.device, r.server_id
  )
  select array_agg(distinct t.device),
         array_agg(distinct t.server_id),
         bool_or(coalesce(d.serves_all, t.device is null and t.server_id is null))
    into v_devices, v_servers, v_all
    from taken t
    left join public.mesh_devices d on d.name = t.device;
  if v_all is null then
    return;                                       -- nobody asked
  end if;
  update hub_internal.lanes l
     set weighed_at = null
   where l.id in (select x.id
                    from hub_internal.lanes x
                   where x.weighed_at is not null
                     and (x.runs_as is not null or v_limited and hub_internal.may_fall_back(x))
                     and (v_all
                          or x.server_id = any (v_servers)
                          or x.server_id in (select e.server_id
                                               from public.mesh_device_servers e
                                              where e.device = any (v_devices)))
                     for no key update skip locked);
end;
$$;

-- Those that are to be weighed, and those that could be otherwise by now: machines come and go without a
-- word. As many at a time as take less than a second among a hundred machines; while there are more it asks
-- to be called again. Counts those that changed, and wakes whoever may take from them now.
create function hub_internal.weigh_lanes(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_most    integer := least(p_limit, 200);
  v_limited boolean := exists (select from public.mesh_quota_pools q where q.limited_until > now());
  v_met     boolean := exists (select from hub_internal.weighed_budgets);
  v_lanes   hub_internal.lanes[];
  v_changed integer[];
begin
  perform hub_internal.mark_to_weigh();
  v_lanes := array(
    select l
      from hub_internal.lanes l
     where l.weighed_at is null
        or l.weighed_at < p_now - interval '50 seconds'
           and (l.runs_as is not null
                or v_met
                or v_limited
                   and hub_internal.may_fall_back(l)
                   and exists (select
                                 from public.mesh_quota_pools q
                                 left join public.mesh_devices d on d.name = q.reported_by
                                where q.limited_until > now()
                                  and (l.server_id = any (q.servers)
                                       or q.servers is null
                                          and (d.serves_all
                                               or exists (select from public.mesh_device_servers e
                                                           where e.device = d.name
                                                             and e.server_id = l.server_id)))))
     order by l.weighed_at nulls first
     limit v_most
       for no key update of l skip locked);
  if v_lanes = '{}' then
    return 0;
  end if;
  v_changed := hub_internal.put_weighed(v_lanes, p_now);
  if v_changed <> '{}' then
    perform hub_internal.wake_lanes(v_changed);
    perform pg_notify('hub_tasks', '');
  end if;
  if cardinality(v_lanes) = v_most then
    perform hub_internal.wake_errand('lanes_weighed');
  end if;
  return cardinality(v_changed);
end;
$$;

-- Whether whoever keeps time is to begin a round for it: also where what was used may meet a budget.
create function hub_internal.lanes_to_weigh()
  returns boolean
  language plpgsql
  stable
  security definer                                -- lanes are bookkeeping: nobody holds a grant on them
  set search_path = ''
as $$
begin
  return exists (select from hub_internal.weigh_requests)
      or exists (select from hub_internal.lanes l where l.weighed_at is null)
      or exists (select from public.hub_budgets b where b.measure <> 'running')
         and exists (select from hub_internal.spendings);
end;
$$;
grant execute on function hub_internal.lanes_to_weigh to service_role;

insert into public.hub_errands (name, about, wakes, function, position) values
  ('lanes_weighed', 'lanes whose model is at its limit everywhere go another way, and back', true,
   'hub_internal.weigh_lanes', 142);

-- Tasks that were here before the hub.
update public.mac_tasks t
   set queue_key = hub_internal.queue_key(t.created_at, t.priority),
       lane = hub_internal.lane_of(t)
 where t.status in ('pending', 'blocked', 'waiting');
