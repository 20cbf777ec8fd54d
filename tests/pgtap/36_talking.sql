-- Telling a task that runs something, what becomes of it, replies to messages, and sending a task elsewhere.
\ir setup.psql
select no_plan();

create function pg_temp.beat(p_task uuid, p_attempt int default 1) returns jsonb language sql volatile as $$
  select public.hub_heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', p_task, 'attempt', p_attempt)))
$$;
create function pg_temp.claim(p_task uuid) returns int language plpgsql volatile as $$
begin
  update public.mac_tasks set run_after = null where id = p_task;
  perform public.hub_claim_tasks('tap-all', 50);
  return (select attempt from public.mac_tasks where id = p_task and status = 'running');
end;
$$;
create function pg_temp.as_person(p_who text, p_sql text) returns text language plpgsql volatile as $$
declare
  v_result text;
begin
  perform tap.become(p_who);
  execute p_sql into v_result;
  perform tap.become('postgres');
  return v_result;
end;
$$;
-- What is said about steering in a task's conversation, without the task.
create function pg_temp.told(p_task uuid) returns text language sql stable as $$
  select string_agg(substr(m.content, 9), '; ' order by m.seq) from public.hub_channel_messages m where m.task_id = p_task and m.event = 'steered'
$$;
create function pg_temp.outcomes(p_task uuid) returns text language sql stable as $$
  select string_agg(coalesce(s.outcome, 'open'), ' ' order by s.id) from hub_internal.steers s where s.task_id = p_task
$$;

-- Who can be told ---------------------------------------------------------------------------------------------
create temp table a as select tap.running('garden', 'Patch it') as id, tap.task('garden') as waits, tap.task('garden') as old, null::uuid as ended;
grant select on a to public;
select throws_ok($$ select public.hub_steer_task(waits, 'x') from a $$, 'UH003', 'conflict', 'a task that waits is not steered');
select is((select tap.refusal('operator', format('select public.hub_steer_task(%L, ''x'')', waits)) from a),
  'UH003 conflict Only a task that runs can be told something. Send it as a message in its thread, or as a reply to one of its messages: that is a follow-up.',
  'with what to do instead');
update public.mac_tasks t set status = 'running', claimed_by = 'old-mac' from a where t.id = a.old;
select throws_like($$ select hub_internal.require_steerable(t) from public.mac_tasks t join a on t.id = a.old $$, 'conflict', 'nor is what an older executor runs');
select matches((select tap.refusal('operator', format('select public.hub_steer_task(%L, ''x'')', old)) from a), '^UH003 conflict Reply to it: that is a follow-up; or cancel it', 'which says so');
select throws_ok(format('select public.hub_steer_task(%L, %L)', id, x), 'UH001', 'bad input', 'nothing is nothing to tell') from a, unnest(array['', E' \n', null]) x;
select throws_ok(format('select public.hub_steer_task(%L, %L)', id, repeat('x', 100001)), 'UH001', 'bad input', 'nor is a book') from a;
select is(tap.outcome('device:tap-all', format('select public.hub_steer_task(%L, ''x'')', id)), 'UH004', 'an agent steers nobody') from a;

-- Given until it is reported ----------------------------------------------------------------------------------
select is(pg_temp.as_person('operator', format('select (public.hub_steer_task(%L, ''Use tabs'')).status', id)), 'running', 'the task comes back') from a;
select results_eq($$ select m.sender_type, m.sender_id, m.sender_label, m.content, m.content_type, m.event from public.hub_channel_messages m join a on m.task_id = a.id where m.content = 'Use tabs' $$,
  $$ values ('human', tap.id('operator')::text, 'operator', 'Use tabs', 'text', null::text) $$, 'it stands in the conversation as what the person said');
select is((select (m.payload ->> 'text') from realtime.messages m, a where m.topic = 'device:tap-all' and m.event = 'steer' and m.payload ->> 'id' = a.id::text), 'Use tabs', 'and is broadcast to the device');
select results_eq($$ select s ->> 'task', s ->> 'attempt', s ->> 'text', s ->> 'by' from a, jsonb_array_elements(pg_temp.beat(a.id) -> 'steer') s $$,
  $$ select id::text, '1', 'Use tabs', 'operator' from a $$, 'a heartbeat gives it');
