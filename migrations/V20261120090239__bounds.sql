-- Why: how many tasks run at once has a bound. What runs is counted by each claim, since it must be exact;
-- so that claims seldom wait for each other, they hold a bound together as long as there is much room.

-- How many tasks run under each bound of how many may. Counted once for all that are alike: there are many
-- that run, and few kinds of them. What `covers` says is said here once more, since a claim asks it.
create function hub_internal.running_under(p_ids bigint[] default null)
  returns table (id bigint, amount numeric, running bigint)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    with kinds as materialized (
      select t.server_id, t.project, t.channel_id, t.agent, t.created_by, d.serves_all, count(*) as n
        from public.mac_tasks t
        left join public.mesh_devices d on d.name = t.claimed_by
       where t.status = 'running'
       group by 1, 2, 3, 4, 5, 6
    )
    select b.id, b.amount,
           coalesce((select sum(k.n)
                       from kinds k
                      -- As with what is used: of machines that serve all.
                      where b.scope = 'deployment' and k.serves_all
                         or k.server_id = b.server_id
                            and case b.scope when 'server' then true
                                             when 'project' then k.project = b.subject
                                             when 'channel' then k.channel_id::text = b.subject
                                             when 'agent' then k.agent = b.subject
                                             else k.created_by::text = b.subject end), 0)::bigint
      from public.hub_budgets b
     where b.measure = 'running' and (p_ids is null or b.id = any (p_ids));
end;
$$;

-- How many run at all.
create function hub_internal.running_count()
  returns bigint
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select count(*) from public.mac_tasks t where t.status = 'running');
end;
$$;

-- Bounds under which as many run as may. A claim has counted already, and says which (hub.full_bounds).
create function hub_internal.full_bounds()
  returns bigint[]
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_known text := nullif(current_setting('hub.full_bounds', true), '');
begin
  if v_known is not null then
    return v_known::bigint[];
  end if;
  return array(select r.id from hub_internal.running_under() r where r.running >= r.amount);
end;
$$;

create function hub_internal.has_room(p_bounds bigint[], p_bound bigint, p_full bigint[])
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return (p_bounds && p_full) is not true and (p_bound = any (p_full)) is not true;
end;
$$;

-- Of two claims at once the second sees what the first took: a claim holds, until it commits, the bounds of
-- the lanes that it may look into and where something waits, in their order. With others, as long as there is
-- room for all machines to take at once what a claim takes with others; else alone. Where there is none at
-- all nobody waits for anybody: whatever ends wakes (free_room). Nor for a bound that is as large as all
-- machines together, which binds nobody. Gives how many more may run under each; null: there is room enough.
-- The time it takes is a claim's: where all that runs anywhere leaves so much room, nothing else is counted.
create function hub_internal.lock_bounds(p_device public.mesh_devices, p_want int)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
  set plan_cache_mode = force_generic_plan
as $$
declare
  c_most  constant integer := 50;                 -- what a claim takes with others
  v_all   numeric;                                -- what all machines take so; some may come meanwhile
  v_ids   bigint[];
  v_least numeric;
  v_runs  bigint;
  v_as    text[];                                 -- how each is held
  v_room  jsonb;
  v_left  numeric;
  v_held  bigint[] := array[]::bigint[];
