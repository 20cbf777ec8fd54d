-- What is broadcast, to which topic, with what in it; that it costs a writer nothing but time; and who may listen (DESIGN section 8).
\ir setup.psql
select no_plan();

-- What a topic was told, in order. Everything here is one transaction: what counts by transaction is set back where it would be in the way.
create function pg_temp.heard(p_topic text) returns table (n bigint, event text, payload jsonb) language sql as $$
  select row_number() over (order by m.inserted_at, m.ctid), m.event, m.payload from realtime.messages m
   where m.topic = p_topic and m.private and m.extension = 'broadcast'
$$;
-- What a commit sets off.
create function pg_temp.ended() returns void language plpgsql as $$
begin
  set constraints public.hub_task_threads_broadcast immediate;
  set constraints public.hub_task_threads_broadcast deferred;
end;
$$;
create function pg_temp.hush() returns void language plpgsql as $$
begin
  perform pg_temp.ended();
  delete from realtime.messages;
  perform set_config('hub.' || s, '', true) from unnest(array['burst_messages', 'burst_threads', 'told_threads', 'woken_lanes', 'woken_devices']) s;
end;
$$;

-- The publication
select is((select string_agg(tablename, ' ' order by tablename) from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public'),
  'hub_channel_messages hub_channels hub_servers hub_task_threads mac_tasks', 'the publication has the five tables of the design');
select is_empty($$ select c.relname from pg_publication_rel r join pg_class c on c.oid = r.prrelid join pg_publication p on p.oid = r.prpubid
                    where p.pubname = 'supabase_realtime'
                      and (c.relreplident <> 'd' or not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)) $$,
  'each published table has a primary key as its replica identity');

-- A flat message
select pg_temp.hush();
create temp table flat as select public.hub_send(tap.channel('cc-motion'), 'Draw the curve') as sent;
select results_eq($$ select event, payload from flat, pg_temp.heard('channel:' || tap.channel('cc-motion')) order by n $$,
  $$ select 'message', to_jsonb(m) from public.hub_channel_messages m where m.channel_id = tap.channel('cc-motion') order by m.seq $$,
  'a flat message and its queued line are broadcast on the channel as rows');
select is((select array_agg((payload ->> 'seq')::int order by n) from pg_temp.heard('channel:' || tap.channel('cc-motion'))), array[1, 2], 'broadcasts of messages have the number as seq');
select is_empty($$ select from realtime.messages where not private or extension <> 'broadcast' or jsonb_typeof(payload) <> 'object' or not payload ?& array['id', 'seq'] $$,
  'every broadcast is private and an object with id and seq');

-- A thread
select pg_temp.hush();
create temp table th as select (sent -> 'thread' ->> 'id')::uuid as thread, (sent -> 'task' ->> 'id')::uuid as task
  from public.hub_send(tap.channel('dispatch'), 'Fix the login') sent;
grant select on th, flat to public;
select results_eq($$ select event, payload ->> 'content_type', payload ->> 'seq', payload -> 'task_thread_id' from th, pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'message' order by n $$,
  $$ values ('message', 'text', '1', 'null'::jsonb), ('message', 'task', '2', 'null') $$, 'the channel''s topic gets only its flat messages');
select results_eq($$ select event, payload ->> 'content', (payload ->> 'seq')::int from th, pg_temp.heard('thread:' || thread) order by n $$,
  $$ select 'message', m.content, m.seq::int from th join public.hub_channel_messages m on m.task_thread_id = th.thread order by m.seq $$,
  'the thread''s topic gets the thread''s messages');
select is_empty($$ select from realtime.messages where event = 'thread' $$, 'a thread''s row is broadcast at the end of the transaction, not before');
select pg_temp.ended();
select is((select payload from th, pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread'),
  (select to_jsonb(t) || jsonb_build_object('seq', t.message_count) from public.hub_task_threads t join th on th.thread = t.id),
  'the channel''s topic gets the thread''s row once, as it is at the end; its seq is its message count');
select is((select count(*)::int from th, pg_temp.heard('thread:' || thread) where event = 'thread'), 0, 'the thread''s own topic does not get the row for a new message');
select pg_temp.hush();
insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, sender_id, content)
select tap.channel('dispatch'), thread, 'system', 'import', 'one of two ' || n from th, generate_series(1, 2) n;
select pg_temp.ended();
select results_eq($$ select (payload ->> 'seq')::int, (payload ->> 'message_count')::int from pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread' $$,
  $$ values (4, 4) $$, 'two messages of one transaction are one growth');
