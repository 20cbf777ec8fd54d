-- Numbers, keys, threads and their age, sending and its mistakes.
\ir setup.psql
select no_plan();

-- Numbers and keys
select tap.become('operator');
insert into public.hub_channel_messages (channel_id, content, idempotency_key) values (tap.channel('garden'), 'one', 'k1');
select throws_ok($$ insert into public.hub_channel_messages (channel_id, content, idempotency_key) values (tap.channel('garden'), 'one', 'k1') $$, '23505', null, 'an INSERT with a used idempotency key is refused');
select lives_ok($$ insert into public.hub_channel_messages (channel_id, content, idempotency_key) values (tap.channel('garden'), 'one', 'k1') on conflict do nothing $$, 'with ON CONFLICT an INSERT with a used idempotency key is skipped');
select throws_ok($$ insert into public.hub_channel_messages (channel_id, content, idempotency_key) values (tap.channel('garden'), 'other', 'k1') on conflict do nothing $$, 'UH003', 'conflict', 'other content with a used idempotency key is a conflict');
insert into public.hub_channel_messages (channel_id, content) values (tap.channel('garden'), 'two'), (tap.channel('garden'), 'three');
select results_eq($$ select seq, content from public.hub_messages_since(tap.channel('garden')) $$, $$ values (1::bigint, 'one'), (2, 'two'), (3, 'three') $$, 'messages that were not inserted took no number');
select results_eq($$ select seq from public.hub_messages_since(tap.channel('garden'), 1, null, 1) $$, $$ values (2::bigint) $$, 'hub_messages_since starts after the number and stops at the limit');
select is((select message_count from public.hub_channels where name = 'garden'), 3, 'message_count is the number of messages');
select throws_ok($$ select * from public.hub_messages_since(tap.channel('garden'), -1) $$, 'UH001', 'bad input');
select throws_ok($$ select * from public.hub_messages_since(tap.channel('garden'), 0, null, 1001) $$, 'UH001', 'bad input');
select throws_ok($$ select * from public.hub_messages_since(tap.channel('garden'), 0, gen_random_uuid()) $$, 'UH004', 'not found');
-- What was edited is numbered by itself, and no seq changes.
select tap.become('postgres');
update public.hub_channel_messages set content = 'two, edited' where channel_id = tap.channel('garden') and seq = 2;
update public.hub_channel_messages set content = 'one, edited' where channel_id = tap.channel('garden') and seq = 1;
update public.hub_channel_messages set content = 'one, edited', metadata = '{"a": "b"}' where channel_id = tap.channel('garden') and seq = 1;
select tap.become('operator');
select results_eq($$ select seq, edit_seq, content from public.hub_messages_since(tap.channel('garden')) $$, $$ values (1::bigint, 2::bigint, 'one, edited'), (2, 1, 'two, edited'), (3, null, 'three') $$, 'an edit has its number, which what changes no words takes none of');
select results_eq($$ select seq from public.hub_messages_since(tap.channel('garden'), 3) $$, $$ select 0::bigint where false $$, 'who does not ask for edits gets none');
select results_eq($$ select seq from public.hub_messages_since(tap.channel('garden'), 2, null, 10, 0) $$, $$ values (1::bigint), (2), (3) $$, 'who asks gets what it has and was edited, then what is new');
select results_eq($$ select seq from public.hub_messages_since(tap.channel('garden'), 2, null, 10, 1) $$, $$ values (1::bigint), (3) $$, 'after the last edit it has');
select results_eq($$ select seq from public.hub_messages_since(tap.channel('garden'), 3, null, 1, 0) $$, $$ values (2::bigint) $$, 'the earliest first, as many as it asks for');
select results_eq($$ select edit_count, message_count from public.hub_channels where name = 'garden' $$, $$ values (2::bigint, 3) $$, 'its channel has counted them');
select throws_ok($$ select * from public.hub_messages_since(tap.channel('garden'), 0, null, 10, -1) $$, 'UH001', 'bad input');
select tap.become('postgres');
select results_eq($$ select (m.payload ->> 'seq')::int, (m.payload ->> 'edit_seq')::int, m.payload ->> 'content' from realtime.messages m where m.topic = 'channel:' || tap.channel('garden') and m.payload ->> 'edit_seq' is not null order by 2 $$,
  $$ values (2, 1, 'two, edited'), (1, 2, 'one, edited') $$, 'and each edit is told');
