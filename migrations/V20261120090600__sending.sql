-- Why: the way in. What a person types means what the architecture of the channel's server says, and everything that follows
-- from it is one transaction.
--
--   command_dispatch          a command: answered at once, nothing kept (under an idempotency key: its answer, for the setting command_answer_retention)
--   flat_task_pipeline        message, task, queued line, all in the channel
--   threaded_task_isolation   message and one line in the channel; thread, copy of the message, queued line in the thread
--   a reply in a thread       a follow-up task there, which goes on with the agent's session on the machine that has it

-- Commands ------------------------------------------------------------------------------------------------------------------

create table public.koji_commands (
  name        text primary key,
  usage       text not null,
  description text not null,
  writes      boolean not null default false,
  function    text not null,           -- a name, since pg_upgrade refuses a database with a column of regprocedure
  constraint koji_commands_name_check check (name ~ '^[a-z][a-z0-9-]{0,30}$'),
  constraint koji_commands_function_check check (function ~ '^hub_internal\.[a-z][a-z0-9_]*$')
);
comment on table public.koji_commands is
  'The commands of command dispatch servers: a row and a function (channel id, arguments) returning text. Changed by migrations only.';
alter table public.koji_commands enable row level security;
revoke all on public.koji_commands from public, anon, authenticated, service_role;
grant select on public.koji_commands to authenticated, service_role;
create policy koji_commands_select_readers on public.koji_commands for select to authenticated
  using (exists (select hub_internal.my_server_ids()));

-- Words, where quotes keep blanks together: !lead "Bakeri Berlin". An unclosed quote reaches to the end.
create function hub_internal.command_words(p_text text)
  returns text[]
  language sql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
  select coalesce(array_agg(coalesce(m[1], m[2], m[3]) order by n), '{}')
    from regexp_matches(p_text, '"([^"]*)(?:"|$)|''([^'']*)(?:''|$)|([^\s"'']\S*)', 'g') with ordinality as r (m, n)
$$;

-- Pieces of at most 2000 characters, cut between lines where a line is not longer itself.
create function hub_internal.chunks(p_text text, p_length int default 2000)
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_chunks text[] := '{}'::text[];
  v_chunk  text;
  v_line   text;
  v_head   text;
begin
  foreach v_line in array string_to_array(p_text, E'\n') loop
    while char_length(v_line) > p_length loop
      if v_chunk is not null then
        v_chunks := v_chunks || v_chunk;
        v_chunk := null;
      end if;
      v_head := hub_internal.head(v_line, p_length);
      v_chunks := v_chunks || v_head;
      v_line := substr(v_line, char_length(v_head) + 1);
    end loop;
    if v_chunk is null then
      v_chunk := v_line;
    elsif char_length(v_chunk) + 1 + char_length(v_line) <= p_length then
      v_chunk := v_chunk || E'\n' || v_line;
    else
      v_chunks := v_chunks || v_chunk;
      v_chunk := v_line;
    end if;
  end loop;
  return v_chunks || v_chunk;
end;
$$;

-- How many letters must be changed, added or taken away to make one word of the other: which command was meant.
create function hub_internal.edit_distance(p_a text, p_b text)
  returns integer
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_row  integer[] := array(select generate_series(0, char_length(p_b)));
  v_next integer[];
begin
  for i in 1 .. char_length(p_a) loop
    v_next := array[i];
    for j in 1 .. char_length(p_b) loop
      v_next[j + 1] := least(v_row[j + 1] + 1, v_next[j] + 1, v_row[j] + (substr(p_a, i, 1) <> substr(p_b, j, 1))::int);
    end loop;
    v_row := v_next;
  end loop;
  return v_row[char_length(p_b) + 1];
end;
$$;

create function hub_internal.execute_command(p_channel_id uuid, p_command text)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- commands read tables that people reach by commands alone
  set search_path = ''
as $$
declare
  v_channel public.hub_channels := hub_internal.readable_channel(p_channel_id);
  v_words   text[];
  v_name    text;
  v_command public.koji_commands;
  v_nearest text;
  v_text    text;
