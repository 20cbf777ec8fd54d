-- The rows that life_ours.sql writes, each by a statement of its own, with no logic: 9 messages and the 9 counters that number
-- them, a thread, a task written 6 times, an attempt written twice. 25 statements.

-- hub_send: what was said, its thread with a copy, the task, "queued" in both conversations
update bare.channels set message_count = message_count + 1, last_message_at = clock_timestamp()
 where id = ('00000000-0000-4000-8000-00000000000' || :client_id::text)::uuid returning id as channel, message_count as seq
\gset
insert into bare.messages (channel_id, sender_type, sender_id, sender_label, content, content_type, seq)
values (:channel, 'human', 'postgres', 'postgres', 'Do a thing please', 'text', :seq) returning id as message
\gset
insert into bare.threads (channel_id, task_id, name, decay_at)
values (:channel, gen_random_uuid(), '01234567 — Do a thing please', now() + interval '2 hours') returning id as thread, task_id as task
\gset
update bare.threads set message_count = message_count + 1, last_activity_at = clock_timestamp() where id = :thread returning message_count as seq
\gset
insert into bare.messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, reply_to, seq)
values (:channel, :thread, 'human', 'postgres', 'postgres', 'Do a thing please', 'text', :message, :seq);
insert into bare.tasks (id, content, project, status, model_preference, task_type, platform, channel_id, thread_id, message_id, lane, queue_key)
values (:task, 'Do a thing please', 'Desktop/homelab', 'pending', 'any', 'other', 'any', :channel, :thread, :message, :client_id, now());
update bare.channels set message_count = message_count + 1, last_message_at = clock_timestamp() where id = :channel returning message_count as seq
\gset
insert into bare.messages (channel_id, sender_type, sender_id, sender_label, content, content_type, embed_data, task_id, seq)
values (:channel, 'system', 'hub', 'Aura Hub', E'⏳ Task 0123 queued\nModel: any | Project: Desktop/homelab', 'task',
        '{"color": 3447003, "title": "Task Queued", "fields": [{"name": "Model", "value": "any", "inline": true}, {"name": "Device", "value": "— (pending)", "inline": true}], "footer": "Task 01234567", "timestamp": "2026-11-21T00:00:00.000Z", "description": "Do a thing please"}',
        :task, :seq);
update bare.threads set message_count = message_count + 1, last_activity_at = clock_timestamp() where id = :thread returning message_count as seq
\gset
insert into bare.messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, embed_data, task_id, seq)
values (:channel, :thread, 'system', 'hub', 'Aura Hub', E'⏳ Task 0123 queued\nModel: any | Project: Desktop/homelab', 'task',
        '{"color": 3447003, "title": "Task Queued", "fields": [{"name": "Model", "value": "any", "inline": true}, {"name": "Device", "value": "— (pending)", "inline": true}], "footer": "Task 01234567", "timestamp": "2026-11-21T00:00:00.000Z", "description": "Do a thing please"}',
        :task, :seq);

-- hub_claim_tasks
update bare.tasks set status = 'running', attempt = attempt + 1, claimed_by = 'bench' || :client_id::text, agent = 'claude',
       lease_expires_at = now() + interval '60 seconds', claimed_at = now(), run_after = null, partial_output = null, progress_count = 0, updated_at = now()
 where id = :task;
insert into bare.attempts (task_id, attempt, device, agent, started_at) values (:task, 1, 'bench' || :client_id::text, 'claude', now());
update bare.threads set message_count = message_count + 1, last_activity_at = clock_timestamp() where id = :thread returning message_count as seq
\gset
insert into bare.messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, is_progress, task_id, seq)
values (:channel, :thread, 'agent', 'claude/bench0', 'claude/bench0', '▶️ 0123 started [claude/bench0]', 'progress', true, :task, :seq);

-- hub_report_progress, three times
update bare.tasks set partial_output = 'Reading what is there', progress_count = progress_count + 1, updated_at = now() where id = :task;
update bare.threads set message_count = message_count + 1, last_activity_at = clock_timestamp() where id = :thread returning message_count as seq
\gset
insert into bare.messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, is_progress, task_id, seq)
values (:channel, :thread, 'agent', 'claude/bench0', 'claude/bench0', '📋 0123: Reading what is there', 'progress', true, :task, :seq);
update bare.tasks set partial_output = 'Changing what is wrong', progress_count = progress_count + 1, updated_at = now() where id = :task;
update bare.threads set message_count = message_count + 1, last_activity_at = clock_timestamp() where id = :thread returning message_count as seq
\gset
insert into bare.messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, is_progress, task_id, seq)
values (:channel, :thread, 'agent', 'claude/bench0', 'claude/bench0', '📋 0123: Changing what is wrong', 'progress', true, :task, :seq);
update bare.tasks set partial_output = 'Testing what was changed', progress_count = progress_count + 1, updated_at = now() where id = :task;
update bare.threads set message_count = message_count + 1, last_activity_at = clock_timestamp() where id = :thread returning message_count as seq
\gset
insert into bare.messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, is_progress, task_id, seq)
values (:channel, :thread, 'agent', 'claude/bench0', 'claude/bench0', '📋 0123: Testing what was changed', 'progress', true, :task, :seq);

-- hub_complete_task
update bare.attempts set finished_at = now(), outcome = 'complete' where task_id = :task and attempt = 1;
update bare.tasks set status = 'complete', result = 'Done: it works now.', error = null, finished_at = now(), lease_expires_at = null, told = 'complete:1', updated_at = now()
 where id = :task;
update bare.threads set message_count = message_count + 1, last_activity_at = clock_timestamp() where id = :thread returning message_count as seq
\gset
insert into bare.messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, embed_data, task_id, seq)
values (:channel, :thread, 'agent', 'claude/bench0', 'claude/bench0', E'✅ 0123 complete [claude/bench0]\nDone: it works now.', 'result',
        '{"color": 3066993, "title": "Task Complete", "fields": [{"name": "Model", "value": "claude", "inline": true}, {"name": "Device", "value": "bench0", "inline": true}, {"name": "Duration", "value": "0s", "inline": true}], "footer": "Task 01234567 · attempt 1", "timestamp": "2026-11-21T00:00:00.000Z", "description": "Done: it works now."}',
        :task, :seq);
