-- Why: a task asks, and is told. What was allowed before, or is decided by a rule, is answered at once; all
-- else stands in the conversation until somebody answers (…answering), and its process need not wait for it:
-- a task that waits holds no slot.
--
--     running -> waiting      hub_park_task, or the row alone, while something of it is open (…waiting)
--     waiting -> pending      all of it is closed; the next attempt is told, and may do what was allowed
--     running -> any other    what is open is withdrawn; an answer that had not arrived goes to the next one

-- Rules -----------------------------------------------------------------------------------------------------

-- Whose rule it is: the database says it, not whoever writes one.
create function hub_internal.sign_ask_rule()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
begin
  new.created_by := hub_internal.person();
  return new;
end;
$$;
create trigger hub_ask_rules_sign
  before insert or update on public.hub_ask_rules
  for each row execute function hub_internal.sign_ask_rule();
create trigger hub_ask_rules_fresh_id
  before insert on public.hub_ask_rules
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();
create trigger hub_ask_rules_bound
  before insert on public.hub_ask_rules
  for each row execute function hub_internal.bound_rows('server_ask_rules');

-- Asking ----------------------------------------------------------------------------------------------------

-- What is answered. An approval is of its tool and input: whatever is said about the same call, it is the same.
-- One without input is of its words, or what allows one would allow all.
create function hub_internal.ask_digest(
    p_kind text, p_title text, p_body text, p_tool text, p_input jsonb, p_options jsonb)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.sha256_text(
    case when p_kind = 'approval' and coalesce(p_input, '{}') not in ('{}', '[]', '""')
           then coalesce(p_tool, '') || chr(10) || p_input::text
         when p_kind = 'approval'
           then concat_ws(chr(10), coalesce(p_tool, ''), coalesce(p_input::text, ''), p_title,
                          coalesce(p_body, ''))
         else concat_ws(chr(10), p_kind, p_title, coalesce(p_body, ''), p_options::text,
                        coalesce(p_input::text, '')) end);
end;
$$;

-- What may be answered. A question's options are the asker's, given as texts or as keys with labels. A key
-- goes back to the asker as it came; a label is what people read.
create function hub_internal.ask_options(p_kind text, p_options jsonb)
  returns jsonb
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_options jsonb;
begin
  p_options := coalesce(nullif(p_options, 'null'), '[]');
  if jsonb_typeof(p_options) <> 'array' or jsonb_array_length(p_options) > 20 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_options',
      'A list of at most 20 texts, or of {"key", "label"}.');
  elsif p_kind <> 'question' and p_options <> '[]' then
    perform hub_internal.refuse('UH001', 'bad input', 'p_options',
      'An approval is answered allow, allow_task or deny, a stop continue or cancel: leave them out.');
  elsif p_kind = 'approval' then
    return '[{"key": "allow", "label": "Allow"},
             {"key": "allow_task", "label": "Allow from now on"},
             {"key": "deny", "label": "Deny"}]'::jsonb;
  elsif p_kind = 'stop' then
    return '[{"key": "continue", "label": "Go on"}, {"key": "cancel", "label": "Stop"}]'::jsonb;
  end if;
  select coalesce(
           jsonb_agg(
             case jsonb_typeof(o.value)
               when 'string' then jsonb_build_object('key', o.value, 'label', o.value)
               else jsonb_build_object('key', o.value -> 'key',
                                       'label', coalesce(o.value -> 'label', o.value -> 'key')) end
             order by o.place),
           '[]')
    into v_options
    from jsonb_array_elements(p_options) with ordinality o (value, place);
  if exists (select
               from jsonb_array_elements(v_options) o
              where jsonb_typeof(o -> 'key') is distinct from 'string'
                 or jsonb_typeof(o -> 'label') is distinct from 'string'
                 or char_length(btrim(o ->> 'key')) not between 1 and 200
                 or char_length(btrim(o ->> 'label')) not between 1 and 500)
     or (select count(distinct lower(btrim(o ->> 'key'))) from jsonb_array_elements(v_options) o)
        <> jsonb_array_length(v_options) then
    perform hub_internal.refuse('UH001', 'bad input', 'p_options',
      'Each has another key of 1 to 200 characters, and a label of at most 500.');
  end if;
  return (select coalesce(jsonb_agg(o.value || jsonb_build_object(
                            'label', hub_internal.visible_line(o.value ->> 'label')) order by o.place), '[]')
            from jsonb_array_elements(v_options) with ordinality o (value, place));
end;
$$;

-- One that was answered before it was asked: by a rule, a grant, or while its attempt was parked.
create function hub_internal.settle_ask(
    p_ask public.hub_asks, p_state text, p_answer text, p_text text, p_by uuid, p_label text, p_door text,
    p_digest text)
  returns public.hub_asks
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  p_ask.state := p_state;
  p_ask.answer := p_answer;
  p_ask.answer_text := p_text;
  p_ask.answered_by := p_by;
  p_ask.answered_label := p_label;
  p_ask.answered_door := p_door;
  p_ask.answered_digest := p_digest;
  p_ask.answered_at := p_ask.created_at;
  p_ask.taken_at := p_ask.created_at;             -- the answer of this call
  p_ask.expires_at := null;
  p_ask.on_expiry := null;
  return p_ask;
