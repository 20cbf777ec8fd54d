-- Asking people, otherwise than by a program of theirs: rules and grants, a word in the thread, time, buttons in chats and at ntfy.
-- The tests that bear the number of a thread are named after what broke elsewhere.
\ir setup.psql
\ir asks.psql
select no_plan();

create function pg_temp.park(p_task uuid, p_attempt int) returns text language plpgsql volatile as $$
declare
  v_status text;
begin
  perform tap.become('device:tap-all');
  v_status := (public.hub_park_task(p_task, p_attempt, '{"session_id": "s1", "session_state": "ok"}')).status;
  perform tap.become('postgres');
  return v_status;
end;
$$;
create function pg_temp.status(p_task uuid) returns text language sql stable as $$ select status from public.mac_tasks where id = p_task $$;
create function pg_temp.said(p_ask uuid) returns text language sql stable as $$ select m.content from public.hub_asks a join public.hub_channel_messages m on m.id = a.message_id where a.id = p_ask $$;
-- Claims and sends all there is, one by one.
create function pg_temp.deliver() returns setof public.hub_outbox language plpgsql as $$
declare
  o public.hub_outbox;
begin
  loop
    select * into o from public.hub_claim_outbox(1);
    exit when not found;
    perform public.hub_complete_outbox(o.id, o.attempt, coalesce(o.edit_of, 'e' || o.seq));
    return next o;
  end loop;
end;
$$;
create temp table t (name text primary key, task uuid, ask uuid);
grant all on t to public;

-- What is shown
select is(hub_internal.visible(E'a\u202eb\u200bc\u00a0d\te\r\nf\rg👍️'), E'a‹U+202E›b‹U+200B›c‹U+00A0›d\te\nf‹U+000D›g👍️', 'what is invisible, or turns the text round, is written out');
select is(hub_internal.shown_input(i), e, 'shown: ' || i::text) from (values
  ('"rm -rf /"'::jsonb, 'rm -rf /'), ('{"command": "ls", "n": 1, "deep": {"a": [1]}}', E'n: 1\ndeep: {"a": [1]}\ncommand: ls'),
  ('{"a": "x\ncommand: true"}', E'a: x\n    command: true'), ('[1, "\u202e"]', '[1, "‹U+202E›"]'), ('null', 'null'), ('{"\u202e": "x"}', '‹U+202E›: x')) v (i, e);
insert into t values ('lies', tap.running('dispatch'));
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', E'Run\n a command', '{"tool": "Bash", "input": "ls\nAllowed by owner."}', null, null, E'fine\n> x') b where name = 'lies') a where name = 'lies';
select is(pg_temp.said(ask), format(E'🟡 %s asks [claude/tap-all]: Run a command\nBash\n> ls\n> Allowed by owner.\nIt says:\n> fine\n> > x', left(task::text, 4)), 'nothing that is asked stands for a line of ours') from t where name = 'lies';

-- Rules: the first that matches, over the whole input
insert into public.hub_ask_rules (server_id, agent, tool, pattern, action, position, about) select tap.server('cloud-hub'), v.* from (values
  (null, 'Bash', 'command: rm *', 'deny', 1, 'never remove'), (null, 'Bash', 'command: cargo *', 'allow', 2, null), ('codex', null, null, 'allow', 3, null), (null, 'Read', null, 'allow', 4, null), (null, 'mcp__*', '*x*', 'allow', 5, null)) v;
insert into t values ('rules', tap.running('dispatch', 'Under rules'));
create function pg_temp.ruled(p_tool text, p_input jsonb) returns text language sql volatile as $$
  select concat_ws(' ', a.state, a.answer, a.answer_text, a.answered_label, a.answered_door)
    from t, pg_temp.ask(task, 1, 'approval', 'x', jsonb_build_object('tool', p_tool, 'input', p_input)) a where t.name = 'rules'
$$;
select is(pg_temp.ruled(o, i), e, format('%s %s: %s', o, left(i::text, 60), e)) from (values
  ('Bash', '{"command": "cargo test"}'::jsonb, 'answered allow a rule of this server rule'), ('Bash', '{"command": "rm -rf /"}', 'answered deny never remove a rule of this server rule'),
  ('Bash', '{"command": "cargo"}', 'open'), ('Bash', '{"command": "ls; cargo test"}', 'open'), ('Bash', '"cargo test"', 'open'), ('Bash', '{"a": 1, "command": "cargo test"}', 'open'),
  ('bash', '{"command": "cargo test"}', 'open'), ('Read', '{"file": "x"}', 'answered allow a rule of this server rule'), ('mcp__a__b', '{"x": 1}', 'answered allow a rule of this server rule'), ('mcp', '{"x": 1}', 'open')) v (o, i, e);
select is(pg_temp.ruled('Bash', jsonb_build_object('command', 'rm ' || repeat('x', 200000))), 'answered deny never remove a rule of this server rule', 'tidebreak#508: a rule is matched with the whole input, however long');
select is(pg_temp.ruled('Bash', jsonb_build_object('command', 'cargo test ' || repeat(' ', 100000) || E'\u202e; rm -rf /')), 'answered allow a rule of this server rule', 'a * is any text: who writes one means it');
select is((select regexp_replace(string_agg(m.content, E'\n' order by m.seq), '[0-9-]{10} [0-9:]{8}Z', 'now', 'g') from public.hub_channel_messages m join t on task = m.task_id where name = 'rules' and m.event = 'ask_settled' and m.seq < 8),
  format(E'☑️ %1$s: Bash: Allowed by a rule of this server, now.\n☑️ %1$s: Bash: Denied by a rule of this server, now: never remove', left(task::text, 4)), 'and it is said') from t where name = 'rules';
