-- Why: the way in. What a person types means what the architecture of the channel's server says, and
-- everything that follows from it is one transaction.
--
--   command_dispatch          a command: answered at once, nothing kept (under an idempotency key: its
--                             answer, for the setting command_answer_retention)
--   flat_task_pipeline        message, task, queued line, all in the channel
--   threaded_task_isolation   message and one line in the channel; thread, copy of the message, queued line
--                             in the thread
--   a reply in a thread       the answer to what is asked there, if one thing is (…answers_otherwise); or words to
--                             the task that runs there, where thread_replies of the channel is steer; else a
--                             follow-up task there, which goes on with the agent's session on the machine
--                             that has it
--   !team, or a list of parts several tasks, and one that gathers what they did (…teams)
--   a reply to a message      the same for the task that the message is of, in a flat channel, too

-- What a message is in a channel that takes tasks, whoever sent it: message, task, thread. The caller has
-- looked at its rights. p_said is what the routing reads; p_wish what the sender's own rule says instead:
-- model, agent, project, priority, metadata, reply_to, as prompt what the task says where that is not the
-- message itself, and as addresses whether the sender may ask for an agent by name.
create function hub_internal.start_work(p_channel public.hub_channels, p_threaded boolean, p_thread_id uuid,
                                   p_content text, p_said text, p_idempotency_key text,
                                   p_sender_type text, p_sender text, p_label text, p_person uuid,
                                   p_wish jsonb default null)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_thread   public.hub_task_threads;
  v_message  public.hub_channel_messages;
  v_task     public.mac_tasks;
  v_last     public.mac_tasks;
  v_answered public.mac_tasks;
  v_steered  public.mac_tasks;
  v_route    record;
  v_task_id  uuid := gen_random_uuid();
  v_named    text;
  v_team     record;
