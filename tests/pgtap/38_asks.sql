-- Asking people: an ask is a row with a digest; the first answer wins; silence is silence; a task that waits holds no slot.
-- The tests that bear the number of a thread are named after what broke elsewhere.
\ir setup.psql
\ir asks.psql
select no_plan();

create function pg_temp.beat(p_task uuid, p_attempt int) returns jsonb language plpgsql volatile as $$
declare
  v_answer jsonb;
begin
  perform tap.become('device:tap-all');
  v_answer := public.hub_heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', p_task, 'attempt', p_attempt))) -> 'answers';
  perform tap.become('postgres');
  return v_answer;
end;
$$;
create function pg_temp.park(p_task uuid, p_attempt int, p_meta jsonb default '{"session_id": "s1", "session_state": "ok"}') returns text language plpgsql volatile as $$
declare
  v_status text;
begin
  perform tap.become('device:tap-all');
  v_status := (public.hub_park_task(p_task, p_attempt, p_meta)).status;
  perform tap.become('postgres');
  return v_status;
end;
$$;
-- Claims it; its attempt.
create function pg_temp.claim(p_task uuid) returns int language plpgsql volatile as $$
begin
  perform public.hub_claim_tasks('tap-all', 50);
  return (select t.attempt from public.mac_tasks t where t.id = p_task and t.status = 'running');
end;
$$;
create function pg_temp.status(p_task uuid) returns text language sql stable as $$ select status from public.mac_tasks where id = p_task $$;
create function pg_temp.state(p_ask uuid) returns text language sql stable as $$ select state from public.hub_asks where id = p_ask $$;
create function pg_temp.said(p_ask uuid) returns text language sql stable as $$ select m.content from public.hub_asks a join public.hub_channel_messages m on m.id = a.message_id where a.id = p_ask $$;

create temp table t (name text primary key, task uuid, ask uuid, digest text);
grant all on t to public;

-- Asked, answered, heard
insert into t values ('first', tap.running('dispatch', 'One that asks'));
with a as (select b.* from t, pg_temp.bash(task, 1, E'make deploy\nnow', 'r1') b where t.name = 'first') update t set ask = a.id, digest = a.digest from a where name = 'first';
select is(a.digest, encode(sha256(convert_to(E'Bash\n{"command": "make deploy\\nnow"}', 'UTF8')), 'hex'), 'the digest is of the tool, a line end and the input')
  from public.hub_asks a join t on a.id = t.ask;
select is(a.asked_by || ' ' || a.state || ' ' || a.options::text,
  'claude/tap-all open [{"key": "allow", "label": "Allow"}, {"key": "allow_task", "label": "Allow from now on"}, {"key": "deny", "label": "Deny"}]', 'who asks, and what may be answered')
  from public.hub_asks a join t on a.id = t.ask;
select is(pg_temp.said(ask), format(E'🟡 %s asks [claude/tap-all]: Run a command\nBash\n> command: make deploy\n>     now', left(task::text, 4)), 'the question stands in the conversation, whole') from t;
select results_eq($$ select m.embed_data ->> 'color', m.embed_data #>> '{fields,0,value}', m.task_thread_id is not null, m.event from public.hub_asks a join public.hub_channel_messages m on m.id = a.message_id join t on t.ask = a.id $$,
  $$ values ('15844367', 'allow (Allow), allow_task (Allow from now on), deny (Deny)', true, 'asked') $$, 'yellow, in its thread, with what may be answered');
select is((pg_temp.bash(task, 1, E'make deploy\nnow', 'r1')).id, ask, 'the same reference is the same ask') from t;
select is(tap.outcome('device:tap-all', format($$select public.hub_ask(%L, 1, 'approval', 'Run a command', null, '{"tool": "Bash", "input": {"command": "rm -rf /"}}', null, 'r1')$$, task)), 'UH003',
  'claude-code#65910: what was asked is not swapped under its name') from t;
select is(tap.outcome('postgres', format($$update public.hub_asks set input = '"x"' where id = %L$$, ask)), 'ok', 'the owner of the database could') from t;
select is(tap.outcome(a, format($$update public.hub_asks set input = '"x"', digest = 'x' where id = %L$$, ask)), '42501', a || ' can not')
  from t, unnest(array['operator', 'owner', 'device:tap-all', 'service']) a;
