-- Why: what the hub says in a conversation is a row of this table and the values of the moment. The text of
-- "queued" is made here and nowhere else, and who reads a message knows by its event what happened, not by
-- its words.
--
-- To add an event: a row at the end of this file, and one call that tells it (hub_internal.tell of a task,
-- hub_internal.post of anything else).

create table public.hub_message_events (
  event        text primary key,
  sender_type  text not null,
  content_type text not null,
  text         text not null,
  title        text,
  color        integer,
  description  text not null default '',
  footer       text not null default '',
  fields       text[] not null default '{}',
  about        text not null,
  constraint hub_message_events_event_check check (event ~ '^[a-z][a-z_]{0,40}$'),
  constraint hub_message_events_sender_type_check check (sender_type in ('agent', 'system')),
  constraint hub_message_events_embed_check check ((title is null) = (color is null)),
  constraint hub_message_events_fields_check
    check (cardinality(fields) % 2 = 0 and array_position(fields, null) is null)
);
comment on table public.hub_message_events is
  'What the hub says in conversations: an event a row, with text and embed. Changed by migrations only.';
comment on column public.hub_message_events.sender_type is
  'Who says it: the agent, as claude/mac1, or the system, as Aura Hub.';
comment on column public.hub_message_events.text is
  'A template: {task} and the like are filled in (hub_internal.message_values). Its last line, if it holds '
  '{result} or {reason}, is left out where there is no result.';
comment on column public.hub_message_events.title is 'Title of the embed. Null: it has none.';
comment on column public.hub_message_events.color is
  'Color of the embed, as red * 65536 + green * 256 + blue.';
comment on column public.hub_message_events.description is 'Of the embed; a template.';
comment on column public.hub_message_events.footer is 'Of the embed; a template.';
comment on column public.hub_message_events.fields is
  'Of the embed: a name and the template of its value in turn.';
comment on column public.hub_message_events.about is 'When it is said.';

-- Filling in ------------------------------------------------------------------------------------------------

-- The names of the values, in their order. Of a task (hub_internal.tell gives them in this order):
--   result        its result, or its error, whole
--   runner        who ran it where: claude/mac1
--   task          the first four digits of its id
--   note          what the caller says; where there is a note, there are only these four
--   reason        why, in one line, as the caller says
--   id            the first eight digits of its id
--   model         the model that was asked for
--   used          the model that ran it, else the agent, else what was asked for
--   project       where it runs
--   device        the machine that has, or had, it
--   asked         what was asked for, shortened
--   attempt       which attempt it is; next and attempts: "attempt {next} of {attempts}"
--   delay         " in 20s" until the next attempt, or nothing
--   duration      how long it ran
--   branch, verified, pull_request    what its receipt says
-- Of a thread: thread (its name), messages, tasks, complete, failed, cancelled (how many). Of a bridge:
-- provider.
create function hub_internal.message_values()
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return array['result', 'runner', 'task', 'note',
               'reason', 'id', 'model', 'used', 'project', 'device', 'asked', 'attempt', 'next', 'attempts',
               'delay', 'duration', 'branch', 'verified', 'pull_request',
               'thread', 'messages', 'tasks', 'complete', 'failed', 'cancelled',
               'provider'];
end;
$$;

-- Names and values in turn, as the values of a message.
create function hub_internal.named_values(variadic p_named text[])
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_names  text[] := hub_internal.message_values();
  v_values text[] := array_fill(null::text, array[cardinality(v_names)]);
begin
  for i in 1 .. cardinality(p_named) by 2 loop
    v_values[array_position(v_names, p_named[i])] := p_named[i + 1];
  end loop;
  return v_values;
end;
$$;

