-- Why: what an operator does with a task: cancel it, try it again. Why it does not run is …explaining.

-- The task, locked, if the caller may know of it, and may operate it. Looked at before it is locked: a lock
-- held by who is then refused would hide a pending task from a claim, and nothing would wake a device when it
-- is let go.
create function hub_internal.operated_task(p_task_id uuid, p_what text, p_in text[] default null)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task   public.mac_tasks;
  v_server uuid;
begin
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  if v_task.channel_id is null then
    v_server := v_task.server_id;
  else
    select c.server_id into v_server from public.hub_channels c where c.id = v_task.channel_id;
  end if;
  if v_task.id is null
     or not (case when v_task.channel_id is null
                  then hub_internal.is_trusted() or v_task.created_by = hub_internal.person()
                  else hub_internal.may_read(v_server) end) is true then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', coalesce(p_task_id::text, 'null')),
      'Check the id, and that you may read its server.');
  end if;
  perform hub_internal.require_operate(hub_internal.may_operate(v_server), p_what);
  if v_task.status = any (p_in) is not false then
    select t.* into v_task from public.mac_tasks t where t.id = p_task_id for no key update;
  end if;
  return v_task;
end;
$$;

-- At once where nobody can be told: its executor's later writes find it final. Else its device stops it. The
-- caller holds the task's row.
create function hub_internal.halt_task(p_task public.mac_tasks, p_error text, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_task.status = 'running' and p_task.lease_expires_at is not null then
    update public.mac_tasks t
       set cancel_requested_at = coalesce(t.cancel_requested_at, p_now)
     where t.id = p_task.id;
    perform pg_notify('hub_device', p_task.claimed_by);
  else
    update public.mac_tasks t
       set status = 'cancelled',
           cancel_requested_at = coalesce(t.cancel_requested_at, p_now),
           finished_at = p_now,
           error = case when t.status = 'running' then 'on request; its executor can not be told'
                        else p_error end
     where t.id = p_task.id;
  end if;
end;
$$;

-- A task that has not ended, and what its agents gave to others, locked in the order of ids, as a heartbeat
-- locks what it names. The lock of the top keeps more from being made meanwhile.
create function hub_internal.locked_with_subtasks(p_task public.mac_tasks)
  returns setof public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids uuid[];
begin
  perform hub_internal.lock_top((hub_internal.top_of(p_task)).top_id);
  with recursive below as (
    select p_task.id as id
    union all
    select s.task_id from below b join hub_internal.subtasks s on s.parent_id = b.id
  )
  select array_agg(b.id) into v_ids from below b;
  return query
    select t.*
      from public.mac_tasks t
     where t.id = any (v_ids) and t.status not in ('complete', 'failed', 'cancelled')
     order by t.id
       for no key update of t;
end;
$$;

-- With its subtasks: nobody waits for them any more. All are locked before the first is told in a
-- conversation, and those that do not run end by one statement: what one of them needed is not looked at in
-- between.
create function hub_internal.cancel_task(p_task_id uuid, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks :=
    hub_internal.operated_task(p_task_id, 'cancelling a task', array[]::text[]);
  v_ids  uuid[];
  v_part public.mac_tasks;
begin
  perform hub_internal.require_present(p_now);
  select array_agg(t.id) into v_ids from hub_internal.locked_with_subtasks(v_task) t;
  update public.mac_tasks t
     set status = 'cancelled',
         cancel_requested_at = coalesce(t.cancel_requested_at, p_now),
         finished_at = p_now,
         error = case when t.status = 'running' then 'on request; its executor can not be told'
                      when t.id <> p_task_id then 'the task it was a part of was cancelled'
                      when t.attempt > 0 then 'on request'
                      else 'on request, before it ran' end
   where t.id = any (v_ids)
     and (t.status <> 'running' or t.lease_expires_at is null);
  for v_part in
    select t.* from public.mac_tasks t where t.id = any (v_ids) and t.status = 'running' order by t.id
  loop
    perform hub_internal.halt_task(v_part, null, p_now);
  end loop;
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  if v_task.status in ('complete', 'failed') then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status),
      'There is nothing left to cancel.');
  end if;
  return v_task;                                  -- asked twice is asked once