select is(jsonb_array_length(pg_temp.beat(id) -> 'steer'), 1, 'and again') from a;
select is(pg_temp.beat(waits) -> 'steer', '[]', 'not for another task') from a;
select is(tap.outcome('device:tap-other', format('select public.hub_report_steer(%L, 1, array(select id from hub_internal.steers), ''taken'')', id)), '42501', 'no device reads the table') from a;
select throws_ok(format('select public.hub_report_steer(%L, 2, array[1], ''taken'')', id), 'UH002', 'lease lost', 'it is reported by the live attempt') from a;
select throws_ok(format('select public.hub_report_steer(%L, 1, %s, %L)', id, ids, outcome), 'UH001', 'bad input', 'for what it is')
  from a, (values ('array[1]', 'lost'), ('array[1]', null), ('array[]::bigint[]', 'taken'), ('null', 'taken')) v (ids, outcome);
create temp table first as select s.id from hub_internal.steers s join a on s.task_id = a.id;
select public.hub_report_steer(a.id, 1, array[first.id], 'taken'), public.hub_report_steer(a.id, 1, array[first.id], 'taken'), public.hub_report_steer(a.id, 1, array[first.id], 'next_turn') from a, first;
select is(pg_temp.told(id) || ', ' || pg_temp.outcomes(id), 'was told, taken', 'what became of it is told once') from a;
select is(pg_temp.beat(id) -> 'steer', '[]', 'then it is given no more') from a;

-- One that waits for its turn
select public.hub_steer_task(id, 'And then the docs') from a;
select public.hub_report_steer(id, 1, array(select s.id from hub_internal.steers s where s.task_id = a.id), 'next_turn') from a;
select is(pg_temp.told(id) || ', ' || pg_temp.outcomes(id), 'was told; is told in its next turn, taken next_turn', 'kept for a further turn') from a;
select public.hub_report_steer(id, 1, array(select s.id from hub_internal.steers s where s.task_id = a.id), 'taken') from a;
select is(pg_temp.told(id) || ', ' || pg_temp.outcomes(id), 'was told; is told in its next turn, taken taken', 'which then began') from a;

-- Somebody else's ids change nothing
create temp table b as select tap.running('workshop') as id;
select public.hub_steer_task(id, 'mine') from b;
select public.hub_report_steer(a.id, 1, array(select s.id from hub_internal.steers s), 'taken') from a;
select is(pg_temp.outcomes(id), 'open', 'one attempt reports for itself alone') from b;

-- Bounded
select public.hub_steer_task(id, 'more') from b, generate_series(2, 20);
select is(tap.refusal('postgres', 'select public.hub_steer_task(id, ''one too many'') from b'), 'UH006 too many Wait until its agent has taken some of them.', 'what is not taken has a bound');
update hub_internal.steers s set text = repeat('x', 150000) from b where s.task_id = b.id;
select is(jsonb_array_length(pg_temp.beat(id) -> 'steer'), 3, 'and a heartbeat gives about so much at once') from b;