begin
  select array_agg(b.id order by b.id), min(b.amount), hub_internal.running_count(),
         (((select count(*) from public.mesh_devices d where d.revoked_at is null) + 8) * c_most)::numeric
    into v_ids, v_least, v_runs, v_all
    from public.hub_budgets b
   where b.measure = 'running'
     and (p_device.serves_all
          or b.server_id is null
          or exists (select from public.mesh_device_servers e
                      where e.device = p_device.name and e.server_id = b.server_id));
  if v_ids is null then
    return null;
  end if;
  if p_want <= c_most and cardinality(v_ids) <= 20 and v_least >= v_all + v_runs then
    perform pg_advisory_xact_lock_shared(hashtextextended('hub_bound:' || i.id, 0)) from unnest(v_ids) i (id);
    -- Where it became too little meanwhile, nothing is taken: the next claim comes alone.
    if v_least < v_all + hub_internal.running_count() then
      perform pg_notify('hub_tasks', '');
      perform hub_internal.wake_device(p_device.name);
      perform set_config('hub.full_bounds', v_ids::text, true);
    else
      perform set_config('hub.full_bounds', '{}', true);
    end if;
    return null;
  end if;
  with lanes as materialized (
    select l.bounds, l.agent_bounds,
           exists (select from public.mac_tasks t
                    where t.lane = l.id and t.status = 'pending' and t.run_after is null)
             or exists (select from public.mac_tasks t
                         where t.lane = l.id and t.status = 'pending' and t.run_after is not null
                           and t.run_after <= now())
             as waits
      from hub_internal.lanes l
     where (l.bounds is not null or l.agent_bounds is not null)
       and (p_device.serves_all
            or exists (select from public.mesh_device_servers e
                        where e.device = p_device.name and e.server_id = l.server_id))
  ), machines as materialized (
    select sum(d.capacity) as capacity from public.mesh_devices d where d.revoked_at is null
  ), bounds as (
    select u.id, bool_or(u.waits) as waits
      from (select unnest(l.bounds) as id, l.waits from lanes l
            union all
            select a.value::bigint, l.waits
              from lanes l
             cross join lateral jsonb_each_text(l.agent_bounds) a) u
     group by u.id
  )
  select array_agg(b.id order by b.id),
         array_agg(case when b.amount >= m.capacity then 'free' when x.waits then 'open' else 'closed' end
                   order by b.id)
    into v_ids, v_as
    from bounds x
    join public.hub_budgets b on b.id = x.id and b.measure = 'running'
   cross join machines m
  having bool_or(b.amount < m.capacity);
  if v_ids is null then
    return null;
  end if;
  select jsonb_object_agg(r.id, r.amount - r.running) into v_room from hub_internal.running_under(v_ids) r;
  for v_at in 1 .. cardinality(v_ids) loop
    v_left := (v_room ->> v_ids[v_at]::text)::numeric;
    continue when v_as[v_at] <> 'open' or v_left < 1;
    v_held := v_held || v_ids[v_at];
    if p_want <= c_most and v_left >= v_all then
      v_as[v_at] := 'shared';
      perform pg_advisory_xact_lock_shared(hashtextextended('hub_bound:' || v_ids[v_at], 0));
    else
      perform pg_advisory_xact_lock(hashtextextended('hub_bound:' || v_ids[v_at], 0));
    end if;
  end loop;
  -- Counted again, now that nobody else takes what could be too much.
  if v_held <> '{}' then
    select v_room || jsonb_object_agg(r.id, r.amount - r.running)
      into v_room
      from hub_internal.running_under(v_held) r;
  end if;
  for v_at in 1 .. cardinality(v_ids) loop
    if v_as[v_at] = 'closed' then
      v_room := v_room || jsonb_build_object(v_ids[v_at], 0);
    elsif v_as[v_at] = 'shared' and (v_room ->> v_ids[v_at]::text)::numeric < v_all then
      v_room := v_room || jsonb_build_object(v_ids[v_at], 0);
      perform pg_notify('hub_tasks', '');
      perform hub_internal.wake_device(p_device.name);
    end if;
  end loop;
  perform set_config('hub.full_bounds',
                     array(select r.key from jsonb_each_text(v_room) r where r.value::numeric < 1)::text,
                     true);
  return v_room;
end;
$$;

create function hub_internal.fits(p_room jsonb, p_bounds bigint[])
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  for v_at in 1 .. coalesce(cardinality(p_bounds), 0) loop
    if (p_room ->> p_bounds[v_at]::text)::numeric < 1 then
      return false;
    end if;
  end loop;
  return true;
end;
$$;

-- Which of these may run, one after the other; p_room is less by them.
create function hub_internal.take_room(inout p_room jsonb, p_bounds text[], out fits boolean[])
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_ids    text[];
  v_left   numeric[];
  v_bounds text[];
  v_fits   boolean;
  v_at     integer;
begin
  select array_agg(r.key), array_agg(r.value::numeric) into v_ids, v_left from jsonb_each_text(p_room) r;
  for v_task in 1 .. cardinality(p_bounds) loop
    v_bounds := coalesce(p_bounds[v_task]::text[], '{}');
    v_fits := true;
    for v_nth in 1 .. cardinality(v_bounds) loop
      v_fits := v_fits and (v_left[array_position(v_ids, v_bounds[v_nth])] < 1) is not true;
    end loop;
    fits := fits || v_fits;
    for v_nth in 1 .. case when v_fits then cardinality(v_bounds) else 0 end loop
      v_at := array_position(v_ids, v_bounds[v_nth]);
      if v_at is not null then
        v_left[v_at] := v_left[v_at] - 1;
      end if;
    end loop;
  end loop;
  p_room := jsonb_object(v_ids, v_left::text[]);
end;
$$;
