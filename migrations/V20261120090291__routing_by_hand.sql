-- Why: an operator says which agent, model or machine a task is for, where the routing chose another, or what
-- it chose is not to be had; and what kind of work it is, where that was taken for another. The latter is a
-- correction, and kept (keep_example); a model alone may only be the one that is to be had today.

create function hub_internal.route_task(
    p_task_id uuid, p_agent text, p_model text, p_device text, p_type text)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_open   text[] := array['pending', 'blocked', 'waiting', 'failed', 'cancelled'];
  v_task   public.mac_tasks := hub_internal.operated_task(p_task_id, 'routing a task', v_open);
  v_other  boolean;
  v_model  text := p_model;
  v_by     text := case when hub_internal.person() is null then hub_internal.caller_role()
                        else hub_internal.person_label() end;
begin
  if coalesce(p_agent, p_model, p_device, p_type) is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agent, p_model, p_device and p_type are null',
      'Say at least one of them.');
  elsif not (v_task.status = any (v_open)) then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status),
      case v_task.status when 'running' then 'Cancel it (hub_cancel_task), route it, then hub_retry_task.'
                         else 'complete is final: send it again.' end);
  elsif p_model not in ('claude', 'codex', 'gemini', 'any') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_model %L', left(p_model, 100)),
      'claude, codex, gemini or any.');
  elsif p_type not in ('code', 'fix', 'test', 'review', 'research', 'docs', 'ops', 'plan', 'data', 'design',
                       'other') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_type %L', left(p_type, 100)),
      'code, fix, test, review, research, docs, ops, plan, data, design or other.');
  elsif not hub_internal.is_offered_agent(p_agent, array[v_task.server_id]) then
    perform hub_internal.refuse('UH001', 'bad input', format('p_agent %L', left(p_agent, 100)),
      'No device offers an agent of this name; see `hub devices` for those there are.');
  elsif p_device <> 'any'
        and not exists (select from public.mesh_devices d
                         where d.name = p_device
                           and d.revoked_at is null
                           and (d.serves_all
                                or exists (select from public.mesh_device_servers e
                                            where e.device = d.name
                                              and e.server_id = v_task.server_id))) then
    perform hub_internal.refuse('UH004', 'not found',
      format('device %s', hub_internal.shorten(p_device, 100)),
      'No machine of this name serves the server of the task; see `hub devices`.');
  end if;

  if p_type is not null then
    perform hub_internal.keep_example(v_task.server_id, v_task.content, p_type, p_model);
    -- Another kind of work is another model's, where nobody said whose it is.
    if coalesce(p_agent, p_model, v_task.requested_agent) is null and not v_task.model_pinned then
      select nullif(c.model, v_task.model_preference)
        into v_model
        from hub_internal.classify(v_task.content, v_task.channel_id) c;
    end if;
  end if;

  -- A session is of one agent, on one machine: it stays where the task does. To another agent, or another
  -- model without an agent, it is none; elsewhere the task only would like to go on with it.
  v_other := p_agent is distinct from coalesce(v_task.agent, v_task.requested_agent)
             and (p_agent is not null or v_model is not null);
  update public.mac_tasks t
     set task_type = coalesce(p_type, t.task_type),
         model_preference = coalesce(v_model,
                                     case when p_agent is null then t.model_preference else 'any' end),
         model_pinned = case when p_model is not null then p_model <> 'any'
                             else p_agent is null and t.model_pinned end,
         model = coalesce(nullif(v_model, 'any'), case when p_agent is null then t.model end),
         requested_agent = case when coalesce(p_agent, v_model) is null then t.requested_agent
                                else p_agent end,
         agent = case when coalesce(p_agent, v_model) is null then t.agent else p_agent end,
         requested_device = nullif(coalesce(p_device, t.requested_device), 'any'),
         session_id = case when not v_other then t.session_id end,
         session_device = case when not v_other and coalesce(p_device = t.session_device, true)
                               then t.session_device end
   where t.id = p_task_id
  returning t.* into v_task;
  if v_task.channel_id is not null then
    perform hub_internal.tell('routed', v_task, v_task.thread_id,
      p_reason => format('%s, by %s',
        concat_ws(' ', 'as ' || p_type, p_agent,
                  case when v_model is not null then 'model ' || v_model end,
                  case when p_device = 'any' then 'on any machine'
                       when p_device is not null then 'on ' || p_device end),
        v_by));
  end if;
  if v_task.status = 'pending' and (v_task.run_after is null or v_task.run_after <= now()) then
    perform hub_internal.wake_devices(v_task.lane);
  end if;
  return v_task;
end;
$$;
