-- What happened is the event of a message (hub_message_events), and nothing is read from its text.
\ir setup.psql
select no_plan();

-- The events of a task's own conversation, in order.
create function pg_temp.events(p_task uuid) returns text language sql stable as $$
  select string_agg(coalesce(m.event, 'none'), ' ' order by m.seq)
    from public.hub_channel_messages m join public.mac_tasks t on t.id = m.task_id
   where m.task_id = p_task and m.task_thread_id is not distinct from t.thread_id
$$;
create function pg_temp.claim(p_task uuid) returns int language plpgsql volatile as $$
begin
  update public.mac_tasks set run_after = null where id = p_task;
  perform public.hub_claim_tasks('tap-all', 50);
  return (select attempt from public.mac_tasks where id = p_task);
end;
$$;

-- A task from its making to each of its ends
create temp table t as select tap.task('garden', 'A task of many ends') as id;
grant select on t to public;
select is(pg_temp.events(id), 'queued', 'made') from t;
select public.hub_report_progress(id, pg_temp.claim(id), 'reading {runner} at 100 %') from t;
select is(pg_temp.events(id), 'queued started progress', 'at work') from t;
select is(m.content, format('📋 %s: reading {runner} at 100 %%', left(m.task_id::text, 4)),
  'what a value holds is not filled in again')
  from public.hub_channel_messages m join t on m.task_id = t.id where m.event = 'progress';
select public.hub_fail_task(id, 1, 'lease lost: says the executor, but it is its own error') from t;
select is(pg_temp.events(id), 'queued started progress retried',
  'an attempt that failed is no lost lease, whatever its error says') from t;
select results_eq($$ select m.embed_data ->> 'title', m.content ~ '^🔁 .... failed on tap-all: lease lost: says'
                       from public.hub_channel_messages m join t on m.task_id = t.id where m.event = 'retried' $$,
  $$ values ('Task Retried', true) $$, 'and is told as what it is');
select pg_temp.claim(id) from t;
update public.mac_tasks set lease_expires_at = now() - interval '1 minute' where id = (select id from t);
select public.hub_recover();
select is(pg_temp.events(id), 'queued started progress retried started lease_lost', 'a machine that was not heard of') from t;
select public.hub_fail_task(id, pg_temp.claim(id), 'lease lost, once more', false) from t;
select is(pg_temp.events(id), 'queued started progress retried started lease_lost started failed', 'failed for good') from t;
select public.hub_retry_task(id) from t;
select is(pg_temp.events(id), 'queued started progress retried started lease_lost started failed requeued',
  'queued again by request') from t;
select public.hub_cancel_task(id) from t;
select is(pg_temp.events(id), 'queued started progress retried started lease_lost started failed requeued cancelled',
  'cancelled') from t;
select public.hub_retry_task(id) from t;
select public.hub_complete_task(id, pg_temp.claim(id), 'Done.') from t;
select is(pg_temp.events(id),
  'queued started progress retried started lease_lost started failed requeued cancelled requeued started complete', 'and complete') from t;
select is((select told
  from public.mac_tasks join t using (id)), 'complete:4', 'the mark of the ending that was told');

-- An executor that only writes the row, and one that writes into the record of its attempt itself
create temp table old as select tap.task('garden') as id, tap.task('garden') as other;
update public.mac_tasks set status = 'running', claimed_by = 'old-mac' from old
  where mac_tasks.id in (old.id, old.other);
update public.mac_tasks set status = 'pending', error = 'lease lost' from old where mac_tasks.id = old.id;
update public.hub_task_attempts set outcome = 'lost', finished_at = now() from old where task_id = old.other;
update public.mac_tasks set status = 'pending', error = 'no words about it' from old
  where mac_tasks.id = old.other;
select results_eq($$ select pg_temp.events(id), pg_temp.events(other) from old $$,
  $$ values ('queued started retried', 'queued started lease_lost') $$,
  'what became of the attempt tells, not the error');