select tap.become('operator');
select is((select public.hub_send(tap.channel('garden'), 'work', null, 'k2') -> 'task' ->> 'id'), (select public.hub_send(tap.channel('garden'), 'work', null, 'k2') -> 'task' ->> 'id'), 'sending twice with one key makes one task');
select throws_ok($$ select public.hub_send(tap.channel('garden'), 'other work', null, 'k2') $$, 'UH003', 'conflict');
select throws_ok($$ select public.hub_send(tap.channel('bridge'), 'work', null, 'k2') $$, 'UH003', 'conflict', 'a sender''s used key is a conflict in another channel too');
select tap.become('owner');
select lives_ok($$ select public.hub_send(tap.channel('garden'), 'other work', null, 'k2') $$, 'another sender may use the same key');
select tap.become('operator');
select throws_ok($$ select public.hub_send(tap.channel('garden'), '   ') $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_send(tap.channel('garden'), null) $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_send(tap.channel('garden'), repeat('x', 100001)) $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_send(null, 'x') $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_send(tap.channel('garden'), 'x', gen_random_uuid()) $$, 'UH004', 'not found');
select throws_ok($$ select public.hub_send(tap.channel('heartbeat'), 'x') $$, '42501', 'permission denied', 'nobody posts in a feed');
select is((select public.hub_send(tap.channel('leads'), '!help') - 'reply'), '{"message": null, "task": null, "thread": null}'::jsonb, 'a command makes no message, task or thread');
select is((select message_count from public.hub_channels where name = 'leads'), 0);
select matches((select public.hub_execute_command(tap.channel('leads'), 'no such "thing') ->> 'text'), '^Unknown command: !no', 'an unknown command is answered');
select throws_ok($$ select public.hub_execute_command(tap.channel('garden'), '!help') $$, 'UH003', 'conflict');