end;
$$;

-- What a rule denies is denied, whatever was allowed before. Then what people said of the very same: while
-- its attempt was parked, once; for the line of work, as long as who said so could say it now. What nobody
-- answered in time is not asked again. A rule allows nothing of which a part is blacked out: it can not tell what
-- that is.
create function hub_internal.known_answer(
    p_ask public.hub_asks, p_task public.mac_tasks, p_rule public.hub_ask_rules)
  returns public.hub_asks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_past public.hub_asks;
begin
  if p_rule.action = 'deny' then
    return hub_internal.settle_ask(p_ask, 'answered', 'deny', p_rule.about, null, 'a rule of this server',
                                   'rule', null);
  end if;
  -- A program that keeps no session begins anew after each wait, and asks again what it has asked: the same
  -- question in the same place has the answer that it had.
  if p_ask.kind = 'question' and p_task.session_id is null and p_task.attempt > 1 then
    select a.*
      into v_past
      from public.hub_asks a
     where a.task_id = p_task.id
       and a.digest = p_ask.digest
       and a.attempt = (select max(o.attempt)
                          from public.hub_asks o
                         where o.task_id = p_task.id and o.attempt < p_task.attempt)
     order by a.created_at, a.id
    offset (select count(*)
              from public.hub_asks o
             where o.task_id = p_task.id and o.attempt = p_task.attempt and o.digest = p_ask.digest)
     limit 1;
    if v_past.state in ('answered', 'expired') then
      return hub_internal.settle_ask(p_ask, v_past.state, v_past.answer, v_past.answer_text,
                                     v_past.answered_by, v_past.answered_label, v_past.answered_door,
                                     v_past.answered_digest);
    end if;
    return p_ask;
  end if;
  select a.*
    into v_past
    from public.hub_asks a
   where a.task_id = p_task.id
     and a.digest = p_ask.digest
     and a.kind = p_ask.kind
     and (a.state = 'expired'
          or a.state = 'answered' and a.parked and a.attempt < p_task.attempt and a.spent_at is null)
   order by a.created_at desc
   limit 1;
  if found then
    if v_past.parked then
      update public.hub_asks a set spent_at = p_ask.created_at where a.id = v_past.id;
    end if;
    return hub_internal.settle_ask(p_ask, v_past.state, v_past.answer, v_past.answer_text, v_past.answered_by,
                                   v_past.answered_label, v_past.answered_door, v_past.answered_digest);
  end if;
  if p_ask.kind <> 'approval' then
    return p_ask;
  end if;
  select a.*
    into v_past
    from hub_internal.ask_grants g
    join public.hub_asks a on a.id = g.ask_id
   where g.root_id = coalesce(p_task.root_id, p_task.id)
     and g.digest = p_ask.digest;
  if found
     and (v_past.answered_by is null or hub_internal.may_answer(p_ask, p_task, v_past.answered_by)) then
    return hub_internal.settle_ask(p_ask, 'answered', 'allow', null, v_past.answered_by,
                                   v_past.answered_label, 'grant', v_past.answered_digest);
  elsif p_rule.action = 'allow' and position('[redacted]' in coalesce(p_ask.input::text, '')) = 0 then
    return hub_internal.settle_ask(p_ask, 'answered', 'allow', p_rule.about, null, 'a rule of this server',
                                   'rule', null);
  end if;
  return p_ask;
end;
$$;

