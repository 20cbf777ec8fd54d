-- Why: a budget that is met holds back what is pending, and what runs makes room: people are asked, by a stop
-- in its thread, for more or for its end. What waits may be much, so it is asked once: of each that runs,
-- else of one that is pending and stands for all.
--
--     met       -> each that runs is asked about, its device parks it with the next heartbeat; where it goes
--                  on using it is parked from here
--     continue  -> the budget is raised, once; all that waited for it goes on
--     cancel    -> that task ends, the others wait on
--     free      -> a new period, a larger amount: as if answered

create function hub_internal.asks_for_budget(p_task_id uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select from public.hub_asks a
                  where a.task_id = p_task_id and a.state = 'open' and a.budget_id is not null);
end;
$$;

-- The caller holds the task's row and its conversation. Of the deployment's budget nobody who has a server in
-- it decides.
create function hub_internal.ask_for_budget(p_task public.mac_tasks, p_budget_id bigint, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_budget public.hub_budgets;
  v_state  record;
  v_ask    public.hub_asks;
begin
  select b.* into v_budget from public.hub_budgets b where b.id = p_budget_id;
  select s.* into v_state from hub_internal.budget_states(p_now, p_budget_id) s;
  if v_state.met is not true or hub_internal.asks_for_budget(p_task.id) then
    return;
  end if;
  v_ask.id := gen_random_uuid();
  v_ask.created_at := clock_timestamp();
  v_ask.budget_id := p_budget_id;
  v_ask.task_id := p_task.id;
  v_ask.attempt := p_task.attempt;
  v_ask.ref := format('budget:%s', v_ask.id);
  v_ask.server_id := p_task.server_id;
  v_ask.channel_id := p_task.channel_id;
  v_ask.thread_id := p_task.thread_id;
  v_ask.asked_by := 'its budget';
  v_ask.kind := 'stop';
  v_ask.title := hub_internal.shorten(hub_internal.budget_text(v_budget, v_state.used, v_state.level), 500);
  v_ask.body := format('Going on gives it %s more, or as much as you say.',
                       case when v_budget.measure in ('cost', 'notional')
                            then format('%s USD', round(v_budget.amount, 2))
                            when v_budget.measure = 'tokens' then format('%s tokens', round(v_budget.amount))
                            else format('%s seconds', round(v_budget.amount)) end)
                || coalesce(format(' A new one begins at %s.', hub_internal.moment_text(v_state.until)), '');
  v_ask.options := hub_internal.ask_options('stop', null);
  v_ask.digest := hub_internal.ask_digest('stop', v_ask.title, v_ask.body, null, null, v_ask.options);
  v_ask.roles := case when v_budget.scope = 'deployment' then '{}' else v_budget.roles end;
  v_ask.persons := '{}';
  v_ask.self := true;
  v_ask.expires_at := p_now + v_budget.silence;
  v_ask.on_expiry := case when v_budget.silence is not null then v_budget.on_silence end;
  v_ask.reminded := 0;
  v_ask.parked := false;
  v_ask.state := 'open';
  v_ask.message_id := case when p_task.channel_id is not null then gen_random_uuid() end;
  if v_budget.scope <> 'deployment' then
    v_ask := hub_internal.ask_owners(v_ask, p_task);
  end if;
  insert into public.hub_asks select v_ask.*;
  perform hub_internal.tell_ask(v_ask, p_task);
  if p_task.status = 'running' then
    perform pg_notify('hub_device', p_task.claimed_by);
  end if;
end;
$$;

-- What follows from `continue`. Of several who say so at once the first gives more: for the others it is not
-- met any more. What was used beyond it is not asked for again.
create function hub_internal.raise_budget(p_ask public.hub_asks, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_more  numeric;
  v_state record;
begin
  if p_ask.answer_text !~ '^[0-9]{1,12}([.][0-9]{1,6})?$' or p_ask.answer_text::numeric = 0 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_text is no amount',
      'How much more, such as 5 or 2.50, or nothing for as much again.');
  end if;
  v_more := p_ask.answer_text::numeric;
  perform from public.hub_budgets b where b.id = p_ask.budget_id for no key update;
  select s.* into v_state from hub_internal.budget_states(p_now, p_ask.budget_id) s;
  if v_state.met then
    update public.hub_budgets b
       set raised = greatest(v_state.level, v_state.used) - b.amount + coalesce(v_more, b.amount),
           raised_in = v_state.since,
           raised_by = coalesce(p_ask.answered_label, 'silence')
     where b.id = p_ask.budget_id;
  end if;
end;
$$;

-- Looking ---------------------------------------------------------------------------------------------------

-- Marks the lanes of budgets that are met, or are not any more, since somebody last looked. A lane that is
-- locked is being weighed, or goes: it is weighed again within a minute.
create function hub_internal.note_met(p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  with met as materialized (
    select s.id from hub_internal.budget_states(p_now) s where s.met
    union all
    select b.id from public.hub_budgets b where b.measure = 'running'
  ), gone as (
    delete from hub_internal.weighed_budgets m
     where m.budget_id not in (select x.id from met x)
    returning m.budget_id
  ), come as (
    insert into hub_internal.weighed_budgets (budget_id)
    select m.id from met m
    on conflict do nothing
    returning budget_id
  )
  update hub_internal.lanes l
     set weighed_at = null
   where l.id in (select x.id
                    from hub_internal.lanes x
                   where x.weighed_at is not null
                     and (x.held_by in (select g.budget_id from gone g)
                          or x.bounds && array(select g.budget_id from gone g)
                          or (x.held_agents is not null or x.agent_bounds is not null)
                             and exists (select from gone)
                          or exists (select
                                       from come c
                                       join public.hub_budgets b on b.id = c.budget_id
                                      where b.scope = 'agent' and b.server_id = x.server_id
                                         or hub_internal.covers(b, x.server_id, x.project, x.channel_id, null,
                                                                x.person, null)))
                     for no key update skip locked);
end;
$$;

-- The tasks, locked, of those whose conversation nobody writes in at this moment.
create function hub_internal.locked_to_tell(p_ids uuid[])
  returns setof public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids uuid[];
begin
  select array_agg(x.id) into v_ids
    from (select t.id
            from public.mac_tasks t
           where t.id = any (p_ids)
           order by t.id
             for no key update skip locked) x;
  if v_ids is not null then
    v_ids := hub_internal.lock_conversations(v_ids);
    return query select t.* from public.mac_tasks t where t.id = any (v_ids) order by t.id;
  end if;
end;
$$;

-- What waits for a budget that is not met any more goes on.
create function hub_internal.free_of_budgets(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task public.mac_tasks;
  v_ask  public.hub_asks;
  v_done integer := 0;
begin
  for v_task in
    select * from hub_internal.locked_to_tell(array(
      select a.task_id
        from public.hub_asks a
        left join hub_internal.weighed_budgets m on m.budget_id = a.budget_id
       where a.state = 'open' and a.budget_id is not null and m.budget_id is null
       order by a.created_at
       limit p_limit))
  loop
    for v_ask in
      update public.hub_asks a
         set state = 'answered',
             answer = 'continue',
             answered_label = coalesce(
               (select b.raised_by || ', for all of it'
                  from public.hub_budgets b
                 where b.id = a.budget_id
                   and b.raised_in = hub_internal.period_begin(b.per, p_now)), 'a budget that is free again'),
             answered_door = 'end',
             answered_at = p_now
       where a.task_id = v_task.id
         and a.state = 'open'
         and a.budget_id is not null
         and not exists (select from hub_internal.weighed_budgets m where m.budget_id = a.budget_id)
      returning a.*
    loop
      v_done := v_done + 1;
      perform hub_internal.go_on(v_ask, v_task, p_now);
    end loop;
  end loop;
  return v_done;
end;
$$;

-- What runs under a budget that is met: asked about, and parked where it was told and goes on using. What an
-- executor of the older kind has is never taken away.
create function hub_internal.stop_over_budget(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_grace interval := hub_internal.setting('budget_grace');
  v_found jsonb;
  v_task  public.mac_tasks;
  v_done  integer := 0;
begin
  -- What a task is part of is looked up once a task, and not for each budget of a task that ever was met.
  with running as materialized (
    select t.*,
           case when exists (select from public.hub_budgets s where s.scope = 'task')
                then hub_internal.tasks_over(t.id, t.root_id) end as tasks
      from public.mac_tasks t
     where t.status = 'running'
       and t.lease_expires_at is not null
       and t.cancel_requested_at is null
       and not hub_internal.asks_for_budget(t.id)
  )
  select jsonb_object_agg(x.id, x.budget) into v_found
    from (select distinct on (t.id) t.id, b.id as budget
            from hub_internal.weighed_budgets m
            join public.hub_budgets b on b.id = m.budget_id and b.measure <> 'running'
            join running t
              on (b.server_id = t.server_id or b.server_id is null)
             and (b.scope <> 'task' or b.subject = any (t.tasks::text[]))
             and hub_internal.covers(b, t.server_id, t.project, t.channel_id, t.agent, t.created_by, t.tasks)
           order by t.id, hub_internal.scope_rank(b.scope), b.id
           limit p_limit) x;
  if v_found is not null then
    for v_task in
      select l.* from hub_internal.locked_to_tell(array(select k::uuid from jsonb_object_keys(v_found) k)) l
    loop
      if v_task.status = 'running' and v_task.cancel_requested_at is null then
        v_done := v_done + 1;
        perform hub_internal.ask_for_budget(v_task, (v_found ->> v_task.id::text)::bigint, p_now);
      end if;
    end loop;
  end if;
  for v_task in
    select l.*
      from hub_internal.locked_to_tell(array(
        select t.id
          from public.hub_asks a
          join public.mac_tasks t on t.id = a.task_id and t.status = 'running' and t.attempt = a.attempt
          join public.hub_task_attempts r on r.task_id = t.id and r.attempt = t.attempt
         where a.state = 'open'
           and a.budget_id is not null
           and t.cancel_requested_at is null
           and r.used_at > a.told_at + v_grace
         order by a.told_at
         limit p_limit)) l
  loop
    if v_task.status = 'running' and v_task.cancel_requested_at is null
       and hub_internal.asks_for_budget(v_task.id) then
      v_done := v_done + 1;
      update public.mac_tasks t set status = 'waiting' where t.id = v_task.id;
    end if;
  end loop;
  return v_done;
end;
$$;

-- Where nothing that ran is asked about: the first that is pending waits with the question, all else behind
-- it. Under the budget of a task, which is no lane's, each waits by itself.
create function hub_internal.hold_pending(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_found jsonb;
  v_task  public.mac_tasks;
  v_done  integer := 0;
begin
  select jsonb_object_agg(h.id, h.budget) into v_found
    from (select h.id, min(h.budget) as budget
            from (select b.id as budget, first.id
                    from hub_internal.weighed_budgets m
                    join public.hub_budgets b on b.id = m.budget_id and b.measure <> 'running'
                   cross join lateral (
                     select t.id
                       from hub_internal.lanes l
                       join public.mac_tasks t on t.lane = l.id and t.status = 'pending'
                      where l.held_by = b.id
                         or b.scope = 'agent' and l.server_id = b.server_id
                            and (l.agent = b.subject
                                 or b.subject = any (l.held_agents)
                                    and hub_internal.held_with_agent(l.id, b.subject))
                      order by t.queue_key
                      limit 1) first
                   where b.scope <> 'task'
                     and not exists (select from public.hub_asks a
                                      where a.budget_id = b.id and a.state = 'open')
                  union all
                  select b.id, t.id
                    from (select min(x.id) as id, x.subject::uuid as task
                            from hub_internal.weighed_budgets m
                            join public.hub_budgets x
                              on x.id = m.budget_id and x.measure <> 'running' and x.scope = 'task'
                           group by x.subject) b
                   cross join lateral hub_internal.tasks_under(b.task) u (id)
                    join public.mac_tasks t on t.id = u.id and t.status = 'pending') h
           group by h.id
           limit p_limit) h;
  if v_found is null then
    return 0;
  end if;
  for v_task in
    select l.* from hub_internal.locked_to_tell(array(select k::uuid from jsonb_object_keys(v_found) k)) l
  loop
    if v_task.status = 'pending' then
      perform hub_internal.ask_for_budget(v_task, (v_found ->> v_task.id::text)::bigint, p_now);
      if hub_internal.asks_for_budget(v_task.id) then
        v_done := v_done + 1;
        update public.mac_tasks t set status = 'waiting' where t.id = v_task.id;
      end if;
    end if;
  end loop;
  return v_done;
end;
$$;

-- A task, its line of work, and what their agents gave to others.
create function hub_internal.tasks_under(p_task_id uuid)
  returns setof uuid
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    with recursive below as (
      select p_task_id as id
      union
      select n.id
        from below b
       cross join lateral (select t.id from public.mac_tasks t where t.root_id = b.id
                           union all
                           select s.task_id from hub_internal.subtasks s where s.parent_id = b.id) n
    )
    select b.id from below b;
end;
$$;

create function hub_internal.meet_budgets(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_done integer;
begin
  -- Who looks at the same time does the same.
  if not exists (select from public.hub_budgets)
     and not exists (select from hub_internal.weighed_budgets)
     and not exists (select from public.hub_asks a where a.state = 'open' and a.budget_id is not null)
     or not pg_try_advisory_xact_lock(hashtextextended('hub_budgets', 0)) then
    return 0;
  end if;
  perform hub_internal.note_met(p_now);
  v_done := hub_internal.free_of_budgets(p_now, p_limit);
  v_done := v_done + hub_internal.stop_over_budget(p_now, p_limit);
  return v_done + hub_internal.hold_pending(p_now, p_limit);
end;
$$;
insert into public.hub_errands (name, about, function, position) values
  ('budgets', 'who meets a budget is asked about, and goes on when there is more',
   'hub_internal.meet_budgets', 138);