begin
  if (select s.architecture_type from public.hub_servers s where s.id = v_channel.server_id) <> 'command_dispatch' then
    perform hub_internal.refuse('UH003', 'conflict', 'this channel takes tasks, not commands', 'Use hub_send, or a channel of a command dispatch server.');
  end if;
  if p_command is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_command is null', 'Give a command; !help lists them.');
  end if;
  if char_length(p_command) > 4000 then
    v_text := 'A command has at most 4,000 characters.';
    return jsonb_build_object('text', v_text, 'chunks', jsonb_build_array(v_text));
  end if;
  v_words := hub_internal.command_words(p_command);
  v_name := lower(ltrim(coalesce(v_words[1], ''), '!'));

  select * into v_command from public.koji_commands k where k.name = v_name;
  if found then
    if v_command.writes then
      perform hub_internal.require_operate(hub_internal.may_operate(v_channel.server_id), format('the command !%s', v_name));
    end if;
    -- The name comes from the registry, which only migrations change; the arguments are passed as values.
    execute format('select %s($1, $2)', v_command.function) into v_text using p_channel_id, v_words[2:];
  elsif v_name in ('', 'help') then
    select 'Commands:' || coalesce(string_agg(E'\n' || k.usage || ' - ' || k.description, '' order by k.name), E'\n(none yet)')
      into v_text from (select name, usage, description from public.koji_commands
                         union all select 'help', '!help', 'This list') k;
  else
    v_name := left(v_name, 40);
    select k.name into v_nearest from public.koji_commands k
     where hub_internal.edit_distance(v_name, k.name) <= greatest(1, char_length(k.name) / 2)
     order by hub_internal.edit_distance(v_name, k.name), k.name limit 1;
    v_text := format('Unknown command: !%s.%s !help lists the commands there are.', v_name, coalesce(' Did you mean !' || v_nearest || '?', ''));
  end if;
  return jsonb_build_object('text', v_text, 'chunks', to_jsonb(hub_internal.chunks(v_text)));
end;
$$;

-- What was answered under an idempotency key: a command that writes is not carried out twice. Of the command its digest is enough.
create table hub_internal.command_answers (
  sender_id       text not null,
  idempotency_key text not null,
  digest          bytea not null,
  answer          jsonb,
  created_at      timestamptz not null default now(),
  primary key (sender_id, idempotency_key)
);
comment on table hub_internal.command_answers is 'The answers of commands that were sent with an idempotency key, for the setting command_answer_retention. Other commands leave nothing.';
comment on column hub_internal.command_answers.digest is 'sha256 of channel and command.';
create index command_answers_created_idx on hub_internal.command_answers (created_at);
alter table hub_internal.command_answers enable row level security;
revoke all on hub_internal.command_answers from public, anon, authenticated, service_role;
insert into hub_internal.settings (name, value, about) values
  ('command_answer_retention', '1 day', 'how long a repeated idempotency key gives a command''s first answer');

