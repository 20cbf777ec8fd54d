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

create function hub_internal.cancel_task(p_task_id uuid, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks := hub_internal.operated_task(p_task_id, 'cancelling a task');
begin
  perform hub_internal.require_present(p_now);
  case
    when v_task.status = 'cancelled' then
      null;                                       -- asked twice is asked once
    when v_task.status in ('complete', 'failed') then
      perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status),
        'There is nothing left to cancel.');
    when v_task.status = 'running' and v_task.lease_expires_at is not null then
      update public.mac_tasks t
         set cancel_requested_at = coalesce(t.cancel_requested_at, p_now)
       where t.id = p_task_id
      returning t.* into v_task;
      perform pg_notify('hub_device', v_task.claimed_by);
    else
      -- Nobody runs it, or an executor of the older kind does, which can not be told: its later writes find
      -- it final.
      update public.mac_tasks t
         set status = 'cancelled',
             cancel_requested_at = coalesce(t.cancel_requested_at, p_now),
             finished_at = p_now,
             error = case when t.status = 'running' then 'on request; its executor can not be told'
                          else 'on request, before it ran' end
       where t.id = p_task_id
      returning t.* into v_task;
  end case;
  return v_task;
end;
$$;

create function hub_internal.retry_task(p_task_id uuid)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks :=
    hub_internal.operated_task(p_task_id, 'retrying a task', array['failed', 'cancelled']);
  v_given integer;
begin
  if v_task.status not in ('failed', 'cancelled') then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status),
      'Only a failed or cancelled task is tried again.');
  end if;
  insert into hub_internal.task_allowances as w (task_id, attempts, since)
  values (v_task.id, v_task.max_attempts, v_task.attempt)
  on conflict (task_id) do update set since = excluded.since
  returning w.attempts into v_given;
  update public.mac_tasks t
     set status = 'pending',
         finished_at = null,
         error = null,
         result = null,
         partial_output = null,
         run_after = null,
         cancel_requested_at = null,
         max_attempts = greatest(t.max_attempts, t.attempt + least(v_given, 100))
   where t.id = p_task_id
  returning t.* into v_task;
  return v_task;
end;
$$;
