-- Why: whoever answers must see what is asked: all of it, with what is invisible written out, and with
-- nothing in it that could stand for a line of ours. The message that asks is edited when the ask is closed.

-- What a reader does not see, or sees elsewhere than it is, is shown as what it is: ‹U+202E›. Not the sign
-- that makes an emoji of a letter.
create function hub_internal.visible(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_text text := replace(p_text, E'\r\n', E'\n');
  v_sign text;
begin
  for v_sign in
    select distinct m[1]
      from regexp_matches(
             v_text,
             '([\u0001-\u0008\u000b-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5'
             '\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3164\ufe00-\ufe0e\ufeff\uffa0'
             '\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff])', 'g') m
  loop
    v_text := replace(v_text, v_sign, '‹U+' || lpad(upper(to_hex(ascii(v_sign))), 4, '0') || '›');
  end loop;
  return v_text;
end;
$$;
comment on function hub_internal.visible(text) is
  'The text with its invisible characters and changes of direction written out.';

-- A name that stands in a line of ours: of a tool, an option, an ask.
create function hub_internal.visible_line(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.visible(hub_internal.one_line(p_text));
end;
$$;

-- An input as people read it, and as a rule's pattern is matched with it: always the whole.
create function hub_internal.shown_input(p_input jsonb)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.visible(
    case jsonb_typeof(p_input)
      when 'string' then p_input #>> '{}'
      when 'object' then
        (select string_agg(
                  e.key || ': '
                  -- The later lines of a value do not begin as a key does.
                  || case jsonb_typeof(e.value)
                       when 'string' then replace(e.value #>> '{}', E'\n', E'\n    ')
                       else e.value::text end,
                  E'\n' order by e.place)
           from jsonb_each(p_input) with ordinality e (key, value, place))
      else p_input::text end);
end;
$$;

-- Each line marked, so that nothing in it stands for a line of ours.
create function hub_internal.marked_lines(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return '> ' || replace(p_text, E'\n', E'\n> ');
end;
$$;

-- What is asked, below its title. One message takes 100,000 characters: what is cut says so.
create function hub_internal.ask_text(p_ask public.hub_asks, p_most int default 60000)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_input text := hub_internal.shown_input(p_ask.input);
  v_body  text := hub_internal.visible(hub_internal.trimmed(p_ask.body));
begin
  if char_length(v_input) > p_most then
    v_input := hub_internal.head(v_input, p_most)
               || format(E'\n… cut here, after %s of %s characters: `hub task answer %s` shows all of it',
                         p_most, char_length(v_input), left(p_ask.task_id::text, 4));
  end if;
  return concat_ws(E'\n',
    hub_internal.visible(p_ask.tool),
    hub_internal.marked_lines(v_input),
    case when v_body is not null and v_input is not null then 'It says:' end,
    case when v_body is not null then hub_internal.marked_lines(v_body) end);
end;
$$;

-- Whether people see all of the input where the message stands.
create function hub_internal.is_shown_whole(p_ask public.hub_asks, p_most int default 60000)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce(char_length(hub_internal.shown_input(p_ask.input)), 0) <= p_most;
end;
$$;

-- What may be answered, as a line: allow, allow_task, deny.
create function hub_internal.ask_choices(p_ask public.hub_asks)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce(
    (select string_agg(case when o.key = o.label then o.key else format('%s (%s)', o.key, o.label) end,
                       ', ' order by o.place)
       from (select hub_internal.visible_line(e.value ->> 'key') as key, e.value ->> 'label' as label, e.place
               from jsonb_array_elements(p_ask.options) with ordinality e (value, place)) o),
    'any text');
end;
$$;

-- How it was closed, in words: for people, for its agent, for who answers too late. p_how stands behind who
-- answered; what they said is one line of at most p_most characters, or whole.
create function hub_internal.answer_words(
    p_ask public.hub_asks, p_how text default '', p_most int default null)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_label text;
  v_said  text;
begin
  if p_ask.kind = 'question' then
    select o ->> 'label'
      into v_label
      from jsonb_array_elements(p_ask.options) o
     where o ->> 'key' = p_ask.answer;
  end if;
  v_said := concat_ws(E'\n', v_label, p_ask.answer_text);
  if p_most is not null then
    v_said := hub_internal.shorten(hub_internal.one_line(v_said), p_most);
  end if;
  return case p_ask.state
           when 'open' then 'Not answered'
           when 'withdrawn' then 'Withdrawn'
           when 'expired' then 'Nobody answered in time'
           else case when p_ask.kind = 'question' then 'Answered'
                     when p_ask.answer = 'deny' then 'Denied'
                     when p_ask.answer = 'allow_task' then 'Allowed, for the rest of this line of work,'
                     when p_ask.answer = 'allow' then 'Allowed'
                     when p_ask.answer = 'cancel' then 'Stopped'
                     else 'Continued' end
                || ' by ' || p_ask.answered_label end
         || p_how
         || coalesce(': ' || nullif(v_said, ''), '.');
end;
$$;

-- The same with the door and the moment, as a sentence.
create function hub_internal.ask_outcome(p_ask public.hub_asks)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return hub_internal.answer_words(
    p_ask,
    case when p_ask.state <> 'answered' then ''
         else case p_ask.answered_door when 'hub' then ''
                                       when 'thread' then ' (here)'
                                       when 'rule' then ''
                                       when 'grant' then ', who allowed the same before'
                                       else format(' (%s)', initcap(p_ask.answered_door)) end end
      || coalesce(', ' || hub_internal.moment_text(p_ask.answered_at), ''),
    500);
end;
$$;
comment on function hub_internal.ask_outcome(public.hub_asks) is
  'How an ask was closed: by whom, by which door, when. Silence is told as silence.';

insert into public.hub_message_events
  (event, sender_type, content_type, text, title, color, description, footer, fields, about)
values
  ('asked', 'agent', 'notice', E'🟡 {task} asks [{runner}]: {note}\n{result}',
   'Asked', 15844367, '{asked}', 'Task {id} · attempt {attempt}', array['Answer', '{reason}'],
   'A task asks people. Once it is closed the message becomes ask_closed.'),
  ('ask_closed', 'agent', 'notice', E'☑️ {task} asked [{runner}]: {note}\n{reason}\n{result}',
   'Asked, Closed', 9807270, '{asked}', 'Task {id} · attempt {attempt}', array['Answer', '{reason}'],
   'What the message that asked says once it was answered, nobody answered in time, or it asks no more.'),
  ('ask_settled', 'system', 'progress', '☑️ {task}: {note}',
   null, null, '', '', '{}',
   'An approval was answered without asking; at most 15 an attempt.'),
  ('ask_owners', 'system', 'notice', '⚠️ {task}: {note}',
   null, null, '', '', '{}',
   'The rule names nobody who could answer: owners are asked, or nobody can.'),
  ('ask_reminder', 'system', 'notice', '🟡 {task} still waits for an answer: {note}',
   null, null, '', '', '{}',
   'Nobody has answered for as long as the rule says.'),
  ('parked', 'system', 'notice', '⏸️ {task} waits for {reason} [{runner}], and its machine does other work',
   'Task Waits', 9807270, '', 'Task {id} · attempt {attempt}', '{}',
   'A task waits for an answer, or for more of its budget, and holds no slot meanwhile.');

create function hub_internal.ask_values(p_ask public.hub_asks)
  returns text[]
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_text text := hub_internal.ask_text(p_ask);
begin
  return hub_internal.named_values(
    'task', left(p_ask.task_id::text, 4),
    'id', left(p_ask.task_id::text, 8),
    'attempt', p_ask.attempt::text,
    'runner', p_ask.asked_by,
    'note', hub_internal.visible(p_ask.title),
    'result', v_text,
    'asked', case when char_length(v_text) <= 3800 then v_text
                  else hub_internal.head(v_text, 3700)
                       || format(E'\n… cut here: the message has %s characters.', char_length(v_text)) end,
    'reason', case p_ask.state
                when 'open' then hub_internal.ask_choices(p_ask)
                else hub_internal.ask_outcome(p_ask) end);
end;
$$;

-- The message of a closed ask says how it was closed, and so do the chats that it went to.
create function hub_internal.show_closed(p_ask public.hub_asks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_values text[];
begin
  if p_ask.message_id is null then
    return;
  end if;
  v_values := hub_internal.ask_values(p_ask);
  update public.hub_channel_messages m
     set content = hub_internal.shorten(
           format(e.forms[1], variadic v_values)
             || case when v_values[1] <> '' then format(e.forms[2], variadic v_values) else '' end,
           100000),
         embed_data = hub_internal.embed(e, v_values),
         event = e.event
    from public.hub_message_events e
   where m.id = p_ask.message_id
     and e.event = 'ask_closed'
     and m.event = 'asked';
  perform hub_internal.close_doors(p_ask);
end;
$$;