-- A template as format() reads it: {task} becomes %3$s. That fills in all values in one pass: one that holds
-- {result} itself is not filled in again.
create function hub_internal.message_form(p_template text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_names text[] := hub_internal.message_values();
  v_form  text := replace(p_template, '%', '%%');
begin
  for i in 1 .. cardinality(v_names) loop
    v_form := replace(v_form, '{' || v_names[i] || '}', '%' || i || '$s');
  end loop;
  return v_form;
end;
$$;

-- All templates of an event: the text, its last line if that may be left out, description, footer, then the
-- values of the fields.
create function hub_internal.message_forms(p_text text, p_description text, p_footer text, p_fields text[])
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_last  text := coalesce(substring(p_text from E'\n[^\n]*\\{(?:result|reason)\\}[^\n]*$'), '');
  v_forms text[] := array[
    hub_internal.message_form(left(p_text, char_length(p_text) - char_length(v_last))),
    hub_internal.message_form(v_last),
    hub_internal.message_form(p_description),
    hub_internal.message_form(p_footer)];
begin
  for i in 2 .. cardinality(p_fields) by 2 loop
    v_forms := v_forms || hub_internal.message_form(p_fields[i]);
  end loop;
  return v_forms;
end;
$$;

-- Stored, and not made anew for each message: there are about six in the life of a task.
alter table public.hub_message_events
  add column forms text[] not null
    generated always as (hub_internal.message_forms(text, description, footer, fields)) stored,
  add constraint hub_message_events_values_check check (array_to_string(forms, '') !~ '[{}]');
comment on column public.hub_message_events.forms is 'The templates as format() reads them.';
comment on constraint hub_message_events_values_check on public.hub_message_events is
  'Each {name} is one of hub_internal.message_values.';

create function hub_internal.embed(p_event public.hub_message_events, p_values text[])
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_fields jsonb := '[]'::jsonb;
  v_value  text;
begin
  -- A field with nothing to say is left out.
  for i in 1 .. cardinality(p_event.fields) / 2 loop
    v_value := format(p_event.forms[4 + i], variadic p_values);
    if v_value <> '' then
      v_fields := v_fields || jsonb_build_object(
        'name', p_event.fields[2 * i - 1],
        'value', hub_internal.shorten(v_value, 1000),
        'inline', true);
    end if;
  end loop;
  return jsonb_build_object(
    'title', p_event.title,
    'description', hub_internal.shorten(format(p_event.forms[3], variadic p_values), 4000),
    'color', p_event.color,
    'fields', v_fields,
    'footer', format(p_event.forms[4], variadic p_values),
    'timestamp', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
end;
$$;
comment on function hub_internal.embed(public.hub_message_events, text[]) is 'An embed as Aura decodes it.';

-- Every message of the hub's own: what happened, where, and the values of message_values; under an id that
-- the caller has kept already, if any. Returns true, so that it can be called in an expression: PERFORM is a
-- query of its own.
create function hub_internal.post(p_event text, p_channel_id uuid, p_thread_id uuid, p_task_id uuid,
                                  p_values text[], p_id uuid default null)
  returns boolean
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  -- The event is looked up and the message written by one statement: no other is run as often.
  insert into public.hub_channel_messages
    (id, channel_id, task_thread_id, task_id, event, sender_type, sender_id, sender_label, content,
     content_type, embed_data, is_progress)
  select p_id, p_channel_id, p_thread_id, p_task_id, e.event, e.sender_type,
         case e.sender_type when 'agent' then p_values[2] else 'hub' end,
         case e.sender_type when 'agent' then p_values[2] else 'Aura Hub' end,
         hub_internal.shorten(
           format(e.forms[1], variadic p_values)
             || case when p_values[1] <> '' then format(e.forms[2], variadic p_values) else '' end,
           100000),
         e.content_type,
         case when e.title is not null then hub_internal.embed(e, p_values) end,
         e.content_type = 'progress'
    from public.hub_message_events e
   where e.event = p_event;
  if not found then
    perform hub_internal.refuse('23514', 'bad input', format('event %L', p_event),
      'An event is a row of hub_message_events.');
  end if;
  return true;
end;
$$;

-- The events ------------------------------------------------------------------------------------------------

insert into public.hub_message_events
  (event, sender_type, content_type, text, title, color, description, footer, fields, about)
values
  ('queued', 'system', 'task', E'⏳ Task {task} queued\nModel: {model} | Project: {project}',
   'Task Queued', 3447003, '{asked}', 'Task {id}', array['Model', '{model}', 'Device', '— (pending)'],
   'A task was made and waits for a machine.'),
  ('started', 'agent', 'progress', '▶️ {task} started [{runner}]',
   null, null, '', '', '{}',
   'A machine took a task: said of each attempt, and none of the notes.'),
  ('progress', 'agent', 'progress', '📋 {task}: {note}',
   null, null, '', '', '{}',
   'A note of the agent; at most 15 an attempt.'),
  ('complete', 'agent', 'result', E'✅ {task} complete [{runner}]\n{result}',
   'Task Complete', 3066993, '{result}', 'Task {id} · attempt {attempt}',
   array['Model', '{used}', 'Device', '{device}', 'Duration', '{duration}',
         'Branch', '{branch}', 'Verified', '{verified}', 'Pull Request', '{pull_request}'],
   'A task ended well.'),
  ('failed', 'agent', 'error', E'❌ {task} failed [{runner}]\n{result}',
   'Task Failed', 15158332, '{result}', 'Task {id} · attempt {attempt}',
   array['Model', '{used}', 'Device', '{device}', 'Duration', '{duration}',
         'Branch', '{branch}', 'Verified', '{verified}', 'Pull Request', '{pull_request}'],
   'A task ended badly, for good.'),
  ('cancelled', 'system', 'notice', '🚫 {task} cancelled: {reason}',
   'Task Cancelled', 9807270, '{result}', 'Task {id} · attempt {attempt}', '{}',
   'A task was stopped on request.'),
  ('retried', 'system', 'notice',
   '🔁 {task} failed on {device}: {reason}; trying again{delay} (attempt {next} of {attempts})',
   'Task Retried', 9807270, '{result}', 'Task {id} · attempt {attempt}', '{}',
   'An attempt failed, and the task is tried again by itself.'),
  ('handed_back', 'system', 'notice', '↩️ {task} handed back by {device}: {reason}; waits for a machine',
   'Task Handed Back', 9807270, '', 'Task {id} · attempt {attempt}', '{}',
   'A machine could not go on, through no fault of the task. Where that comes again and again the task rests '
   'before others may take it, which is told once a row.'),
  ('waits', 'system', 'notice', E'⏸️ {task} waits [{runner}]\n{reason}',
   'Task Waits', 9807270, '{reason}', 'Task {id} · attempt {attempt}', '{}',
   'An agent is at its limit or not logged in; the task waits, at no cost of attempts.'),
  ('lease_lost', 'system', 'notice',
   '⚠️ {task} lost by {device}: {reason}; trying again{delay} (attempt {next} of {attempts})',
   'Lease Lost', 9807270, '{result}', 'Task {id} · attempt {attempt}', '{}',
   'A machine was not heard of any more, and the task is tried again by itself.'),
  ('session_elsewhere', 'system', 'notice', '🧭 {task}: {reason}',
   'Session Elsewhere', 9807270, '{reason}', 'Task {id} · attempt {attempt}', '{}',
   'A task goes on without the session that its agent had: with a brief of the conversation.'),
  ('workspace', 'system', 'notice', '📁 {task} {reason}',
   null, null, '', '', '{}',
   'The project is no git repository: its folder itself is worked in, by one task at a time.'),
  ('requeued', 'system', 'notice', '🔁 {task} queued again by request',
   'Task Retried', 9807270, '', 'Task {id} · attempt {attempt}', '{}',
   'Somebody had a failed or cancelled task tried again.'),
  ('steered', 'system', 'notice', '↪️ {task} {note}',
   null, null, '', '', '{}',
   'What became of words to a running task: whether and when its agent was told.'),
  ('said', 'agent', 'text', '💬 {task}: {note}',
   null, null, '', '', '{}',
   'An agent says something while it works.'),
  ('decomposed', 'system', 'notice', '🧩 {task} has {note}',
   'Task Decomposed', 3447003, '{asked}', 'Task {id}', array['Ended', '{complete}', 'Failed', '{failed}'],
   'A request is several tasks: which, and how they are. Edited as they go on.'),
  ('synthesizing', 'system', 'notice', '🟡 {task} gathers {note}',
   'Synthesizing', 15844367, '{note}', '', '{}',
   'The parts of a request have ended, and one answer is made of what they did.'),
  ('routed', 'system', 'notice', '🔀 {task} goes to {reason}',
   'Task Routed', 9807270, '{reason}', 'Task {id} · attempt {attempt}', '{}',
   'An operator said which agent, model or machine a task is for.'),
  ('thread_idle', 'system', 'warning',
   '💤 This thread is idle. A reply keeps it open; otherwise it will be archived.',
   'Thread Idle', 15844367, 'No activity; it will be archived unless somebody replies.', '{thread}', '{}',
   'A thread without activity became idle.'),
  ('thread_archived', 'system', 'summary',
   E'📦 Thread archived: {messages} messages, {tasks} task(s): {complete} complete, {failed} failed, '
   '{cancelled} cancelled.\nLast: {reason}',
   'Thread Archived', 9807270, '{result}', '{thread}',
   array['Messages', '{messages}', 'Tasks', '{tasks}', 'Complete', '{complete}', 'Failed', '{failed}'],
   'A thread was archived.'),
  ('bridge_warning', 'system', 'warning', '⚠️ A bridge of this channel ({provider}): {reason}',
   null, null, '', '', '{}',
   'What a bridge of the channel could not do, or did otherwise than asked; once until it is well again.'),
  ('fallback', 'system', 'notice', '⤵️ {task} goes to {reason}',
   'Fallback', 9807270, '{reason}', 'Task {id} · attempt {attempt}', '{}',
   'The model that a task is for is at its limit on every machine; another runs it.'),
  ('feed', 'system', 'notice', '{note}',
   null, null, '', '', '{}',
   'What a feed channel has to say (hub_post_feeds).');

-- Row level security, grants, policies ----------------------------------------------------------------------

alter table public.hub_message_events enable row level security;
revoke all on public.hub_message_events from public, anon, authenticated, service_role;
grant select on public.hub_message_events to authenticated, service_role;
create policy hub_message_events_select_readers on public.hub_message_events for select to authenticated
  using (exists (select hub_internal.my_server_ids()));
