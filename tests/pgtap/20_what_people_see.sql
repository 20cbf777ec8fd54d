-- The conversation of a task, word for word (DESIGN section 6): flat, threaded, by the hub's functions and by plain updates.
\ir setup.psql
select no_plan();

-- Flat
create temp table t as select tap.running('cc-semantic', 'Fix the graph kernel cache') as id;
grant select on t to public;
create function pg_temp.short() returns text language sql as $$ select left(id::text, 4) from t $$;
select lives_ok($$ select public.hub_report_progress(id, 1, 'Analyzing cache.rs') from t $$);
select lives_ok($$ select public.hub_report_progress(id, 1, 'Patching invalidation') from t $$);
select lives_ok($$ select public.hub_complete_task(id, 1, 'Fixed it.', '{"model": "claude-sonnet-4-6", "cost_usd": 0.25, "tokens_in": 10, "tokens_out": 20}') from t $$);
select results_eq($$ select * from (select tap.told(id) from t) x $$,
  $b$ values (format(E'⏳ Task %s queued\nModel: claude | Project: Desktop/Comp-Core/core/semantic', pg_temp.short())),
            (format('▶️ %s started [claude/tap-all]', pg_temp.short())),
            (format('📋 %s: Analyzing cache.rs', pg_temp.short())), (format('📋 %s: Patching invalidation', pg_temp.short())),
            (format(E'✅ %s complete [claude/tap-all]\nFixed it.\n\nCost: $0.25 (10 tokens in, 20 out)', pg_temp.short())) $b$, 'a flat task''s messages appear in its channel');
select results_eq($$ select embed_data ->> 'title', (embed_data ->> 'color')::int, embed_data -> 'fields' from public.hub_channel_messages, t where task_id = t.id and content_type = 'task' $$,
  $$ values ('Task Queued', 3447003, '[{"name":"Model","value":"claude","inline":true},{"name":"Device","value":"— (pending)","inline":true}]'::jsonb) $$, 'the embed of a queued task');
select results_eq($$ select embed_data ->> 'title', (embed_data ->> 'color')::int, embed_data -> 'fields' -> 0 ->> 'value', embed_data -> 'fields' -> 1 ->> 'value', embed_data -> 'fields' -> 2 ->> 'name'
                       from public.hub_channel_messages, t where task_id = t.id and content_type = 'result' $$,
  $$ values ('Task Complete', 3066993, 'claude-sonnet-4-6', 'tap-all', 'Duration') $$, 'the embed of a complete task');
select is_empty($$ select from public.hub_channel_messages m, t where task_id = t.id and embed_data is not null
                    and not (embed_data ?& array['title', 'description', 'color', 'fields', 'footer', 'timestamp']) $$, 'every embed has all its parts');
select results_eq($$ select outcome, cost_usd, tokens_in, tokens_out, device, agent from public.hub_task_attempts, t where task_id = t.id $$,
  $$ values ('complete', 0.25, 10::bigint, 20::bigint, 'tap-all', 'claude') $$, 'the attempt is recorded');
select is((select count(*) from public.hub_channel_messages m, t where m.task_id = t.id and m.is_progress)::int, 3, 'that it started and its notes have is_progress');

-- Threaded
create temp table th as select public.hub_send(tap.channel('pulse-control'), E'Build a REST API\nfor the user profile service, with tests, and with documentation that a newcomer can follow from the start') as sent;
select results_eq($$ select char_length(sent -> 'thread' ->> 'name') <= 100, sent -> 'thread' ->> 'name' like left(sent -> 'task' ->> 'id', 8) || ' — Build a REST API for the user%…',
                            (sent -> 'thread' ->> 'message_count')::int, sent -> 'task' ->> 'thread_id' = sent -> 'thread' ->> 'id' from th $$,
  $$ values (true, true, 2, true) $$, 'a thread is named after its task, on one line of at most 100 characters');
select results_eq($$ select content_type, seq from public.hub_channel_messages, th where channel_id = tap.channel('pulse-control') and task_thread_id is null order by seq $$,
  $$ values ('text', 1::bigint), ('task', 2) $$, 'the channel gets the message and one queued line');
select results_eq($$ select m.content_type, m.seq, m.reply_to = (sent -> 'message' ->> 'id')::uuid from public.hub_channel_messages m, th where m.task_thread_id = (sent -> 'thread' ->> 'id')::uuid order by m.seq $$,
  $$ values ('text', 1::bigint, true), ('task', 2, null::boolean) $$, 'the thread opens with a copy that names the original');
select from public.hub_claim_tasks('tap-all', 50);
select lives_ok($$ select public.hub_fail_task((sent -> 'task' ->> 'id')::uuid, 1, 'No disk', false) from th $$);
select alike((select x from th, tap.told((sent -> 'task' ->> 'id')::uuid) x order by x desc limit 1), E'❌ ____ failed [claude/tap-all]\nNo disk', 'a failure is told in the thread');
select is((select count(*) from public.hub_channel_messages where channel_id = tap.channel('pulse-control') and task_thread_id is null)::int, 2, 'a failure in a thread posts nothing in the channel');
select is((select (embed_data ->> 'color')::int from public.hub_channel_messages m, th where m.task_thread_id = (sent -> 'thread' ->> 'id')::uuid and content_type = 'error'), 15158332, 'the embed of a failure is red');