-- A command under a key of its sender. The caller has looked whether the sender may read the channel; without a key it calls execute_command.
create function hub_internal.answer_command(p_sender text, p_idempotency_key text, p_channel_id uuid, p_command text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_digest bytea := sha256(uuid_send(p_channel_id) || convert_to(p_command, 'UTF8'));
  v_kept   hub_internal.command_answers;
  v_answer jsonb;
begin
  loop
    -- Of two senders of one key at the same moment the second waits here until the first has answered, or has failed and left nothing.
    insert into hub_internal.command_answers (sender_id, idempotency_key, digest) values (p_sender, p_idempotency_key, v_digest)
    on conflict do nothing;
    exit when found;
    select * into v_kept from hub_internal.command_answers a where a.sender_id = p_sender and a.idempotency_key = p_idempotency_key;
    if found then
      if v_kept.digest <> v_digest then
        perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message', 'Use a new key for a new message.');
      end if;
      -- As execute_command does: who may no longer carry it out is told nothing of it.
      perform hub_internal.require_operate(hub_internal.may_operate(c.server_id), format('the command !%s', k.name))
         from public.hub_channels c, public.koji_commands k
        where c.id = p_channel_id and k.writes and k.name = lower(ltrim((hub_internal.command_words(p_command))[1], '!'));
      return v_kept.answer;
    end if;
  end loop;                                       -- it went away in between: its time was over
  if exists (select from public.hub_channel_messages m where m.sender_id = p_sender and m.idempotency_key = p_idempotency_key) then
    perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message', 'Use a new key for a new message.');
  end if;
  if not hub_internal.is_trusted() or p_sender like 'hook:%' then
    perform hub_internal.spend('command_answers', p_sender);
  end if;
  v_answer := hub_internal.execute_command(p_channel_id, p_command);
  update hub_internal.command_answers a set answer = v_answer where a.sender_id = p_sender and a.idempotency_key = p_idempotency_key;
  return v_answer;
end;
$$;
comment on function hub_internal.answer_command(text, text, uuid, text) is
  'Answers a command once for a sender''s idempotency key: again with the same content, the first answer. Errors: UH003 the key was used for something else, and those of hub_execute_command.';

create function public.hub_execute_command(p_channel_id uuid, p_command text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.execute_command(p_channel_id, p_command);
end;
$$;
comment on function public.hub_execute_command(uuid, text) is
  'Answers a command: {text, chunks (of at most 2000 characters)}; nothing is kept. A mistyped command is answered, too. Errors: UH001, UH003 not such a channel, UH004, 42501 for commands that write.';

-- What a person gives to do is counted, whichever way it comes.
create function hub_internal.spend_task()
  returns void
  language plpgsql
  volatile
  security definer                                -- buckets are nobody's to write
  set search_path = ''
as $$
begin
  perform hub_internal.spend('person_tasks', hub_internal.person()::text);
end;
$$;

-- A person's own INSERT into the queue (Aura's Dispatch tab). As for messages: whole structs are welcome, lies are not.
create function hub_internal.queue_as_oneself()
  returns trigger
  language plpgsql
  set search_path = ''                            -- security invoker: it runs as the one who inserts
as $$
declare
  v_me      uuid := hub_internal.person();
  v_channel public.hub_channels;
begin
  if v_me is null or not exists (select hub_internal.my_operated_server_ids()) then
    perform hub_internal.refuse('42501', 'permission denied', 'making a task', 'An operator or owner of a server makes tasks.');
  end if;
  if new.channel_id is not null then
    select c.* into v_channel from public.hub_channels c where c.id = new.channel_id;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('channel %s', new.channel_id), 'Check channel_id, and that you may read its server.');
    end if;
    if v_channel.server_id not in (select hub_internal.my_operated_server_ids()) then
      perform hub_internal.refuse('42501', 'permission denied', 'making a task in this channel', 'An operator or owner of its server may.');
    end if;
    if v_channel.is_read_only then
      perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only', 'It is a feed; use another channel.');
    end if;
  elsif new.thread_id is not null then
    perform hub_internal.refuse('UH001', 'bad input', 'thread_id without channel_id', 'Give both, or neither.');
  end if;
  if coalesce(new.requested_agent, new.agent) is not null and not hub_internal.is_known_agent(coalesce(new.requested_agent, new.agent)) then
    perform hub_internal.refuse('UH001', 'bad input', format('agent %L', left(coalesce(new.requested_agent, new.agent), 100)),
      'No device offers an agent of this name; leave it out, or see `hub devices` for those there are.');
  end if;
  if new.thread_id is not null and not exists (select from public.hub_task_threads t where t.id = new.thread_id and t.channel_id = new.channel_id) then
    perform hub_internal.refuse('UH004', 'not found', format('thread %s in that channel', new.thread_id), 'Check thread_id.');
  end if;
  if new.message_id is not null and not exists (select from public.hub_channel_messages m where m.id = new.message_id and m.channel_id = new.channel_id) then
    perform hub_internal.refuse('UH004', 'not found', format('message %s in that channel', new.message_id), 'Check message_id.');
  end if;
  if new.parent_id is not null and not exists (select from public.mac_tasks t where t.id = new.parent_id) then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', new.parent_id), 'Check parent_id.');
  end if;
  if coalesce(new.status, 'pending') <> 'pending' then
    perform hub_internal.refuse('42501', 'permission denied', format('status %L', new.status), 'A new task is pending; leave status out.');
  end if;
  if coalesce(new.created_by, v_me) <> v_me then
    perform hub_internal.refuse('42501', 'permission denied', 'created_by is somebody else', 'Leave it out: it is taken from your token.');
  end if;
  if coalesce(new.claimed_by, new.partial_output, new.result, new.error) is not null then
    perform hub_internal.refuse('42501', 'permission denied', 'claimed_by, partial_output, result or error', 'They are the executor''s to write: leave them out.');
  end if;
  perform hub_internal.spend_task();
  new.status := 'pending';
  new.created_by := v_me;
  new.attempt := 0;
  new.created_at := now();                        -- an earlier date would jump the queue
  new.updated_at := now();
  new.claimed_at := null;
  new.finished_at := null;
  new.lease_expires_at := null;
  new.cancel_requested_at := null;
  new.session_id := null;                         -- somebody's session is not picked by naming it
  new.session_device := null;
  new.team_id := null;
  return new;