-- A glob takes, at worst, the product of both lengths.
create function hub_internal.is_costly_glob(p_glob text, p_text text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(char_length(p_glob)::bigint * char_length(p_text) > 5000000, false);
end;
$$;

create function hub_internal.ask(
    p_task_id uuid, p_attempt int, p_kind text, p_title text, p_body text, p_input jsonb, p_options jsonb,
    p_ref text)
  returns public.hub_asks
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on hub_asks
  set search_path = ''
as $$
declare
  v_task  public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_ask   public.hub_asks;
  v_there public.hub_asks;
  v_rule  public.hub_ask_rules;
  v_shown text;
begin
  v_ask.kind := p_kind;
  v_ask.title := hub_internal.one_line(p_title);
  v_ask.body := p_body;
  v_ask.input := nullif(p_input, 'null');
  v_ask.ref := p_ref;
  if p_kind = 'approval' and jsonb_typeof(v_ask.input -> 'tool') = 'string' and v_ask.input ? 'input'
     and v_ask.input - 'tool' - 'input' = '{}' then
    v_ask.tool := v_ask.input ->> 'tool';
    v_ask.input := nullif(v_ask.input -> 'input', 'null');
  end if;
  if (p_kind in ('approval', 'question', 'stop')) is not true then
    perform hub_internal.refuse('UH001', 'bad input', format('p_kind %L', left(p_kind, 40)),
      'approval, question or stop.');
  elsif (char_length(v_ask.title) between 1 and 500) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_title', 'One line of 1 to 500 characters.');
  elsif char_length(p_body) > 20000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_body', 'At most 20,000 characters.');
  elsif octet_length(v_ask.input::text) > 1000000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_input', 'At most 1 MB.');
  elsif char_length(hub_internal.one_line(v_ask.tool)) not between 1 and 200 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_input.tool', 'A name of 1 to 200 characters.');
  elsif char_length(p_ref) not between 1 and 500 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_ref', '1 to 500 characters, or nothing.');
  end if;
  -- As people read them, and so they are kept: what a rule matches, a grant allows and every program shows.
  v_ask.title := hub_internal.visible(v_ask.title);
  v_ask.tool := hub_internal.visible_line(v_ask.tool);
  v_ask.options := hub_internal.ask_options(p_kind, p_options);
  v_ask.digest := hub_internal.ask_digest(p_kind, v_ask.title, v_ask.body, v_ask.tool, v_ask.input,
                                          v_ask.options);
  if p_ref is not null then
    select a.* into v_there
      from public.hub_asks a
     where a.task_id = p_task_id and a.attempt = p_attempt and a.ref = p_ref;
    if found then
      if (v_there.kind, v_there.digest) <> (v_ask.kind, v_ask.digest) then
        perform hub_internal.refuse('UH003', 'conflict', 'p_ref names another ask of this attempt',
          'What was asked never changes: ask anew, with another p_ref.');
      end if;
      return v_there;
    end if;
  end if;
  -- Whoever counts in this bucket holds the task already, so that it needs no place in the order of locks.
  perform hub_internal.spend('task_asks', p_task_id::text);

  v_shown := case when p_kind = 'approval' then hub_internal.shown_input(v_ask.input) end;
  select r.*
    into v_rule
    from public.hub_ask_rules r
   where r.server_id = v_task.server_id
     and (r.agent is null or r.agent = v_task.agent)
     and case when p_kind = 'approval'
              then hub_internal.glob_matches(r.tool, v_ask.tool, false)
                   and (hub_internal.is_costly_glob(r.pattern, v_shown)
                        or hub_internal.glob_matches(r.pattern, v_shown, false))
              else r.action = 'ask' and r.tool is null and r.pattern is null end
   order by r.position, r.created_at, r.id
   limit 1;
  -- The task's row is held: what would take long to look through is a person's to look at.
  if hub_internal.is_costly_glob(v_rule.pattern, v_shown) then
    v_rule.action := 'ask';
  end if;
  v_ask.id := gen_random_uuid();
  v_ask.created_at := clock_timestamp();
  v_ask.task_id := v_task.id;
  v_ask.attempt := v_task.attempt;
  v_ask.server_id := v_task.server_id;
  v_ask.channel_id := v_task.channel_id;
  v_ask.thread_id := v_task.thread_id;
  v_ask.asked_by := hub_internal.task_runner(v_task.agent, v_task.model_preference, v_task.claimed_by);
  v_ask.roles := coalesce(v_rule.roles, '{operator,owner}');
  v_ask.persons := coalesce(v_rule.persons, '{}');
  v_ask.self := coalesce(v_rule.self, true);
  v_ask.expires_at := v_ask.created_at + v_rule.expires_after;
  v_ask.on_expiry := v_rule.on_expiry;
  v_ask.reminded := 0;
  v_ask.parked := false;
  v_ask.state := 'open';
  v_ask := hub_internal.known_answer(v_ask, v_task, v_rule);
  if v_ask.state = 'open' then
    perform hub_internal.require_room('task_open_asks',
      (select count(*) from public.hub_asks a where a.task_id = v_task.id and a.state = 'open'),
      'Wait until some of them are answered, or withdraw some (hub_withdraw_ask).');
    -- The message goes out to chats as it is written (mirror_message), with what it asks.
    v_ask.message_id := case when v_task.channel_id is not null then gen_random_uuid() end;
    if v_rule.id is not null then
      v_ask := hub_internal.ask_owners(v_ask, v_task);
    end if;
  end if;
  insert into public.hub_asks select v_ask.*;
  perform hub_internal.tell_ask(v_ask, v_task);
  return v_ask;
end;
$$;

create function hub_internal.tell_ask(p_ask public.hub_asks, p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_ask.expires_at < now() + interval '1 minute' then
    perform hub_internal.wake_errand('asks');
  end if;
  if p_task.channel_id is null then
    return;
  end if;
  if p_ask.state <> 'open' then
    if (select count(*) from public.hub_asks a
         where a.task_id = p_ask.task_id and a.attempt = p_ask.attempt
           and a.answered_door in ('rule', 'grant')) <= 15
       and p_ask.answered_door in ('rule', 'grant') then
      perform hub_internal.tell('ask_settled', p_task, p_task.thread_id,
        hub_internal.shorten(
          format('%s: %s', hub_internal.visible(coalesce(p_ask.tool, p_ask.title)),
                 hub_internal.ask_outcome(p_ask)), 1000));
    end if;
    return;
  end if;
  perform hub_internal.post('asked', p_task.channel_id, p_task.thread_id, p_task.id,
                            hub_internal.ask_values(p_ask), p_ask.message_id);
end;
$$;
