-- Why: !team without a list: an agent plans the parts. What it says is looked at here, before it counts, and
-- followed once.

-- Asking for it ---------------------------------------------------------------------------------------------

-- A task that only plans, as part 0 of the request, which needs it to end well.
create function hub_internal.add_planner(p_team public.hub_teams, p_parent public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_id    uuid := gen_random_uuid();
  v_top   uuid;
  v_depth integer;
begin
  select x.top_id, x.depth into v_top, v_depth from hub_internal.top_of(p_parent) x;
  insert into public.mac_tasks
    (id,
     content,
     project,
     model_preference,
     model_pinned,
     requested_agent,
     priority,
     task_type,
     platform,
     channel_id, thread_id, server_id, parent_id, team_id,
     created_by, created_at)
  values
    (v_id,
     hub_internal.shorten(
       concat('Plan how the request below is done by several agents at once. Do not do it: look around as '
              'far as the plan needs it. End with the plan alone, as a list in JSON between ```json and ```. '
              'Each part of it is an object: "content" (all that who does it is told), "title" (a line), and '
              'where it is wanted "needs" (the positions, from 1, of the parts that must have ended before), '
              '"on_failure" ("fail" or "continue": what it does where one of those failed), "model" '
              '("claude", "codex", "gemini"), "agent", "project". At most 20 parts, none too small to be '
              'worth a workspace of its own, no two that change the same lines. [] where it is better done '
              'as one.',
              E'\n\nThe request:\n', p_parent.content), 100000),
     p_parent.project,
     case when p_parent.model_preference <> 'any' or p_parent.requested_agent is not null
            then p_parent.model_preference
          else coalesce((select m.model from public.hub_routing_models m where m.task_type = 'plan'), 'any')
     end,
     p_parent.model_pinned,
     p_parent.requested_agent,
     greatest(p_parent.priority, 7),
     'plan',
     p_parent.platform,
     p_parent.channel_id, p_parent.thread_id, p_parent.server_id, p_parent.id, p_team.id,
     p_parent.created_by, clock_timestamp());
  insert into hub_internal.subtasks (task_id, parent_id, top_id, depth, position, title)
  values (v_id, p_parent.id, v_top, v_depth + 1, 0, 'plan');
  insert into public.hub_task_needs (task, needs, on_failure) values (p_parent.id, v_id, 'fail');
end;
$$;

create function hub_internal.is_planner(p_task_id uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select from hub_internal.subtasks s where s.task_id = p_task_id and s.position = 0);
end;
$$;

-- What a plan must be ---------------------------------------------------------------------------------------

-- What is wrong with it; null: nothing.
create function hub_internal.check_plan(p_plan jsonb)
  returns text
  language plpgsql
  stable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_most  bigint := (select q.amount from hub_internal.quotas q where q.name = 'open_subtasks');
  v_count integer;
  v_part  jsonb;
  v_key   text;
  v_left  integer[];
  v_free  integer[];
begin
  if jsonb_typeof(p_plan) is distinct from 'array' then
    return 'it is no list';
  end if;
  v_count := jsonb_array_length(p_plan);
  if v_count > v_most then
    return format('it has %s parts, and may have %s', v_count, v_most);
  end if;
  for i in 1 .. v_count loop
    v_part := p_plan -> (i - 1);
    if jsonb_typeof(v_part) <> 'object' then
      return format('part %s is no object', i);
    end if;
    select k into v_key
      from jsonb_object_keys(v_part) k
     where k not in ('content', 'title', 'model', 'agent', 'project', 'needs', 'on_failure')
     limit 1;
    if v_key is not null then
      return format('part %s has a key %L, which is none', i, left(v_key, 40));
    end if;
    select e.key into v_key
      from jsonb_each(v_part) e
     where e.key <> 'needs' and jsonb_typeof(e.value) not in ('string', 'null')
     limit 1;
    if v_key is not null then
      return format('%s of part %s is no text', v_key, i);
    elsif hub_internal.trimmed(v_part ->> 'content') is null or char_length(v_part ->> 'content') > 90000 then
      return format('content of part %s has not 1 to 90,000 characters', i);
    elsif v_part ->> 'model' not in ('claude', 'codex', 'gemini', 'any') then
      return format('model of part %s is not claude, codex, gemini or any', i);
    elsif v_part ->> 'on_failure' not in ('fail', 'continue') then
      return format('on_failure of part %s is neither fail nor continue', i);
    elsif jsonb_typeof(v_part -> 'needs') not in ('array', 'null') then
      return format('needs of part %s is no list', i);
    elsif jsonb_typeof(v_part -> 'needs') = 'array'
          and exists (select
                        from jsonb_array_elements(v_part -> 'needs') n
                       where case when n #>> '{}' ~ '^[0-9]{1,3}$' and jsonb_typeof(n) = 'number'
                                  then (n #>> '{}')::int not between 1 and v_count or (n #>> '{}')::int = i
                                  else true end) then
      return format('needs of part %s names what is no other part (1 to %s)', i, v_count);
    end if;
  end loop;
  -- Those that need nothing that is left go first, until none is left, or none can.
  v_left := array(select generate_series(1, v_count));
  loop
    v_free := array(select l
                      from unnest(v_left) l
                     where not exists (
                             select
                               from jsonb_array_elements_text(
                                      coalesce(nullif(p_plan -> (l - 1) -> 'needs', 'null'), '[]')) n
                              where n::int = any (v_left)));
    exit when v_free = '{}';
    v_left := array(select l from unnest(v_left) l where l <> all (v_free));
  end loop;
  if v_left <> '{}' then
    return format('parts %s need each other, in a ring', array_to_string(v_left, ', '));
  end if;
  return null;
end;
$$;

-- The same for the one who made the request: what they may not ask for, a plan may not either.
create function hub_internal.plan_problem(p_task public.mac_tasks, p_plan jsonb)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_problem text := hub_internal.check_plan(p_plan);
  v_part    jsonb;
begin
  if v_problem is not null then
    return v_problem;
  elsif not hub_internal.may_still_send(p_task.created_by, p_task.server_id) then
    return 'who made the request may not make tasks here any more';
  end if;
  for v_part in select e from jsonb_array_elements(p_plan) e loop
    if v_part ->> 'agent' is not null
       and not hub_internal.is_offered_agent(v_part ->> 'agent', array[p_task.server_id]) then
      return format('no device offers the agent %L', left(v_part ->> 'agent', 100));
    end if;
    begin
      perform hub_internal.subtask_project(p_task, v_part ->> 'project');
    exception when insufficient_privilege then
      return format('project %L is none of this server', left(v_part ->> 'project', 200));
    end;
  end loop;
  return null;
end;
$$;

-- Of a result: its last block of JSON, or all of it. Null: there is none that can be read.
create function hub_internal.plan_in(p_result text)
  returns jsonb
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_text text;
begin
  -- Up to the last fence: what a part is told may have fences, too.
  if p_result like '%```json%' then
    v_text := regexp_replace(regexp_replace(p_result, '^.*```json', ''), '```[^`]*$', '');
  end if;
  return coalesce(v_text, p_result)::jsonb;
exception when data_exception or statement_too_complex then
  return null;
end;
$$;

-- At the end ------------------------------------------------------------------------------------------------

-- The task that is to be completed, held. What plans makes parts of a request that waits: both are locked, in
-- the order of ids, behind the lock of their top, as who cancels them does.
create function hub_internal.completing_task(p_task_id uuid, p_attempt int)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task public.mac_tasks;
begin
  if exists (select from public.mac_tasks t
              where t.id = p_task_id and t.task_type = 'plan' and t.team_id is not null) then
    v_task := hub_internal.live_attempt(p_task_id, p_attempt);
    perform hub_internal.lock_top((hub_internal.top_of(v_task)).top_id);
    perform
       from public.mac_tasks t
      where t.id in (p_task_id, v_task.parent_id)
      order by t.id
        for no key update of t;
  end if;
  return hub_internal.held_task(p_task_id, p_attempt);
end;
$$;

-- The plan of an attempt that ends well: what its device found in it, else what is in its result. Refused
-- where it is none, so that its agent can be told.
create function hub_internal.keep_plan(p_task public.mac_tasks, p_result text, p_plan jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_plan    jsonb := coalesce(p_plan, hub_internal.plan_in(p_result));
  v_problem text;
begin
  if not hub_internal.is_planner(p_task.id) then
    return;
  end if;
  v_problem := hub_internal.plan_problem(p_task, v_plan);
  if v_problem is not null then
    perform hub_internal.refuse('UH001', 'bad input', format('the plan: %s', v_problem),
      'End with the plan as a list of parts, in JSON: p_meta.plan, or the last ```json block of the result.');
  end if;
  update public.hub_task_attempts a
     set plan = v_plan
   where a.task_id = p_task.id
     and a.attempt = p_task.attempt;
end;
$$;

create function hub_internal.plan_of(p_task public.mac_tasks)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce((select a.plan from public.hub_task_attempts a
                    where a.task_id = p_task.id and a.attempt = p_task.attempt),
                  hub_internal.plan_in(p_task.result));
end;
$$;

-- Whoever completes what plans by an update of the row alone has failed where there is no plan in it.
create function hub_internal.planned(p_task public.mac_tasks)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_problem text;
begin
  if p_task.task_type = 'plan' and hub_internal.is_planner(p_task.id) then
    v_problem := hub_internal.plan_problem(p_task, hub_internal.plan_of(p_task));
    if v_problem is not null then
      p_task.status := 'failed';
      p_task.error := 'the plan: ' || v_problem;
    end if;
  end if;
  return p_task;
end;
$$;

-- Once: who comes second is refused. The request may be over already; then nothing is made. One that somebody
-- holds at this moment, which completing_task excludes, does its work by itself.
create function hub_internal.follow_plan(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_team   public.hub_teams;
  v_parent public.mac_tasks;
  v_plan   jsonb;
begin
  if not hub_internal.is_planner(p_task.id) then
    return;
  end if;
  update public.hub_teams m
     set planned_by = p_task.id
   where m.id = p_task.team_id
     and m.planned_by is null
  returning m.* into v_team;
  if not found then
    perform hub_internal.refuse('UH003', 'conflict',
      format('the parts of task %s are planned already', p_task.parent_id),
      'Cancel this one: one plan is followed.');
  end if;
  v_plan := hub_internal.plan_of(p_task);
  select t.* into v_parent
    from public.mac_tasks t
   where t.id = v_team.task_id and t.status = 'blocked'
     for no key update skip locked;
  if found and jsonb_array_length(v_plan) > 0 then
    perform hub_internal.add_parts(v_team, v_parent, v_plan);
  end if;
end;
$$;