select is((select string_agg(e.reason, ', ') from t, public.hub_explain_task(task) e), 'running on tap-all, waiting for an answer', 'claude-code#77804: one that waits is not shown as working alone');
select is(pg_temp.beat(task, 1), '[]'::jsonb, 'nothing is answered') from t;
select is(pg_temp.answer('operator', ask, 'allow', null, repeat('0', 64)), 'UH003 another digest: this is not what was shown', 'claude-code#65910: another digest is refused') from t;
select is(tap.outcome(a, format('select public.hub_answer_ask(%L, ''allow'')', ask)), c, a || ' may or may not answer: ' || c)
  from t, (values ('anon', '42501'), ('anonymous', 'UH004'), ('outsider', '42501'), ('viewer', '42501'), ('device:tap-all', 'UH004'), ('device:tap-other', 'UH004'),
                  ('operator', 'ok'), ('owner', 'ok'), ('service', 'ok')) v (a, c);
select is(tap.outcome('operator', format('select public.hub_answer_ask(%L, %L)', ask, x)), 'UH001', 'no answer to an approval: ' || x)
  from t, unnest(array['maybe', 'yes', '']) x;
select is(tap.sees('operator', 'public.hub_inbox()') || tap.sees('viewer', 'public.hub_inbox()') || tap.sees('outsider', 'public.hub_inbox()'), '100', 'the inbox is of who may answer');
select is(pg_temp.answer('operator', ask, 'Allow', 'but only once', upper(digest)), 'answered allow but only once operator hub', 'answered, with the digest of what was shown') from t;
select is(pg_temp.answer('owner', ask, 'deny'), format('UH003 this ask is answered: Allowed by operator, %s: but only once', hub_internal.moment_text(a.answered_at)),
  'the second learns by whom, by which door, when') from t join public.hub_asks a on a.id = t.ask;
select is(pg_temp.said(ask), format(E'☑️ %s asked [claude/tap-all]: Run a command\nAllowed by operator, %s: but only once\nBash\n> command: make deploy\n>     now', left(task::text, 4), hub_internal.moment_text(a.answered_at)),
  'its message says how it was closed') from t join public.hub_asks a on a.id = t.ask;
select is(tap.sees('operator', 'public.hub_inbox()'), '0', 'and it waits for nobody');
select is((select count(*) from realtime.messages m join t on m.topic = 'device:tap-all' and m.event = 'answer' and m.payload ->> 'ask' = t.ask::text), 1::bigint, 'claude-code#61177: the device is told at once');
select is(pg_temp.beat(task, 1), jsonb_build_array(jsonb_build_object('task', task, 'attempt', 1, 'ask', ask, 'ref', 'r1', 'kind', 'approval', 'title', 'Run a command', 'tool', 'Bash', 'digest', digest,
  'answer', 'allow', 'text', 'but only once', 'by', 'operator', 'state', 'answered')), 'claude-code#61177: the answer arrives') from t;
select is(jsonb_array_length(pg_temp.beat(task, 1)), 1, 'again and again until it is taken') from t;
select is(pg_temp.status(task), 'running', 'dagu#2336: an answer to one that works changes nothing else') from t;
select tap.become('device:tap-all');
select public.hub_take_answers(task, 1, array[ask]) from t;
select tap.become('postgres');
select is(pg_temp.beat(task, 1), '[]'::jsonb, 'taken') from t;

-- What may be asked
select is(tap.outcome('device:tap-all', format('select public.hub_ask(%L, 1, %s)', task, c)), 'UH001', 'bad input: ' || left(c, 60))
  from t, unnest(array[$$'wish', 'x'$$, $$'question', ''$$, $$'question', null$$, $$null, 'x'$$, $$'question', repeat('x', 501)$$, $$'question', 'x', repeat('x', 20001)$$, $$'question', 'x', null, null, '{}'$$,
    $$'question', 'x', null, null, '["a", "A"]'$$, $$'question', 'x', null, null, '[1]'$$, $$'question', 'x', null, null, '[""]'$$, $$'approval', 'x', null, null, '["yes"]'$$,
    $$'question', 'x', null, null, null, ''$$, $$'approval', 'x', null, jsonb_build_object('tool', '', 'input', 1)$$, $$'approval', 'x', null, to_jsonb(repeat('x', 1000001))$$]) c;