-- Threads, by hand and by age
create temp table th as select (s ->> 'id')::uuid as thread, (x #>> '{task,id}')::uuid as task
  from public.hub_send(tap.channel('dispatch'), 'thread') x, lateral (select x -> 'thread') l (s);
select is(pg_temp.events(task), 'queued', 'a thread') from th;
select results_eq($$ select m.event from public.hub_channel_messages m join th on m.task_thread_id = th.thread
                      order by m.seq $$,
  $$ values (null), ('queued') $$, 'the copy that opens it is somebody''s own words');
select is((select string_agg(coalesce(m.event, 'none'), ' ' order by m.seq)
  from public.hub_channel_messages m where m.channel_id = tap.channel('dispatch')
  and m.task_thread_id is null),
  'none queued', 'in the channel, too');
select public.hub_complete_task(task, pg_temp.claim(task), 'Done.') from th;
select public.hub_update_thread_status(thread, 'idle'), public.hub_update_thread_status(thread,
  'archived') from th;
select is((select string_agg(m.event, ' ' order by m.seq)
  from public.hub_channel_messages m
  join th on m.task_thread_id = th.thread), 'queued started complete thread_idle thread_archived',
  'a thread that ages');
select is(right(m.content, 12), E'\nLast: Done.', 'the summary''s last line')
  from public.hub_channel_messages m join th on m.task_thread_id = th.thread
  where m.event = 'thread_archived';
create temp table th2 as select (public.hub_send(tap.channel('dispatch'),
  'nothing came of it') #>> '{thread,id}')::uuid as thread;
select public.hub_update_thread_status(thread, 'archived') from th2;
select is(right(m.content, 13), ' 0 cancelled.', 'is left out where there is no result')
  from public.hub_channel_messages m join th2 on m.task_thread_id = th2.thread
  where m.event = 'thread_archived';

-- A task that ended before it had a thread is told in it
insert into public.mac_tasks (content, server_id) values ('loose', tap.server('cloud-hub'));
create temp table loose as select id from public.mac_tasks where content = 'loose';
select public.hub_complete_task(id, pg_temp.claim(id), 'ok') from loose;
select public.hub_create_task_thread(tap.channel('dispatch'), id) from loose;
select is(pg_temp.events(id), 'none queued complete', 'catching up') from loose;
select is((select told from public.mac_tasks join loose using (id)), 'complete:1', 'is marked');

-- A machine that can not go on hands its task back
create temp table back as select tap.task('garden') as id;
select public.hub_fail_task(id, pg_temp.claim(id), 'the worker was stopped', true, '{"reason": "worker_stopped"}') from back;
select is(pg_temp.events(id), 'queued started handed_back', 'handed back') from back;
select results_eq($$ select m.content, m.embed_data ->> 'title', (m.embed_data ->> 'color')::int, m.content_type
                       from public.hub_channel_messages m join back on m.task_id = back.id where m.event = 'handed_back' $$,
  $$ select format('↩️ %s handed back by tap-all: the worker was stopped; waits for a machine', left(id::text, 4)), 'Task Handed Back', 9807270, 'notice' from back $$, 'in one grey line');

-- An agent is at its limit
create temp table dry as select tap.task('garden') as id;
select public.hub_fail_task(id, pg_temp.claim(id), 'Limit reached', true, '{"reason": "limit"}') from dry;
select is(pg_temp.events(id), 'queued started waits', 'at its limit') from dry;
select results_eq($$ select m.content ~ format('^⏸️ %s waits \[claude/tap-all\]\nclaude on tap-all is at its limit until ....-..-.. ..:.. UTC \(a guess\)$', left(dry.id::text, 4)),
                            m.embed_data ->> 'title', (m.embed_data ->> 'color')::int, m.content_type
                       from public.hub_channel_messages m join dry on m.task_id = dry.id where m.event = 'waits' $$,
  $$ values (true, 'Task Waits', 9807270, 'notice') $$, 'in grey, with until when and how that is known');
delete from public.mesh_quota_pools;

-- A model is at its limit on every machine, and another runs it
update public.mesh_devices set agents = '[{"agent":"claude","models":["claude"]},{"agent":"codex","models":["codex"]}]' where name = 'tap-all';
update public.mesh_devices set drained_at = now() where name = 'tap-other';
select public.hub_report_rate_limit('tap-all', 'claude', null, '2126-11-29T14:00:00Z', 'x', 'text');
insert into public.mac_tasks (content, channel_id, model_preference) values ('Done by another', tap.channel('garden'), 'claude');
create temp table other as select id from public.mac_tasks where content = 'Done by another';
select public.hub_recover();
select pg_temp.claim(id) from other;
select is(pg_temp.events(id), 'queued fallback started', 'by another model') from other;
select results_eq($$ select m.content ~ format('^⤵️ %s goes to codex: claude is at its limit until ....-..-.. ..:.. UTC \(as its message says\)$', left(other.id::text, 4)),
                            m.embed_data ->> 'title', (m.embed_data ->> 'color')::int, m.content_type
                       from public.hub_channel_messages m join other on m.task_id = other.id where m.event = 'fallback' $$,
  $$ values (true, 'Fallback', 9807270, 'notice') $$, 'in grey, with why and until when');
delete from public.mesh_quota_pools;
update public.mesh_devices set agents = '[{"agent":"claude","models":["any"]}]' where name = 'tap-all';
update public.mesh_devices set drained_at = null where name = 'tap-other';
select public.hub_recover();

-- An agent that is told something, says something, has a part done; a task that is sent elsewhere
create temp table talk as select tap.running('garden', 'talks') as id;
select public.hub_steer_task(id, 'Use tabs') from talk;
select public.hub_report_steer(s.task_id, 1, array[s.id], 'taken') from hub_internal.steers s join talk on talk.id = s.task_id;
select public.hub_say(id, 1, 'I begin with {note}') from talk;
create temp table part as select p.id from talk, public.hub_subtask(talk.id, 1, 'Count the lines') p;
select public.hub_route_task(id, p_model => 'codex', p_device => 'tap-all') from part;
select is(pg_temp.events(id), 'queued started none steered said decomposed', 'told, and saying') from talk;
select is(pg_temp.events(id), 'queued routed', 'its part, sent elsewhere') from part;
select results_eq($$ select m.event, m.sender_type, m.content_type, m.content, (m.embed_data ->> 'color')::int
                       from public.hub_channel_messages m where m.task_id in (select id from talk union select id from part) and m.event in ('steered', 'said', 'decomposed', 'routed')
                      order by m.seq $$,
  $$ select x.event, x.who, x.kind, x.said, x.color from talk, part, lateral (values
       ('steered', 'system', 'notice', format('↪️ %s was told', left(talk.id::text, 4)), null::int),
       ('said', 'agent', 'text', format('💬 %s: I begin with {note}', left(talk.id::text, 4)), null),
       ('decomposed', 'system', 'notice', format(E'🧩 %s has 1 part\n⏳ %s Count the lines [any]', left(talk.id::text, 4), left(part.id::text, 4)), 3447003),
       ('routed', 'system', 'notice', format('🔀 %s goes to model codex on tap-all, by postgres', left(part.id::text, 4)), 9807270)) x (event, who, kind, said, color) $$,
  'in their words');

-- One request that is several tasks, and one answer of what they did
create temp table whole as select (public.hub_send(tap.channel('garden'), E'!team Tidy up\n- the beds\n- the shed') #>> '{task,id}')::uuid as id;
select public.hub_complete_task(c.id, c.attempt, 'tidy') from public.hub_claim_tasks('tap-all', 50) c;
select is(pg_temp.events(id), 'queued decomposed synthesizing', 'a request that is several tasks') from whole;
select results_eq($$ select m.sender_type, m.content_type, m.content, m.embed_data ->> 'title', (m.embed_data ->> 'color')::int from public.hub_channel_messages m join whole on m.task_id = whole.id where m.event = 'synthesizing' $$,
  $$ select 'system', 'notice', format('🟡 %s gathers 2 parts', left(id::text, 4)), 'Synthesizing', 15844367 from whole $$, 'is gathered, in yellow');
select public.hub_cancel_task(id) from whole;

-- Without its session, and in a folder without git
create temp table moved as select tap.running('garden', 'goes on elsewhere') as id;
insert into public.hub_sessions (root_id, agent, account, device, session_id, folder) select id, 'claude', 'device:gone', 'gone', 's', project from public.mac_tasks join moved using (id);
update public.mac_tasks set session_id = 's', session_device = 'gone' where id = (select id from moved);
select public.hub_begin_attempt(id, 1), public.hub_report_workspace(id, 1, '{"kind": "in_place"}') from moved;
select is(pg_temp.events(id), 'queued started session_elsewhere workspace', 'without its session, in place') from moved;
select results_eq($$ select m.content, m.embed_data ->> 'title', (m.embed_data ->> 'color')::int, m.content_type
                       from public.hub_channel_messages m join moved on m.task_id = moved.id where m.event = 'session_elsewhere' $$,
  $$ select format('🧭 %s: gone, which has the session, is gone; claude begins afresh', left(id::text, 4)), 'Session Elsewhere', 9807270, 'notice' from moved $$, 'in one grey line');

-- Bridges and feeds
insert into public.hub_bridges (server_id, channel_id, provider, target)
  values (tap.server('buf-barista'), tap.channel('workshop'), 'discord', 'channel:7');
select hub_internal.warn_of_bridge(id, target, 'it went {elsewhere}')
  from public.hub_bridges where target = 'channel:7';
select results_eq($$ select event, sender_label, content, embed_data
  from public.hub_channel_messages where channel_id = tap.channel('workshop') $$,
  $$ values ('bridge_warning', 'Aura Hub',
  '⚠️ A bridge of this channel (discord): it went {elsewhere}', null::jsonb) $$, 'a bridge that has trouble');
select public.hub_post_feeds();
select is((select string_agg(distinct m.event, ' ')
  from public.hub_channel_messages m join public.hub_channels c on c.id = m.channel_id
  where c.feed is not null), 'feed', 'a feed');
-- Asking people
insert into public.hub_ask_rules (server_id, tool, action, expires_after, on_expiry)
  select tap.server('buf-barista'), r.tool, r.action, r.after, r.outcome
    from (values ('Read', 'allow', null, null), ('Write', 'ask', interval '1 minute', 'remind')) r (tool, action, after, outcome);
insert into public.hub_ask_rules (server_id, tool, action, roles, persons)
  values (tap.server('buf-barista'), 'Edit', 'ask', '{}', array[tap.id('outsider')]);
create temp table asks as select tap.running('quick', 'Asks') as id;
select public.hub_ask(id, 1, 'approval', 'May I?', null, jsonb_build_object('tool', tool, 'input', 'x'))
  from asks, unnest(array['Read', 'Write', 'Edit']) tool;
select public.hub_recover(now() + interval '2 minutes');
select public.hub_answer_ask(a.id, 'deny') from public.hub_asks a join asks on a.task_id = asks.id where a.tool = 'Edit';
select public.hub_park_task(id, 1) from asks;
select is(pg_temp.events(id), 'queued started ask_settled asked ask_owners ask_closed ask_reminder parked', 'it asks') from asks;
select is_empty($$ select event from public.hub_message_events except select event
  from public.hub_channel_messages $$, 'no event is left untold by this test');

-- The table is what people read
update public.hub_message_events set title = 'Abgebrochen', text = '{task} ist abgebrochen, {reason}'
  where event = 'cancelled';
insert into public.hub_places (server_id, kind, target)
  values (tap.server('buf-barista'), 'github', 'acme/*');
insert into public.hub_bridges (server_id, channel_id, provider, target, direction, secret_name)
  values (tap.server('buf-barista'), tap.channel('research'), 'webhook', 'https://example.com/hook',
  'out', 'HUB_BRIDGE_X');
create temp table c as select tap.task('research') as id;
insert into hub_internal.webhook_tasks (delivery_id, channel_id, task_id, provider, repository, number, answer)
select gen_random_uuid(), tap.channel('research'), id, 'github', 'acme/app', 7, true from c;
select public.hub_cancel_task(id) from c;
select results_eq($$ select embed_data ->> 'title', content
  from public.hub_channel_messages m join c on m.task_id = c.id where m.event = 'cancelled' $$,
  $$ select 'Abgebrochen', left(id::text, 4) || ' ist abgebrochen, on request, before it ran' from c $$,
  'a text and a title that were changed');
select is((select string_agg(body ->> 'type', ' ' order by seq)
  from public.hub_outbox
  where provider = 'webhook' and task_id = (select id from c) and not is_progress), 'task.cancelled',
  'a webhook says what happened');
select is((select body ->> 'text' from public.hub_outbox where kind = 'github_comment'),
  (select format(E'🚫 Task %s cancelled\n\non request, before it ran\n\n<!-- aura-hub:%s -->', left(id::text, 4), id) from c), 'and so does the answer on GitHub');
select is((select count(*)::int
  from public.hub_outbox o join public.hub_channel_messages m on m.id = o.message_id
  where o.kind = 'github_comment' and m.event = 'cancelled'), 1, 'which is of that message');
select public.hub_retry_task(id) from c;
select public.hub_complete_task(id, pg_temp.claim(id), E'cancelled: not at all\nbut done') from c;
select is((select body ->> 'text'
  from public.hub_outbox where kind = 'github_comment' order by seq desc limit 1),
  (select format(E'✅ Task %s complete\n\ncancelled: not at all\nbut done\n\n<!-- aura-hub:%s -->', left(id::text, 4), id) from c), 'each ending once, in the task''s own words');
update public.mac_tasks set metadata = '{"a":"b"}', updated_at = now() where id = (select id from c);
select is((select count(*)::int
  from public.hub_outbox where kind = 'github_comment'), 2, 'a later write of the row is no ending');
create temp table lost as select tap.task('research') as id;
insert into hub_internal.webhook_tasks (delivery_id, channel_id, task_id, provider, repository, number, answer)
select gen_random_uuid(), tap.channel('research'), id, 'github', 'acme/app', 8, true from lost;
update public.mac_tasks t set max_attempts = 1 from lost where t.id = lost.id;
select from lost, public.hub_begin_attempt(id, pg_temp.claim(id));
select from public.hub_recover(now() + interval '1 hour');                   -- which ends an outage
select from public.hub_recover(now() + interval '1 hour 30 seconds');
select matches((select t.status || ' ' || t.error from public.mac_tasks t join lost using (id)), '^failed lease lost: tap-all was not heard of', 'people of the server read which machine lost a task');
select is((select split_part(body ->> 'text', E'\n\n', 2) from public.hub_outbox where kind = 'github_comment' order by seq desc limit 1),
  'lease lost: the machine that ran it was not heard of again', 'strangers on GitHub do not');

-- A closed set, written by nobody but the hub
select throws_ok(
  $$ select hub_internal.post('nothing', tap.channel('garden'), null, null, hub_internal.named_values('note', 'x')) $$,
  '23514', 'bad input', 'an event is a row of the table');
select throws_ok($$ select hub_internal.named_values('nothing', 'x') $$, '22004', null, 'a value has one of the names');
select throws_ok($$ update public.hub_message_events set text = 'What {is} this' where event = 'queued' $$,
  '23514', null, 'so has what a template names');
select throws_ok($$ update public.hub_message_events set title = null where event = 'queued' $$,
  '23514', null, 'an embed has a title and a color');
create function pg_temp.says(p_actor text, p_kind text) returns text language sql volatile as $$
  select tap.outcome(p_actor, format(
    'insert into public.hub_channel_messages (channel_id, content, sender_type, event) values (%L, %L, %L, %L)',
    tap.channel('quick'), 'x', p_kind, 'complete'))
$$;
select is(pg_temp.says(who, kind), '42501', who || ' says no event')
  from (values ('viewer', 'human'), ('operator', 'human'), ('owner', 'human'), ('device:tap-all', 'device'),
               ('service', 'system'), ('anon', 'human')) w (who, kind);
select is(tap.outcome('service', 'update public.hub_channel_messages set event = null'), '42501',
  'nor takes one away');
select is(tap.outcome('service', 'update public.hub_channel_messages set content = ''x'' where false'), 'ok',
  'what else a message has, the service writes');
select is(tap.outcome('operator',
  format('insert into public.hub_channel_messages (channel_id, content) values (%L, %L)', tap.channel('quick'), 'x')),
  'ok', 'and a person posts');
select is(tap.sees(who, 'public.hub_message_events where event = ''queued'''), sees, who || ' reads the events')
  from (values ('anon', '42501'), ('anonymous', '0'), ('outsider', '1'), ('viewer', '1'), ('operator', '1'),
               ('service', '1')) w (who, sees);
select is(tap.outcome(who, 'update public.hub_message_events set about = about'), '42501', who || ' changes none')
  from unnest(array['anon', 'viewer', 'owner', 'service']) who;

select * from finish();
rollback;
