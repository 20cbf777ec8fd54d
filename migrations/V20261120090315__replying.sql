-- Why: a reply goes on with the work that it answers: which task a message is of, and the task that follows
-- another.

-- The task that a message is of: it said it, or began with it (so did the copy that opens its thread), or was
-- steered by it. Null: of none.
create function hub_internal.task_of_message(p_message public.hub_channel_messages)
  returns public.mac_tasks
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_task public.mac_tasks;
begin
  if p_message.task_id is not null then
    select t.* into v_task from public.mac_tasks t where t.id = p_message.task_id;
  end if;
  if v_task.id is null then
    select t.*
      into v_task
      from public.mac_tasks t
     where t.message_id in (p_message.id,
                            case when p_message.task_thread_id is not null and p_message.seq = 1
                                 then p_message.reply_to end)
     order by t.created_at
     limit 1;
  end if;
  return v_task;
end;
$$;

-- The same for p_reply_to of hub_send, where it must be one. The caller may read the channel.
create function hub_internal.answered_task(p_channel_id uuid, p_thread_id uuid, p_message_id uuid)
  returns public.mac_tasks
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_message public.hub_channel_messages;
  v_task    public.mac_tasks;
begin
  select m.*
    into v_message
    from public.hub_channel_messages m
   where m.id = p_message_id and m.channel_id = p_channel_id;
  if found then
    v_task := hub_internal.task_of_message(v_message);
  end if;
  if v_message.id is null
     or p_thread_id <> coalesce(v_message.task_thread_id, v_task.thread_id, p_thread_id) then
    perform hub_internal.refuse('UH004', 'not found', format('message %s in that conversation', p_message_id),
      'Name a message of the same channel or thread in p_reply_to, or leave it out.');
  elsif v_task.id is null then
    perform hub_internal.refuse('UH003', 'conflict', format('message %s is of no task', p_message_id),
      'Reply to what a task said, such as its result, or to what asked for it; or leave p_reply_to out, for '
      'a new task.');
  elsif v_task.thread_id is null and hub_internal.is_threaded(p_channel_id) then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s has no thread yet', v_task.id),
      'Open it with hub_create_task_thread, then reply there.');
  end if;
  return v_task;
end;
$$;

-- A task that goes on with the work of another: of its line, with its agent, and its session where that is;
-- blocked until it has ended. p_said is what the routing reads, p_named the agent that is asked for by name. A
-- thread may have no task yet; then p_last is null.
create function hub_internal.follow_up(
  p_last public.mac_tasks, p_id uuid, p_content text, p_channel_id uuid, p_thread_id uuid, p_message_id uuid,
  p_person uuid, p_said text default null, p_named text default null)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_route   record;
  v_line    record;
  v_blocked boolean := coalesce(p_last.status in ('pending', 'running', 'waiting', 'blocked'), false);
  v_goes_on boolean;
  v_task    public.mac_tasks;
begin
  v_route := hub_internal.classify(coalesce(p_said, p_content), p_channel_id);
  v_line := hub_internal.line_session(p_last);
  v_goes_on := not v_blocked and coalesce(p_named = v_line.agent, p_named is null);
  insert into public.mac_tasks
    (id,
     content,
     project,
     status,
     model_preference,
     model_pinned,
     task_type,
     platform,
     channel_id, thread_id, server_id, message_id, parent_id, root_id,
     requested_agent,
     agent,
     session_id,
     session_device,
     created_by, created_at)
  values
    (p_id,
     p_content,
     p_last.project,
     case when v_blocked then 'blocked' else 'pending' end,
     case when p_named is not null then 'any' else coalesce(p_last.model_preference, v_route.model) end,
     p_named is null and coalesce(p_last.model_pinned, v_route.addressed),
     v_route.task_type,
     coalesce(p_last.platform, v_route.platform),
     p_channel_id, p_thread_id, p_last.server_id, p_message_id, p_last.id,
     coalesce(p_last.root_id, p_last.id),
     coalesce(p_named, v_line.asked),
     -- What it goes on with is known when what it waits for has ended (settle_needs).
     case when v_goes_on and v_line.session_device is not null then v_line.agent end,
     case when v_goes_on then v_line.session_id end,
     case when v_goes_on then v_line.session_device end,
     p_person, clock_timestamp())
  returning * into v_task;
  return v_task;
end;
$$;