-- Untaken at the end ------------------------------------------------------------------------------------------
create temp table c as select (s #>> '{task,id}')::uuid as id, (s #>> '{thread,id}')::uuid as thread from public.hub_send(tap.channel('dispatch'), 'Write the report') s;
grant select on c to public;
select pg_temp.claim(id) from c;
select pg_temp.as_person('operator', format('select (public.hub_steer_task(%L, ''in Dutch'')).id', id)), pg_temp.as_person('operator', format('select (public.hub_steer_task(%L, ''and short'')).id', id)),
       pg_temp.as_person('owner', format('select (public.hub_steer_task(%L, ''with a picture'')).id', id)) from c;
select public.hub_complete_task(id, 1, 'Done.', '{"session_id": "s1"}') from c;
select is(pg_temp.outcomes(id), 'follow_up follow_up follow_up', 'what a complete task did not take becomes a follow-up') from c;
select results_eq($$ select t.content, t.status, t.created_by, t.thread_id = c.thread, t.root_id = c.id, t.session_id, t.session_device, t.project = o.project
                       from public.mac_tasks t, c join public.mac_tasks o on o.id = c.id where t.thread_id = c.thread and t.id <> c.id order by t.created_at $$,
  $$ values (E'in Dutch\n\nand short', 'pending', tap.id('operator'), true, true, 's1', 'tap-all', true), ('with a picture', 'blocked', tap.id('owner'), true, true, null, null, true) $$,
  'of each who spoke, in their name, one after the other, in its line of work and session');
select is((select string_agg(t.parent_id::text, ' ' order by t.created_at) from public.mac_tasks t join c on t.thread_id = c.thread and t.id <> c.id),
          (select c.id || ' ' || t.id from c join public.mac_tasks t on t.parent_id = c.id), 'chained');
select is(pg_temp.told(c.id), (select string_agg(format('ended before it was told; %s goes on with it', left(t.id::text, 4)), '; ' order by t.created_at) from public.mac_tasks t where t.thread_id = c.thread and t.id <> c.id), 'and told') from c;
select is((select m.content from public.mac_tasks t join c on t.parent_id = c.id join public.hub_channel_messages m on m.id = t.message_id), 'in Dutch', 'it began with their message');

-- What only waited for its turn was not told either
create temp table kept as select tap.running('garden') as ended, tap.running('garden') as failed;
select public.hub_steer_task(ended, 'x'), public.hub_steer_task(failed, 'x') from kept;
select public.hub_report_steer(s.task_id, 1, array[s.id], 'next_turn') from hub_internal.steers s join kept on s.task_id in (kept.ended, kept.failed);
select public.hub_complete_task(ended, 1, 'Done.'), public.hub_fail_task(failed, 1, 'no', false) from kept;
select is(pg_temp.outcomes(ended) || ' ' || pg_temp.outcomes(failed), 'follow_up not_taken', 'an attempt that ended before that turn did not take it') from kept;

-- Of one who may not send any more, and where it can not be made
create temp table d as select tap.running('garden') as id, tap.running('garden') as full;
select pg_temp.as_person('operator', format('select (public.hub_steer_task(%L, ''late'')).id', id)) from d;
delete from public.hub_members where user_id = tap.id('operator') and server_id = tap.server('buf-barista');
select public.hub_complete_task(id, 1, 'Done.') from d;
select is(pg_temp.told(id) || ', ' || pg_temp.outcomes(id), 'was not told before its end, not_taken', 'who may not send any more gives no follow-up') from d;
insert into public.hub_members (server_id, user_id, role) values (tap.server('buf-barista'), tap.id('operator'), 'operator');
select public.hub_steer_task("full", 'x') from d;
delete from public.hub_places where server_id = tap.server('buf-barista') and kind = 'project';
select is((public.hub_complete_task("full", 1, 'Done.')).status, 'complete', 'a follow-up that can not be made does not keep a task from its end') from d;
select is(pg_temp.told("full") || ', ' || pg_temp.outcomes("full"), 'was not told before its end: permission denied, not_taken', 'which says why') from d;
insert into public.hub_places (kind, server_id, target) values ('project', tap.server('buf-barista'), '*');

-- Failed and cancelled
create temp table e as select tap.running('garden') as failed, tap.running('garden') as cancelled;
select public.hub_steer_task(failed, 'x'), public.hub_steer_task(cancelled, 'x') from e;
select public.hub_fail_task(failed, 1, 'no', false), public.hub_cancel_task(cancelled) from e;
select throws_ok('select public.hub_steer_task(cancelled, ''x'') from e', 'UH003', 'conflict', 'what is being cancelled is not steered');
select public.hub_fail_task(cancelled, 1, 'stopped') from e;
select is(pg_temp.told(x) || ', ' || pg_temp.outcomes(x), 'was not told before its end, not_taken', 'what failed or was cancelled did not take it') from e, unnest(array[e.failed, e.cancelled]) x;

-- Tried again: the next attempt begins with it
create temp table f as select tap.running('garden') as id;
select public.hub_steer_task(id, 'first, taken') from f;
select public.hub_report_steer(f.id, 1, array(select s.id from hub_internal.steers s where s.task_id = f.id), 'taken') from f;
select public.hub_steer_task(id, 'second, not taken') from f;
select pg_temp.as_person('operator', format('select (public.hub_steer_task(%L, ''third, for its next turn'')).id', id)) from f;
select public.hub_report_steer(f.id, 1, array(select max(s.id) from hub_internal.steers s where s.task_id = f.id), 'next_turn') from f;
select public.hub_fail_task(id, 1, 'broke', true) from f;
select is(pg_temp.outcomes(id), 'taken open next_turn', 'a task that is tried again keeps what it was not told') from f;
select is(pg_temp.claim(id), 2, 'the next attempt') from f;
select public.hub_steer_task(id, 'fourth, to this one') from f;
select is((select string_agg(s ->> 'text', ', ') from f, jsonb_array_elements(pg_temp.beat(f.id, 2) -> 'steer') s), 'fourth, to this one', 'hears of what is said to it by heartbeat');
select is(hub_internal.untaken_steers(id), E'Meanwhile postgres added: second, not taken\n\nMeanwhile operator added: third, for its next turn', 'and begins with what those before were not told') from f;
select is(hub_internal.untaken_steers(id), E'Meanwhile postgres added: second, not taken\n\nMeanwhile operator added: third, for its next turn', 'the same again') from f;
select is(hub_internal.untaken_steers(id, true), E'Meanwhile postgres added: first, taken\n\nMeanwhile postgres added: second, not taken\n\nMeanwhile operator added: third, for its next turn', 'all of it, where the session is gone') from f;
select is(pg_temp.told(id), 'was told; is told in its next turn; was told', 'told once') from f;
select is(pg_temp.outcomes(id), 'taken next_attempt next_attempt open', 'and marked') from f;
select is(hub_internal.untaken_steers((select id from d)), null, 'nothing was said: nothing') ;

-- A task without a channel
insert into public.mac_tasks (content, server_id) values ('loose', tap.server('cloud-hub'));
create temp table g as select id from public.mac_tasks where content = 'loose';
select pg_temp.claim(id) from g;
select public.hub_steer_task(id, 'go on') from g;
select is(jsonb_array_length(pg_temp.beat(id) -> 'steer'), 1, 'is told without a conversation') from g;
select public.hub_complete_task(id, 1, 'ok') from g;
select results_eq($$ select t.content, t.status, t.server_id = tap.server('cloud-hub'), t.channel_id from public.mac_tasks t join g on t.root_id = g.id $$, $$ values ('go on', 'pending', true, null::uuid) $$, 'and followed without one');

-- Replies that steer ------------------------------------------------------------------------------------------
select is((public.hub_set_thread_replies(tap.channel('dispatch'), 'steer')).thread_replies, 'steer', 'an owner says what a reply is');
select throws_ok($$ select public.hub_set_thread_replies(tap.channel('dispatch'), 'shout') $$, 'UH001', 'bad input', 'one of two');
select throws_ok($$ update public.hub_channels set thread_replies = 'shout' where name = 'dispatch' $$, '23514', 'bad input', 'whoever writes it');
create temp table h as select (s #>> '{task,id}')::uuid as id, (s #>> '{thread,id}')::uuid as thread from public.hub_send(tap.channel('dispatch'), 'Do the work') s;
grant select on h to public;
select pg_temp.claim(id) from h;
create temp table said as select pg_temp.as_person('operator', format('select public.hub_send(%L, ''not like this'', %L, ''key 1'')', tap.channel('dispatch'), thread))::jsonb as s from h;
select is((s #>> '{task,id}')::uuid, h.id, 'a message in the thread of a running task is for that task') from said, h;
select is(s #>> '{message,content}' || ', ' || (s #>> '{message,task_thread_id}'), 'not like this, ' || h.thread, 'and stands in the thread') from said, h;
select is(s ->> 'reply', null, 'nothing is answered') from said;
select is((select count(*)::int from public.mac_tasks t join h on t.thread_id = h.thread), 1, 'no task was made');
select is((select string_agg(s ->> 'text', ', ') from h, jsonb_array_elements(pg_temp.beat(h.id) -> 'steer') s), 'not like this', 'its agent is told');
select is(pg_temp.as_person('operator', format('select public.hub_send(%L, ''not like this'', %L, ''key 1'') #>> ''{task,id}''', tap.channel('dispatch'), thread)), id::text, 'the same again is the same') from h;
select is(pg_temp.outcomes(id), 'open', 'and told once') from h;
select is(tap.outcome('operator', format('select public.hub_send(%L, ''otherwise'', %L, ''key 1'')', tap.channel('dispatch'), thread)), 'UH003', 'the key is used') from h;
select is(tap.outcome('viewer', format('select public.hub_send(%L, ''me too'', %L)', tap.channel('dispatch'), thread)), '42501', 'who may not send does not steer') from h;
select public.hub_complete_task(id, 1, 'Done.') from h;
select is((select string_agg(t.content, ', ') from public.mac_tasks t join h on t.parent_id = h.id), 'not like this', 'not taken: a follow-up');
select is(pg_temp.as_person('operator', format('select public.hub_send(%L, ''not like this'', %L, ''key 1'') #>> ''{task,id}''', tap.channel('dispatch'), thread)), id::text, 'the first answer stays') from h;
select is((public.hub_send(tap.channel('dispatch'), 'next', thread) #>> '{task,status}'), 'blocked', 'where nothing runs a reply is a follow-up') from h;

-- From a chat: who may start work there steers, quoted; who may not only writes
insert into public.hub_bridges (server_id, channel_id, provider, target, starts_tasks, starters) values (tap.server('cloud-hub'), tap.channel('dispatch'), 'discord', 'channel:77', 'listed', array['larry']);
create temp table i as select public.hub_receive_bridged('discord', 'channel:77', 'm1', 'Larry', 'Build it', p_author_id => 'larry') as s;
select pg_temp.claim((s #>> '{task,id}')::uuid) from i;
select public.hub_receive_bridged('discord', 'channel:77', 'm2', 'Larry', 'faster @codex', p_reply_to => 'm1', p_author_id => 'larry');
select public.hub_receive_bridged('discord', 'channel:77', 'm3', 'Eve', 'delete it all', p_reply_to => 'm1', p_author_id => 'eve');
select results_eq($$ select x ->> 'by', x ->> 'text' ~ E'\n> faster \\(at\\)codex\n', count(*) over () from i, jsonb_array_elements(pg_temp.beat((i.s #>> '{task,id}')::uuid) -> 'steer') x $$,
  $$ values ('Larry (Discord)', true, 1::bigint) $$, 'what comes from a chat is given as a quotation, and only from who may start work');
select public.hub_set_thread_replies(tap.channel('dispatch'), 'queue');

-- Replies to a message ----------------------------------------------------------------------------------------
create temp table k as select tap.running('quick', 'Ask one') as id, tap.running('quick', 'Ask two') as other;
grant select on k to public;
create function pg_temp.message(p_task uuid, p_event text) returns uuid language sql stable as $$
  select m.id from public.hub_channel_messages m where m.task_id = p_task and m.event = p_event order by m.created_at desc limit 1
$$;
create temp table queued as select public.hub_send(tap.channel('quick'), 'and before that', null, null, pg_temp.message(id, 'started')) as s from k;
select is(s #>> '{task,status}' || ' ' || (s #>> '{task,parent_id}') || ' ' || (s #>> '{task,root_id}'), format('blocked %s %s', k.id, k.id), 'in a flat channel, too, a reply to a task that runs waits for it') from queued, k;
select public.hub_complete_task(id, 1, 'One.', '{"session_id": "s-one"}'), public.hub_complete_task(other, 1, 'Two.', '{"session_id": "s-two"}') from k;
select is(t.status || ' ' || t.session_id || ' ' || t.session_device || ' ' || t.agent, 'pending s-one tap-all claude', 'and goes on when that has ended, in its session') from public.mac_tasks t, queued where t.id = (s #>> '{task,id}')::uuid;
create temp table replied as select pg_temp.as_person('operator', format('select public.hub_send(%L, ''and then?'', null, ''r1'', %L)', tap.channel('quick'), pg_temp.message(other, 'complete')))::jsonb as s from k;
select results_eq($$ select s #>> '{task,status}', (s #>> '{task,parent_id}')::uuid, (s #>> '{task,root_id}')::uuid, s #>> '{task,session_id}', s #>> '{task,session_device}', s #>> '{task,agent}', s #>> '{task,project}', s #>> '{task,thread_id}', (s #>> '{message,reply_to}')::uuid from replied $$,
  $$ select 'pending', other, other, 's-two', 'tap-all', 'claude', t.project, null::text, pg_temp.message(other, 'complete') from k join public.mac_tasks t on t.id = k.other $$,
  'a reply to a result goes on with that task: its line of work, session, agent and project');
select is(pg_temp.as_person('operator', format('select public.hub_send(%L, ''and then?'', null, ''r1'', %L) #>> ''{task,id}''', tap.channel('quick'), pg_temp.message(other, 'complete'))), s #>> '{task,id}', 'the same again is the same') from replied, k;
select is((public.hub_send(tap.channel('quick'), 'once more', null, null, pg_temp.message(other, 'complete')) #>> '{task,parent_id}'), s #>> '{task,id}', 'a second reply comes after the first') from replied, k;
select is((public.hub_send(tap.channel('quick'), 'to my own words', null, null, t.message_id) #>> '{task,root_id}')::uuid, k.id, 'what began a task is a message of it') from k join public.mac_tasks t on t.id = k.id;
insert into public.hub_channel_messages (channel_id, content, sender_type) values (tap.channel('quick'), 'chatter', 'human');
create temp table chatter as select id from public.hub_channel_messages where content = 'chatter';
grant select on chatter to public;
select is(tap.refusal('operator', format('select public.hub_send(tap.channel(''quick''), ''x'', null, null, %L)', id)),
  'UH003 conflict Reply to what a task said, such as its result, or to what asked for it; or leave p_reply_to out, for a new task.', 'a message of no task has no follow-up') from chatter;
select is(tap.outcome('operator', format('select public.hub_send(tap.channel(''garden''), ''x'', null, null, %L)', id)), 'UH004', 'nor one of another channel') from chatter;
select is(tap.outcome('operator', format('select public.hub_send(tap.channel(''quick''), ''x'', null, null, %L)', gen_random_uuid())), 'UH004', 'nor one that is not there');
select is(tap.outcome('operator', format('select public.hub_send(tap.channel(''leads''), ''!help'', null, null, %L)', id)), 'UH003', 'commands are no tasks') from chatter;

-- In a thread with parallel work
create temp table l as select (s #>> '{task,id}')::uuid as id, (s #>> '{thread,id}')::uuid as thread, (s #>> '{message,id}')::uuid as asked from public.hub_send(tap.channel('dispatch'), 'Main work') s;
insert into public.mac_tasks (content, channel_id, thread_id) select 'Beside it', tap.channel('dispatch'), thread from l;
create temp table beside as select t.id from public.mac_tasks t where t.content = 'Beside it';
select pg_temp.claim(l.id) from l;
select public.hub_complete_task(l.id, 1, 'M', '{"session_id": "s-main"}') from l;
select public.hub_complete_task(beside.id, 1, 'B', '{"session_id": "s-beside"}') from beside;
select is(public.hub_send(tap.channel('dispatch'), 'x', thread, null, pg_temp.message(l.id, 'complete')) #>> '{task,session_id}', 's-main', 'the reply goes on with the session of what it answers') from l;
select is(public.hub_send(tap.channel('dispatch'), 'x', null, null, pg_temp.message(beside.id, 'complete')) #>> '{task,session_id}', 's-beside', 'also without naming the thread') from beside;
select is(public.hub_send(tap.channel('dispatch'), 'x', null, null, asked) #>> '{task,thread_id}', thread::text, 'a reply in the channel to what opened a thread goes on there') from l;
select is(public.hub_send(tap.channel('dispatch'), 'x', null, null, m.id) #>> '{task,root_id}', l.id::text, 'the copy that opens the thread is what began it') from l join public.hub_channel_messages m on m.task_thread_id = l.thread and m.seq = 1;
select throws_ok(format('select public.hub_send(%L, ''x'', %L, null, %L)', tap.channel('dispatch'), c.thread, l.asked), 'UH004', 'not found', 'not in another thread') from l, c;

-- Sent elsewhere ----------------------------------------------------------------------------------------------
create temp table n as select tap.task('evals', 'Judge it') as id;
select throws_ok('select public.hub_route_task(id) from n', 'UH001', 'bad input', 'somewhere it has to be');
select throws_ok('select public.hub_route_task(id, p_model => ''gpt'') from n', 'UH001', 'bad input', 'a model that is one');
select throws_ok('select public.hub_route_task(id, p_agent => ''nobody'') from n', 'UH001', 'bad input', 'an agent that is offered');
select throws_ok('select public.hub_route_task(id, p_device => ''tap-own'') from n', 'UH004', 'not found', 'a machine that serves its server');
select throws_ok('select public.hub_route_task(id, p_device => ''nowhere'') from n', 'UH004', 'not found', 'and is there');
select public.hub_route_task(n.id, p_agent => 'codex', p_device => 'tap-other') from n;
select results_eq($$ select t.model_preference, t.requested_agent, l.agent, l.model, l.device, l.platform = t.platform from n join public.mac_tasks t using (id) join hub_internal.lanes l on l.id = t.lane $$,
  $$ values ('any', 'codex', 'codex', 'any', 'tap-other', true) $$, 'its lane is another');
select is((select count(*)::int from public.hub_claim_tasks('tap-all', 50) c join n on c.id = n.id), 0, 'others do not take it');
select public.hub_route_task(n.id, p_model => 'any', p_device => 'any') from n;
select results_eq($$ select t.model_preference, t.requested_agent, l.device from n join public.mac_tasks t using (id) join hub_internal.lanes l on l.id = t.lane $$,
  $$ values ('any', null::text, null::text) $$, 'and back to whoever can');
select pg_temp.claim(id) from n;
select throws_ok('select public.hub_route_task(id, p_model => ''any'') from n', 'UH003', 'conflict', 'what runs stays where it is');
select public.hub_fail_task(id, 1, 'no', false, '{"session_id": "s-n", "session_state": "ok"}') from n;
select is(t.status || ' ' || t.session_id || ' ' || coalesce(t.session_device, 'anywhere'), 'failed s-n anywhere', 'of another machine, a session does not hold it') from n, public.hub_route_task(n.id, p_device => 'tap-other') t;
select public.hub_retry_task(n.id) from n;
select is(l.device, 'tap-other', 'queued again it goes there') from n join public.mac_tasks t using (id) join hub_internal.lanes l on l.id = t.lane;
create temp table pinned as select (public.hub_send(tap.channel('quick'), 'pinned', null, null, pg_temp.message(id, 'complete')) #>> '{task,id}')::uuid as id from k;
update public.mac_tasks t set status = 'pending' from pinned where t.id = pinned.id and t.status = 'blocked';
select results_eq($$ select t.session_id, t.session_device, t.agent, t.requested_agent from pinned, public.hub_route_task(pinned.id, p_agent => 'claude') t $$, $$ select t.session_id, t.session_device, 'claude', 'claude' from pinned join public.mac_tasks t using (id) $$, 'the agent whose session it is keeps it when somebody asks for it by name');
select results_eq($$ select t.session_id, t.session_device, t.agent, t.requested_agent from pinned, public.hub_route_task(pinned.id, p_agent => 'codex') t $$, $$ values (null::text, null::text, 'codex', 'codex') $$, 'another agent has another session');
update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour' where name = 'tap-other';
select results_eq($$ select e.reason, e.detail ~ format('An operator chose it: `hub task route %s --device any`', left(n.id::text, 4)) from n, public.hub_explain_task(n.id) e $$, $$ values ('device tap-other is not online', true) $$, 'where it waits for that machine it is said who chose it');
select public.hub_complete_task(id, 2, 'ok') from n where exists (select from public.hub_claim_tasks('tap-other', 50) c where c.id = n.id);
select throws_ok('select public.hub_route_task(id, p_model => ''any'') from n', 'UH003', 'conflict', 'complete is final');

select * from finish();
rollback;
