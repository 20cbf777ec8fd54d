-- One request that is several tasks: found in a message, shown in one message that is edited, gathered once, cancelled, tried again and explained.
\ir setup.psql
select no_plan();

create function pg_temp.team(p_text text, p_channel text default 'quick', p_who text default 'operator') returns uuid language plpgsql volatile as $$
declare
  v_id uuid;
begin
  perform tap.become(p_who);
  v_id := (public.hub_send(tap.channel(p_channel), p_text) #>> '{task,id}')::uuid;
  perform tap.become('postgres');
  return v_id;
end;
$$;
create temp table w (id uuid);
grant select on w to public;
create function pg_temp.whole() returns uuid language sql as $$ select id from w $$;
create function pg_temp.begin(p_text text, p_channel text default 'quick') returns uuid language sql as $$ delete from w; insert into w select pg_temp.team(p_text, p_channel); select id from w $$;
create function pg_temp.part(p_n int) returns uuid language sql as $$ select s.task_id from hub_internal.subtasks s where s.parent_id = pg_temp.whole() and s.position = p_n $$;
create function pg_temp.states() returns text language sql as $$
  select (select t.status from public.mac_tasks t where t.id = pg_temp.whole()) || ': ' || coalesce(string_agg(t.status, ' ' order by s.position), '')
    from hub_internal.subtasks s join public.mac_tasks t on t.id = s.task_id where s.parent_id = pg_temp.whole()
$$;
create function pg_temp.run(p_id uuid) returns int language plpgsql as $$
begin
  update public.mac_tasks set run_after = null where id = p_id;
  perform public.hub_claim_tasks('tap-all', 50);
  return (select attempt from public.mac_tasks where id = p_id and status = 'running');
end;
$$;
create function pg_temp.ends(p_id uuid, p_words text default 'done', p_well boolean default true) returns text language plpgsql as $$
declare
  v_attempt int := pg_temp.run(p_id);
begin
  if p_well then return (public.hub_complete_task(p_id, v_attempt, p_words)).status;
  else return (public.hub_fail_task(p_id, v_attempt, p_words, false)).status; end if;
end;
$$;
create function pg_temp.short(p_id uuid) returns text language sql as $$ select left(p_id::text, 4) $$;
create function pg_temp.list() returns text language sql as $$ select m.content from public.hub_channel_messages m join public.hub_teams t on t.message_id = m.id where t.task_id = pg_temp.whole() $$;
create function pg_temp.explained(p_id uuid) returns setof text language sql as $$ select e.reason from public.hub_explain_task(p_id) e $$;

-- Found in a message ------------------------------------------------------------------------------------------
create temp table found (said text, expected text);
insert into found values
  (E'!team Build it\n- the api\n* the page\n1. the docs', 'list agent each: Build it… = the api | the page | the docs'),
  (E' !TEAM --join: Build it\n- the api\n- the page', 'list join each: Build it… = the api | the page'),
  (E'!team --merge --join\n- the api\n  with tests\n\n- the page\nThanks!', E'list join merge: - the ap… = the api\nwith tests | the page'),
  (E'!team Build it\n- the api', 'none: Build it… = the api'),
  (E'!team --join Build it', 'plan join each: Build it… = '),
  ('!team ', 'none: said'),
  (E'!teamwork\n- the api\n- the page', 'none: said'),
  (E'Fix these in parallel:\n- the api\n- the page', 'list agent each: Fix thes… = the api | the page'),
  (E'Please do these as separate tasks, all of them:\n\n1) the api\n2) the page', 'list agent each: Please d… = the api | the page'),
  (E'Do it as a team:\n- the api', 'none: said'),
  (E'Fix these:\n- the api\n- the page', 'none: said'),
  (E'These run in parallel: a and b.\nSo:\n- the api\n- the page', 'none: said'),
  (E'!team Look\n```\n- no part\n- no part\n```\n- the api\n- the page', 'list agent each: Look\n```… = the api | the page'),
  ('in parallel', 'none: said'), (null, 'none: said');
update found set expected = replace(expected, 'Look\n', E'Look\n');
select is(coalesce(nullif(concat_ws(' ', m.source, m.gather, m.branches), ''), 'none')
            || case when m.source is null and m.request is null then ': said' when m.source is null then '' else '' end
            || coalesce(': ' || left(m.request, 8) || '… = ' || array_to_string(m.parts, ' | '), ''), expected, coalesce('found in: ' || said, 'nothing is in nothing'))
  from found, hub_internal.team_of_message(said) m;
select is(tap.refusal('operator', format('select public.hub_send(%L, %L)', tap.channel('quick'), '!team Too many' || (select string_agg(E'\n- part ' || n, '') from generate_series(1, 21) n))),
  'UH006 too many Make some of the parts one, or send them in several messages.', 'at most twenty parts');
select is(t.status || ' ' || t.content, 'pending Build it' || E'\n- the api', 'a list of one is one task') from public.mac_tasks t where t.id = pg_temp.team(E'!team Build it\n- the api');

-- A list ------------------------------------------------------------------------------------------------------
select pg_temp.begin(E'!team Build the page\n- Ask codex to write the api in Go\n- Write the documentation of it\n- Review the tests');
select is(pg_temp.states(), 'blocked: pending pending pending', 'each part is a task, and the whole waits for them');
select results_eq($$ select t.model_preference, t.model_pinned, t.task_type, t.priority, t.root_id, t.created_by, t.team_id = p.team_id, t.parent_id = p.id, t.channel_id = p.channel_id, split_part(t.content, E'\n', 1)
                       from public.mac_tasks t join public.mac_tasks p on p.id = pg_temp.whole() where t.id in (pg_temp.part(1), pg_temp.part(2), pg_temp.part(3)) order by t.created_at $$,
  $$ values ('codex', true, 'code', 7, null::uuid, tap.id('operator'), true, true, true, 'Ask codex to write the api in Go'), ('gemini', false, 'docs', 7, null, tap.id('operator'), true, true, true, 'Write the documentation of it'),
            ('claude', false, 'review', 7, null, tap.id('operator'), true, true, true, 'Review the tests') $$, 'routed by itself, its maker''s, a line of work of its own');
select is((select count(*)::int from public.hub_task_needs n where n.task = pg_temp.whole() and n.on_failure = 'continue'), 3, 'the whole needs them, however they end');
select is((select array[source, gather, branches] from public.hub_teams where task_id = pg_temp.whole()), '{list,agent,each}', 'a team');
select alike(t.content, E'%(This is part 2 of 3 of a request.%\n> Build the page\n%', 'a part is told what it belongs to') from public.mac_tasks t where t.id = pg_temp.part(2);
select is(pg_temp.list(), format(E'🧩 %s has 3 parts\n⏳ %s Ask codex to write the api in Go [codex]\n⏳ %s Write the documentation of it [gemini]\n⏳ %s Review the tests [claude]',
  pg_temp.short(pg_temp.whole()), pg_temp.short(pg_temp.part(1)), pg_temp.short(pg_temp.part(2)), pg_temp.short(pg_temp.part(3))), 'one message lists them');
select results_eq($$ select m.embed_data ->> 'title', (m.embed_data ->> 'color')::int, m.embed_data #>> '{fields,0,value}', m.edit_seq from public.hub_channel_messages m join public.hub_teams t on t.message_id = m.id where t.task_id = pg_temp.whole() $$,
  $$ values ('Task Decomposed', 3447003, '0 of 3', null::bigint) $$, 'in blue');
select results_eq('select pg_temp.explained(pg_temp.whole())', $$ select 'waits for 3 of 3 parts' union all select format('part %s: claimable', pg_temp.short(pg_temp.part(n))) from generate_series(1, 3) n $$, 'the whole is explained by its parts');
select results_eq('select pg_temp.explained(pg_temp.part(2))', $$ select 'claimable' union all select 'part of ' || left(pg_temp.whole()::text, 8) $$, 'and a part says of what');
select is(pg_temp.ends(pg_temp.part(1), 'An api.'), 'complete', 'one ends');
select alike(pg_temp.list(), E'%\n✅ % [claude/tap-all]\n▶️ %\n▶️ %', 'which the list shows, with who runs the others');
select ok(m.edit_seq >= 1 and m.seq = (select min(x.seq) from public.hub_channel_messages x where x.event = 'decomposed' and x.channel_id = m.channel_id and x.task_id = pg_temp.whole()), 'an edit in place, numbered')
  from public.hub_channel_messages m join public.hub_teams t on t.message_id = m.id where t.task_id = pg_temp.whole();
select is(pg_temp.ends(pg_temp.part(2), 'no words', false), 'failed', 'one fails');
select is(pg_temp.states(), 'blocked: complete failed running', 'which is nobody else''s loss');
select is(e.detail, format('1 of 3 failed: %s (no words)', pg_temp.short(pg_temp.part(2))), 'it is named where one asks') from public.hub_explain_task(pg_temp.whole()) e limit 1;
select is(pg_temp.ends(pg_temp.part(3), 'Fine.'), 'complete', 'the last ends');
select is(pg_temp.states(), 'pending: complete failed complete', 'and the whole gathers');
select results_eq($$ select m.content from public.hub_channel_messages m where m.event = 'synthesizing' and m.task_id = pg_temp.whole() $$,
  $$ select format('🟡 %s gathers 3 parts; 1 of 3 failed: %s (no words)', pg_temp.short(pg_temp.whole()), pg_temp.short(pg_temp.part(2))) $$, 'which is said, with who failed');
select is(pg_temp.run(pg_temp.whole()), 1, 'an agent does, as any task is run');
select alike(b.p, E'Build the page%Part 1 of 3: Ask codex to write the api in Go%> An api.%Part 2 of 3:%failed%> no words%Part 3 of 3:%> Fine.%', 'it is told what they did') from (select public.hub_begin_attempt(pg_temp.whole(), 1) ->> 'prompt' as p) b;
select is(public.hub_heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', pg_temp.whole(), 'attempt', 1))) -> 'subtasks', '[]', 'and not once more by heartbeats');
select is(tap.outcome('operator', format('select public.hub_retry_task(%L)', pg_temp.part(2))), 'UH003', 'a part is not tried again while that is done');
-- The gatherer dies: a lost lease like any
update public.mac_tasks set lease_expires_at = now() - interval '1 minute' where id = pg_temp.whole();
select public.hub_recover();
select is(pg_temp.states(), 'pending: complete failed complete', 'a gatherer that dies leaves its work to another');
select is(tap.outcome('postgres', format('select public.hub_complete_task(%L, 1, ''late'')', pg_temp.whole())), 'UH002', 'and ends nothing any more');
select is(pg_temp.ends(pg_temp.whole(), 'All of it.'), 'complete', 'it ends once');
select isnt(ended_at, null, 'and so does its team') from public.hub_teams where task_id = pg_temp.whole();
-- A member that is tried again after that runs alone
select is((public.hub_retry_task(pg_temp.part(2))).status, 'pending', 'a part is tried again after the end');
select is(pg_temp.states(), 'complete: complete pending complete', 'by itself');
select is(pg_temp.ends(pg_temp.part(2), 'found words'), 'complete', 'and ends');
select alike(pg_temp.list(), E'%\n✅ % Write the documentation of it [claude/tap-all] (after the end)\n✅ %', 'after the end, as the list says');
select is(pg_temp.states(), 'complete: complete complete complete', 'the whole stays as it was');
select is((select count(*)::int from public.hub_channel_messages m where m.event = 'complete' and m.task_id = pg_temp.whole()), 1, 'its result was told once');

-- Joined ------------------------------------------------------------------------------------------------------
update public.hub_projects set verify = 'make check' where false;
select pg_temp.begin(E'!team --join Count\n- the files\n- the lines');
select pg_temp.ends(pg_temp.part(2), 'ten lines'), pg_temp.ends(pg_temp.part(1), 'no files', false);
select is(pg_temp.states(), 'complete: failed complete', 'where nobody gathers the results are joined, in order');
select is(t.result, format(E'1 of 2 failed: %s (no files)\n\n1. the files\n(failed)\n\n2. the lines\nten lines', pg_temp.short(pg_temp.part(1))), 'what failed is named first') from public.mac_tasks t where t.id = pg_temp.whole();
select is(count(*)::int, 1, 'and told as a result') from public.hub_channel_messages m where m.event = 'complete' and m.task_id = pg_temp.whole();
select throws_ok(format($$ insert into public.mac_tasks (content, status, channel_id) values ('x', 'blocked', %L); update public.mac_tasks set status = 'complete' where content = 'x' $$, tap.channel('quick')), 'UH003', 'conflict', 'nothing else goes from blocked to complete');

-- All fail (hatchet#4554)
select pg_temp.begin(E'!team Count\n- the files\n- the lines');
select pg_temp.ends(pg_temp.part(2), 'no', false), pg_temp.ends(pg_temp.part(1), 'none', false);
select is(pg_temp.states(), 'failed: failed failed', 'where all parts failed so has the whole');
select is(t.error, format('2 of 2 failed: %s (none), %s (no)', pg_temp.short(pg_temp.part(1)), pg_temp.short(pg_temp.part(2))), 'and says of each why') from public.mac_tasks t where t.id = pg_temp.whole();

-- Tried again as a whole
select is((public.hub_retry_task(pg_temp.whole())).status, 'blocked', 'the whole is tried again');
select is(pg_temp.states(), 'blocked: pending pending', 'with its parts');
select is(ended_at, null, 'its team has not ended') from public.hub_teams where task_id = pg_temp.whole();
select is(pg_temp.ends(pg_temp.part(1)) || pg_temp.ends(pg_temp.part(2), 'no', false), 'completefailed', 'one is well now');
select is((public.hub_retry_task(pg_temp.part(2))).status, 'pending', 'the other is tried again before anybody gathers');
select is(pg_temp.states(), 'blocked: complete pending', 'and the whole waits for it');
select pg_temp.ends(pg_temp.part(2));
select is(pg_temp.ends(pg_temp.whole()), 'complete', 'then it is gathered');

-- Cancelled as a whole, or by part
select pg_temp.begin(E'!team Count\n- the files\n- the lines\n- the words');
select public.hub_need_task(pg_temp.part(3), pg_temp.part(1));
select is(pg_temp.run(pg_temp.part(2)), 1, 'one runs');
update public.mac_tasks set status = 'pending' where id = pg_temp.part(1);
select is((public.hub_cancel_task(pg_temp.part(1))).status, 'cancelled', 'a part is cancelled');
select is(pg_temp.states(), 'blocked: cancelled running failed', 'and who needs it fails; the rest goes on');
select is((public.hub_cancel_task(pg_temp.whole())).status, 'cancelled', 'the whole is cancelled');
select is(pg_temp.states(), 'cancelled: cancelled running failed', 'what runs is stopped by its device');
select isnt(cancel_requested_at, null, 'which is asked to') from public.mac_tasks where id = pg_temp.part(2);
select public.hub_fail_task(pg_temp.part(2), 1, 'stopped');
select is(pg_temp.states(), 'cancelled: cancelled cancelled failed', 'and that is all');
select pg_temp.begin(E'!team Count\n- the files\n- the lines\n- the words');
select public.hub_need_task(pg_temp.part(1), pg_temp.part(3)), public.hub_need_task(pg_temp.part(2), pg_temp.part(1));
select public.hub_cancel_task(pg_temp.whole());
select is(pg_temp.states(), 'cancelled: cancelled cancelled cancelled', 'all at once: none fails because another was cancelled first');
select is((public.hub_retry_task(pg_temp.whole())).status, 'blocked', 'tried again');
select is(pg_temp.states(), 'blocked: blocked blocked pending', 'each waits for what it needs');
select is(tap.outcome('operator', format('select public.hub_need_task(%L, %L)', pg_temp.part(3), pg_temp.whole())), 'UH003', 'no part waits for the whole');

-- In a thread, and of an agent
select pg_temp.begin(E'Do these in parallel:\n- the files\n- the lines', 'dispatch');
select is(count(distinct t.thread_id)::int, 1, 'parts speak in the thread of the whole') from public.mac_tasks t where t.id in (pg_temp.whole(), pg_temp.part(1), pg_temp.part(2)) and t.thread_id is not null;
select alike(pg_temp.list(), '🧩 % has 2 parts%', 'and so does the list');
select is(s #>> '{task,parent_id}' || ' ' || (s #>> '{task,status}'), pg_temp.whole() || ' blocked', 'a reply goes on with the whole') from public.hub_send(tap.channel('dispatch'), 'how far?', (select thread_id from public.mac_tasks where id = pg_temp.whole())) s;
delete from w;
insert into w values (tap.running('quick', 'An agent gives parts away'));
select public.hub_subtask(pg_temp.whole(), 1, E'One\npart'), public.hub_subtask(pg_temp.whole(), 1, 'Another');
select alike(pg_temp.list(), E'🧩 % has 2 parts\n⏳ % One part [%]\n⏳ % Another [%]', 'what an agent gives away is listed in one message');
select is((select array[source, gather] from public.hub_teams where task_id = pg_temp.whole()), '{agent,agent}', 'a team of an agent');
select is(public.hub_complete_task(pg_temp.whole(), 1, 'done without them') is null, false, 'whose end is the agent''s own');

-- Planned -----------------------------------------------------------------------------------------------------
create temp table plans (plan text, expected text);
insert into plans values
  ('[]', null), ('null', 'it is no list'), ('{}', 'it is no list'), ('[1]', 'part 1 is no object'), (null, 'it is no list'),
  ('[{"content": "a"}]', null), ('[{"title": "a"}]', 'content of part 1 has not 1 to 90,000 characters'), ('[{"content": " "}]', 'content of part 1 has not 1 to 90,000 characters'),
  ('[{"content": 1}]', 'content of part 1 is no text'), ('[{"content": "a", "status": "complete"}]', 'part 1 has a key ''status'', which is none'),
  ('[{"content": "a", "model": "gpt"}]', 'model of part 1 is not claude, codex, gemini or any'), ('[{"content": "a", "on_failure": "x"}]', 'on_failure of part 1 is neither fail nor continue'),
  ('[{"content": "a", "needs": 2}, {"content": "b"}]', 'needs of part 1 is no list'), ('[{"content": "a", "needs": [3]}, {"content": "b"}]', 'needs of part 1 names what is no other part (1 to 2)'),
  ('[{"content": "a", "needs": [1]}]', 'needs of part 1 names what is no other part (1 to 1)'), ('[{"content": "a", "needs": ["2"]}, {"content": "b"}]', 'needs of part 1 names what is no other part (1 to 2)'),
  ('[{"content": "a", "needs": [2], "model": null}, {"content": "b", "needs": []}]', null), ('[{"content": "a"}, {"content": "b", "needs": [3]}, {"content": "c", "needs": [2]}]', 'parts 2, 3 need each other, in a ring'),
  ((select jsonb_agg('{"content": "a"}'::jsonb)::text from generate_series(1, 21)), 'it has 21 parts, and may have 20');
select is(hub_internal.check_plan(plan::jsonb), expected, 'a plan: ' || coalesce(left(plan, 100), 'none')) from plans;
select is(hub_internal.plan_in(said)::text, expected, 'in: ' || said) from (values ('[]', '[]'), ('none', null), (E'So:\n```json\n[1]\n```\nor\n```json\n[{"a": "```sh\\nls\\n```"}]\n```\n', '[{"a": "```sh\nls\n```"}]'), (E'```json\n[1\n```', null)) v (said, expected);

select pg_temp.begin('!team Build the page, and its api');
select is(pg_temp.states(), 'blocked: pending', '!team without a list has the parts planned first');
select results_eq($$ select t.task_type, t.model_preference, t.content like 'Plan %Build the page, and its api', pg_temp.part(0) = t.id from public.mac_tasks t where t.parent_id = pg_temp.whole() $$, $$ values ('plan', 'claude', true, true) $$, 'by a task of its own');
select is(pg_temp.explained(pg_temp.whole()), 'blocked by ' || left(pg_temp.part(0)::text, 8), 'for which it waits');
select pg_temp.run(pg_temp.part(0));
select is(tap.refusal('device:tap-all', format('select public.hub_complete_task(%L, 1, %L)', pg_temp.part(0), 'I have a plan.')), 'UH001 bad input End with the plan as a list of parts, in JSON: p_meta.plan, or the last ```json block of the result.', 'what is no plan is refused');
select is(tap.outcome('device:tap-all', format('select public.hub_complete_task(%L, 1, %L, %L)', pg_temp.part(0), '[]', jsonb_build_object('plan', plan))), 'UH001', 'with ' || plan::text)
  from unnest(array['[{"content": "a", "agent": "nobody"}]', '[{"content": "a", "project": "victim/secret"}]', '[{}]']::jsonb[]) plan;
select is(status, 'running', 'and its agent can say it better') from public.mac_tasks where id = pg_temp.part(0);
select public.hub_complete_task(pg_temp.part(0), 1, E'Here it is.\n```json\n[{"content": "Write the api in Go", "title": "api"}, {"content": "Write the page", "title": "page", "model": "codex", "needs": [1]}, {"content": "Describe both", "needs": [1, 2], "on_failure": "continue"}]\n```');
select is(pg_temp.states(), 'blocked: complete pending blocked blocked', 'a plan is followed: its parts are there, and wait for each other');
select alike(pg_temp.list(), E'🧩 % has 3 parts\n⏳ % api [%]\n⏳ % page [codex]\n⏳ % Describe both [%]', 'and are listed');
select is(planned_by, pg_temp.part(0), 'the team says by whom') from public.hub_teams where task_id = pg_temp.whole();
select results_eq($$ select n.on_failure from public.hub_task_needs n where n.task in (pg_temp.part(2), pg_temp.part(3)) order by 1 $$, $$ values ('continue'), ('continue'), ('fail') $$, 'as the plan has it');
select is(pg_temp.ends(pg_temp.part(1), 'no', false), 'failed', 'one fails');
select is(pg_temp.states(), 'blocked: complete failed failed pending', 'and takes those with it that need it');
select is(pg_temp.ends(pg_temp.part(3)), 'complete', 'the rest goes on');
select alike(public.hub_begin_attempt(pg_temp.whole(), pg_temp.run(pg_temp.whole())) ->> 'prompt', E'Build the page, and its api%Part 1 of 3: api\nIt failed.%Part 2 of 3: page\nIt failed.%Part 3 of 3: Describe both\nIt is done.%', 'and is gathered, the planning apart');
-- Nothing to split (argo#1864)
select pg_temp.begin('!team Say hello');
select is(pg_temp.ends(pg_temp.part(0), '[]'), 'complete', 'a plan without parts');
select is(pg_temp.states(), 'pending: complete', 'has the request done as one');
select is(public.hub_begin_attempt(pg_temp.whole(), pg_temp.run(pg_temp.whole())) ->> 'prompt', 'Say hello', 'in its own words');
-- Two plans for one request
select pg_temp.begin('!team Build twice');
select pg_temp.run(pg_temp.part(0));
update public.hub_teams set planned_by = gen_random_uuid() where task_id = pg_temp.whole();
select is(tap.outcome('device:tap-all', format('select public.hub_complete_task(%L, 1, ''[]'')', pg_temp.part(0))), 'UH003', 'a second plan is not followed');
update public.hub_teams set planned_by = null where task_id = pg_temp.whole();
select public.hub_complete_task(pg_temp.part(0), 1, 'x', '{"plan": [{"content": "a"}, {"content": "b"}]}');
select is(tap.outcome('device:tap-all', format('select public.hub_complete_task(%L, 1, ''[]'')', pg_temp.part(0))), 'UH002', 'nor the same one twice');
select is(pg_temp.states(), 'blocked: complete pending pending', 'one is');
-- It fails, is cancelled, or ends by a row alone
select pg_temp.begin('!team Build badly');
select pg_temp.ends(pg_temp.part(0), 'no idea', false);
select is(pg_temp.states(), 'failed: failed', 'without a plan the request has failed');
select public.hub_retry_task(pg_temp.whole());
select is(pg_temp.states(), 'blocked: pending', 'and is planned again with it');
select pg_temp.run(pg_temp.part(0));
update public.mac_tasks set status = 'complete', result = 'done' where id = pg_temp.part(0);
select is(pg_temp.states(), 'failed: failed', 'an executor that only updates the row has failed without a plan');
select is(error, 'the plan: it is no list', 'and is told why') from public.mac_tasks where id = pg_temp.part(0);
select public.hub_retry_task(pg_temp.whole());
select pg_temp.run(pg_temp.part(0));
update public.mac_tasks set status = 'complete', result = '[{"content": "a"}]' where id = pg_temp.part(0);
select is(pg_temp.states(), 'blocked: complete pending', 'with one it is followed');
select pg_temp.begin('!team Build never');
select pg_temp.run(pg_temp.part(0));
select public.hub_cancel_task(pg_temp.whole());
select is(tap.outcome('postgres', format('select public.hub_complete_task(%L, 1, ''[{"content": "a"}]'')', pg_temp.part(0))), 'ok', 'what was cancelled while it was planned');
select public.hub_complete_task(pg_temp.part(0), 1, '[{"content": "a"}]');
select is(pg_temp.states(), 'cancelled: complete', 'gets no parts');
-- Whose maker may not send any more
select pg_temp.begin('!team Build theirs');
select pg_temp.run(pg_temp.part(0));
update public.hub_members set role = 'viewer' where user_id = tap.id('operator') and server_id = tap.server('buf-barista');
select is(tap.outcome('device:tap-all', format('select public.hub_complete_task(%L, 1, ''[{"content": "a"}]'')', pg_temp.part(0))), 'UH001', 'nobody''s plan gives them what they may not ask for');
update public.hub_members set role = 'operator' where user_id = tap.id('operator') and server_id = tap.server('buf-barista');

-- Branches ----------------------------------------------------------------------------------------------------
insert into public.hub_places (kind, server_id, target) values ('project', tap.server('buf-barista'), 'tap/branches'), ('github', tap.server('buf-barista'), 'tap/*');
insert into public.hub_projects (server_id, name, path, push, pull_request, repository) values (tap.server('buf-barista'), 'branches', 'tap/branches', true, 'draft', 'tap/own');
update public.hub_channels set project_path = 'tap/branches' where name = 'quick';
create function pg_temp.branch(p_id uuid, p_request text default null) returns void language sql as $$
  insert into public.hub_workspaces (root_id, device, server_id, name, branch, kind, pushed_head, pull_request) select p_id, 'tap-all', tap.server('buf-barista'), left(p_id::text, 8), 'hub/' || left(p_id::text, 8), 'git', case when p_request is not null then 'abc' end, p_request
$$;
select pg_temp.begin(E'!team Build\n- the app\n- the infrastructure\n- the docs');
select public.hub_need_task(pg_temp.part(1), pg_temp.part(2));
select pg_temp.branch(pg_temp.part(2), 'tap/own#12');
select results_eq($$ select b #>> '{team,branches}', b #> '{team,position}', b #> '{team,of}', b #>> '{project,pull_request}', b #> '{team,parts,0}' from (select public.hub_begin_attempt(pg_temp.part(2), pg_temp.run(pg_temp.part(2))) as b) x $$,
  $$ select 'each', '1'::jsonb, '3'::jsonb, 'draft', jsonb_build_object('branch', 'hub/' || left(pg_temp.part(2)::text, 8), 'pushed_head', 'abc', 'pull_request', 'tap/own#12', 'title', 'the infrastructure', 'state', 'running') $$, 'a part is told which it is, in the order of what needs what');
select results_eq($$ select p ->> 'title' from jsonb_array_elements(public.hub_begin_attempt(pg_temp.part(3), 1) #> '{team,parts}') p $$, $$ values ('the infrastructure'), ('the app'), ('the docs') $$, 'what others need first');
select pg_temp.ends(pg_temp.part(2)), pg_temp.ends(pg_temp.part(3));
select pg_temp.branch(pg_temp.part(1), 'tap/own#13'), pg_temp.branch(pg_temp.part(3));
select pg_temp.ends(pg_temp.part(1));
select results_eq($$ select b #> '{team,position}', b ->> 'prompt' ~ format('Part 2 of 3: the app\nIt is done. Its branch is hub/%s at abc, its pull request tap/own#13\..*Part 3 of 3.* Its branch is hub/%s, on tap-all alone\..*Leave their branches as they are\.$', left(pg_temp.part(1)::text, 8), left(pg_temp.part(3)::text, 8)) from (select public.hub_begin_attempt(pg_temp.whole(), pg_temp.run(pg_temp.whole())) as b) x $$,
  $$ values ('null'::jsonb, true) $$, 'who gathers is told of the branches, in that order');
select public.hub_complete_task(pg_temp.whole(), 1, 'Built.');
select is(result, E'Built.\n\nPull requests, in this order:\n1. the infrastructure: tap/own#12\n2. the app: tap/own#13', 'and the result lists the pull requests') from public.mac_tasks where id = pg_temp.whole();
select pg_temp.begin(E'!team --merge Build\n- the app\n- the docs');
select results_eq($$ select b #>> '{team,branches}', b #>> '{project,pull_request}', b #>> '{project,push}' from (select public.hub_begin_attempt(pg_temp.part(1), pg_temp.run(pg_temp.part(1))) as b) x $$, $$ values ('merge', 'off', 'true') $$, 'parts that are merged ask for no pull request');
select pg_temp.branch(pg_temp.part(1), 'tap/own#14');
select pg_temp.ends(pg_temp.part(1)), pg_temp.ends(pg_temp.part(2));
select results_eq($$ select b ->> 'prompt' ~ 'merge them into yours in this order; where they contradict each other decide, and say how\.$', b #>> '{project,pull_request}' from (select public.hub_begin_attempt(pg_temp.whole(), pg_temp.run(pg_temp.whole())) as b) x $$, $$ values (true, 'draft') $$, 'who gathers merges them, and asks for one');
select is(pg_temp.ends(pg_temp.whole()), 'complete', 'and lists none') ;
select is(result, 'done', 'of theirs') from public.mac_tasks where id = pg_temp.whole();
select is(public.hub_begin_attempt(id, 1) -> 'team', 'null', 'a task of no team has none') from tap.running('garden') id;

-- What people may ask for
select is(tap.outcome('viewer', format('select public.hub_send(%L, %L)', tap.channel('quick'), E'!team x\n- a\n- b')), '42501', 'a viewer makes no team');
update hub_internal.quotas set amount = 3 where name = 'person_tasks';
delete from hub_internal.spent where quota = 'person_tasks';
select is(tap.outcome('operator', format('select public.hub_send(%L, %L), public.hub_send(%1$L, %2$L)', tap.channel('quick'), E'!team x\n- a\n- b')), 'UH006', 'each part is a task of who asked');
update hub_internal.quotas set amount = 300 where name = 'person_tasks';
select * from finish();
rollback;