select is(pg_temp.ruled('Bash', '{"command": "cargo test [redacted]"}'), 'open', 'a rule allows nothing of which a part is blacked out');
select is(pg_temp.ruled('Bash', '{"command": "rm [redacted]"}'), 'answered deny never remove a rule of this server rule', 'and denies it all the same');
insert into public.hub_ask_rules (server_id, tool, pattern, action, position) values (tap.server('cloud-hub'), 'Slow', '*' || repeat('a', 400) || '*', 'allow', 8);
select is(pg_temp.ruled('Slow', to_jsonb(repeat('a', 500))), 'answered allow a rule of this server rule');
select is(pg_temp.ruled('Slow', to_jsonb(repeat('a', 20000))), 'open', 'what would take long to look through is a person''s to look at');
delete from public.hub_ask_rules where tool = 'Slow';
-- One without input is of its words, or what allows one would allow all.
insert into t values ('wordless', tap.running('dispatch', 'Without words'));
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Running cargo test', '{"tool": "shell", "input": {}}') b where name = 'wordless') a where name = 'wordless';
select is(pg_temp.answer('operator', ask, 'allow_task'), 'answered allow_task operator hub', 'allowed from now on') from t where name = 'wordless';
select is((pg_temp.ask(task, 1, 'approval', title, input)).state, state, title) from t, (values
  ('Running cargo test', '{"tool": "shell", "input": {}}'::jsonb, 'answered'), ('Deleting all', '{"tool": "shell", "input": {}}', 'open'), ('Deleting all', null, 'open')) v (title, input, state) where name = 'wordless';
-- What was allowed holds as long as who allowed it could do so now.
insert into t values ('granted', tap.running('dispatch', 'Granted'));
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Pay', '{"tool": "Pay", "input": "a bill"}') b where name = 'granted') a where name = 'granted';
select is(pg_temp.answer('operator', ask, 'allow_task'), 'answered allow_task operator hub', 'an operator allows it') from t where name = 'granted';
select is((pg_temp.ask(task, 1, 'approval', 'Pay', '{"tool": "Pay", "input": "a bill"}')).answered_door, 'grant', 'so it is allowed again') from t where name = 'granted';
insert into public.hub_ask_rules (server_id, tool, action, roles, position) values (tap.server('cloud-hub'), 'Pay', 'ask', '{owner}', 7);
select is((pg_temp.ask(task, 1, 'approval', 'Pay', '{"tool": "Pay", "input": "a bill"}')).state, 'open', 'until a rule asks owners alone') from t where name = 'granted';
delete from public.hub_ask_rules where tool = 'Pay';
select is((select count(*) from public.hub_ask_rules where created_by is null), 5::bigint, 'rules of the deployment are nobody''s');
select tap.become('owner');
insert into public.hub_ask_rules (server_id, tool, action, roles, self, expires_after, on_expiry, position) values (tap.server('cloud-hub'), 'Deploy', 'ask', '{owner}', false, '1 hour', 'deny', 6);
select is(created_by, tap.id('owner'), 'an owner''s bear their name') from public.hub_ask_rules where tool = 'Deploy';
select tap.become('postgres');
select is(tap.outcome(a, $$insert into public.hub_ask_rules (server_id, action) values (tap.server('cloud-hub'), 'allow')$$), c, a || ' writes rules: ' || c) from (values ('operator', '42501'), ('viewer', '42501'), ('device:tap-all', '42501'), ('owner', 'ok'), ('service', 'ok')) v (a, c);
select is(tap.outcome('owner', 'insert into public.hub_ask_rules (server_id, action, ' || c || ' from (values (1)) x'), '23514', 'no rule: ' || c) from unnest(array[
  $$roles) select tap.server('cloud-hub'), 'ask', '{}'::text[]$$, $$roles) select tap.server('cloud-hub'), 'ask', '{viewer}'::text[]$$, $$expires_after) select tap.server('cloud-hub'), 'ask', interval '1 hour'$$,
  $$expires_after, on_expiry) select tap.server('cloud-hub'), 'ask', interval '1 second', 'deny'$$, $$self) select tap.server('cloud-hub'), 'allow', false$$, $$tool) select tap.server('cloud-hub'), 'allow', ''$$]) c;