end;
$$;
create trigger mac_tasks_as_oneself
  before insert on public.mac_tasks
  for each row when (current_user = 'authenticated')
  execute function hub_internal.queue_as_oneself();
create trigger mac_tasks_as_oneself_fresh_id
  before insert on public.mac_tasks
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();

-- The document's struct of a task, and what was added that a person may choose or harmlessly repeat.
grant insert (id, content, project, status, model_preference, model, agent, task_type, platform, priority, claimed_by, attempt, max_attempts,
              lease_expires_at, run_after, partial_output, result, error, channel_id, thread_id, message_id, parent_id, team_id, session_id,
              session_device, idempotency_key, cancel_requested_at, metadata, created_by, server_id, created_at, updated_at, claimed_at, finished_at)
  on public.mac_tasks to authenticated;
create policy mac_tasks_insert_operators on public.mac_tasks for insert to authenticated
  with check (created_by = (select hub_internal.person()) and status = 'pending'
              and exists (select hub_internal.my_operated_server_ids())
              and (channel_id is null
                   or channel_id in (select c.id from public.hub_channels c where c.server_id in (select hub_internal.my_operated_server_ids()))));

-- Sending ------------------------------------------------------------------------------------------------------------------------

-- What a message is in a channel that takes tasks, whoever sent it: message, task, thread. The caller has looked at its rights. p_said is what
-- the routing reads; p_wish what the sender's own rule says instead: model, agent, project, priority, metadata, reply_to, and as prompt what the task
-- says where that is not the message itself.
create function hub_internal.place(p_channel public.hub_channels, p_threaded boolean, p_thread_id uuid, p_content text, p_said text, p_idempotency_key text,
                                   p_sender_type text, p_sender text, p_label text, p_person uuid, p_wish jsonb default null)
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
  v_route    record;
  v_task_id  uuid := gen_random_uuid();
  v_blocked  boolean;
