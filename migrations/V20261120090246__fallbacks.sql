-- Why: what stands in for a model that is at its limit on every machine, and what people are told of it.
-- Whether it is, is a matter of limits alone: a model that no machine has, or whose machines are away, is
-- waited for.

-- A model, then its fallbacks, in the order in which they are tried.
create function hub_internal.ways_of(p_server_id uuid, p_model text)
  returns text[]
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_ways     text[] := array[p_model];
  v_fallback text;
begin
  for v_fallback in
    select f.fallback
      from public.hub_model_fallbacks f
     where f.model = p_model
       and f.server_id is not distinct from (select o.server_id
                                               from public.hub_model_fallbacks o
                                              where o.server_id = p_server_id and o.model = p_model
                                              limit 1)
     order by f.position
  loop
    exit when v_fallback = 'wait';
    v_ways := v_ways || v_fallback;
  end loop;
  return v_ways;
end;
$$;

-- Whether another model may take the place of a lane's: not where the agent or the machine is chosen, too.
create function hub_internal.may_fall_back(p_lane hub_internal.lanes)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return not p_lane.pinned and p_lane.model <> 'any' and p_lane.agent is null and p_lane.device is null;
end;
$$;

-- What could be done in each way of each lane, limits apart. Survey is no model, so it stands in for none.
-- Whether the machine is there the reader looks at (offline_at).
create view hub_internal.able_offers as
select o.*
  from hub_internal.device_offers o
 where o.on_platform
   and o.has_session
   and o.serves
   and o.has_folder
   and (o.has_project or o.must_look)
   and o.has_disk
   and o.has_memory
   and o.agent is not null
   and o.agent <> 'survey'
   and o.logged_in
   and o.within_budget
   and o.accepts
   and o.capacity > 0;
comment on view hub_internal.able_offers is
  'Machines that take work and could take that of a lane in one of its ways, were it not for a limit.';

-- Of these lanes those that are to go another way, and which. A lane goes its own as long as one machine
-- could run that, and also where none is there that could. Else all ways are tried in their order; where each
-- is at its limit it waits for whichever is free first. Many at once: what limits a machine is looked up once
-- a call.
create function hub_internal.fallbacks_for(p_lanes integer[], p_now timestamptz)
  returns table (lane integer, runs_as text)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if p_lanes = '{}'
     or not exists (select from public.mesh_quota_pools q where q.limited_until > now()) then
    return;
  end if;
  return query
    with dry as materialized (
      select o.lane
        from hub_internal.able_offers o
       where o.lane = any (p_lanes) and o.way = 0 and o.offline_at > p_now
       group by o.lane
      having not bool_or(o.within_limits)
    )
    select distinct on (o.lane) o.lane, o.as_model
      from hub_internal.able_offers o
     where o.lane in (select dry.lane from dry) and o.way > 0 and o.offline_at > p_now and o.within_limits
     order by o.lane, o.way;
end;
$$;

-- Of the limits that keep a lane from its own model the one that ends first, as people read it.
create function hub_internal.dry_text(
  p_lane hub_internal.lanes, p_now timestamptz, out text text, out until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  select hub_internal.limit_text(o.agent, null, hub_internal.limit_of(o.device, o.agent, o.as_model)),
         o.limited_until
    into text, until
    from hub_internal.able_offers o
   where o.lane = p_lane.id and o.way = 0 and o.offline_at > p_now and not o.within_limits
   order by o.limited_until, o.device
   limit 1;
end;
$$;

-- What ran an attempt, as people read it.
create function hub_internal.used_text(p_attempt public.hub_task_attempts)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_attempt.fallback_from is null then p_attempt.model
              else format('%s (instead of %s)', coalesce(p_attempt.model, p_attempt.agent),
                          p_attempt.fallback_from) end;
end;
$$;

-- A claim took a task as another model than its own.
create function hub_internal.tell_fallback(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_lane hub_internal.lanes;
begin
  select l.* into v_lane from hub_internal.lanes l where l.id = p_task.lane;
  perform hub_internal.tell('fallback', p_task, p_task.thread_id,
    p_reason => concat_ws(': ', p_task.model, (hub_internal.dry_text(v_lane, p_task.claimed_at)).text));
end;
$$;

-- Whoever changes the order changes how lanes go that are there.
create function hub_internal.fallbacks_changed()
  returns trigger
  language plpgsql
  security definer                                -- lanes are bookkeeping: nobody holds a grant on them
  set search_path = ''
as $$
declare
  v_row public.hub_model_fallbacks := coalesce(new, old);
begin
  perform hub_internal.request_weighing(null, v_row.server_id);
  return null;
end;
$$;
create trigger hub_model_fallbacks_changed
  after insert or update or delete on public.hub_model_fallbacks
  for each row execute function hub_internal.fallbacks_changed();
