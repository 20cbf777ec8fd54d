-- The queue: who gets what in which order, leases, the fence, states, catching up, explaining.
\ir setup.psql
select no_plan();
create function pg_temp.ids(text) returns setof text language sql as $$ select c.content from public.hub_claim_tasks($1, 50) c $$;

-- Eligibility
select from public.hub_register_device('mac', 'macos', '[{"agent":"claude","models":["claude"]},{"agent":"codex","models":["codex"]}]', 3);
select from public.hub_register_device('pc', 'windows', '[{"agent":"gemini","models":["gemini"]}]', 3);
insert into public.mac_tasks (content, platform, model_preference) values ('for mac', 'macos', 'any'), ('for pc', 'windows', 'any'), ('for codex', 'any', 'codex'), ('for gemini', 'any', 'gemini');
insert into public.mac_tasks (content, agent) values ('for an agent nobody has', 'cursor');
select set_eq($$ select pg_temp.ids('pc') $$, $$ values ('for pc'), ('for gemini') $$, 'a device gets the tasks for its platform and models');
select set_eq($$ select pg_temp.ids('mac') $$, $$ values ('for mac'), ('for codex') $$, 'the other device gets the others');
select is((select agent from public.mac_tasks where content = 'for codex'), 'codex', 'the agent that offers the model runs it');

-- Capacity
insert into public.mac_tasks (content, platform) select 'slot ' || n, 'macos' from generate_series(1, 3) n;
select is((select count(*) from public.hub_claim_tasks('mac', 50))::int, 1, 'a device gets no more tasks than its capacity');
select is((select count(*) from public.hub_claim_tasks('mac', 50))::int, 0, 'a device with no free slot gets nothing');

-- Order: priority, then age, and a step of priority is worth ten minutes.
insert into public.mac_tasks (content, priority, created_at, platform) values
  ('urgent', 9, now(), 'linux'), ('old', 5, now() - interval '15 minutes', 'linux'), ('new', 5, now(), 'linux'), ('slightly urgent', 6, now(), 'linux'), ('idle', 0, now(), 'linux'),
  ('very old', 0, now() - interval '1 day', 'linux');
select results_eq($$ select content from public.hub_claim_tasks('tap-all', 6) $$,
  $$ values ('very old'), ('urgent'), ('old'), ('slightly urgent'), ('new'), ('idle') $$, 'tasks are claimed by priority, then age, and an old one of low priority comes first');

-- The fence
create temp table f as select tap.running('quick') as id;
select throws_ok($$ select public.hub_complete_task(id, 2, 'x') from f $$, 'UH002', 'lease lost');
select throws_ok($$ select public.hub_report_progress(id, 0, 'x') from f $$, 'UH002', 'lease lost');
select is((select public.hub_recover(now() + interval '59 seconds'))::int, 0, 'a lease that has not run out is left alone');
select ok((select public.hub_recover(now() + interval '61 seconds')) > 0, 'a lease that ran out is taken back');
select is((select status || ' ' || attempt from public.mac_tasks join f using (id)), 'pending 1', 'the task is pending again');
select throws_ok($$ select public.hub_complete_task(id, 1, 'late') from f $$, 'UH002', 'lease lost');
select is((select outcome from public.hub_task_attempts a join f on a.task_id = f.id), 'lost', 'the attempt has the outcome lost');
select is((select count(*) from public.hub_channel_messages m join f on m.task_id = f.id where m.content like '⚠️%lost by tap-all%')::int, 1, 'a lost lease is reported once in the channel');
do $$ begin
  for n in 2 .. 3 loop
    perform public.hub_claim_tasks('tap-all', 50);
    perform public.hub_recover(now() + interval '1 hour');
  end loop;
end $$;
select is((select status || ' ' || attempt from public.mac_tasks join f using (id)), 'failed 3', 'after max_attempts lost leases the task has failed');
select is((select public.hub_recover(now() + interval '1 hour'))::int, 0, 'a failed task is not recovered again');