begin
  if p_channel.is_read_only then
    perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only', 'It is a feed; use another channel.');
  end if;
  if p_thread_id is not null then
    select * into v_thread from public.hub_task_threads t where t.id = p_thread_id and t.channel_id = p_channel.id;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('thread %s in that channel', p_thread_id), 'Check p_thread_id.');
    end if;
  end if;

  -- A repeated key is looked for under the conversation's lock, as the numbering does: of two senders of one key, the second
  -- waits here and then finds what the first has made.
  if p_idempotency_key is not null then
    if p_thread_id is null then
      perform from public.hub_channels c where c.id = p_channel.id for no key update;
    else
      perform from public.hub_task_threads t where t.id = p_thread_id for no key update;
    end if;
    select * into v_message from public.hub_channel_messages m where m.sender_id = p_sender and m.idempotency_key = p_idempotency_key;
    if found then
      if (v_message.channel_id, v_message.task_thread_id, v_message.content) is distinct from (p_channel.id, p_thread_id, p_content) then
        perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message', 'Use a new key for a new message.');
      end if;
      select * into v_task from public.mac_tasks t where t.message_id = v_message.id order by t.created_at limit 1;
      select * into v_thread from public.hub_task_threads t where t.id = v_task.thread_id;
      return jsonb_build_object('message', to_jsonb(v_message), 'task', case when v_task.id is not null then to_jsonb(v_task) end,
                                'thread', case when v_thread.id is not null then to_jsonb(v_thread) end, 'reply', null);
    elsif exists (select from hub_internal.command_answers a where a.sender_id = p_sender and a.idempotency_key = p_idempotency_key) then
      perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message', 'Use a new key for a new message.');
    end if;
  end if;

  insert into public.hub_channel_messages (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, idempotency_key, reply_to)
  values (null, p_channel.id, p_thread_id, p_sender_type, p_sender, p_label, p_content, 'text', p_idempotency_key, (p_wish ->> 'reply_to')::uuid)
  returning * into v_message;

  select * into v_route from hub_internal.classify(p_said, p_channel.id);

  if p_thread_id is not null then
    -- The thread's row is locked by the message above: replies follow each other, each sees the one before it.
    select * into v_last from public.mac_tasks t where t.thread_id = p_thread_id order by t.created_at desc, t.id desc limit 1;
    v_blocked := coalesce(v_last.status in ('pending', 'running', 'waiting', 'blocked'), false);
    insert into public.mac_tasks (id, content, project, status, model_preference, task_type, platform, channel_id, thread_id, message_id, parent_id,
                                  requested_agent, session_id, session_device, created_by, created_at)
    values (v_task_id, coalesce(p_wish ->> 'prompt', p_content), coalesce(v_last.project, p_channel.project_path), case when v_blocked then 'blocked' else 'pending' end,
            coalesce(v_last.model_preference, v_route.model), v_route.task_type, coalesce(v_last.platform, v_route.platform), p_channel.id, p_thread_id,
            v_message.id, v_last.id,
            coalesce(v_last.requested_agent, case when v_last.session_id is not null then v_last.agent end),
            case when not v_blocked then v_last.session_id end, case when not v_blocked then v_last.session_device end, p_person, clock_timestamp())
    returning * into v_task;
  else
    if p_threaded then
      v_thread := hub_internal.open_thread(p_channel.id, v_task_id, p_content);
      insert into public.hub_channel_messages (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, reply_to)
      values (null, p_channel.id, v_thread.id, p_sender_type, p_sender, p_label, p_content, 'text', v_message.id);
    end if;
    insert into public.mac_tasks (id, content, project, model_preference, requested_agent, priority, task_type, platform, channel_id, thread_id, message_id,
                                  metadata, created_by, created_at)
    values (v_task_id, coalesce(p_wish ->> 'prompt', p_content), coalesce(p_wish ->> 'project', p_channel.project_path), coalesce(p_wish ->> 'model', v_route.model), p_wish ->> 'agent',
            (p_wish ->> 'priority')::integer, v_route.task_type, v_route.platform, p_channel.id, v_thread.id, v_message.id,
            p_wish -> 'metadata', p_person, clock_timestamp())
    returning * into v_task;
  end if;

  select * into v_thread from public.hub_task_threads t where t.id = v_task.thread_id;
  return jsonb_build_object('message', to_jsonb(v_message), 'task', to_jsonb(v_task),
                            'thread', case when v_thread.id is not null then to_jsonb(v_thread) end, 'reply', null);
end;
$$;

create function hub_internal.send(p_channel_id uuid, p_content text, p_thread_id uuid, p_idempotency_key text)
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
begin
  select * into v_server from public.hub_servers s where s.id = v_channel.server_id;
  if p_content is null or btrim(p_content, E' \t\r\n') = '' or char_length(p_content) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_content', 'A message has 1 to 100,000 characters, and more than blanks.');
  end if;
  if char_length(p_idempotency_key) not between 1 and 200 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_idempotency_key', 'A key has 1 to 200 characters.');
  end if;
  if v_server.architecture_type = 'command_dispatch' then
    -- A reading command is for whoever may read; one that writes looks for itself.
    return jsonb_build_object('message', null, 'task', null, 'thread', null, 'reply',
      case when p_idempotency_key is null then hub_internal.execute_command(p_channel_id, p_content)
           else hub_internal.answer_command(v_sender, p_idempotency_key, p_channel_id, p_content) end);
  end if;
  perform hub_internal.require_operate(hub_internal.may_operate(v_server.id), 'making a task in this channel');
  -- The same again under its key is nothing new. (Looked at without the lock, which place takes: at worst it is counted.)
  if v_person is not null
     and (p_idempotency_key is null
          or not exists (select from public.hub_channel_messages m where m.sender_id = v_sender and m.idempotency_key = p_idempotency_key)) then
    perform hub_internal.spend_message(v_channel.id, char_length(p_content));
    perform hub_internal.spend_task();
  end if;
  return hub_internal.place(v_channel, v_server.architecture_type = 'threaded_task_isolation', p_thread_id, p_content, p_content, p_idempotency_key,
                            'human', v_sender, v_label, v_person);
end;
$$;