-- Commands under a key
select tap.become('operator');
create temp table cmd as select public.hub_send(tap.channel('leads'), '!send-samples 1', null, 'c1') as first;
select matches((select first #>> '{reply,text}' from cmd), '^Samples sent to 1:', 'hub_send carries out a command that writes');
select is(public.hub_send(tap.channel('leads'), '!send-samples 1', null, 'c1'), (select first from cmd), 'the same command with the same key gets the first answer');
select is((select count(*)::int from public.koji_samples where sent_at >= now()), 1, 'a command with a repeated key is carried out once');
select throws_ok($$ select public.hub_send(tap.channel('leads'), '!send-samples 2', null, 'c1') $$, 'UH003', 'conflict', 'another command with a used key is a conflict');
select throws_ok($$ select public.hub_send(tap.channel('accounts'), '!send-samples 1', null, 'c1') $$, 'UH003', 'conflict', 'a command with a used key in another channel is a conflict');
select throws_ok($$ select public.hub_send(tap.channel('garden'), '!send-samples 1', null, 'c1') $$, 'UH003', 'conflict', 'a message with a command''s key is a conflict');
select throws_ok($$ select public.hub_send(tap.channel('leads'), 'work', null, 'k2') $$, 'UH003', 'conflict', 'a command with a message''s key is a conflict');
select throws_ok($$ select public.hub_send(tap.channel('leads'), '!help', null, '') $$, 'UH001', 'bad input');
select is((select count(*)::int from public.koji_samples where sent_at >= now()), 1);
select tap.become('owner');
select isnt(public.hub_send(tap.channel('leads'), '!send-samples 1', null, 'c1'), (select first from cmd), 'another sender''s command with the same key is carried out');
select tap.become('postgres');
update public.hub_members set role = 'viewer' where user_id = tap.id('operator') and server_id = tap.server('koji-pipeline');
select is(tap.outcome('operator', $$ select public.hub_send(tap.channel('leads'), '!send-samples 1', null, 'c1') $$), '42501', 'rights are checked again when a command is repeated');
select is(tap.outcome('operator', $$ select public.hub_send(tap.channel('leads'), '!send-samples 1', null, 'c2') $$), '42501');
update public.hub_members set role = 'operator' where user_id = tap.id('operator') and server_id = tap.server('koji-pipeline');
select results_eq($$ select idempotency_key from hub_internal.command_answers order by 1 $$, $$ values ('c1'), ('c1') $$, 'a refused command and one without a key store no answer');
select public.hub_recover(now() + interval '23 hours', 100000);
select is((select count(*)::int from hub_internal.command_answers), 2, 'answers to commands are kept for 23 hours');
select public.hub_recover(now() + interval '25 hours', 100000);
select is((select count(*)::int from hub_internal.command_answers), 0, 'answers to commands are deleted after 25 hours');
select is(hub_internal.chunks(E'a\nb\n' || repeat('c', 12), 5), array[E'a\nb', 'ccccc', 'ccccc', 'cc'], 'chunks are cut between lines, and inside a line that is too long');
select is(hub_internal.command_words('!lead "two words" ''and three'' x "open'), array['!lead', 'two words', 'and three', 'x', 'open'], 'words in quotes are one argument');
select is((select sum(cardinality(hub_internal.chunks(repeat(E'line\n', 1000))))::int), 3, '5000 characters are three chunks');

-- A thread's age. Each step at its time, and not before.
create temp table th as select (public.hub_send(tap.channel('dispatch'), 'age')) as sent;
create temp table ids as select (sent -> 'thread' ->> 'id')::uuid as thread, (sent -> 'task' ->> 'id')::uuid as task from th;
grant select on ids to public;
create function pg_temp.state() returns text language sql as $$ select t.status from public.hub_task_threads t, ids where t.id = ids.thread $$;
select from public.hub_decay_threads(now() + interval '1 year');
select is(pg_temp.state(), 'active', 'a thread with an open task does not age');
select from public.hub_claim_tasks('tap-all', 50);
select from ids, public.hub_complete_task(ids.task, 1, 'done');
create temp table start as select last_activity_at as at from public.hub_task_threads, ids where id = thread;
create function pg_temp.after(p interval) returns text language sql volatile as $$ select public.hub_decay_threads((select at from start) + p); select pg_temp.state() $$;
select is(pg_temp.after('1 hour 59 minutes'), 'active');
select is(pg_temp.after('2 hours 1 minute'), 'idle', 'a thread is idle after two hours');
select is(pg_temp.after('2 hours 2 minutes'), 'idle');
select is(pg_temp.after('3 hours'), 'idle', 'the hour until decaying counts from when the thread became idle');
select is(pg_temp.after('3 hours 1 minute'), 'decaying');
select is(pg_temp.after('3 hours 1 minute'), 'decaying', 'a second run in the same cycle changes nothing');
select is(pg_temp.after('3 hours 2 minutes'), 'archived', 'the next cycle archives the thread');
select results_eq($$ select content_type, embed_data ->> 'title', (embed_data ->> 'color')::int from public.hub_channel_messages m, ids where m.task_thread_id = ids.thread and m.content_type in ('warning', 'summary') order by m.seq $$,
  $$ values ('warning', 'Thread Idle', 15844367), ('summary', 'Thread Archived', 9807270) $$, 'the thread gets a warning and a summary, once each');
select is((select archived_at = (select at from start) + interval '3 hours 2 minutes' from public.hub_task_threads, ids where id = thread), true, 'archived_at is the time of archiving');
select is((select public.hub_decay_threads((select at from start) + interval '1 year')), 0, 'an archived thread does not change again');
select lives_ok($$ select public.hub_send(tap.channel('dispatch'), 'still there?', thread) from ids $$);
select is(pg_temp.state(), 'active', 'a reply makes an archived thread active');
select is((select archived_at from public.hub_task_threads, ids where id = thread), null);
select is((select message_count::bigint from public.hub_task_threads, ids where id = thread), (select max(seq) from public.hub_channel_messages, ids where task_thread_id = thread), 'a thread''s messages are numbered without gaps');

-- Activity while idle
create temp table th2 as select (public.hub_send(tap.channel('dispatch'), 'age again')) as sent;
truncate ids; insert into ids select (sent -> 'thread' ->> 'id')::uuid, (sent -> 'task' ->> 'id')::uuid from th2;
select from public.hub_claim_tasks('tap-all', 50);
select from ids, public.hub_complete_task(ids.task, 1, 'done');
select from public.hub_decay_threads(now() + interval '3 hours');
select is(pg_temp.state(), 'idle');
select tap.become('viewer');
insert into public.hub_channel_messages (channel_id, task_thread_id, content) select tap.channel('dispatch'), thread, 'looking' from ids;
select tap.become('postgres');
select is(pg_temp.state(), 'active', 'any message makes an idle thread active');

-- Times of a channel's own
update public.hub_channels set thread_idle_after = '10 minutes', thread_decay_after = '5 minutes' where name = 'dispatch';
select from public.hub_decay_threads(now() + interval '11 minutes');
select is(pg_temp.state(), 'idle', 'a channel''s own idle time also applies to its existing threads');
select from public.hub_decay_threads(now() + interval '17 minutes');
select is(pg_temp.state(), 'decaying');
create temp table th3 as select (public.hub_send(tap.channel('pulse-control'), 'retime') #>> '{thread,id}')::uuid as thread;
update hub_internal.settings set value = '3 days' where name = 'thread_idle_after';
select is((select t.decay_at - t.last_activity_at from public.hub_task_threads t, th3 where t.id = th3.thread), interval '3 days', 'the deployment''s idle time also applies to existing threads');
update hub_internal.settings set value = '2 hours' where name = 'thread_idle_after';
select from public.hub_update_thread_status((select thread from ids), 'active');
select is(pg_temp.state(), 'active', 'hub_update_thread_status makes a thread active');
select throws_ok($$ select public.hub_update_thread_status((select thread from ids), 'asleep') $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_update_thread_status(gen_random_uuid(), 'idle') $$, 'UH004', 'not found');

-- Threads by hand: Aura's three calls
select tap.become('operator');
insert into public.hub_channel_messages (channel_id, content) values (tap.channel('pulse-control'), 'Fix auth');
insert into public.mac_tasks (content, channel_id) values ('Fix auth', tap.channel('pulse-control'));
create temp table byhand as select t.id as task, (public.hub_create_task_thread(tap.channel('pulse-control'), t.id)).* from public.mac_tasks t where t.content = 'Fix auth';
select is((select name from byhand), (select left(task::text, 8) || ' — Fix auth' from byhand));
select is((select (public.hub_create_task_thread(tap.channel('pulse-control'), task)).id from byhand), (select id from byhand), 'creating a task''s thread again returns the same thread');
select results_eq($$ select content_type, reply_to is not null from public.hub_channel_messages m, byhand b where m.task_thread_id = b.id order by m.seq $$,
  $$ values ('text', true), ('task', false) $$, 'a thread opens with a copy of the message');
select throws_ok($$ select public.hub_create_task_thread(tap.channel('infrastructure'), task) from byhand $$, 'UH004', 'not found', 'a task''s thread can not be created in another channel');
select throws_ok($$ select public.hub_create_task_thread(tap.channel('quick'), task) from byhand $$, 'UH003', 'conflict', 'no thread can be created on a flat server');
insert into public.mac_tasks (content, server_id) values ('From the Dispatch tab', tap.server('cloud-hub'));
select tap.become('postgres');
create table tap.loose as select id from public.mac_tasks where content = 'From the Dispatch tab';
grant select on tap.loose to public;
select from public.hub_claim_tasks('tap-all', 50);
select from tap.loose l, public.hub_report_progress(l.id, 1, 'halfway');
select is(tap.outcome('owner', $$ select public.hub_create_task_thread(tap.channel('dispatch'), (select id from tap.loose)) $$), 'UH004', 'only its maker may create a thread for a task without a channel');
select tap.become('operator');
select lives_ok($$ select public.hub_create_task_thread(tap.channel('dispatch'), (select id from tap.loose)) $$);
select results_eq($$ select m.content_type from public.hub_channel_messages m join public.mac_tasks t on t.thread_id = m.task_thread_id where t.id = (select id from tap.loose) order by m.seq $$,
  $$ values ('text'), ('task'), ('progress'), ('progress') $$, 'a new thread shows what already happened to its task');
select tap.become('postgres');

-- Projects
insert into public.hub_projects (server_id, name, path) values (tap.server('buf-barista'), 'kernel', 'Desktop/Comp-Core/kernel');
select is(tap.outcome('operator', $$ insert into public.mac_tasks (content, channel_id, project) values ('x', tap.channel('quick'), 'kernel') $$), 'ok');
insert into public.mac_tasks (content, channel_id, project) values ('named', tap.channel('quick'), 'kernel');
select is((select project from public.mac_tasks where content = 'named'), 'Desktop/Comp-Core/kernel', 'a task may give a project''s name instead of its path');
select is(tap.outcome('operator', $$ insert into public.mac_tasks (content, channel_id, project) values ('x', tap.channel('quick'), 'Desktop/Comp-Core/core/semantic') $$), '42501', 'a task may not use another channel''s project');
select throws_ok($$ insert into public.hub_projects (server_id, name, path) values (tap.server('buf-barista'), 'evil', '../x') $$, '23514');
select throws_ok($$ update public.hub_channels set project_path = '/etc' where name = 'quick' $$, '23514');
select throws_ok(format($$ update public.hub_channels set %s where name = 'quick' $$, x), '23514', 'bad input', 'a channel refuses ' || x)
  from unnest(array[$$name = 'Quick'$$, $$name = ''$$, $$model_preference = 'gpt'$$, $$feed = 'news'$$, $$thread_idle_after = '0'$$, $$thread_decay_after = '-1 s'$$,
                    $$metadata = '[]'$$, $$metadata = '{"a": 1}'$$]) x;
select throws_ok($$ insert into public.hub_channels (server_id, name, display_name) values (tap.server('buf-barista'), 'No', '#no') $$, '23514', 'bad input', 'a new one, too');
select lives_ok($$ update public.hub_channels set model_preference = 'any', feed = null, thread_idle_after = '1 s', metadata = '{"a": "1"}' where name = 'quick' $$, 'and takes what is well formed');

-- A reply is to a message of its own conversation.
create temp table answered as
select (s -> 'message' ->> 'id')::uuid as flat, (s -> 'thread' ->> 'id')::uuid as thread, null::uuid as threaded, null::uuid as elsewhere
  from public.hub_send(tap.channel('dispatch'), 'Answer me') s;
update answered set threaded = (select m.id from public.hub_channel_messages m where m.task_thread_id = answered.thread and m.seq = 1),
                    elsewhere = (select m.id from public.hub_channel_messages m where m.channel_id <> tap.channel('dispatch') limit 1);
grant select on answered to public;
select is(tap.outcome('operator', format($$ insert into public.hub_channel_messages (channel_id, task_thread_id, content, reply_to) select tap.channel('dispatch'), %s, 'yes', %s from answered $$, i, r)), e,
          format('a reply in %s to %s', i, r))
  from (values ('null', 'flat', 'ok'), ('thread', 'threaded', 'ok'), ('thread', 'flat', 'ok'), ('null', 'threaded', 'UH004'),
               ('null', 'elsewhere', 'UH004'), ('null', 'gen_random_uuid()', 'UH004')) v (i, r, e);

select * from finish();
rollback;