begin
  if p_channel.is_read_only then
    perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only',
      'It is a feed; use another channel.');
  end if;
  if p_thread_id is not null then
    select * into v_thread
      from public.hub_task_threads t
     where t.id = p_thread_id
       and t.channel_id = p_channel.id;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('thread %s in that channel', p_thread_id),
        'Check p_thread_id.');
    end if;
  end if;

  if p_wish ->> 'reply_to' is not null then
    select m.*
      into v_message
      from public.hub_channel_messages m
     where m.id = (p_wish ->> 'reply_to')::uuid and m.channel_id = p_channel.id;
    v_answered := hub_internal.task_of_message(v_message);
    if v_answered.thread_id is distinct from p_thread_id or p_threaded and p_thread_id is null then
      v_answered := null;                         -- of another conversation: no more than mentioned
    end if;
  end if;
  if p_channel.thread_replies = 'steer' and (p_thread_id is not null or v_answered.id is not null) then
    v_steered := hub_internal.steerable_task(p_thread_id, v_answered);
  end if;

  -- A repeated key is looked for under the conversation's lock, as the numbering does: of two senders of one
  -- key, the second waits here and then finds what the first has made.
  if p_idempotency_key is not null then
    if p_thread_id is null then
      perform from public.hub_channels c where c.id = p_channel.id for no key update;
    else
      perform from public.hub_task_threads t where t.id = p_thread_id for no key update;
    end if;
    select * into v_message
      from public.hub_channel_messages m
     where m.sender_id = p_sender
       and m.idempotency_key = p_idempotency_key;
    if found then
      if (v_message.channel_id, v_message.task_thread_id, v_message.content)
         is distinct from (p_channel.id, p_thread_id, p_content) then
        perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message',
          'Use a new key for a new message.');
      end if;
      -- What it steered, else what it began, else what it answered.
      select t.* into v_task
        from hub_internal.steers s
        join public.mac_tasks t on t.id = s.task_id
       where s.message_id = v_message.id;
      if not found then
        select * into v_task
          from public.mac_tasks t
         where t.message_id = v_message.id
         order by t.created_at
         limit 1;
      end if;
      if v_task.id is null then
        select t.* into v_task
          from public.hub_asks a
          join public.mac_tasks t on t.id = a.task_id
         where a.answer_message_id = v_message.id;
      end if;
      select * into v_thread from public.hub_task_threads t where t.id = v_task.thread_id;
      return jsonb_build_object(
        'message', to_jsonb(v_message),
        'task', case when v_task.id is not null then to_jsonb(v_task) end,
        'thread', case when v_thread.id is not null then to_jsonb(v_thread) end,
        'reply', null);
    elsif exists (select from hub_internal.command_answers a
                   where a.sender_id = p_sender
                     and a.idempotency_key = p_idempotency_key) then
      perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message',
        'Use a new key for a new message.');
    end if;
  end if;

  if v_steered.id is not null then
    v_message := hub_internal.steer(
      v_steered, coalesce(p_wish ->> 'prompt', p_content), p_content, p_sender_type, p_sender, p_label,
      p_person, p_idempotency_key, (p_wish ->> 'reply_to')::uuid);
    select * into v_thread from public.hub_task_threads t where t.id = v_steered.thread_id;
    return jsonb_build_object(
      'message', to_jsonb(v_message),
      'task', to_jsonb(v_steered),
      'thread', case when v_thread.id is not null then to_jsonb(v_thread) end,
      'reply', null);
  end if;

  insert into public.hub_channel_messages
    (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type,
     idempotency_key, reply_to)
  values
    (null, p_channel.id, p_thread_id, p_sender_type, p_sender, p_label, p_content, 'text',
     p_idempotency_key, (p_wish ->> 'reply_to')::uuid)
  returning * into v_message;

  if coalesce(p_wish ->> 'agent', p_wish ->> 'model') is null
     and coalesce((p_wish ->> 'addresses')::boolean, true) then
    v_named := hub_internal.addressed_agent(p_said, p_channel.server_id);
  end if;
  if v_answered.id is null and p_thread_id is not null then
    -- The thread's row is locked by the message above: replies follow each other, each sees the one before
    -- it. A subtask is another's work, in the same thread.
    select * into v_last
      from public.mac_tasks t
     where t.thread_id = p_thread_id
       and not exists (select from hub_internal.subtasks s where s.task_id = t.id)
     order by t.created_at desc, t.id desc
     limit 1;
  elsif v_answered.id is not null then
    -- So is the channel's.
    select * into v_last
      from hub_internal.line_tasks(coalesce(v_answered.root_id, v_answered.id)) t
     order by t.created_at desc, t.id desc
     limit 1;
  end if;
  if v_last.id is not null or p_thread_id is not null then
    v_task := hub_internal.follow_up(
      v_last, v_task_id, coalesce(p_wish ->> 'prompt', p_content), p_channel.id, p_thread_id, v_message.id,
      p_person, p_said, v_named);
  else
    -- What a person asks for here: words from a chat, of a report or another program make one task.
    v_team := hub_internal.team_of_message(
      case when p_sender_type = 'human' and p_wish ->> 'prompt' is null then p_content end);
    v_route := hub_internal.classify(coalesce(v_team.request, p_said), p_channel.id);
    if p_threaded then
      v_thread := hub_internal.open_thread(p_channel.id, v_task_id, coalesce(v_team.request, p_content));
      insert into public.hub_channel_messages
        (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type,
         reply_to)
      values
        (null, p_channel.id, v_thread.id, p_sender_type, p_sender, p_label, p_content, 'text',
         v_message.id);
    end if;
    insert into public.mac_tasks
      (id,
       content,
       status,
       project,
       model_preference,
       model_pinned,
       requested_agent,
       priority,
       task_type, platform,
       channel_id, thread_id, message_id,
       metadata,
       created_by, created_at)
    values
      (v_task_id,
       coalesce(p_wish ->> 'prompt', v_team.request, p_content),
       case when v_team.source is null then 'pending' else 'blocked' end,
       coalesce(p_wish ->> 'project', p_channel.project_path),
       -- Whoever is asked for by name does it with the models it has.
       coalesce(p_wish ->> 'model', case when v_named is not null then 'any' else v_route.model end),
       -- What a rule names is its preference, as a channel's is.
       v_route.addressed and coalesce(p_wish ->> 'model', v_named) is null,
       coalesce(p_wish ->> 'agent', v_named),
       (p_wish ->> 'priority')::integer,
       v_route.task_type, v_route.platform,
       p_channel.id, v_thread.id, v_message.id,
       p_wish -> 'metadata',
       p_person, clock_timestamp())
    returning * into v_task;
    if v_team.source is not null then
      v_task := hub_internal.make_team(v_task, v_team.source, v_team.gather, v_team.branches, v_team.parts);
    end if;
  end if;

  -- The thread as it is by now, with what was said in it. (Looked for only if there is one: what a null can
  -- not find Postgres plans anew each time.)
  if v_task.thread_id is not null then
    select * into v_thread from public.hub_task_threads t where t.id = v_task.thread_id;
  end if;
  return jsonb_build_object(
    'message', to_jsonb(v_message),
    'task', to_jsonb(v_task),
    'thread', case when v_thread.id is not null then to_jsonb(v_thread) end,
    'reply', null);