-- Who is asked
select tap.become('owner');
insert into t select 'mine', (public.hub_send(tap.channel('dispatch'), 'Mine to deploy') #>> '{task,id}')::uuid;
select tap.become('postgres');
select public.hub_claim_tasks('tap-all', 50);
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Deploy', '{"tool": "Deploy", "input": "prod"}') b where name = 'mine') a where name = 'mine';
select is(pg_temp.answer('owner', ask, 'allow'), '42501 answering this ask', 'ansible/awx#10610: who made the task does not approve it') from t where name = 'mine';
select is(pg_temp.answer('operator', ask, 'allow'), '42501 answering this ask', 'nor does who has another role') from t where name = 'mine';
select is(tap.sees('owner', $$public.hub_inbox() where title = 'Deploy'$$) || tap.sees('operator', $$public.hub_inbox() where title = 'Deploy'$$), '00', 'and it is in neither inbox');
insert into public.hub_members (server_id, user_id, role) values (tap.server('cloud-hub'), tap.id('stranger'), 'owner');
update tap.ids set name = 'other owner' where name = 'stranger';
insert into tap.ids (name) values ('stranger');
select is(pg_temp.answer('other owner', ask, 'allow'), 'answered allow other owner hub', 'another owner does') from t where name = 'mine';
update public.hub_ask_rules set roles = '{}', persons = array[tap.id('operator')] where tool = 'Deploy';
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Deploy', '{"tool": "Deploy", "input": "prod 2"}') b where name = 'mine') a where name = 'mine';
select is(pg_temp.answer('other owner', ask, 'allow'), '42501 answering this ask', 'where persons are named, nobody else') from t where name = 'mine';
select is(pg_temp.answer('operator', ask, 'allow'), 'answered allow operator hub', 'but them') from t where name = 'mine';
-- A rule that names nobody who can answer: owners are asked, and it says so.
update public.hub_ask_rules set persons = array[tap.id('viewer'), gen_random_uuid()] where tool = 'Deploy';
insert into t values ('nobody', tap.running('dispatch', 'Deploy it')) ;
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Deploy', '{"tool": "Deploy", "input": "prod 3"}') b where name = 'nobody') a where name = 'nobody';
select is((select m.content from public.hub_channel_messages m join t on task = m.task_id where name = 'nobody' and m.event = 'ask_owners'),
  (select format('⚠️ %s: what it asks now a rule of this server leaves to those it names, but not who made the task: there is nobody, so owners are asked', left(task::text, 4)) from t where name = 'nobody'), 'that owners are asked is said');
select is(pg_temp.answer('operator', ask, 'allow'), '42501 answering this ask', 'not everybody is') from t where name = 'nobody';
select is(pg_temp.answer('owner', ask, 'allow'), 'answered allow owner hub', 'an owner answers') from t where name = 'nobody';
-- The maker does not answer, even where there is nobody else.
delete from public.hub_members where server_id = tap.server('cloud-hub') and user_id = tap.id('other owner');
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Deploy', '{"tool": "Deploy", "input": "prod 4"}') b where name = 'mine') a where name = 'mine';
select alike((select m.content from public.hub_channel_messages m join t on task = m.task_id where name = 'mine' and m.event = 'ask_owners' order by m.seq desc limit 1), '%: there is nobody, so it waits until there is an owner who may answer%', 'that nobody can is said');
select alike((select string_agg(e.detail, ' ') from t, public.hub_explain_task(task) e where name = 'mine' and e.reason = 'waiting for an answer'), '%to be answered by owners or those it names, but not who made the task (nobody is one now: whoever runs the hub answers): %', 'and why it waits');
select is(pg_temp.answer('owner', ask, 'allow'), '42501 answering this ask', 'but no maker answers who may not') from t where name = 'mine';
update public.hub_ask_rules set roles = '{operator}', persons = '{}' where tool = 'Deploy';
select is((select count(*)::int from t, pg_temp.ask(task, 1, 'approval', 'Deploy', '{"tool": "Deploy", "input": "prod 5"}') a join public.hub_channel_messages m on m.task_id = a.task_id and m.event = 'ask_owners' where name = 'nobody'), 1, 'where there is one nothing is said');
-- Of a task without a channel its maker alone is asked.
select tap.become('operator');
insert into public.mac_tasks (content, project) values ('loose', 'Desktop/Comp-Core/core/motion');
select tap.become('postgres');
insert into t select 'loose', id from public.mac_tasks where content = 'loose';
select public.hub_claim_tasks('tap-all', 50);
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'question', 'What?') b where name = 'loose') a where name = 'loose';
select is(pg_temp.answer('owner', ask, 'x'), 'UH004 ask ' || ask, 'others do not know of it') from t where name = 'loose';
select is(tap.sees('operator', $$public.hub_inbox() where title = 'What?'$$), '1', 'it is in its maker''s inbox');
select is(pg_temp.answer('operator', ask, 'x'), 'answered x operator hub', 'who answers it') from t where name = 'loose';

-- Grants: by digest alone
insert into t values ('grants', tap.running('dispatch', 'With a grant'));
create function pg_temp.granted(p_input jsonb, p_tool text default 'Write', p_name text default 'grants') returns text language sql volatile as $$
  select concat_ws(' ', a.state, a.answer, a.answered_label, a.answered_door)
    from t join public.mac_tasks k on k.id = task, pg_temp.ask(task, k.attempt, 'approval', 'x', jsonb_build_object('tool', p_tool, 'input', p_input)) a where t.name = p_name