select is(tap.outcome('device:tap-other', format($$select public.hub_ask(%L, 1, 'question', 'x')$$, task)), 'UH002', 'another device asks nothing in its name') from t;
select is(tap.outcome('device:tap-all', format($$select public.hub_ask(%L, 2, 'question', 'x')$$, task)), 'UH002', 'nor another attempt') from t;
select is(tap.outcome('operator', format($$select public.hub_ask(%L, 1, 'question', 'x')$$, task)), '42501', 'nor a person') from t;
select results_eq($$ select a.tool, a.input from t, unnest(array['{"tool": "Bash", "input": null}', '{"tool": "Bash", "input": 1, "more": 2}', '{"tool": 1, "input": 1}', '"text"']::jsonb[]) i, pg_temp.ask(task, 1, 'approval', 'x', i) a where name = 'first' $$,
  $$ values ('Bash', null::jsonb), (null, '{"tool": "Bash", "input": 1, "more": 2}'), (null, '{"tool": 1, "input": 1}'), (null, '"text"') $$, 'a tool and its input are split, and nothing else');
-- Nothing in a title, a tool's name or an option reads as a line of ours, or as other than it is.
with a as (select x.* from t, pg_temp.ask(task, 1, 'approval', E'Read\n✅ done \u202etxt.exe\u001b[2J', jsonb_build_object('tool', E'Re\u200bad\nBash', 'input', '{"x": 1}'::jsonb)) x where name = 'first')
select is(array[title, tool, digest], array['Read ✅ done ‹U+202E›txt.exe‹U+001B›[2J', 'Re‹U+200B›ad Bash', encode(sha256(convert_to(E'Re‹U+200B›ad Bash\n{"x": 1}', 'UTF8')), 'hex')], 'a title and a tool''s name are kept as they are shown') from a;
select alike(pg_temp.said(id), E'🟡 % asks [claude/tap-all]: Read ✅ done ‹U+202E›txt.exe‹U+001B›[2J\nRe‹U+200B›ad Bash\n> x: 1%', 'and the message has them so') from public.hub_asks where tool like 'Re‹%';
select is(tap.outcome('device:tap-all', format('select public.hub_ask(%L, 1, ''approval'', ''x'', null, %L)', task, jsonb_build_object('tool', E' \n', 'input', 1))), 'UH001', 'a tool whose name is nothing but blanks is none') from t where name = 'first';
insert into t values ('odd', tap.running('dispatch', 'Odd names'));
update t set ask = (pg_temp.ask(task, 1, 'question', 'Which?', null, jsonb_build_array(E'yes\n> no', jsonb_build_object('key', E'k\u202e', 'label', E'la\u0007bel\nsecond')))).id where name = 'odd';
select is(options, jsonb_build_array(jsonb_build_object('key', E'yes\n> no', 'label', 'yes > no'), jsonb_build_object('key', E'k\u202e', 'label', 'la‹U+0007›bel second')), 'a label is one line of what is seen; a key goes back as it came')
  from public.hub_asks join t on ask = id where name = 'odd';