end;
$$;

create function hub_internal.send(
  p_channel_id uuid, p_content text, p_thread_id uuid, p_idempotency_key text, p_reply_to uuid)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- writes messages, tasks and threads together
  set search_path = ''
as $$
declare
  v_channel  public.hub_channels := hub_internal.readable_channel(p_channel_id);
  v_server   public.hub_servers;
  v_person   uuid := hub_internal.person();
  v_sender   text := coalesce(v_person::text, hub_internal.caller_role());
  v_label    text := case when v_person is null then v_sender else hub_internal.person_label() end;
  v_answered public.mac_tasks;
  v_again    boolean := false;
  v_parts    integer;
  v_closed   jsonb;
begin
  select * into v_server from public.hub_servers s where s.id = v_channel.server_id;
  perform hub_internal.require_text(p_content, 'p_content');
  perform hub_internal.require_key(p_idempotency_key, 'p_idempotency_key');
  if v_server.architecture_type = 'command_dispatch' then
    if p_reply_to is not null then
      perform hub_internal.refuse('UH003', 'conflict', 'this channel answers commands and has no tasks',
        'Leave p_reply_to out.');
    end if;
    -- A reading command is for whoever may read; one that writes looks for itself.
    return jsonb_build_object(
      'message', null,
      'task', null,
      'thread', null,
      'reply',
      case when p_idempotency_key is null then hub_internal.execute_command(p_channel_id, p_content)
           else hub_internal.answer_command(v_sender, p_idempotency_key, p_channel_id, p_content) end);
  end if;
  perform hub_internal.require_operate(hub_internal.may_operate(v_server.id),
    'making a task in this channel');
  if p_reply_to is not null then
    v_answered := hub_internal.answered_task(p_channel_id, p_thread_id, p_reply_to);
    p_thread_id := v_answered.thread_id;
  end if;
  -- The same again under its key is nothing new. (Looked at without the lock, which start_work takes: at
  -- worst it is counted.)
  if v_person is not null then
    if p_idempotency_key is not null then
      v_again := exists (select from public.hub_channel_messages m
                          where m.sender_id = v_sender
                            and m.idempotency_key = p_idempotency_key);
    end if;
    if not v_again then
      perform hub_internal.spend_message(v_channel.id, char_length(p_content));
    end if;
    if not v_again and (p_thread_id is not null or p_reply_to is not null) then
      v_closed := hub_internal.answer_by_reply(
        v_channel.id, p_thread_id, p_reply_to, p_content, p_idempotency_key, v_person, v_label);
      if v_closed is not null then
        return v_closed;
      end if;
    end if;
    if not v_again then
      perform hub_internal.spend_task();
      if p_thread_id is null then
        -- Its parts are tasks, too.
        v_parts := cardinality((hub_internal.team_of_message(p_content)).parts);
        if v_parts > 0 then
          perform hub_internal.spend('person_tasks', v_person::text, v_parts);
        end if;
      end if;
    end if;
  end if;
  return hub_internal.start_work(
           v_channel, v_server.architecture_type = 'threaded_task_isolation', p_thread_id,
           p_content, p_content, p_idempotency_key, 'human', v_sender, v_label, v_person,
           case when p_reply_to is not null then jsonb_build_object('reply_to', p_reply_to) end);