select pg_temp.hush();
set constraints public.hub_task_threads_broadcast immediate;
insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, sender_id, content)
select tap.channel('dispatch'), thread, 'system', 'import', 'one by one' from th;
insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, sender_id, content)
select tap.channel('dispatch'), thread, 'system', 'import', 'one by one' from th;
select is((select array_agg((payload ->> 'seq')::int order by n) from pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread'), array[5, 6],
  'whoever makes constraints immediate hears each');
set constraints public.hub_task_threads_broadcast deferred;
insert into public.hub_task_threads (channel_id, name) values (tap.channel('dispatch'), 'gone again');
delete from public.hub_task_threads where name = 'gone again';
select pg_temp.hush();
select is_empty('select from realtime.messages', 'what is gone by then is told to nobody');
savepoint undone;
select from th, public.hub_update_thread_status(thread, 'decaying');
rollback to undone;
select pg_temp.ended();
select is_empty('select from realtime.messages', 'nor what was taken back');
select from th, public.hub_update_thread_status(thread, 'idle');
select pg_temp.ended();
select is((select count(*)::int from pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread'), 1, 'a thread that becomes idle, with its warning, is broadcast once');
select is((select payload ->> 'status' || ' ' || (payload ->> 'seq') from th, pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread'), 'idle 7', 'a changed status of a thread is broadcast on the channel');
select is((select payload ->> 'status' from th, pg_temp.heard('thread:' || thread) where event = 'thread'), 'idle', 'a changed status of a thread is broadcast on the thread');
select pg_temp.hush();
insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, sender_id, content)
select tap.channel('dispatch'), thread, 'system', 'import', 'before the changes' from th;
update public.hub_task_threads t set name = 'One' from th where t.id = th.thread;
update public.hub_task_threads t set metadata = '{"a": "b"}' from th where t.id = th.thread;
update public.hub_task_threads t set name = 'Two' from th where t.id = th.thread;
select pg_temp.ended();
select results_eq($$ select t.topic, (select array_agg(h.payload ->> 'name') from pg_temp.heard(t.topic) h where h.event = 'thread')
                       from th, unnest(array['channel:' || tap.channel('dispatch'), 'thread:' || thread]) t (topic) $$,
  $$ select t.topic, array['Two'] from th, unnest(array['channel:' || tap.channel('dispatch'), 'thread:' || thread]) t (topic) $$,
  'several changes of a thread in one transaction are broadcast once on each topic');
update public.hub_task_threads t set name = 'Three' from th where t.id = th.thread;
select pg_temp.ended();
select is((select array_agg(payload ->> 'name' order by n) from th, pg_temp.heard('thread:' || thread) where event = 'thread'), array['Two', 'Three'], 'a change after that is told anew');
select pg_temp.hush();
update public.hub_task_threads t set decay_at = now() + interval '1 year' from th where t.id = th.thread;
select pg_temp.ended();
select is_empty('select from realtime.messages', 'a change of decay_at alone is not broadcast');

-- A task
select pg_temp.hush();
select from th, public.hub_claim_tasks('tap-all', 50);
select from th, public.hub_report_progress(task, 1, 'Reading auth.rs');
select from th, public.hub_report_progress(task, 1, 'Patching');
select from th, public.hub_report_progress(task, 1, 'Patching');
select results_eq($$ select event, payload ->> 'status', payload ->> 'partial_output', (payload ->> 'seq')::int from th, pg_temp.heard('task:' || task) order by n $$,
  $$ values ('task', 'running', null, 1), ('task', 'running', 'Reading auth.rs', 2), ('task', 'running', 'Patching', 3) $$,
  'a task''s status and progress are broadcast with seq, and an unchanged note is not');
select is((select payload from th, pg_temp.heard('task:' || task) order by n desc limit 1), (select to_jsonb(t) from public.mac_tasks t join th on th.task = t.id), 'a task is broadcast as its row');
select ok((select bool_and(payload ->> 'content' ~ '^(▶️|📋) ' and payload ->> 'content_type' = 'progress') and count(*) = 3 from th, pg_temp.heard('thread:' || thread) where event = 'message'),
  'that it started and each progress note are broadcast as messages of the thread');
select pg_temp.hush();
select from th, public.hub_heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', task, 'attempt', 1)));
select is_empty('select from realtime.messages', 'a heartbeat is not broadcast');
select from th, public.hub_complete_task(task, 1, 'Done.');
select results_eq($$ select payload ->> 'status', payload ->> 'result', (payload ->> 'seq')::int from th, pg_temp.heard('task:' || task) $$, $$ values ('complete', 'Done.', 4) $$, 'the end of a task is broadcast once');
create temp table retried as select tap.running('research') as id;
select from retried, public.hub_fail_task(id, 1, 'No disk', false);
select from retried, public.hub_retry_task(id);
select ok((select array_agg(payload ->> 'status' order by n) = array['running', 'failed', 'pending'] and array_agg((payload ->> 'seq')::int order by n) = array[1, 2, 3]
             from retried, pg_temp.heard('task:' || id)), 'a task''s seq goes on when it is tried again');
create temp table loose as select null::uuid as id;
insert into public.mac_tasks (content) values ('of no channel');
update loose set id = (select id from public.mac_tasks where content = 'of no channel');
select pg_temp.hush();
select from public.hub_claim_tasks('tap-all', 50);
select from loose, public.hub_report_progress(id, 1, 'Going');
select is((select array_agg(coalesce(payload ->> 'partial_output', '') order by n) from loose, pg_temp.heard('task:' || id)), array['', 'Going'], 'a task without a channel is broadcast on its topic');

-- Devices
update public.mesh_devices set last_heartbeat_at = now() where name in ('tap-all', 'tap-own');
update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour' where name = 'tap-other';
update public.mesh_devices set platform = 'linux', capacity = 5, agents = '[{"agent":"claude","models":["any"]}]' where name = 'tap-own';
select pg_temp.hush();
create temp table work as select tap.task('quick', 'Please work') as id;
select results_eq($$ select event, payload ?& array['id', 'seq'], abs((payload ->> 'seq')::numeric - extract(epoch from clock_timestamp()) * 1000) < 60000 from pg_temp.heard('device:tap-own') $$,
  $$ values ('wake', true, true) $$, 'a device that could take the task is woken; seq is the time');
select is((select count(*)::int from pg_temp.heard('device:tap-all')), 1, 'every device that could take the task is woken');
select is_empty($$ select from pg_temp.heard('device:tap-other') $$, 'an offline device is not woken');
select tap.task('quick', 'More'), tap.task('garden', 'And more');
select is((select count(*)::int from pg_temp.heard('device:tap-own')), 1, 'a device is woken once a transaction');
select pg_temp.hush();
select from tap.task('dispatch', 'Elsewhere');
select is_empty($$ select from pg_temp.heard('device:tap-own') $$, 'a device is not woken for a server that it does not serve');
select from public.hub_drain_device('tap-own');
select pg_temp.hush();
select from tap.task('quick', 'Later');
select is_empty($$ select from pg_temp.heard('device:tap-own') $$, 'a drained device is not woken');
select from public.hub_drain_device('tap-own', false);
select is((select event from pg_temp.heard('device:tap-own')), 'wake', 'a device is woken when it may work again');
select pg_temp.hush();
select from public.hub_enroll_device('tap-own', tap.server('cloud-hub'));
select is((select event from pg_temp.heard('device:tap-own')), 'wake', 'a device is woken when it serves another server');
select from public.hub_enroll_device('tap-own', tap.server('cloud-hub'), false);
select pg_temp.hush();
insert into public.mac_tasks (content, channel_id, run_after) values ('not yet', tap.channel('quick'), now() + interval '1 hour');
select is_empty($$ select from realtime.messages where topic like 'device:%' $$, 'no device is woken for a task that is not due yet');

create temp table stop as select tap.running('bridge') as id;
select pg_temp.hush();
select from stop, public.hub_cancel_task(id);
select from stop, public.hub_cancel_task(id);
select results_eq($$ select event, payload from pg_temp.heard('device:tap-all') $$,
  $$ select 'cancel', jsonb_build_object('id', t.id, 'seq', t.seq, 'attempt', 1) from public.mac_tasks t join stop using (id) $$, 'the device that runs a cancelled task is told to stop, once');
select isnt((select payload -> 'cancel_requested_at' from stop, pg_temp.heard('task:' || id)), 'null'::jsonb, 'a cancel request is broadcast on the task''s topic');
select from stop, public.hub_fail_task(id, 1, 'stopped');
select is((select count(*)::int from pg_temp.heard('device:tap-all') where event = 'cancel'), 1, 'the device is not told to stop again when the task has ended');
create temp table older as select tap.task('bridge') as id;
update public.mac_tasks t set status = 'running', claimed_by = 'old-mac' from older where t.id = older.id;
select from older, public.hub_cancel_task(id);
select is((select payload ->> 'id' from pg_temp.heard('device:old-mac') where event = 'cancel'), (select id::text from older), 'an executor without a lease is told to stop too');

create temp table steered as select t as task from public.mac_tasks t where t.id = tap.running('garden');
select pg_temp.hush();
select from steered, hub_internal.broadcast_steer(task, 'Use tabs');
select from steered, hub_internal.broadcast_steer(task, repeat('x', 9000));
select results_eq($$ select event, payload from pg_temp.heard('device:tap-all') order by n $$,
  $$ select 'steer', jsonb_build_object('id', (task).id, 'seq', (task).seq, 'attempt', (task).attempt) || x from steered, (values ('{"text":"Use tabs"}'::jsonb), ('{"truncated":true}')) v (x) $$,
  'a device gets the steering text, or a reference to a long one');

-- Only what commits
select pg_temp.hush();
select is(tap.outcome('operator', $$select public.hub_send(tap.channel('quick'), 'Undone')$$), 'ok', 'hub_send succeeds in a subtransaction that is rolled back');
select is_empty('select from realtime.messages', 'what is rolled back is not broadcast');
savepoint undone;
select from tap.task('quick', 'Undone, too');
rollback to undone;
select ok(not exists (select from realtime.messages) and coalesce(current_setting('hub.woken_lanes', true), '') = '' and coalesce(current_setting('hub.burst_messages', true), '') = '',
  'what is rolled back is not counted');

-- A thousand rows in one statement
select pg_temp.hush();
insert into public.hub_channel_messages (channel_id, sender_type, sender_id, content)
select tap.channel('cc-agents'), 'system', 'import', 'line ' || n from generate_series(1, 1000) n;
select is((select array_agg(n::text || coalesce(' ' || (payload ->> 'refetch'), '') order by n desc) from (select * from pg_temp.heard('channel:' || tap.channel('cc-agents')) order by n desc limit 2) x),
  array['51 true', '50'], 'a thousand messages in one statement are fifty broadcasts and a refetch');
select is((select payload from pg_temp.heard('channel:' || tap.channel('cc-agents')) where n = 51),
  jsonb_build_object('id', tap.channel('cc-agents'), 'seq', 51, 'channel_id', tap.channel('cc-agents'), 'task_thread_id', null, 'refetch', true, 'from_seq', 51),
  'the refetch says from which number to fetch');
select is((select array_agg(seq order by seq) from public.hub_messages_since(tap.channel('cc-agents'), 50, null, 1000)), (select array_agg(n) from generate_series(51::bigint, 1000) n),
  'hub_messages_since returns the rest of the thousand messages');
select pg_temp.hush();
insert into public.hub_channel_messages (channel_id, sender_type, sender_id, content)
select tap.channel(case n % 3 when 0 then 'cc-agents' when 1 then 'cc-media' else 'workshop' end), 'system', 'import', 'line ' || n from generate_series(1, 900) n;
select results_eq($$ select count(*)::int, count(*) filter (where payload ? 'refetch')::int from realtime.messages group by topic $$,
  $$ values (51, 1), (51, 1), (51, 1) $$, 'each of several conversations in one statement gets fifty broadcasts and a refetch');
select pg_temp.hush();
insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, sender_id, content)
select tap.channel('dispatch'), thread, 'system', 'import', 'line ' || n from th, generate_series(1, 1000) n;
select is((select count(*)::int || ' ' || count(*) filter (where payload ? 'refetch') from th, pg_temp.heard('thread:' || thread) where event = 'message'), '51 1', 'a thousand messages in a thread are fifty broadcasts and a refetch');
select pg_temp.ended();
select is((select count(*)::int || ' ' || count(*) filter (where payload ? 'refetch') from pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread'), '1 0',
  'a thread that grew by a thousand messages is one broadcast in its channel');
select pg_temp.hush();
insert into public.hub_task_threads (channel_id, name) select tap.channel('dispatch'), 'one of many ' || n from generate_series(1, 200) n;
select pg_temp.ended();
select is((select count(*)::int || ' ' || count(*) filter (where payload ? 'refetch') from pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread'), '51 1',
  'two hundred new threads of a channel are fifty broadcasts and a refetch');
select pg_temp.hush();
insert into public.hub_task_threads (channel_id, name) select tap.channel(case when n = 61 then 'infrastructure' else 'dispatch' end), 'one of two ' || n from generate_series(1, 121) n;
select pg_temp.ended();
select is((select count(*)::int || ' ' || count(*) filter (where payload ? 'refetch') from pg_temp.heard('channel:' || tap.channel('dispatch')) where event = 'thread'), '51 1',
  'a thread of another channel in between does not begin the count anew');
select pg_temp.hush();
insert into public.mac_tasks (content, channel_id) select 'bulk ' || n, tap.channel('quick') from generate_series(1, 1000) n;
select is((select count(*)::int from pg_temp.heard('device:tap-own')), 1, 'a thousand tasks wake a device once');
select cmp_ok((select count(*)::int from pg_temp.heard('channel:' || tap.channel('quick'))), '<=', 51, 'a thousand tasks are at most 51 broadcasts in their channel');
delete from public.mac_tasks where content like 'bulk %';

-- Long ones
select pg_temp.hush();
select from tap.task('cc-runtime', repeat('long ', 4000));
select is((select payload - 'id' from pg_temp.heard('channel:' || tap.channel('cc-runtime')) where n = 1),
  jsonb_build_object('seq', 1, 'channel_id', tap.channel('cc-runtime'), 'task_thread_id', null, 'truncated', true), 'a message above 8 kB is broadcast as a reference');
create temp table long as select tap.running('cc-runtime', repeat('prompt ', 2000)) as id;
select from long, public.hub_report_progress(id, 1, 'short');
select results_eq($$ select payload - 'id' - 'channel_id' from long, pg_temp.heard('task:' || id) order by n $$,
  $$ values ('{"seq": 1, "status": "running", "attempt": 1, "thread_id": null, "truncated": true}'::jsonb), ('{"seq": 2, "status": "running", "attempt": 1, "thread_id": null, "truncated": true}') $$,
  'a task above 8 kB is broadcast as a reference, also when it is stored compressed');
select is_empty($$ select from realtime.messages where octet_length(payload::text) > 9000 $$, 'no broadcast is longer than 9,000 bytes');

-- Realtime out of order does not concern the writer
set local client_min_messages = error;
do $$
declare
  v_part regclass;
begin
  for v_part in select inhrelid::regclass from pg_inherits where inhparent = 'realtime.messages'::regclass loop
    execute format('alter table realtime.messages detach partition %s', v_part);
  end loop;
end;
$$;
select pg_temp.hush();
create temp table deaf as select tap.running('garden', 'Nobody hears it') as id;
select lives_ok($$ select public.hub_report_progress(id, 1, 'still working') from deaf $$, 'without a partition progress is still reported');
select lives_ok($$ select public.hub_cancel_task(id) from deaf $$, 'without a partition a task is still cancelled');
select is((select status || ' ' || partial_output || ' ' || seq from public.mac_tasks join deaf using (id)), 'running still working 3', 'without a partition the task row is written');
select is((select count(*)::int from realtime.messages), 0, 'without a partition nothing is broadcast');
set local client_min_messages = warning;

-- The keeper of a local stack
select is((select count(*)::int from pg_inherits where inhparent = 'realtime.messages'::regclass), 0, 'realtime.messages has no partitions');
select lives_ok('select public.hub_recover()', 'hub_recover makes the partitions');
select results_eq($$ select inhrelid::regclass::text from pg_inherits where inhparent = 'realtime.messages'::regclass order by 1 $$,
  $$ select 'realtime.messages_' || to_char((now() at time zone 'utc')::date + i, 'YYYY_MM_DD') from generate_series(-1, 3) i order by 1 $$, 'there are partitions from yesterday to three days ahead');
select is((select public.hub_recover(now() + interval '1 year') * 0 + count(*)::int from pg_inherits where inhparent = 'realtime.messages'::regclass), 5, 'partitions are made by the clock, not by p_now');
select is(realtime.hub_keep_partitions(now() + interval '5 days'), 8, 'hub_keep_partitions for a later time adds and removes partitions');
select results_eq($$ select inhrelid::regclass::text from pg_inherits where inhparent = 'realtime.messages'::regclass order by 1 $$,
  $$ select 'realtime.messages_' || to_char((now() at time zone 'utc')::date + i, 'YYYY_MM_DD') from generate_series(2, 8) i order by 1 $$, 'there are partitions for that time, and those older than three days are gone');
select is_empty($$ select c.oid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
                    where i.inhparent = 'realtime.messages'::regclass and (not c.relrowsecurity or c.relowner <> 'supabase_realtime_admin'::regrole) $$, 'each partition has row level security and belongs to supabase_realtime_admin');
select is(public.hub_recover(), 0, 'hub_recover does not count partitions as work');
select is(tap.outcome('service', 'select realtime.hub_keep_partitions()'), '42501', 'the service role may not call hub_keep_partitions');
select is(tap.outcome('operator', 'select realtime.hub_keep_partitions()'), '42501', 'a person may not call hub_keep_partitions');
select realtime.hub_keep_partitions();

-- Who may listen ------------------------------------------------------------------------------------------------------------------
-- As the Realtime server asks: a row of its own, then role, claims and realtime.topic, then whether the row is seen.
create function tap.hears(p_actor text, p_topic text, p_extension text default 'broadcast') returns boolean language plpgsql as $$
declare
  v_id   uuid := gen_random_uuid();
  v_seen boolean;
begin
  insert into realtime.messages (id, topic, extension, private) values (v_id, coalesce(p_topic, ''), p_extension, true);
  perform tap.become(p_actor);
  perform set_config('realtime.topic', coalesce(p_topic, ''), true);
  execute 'select exists (select from realtime.messages where id = $1)' into v_seen using v_id;
  perform tap.become('postgres');
  delete from realtime.messages where id = v_id;
  return v_seen;
end;
$$;
-- And whether it may be written as that actor: 'ok' or the SQLSTATE. p_row: the topic of the row, where it differs.
create function tap.says(p_actor text, p_topic text, p_extension text default 'broadcast', p_row text default null) returns text language plpgsql as $$
declare
  v_result text;
begin
  perform tap.become(p_actor);
  perform set_config('realtime.topic', coalesce(p_topic, ''), true);
  begin
    insert into realtime.messages (topic, extension, private) values (coalesce(p_row, p_topic), p_extension, true);
    raise exception using errcode = 'TAPOK';
  exception when others then
    v_result := case sqlstate when 'TAPOK' then 'ok' else sqlstate end;
  end;
  perform tap.become('postgres');
  return v_result;
end;
$$;

create temp table stage as select tap.channel('quick') as quick, tap.channel('evals') as evals, tap.running('quick', 'held') as held, tap.running('quick', 'held, too', 'tap-own') as own,
  (select (public.hub_send(tap.channel('evals'), 'secret') -> 'thread' ->> 'id')::uuid) as labs_thread, (select thread from th) as thread,
  tap.task('evals', 'secret task') as labs_task, null::uuid as mine, gen_random_uuid() as nothing;
insert into public.mac_tasks (content, created_by) select 'mine', tap.id('operator');
update stage set mine = (select id from public.mac_tasks where content = 'mine');
select public.hub_register_device('tap-gone', 'linux', '[]', 1);
select public.hub_revoke_device('tap-gone');
grant select on stage to public;

-- anon, an anonymous sign-in, an outsider, a viewer, an operator, an owner, a device that serves all, one that serves buf-barista, a revoked one
create temp table rights (topic text, expected boolean[]);
insert into rights
select x.topic, x.expected::boolean[] from stage, lateral (values
  ('channel:' || quick,        '{f,f,t,t,t,t,f,f,f}'),
  ('channel:' || evals,        '{f,f,f,t,t,t,f,f,f}'),
  ('thread:' || thread,        '{f,f,t,t,t,t,f,f,f}'),
  ('thread:' || labs_thread,   '{f,f,f,t,t,t,f,f,f}'),
  ('task:' || held,            '{f,f,t,t,t,t,t,f,f}'),
  ('task:' || own,             '{f,f,t,t,t,t,f,t,f}'),
  ('task:' || labs_task,       '{f,f,f,t,t,t,f,f,f}'),
  ('task:' || mine,            '{f,f,f,f,t,f,f,f,f}'),
  ('device:tap-all',           '{f,f,f,f,f,f,t,f,f}'),
  ('device:tap-own',           '{f,f,f,f,f,f,f,t,f}'),
  ('device:tap-gone',          '{f,f,f,f,f,f,f,f,f}'),
  ('device:TAP-ALL',           '{f,f,f,f,f,f,f,f,f}'),
  ('device:',                  '{f,f,f,f,f,f,f,f,f}'),
  ('device:nobody',            '{f,f,f,f,f,f,f,f,f}'),
  ('channel:' || nothing,      '{f,f,f,f,f,f,f,f,f}'),
  ('thread:' || nothing,       '{f,f,f,f,f,f,f,f,f}'),
  ('task:' || nothing,         '{f,f,f,f,f,f,f,f,f}'),
  ('thread:' || quick,         '{f,f,f,f,f,f,f,f,f}'),
  ('channel:' || upper(quick::text), '{f,f,f,f,f,f,f,f,f}'),
  ('CHANNEL:' || quick,        '{f,f,f,f,f,f,f,f,f}'),
  ('realtime:channel:' || quick, '{f,f,f,f,f,f,f,f,f}'),
  ('channel:' || quick || ' ', '{f,f,f,f,f,f,f,f,f}'),
  (' channel:' || quick,       '{f,f,f,f,f,f,f,f,f}'),
  ('channel:' || quick || E'\n', '{f,f,f,f,f,f,f,f,f}'),
  ('channel:' || quick || ':' || quick, '{f,f,f,f,f,f,f,f,f}'),
  ('channel:' || replace(quick::text, '-', ''), '{f,f,f,f,f,f,f,f,f}'),
  ('channel:{' || quick || '}', '{f,f,f,f,f,f,f,f,f}'),
  ('channel:', '{f,f,f,f,f,f,f,f,f}'), ('channel', '{f,f,f,f,f,f,f,f,f}'), (':', '{f,f,f,f,f,f,f,f,f}'), ('', '{f,f,f,f,f,f,f,f,f}'), ('*', '{f,f,f,f,f,f,f,f,f}'),
  ($q$channel:' or true --$q$, '{f,f,f,f,f,f,f,f,f}'), ('device:tap-all'' or ''1''=''1', '{f,f,f,f,f,f,f,f,f}'), ('device:"tap-all"', '{f,f,f,f,f,f,f,f,f}'),
  ('channel:' || repeat('a', 100000), '{f,f,f,f,f,f,f,f,f}'), (repeat(':', 100000), '{f,f,f,f,f,f,f,f,f}'),
  ('server:' || quick, '{f,f,f,f,f,f,f,f,f}'), ('канал:' || quick, '{f,f,f,f,f,f,f,f,f}')
) x (topic, expected);
create temp view chairs as select r.topic, left(replace(r.topic, E'\n', '\n'), 80) as name, a.* from rights r
 cross join lateral unnest(array['anon', 'anonymous', 'outsider', 'viewer', 'operator', 'owner', 'device:tap-all', 'device:tap-own', 'device:tap-gone'], r.expected) as a (actor, expected);
select is(tap.hears(actor, topic), expected, format('%s listens to %s', actor, name)) from chairs;
select is(tap.hears(actor, topic, 'presence'), expected, format('%s sees who is at %s', actor, name)) from chairs where topic like 'channel:%' and length(topic) < 50;
select is(tap.says(actor, topic), '42501', format('%s does not broadcast to %s', actor, name)) from chairs where expected or topic like '%:tap-all';
select is(tap.says(actor, topic, 'presence'), case when expected and topic like 'channel:%' then 'ok' else '42501' end, format('%s shows its presence at %s', actor, name))
  from chairs where length(topic) < 50 and topic like '%:________-%';
select is_empty($$ select actor, topic from chairs where actor not in ('anon') and tap.outcome(actor, format('select 1 / hub_internal.may_listen(%L)::int', topic)) <> case when expected then 'ok' else '22012' end $$,
  'hub_internal.may_listen agrees with the policies');
select is(tap.outcome('viewer', 'select 1 / (hub_internal.may_listen(null) is false)::int'), 'ok', 'may_listen is false for a null topic');
select is(tap.outcome('anon', $$select hub_internal.may_listen('channel:x')$$), '42501', 'anon may not call may_listen');
select is(tap.hears('service', 'channel:' || quick), true, 'the service role may listen to every topic') from stage;

-- The row and the setting must name the same topic.
select is(tap.says('viewer', 'channel:' || quick, 'presence', 'channel:' || evals), '42501', 'a client with the topic of one channel can not write to another') from stage;
insert into realtime.messages (topic, extension, private, event, payload) select 'channel:' || quick, 'broadcast', true, 'message', '{"id":1}' from stage;
select set_config('realtime.topic', 'channel:' || evals, true) from stage;
select is(tap.sees('viewer', $$realtime.messages where topic <> realtime.topic()$$), '0', 'a client with the topic of one channel can not read another');
select set_config('realtime.topic', '', true);
select is(tap.sees('owner', 'realtime.messages'), '0', 'over REST, where no topic is set, no message is seen');
select is(tap.outcome('owner', format('update realtime.messages set payload = ''{}'' where topic = %L', 'channel:' || quick)), 'ok', 'an update finds no row') from stage;
select is(tap.outcome('owner', 'delete from realtime.messages'), '42501', 'a delete is refused');

-- An end of membership, of access, of a lease
select is(tap.hears('viewer', 'channel:' || evals), true, 'a member may listen to a channel') from stage;
select public.hub_set_member(tap.server('aura-labs'), tap.id('viewer'), null);
select is(tap.hears('viewer', 'channel:' || evals), false, 'after the membership ends a channel may not be listened to') from stage;
select is(tap.hears('viewer', 'thread:' || labs_thread), false, 'after the membership ends a thread may not be listened to') from stage;
select is(tap.hears('viewer', 'task:' || labs_task), false, 'after the membership ends a task may not be listened to') from stage;
select from stage, public.hub_complete_task(own, 1, 'done');
select is(tap.hears('device:tap-own', 'task:' || own), false, 'a device may not listen to a task that it no longer holds') from stage;
select public.hub_revoke_device('tap-own');
select is(tap.hears('device:tap-own', 'device:tap-own'), false, 'a revoked device may not listen to its own topic');
update public.hub_servers set access = 'members' where name = 'buf-barista';
select is(tap.hears('outsider', 'channel:' || quick), false, 'an outsider may not listen to a server that became members only') from stage;

-- A project's own policies
create policy tap_wide_open on realtime.messages for all to public using (true) with check (true);
select is(tap.hears(actor, topic), case when hub_internal.is_hub_topic(topic) then expected else true end, format('with a wide open policy: %s listens to %s', actor, name))
  from chairs where not (actor in ('viewer', 'outsider', 'device:tap-own') and expected);
select is(tap.says(actor, topic), case when hub_internal.is_hub_topic(topic) then '42501' else 'ok' end, format('with a wide open policy: %s writes to %s', actor, name))
  from chairs where length(topic) between 1 and 100;
select is(tap.hears(a, 'room:1'), true, format('%s listens to the project''s own room', a)) from unnest(array['anon', 'anonymous', 'outsider', 'viewer', 'device:tap-all']) a;
select is(tap.says(a, 'room:1'), 'ok', format('%s writes to the project''s own room', a)) from unnest(array['anon', 'outsider']) a;
select set_config('realtime.topic', '', true);
select is(tap.sees('outsider', $$realtime.messages where topic like 'channel:%'$$), '0', 'with a wide open policy the hub''s messages are not seen over REST');
select is(tap.sees('anon', $$realtime.messages where hub_internal.is_hub_topic(topic)$$), '42501', 'anon may not call is_hub_topic');
select is(tap.sees('anon', $$realtime.messages where topic like 'channel:%'$$), '0', 'with a wide open policy anon sees none of the hub''s messages');
select is(tap.outcome('outsider', format('do $d$ begin update realtime.messages set payload = ''{}'' where topic = %L; if found then raise ''found''; end if; end $d$', 'channel:' || quick)), 'ok', 'with a wide open policy the hub''s messages can not be changed over REST') from stage;

select * from finish();
rollback;
