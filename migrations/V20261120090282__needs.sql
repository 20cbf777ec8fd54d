-- Why: a task that needs others waits until they have ended, and goes on, or fails with them, in the
-- transaction of the last end. What is passed by there (somebody holds its row, or its conversation) is found
-- by whoever keeps time.

-- Cheap for nearly all tasks, which need nothing: asked by what lets a task go on.
create function hub_internal.has_open_needs(p_task_id uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select
                   from public.hub_task_needs n
                   join public.mac_tasks t on t.id = n.needs
                  where n.task = p_task_id
                    and t.status not in ('complete', 'failed', 'cancelled'));
end;
$$;

-- What is to become of a blocked task: pending or failed, and why, or what its team says (team_verdict);
-- null: it waits. One that has no needs was blocked by something that is gone, or by somebody who knows why.
create function hub_internal.needs_verdict(p_task public.mac_tasks, out verdict text, out why text)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_needs integer;
  v_open  integer;
begin
  select count(*),
         count(*) filter (where t.status not in ('complete', 'failed', 'cancelled')),
         (array_agg(format('%s, which it needs, %s', hub_internal.task_short(t.id),
                           case t.status when 'failed' then 'failed' else 'was cancelled' end)
                    order by t.finished_at, t.id)
            filter (where n.on_failure = 'fail' and t.status in ('failed', 'cancelled')))[1]
    into v_needs, v_open, why
    from public.hub_task_needs n
    join public.mac_tasks t on t.id = n.needs
   where n.task = p_task.id;
  verdict := case when why is not null then 'failed'
                  when v_open = 0 and v_needs > 0 then 'pending' end;
  if verdict = 'pending' and p_task.team_id is not null then
    select v.verdict, v.why into verdict, why from hub_internal.team_verdict(p_task.id) v;
  end if;
end;
$$;