end;
$$;

create function hub_internal.send_to(p_channel text, p_content text, p_idempotency_key text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_channel uuid;
begin
  if p_channel ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    v_channel := p_channel::uuid;
  else
    -- As the caller: what they may not see is not found.
    select c.id
      into v_channel
      from public.hub_servers s
      join public.hub_channels c on c.server_id = s.id
     where s.name = split_part(p_channel, '/', 1)
       and c.name = substr(p_channel, char_length(split_part(p_channel, '/', 1)) + 2);
    if v_channel is null then
      perform hub_internal.refuse('UH004', 'not found', 'the channel',
        'Name it by its id, or as server/channel.');
    end if;
  end if;
  return public.hub_send(v_channel, p_content, null, p_idempotency_key);
end;
$$;

-- Threads by hand -------------------------------------------------------------------------------------------

create function hub_internal.create_task_thread(p_channel_id uuid, p_task_id uuid)
  returns public.hub_task_threads
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_channel public.hub_channels := hub_internal.readable_channel(p_channel_id);
  v_task    public.mac_tasks;
  v_thread  public.hub_task_threads;
  v_note    text;
begin
  perform hub_internal.require_operate(hub_internal.may_operate(v_channel.server_id),
    'opening a thread in this channel');
  if not hub_internal.is_threaded(p_channel_id) then
    perform hub_internal.refuse('UH003', 'conflict', 'this channel has no threads',
      'Use a channel of a threaded server.');
  end if;
  if v_channel.is_read_only then
    perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only',
      'It is a feed; use another channel.');
  end if;
  -- Locked: of two callers the second finds the first one's thread.
  select * into v_task from public.mac_tasks t where t.id = p_task_id for no key update;
  if not found
     or v_task.channel_id is distinct from p_channel_id
        and not (v_task.channel_id is null
                 and (hub_internal.is_trusted() or v_task.created_by = hub_internal.person()) is true) then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', coalesce(p_task_id::text, 'null')),
      'It must be of this channel, or one of your own without a channel.');
  end if;
  if v_task.thread_id is not null then
    select * into v_thread from public.hub_task_threads t where t.id = v_task.thread_id;
    return v_thread;
  end if;

  if v_task.channel_id is null then
    v_task.channel_id := p_channel_id;
    perform hub_internal.tell('queued', v_task, null);
  end if;
  v_thread := hub_internal.new_thread_for(v_task);
  -- What already happened: that it started, and its newest word, or how it ended.
  if v_task.status = 'running' then
    perform hub_internal.tell('started', v_task, v_thread.id, '');
    v_note := hub_internal.progress_text('', coalesce(v_task.partial_output, ''));
    if v_note <> '' then
      perform hub_internal.tell('progress', v_task, v_thread.id, v_note);
    end if;
  elsif v_task.status in ('complete', 'failed', 'cancelled') then
    v_task.told := hub_internal.tell_end(v_task, v_thread.id);
  end if;
  update public.mac_tasks t
     set channel_id = p_channel_id,
         thread_id = v_thread.id,
         told = v_task.told
   where t.id = p_task_id;
  select * into v_thread from public.hub_task_threads t where t.id = v_thread.id;
  return v_thread;
end;
$$;
