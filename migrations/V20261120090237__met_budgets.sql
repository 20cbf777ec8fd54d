-- Why: which budgets are met, and which lanes they hold; which lanes are under a bound of how many run
-- (…bounds). A claim reads it from the lane, where whoever weighs lanes writes it (…weighing).

-- When the period began that a time is in, by which budget_use counts.
create function hub_internal.period_begin(p_per text, p_at timestamptz)
  returns timestamptz
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_per is null then timestamptz 'epoch'
              else date_trunc(p_per, p_at at time zone 'utc') at time zone 'utc' end;
end;
$$;

-- Null: it never ends.
create function hub_internal.period_end(p_per text, p_at timestamptz)
  returns timestamptz
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return (date_trunc(p_per, p_at at time zone 'utc') + ('1 ' || p_per)::interval) at time zone 'utc';
end;
$$;

-- How each budget stands; p_id: that one alone. level is what may be used in this period.
create function hub_internal.budget_states(p_now timestamptz, p_id bigint default null)
  returns table (id bigint, since timestamptz, until timestamptz, used numeric, level numeric, met boolean)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select s.id, s.since, hub_internal.period_end(s.per, p_now), s.used, s.level, s.used >= s.level
      from (select b.id, b.per, p.since,
                   coalesce(u.used, 0) as used,
                   b.amount + case when b.raised_in = p.since then b.raised else 0 end as level
              from public.hub_budgets b
             cross join lateral (select hub_internal.period_begin(b.per, p_now) as since) p
              left join hub_internal.budget_use u on u.budget_id = b.id and u.since = p.since
             where b.measure <> 'running' and (p_id is null or b.id = p_id)) s;
end;
$$;

-- Of several that are met the nearest to the task is named.
create function hub_internal.scope_rank(p_scope text)
  returns integer
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return array_position(array['task', 'person', 'agent', 'channel', 'project', 'server', 'deployment'],
                        p_scope);
end;
$$;

-- Whether a budget covers what is done there, by that agent, for that person. p_tasks: a task and what it is
-- part of.
create function hub_internal.covers(
    p_budget public.hub_budgets, p_server_id uuid, p_project text, p_channel_id uuid, p_agent text,
    p_person uuid, p_tasks uuid[])
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(
    p_budget.scope = 'deployment'
      or p_budget.server_id = p_server_id
         and case p_budget.scope
               when 'server' then true
               when 'project' then p_budget.subject = p_project
               when 'channel' then p_budget.subject = p_channel_id::text
               when 'agent' then p_budget.subject = p_agent
               when 'person' then p_budget.subject = p_person::text
               else p_budget.subject = any (p_tasks::text[]) end,
    false);
end;
$$;

-- A task, the one that its line of work began with, and those whose agents gave it, or that one, to do.
create function hub_internal.tasks_over(p_task_id uuid, p_root_id uuid)
  returns uuid[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return array(
    with recursive above as (
      select x.id from unnest(array[p_task_id, p_root_id]) x (id) where x.id is not null
      union
      select s.parent_id from above a join hub_internal.subtasks s on s.task_id = a.id
    )
    select a.id from above a);
end;
$$;

-- The subject, where somebody has a budget of it: only then its tasks have lanes of their own.
create function hub_internal.bounded_subject(p_server_id uuid, p_scope text, p_id uuid)
  returns uuid
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return case when p_id is not null
                   and exists (select from public.hub_budgets b
                                where b.scope = p_scope
                                  and b.subject = p_id::text
                                  and b.server_id = p_server_id)
              then p_id end;
end;
$$;

-- Which budget holds each of these lanes back, and which agents may not be used for it; which bounds of how
-- many run cover it, and which its agents. Agents' are apart: others may take what is for any.
create function hub_internal.budgets_for(p_lanes hub_internal.lanes[], p_now timestamptz)
  returns table (lane integer, held_by bigint, held_agents text[], bounds bigint[], agent_bounds jsonb)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if not exists (select from public.hub_budgets) then
    return;
  end if;
  return query
    with counting as materialized (
      select b, b.scope = 'agent' as is_agents, b.measure = 'running' as is_bound
        from public.hub_budgets b
        left join hub_internal.budget_states(p_now) s on s.id = b.id
       where (s.met or b.measure = 'running') and b.scope <> 'task'
    )
    select l.id,
           (array_agg((c.b).id order by hub_internal.scope_rank((c.b).scope), (c.b).id)
              filter (where not c.is_agents and not c.is_bound))[1],
           array_agg(distinct (c.b).subject) filter (where c.is_agents and not c.is_bound),
           array_agg((c.b).id order by (c.b).id) filter (where not c.is_agents and c.is_bound),
           jsonb_object_agg((c.b).subject, (c.b).id) filter (where c.is_agents and c.is_bound)
      from unnest(p_lanes) l
      join counting c on c.is_agents and (c.b).server_id = l.server_id
                         or not c.is_agents
                            and hub_internal.covers(c.b, l.server_id, l.project, l.channel_id, null, l.person,
                                                    null)
     group by l.id;
end;
$$;

-- Whether what waits in a lane waits for the budget of this agent: a machine would run it so, and none may
-- run it by another.
create function hub_internal.held_with_agent(p_lane integer, p_agent text)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select
                   from hub_internal.device_offers o
                  where o.lane = p_lane
                    and o.is_current
                    and o.agent = p_agent
                    and o.on_platform
                    and o.has_session
                    and o.serves
                    and o.has_folder
                    and o.accepts)
     and not exists (select from hub_internal.able_offers o where o.lane = p_lane and o.is_current);
end;
$$;

-- What of a use still counts later: half after each share_memory.
create function hub_internal.faded(p_used double precision, p_from timestamptz, p_to timestamptz)
  returns double precision
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return p_used * power(0.5::double precision,
                        least(1000, greatest(0, extract(epoch from p_to - p_from))
                                      / extract(epoch from hub_internal.setting('share_memory')))
                          ::double precision);
end;
$$;

-- How far what waits there stands back for others to have their share (…sharing).
create function hub_internal.delay_of(p_server_id uuid, p_project text)
  returns interval
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce((select sum(u.delay)
                     from hub_internal.share_use u
                    -- So written it has an index.
                    where (u.server_id = p_server_id or p_server_id is null and u.server_id is null)
                      and (u.project is null or u.project = coalesce(p_project, ''))), interval '0');
end;
$$;

-- When a period ends in which a budget is met: what waits for the new one goes on in the round that begins
-- then. Reckoned from the last round, so that one which is over and was not looked at is due now.
create function hub_internal.next_period()
  returns timestamptz
  language plpgsql
  stable
  security definer                                -- which budgets are met is nobody's to read
  set search_path = ''
as $$
begin
  return (select min(hub_internal.period_end(b.per, coalesce(r.ran_at, now())))
            from hub_internal.weighed_budgets m
            join public.hub_budgets b on b.id = m.budget_id and b.per is not null
           cross join hub_internal.rounds r);
end;
$$;
grant execute on function hub_internal.next_period to service_role;