create function public.hub_send(p_channel_id uuid, p_content text, p_thread_id uuid default null, p_idempotency_key text default null)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.send(p_channel_id, p_content, p_thread_id, p_idempotency_key);
end;
$$;
comment on function public.hub_send(uuid, text, uuid, text) is
  'Sends a message and does what the channel''s architecture says: {message, task, thread, reply}. The same key with the same content gives the first answer. Errors: UH001, UH003 the key was used for something else, UH004, 42501.';

-- Threads by hand -----------------------------------------------------------------------------------------------------------------

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
begin
  perform hub_internal.require_operate(hub_internal.may_operate(v_channel.server_id), 'opening a thread in this channel');
  if not hub_internal.is_threaded(p_channel_id) then
    perform hub_internal.refuse('UH003', 'conflict', 'this channel has no threads', 'Use a channel of a threaded server.');
  end if;
  if v_channel.is_read_only then
    perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only', 'It is a feed; use another channel.');
  end if;
  -- Locked: of two callers the second finds the first one's thread.
  select * into v_task from public.mac_tasks t where t.id = p_task_id for no key update;
  if not found
     or v_task.channel_id is distinct from p_channel_id
        and not (v_task.channel_id is null and (hub_internal.is_trusted() or v_task.created_by = hub_internal.person()) is true) then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', coalesce(p_task_id::text, 'null')), 'It must be of this channel, or one of your own without a channel.');
  end if;
  if v_task.thread_id is not null then
    select * into v_thread from public.hub_task_threads t where t.id = v_task.thread_id;
    return v_thread;
  end if;

  if v_task.channel_id is null then
    v_task.channel_id := p_channel_id;
    perform hub_internal.tell_queued(v_task, null);
  end if;
  v_thread := hub_internal.new_thread_for(v_task);
  -- What already happened: the newest word of a task at work, or how it ended.
  if v_task.status = 'running' and v_task.partial_output is not null and hub_internal.progress_text('', v_task.partial_output) <> '' then
    perform hub_internal.tell(v_task, v_thread.id, 'progress',
      format('📋 %s: %s', hub_internal.task_short(v_task.id), hub_internal.progress_text('', v_task.partial_output)), null, hub_internal.task_runner(v_task));
  elsif v_task.status in ('complete', 'failed', 'cancelled') then
    perform hub_internal.tell_end(v_task, v_thread.id);
  end if;
  update public.mac_tasks t
     set channel_id = p_channel_id, thread_id = v_thread.id,
         told = case when v_task.status in ('complete', 'failed', 'cancelled') then v_task.status || ':' || v_task.attempt::text else t.told end
   where t.id = p_task_id;
  select * into v_thread from public.hub_task_threads t where t.id = v_thread.id;
  return v_thread;
end;
$$;

create function public.hub_create_task_thread(p_channel_id uuid, p_task_id uuid)
  returns public.hub_task_threads
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.create_task_thread(p_channel_id, p_task_id);
end;
$$;
comment on function public.hub_create_task_thread(uuid, uuid) is
  'The task''s thread in that channel, opened if there is none, with what already happened to the task. Errors: UH003 not a threaded channel, UH004, 42501.';

revoke all on function hub_internal.command_words(text), hub_internal.chunks(text, int), hub_internal.edit_distance(text, text), hub_internal.execute_command(uuid, text),
  hub_internal.answer_command(text, text, uuid, text), hub_internal.spend_task(), hub_internal.queue_as_oneself(), hub_internal.send(uuid, text, uuid, text),
  hub_internal.place(public.hub_channels, boolean, uuid, text, text, text, text, text, text, uuid, jsonb), hub_internal.create_task_thread(uuid, uuid), public.hub_execute_command(uuid, text),
  public.hub_send(uuid, text, uuid, text), public.hub_create_task_thread(uuid, uuid)
  from public, anon, authenticated, service_role;
grant execute on function hub_internal.spend_task(), hub_internal.is_known_agent(text) to authenticated;
grant execute on function hub_internal.execute_command(uuid, text), hub_internal.send(uuid, text, uuid, text),
  hub_internal.create_task_thread(uuid, uuid), public.hub_execute_command(uuid, text),
  public.hub_send(uuid, text, uuid, text), public.hub_create_task_thread(uuid, uuid)
  to authenticated, service_role;