-- Heartbeats
create temp table h as select tap.running('quick') as id;
select is((select public.hub_heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', id, 'attempt', 1))) from h),
          (select '{"cancel": [], "lost": [], "steer": [], "subtasks": [], "answers": [], "budget": [], "projects": []}'::jsonb || jsonb_build_object('hub', i.id) from hub_internal.hub i), 'a heartbeat returns empty lists when nothing happened');
select from h, public.hub_cancel_task(h.id);
select is((select status from public.mac_tasks join h using (id)), 'running', 'cancelling a running task leaves it running until its device stops it');
select is((select public.hub_heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', h.id, 'attempt', 1), jsonb_build_object('task', f.id, 'attempt', 1))) from h, f),
          (select jsonb_build_object('cancel', jsonb_build_array(h.id), 'steer', '[]'::jsonb, 'subtasks', '[]'::jsonb, 'answers', '[]'::jsonb, 'budget', '[]'::jsonb, 'lost', jsonb_build_array(f.id), 'projects', '[]'::jsonb, 'hub', i.id) from h, f, hub_internal.hub i), 'a heartbeat returns the tasks to stop and the lost ones');
select from h, public.hub_fail_task(h.id, 1, 'stopped', true);
select is((select status from public.mac_tasks join h using (id)), 'cancelled', 'a task that failed after a cancel request is cancelled');
select throws_ok($$ select public.hub_heartbeat('tap-all', '[{"task": 1}]') $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_heartbeat('tap-all', '{}') $$, 'UH001', 'bad input');

-- The clock moved back: nothing is taken, no lease is shortened.
create temp table k as select tap.running('quick') as id;
select is((select public.hub_recover(now() - interval '1 day')), 0, 'recovering with an earlier time takes no lease');
create temp table lease as select lease_expires_at as at from public.mac_tasks join k using (id);
select from k, hub_internal.heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', k.id, 'attempt', 1)), null, now() - interval '1 day');
select is((select lease_expires_at from public.mac_tasks join k using (id)), (select at from lease), 'a heartbeat with an earlier time shortens no lease');
select is((select last_heartbeat_at >= now() from public.mesh_devices where name = 'tap-all'), true, 'a heartbeat with an earlier time does not set the last one back');

-- Final stays final
create temp table d as select tap.running('quick') as id;
select from d, public.hub_complete_task(d.id, 1, 'x');
select throws_ok(format('update public.mac_tasks set status = %L where id = %L', s, id), 'UH003', null, 'complete does not become ' || s)
  from d, unnest(array['pending', 'running', 'failed', 'cancelled', 'waiting', 'blocked']) s;
select throws_ok($$ select public.hub_retry_task(id) from d $$, 'UH003', 'conflict');
select throws_ok($$ select public.hub_cancel_task(id) from d $$, 'UH003', 'conflict');

-- Endings that were never told: the trigger was off; rows came in finished.
create temp table u as select tap.running('research') as id;
alter table public.mac_tasks disable trigger mac_tasks_80_tell;
select from u, public.hub_complete_task(u.id, 1, 'silently');
alter table public.mac_tasks enable trigger mac_tasks_80_tell;
insert into public.mac_tasks (content, status, result, channel_id) values ('imported', 'complete', 'long ago', tap.channel('research'));
insert into public.mac_tasks (content, status, result, channel_id) values ('imported too', 'complete', 'long ago', tap.channel('dispatch'));
select is((select count(*) from public.hub_channel_messages m join u on m.task_id = u.id where m.content_type = 'result')::int, 0, 'without the trigger no result is posted');
select is((select public.hub_recover()), 3, 'hub_recover posts the missing endings');
select is((select count(*) from public.hub_channel_messages m join public.mac_tasks t on t.id = m.task_id where m.content_type = 'result' and (t.content like 'imported%' or t.id = (select id from u)))::int, 3, 'each missing ending is posted once');
select is((select public.hub_recover()), 0, 'a second hub_recover posts nothing');

-- Blocked and follow-ups
create temp table p as select public.hub_send(tap.channel('dispatch'), 'first') as one;
create temp table q as select public.hub_send(tap.channel('dispatch'), 'second', (one -> 'thread' ->> 'id')::uuid) as two from p;
select is((select two -> 'task' ->> 'status' from q), 'blocked', 'a reply while the thread''s task is open is blocked');
select is((select reason from q, public.hub_explain_task((two -> 'task' ->> 'id')::uuid)), (select 'blocked by ' || left(one -> 'task' ->> 'id', 8) from p), 'hub_explain_task names the task that blocks it');
select from public.hub_claim_tasks('tap-all', 50);
select from p, public.hub_complete_task((one -> 'task' ->> 'id')::uuid, 1, 'x', '{"session_id": "s-1"}');
select results_eq($$ select status, session_id, session_device, parent_id = (one -> 'task' ->> 'id')::uuid from public.mac_tasks, p, q where id = (two -> 'task' ->> 'id')::uuid $$,
  $$ values ('pending', 's-1', 'tap-all', true) $$, 'when that task is complete the reply is pending, with its session and device');
select is_empty($$ select from public.hub_claim_tasks('tap-other', 50) c, q where c.id = (two -> 'task' ->> 'id')::uuid $$, 'a reply with a session is not claimed by another device');
select isnt_empty($$ select from public.hub_claim_tasks('tap-all', 50) c, q where c.id = (two -> 'task' ->> 'id')::uuid $$, 'a reply with a session is claimed by the device that has it');

-- Explaining
insert into public.mac_tasks (content, platform) select 'fill ' || n, 'macos' from generate_series(1, 3) n;
select from public.hub_claim_tasks('mac', 50);
create function pg_temp.why(p_set text) returns text language plpgsql as $$
declare v_id uuid; v_reason text;
begin
  insert into public.mac_tasks (content) values ('why') returning id into v_id;
  execute 'update public.mac_tasks set ' || p_set || ' where id = $1' using v_id;
  select reason into v_reason from public.hub_explain_task(v_id);
  return v_reason;
end $$;
select is(pg_temp.why('status = ''pending'''), 'claimable');
select is(pg_temp.why('run_after = now() + interval ''1 minute'''), 'backing off');
update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour' where name = 'mac';
select is(pg_temp.why('platform = ''macos'''), 'no device online with platform macos');
update public.mesh_devices set last_heartbeat_at = now() where name = 'mac';
select is(pg_temp.why('platform = ''macos'''), 'all devices at capacity');
select is(pg_temp.why('platform = ''macos'', model_preference = ''gemini'''), 'no device offers the model gemini');
select is(pg_temp.why('requested_agent = ''cursor'''), 'no device offers the agent cursor');
select from public.hub_drain_device('mac');
select is(pg_temp.why('platform = ''macos'''), 'all devices are draining');
select is(pg_temp.why('status = ''cancelled'''), 'cancelled');
select is(pg_temp.why('status = ''running'', claimed_by = ''old'''), 'running on old, without a lease');
select is((select reason from public.hub_explain_task((select id from public.mac_tasks where status = 'running' and lease_expires_at > now() and claimed_by = 'mac' limit 1))), 'running on mac');
update public.mac_tasks set lease_expires_at = now() - interval '1 minute' where id = (select id from public.mac_tasks where claimed_by = 'mac' and status = 'running' limit 1);
select is((select reason from public.mac_tasks t, public.hub_explain_task(t.id) where t.lease_expires_at < now() limit 1), 'older than its lease');
create temp table asks as select gen_random_uuid() as id;
insert into public.mac_tasks (id, content, status, channel_id) select id, 'Waits since before there was a hub', 'waiting', tap.channel('quick') from asks;
select is_empty($$ select m[1] from asks, public.hub_explain_task(id) e, regexp_matches(e.detail, 'hub_[a-z_]+', 'g') m
                    where not exists (select from pg_proc p where p.proname = m[1]) $$, 'a waiting task is explained by functions that there are');
select is((select detail from asks, public.hub_explain_task(id)), (select format('Its executor says for what. To end it: hub task cancel %s (hub_cancel_task).', left(id::text, 8)) from asks), 'as a person does it, and as a program does');
update public.mac_tasks t set status = 'pending' from asks where t.id = asks.id;
update public.mac_tasks t set status = 'failed', error = E'It failed.\nDo otherwise.' from asks where t.id = asks.id;
select is((select detail from asks, public.hub_explain_task(id)), (select format(E'It failed.\nDo otherwise; to have it tried again: hub task retry %s (hub_retry_task)', left(id::text, 8)) from asks), 'so is what has failed');
update public.mesh_devices set revoked_at = now();
select is(pg_temp.why('priority = 5'), 'no device serves it');

-- Bad input
select is(tap.refusal('postgres', c), 'UH001 bad input 1 to 100,000 characters, and more than blanks.', 'texts are refused in one way: ' || c)
  from unnest(array[E'select public.hub_send(tap.channel(''quick''), E'' \\n'')', E'select public.hub_send(tap.channel(''quick''), null)', E'select public.hub_report_progress(gen_random_uuid(), 1, E''\\t'')',
                    E'select public.hub_report_progress(gen_random_uuid(), 1, repeat(''x'', 100001))']) c;
select throws_ok($$ select public.hub_claim_tasks('tap-all', 0) $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_claim_tasks('tap-all', 1, '-1 second') $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_claim_tasks('nobody') $$, 'UH005', 'device unknown');
select throws_ok(format('select public.hub_register_device(%s)', a), 'UH001', 'bad input', 'registering with ' || a)
  from unnest(array[$$'', 'linux', '[]', 1$$, $$'a b', 'linux', '[]', 1$$, $$'x', 'beos', '[]', 1$$, $$'x', 'linux', '{}', 1$$, $$'x', 'linux', '[{"agent":"a"}]', 1$$, $$'x', 'linux', '[]', -1$$, $$'x', 'linux', null, 1$$]) a;
select throws_ok($$ insert into public.mac_tasks (content) values ('  ') $$, 'UH001', 'bad input');
select throws_ok($$ insert into public.mac_tasks (content, channel_id) values ('x', tap.channel('leads')) $$, 'UH003', 'conflict');
select throws_ok($$ insert into public.mac_tasks (content, metadata) values ('x', '{"a": 1}') $$, '23514', null, 'metadata is a flat map of strings');

-- The record of an attempt, whoever writes it
select throws_ok(format($$ insert into public.hub_task_attempts (task_id, attempt, %I) select id, 99, 'x' from public.mac_tasks limit 1 $$, c), '23514', 'bad input', 'an attempt has no ' || c || ' of one''s own')
  from unnest(array['outcome', 'reason', 'limit_source']) c;

select * from finish();
rollback;