-- Fifteen notes
create temp table many as select tap.running('research') as id;
select from many m, generate_series(1, 20) n, public.hub_report_progress(m.id, 1, 'note ' || n);
select is((select count(*) from public.hub_channel_messages, many n where task_id = n.id and event = 'progress')::int, 15, 'at most 15 progress notes of an attempt are posted');
select is((select partial_output from public.mac_tasks join many using (id)), 'note 20', 'the newest is always in partial_output');

-- An executor that only updates rows
create temp table old as select tap.task('cc-media') as id;
update public.mac_tasks set status = 'running', claimed_by = 'old-mac', partial_output = 'Starting' from old where mac_tasks.id = old.id;
update public.mac_tasks set partial_output = E'Starting\nCutting' from old where mac_tasks.id = old.id;
update public.mac_tasks set status = 'complete', result = 'Cut.' from old where mac_tasks.id = old.id;
select results_eq($$ select regexp_replace(x, left((select id::text from old), 4), 'ID') from (select tap.told(id) x from old) x $$,
  $$ values (E'⏳ Task ID queued\nModel: claude | Project: Desktop/Comp-Core/core/audio-media'), ('▶️ ID started [claude/old-mac]'), ('📋 ID: Starting'), ('📋 ID: Cutting'), (E'✅ ID complete [claude/old-mac]\nCut.') $$,
  'a plain UPDATE posts the same messages, and of a note that grows only the new part');
select results_eq($$ select attempt, outcome, device from public.hub_task_attempts a join old on a.task_id = old.id $$, $$ values (1, 'complete', 'old-mac') $$, 'an attempt by plain UPDATE is recorded');
select is_empty($$ select from old, public.hub_recover(now() + interval '1 year') r where r > 0 and exists (select from public.mac_tasks t where t.id = old.id and t.status <> 'complete') $$);
create temp table old2 as select tap.task('cc-media') as id;
update public.mac_tasks set status = 'running', claimed_by = 'old-mac' from old2 where mac_tasks.id = old2.id;
select is((select count(*) from public.mac_tasks where claimed_by = 'old-mac' and status = 'running' and lease_expires_at is null)::int, 1, 'a task set to running by UPDATE has no lease');
select from public.hub_recover(now() + interval '1 year');
select is((select count(*) from public.mac_tasks where claimed_by = 'old-mac' and status = 'running')::int, 1, 'a running task without a lease is never taken away');

-- The same on a threaded server, where the executor knows no threads
insert into public.mac_tasks (content, channel_id) values ('threadless', tap.channel('infrastructure'));
update public.mac_tasks set status = 'running', claimed_by = 'old-mac' where content = 'threadless';
update public.mac_tasks set status = 'complete', result = 'Done.' where content = 'threadless';
select results_eq($$ select m.content_type from public.hub_channel_messages m join public.mac_tasks t on t.thread_id = m.task_thread_id where t.content = 'threadless' order by m.seq $$,
  $$ values ('text'), ('task'), ('progress'), ('result') $$, 'a task made by plain INSERT on a threaded server gets a thread');

-- Cancelled, retried, lost
create temp table c as select tap.task('garden') as id;
select lives_ok($$ select public.hub_cancel_task(id) from c $$);
select lives_ok($$ select public.hub_cancel_task(id) from c $$, 'cancelling a cancelled task again changes nothing');
select lives_ok($$ select public.hub_retry_task(id) from c $$);
select from c, public.hub_claim_tasks('tap-all', 50);
select from c, public.hub_fail_task(c.id, 1, 'flaky');
select results_eq($$ select m.content_type, left(m.content, 1), (m.embed_data ->> 'color')::int from public.hub_channel_messages m join c on m.task_id = c.id where m.content_type not in ('task', 'progress') order by m.seq $$,
  $$ values ('notice', '🚫', 9807270), ('notice', '🔁', 9807270), ('notice', '🔁', 9807270) $$, 'cancelled, retried and failed with a retry post one grey line each');
select from public.mac_tasks join c using (id) where run_after > now();
select is((select status from public.mac_tasks join c using (id)), 'pending', 'a retryable failure with attempts left makes the task pending again');
select ok((select run_after > now() from public.mac_tasks join c using (id)), 'its next attempt waits');

-- A result of any length is told, shortened in the message and whole in the row.
create temp table long as select tap.running('quick') as id;
select lives_ok($$ select public.hub_complete_task(id, 1, repeat('é', 150000)) from long $$);
select is((select char_length(m.content) from public.hub_channel_messages m join long on m.task_id = long.id where content_type = 'result'), 100000, 'a message has at most 100,000 characters');
select is((select char_length(result) from public.mac_tasks join long using (id)), 150000, 'the row keeps the whole result');

select * from finish();
rollback;