$$;
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'x', '{"tool": "Write", "input": {"file": "a", "text": "b"}}') b where name = 'grants') a where name = 'grants';
select is(pg_temp.answer('operator', ask, 'allow_task'), 'answered allow_task operator hub', 'allowed from now on') from t where name = 'grants';
select is(pg_temp.granted(i, o), e, format('a grant allows exactly what was shown: %s %s', o, i)) from (values
  ('{"file": "a", "text": "b"}'::jsonb, 'Write', 'answered allow operator grant'), ('{"text": "b", "file": "a"}', 'Write', 'answered allow operator grant'), ('{"file": "a", "text": "b "}', 'Write', 'open'),
  ('{"file": "a", "text": "B"}', 'Write', 'open'), ('{"file": "a", "text": "b", "more": null}', 'Write', 'open'), ('{"file": "a", "text": "b"}', 'Edit', 'open'), ('{"file": "a"}', 'Write', 'open')) v (i, o, e);
insert into t values ('else', tap.running('dispatch', 'Another line of work'));
select is(pg_temp.granted('{"file": "a", "text": "b"}', 'Write', 'else'), 'open', 'in its line of work alone');
select public.hub_complete_task(task, 1, 'x') from t where name = 'grants';
insert into t select 'next', (public.hub_send(tap.channel('dispatch'), 'and on', (select thread_id from public.mac_tasks join t on id = task where name = 'grants')) #>> '{task,id}')::uuid;
select public.hub_claim_tasks('tap-all', 50);
select is(pg_temp.granted('{"file": "a", "text": "b"}', 'Write', 'next'), 'answered allow operator grant', 'and in what follows it there');
insert into public.hub_ask_rules (server_id, tool, action, position) values (tap.server('cloud-hub'), 'Write', 'deny', 0);
select is(pg_temp.granted('{"file": "a", "text": "b"}', 'Write', 'next'), 'answered deny a rule of this server rule', 'what a rule denies is denied, whatever was allowed before');
delete from public.hub_ask_rules where tool = 'Write';

-- A word in the thread
insert into t values ('words', tap.running('dispatch', 'Talks'));
create function pg_temp.word(p_who text, p_text text, p_key text default null) returns text language plpgsql volatile as $$
declare
  v_sent jsonb;
begin
  perform tap.become(p_who);
  begin
    v_sent := public.hub_send(tap.channel('dispatch'), p_text, (select k.thread_id from t join public.mac_tasks k on k.id = task where name = 'words'), p_key);
  exception when others then
    perform tap.become('postgres');
    return sqlstate;
  end;
  perform tap.become('postgres');
  return case when v_sent #>> '{task,id}' = (select task::text from t where name = 'words') then concat_ws(' ', 'answer', v_sent #>> '{ask,answer}', v_sent #>> '{ask,answer_text}', v_sent #>> '{ask,answered_label}', v_sent #>> '{ask,answered_door}')
              else 'follow-up' end;
end;
$$;
create function pg_temp.asks_words(p_kind text, p_input text default 'x') returns uuid language sql volatile as $$
  select a.id from t, pg_temp.ask(task, 1, p_kind, 'Shall I?', case p_kind when 'approval' then jsonb_build_object('tool', 'Bash', 'input', p_input) end) a where name = 'words'
$$;
select is(pg_temp.word('operator', 'nothing is asked'), 'follow-up', 'without an ask a reply is a follow-up');
select is(case when pg_temp.asks_words('approval') is not null then pg_temp.word('operator', w) end, e, 'a word to an approval: ' || w) from (values
  ('Yes', 'answer allow operator thread'), (' ok. ', 'answer allow operator thread'), ('allow', 'answer allow operator thread'), ('👍', 'answer allow operator thread'), ('no!', 'answer deny operator thread'), ('Deny', 'answer deny operator thread'),
  ('always', 'answer allow_task operator thread')) v (w, e);
select pg_temp.asks_words('approval', 'y');
select is(pg_temp.word('operator', w), 'follow-up', 'no answer to an approval: ' || w) from unnest(array['yes, but first look', 'why?', 'not ok', 'y e s']) w;
select is(pg_temp.word('viewer', 'yes'), '42501', 'a viewer answers nothing');
select is(pg_temp.word('service', 'yes'), 'follow-up', 'nor does a program without a person');
select is(pg_temp.word('owner', 'no', 'key'), 'answer deny owner thread', 'an owner does');
select is(pg_temp.word('owner', 'no', 'key'), 'answer', 'the same again is nothing new');
select is((select count(*) from public.hub_channel_messages where idempotency_key = 'key' and reply_to is not null), 1::bigint, 'their word stands in the thread, once, as a reply');
select is(case when pg_temp.asks_words('question') is not null then pg_temp.word('operator', 'The blue one, I think') end, 'answer The blue one, I think operator thread', 'to a question anything is an answer');
select is(case when pg_temp.asks_words('stop') is not null then pg_temp.word('operator', 'go on') end, 'answer continue operator thread', 'a stop goes on');
select pg_temp.asks_words('approval', repeat('x', 70000));
select is(right(pg_temp.said(id), 200) like '%… cut here, after 60000 of 70000 characters: `hub task answer ____` shows all of it', true, 'a cut says so') from public.hub_asks where length(input::text) > 60000 and message_id is not null;
select is(pg_temp.word('operator', 'yes'), 'UH003', 'buzz#4502: what was not shown whole is not allowed by a word');
select is(pg_temp.word('operator', 'no'), 'answer deny operator thread', 'but denied');
select pg_temp.asks_words('question'), pg_temp.asks_words('question');
select is(pg_temp.word('operator', 'to whom?'), 'follow-up', 'where two things are asked a word answers neither');
select tap.become('operator');
select is((public.hub_send(tap.channel('dispatch'), 'to you', null, null, a.message_id)) #>> '{ask,id}', a.id::text, 'a reply to the message that asks does') from (select x.* from public.hub_asks x join t on task = x.task_id where t.name = 'words' and x.state = 'open' order by x.created_at limit 1) a;
select tap.become('postgres');
-- In a flat channel, too.
insert into t values ('flat', tap.running('quick'));
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'question', 'Flat?') b where name = 'flat') a where name = 'flat';
select tap.become('operator');
select is((public.hub_send(tap.channel('quick'), 'round', null, null, a.message_id)) #>> '{ask,answer_text}', 'round', 'in a flat channel, too') from public.hub_asks a join t on t.ask = a.id where name = 'flat';
select tap.become('postgres');

-- Time
delete from public.hub_ask_rules;
insert into public.hub_ask_rules (server_id, tool, action, expires_after, on_expiry) select tap.server('buf-barista'), v.* from (values ('Deny', 'ask', interval '5 minutes', 'deny'), ('Cancel', 'ask', '5 minutes', 'cancel'), ('Remind', 'ask', '5 minutes', 'remind')) v;
insert into t select n, tap.running('quick', n) from unnest(array['Deny', 'Deny parked', 'Cancel', 'Cancel parked', 'Remind']) n;
update t set ask = a.id from (select t.name, b.* from t, pg_temp.ask(task, 1, 'approval', 'In time?', jsonb_build_object('tool', split_part(t.name, ' ', 1), 'input', 'x'), null, 'r') b where t.name ~ '^(Deny|Cancel|Remind)') a where a.name = t.name;
select is(pg_temp.park(task, 1), 'waiting', name) from t where name like '% parked';
select is(hub_internal.expire_asks(now() + interval '4 minutes', 100), 0, 'in time');
select is(hub_internal.expire_asks(now() + interval '6 minutes', 100), 5, 'too late') ;
select is(concat_ws(' ', a.state, a.answer, a.answered_door, pg_temp.status(t.task), k.cancel_requested_at is not null), e, 'nobody answered: ' || name)
  from t join public.hub_asks a on a.id = ask join public.mac_tasks k on k.id = task join (values ('Deny', 'expired deny time running f'), ('Deny parked', 'expired deny time pending f'), ('Cancel', 'expired deny time running t'), ('Cancel parked', 'expired deny time cancelled t'), ('Remind', 'open running f')) v (n, e) on n = name;
select is(pg_temp.said(ask) ~ E'\nNobody answered in time, [0-9 :Z-]+\\.\nDeny\n' and pg_temp.said(ask) !~* 'denied|declined|refused', true, 'KiroCrew#10231: silence is told as silence') from t where name = 'Deny';
select alike((hub_internal.parked_answers(task)).words, E'You asked: In time?%\nNobody answered in time. That is no refusal: nobody has looked at it. Go on without it.', 'kimi-cli#1823: to the agent, too') from t where name = 'Deny parked';
select is((select e ->> 'state' from t, jsonb_array_elements(hub_internal.due_answers('tap-all', jsonb_build_array(jsonb_build_object('task', task, 'attempt', 1)))) e where name = 'Deny'), 'expired', 'which hears of it as expired');
select is(pg_temp.answer('operator', ask, 'allow') like 'UH003 this ask is expired: Nobody answered in time%', true, 'and it can not be answered any more') from t where name = 'Deny';
select is((select count(*) from public.hub_asks a join t on task = a.task_id where name = 'Deny'), 1::bigint, 'one ask');
select is((select a.state || (a.message_id is null)::text from t, pg_temp.ask(task, 1, 'approval', 'In time?', '{"tool": "Deny", "input": "x"}', null, 'another') a where name = 'Deny'), 'expiredtrue', 'vibe-kanban#2485: what nobody answered in time is not asked again');
select is((select count(*) from public.hub_channel_messages m join t on task = m.task_id where name = 'Remind' and event = 'ask_reminder'), 1::bigint, 'people are reminded');
select is(hub_internal.expire_asks(now() + interval '11 minutes', 100), 0, 'not again at once');
select is((select count(*) from generate_series(4, 22) n, lateral (select hub_internal.expire_asks(now() + 2 ^ n * interval '1 minute', 100) as x) e where e.x > 0), 9::bigint, 'nine times more') ;
select is(concat_ws(' ', a.state, a.reminded, a.expires_at), 'open 10', 'then it waits') from t join public.hub_asks a on a.id = ask where name = 'Remind';
delete from public.hub_ask_rules;

-- Accounts of chats
select tap.become('operator');
create temp table code as select public.hub_link_code() as c;
select tap.become('postgres');
grant select on code to public;
select matches(c, '^[A-Z]{4}-[A-Z]{4}-[A-Z]{4}$', 'a code that can be typed') from code;
select is((select count(*) from hub_internal.link_codes where hash::text like '%' || c || '%' or label like '%' || c || '%'), 0::bigint, 'which is kept nowhere') from code;
select is(tap.outcome(a, 'select public.hub_link_code()'), '42501', a || ' has no accounts') from unnest(array['anonymous', 'device:tap-all', 'service', 'anon']) a;
select is(tap.outcome('operator', format($$select public.hub_link_chat('telegram', '77', 'Opal', %L)$$, c)), '42501', 'nobody links by themselves') from code;
select is(public.hub_link_chat('telegram', '77', 'Opal', 'AAAA-AAAA-AAAA') ->> 'linked', 'false', 'another code links nothing');
select is(public.hub_link_chat('telegram', '77', 'Opal', lower(replace(c, '-', ' '))), '{"linked": true, "text": "This account is linked to operator now: what it answers here counts as theirs."}', 'linked, however it was typed') from code;
select is(public.hub_link_chat('telegram', '78', 'Thief', c) ->> 'linked', 'false', 'a code is good once') from code;
select results_eq($$ select provider, author_id, user_id, label, person_label from public.hub_chat_identities $$, $$ values ('telegram', '77', tap.id('operator'), 'Opal', 'operator') $$, 'whose account it is');
select is(tap.sees('operator', 'public.hub_chat_identities') || tap.sees('owner', 'public.hub_chat_identities') || tap.sees('device:tap-all', 'public.hub_chat_identities'), '100', 'each sees their own');
select tap.become('owner');
create temp table late as select public.hub_link_code() as c;
select tap.become('postgres');
update hub_internal.link_codes set expires_at = now() - interval '1 second';
select is(public.hub_link_chat('telegram', '79', 'Late', c) ->> 'linked', 'false', 'and for ten minutes') from late;
select is(tap.outcome('postgres', $$select public.hub_link_chat('telegram', '80', 'x', 'AAAA') from generate_series(1, 11)$$), 'UH006', 'nobody tries for long');
select is(tap.outcome('owner', $$select public.hub_unlink_chat('telegram', '77')$$) || tap.outcome('operator', $$select public.hub_unlink_chat('telegram', '77')$$), 'UH004ok', 'one''s own account is unlinked');

-- Buttons
insert into public.hub_bridges (server_id, channel_id, provider, target, secret_name, direction) select c.server_id, c.id, v.provider, v.target, v.secret, v.direction
  from public.hub_channels c, (values ('telegram', 'channel:-100', null, 'both'), ('discord', 'channel:5', null, 'both'), ('webhook', 'https://hook.example.com/x', 'HUB_BRIDGE_X', 'out'), ('ntfy', 'https://ntfy.example.com/opal', null, 'out')) v (provider, target, secret, direction) where c.name = 'garden';
insert into t values ('doors', tap.running('garden'));
select pg_temp.deliver();
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Go out?', '{"tool": "Bash", "input": "ls"}') b where name = 'doors') a where name = 'doors';
create temp table out as select d.* from pg_temp.deliver() d;
grant select on out to public;
select set_eq($$ select provider || ' ' || kind from out $$, array['telegram reply', 'discord reply', 'webhook webhook', 'ntfy post'], 'it goes out to each bridge, at once');
select results_eq($$ select (body #> '{ask}') - 'options'::text from out where provider = 'telegram' $$, $$ select jsonb_build_object('id', ask, 'kind', 'approval', 'title', 'Go out?', 'text', E'Bash\n> ls', 'whole', true, 'state', 'open', 'hint', 'hub task answer ' || left(task::text, 4)) from t where name = 'doors' $$, 'with what is asked');
select is((select string_agg(o ->> 'label', ', ') from out, jsonb_array_elements(body #> '{ask,options}') o where provider = p), l, 'buttons of ' || p) from (values ('telegram', 'Allow, Allow from now on, Deny'), ('discord', 'Allow, Allow from now on, Deny'), ('ntfy', null)) v (p, l);
select is((select string_agg(o ->> 'key', ', ') from out, jsonb_array_elements(body #> '{data,ask,options}') o where provider = 'webhook'), 'allow, allow_task, deny', 'a webhook has the answers, and no keys');
select is(body ->> 'type', 'ask.opened', 'of its type') from out where provider = 'webhook';
select is((select count(distinct o ->> 'key') from out, jsonb_array_elements(body #> '{ask,options}') o), 6::bigint, 'each key is another');
select is((select max(octet_length('ask:' || gen_random_uuid() || ':' || (o ->> 'key'))) <= 100 and max(octet_length(o ->> 'key')) <= 64 from out, jsonb_array_elements(body #> '{ask,options}') o), true, 'and short enough for either');
select is((select count(*) from out, jsonb_array_elements(body #> '{ask,options}') o join hub_internal.ask_keys k on position(o ->> 'key' in k::text) > 0), 0::bigint, 'keys are kept by their hash');
select is((select count(*) from out, jsonb_array_elements(out.body #> '{ask,options}') o join public.hub_outbox r on position(o ->> 'key' in r::text) > 0), 0::bigint, 'and whoever reads the outbox, as owners do, has none');
create function pg_temp.key(p_provider text, p_label text default 'Allow') returns text language sql stable as $$
  select o ->> 'key' from out, jsonb_array_elements(body #> '{ask,options}') o where provider = p_provider and o ->> 'label' = p_label order by out.seq desc limit 1
$$;
select is(public.hub_answer_from_chat('telegram', pg_temp.key('telegram'), '771', 'channel:-100') ->> 'outcome', 'unlinked', 'only linked accounts count');
delete from public.hub_chat_identities;
insert into public.hub_chat_identities (provider, author_id, user_id, label, person_label) values ('telegram', '77', tap.id('operator'), 'Opal', 'Opal'), ('telegram', '78', tap.id('viewer'), 'Vic', 'Vic'), ('discord', '9', tap.id('owner'), 'Owen', 'Owen');
select is(public.hub_answer_from_chat(p, pg_temp.key(k), a, c) ->> 'outcome', e, format('%s pressed by %s in %s: %s', k, a, c, e)) from (values
  ('telegram', 'telegram', '77', 'channel:-200', 'unknown'), ('discord', 'telegram', '9', 'channel:-100', 'unknown'), ('telegram', 'discord', '77', 'channel:5', 'unknown'), ('telegram', 'telegram', '78', 'channel:-100', 'not_allowed')) v (p, k, a, c, e);
select is(public.hub_answer_from_chat('telegram', 'x', '77', 'channel:-100') ->> 'outcome', 'unknown', 'no key');
select is(tap.outcome('owner', format($$select public.hub_answer_from_chat('telegram', %L, '77', 'channel:-100')$$, pg_temp.key('telegram'))), '42501', 'nobody presses for another account');
select matches(public.hub_answer_from_chat('telegram', pg_temp.key('telegram'), '77', 'user:-100/3') ->> 'text', '^Allowed by Opal \(Telegram\), [0-9: Z-]+\.$', 'pressed');
select is(concat_ws(' ', a.state, a.answer, a.answered_by = tap.id('operator'), a.answered_label, a.answered_door, a.answered_digest = a.digest), 'answered allow t Opal telegram t', 'answered by that person, as it was shown') from public.hub_asks a join t on t.ask = a.id where name = 'doors';
select is((select string_agg(public.hub_answer_from_chat('telegram', pg_temp.key('telegram', l), '77', 'channel:-100') ->> 'outcome', ' ') from unnest(array['Allow', 'Deny', 'Allow']) l), 'already already already', 'Lobster#2088: three more taps change nothing');
select matches(public.hub_answer_from_chat('discord', pg_temp.key('discord', 'Deny'), '9', 'channel:5') ->> 'text', '^Already answered\. Allowed by Opal \(Telegram\), ', 'the second learns who was first');
create temp table edits as select d.* from pg_temp.deliver() d;
select set_eq($$ select e.provider || ' ' || e.kind || ' ' || coalesce((e.edit_of = 'e' || o.seq)::text, 'new') from edits e join out o using (provider) $$, array['telegram edit true', 'discord edit true', 'ntfy edit true', 'webhook webhook new'], 'each that is out is edited');
select is(body #>> '{ask,state}' || (body #> '{ask,options}')::text || (body #>> '{ask,hint}' ~ '^Allowed by Opal')::text, 'answered[]true', 'without buttons: ' || provider) from edits where provider <> 'webhook';
select is(body ->> 'type' || (body #>> '{data,ask,state}'), 'ask.closedanswered', 'a webhook is told so') from edits where provider = 'webhook';
-- A reply there is an answer, too: of a linked account, in words.
create function pg_temp.reply(p_author text, p_text text, p_to text, p_id text) returns text language plpgsql volatile as $$
declare
  v_came jsonb := public.hub_receive_bridged('telegram', 'channel:-100', p_id, 'Opal', p_text, p_to, false, p_author);
begin
  return concat_ws(' ', (select format('%s %s %s by %s at %s', a.state, a.answer, a.answer_text, a.answered_label, a.answered_door) from public.hub_asks a where a.answer_message_id = (v_came #>> '{message,id}')::uuid),
                   case when v_came -> 'task' <> 'null' then 'task' end, v_came #>> '{message,sender_label}');
end;
$$;
create temp table q as select b.id, b.message_id from t, pg_temp.ask(task, 1, 'question', 'Which one?') b where name = 'doors';
create temp table r as select b.id, b.message_id from t, pg_temp.bash(task, 1, 'ls 4') b where name = 'doors';
select pg_temp.deliver();
create function pg_temp.there(p_message uuid) returns text language sql stable as $$ select external_id from public.hub_outbox where message_id = p_message and provider = 'telegram' and kind <> 'edit' $$;
select is(pg_temp.reply('999', 'The blue one', pg_temp.there(message_id), 'r1'), 'Opal (Telegram)', 'nobody''s account answers nothing') from q;
select is(pg_temp.reply('78', 'The blue one', pg_temp.there(message_id), 'r2'), 'Opal (Telegram)', 'nor does a viewer''s') from q;
select is(pg_temp.reply('77', 'The blue one', null, 'r3'), 'Opal (Telegram)', 'what replies to nothing answers nothing');
select is(pg_temp.reply('77', 'The blue one', pg_temp.there(message_id), 'r4'), 'answered  The blue one by Opal at telegram Opal (Telegram)', 'a reply of a linked account does') from q;
select is(pg_temp.reply('77', 'why?', pg_temp.there(message_id), 'r5'), 'Opal (Telegram)', 'a question is no answer to an approval') from r;
select is(pg_temp.reply('77', 'Yes', pg_temp.there(message_id), 'r6'), 'answered allow  by Opal at telegram Opal (Telegram)', 'yes is') from r;
select pg_temp.deliver();
-- Closed before it went out.
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'Again?', '{"tool": "Bash", "input": "ls 2"}') b where name = 'doors') a where name = 'doors';
select pg_temp.answer('owner', ask, 'deny') from t where name = 'doors';
select results_eq($$ select kind, body #>> '{ask,state}', body #> '{ask,options}' from pg_temp.deliver() where provider = 'telegram' $$, $$ values ('reply', 'answered', '[]'::jsonb) $$, 'one that is closed before it was sent goes out closed, once');
-- Too long.
select pg_temp.ask(task, 1, 'approval', 'Long?', jsonb_build_object('tool', 'Bash', 'input', repeat('x', 2000))) from t where name = 'doors';
delete from out;
insert into out select d.* from pg_temp.deliver() d;
select is(body #>> '{ask,whole}' || jsonb_array_length(body #> '{ask,options}'), e, 'openclaw#81001: what is not shown whole has no button: ' || provider) from out join (values ('discord', 'false0'), ('telegram', 'true3')) v (p, e) on p = provider;
select matches(body #>> '{ask,hint}', '^Too long to be shown here whole: look at it, and answer it, with hub task answer', 'but a hint') from out where provider = 'discord';
-- A time-out leaves none either.
insert into public.hub_ask_rules (server_id, tool, action, expires_after, on_expiry) values (tap.server('buf-barista'), 'Late', 'ask', '5 minutes', 'deny');
insert into public.hub_ask_rules (server_id, tool, action, expires_after, on_expiry) select c.server_id, 'Late', 'ask', '5 minutes', 'deny' from public.hub_channels c where c.name = 'garden' and c.server_id <> tap.server('buf-barista');
select pg_temp.ask(task, 1, 'approval', 'Late?', '{"tool": "Late", "input": 1}') from t where name = 'doors';
insert into out select d.* from pg_temp.deliver() d;
select is(hub_internal.expire_asks(now() + interval '6 minutes', 100), 1, 'nobody answered');
select results_eq($$ select kind, edit_of is not null, body #>> '{ask,state}', body #> '{ask,options}' from pg_temp.deliver() where provider = 'telegram' $$, $$ values ('edit', true, 'expired', '[]'::jsonb) $$, 'hermes-agent#89879: a time-out takes its buttons away');
select is(public.hub_answer_from_chat('telegram', pg_temp.key('telegram'), '77', 'channel:-100') ->> 'outcome', 'closed', 'and who presses one that is still seen is told so');

-- ntfy: a token is one answer of one person
update public.hub_bridges set starters = array[tap.id('operator')::text] where provider = 'ntfy';
update t set ask = a.id from (select b.* from t, pg_temp.ask(task, 1, 'approval', 'By phone?', '{"tool": "Bash", "input": "ls 3"}') b where name = 'doors') a where name = 'doors';
insert into out select d.* from pg_temp.deliver() d;
select is(public.hub_answer_by_token(pg_temp.key('ntfy'), 'deny') ->> 'outcome', 'unknown', 'a token is of one answer');
select is(public.hub_answer_by_token('x', null) ->> 'outcome', 'unknown', 'no token');
select is(public.hub_answer_from_chat('telegram', pg_temp.key('ntfy'), '77', 'channel:-100') ->> 'outcome', 'unknown', 'and of one door');
select is(public.hub_answer_by_token(pg_temp.key('ntfy'), 'allow') ->> 'outcome', 'answered', 'pressed on the phone');
select is(public.hub_answer_by_token(pg_temp.key('ntfy')) ->> 'outcome', 'already', 'once');
select is(concat_ws(' ', a.answered_by = tap.id('operator'), a.answered_door), 't ntfy', 'by whose phone it is') from public.hub_asks a join t on t.ask = a.id where name = 'doors';
select is(tap.outcome('owner', format($$update public.hub_bridges set starters = array[%L] where provider = 'ntfy'$$, x)), c, 'an owner says whose phone it is: ' || c)
  from (values (tap.id('operator')::text, '42501'), (tap.id('owner')::text, 'ok'), ('x', 'UH001')) v (x, c);
select is(tap.outcome('postgres', format($$insert into public.hub_bridges (server_id, channel_id, provider, target, direction) select server_id, id, 'ntfy', %L, %L from public.hub_channels where name = 'garden'$$, x, d)), 'UH001', 'no topic: ' || x || ' ' || d)
  from (values ('https://ntfy.example.com/', 'out'), ('http://ntfy.example.com/x', 'out'), ('https://10.0.0.1/x', 'out'), ('channel:x', 'out'), ('https://ntfy.example.com/a/b', 'out'), ('https://ntfy.example.com/x', 'both')) v (x, d);
-- What goes to a phone is what is asked, and nothing else.
select is((select count(*) from out where provider = 'ntfy' and kind = 'post' and body -> 'ask' is null), 0::bigint, 'a phone is told nothing else');

select * from finish();
rollback;
