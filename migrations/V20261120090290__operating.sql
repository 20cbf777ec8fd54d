-- Why: what an operator does with a task: cancel it, try it again, ask why it does not run.

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
begin
  if v_task.status not in ('failed', 'cancelled') then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status),
      'Only a failed or cancelled task is tried again.');
  end if;
  update public.mac_tasks t
     set status = 'pending',
         finished_at = null,
         error = null,
         result = null,
         partial_output = null,
         run_after = null,
         cancel_requested_at = null,
         max_attempts = least(100, greatest(t.max_attempts, t.attempt + 1))
   where t.id = p_task_id
  returning t.* into v_task;
  return v_task;
end;
$$;

-- Why is it, or is it not, running --------------------------------------------------------------------------

create function hub_internal.explain_task(p_task_id uuid, p_now timestamptz)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_task     public.mac_tasks;
  v_server   uuid;
  v_lane     hub_internal.lanes;
  v_serving  text[];
  v_housing  text[];
  v_platform text[];
  v_online   text[];
  v_fitting  text[];
  v_taking   text[];
  v_free     text[];
  v_ahead    bigint;
begin
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  select c.server_id into v_server from public.hub_channels c where c.id = v_task.channel_id;
  if v_task.id is null
     or not (hub_internal.is_trusted()
             or case when v_task.channel_id is null then v_task.created_by = hub_internal.person()
                     else hub_internal.may_read(v_server) end) is true then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', coalesce(p_task_id::text, 'null')),
      'Check the id, and that you may read its server.');
  end if;

  if v_task.status = 'running' then
    if v_task.lease_expires_at is null then
      return query select
        format('running on %s, without a lease', coalesce(v_task.claimed_by, 'an unnamed executor')),
        'An executor of the older kind has it; it is never taken away. hub_cancel_task ends it.',
        null::timestamptz;
    elsif v_task.lease_expires_at < p_now then
      return query select
        'older than its lease'::text,
        format('%s has not been heard of; hub_recover takes the task back at its next round.',
               v_task.claimed_by),
        v_task.lease_expires_at;
    else
      return query select
        format('running on %s', v_task.claimed_by),
        format('attempt %s of %s by %s since %s', v_task.attempt, v_task.max_attempts, v_task.agent,
               to_char(v_task.claimed_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS"Z"')),
        v_task.lease_expires_at;
    end if;
    if v_task.cancel_requested_at is not null then
      return query select
        'cancel requested'::text,
        'Its device stops it when it next reports.',
        v_task.lease_expires_at;
    end if;
    return;
  elsif v_task.status = 'blocked' then
    return query
      select case when p.id is null then 'blocked' else format('blocked by %s', left(p.id::text, 8)) end,
             case when p.id is null then 'What it waited for is gone; cancel it, or set it pending.'
                  else format('%s, which is %s: %s', p.id, p.status,
                              hub_internal.shorten(hub_internal.one_line(p.content), 80)) end,
             null::timestamptz
        from (values (v_task.parent_id)) v (parent)
        left join public.mac_tasks p on p.id = v.parent;
    return;
  elsif v_task.status = 'waiting' then
    return query select
      'waiting for an answer'::text,
      coalesce(v_task.partial_output, 'Its executor says for what; hub_cancel_task ends it.'),
      null::timestamptz;
    return;
  elsif v_task.status <> 'pending' then
    return query select
      v_task.status,
      case v_task.status
        when 'complete' then format('finished on %s', coalesce(v_task.claimed_by, '—'))
        else coalesce(v_task.error, 'no reason given') || '; hub_retry_task queues it again' end,
      v_task.finished_at;
    return;
  end if;

  -- Pending. First what time alone will mend, then the machines, narrowed one condition of device_lanes at a
  -- time: the first that leaves none is the reason.
  if v_task.run_after > p_now then
    return query select
      'backing off'::text,
      format('attempt %s of %s failed: %s', v_task.attempt, v_task.max_attempts,
             hub_internal.shorten(hub_internal.one_line(coalesce(v_task.error, '—')), 200)),
      v_task.run_after;
  end if;
  select l.* into v_lane from hub_internal.lanes l where l.id = v_task.lane;
  if not found then
    return query select
      'not in the queue yet'::text,
      'It came in with the triggers off; hub_recover puts it in its lane.',
      null::timestamptz;
    return;
  end if;

  select array_agg(x.device order by x.device),
         array_agg(x.device order by x.device) filter (where x.has_folder),
         array_agg(x.device order by x.device) filter (where x.has_folder and x.on_platform),
         array_agg(x.device order by x.device) filter (where x.has_folder and x.on_platform and x.online),
         array_agg(x.device order by x.device) filter (where x.eligible and x.online),
         array_agg(x.device order by x.device) filter (where x.eligible and x.online and x.accepts),
         array_agg(x.device order by x.device)
           filter (where x.eligible and x.online and x.accepts and x.held < x.capacity)
    into v_serving, v_housing, v_platform, v_online, v_fitting, v_taking, v_free
    from (select d.*,
                 coalesce(d.offline_at > p_now, false) as online,
                 hub_internal.held_count(d.device) as held
            from hub_internal.device_lanes d
           where d.lane = v_lane.id and d.serves and d.has_session) x;

  if v_serving is not null and v_housing is null then
    return query select
      format('no device may work in %s', v_lane.project),
      format('Whoever runs the deployment gives the server the place: '
             'insert into public.hub_places (kind, server_id, target) values (''project'', %L, %L).',
             v_lane.server_id, v_lane.project),
      null::timestamptz;
  elsif v_lane.device is not null and v_online is null then
    return query select
      format('device %s is not online', v_lane.device),
      'The session this task goes on with is on that machine. Start its worker, '
      'or revoke the device to start afresh elsewhere.',
      null::timestamptz;
  elsif v_lane.platform <> 'any' and v_online is null then
    return query select
      format('no device online with platform %s', v_lane.platform),
      case when v_platform is null then 'None that serves this server has that platform.'
           else 'Offline: ' || array_to_string(v_platform, ', ') end,
      null::timestamptz;
  elsif v_serving is null then
    return query select
      'no device serves it'::text,
      'Enrol a machine: `hub device add NAME`, or hub_enroll_device for one that is there.',
      null::timestamptz;
  elsif v_online is null then
    return query select
      'no device online'::text,
      'Offline: ' || array_to_string(v_platform, ', '),
      null::timestamptz;
  elsif v_fitting is null then
    return query select
      case when v_lane.agent is null
           then format('no device offers the model %s', v_lane.model)
           when v_lane.model = 'any'
           then format('no device offers the agent %s', v_lane.agent)
           else format('no device offers the agent %s with the model %s', v_lane.agent, v_lane.model) end,
      'Online: ' || array_to_string(v_online, ', '),
      null::timestamptz;
  elsif v_taking is null then
    return query select
      'all devices are draining'::text,
      array_to_string(v_fitting, ', ') || '; hub_drain_device(name, false) lets one work again',
      null::timestamptz;
  elsif v_free is null then
    return query select
      'all devices at capacity'::text,
      (select string_agg(format('%s %s/%s', d.name, hub_internal.held_count(d.name), d.capacity),
                         ', ' order by d.name)
         from public.mesh_devices d
        where d.name = any (v_taking)),
      (select min(r.lease_expires_at)
         from public.mac_tasks r
        where r.claimed_by = any (v_taking) and r.status = 'running');
  elsif not coalesce(v_task.run_after > p_now, false) then
    select count(*) into v_ahead
      from (select from public.mac_tasks a
             where a.lane = v_task.lane
               and a.status = 'pending'
               and a.run_after is null
               and a.queue_key < v_task.queue_key
             limit 1000) a;
    return query select
      'claimable'::text,
      format('%s could take it; %s ahead of it in its lane',
             array_to_string(v_free, ', '),
             case v_ahead when 0 then 'nothing is'
                          when 1000 then '1000 or more tasks are'
                          else v_ahead || ' task(s) are' end),
      null::timestamptz;
  end if;
end;
$$;