-- It goes on. What follows another task goes on in the session of that, unless another agent was asked for by
-- name; a subtask has none to go on with.
create function hub_internal.release_task(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_parent  public.mac_tasks;
  v_line    record;
  v_goes_on boolean := false;
begin
  select p.*
    into v_parent
    from public.hub_task_needs n
    join public.mac_tasks p on p.id = n.needs
   where n.task = p_task.id
     and n.needs = p_task.parent_id
     and not exists (select from hub_internal.subtasks s where s.task_id = p_task.id);
  if found then
    v_line := hub_internal.line_session(v_parent);
    v_goes_on := coalesce(p_task.requested_agent, v_line.agent) is not distinct from v_line.agent;
  end if;
  if v_goes_on then
    update public.mac_tasks t
       set status = 'pending',
           session_id = coalesce(t.session_id, v_line.session_id),
           session_device = coalesce(t.session_device, v_line.session_device),
           agent = v_line.agent
     where t.id = p_task.id;
  else
    update public.mac_tasks t
       set status = 'pending'
     where t.id = p_task.id;
  end if;
end;
$$;

-- Lets go on, or ends, what of these is blocked and waits no more. Rows are locked by SKIP LOCKED, because
-- somebody who cancels one at this moment holds it and wants the conversation that we hold; what is told of
-- a task, only where its conversation is free (lock_conversations), unless the caller holds none: then one
-- may be waited for. Left: how many were passed by.
create function hub_internal.settle_needs(
  p_ids uuid[], p_may_wait boolean, out done integer, out passed integer)
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids     uuid[];
  v_tell    uuid[];
  v_free    uuid[];
  v_task    public.mac_tasks;
  v_verdict record;
begin
  select array_agg(x.id order by x.created_at)
    into v_ids
    from (select t.id, t.created_at
            from public.mac_tasks t
           where t.id = any (p_ids) and t.status = 'blocked'
             for no key update skip locked) x;
  done := 0;
  passed := cardinality(p_ids) - coalesce(cardinality(v_ids), 0);
  if v_ids is null then
    return;
  end if;
  v_tell := array(select t.id
                    from public.mac_tasks t
                   cross join lateral hub_internal.needs_verdict(t) v
                   where t.id = any (v_ids) and v.verdict <> 'pending'
                   order by t.created_at, t.id);
  if v_tell <> '{}' then
    v_free := coalesce(hub_internal.lock_conversations(v_tell), case when p_may_wait then v_tell[1:1] end);
  end if;
  for v_task in
    select t.* from public.mac_tasks t where t.id = any (v_ids) order by t.created_at, t.id
  loop
    -- What one of them has just done to another is not in that list.
    select t.* into v_task from public.mac_tasks t where t.id = v_task.id;
    continue when v_task.status <> 'blocked';
    v_verdict := hub_internal.needs_verdict(v_task);
    continue when v_verdict.verdict is null;
    if v_verdict.verdict <> 'pending' and (v_task.id = any (v_free)) is not true then
      passed := passed + 1;
      continue;
    end if;
    case v_verdict.verdict
      when 'failed' then
        update public.mac_tasks t
           set status = 'failed',
               error = v_verdict.why
         where t.id = v_task.id;
      when 'complete' then
        update public.mac_tasks t
           set status = 'complete',
               agent = 'team',                     -- nobody ran it: its parts are joined
               result = v_verdict.why
         where t.id = v_task.id;
      else
        if v_verdict.verdict = 'gather' and v_task.channel_id is not null then
          perform hub_internal.tell('synthesizing', v_task, v_task.thread_id, v_verdict.why);
        end if;
        perform hub_internal.release_task(v_task);
    end case;
    done := done + 1;
  end loop;
end;
$$;

-- A task has ended. Where two that a third needs end at once and in different conversations, neither sees
-- the other's end, and where one is passed by nobody else looks: then a round is asked for, which begins
-- when this has committed.
create function hub_internal.settle_dependents(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids    uuid[];
  v_passed integer;
begin
  -- Each that fails because of another calls this anew: a chain is followed so far, and then by rounds.
  if pg_trigger_depth() > 20 then
    perform hub_internal.wake_errand('leases');
    return;
  end if;
  v_ids := array(select t.id
                   from public.hub_task_needs n
                   join public.mac_tasks t on t.id = n.task
                  where n.needs = p_task.id and t.status = 'blocked');
  if v_ids = '{}' then
    return;
  end if;
  v_passed := (hub_internal.settle_needs(v_ids, false)).passed;
  if v_passed > 0
     or exists (select
                  from public.hub_task_needs n
                  join public.mac_tasks b on b.id = n.task and b.status = 'blocked'
                  join public.mac_tasks o on o.id = n.needs
                 where n.task = any (v_ids)
                   and o.status not in ('complete', 'failed', 'cancelled')
                   and (o.channel_id is null
                        or (o.channel_id, o.thread_id)
                           is distinct from (p_task.channel_id, p_task.thread_id))) then
    perform hub_internal.wake_errand('leases');
  end if;
end;
$$;

-- Blocked, and nobody has said by what: by the task it follows, as in the tables this hub adopts. Not one of
-- a team, whose needs are said.
create function hub_internal.need_parent(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_task.team_id is null
     and p_task.parent_id <> p_task.id
     and not exists (select from public.hub_task_needs n where n.task = p_task.id) then
    insert into public.hub_task_needs (task, needs, on_failure)
    select p_task.id, p.id, 'continue'
      from public.mac_tasks p
     where p.id = p_task.parent_id
       and not hub_internal.leads_to(p.id, p_task.id);
  end if;
end;
$$;

create function hub_internal.need_on_insert()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  if new.status = 'blocked' and new.parent_id is not null then
    perform hub_internal.need_parent(new);
  end if;
  return null;
end;
$$;

-- Whether a task needs the other, or something that does. It waits for its parts, too, however deep: also
-- where its agent made them, who waits for them while it runs.
create function hub_internal.leads_to(p_task_id uuid, p_other_id uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (
    with recursive below as (
      select p_task_id as id
      union
      select w.id
        from below b
       cross join lateral (select n.needs as id from public.hub_task_needs n where n.task = b.id
                           union all
                           select s.task_id from hub_internal.subtasks s where s.parent_id = b.id) w
    )
    select from below b where b.id = p_other_id);
end;
$$;

-- By hand ---------------------------------------------------------------------------------------------------

-- The server's lock stands before tasks: of two who want each other's task to wait the second sees what the
-- first has written. Both tasks are locked, in the order of ids, so that what is needed does not end unseen.
create function hub_internal.need_task(p_task_id uuid, p_needs uuid, p_on_failure text)
  returns public.hub_task_needs
  language plpgsql
  volatile
  security definer                                -- nobody holds a write grant on needs
  set search_path = ''
as $$
declare
  v_task  public.mac_tasks :=
    hub_internal.operated_task(p_task_id, 'saying what a task needs', array[]::text[]);
  v_other public.mac_tasks :=
    hub_internal.operated_task(p_needs, 'saying what a task needs', array[]::text[]);
  v_need  public.hub_task_needs;
begin
  if p_on_failure in ('fail', 'continue') is not true then
    perform hub_internal.refuse('UH001', 'bad input', format('p_on_failure %L', left(p_on_failure, 100)),
      'fail or continue.');
  elsif v_task.server_id is distinct from v_other.server_id then
    perform hub_internal.refuse('UH003', 'conflict', 'the tasks are of two servers',
      'A task needs tasks of its own server.');
  end if;
  perform pg_advisory_xact_lock(hashtextextended('hub_needs ' || coalesce(v_task.server_id::text, ''), 0));
  perform from public.mac_tasks t where t.id in (p_task_id, p_needs) order by t.id for no key update of t;
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  select t.* into v_other from public.mac_tasks t where t.id = p_needs;
  if v_task.status not in ('pending', 'blocked', 'waiting') then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status),
      'Only one that does not run and has not ended can wait for another.');
  elsif v_other.status in ('failed', 'cancelled') and p_on_failure = 'fail' then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_other.id, v_other.status),
      'Have it tried again first, or say that the task goes on all the same: p_on_failure continue.');
  elsif hub_internal.leads_to(p_needs, p_task_id) then
    perform hub_internal.refuse('UH003', 'conflict',
      format('a cycle: %s waits for %s', hub_internal.task_short(p_needs),
             hub_internal.task_short(p_task_id)),
      'Of two tasks only one can wait for the other; a task waits for its parts.');
  end if;
  select n.* into v_need from public.hub_task_needs n where n.task = p_task_id and n.needs = p_needs;
  if v_need.task is null then
    perform hub_internal.require_room('task_needs',
      (select count(*) from public.hub_task_needs n where n.task = p_task_id),
      'Let it wait for one task that waits for others.');
  end if;
  insert into public.hub_task_needs as n (task, needs, on_failure)
  values (p_task_id, p_needs, p_on_failure)
  on conflict (task, needs) do update set on_failure = excluded.on_failure
  returning n.* into v_need;
  if v_task.status = 'pending' and v_other.status not in ('complete', 'failed', 'cancelled') then
    update public.mac_tasks t set status = 'blocked' where t.id = p_task_id;
  end if;
  return v_need;