select is(embed_data #>> '{fields,0,value}', 'yes > no, k‹U+202E› (la‹U+0007›bel second)', 'so is what may be answered') from public.hub_channel_messages m join public.hub_asks a on m.id = a.message_id join t on ask = a.id where name = 'odd';
select is(pg_temp.answer('operator', ask, 'yes > no'), E'answered yes\n> no operator hub', 'and the label answers') from t where name = 'odd';
delete from t where name = 'odd';
select is(tap.refusal('device:tap-all', format($$select public.hub_ask(%L, 1, 'question', 'x' || n) from generate_series(1, 16) n$$, task)), 'UH006 too many Wait until some of them are answered, or withdraw some (hub_withdraw_ask).', 'no more than twenty are open') from t;
update hub_internal.spent set level = 300 where quota = 'task_asks';
select is(tap.outcome('device:tap-all', format($$select public.hub_ask(%L, 1, 'question', 'x')$$, task)), 'UH006', 'no more than three hundred are asked in an hour') from t;
delete from hub_internal.spent where quota = 'task_asks';

-- An attempt that ends withdraws what it asks, however it ends
create function pg_temp.ends(p_how text) returns text language plpgsql volatile as $$
declare
  v_task uuid := tap.running('quick', 'ends by ' || p_how);
  v_ask  uuid := (pg_temp.bash(v_task, 1, 'x')).id;
begin
  case p_how
    when 'complete' then perform public.hub_complete_task(v_task, 1, 'x');
    when 'fail' then perform public.hub_fail_task(v_task, 1, 'x', false);
    when 'retry' then perform public.hub_fail_task(v_task, 1, 'x', true);
    when 'hand back' then perform public.hub_fail_task(v_task, 1, 'x', true, '{"reason": "worker_stopped"}');
    when 'lease' then
      update public.mac_tasks set lease_expires_at = now() - interval '1 hour' where id = v_task;
      perform public.hub_recover();
    when 'revoke' then
      perform public.hub_revoke_device('tap-all');
      perform public.hub_recover(now() + interval '1 second');
      perform public.hub_revoke_device('tap-all', false);
    when 'cancel' then
      perform public.hub_cancel_task(v_task);
      perform public.hub_fail_task(v_task, 1, 'stopped', true);
    when 'plain update' then update public.mac_tasks set status = 'complete', result = 'x' where id = v_task;
    when 'cancel while it waits' then
      perform pg_temp.park(v_task, 1);
      perform public.hub_cancel_task(v_task);
  end case;
  return (select format('%s, %s, %s, %s', a.state, pg_temp.status(v_task),
                        regexp_replace(a.answer_text, '[0-9-]{10} [0-9:]{8}Z', 'now'), pg_temp.answer('owner', v_ask, 'allow') like 'UH003 this ask is withdrawn%')
            from public.hub_asks a where a.id = v_ask);
end;
$$;
select is(pg_temp.ends(h), e, 'ends by ' || h) from (values
  ('complete', 'withdrawn, complete, its task is complete, t'), ('fail', 'withdrawn, failed, its task is failed (x), t'),
  ('retry', 'withdrawn, pending, its attempt ended (x); the next one asks again if it must, t'),
  ('hand back', 'withdrawn, pending, its attempt ended (x); the next one asks again if it must, t'),
  ('lease', 'withdrawn, pending, its attempt ended (lease lost: tap-all was not heard of since now); the next one asks again if it must, t'),
  ('revoke', 'withdrawn, pending, its attempt ended (lease lost: tap-all was revoked); the next one asks again if it must, t'),
  ('cancel', 'withdrawn, cancelled, its task was cancelled, t'), ('plain update', 'withdrawn, complete, its task is complete, t'),
  ('cancel while it waits', 'withdrawn, cancelled, its task was cancelled, t')) v (h, e);
-- A machine that goes while it asks: what became of the task is said, and what asked says that it does not any more.
insert into t values ('gone', tap.running('workshop', 'Gone'));
update t set ask = (pg_temp.ask(task, 1, 'question', 'Which?')).id where name = 'gone';
select public.hub_revoke_device('tap-all');
select public.hub_recover(now() + interval '1 second');
select results_eq($$ select m.event, regexp_replace(m.content, '[0-9-]{10} [0-9:]{8}Z', 'now') from public.hub_channel_messages m join t on task = m.task_id where name = 'gone' and m.event in ('ask_closed', 'lease_lost') order by m.seq $$,
  $$ select v.event, format(v.said, left(task::text, 4)) from t, (values ('ask_closed', E'☑️ %s asked [claude/tap-all]: Which?\nWithdrawn, now: its attempt ended (lease lost: tap-all was revoked); the next one asks again if it must'),
       ('lease_lost', '⚠️ %s lost by tap-all: lease lost: tap-all was revoked; trying again (attempt 2 of 3)')) v (event, said) where name = 'gone' $$, 'a machine that is revoked while it asks');
select public.hub_revoke_device('tap-all', false);
update public.mac_tasks set run_after = null where id = (select task from t where name = 'gone');
update t set ask = (pg_temp.ask(task, pg_temp.claim(task), 'question', 'Which?')).id where name = 'gone';
select is(pg_temp.park(task, 2), 'waiting', 'it asks again, and waits') from t where name = 'gone';
select is((select session_device from public.mac_tasks where id = task), 'tap-all', 'for the machine that has its session') from t where name = 'gone';
update public.mesh_devices set serves_all = false where name = 'tap-all';
select public.hub_enroll_device('tap-all', server_id), public.hub_enroll_device('tap-all', server_id, false), public.hub_enroll_device('tap-other', server_id) from public.mac_tasks join t on task = id where name = 'gone';
select is((select session_device from public.mac_tasks where id = task), null, 'until that serves the server no more') from t where name = 'gone';
select is(pg_temp.answer('operator', ask, 'main'), 'answered main operator hub', 'its ask is still answered') from t where name = 'gone';
select results_eq($$ select k.requested_agent, k.agent, l.agent, l.device from public.mac_tasks k join t on task = k.id join hub_internal.lanes l on l.id = k.lane where name = 'gone' $$, $$ values (null::text, null::text, null::text, null::text) $$, 'its session pins nobody any more');
select is((select count(*)::int from t, public.hub_claim_tasks('tap-other', 50) c where c.id = t.task and name = 'gone'), 1, 'another machine goes on with it');
select alike(public.hub_begin_attempt(task, 3) ->> 'prompt', E'%You asked: Which?\nAnswered by operator: main', 'and is told the answer') from t where name = 'gone';
select alike((select m.content from public.hub_channel_messages m join t on task = m.task_id where name = 'gone' and m.event = 'session_elsewhere'), '🧭 %tap-all, which has the session, does not serve this server any more; claude %', 'people are told why');
update public.mesh_devices set serves_all = true where name = 'tap-all';
delete from t where name = 'gone';
insert into t values ('takes back', tap.running('quick'));
update t set ask = (pg_temp.bash(task, 1, 'x')).id where name = 'takes back';
select tap.become('device:tap-all');
select is((public.hub_withdraw_ask(task, 1, ask)).state, 'withdrawn', 'the agent takes it back') from t where name = 'takes back';
select is((public.hub_withdraw_ask(task, 1, ask)).state, 'withdrawn', 'once is twice') from t where name = 'takes back';
select tap.become('postgres');
select is(tap.outcome('device:tap-all', format('select public.hub_withdraw_ask(%L, 1, %L)', b.task, a.ask)), 'UH004', 'not that of another task') from t a, t b where a.name = 'first' and b.name = 'takes back';
select is(pg_temp.beat(task, 1), '[]'::jsonb, 'who takes it back is not told so') from t where name = 'takes back';

-- Questions and stops
insert into t values ('question', tap.running('dispatch', 'Which one?'));
create function pg_temp.question(p_options jsonb default null, p_kind text default 'question') returns uuid language sql volatile as $$
  select (pg_temp.ask(task, (select attempt from public.mac_tasks where id = task), p_kind, 'Which branch?', null, p_options)).id from t where name = 'question'
$$;
select is(pg_temp.answer('operator', pg_temp.question('["main", {"key": "next", "label": "The next one"}]'), a, x), e, format('a question is answered: %s, %s', a, x)) from (values
  ('main', null, 'answered main operator hub'), ('MAIN', 'but soon', 'answered main but soon operator hub'), ('the next one', null, 'answered next operator hub'),
  (null, 'Neither: make a third', 'answered Neither: make a third operator hub'), ('third', null, 'UH001 p_answer ''third'''), (null, null, 'UH001 p_answer is null'), (null, ' ', 'UH001 p_answer is null')) v (a, x, e);
select is(pg_temp.answer('operator', pg_temp.question(), a, x), e, format('without options any text is an answer: %s, %s', a, x)) from (values
  ('main', null, 'answered main operator hub'), (null, 'main', 'answered main operator hub'), ('a', 'b', 'UH001 p_answer ''a''')) v (a, x, e);
select is(pg_temp.said((select id from public.hub_asks where task_id = task and state = 'answered' and answer = 'next')) ~ E'\nAnswered by operator, [0-9: Z-]+: The next one', true, 'the message says what was answered') from t where name = 'question';
select is(pg_temp.answer('operator', pg_temp.question(null, 'stop'), 'continue'), 'answered continue operator hub', 'a stop goes on');
select is(pg_temp.answer('operator', pg_temp.question(null, 'stop'), 'cancel'), 'answered cancel operator hub', 'or stops');
select isnt(cancel_requested_at, null, 'then its device is told to') from public.mac_tasks join t on task = id where name = 'question';

-- hub_answer_task
insert into t values ('one', tap.running('quick'));
select is(tap.outcome('operator', format('select public.hub_answer_task(%L, ''yes'')', task)), 'UH003', 'a task that asks nothing is not answered') from t where name = 'one';
update t set ask = (pg_temp.ask(task, 1, 'question', 'Why?', null, '["a", "b"]')).id where name = 'one';
select is(tap.outcome(a, format('select public.hub_answer_task(%L, ''a'')', task)), c, a || ': ' || c)
  from t, (values ('operator', 'ok'), ('owner', 'ok'), ('viewer', '42501'), ('outsider', '42501'), ('device:tap-all', 'UH004'), ('anonymous', 'UH004'), ('anon', '42501')) v (a, c) where name = 'one';
select tap.become('operator');
select is((public.hub_answer_task(task, 'because')).id, task, 'its one ask is answered, with a text of one''s own, too') from t where name = 'one';
select tap.become('postgres');
select is(answer_text, 'because', 'as it was said') from public.hub_asks join t on ask = id where name = 'one';
select pg_temp.ask(task, 1, 'question', 'x' || n) from t, generate_series(1, 2) n where name = 'one';
select is(tap.outcome('operator', format('select public.hub_answer_task(%L, ''a'')', task)), 'UH003', 'where there are two it must be said which') from t where name = 'one';

-- What an agent said until it waits is told with the end of its attempt, whole.
insert into t values ('says', tap.running('dispatch', 'Says'));
select pg_temp.bash(task, 1, 'git fetch', 'says') from t where name = 'says';
select is(tap.outcome('device:tap-all', format('select public.hub_park_task(%L, 1, %L)', task, '{"said": 7}')), 'UH001', 'what it said is a text') from t where name = 'says';
select is(tap.outcome('device:tap-all', format('select public.hub_park_task(%L, 1, %L)', task, jsonb_build_object('said', repeat('x', 100001)))), 'UH001', 'of a length that a message has') from t where name = 'says';
select is(pg_temp.park(task, 1, jsonb_build_object('said', repeat('so far ', 5000))), 'waiting', 'it is parked with what it said') from t where name = 'says';
select is((select count(*) from public.hub_channel_messages m join t on task = m.task_id where name = 'says' and m.event = 'said' and char_length(m.content) > 34000), 1::bigint, 'which is told once, and whole');

-- Waiting: no slot, no attempt, pinned to its session
insert into t values ('parks', tap.running('dispatch', 'Parks'));
select is(tap.outcome('device:tap-all', format('select public.hub_park_task(%L, 1)', task)), 'UH003', 'who asks nothing is not parked') from t where name = 'parks';
with a as (select b.* from t, pg_temp.bash(task, 1, 'git push', 'p1') b where t.name = 'parks') update t set ask = a.id, digest = a.digest from a where name = 'parks';
create temp table held as select hub_internal.held_count('tap-all') as n;
select is(pg_temp.park(task, 1), 'waiting', 'parked') from t where name = 'parks';
select is(hub_internal.held_count('tap-all')::bigint, n::bigint - 1, 'kestra#5363: one that waits holds no slot') from held;
select results_eq($$ select claimed_by, lease_expires_at, session_id, session_device, agent, requested_agent, attempt, max_attempts from public.mac_tasks join t on task = id where name = 'parks' $$,
  $$ values (null::text, null::timestamptz, 's1', 'tap-all', 'claude', null::text, 1, 4) $$, 'nobody has it; it has its session, and one attempt more');
select results_eq($$ select outcome, reason, finished_at is not null, error from public.hub_task_attempts join t on task = task_id where name = 'parks' $$, $$ values ('parked', 'parked', true, null::text) $$, 'the attempt was parked, not lost');
select is((select string_agg(e.reason || ': ' || e.detail, '; ') from t, public.hub_explain_task(task) e where name = 'parks'),
  format('waiting for an answer: approval of attempt 1: Run a command; to be answered by operators and owners: hub task answer %s', left(task::text, 4)), 'explain says for what') from t where name = 'parks';
select is((select m.event from public.hub_channel_messages m join t on task = m.task_id where name = 'parks' and m.task_thread_id is not null order by m.seq desc limit 1), 'parked', 'and so does the conversation');
select is((public.hub_decay_threads(now() + interval '30 days') >= 0 and (select h.status = 'active' from public.hub_task_threads h join public.mac_tasks k on k.thread_id = h.id join t on k.id = task where t.name = 'parks')), true, 'it keeps its thread awake');
select public.hub_recover(now() + interval '30 days');
select is(pg_temp.state(ask), 'open', 'claude-agent-sdk-python#96: without a rule it waits for ever') from t where name = 'parks';
select is(pg_temp.answer('operator', ask, 'allow', null, digest), 'answered allow operator hub', 'answered after all') from t where name = 'parks';
select is(pg_temp.status(task), 'pending', 'it goes on at once') from t where name = 'parks';
select is((select count(*) > 0 from realtime.messages where topic = 'device:tap-all' and event = 'wake'), true, 'and its device is woken');
select is((select l.device from public.mac_tasks k join t on k.id = task join hub_internal.lanes l on l.id = k.lane where name = 'parks'), 'tap-all', 'the device with its session, and no other');
select is((select count(*) from public.hub_claim_tasks('tap-other', 50) c join t on task = c.id where name = 'parks'), 0::bigint, 'which does not get it');
select is(pg_temp.claim(task), 2, 'the next attempt') from t where name = 'parks';
create temp table begun as select public.hub_begin_attempt(task, 2) as b from t where name = 'parks';
select is(b -> 'answers', jsonb_build_array(jsonb_build_object('ask', ask, 'ref', 'p1', 'kind', 'approval', 'title', 'Run a command', 'tool', 'Bash', 'digest', digest, 'answer', 'allow', 'text', null, 'by', 'operator', 'state', 'answered')),
  'which is told the answer') from begun, t where name = 'parks';
select alike(b ->> 'prompt', E'%You asked: Run a command (Bash)\nAllowed by operator. Do it exactly as you asked.', 'in words, too') from begun;
select is(b #>> '{session,id}', 's1', 'in its session') from begun;
select is(a.state || a.answer || a.answered_label || a.answered_door || (a.message_id is null)::text, 'answeredallowoperatorhubtrue', 'what was allowed is allowed at once when it is asked again') from t, pg_temp.bash(task, 2, 'git push', 'again') a where name = 'parks';
select is((pg_temp.bash(task, 2, 'git push', 'and again')).state, 'open', 'once') from t where name = 'parks';
select is((pg_temp.bash(task, 2, 'git push --force')).state, 'open', 'and nothing else') from t where name = 'parks';
select is(pg_temp.park(task, 2), 'waiting', 'parked over two') from t where name = 'parks';
select is(pg_temp.answer('operator', a.id, 'deny'), 'answered deny operator hub', 'one is answered') from public.hub_asks a join t on a.task_id = task where name = 'parks' and a.ref = 'and again';
select is(pg_temp.status(task), 'waiting', 'it waits for the other') from t where name = 'parks';
select is(pg_temp.answer('operator', a.id, 'deny', 'Never force'), 'answered deny Never force operator hub', 'the other is answered') from public.hub_asks a join t on a.task_id = task where name = 'parks' and a.state = 'open';
select is(pg_temp.status(task) || (select max_attempts from public.mac_tasks where id = task), 'pending5', 'it goes on, and has lost no attempt') from t where name = 'parks';
select is(pg_temp.claim(task), 3, 'again') from t where name = 'parks';
select alike((hub_internal.parked_answers(task)).words, E'%You asked: Run a command (Bash)\nDenied by operator: Never force', 'a no is told with its reason, as people read it') from t where name = 'parks';
select is((pg_temp.bash(task, 3, 'git push --force')).answer, 'deny', 'what was denied is not asked again') from t where name = 'parks';

-- Answered while it was being parked; and by a worker that died before it heard
insert into t values ('race', tap.running('quick')), ('dies', tap.running('quick'));
with a as (select b.* from t, pg_temp.bash(task, 1, 'x') b where t.name = 'race') update t set ask = a.id from a where name = 'race';
with a as (select b.* from t, pg_temp.bash(task, 1, 'x') b where t.name = 'dies') update t set ask = a.id from a where name = 'dies';
select pg_temp.answer('operator', ask, 'allow') from t where name in ('race', 'dies');
select is(pg_temp.park(task, 1), 'pending', 'what is answered already does not wait') from t where name = 'race';
select is((select m.event from public.hub_channel_messages m join t on task = m.task_id where name = 'race' order by m.seq desc limit 1), 'ask_closed', 'and nothing is said of it');
update public.mac_tasks set lease_expires_at = now() - interval '1 hour' where id = (select task from t where name = 'dies');
select public.hub_recover();
select is(jsonb_array_length(public.hub_begin_attempt(task, pg_temp.claim(task)) -> 'answers'), 1, 'an answer outlives the worker that waited for it: ' || name) from t where name in ('race', 'dies');
select is((pg_temp.bash(task, 2, 'x')).answer, 'allow', 'and is good for that call: ' || name) from t where name in ('race', 'dies');

-- By an executor that only updates the row
insert into t values ('plain', tap.running('dispatch', 'Plain')), ('plain answered', tap.running('quick'));
create function pg_temp.plain(p_name text) returns text language sql volatile as $$
  select tap.refusal('service', format('update public.mac_tasks set status = ''waiting'' where id = %L', task)) from t where name = p_name
$$;
select is(pg_temp.plain('plain'), 'UH003 conflict Ask first (hub_ask), or end the attempt: nobody could end its waiting.', 'a task that asks nothing does not wait');
with a as (select name, (pg_temp.bash(task, 1, 'x')).id from t where name like 'plain%') update t set ask = a.id from a where t.name = a.name;
select pg_temp.answer('operator', ask, 'allow') from t where name = 'plain answered';
update public.mac_tasks k set cancel_requested_at = now() from t where k.id = task and name = 'plain';
select is(pg_temp.plain('plain'), 'UH003 conflict End it: cancelled.', 'nor one that is to be cancelled');
update public.mac_tasks k set cancel_requested_at = null from t where k.id = task and name = 'plain';
create temp table plain_held as select hub_internal.held_count('tap-all') as n;
select tap.become('service');
update public.mac_tasks k set status = 'waiting', session_id = 's-plain', session_device = 'tap-all' from t where k.id = task and name like 'plain%';
select tap.become('postgres');
select results_eq($$ select name, status, claimed_by, lease_expires_at, k.attempt, max_attempts, a.parked, r.outcome, r.reason, r.finished_at is not null
                       from t join public.mac_tasks k on k.id = task join public.hub_asks a on a.id = ask join public.hub_task_attempts r on r.task_id = task and r.attempt = 1 where name like 'plain%' order by name $$,
  $$ values ('plain', 'waiting', null::text, null::timestamptz, 1, 4, true, 'parked', 'parked', true),
            ('plain answered', 'pending', null, null, 1, 4, true, 'parked', 'parked', true) $$, 'it is parked as hub_park_task does it, and goes on where all was answered');
select is(hub_internal.held_count('tap-all')::bigint, n::bigint - 2, 'without its slot') from plain_held;
select is((select m.event || ' ' || m.content from public.hub_channel_messages m where m.task_id = task order by m.created_at desc limit 1), format('parked ⏸️ %s waits for an answer [claude/tap-all], and its machine does other work', left(task::text, 4)), 'it is told') from t where name = 'plain';
select pg_temp.answer('operator', ask, 'allow') from t where name = 'plain';
select is(pg_temp.status(task) || ' ' || l.device || ' ' || l.agent, 'pending tap-all claude', 'it goes on where its session is: ' || name) from t join public.mac_tasks k on k.id = task join hub_internal.lanes l on l.id = k.lane where name like 'plain%';
select is(jsonb_array_length(public.hub_begin_attempt(task, pg_temp.claim(task)) -> 'answers'), 1, 'and is told the answer: ' || name) from t where name like 'plain%';

-- Asked by one who is to be cancelled
insert into t values ('cancels', tap.running('quick'));
select pg_temp.bash(task, 1, 'x'), public.hub_cancel_task(task) from t where name = 'cancels';
select is(pg_temp.park(task, 1), 'cancelled', 'who is to be cancelled is not parked') from t where name = 'cancels';

select * from finish();
rollback;