end;
$$;

-- The team that a task is the whole of, or a part, all of it locked in the order of ids, as for cancelling.
-- Null: it is in none that waits for its parts.
create function hub_internal.locked_team(p_task public.mac_tasks)
  returns public.hub_teams
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_team public.hub_teams;
begin
  perform hub_internal.lock_top((hub_internal.top_of(p_task)).top_id);
  select m.* into v_team from public.hub_teams m where m.id = p_task.team_id and m.source <> 'agent';
  perform
     from public.mac_tasks t
    where t.id = p_task.id or t.team_id = v_team.id
    order by t.id
      for no key update of t;
  return v_team;
end;
$$;

-- Tried again: as many attempts more as it was given. What it needs and did not end, or is tried again with
-- it, it waits for.
create function hub_internal.requeue(p_task_id uuid, p_with uuid[] default '{}', p_late boolean default false)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_given integer;
begin
  insert into hub_internal.task_allowances as w (task_id, attempts, since)
  select t.id, t.max_attempts, t.attempt from public.mac_tasks t where t.id = p_task_id
  on conflict (task_id) do update set since = excluded.since
  returning w.attempts into v_given;
  update hub_internal.subtasks s set late = p_late where s.task_id = p_task_id and s.late <> p_late;
  update public.mac_tasks t
     set status = case when hub_internal.has_open_needs(t.id)
                            or exists (select from public.hub_task_needs n
                                        where n.task = t.id and n.needs = any (p_with))
                       then 'blocked' else 'pending' end,
         finished_at = null,
         error = null,
         result = null,
         partial_output = null,
         run_after = null,
         cancel_requested_at = null,
         max_attempts = greatest(t.max_attempts, t.attempt + least(v_given, 100))
   where t.id = p_task_id;
end;
$$;

-- The whole of a team with those of its parts that did not end well; a part alone, for which the whole waits
-- again where it has not begun to gather.
create function hub_internal.retry_task(p_task_id uuid)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task  public.mac_tasks := hub_internal.operated_task(p_task_id, 'retrying a task', array[]::text[]);
  v_team  public.hub_teams;
  v_whole public.mac_tasks;
  v_parts uuid[] := array[]::uuid[];
  v_part  uuid;
begin
  if v_task.team_id is not null then
    v_team := hub_internal.locked_team(v_task);
  end if;
  if v_task.status in ('failed', 'cancelled') then
    select t.* into v_task from public.mac_tasks t where t.id = p_task_id for no key update;
  end if;
  if v_task.status not in ('failed', 'cancelled') then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status),
      'Only a failed or cancelled task is tried again.');
  end if;
  if v_team.task_id = p_task_id then
    update hub_internal.subtasks s set late = false where s.parent_id = p_task_id and s.late;
    v_parts := array(select s.task_id
                       from hub_internal.subtasks s
                       join public.mac_tasks t on t.id = s.task_id
                      where s.parent_id = p_task_id
                        and t.team_id = v_team.id
                        and t.status in ('failed', 'cancelled')
                      order by s.position);
    foreach v_part in array v_parts loop
      perform hub_internal.requeue(v_part, v_parts);
    end loop;
  elsif v_team.id is not null then
    select t.* into v_whole from public.mac_tasks t where t.id = v_team.task_id;
    if v_whole.status in ('running', 'waiting') then
      perform hub_internal.refuse('UH003', 'conflict',
        format('task %s, which it is a part of, is %s', v_whole.id, v_whole.status),
        'What the parts did is being gathered: try again when that has ended.');
    end if;
  end if;
  perform hub_internal.requeue(p_task_id, p_late => v_whole.finished_at is not null);
  if v_whole.status = 'pending' then
    update public.mac_tasks t set status = 'blocked' where t.id = v_whole.id;
  end if;
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  return v_task;
end;
$$;