end;
$$;

-- Why it is blocked -----------------------------------------------------------------------------------------

-- A task without a channel is its maker's to read.
create function hub_internal.explain_needs(p_task public.mac_tasks)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
begin
  if p_task.team_id is not null then
    return query select * from hub_internal.explain_parts(p_task);
    if found then
      return;
    end if;
  end if;
  return query
    select format('blocked by %s', left(x.id::text, 8)),
           format('%s, which is %s%s', x.id, x.status,
                  case when x.channel_id is not null or hub_internal.is_trusted()
                            or x.created_by = hub_internal.person()
                       then ': ' || hub_internal.shorten(hub_internal.one_line(x.content), 80)
                       else '' end),
           null::timestamptz
      from (select p.*,
                   p.status not in ('complete', 'failed', 'cancelled') as is_open,
                   bool_or(p.status not in ('complete', 'failed', 'cancelled')) over () as any_open
              from public.hub_task_needs n
              join public.mac_tasks p on p.id = n.needs
             where n.task = p_task.id) x
     where x.is_open or not x.any_open
     order by x.created_at, x.id;
  if not found then
    return query select
      'blocked'::text,
      format('What it waited for is gone. To end it: hub task cancel %s (hub_cancel_task).',
             left(p_task.id::text, 8)),
      null::timestamptz;
  end if;
end;
$$;

-- What was passed by, or ended while triggers were off ------------------------------------------------------

create function hub_internal.settle_waiting(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return (hub_internal.settle_needs(
    array(select t.id
            from public.mac_tasks t
           cross join lateral hub_internal.needs_verdict(t) v
           where t.status = 'blocked' and v.verdict is not null
           limit p_limit), true)).done;
end;
$$;
insert into public.hub_errands (name, about, function, position) values
  ('needs', 'what needs only tasks that have ended goes on', 'hub_internal.settle_waiting', 120);
