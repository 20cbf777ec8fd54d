-- A model that is at its limit everywhere: who takes what meanwhile, who waits, what people are told, and that it ends.
\ir setup.psql
select no_plan();

update public.mesh_devices set revoked_at = now();
-- Each agent is a login of its own on each machine, so that each can be at its limit alone.
create function pg_temp.device(p_name text, p_agents text default 'claude,codex,gemini', p_server text default 'buf-barista', p_more jsonb default '[]') returns void language plpgsql as $$
begin
  perform public.hub_register_device(p_name, 'linux', (
    select jsonb_agg(jsonb_build_object('agent', a, 'models', jsonb_build_array(case a when 'survey' then 'any' else a end))) from unnest(string_to_array(p_agents, ',')) a) || p_more, 20);
  update public.mesh_devices set serves_all = false where name = p_name;
  insert into public.mesh_device_servers (device, server_id) values (p_name, tap.server(p_server)) on conflict do nothing;
end $$;
select pg_temp.device('one'), pg_temp.device('two'), pg_temp.device('elsewhere', p_server => 'cloud-hub');
create function pg_temp.work(p_model text default 'claude', p_channel text default 'garden', p_pinned boolean default false, p_agent text default null) returns uuid language sql as $$
  insert into public.mac_tasks (content, channel_id, model_preference, model_pinned, requested_agent) values ('work', tap.channel(p_channel), p_model, p_pinned, p_agent) returning id $$;
-- Who takes it as what on that device; '-': nobody does. Undone.
create function pg_temp.takes(p_task uuid, p_device text default 'one') returns text language plpgsql as $$
declare v_said text;
begin
  begin
    select c.agent || ' as ' || coalesce(c.model, '?') into v_said from public.hub_claim_tasks(p_device, 20) c where c.id = p_task;
    raise exception sqlstate 'TAP00';
  exception when sqlstate 'TAP00' then return coalesce(v_said, '-'); end;
end $$;
create function pg_temp.limit(p_devices text, p_agents text, p_until interval default '2 hours') returns void language sql as $$
  select hub_internal.report_rate_limit(d, a, null, now() + p_until, 'You have hit your limit', 'structured', null, null, null, now()) from unnest(string_to_array(p_devices, ',')) d, unnest(string_to_array(p_agents, ',')) a $$;
create function pg_temp.keep() returns int language plpgsql as $$
begin
  perform set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true);
  return hub_internal.weigh_lanes(now(), 1000);
end $$;
create function pg_temp.over(p_agents text) returns void language plpgsql as $$
begin
  update public.mesh_quota_pools set limited_since = now() - interval '1 hour', limited_until = now() where agent = any (string_to_array(p_agents, ','));
  perform hub_internal.lift_limits(now(), 1000);
end $$;
create function pg_temp.fresh() returns void language plpgsql as $$
begin
  update public.mac_tasks set status = 'cancelled' where status in ('pending', 'running', 'waiting', 'blocked');
  delete from public.mesh_quota_pools;
  delete from public.mesh_logins;
  delete from realtime.messages;
  delete from hub_internal.weigh_requests;
  update hub_internal.lanes set runs_as = null, weighed_at = now();
end $$;
create function pg_temp.why(p_task uuid) returns text language sql as $$ select string_agg(concat_ws(' | ', e.reason, e.detail, e.until - now()), ' || ') from public.hub_explain_task(p_task) e $$;
create function pg_temp.lane(p_task uuid) returns hub_internal.lanes language sql as $$ select l.* from public.mac_tasks t join hub_internal.lanes l on l.id = t.lane where t.id = p_task $$;
create function pg_temp.woken(p_device text) returns int language sql as $$ select count(*)::int from realtime.messages where topic = 'device:' || p_device and event = 'wake' $$;
create function pg_temp.until(p_until interval) returns text language sql as $$ select to_char(date_trunc('minute', now() at time zone 'utc' + p_until + interval '59.999999 seconds'), 'YYYY-MM-DD HH24:MI') || ' UTC (says claude)' $$;

-- What is shipped, and what it makes of a lane
select results_eq($$ select model, string_agg(fallback, ' ' order by position) from public.hub_model_fallbacks where server_id is null group by model order by model $$,
  $$ values ('claude', 'codex gemini'), ('codex', 'claude gemini'), ('gemini', 'claude codex') $$, 'the order that is shipped');
create temp table w as select pg_temp.work() as claude, pg_temp.work('gemini') as gemini, pg_temp.work('any') as "any", pg_temp.work(p_pinned => true) as pinned, pg_temp.work('any', p_agent => 'claude') as agent, pg_temp.work('any', p_pinned => true) as nothing;
select results_eq($$ select (pg_temp.lane(claude)).ways, (pg_temp.lane(gemini)).ways, (pg_temp.lane("any")).ways, (pg_temp.lane(pinned)).ways, (pg_temp.lane(agent)).ways from w $$,
  $$ values ('{claude,codex,gemini}'::text[], '{gemini,claude,codex}'::text[], '{any}'::text[], '{claude}'::text[], '{any}'::text[]) $$, 'a lane has the ways of its model; one that is pinned, for an agent or for any has its own');
select is((pg_temp.lane("any")).id, (pg_temp.lane(nothing)).id, 'to pin no model makes no lane') from w;
select is_empty('select from hub_internal.lanes where runs_as is not null or weighed_at is null', 'each is weighed as it is made, and goes its own way');

-- At its limit on one machine it is not at its limit
select pg_temp.limit('one', 'claude');
select is(pg_temp.keep(), 0, 'nothing changes');
select is(pg_temp.takes(claude) || ', ' || pg_temp.takes(claude, 'two'), '-, claude as claude', 'where one machine has some left, it is that one''s') from w;
-- Everywhere
select pg_temp.limit('two', 'claude', '3 hours');
select ok(hub_internal.lanes_to_weigh(), 'a limit has the lanes of that machine weighed anew');
select is(pg_temp.takes(claude) || ', ' || pg_temp.takes(claude, 'two'), '-, -', 'that it is dry is seen at once') from w;
delete from realtime.messages;
select is(pg_temp.keep(), 1, 'and soon where it goes');
select is(pg_temp.keep(), 0, 'once');
select is(pg_temp.takes(claude) || ', ' || pg_temp.takes(claude, 'two'), 'codex as codex, codex as codex', 'the next of the order runs it') from w;
select ok(pg_temp.woken('one') > 0 and pg_temp.woken('two') > 0 and pg_temp.woken('elsewhere') = 0, 'and who has it is woken');
select is(pg_temp.takes(pinned) || ', ' || pg_temp.takes(agent) || ', ' || pg_temp.takes(gemini), '-, -, gemini as gemini', 'what was asked for is waited for, model or agent; others are not touched') from w;
select is(pg_temp.takes(pg_temp.work('claude')), 'codex as codex', 'a new task goes there too');
select is(pg_temp.takes(pg_temp.work('claude', 'memory-import')), 'codex as codex', 'also in a lane of its own, which is weighed as it is made') where exists (select from public.hub_channels where name = 'memory-import');
select is(pg_temp.why(claude), format('goes to codex | claude is at its limit until %s, on every machine that has it; new tasks return to it then | 02:00:00 || claimable | one, two could take it; nothing is ahead of it in its lane', pg_temp.until('2 hours')), 'explain says what runs it, and until when') from w;
select alike(pg_temp.why(pinned), 'every agent for it is at its limit | claude on one is at its limit until %; claude on two is at its limit until %. It waits because claude was asked for:%', 'and why one waits') from w;
-- openclaw#59303: the order is tried to its end
select pg_temp.limit('one,two', 'codex', '4 hours');
select is(pg_temp.keep(), 1);
select is(pg_temp.takes(claude), 'gemini as gemini', 'openclaw#59303: the second is dry, the third runs it') from w;
select is((pg_temp.lane(pg_temp.work('codex'))).runs_as, 'gemini', 'each model by its own order');
select pg_temp.limit('one,two', 'gemini', '1 hour');
select pg_temp.keep();
select is(pg_temp.takes(claude), '-', 'where all are dry it waits') from w;
select is((pg_temp.lane(claude)).runs_as, null, 'for its own') from w;
select alike(pg_temp.why(claude), 'every agent for it is at its limit | gemini on one is at its limit until %; gemini on two is at its limit until %; claude on one %; claude on two %; codex on one %; codex on two %; then it goes on by itself, % | 01:00:00', 'for whichever is free first') from w;
select pg_temp.over('gemini');
select is(pg_temp.keep() > 0, true);
select is(pg_temp.takes(claude), 'gemini as gemini', 'and takes it') from w;
-- openclaw#17478: back to the first choice
select pg_temp.over('claude');
delete from realtime.messages;
select is(pg_temp.keep() > 0, true, 'when its own is free again');
select is(pg_temp.takes(claude) || ', ' || pg_temp.takes(pg_temp.work()), 'claude as claude, claude as claude', 'openclaw#17478: what waits and what is new returns to it') from w;
select ok(pg_temp.woken('one') > 0, 'and who has it is woken');
select pg_temp.fresh();

-- What is no limit
create temp table n as select pg_temp.work() as id;
select pg_temp.limit('one,two', 'codex');
select public.hub_sign_off('one'), public.hub_sign_off('two');
select pg_temp.keep();
select is((pg_temp.lane(id)).runs_as, null, 'a model whose machines are all away is not at its limit: it waits') from n;
select pg_temp.device('one'), pg_temp.limit('two', 'claude');
select pg_temp.keep();
select is(pg_temp.takes(id), 'claude as claude', 'nor where the one that is left is not') from n;
select pg_temp.fresh(), pg_temp.device('one', 'codex,survey'), pg_temp.device('two', 'codex,survey');
select pg_temp.limit('one', 'codex');
create temp table nobody as select pg_temp.work() as id;
select is((pg_temp.lane(id)).runs_as, null, 'a model that no machine has is not either') from nobody;
select pg_temp.fresh(), pg_temp.device('one', 'claude,survey'), pg_temp.device('two', 'survey'), pg_temp.limit('one', 'claude');
select is((pg_temp.lane(pg_temp.work())).runs_as, null, 'survey stands in for nothing');
select pg_temp.fresh(), pg_temp.device('one', 'claude,codex'), pg_temp.device('two', 'claude,codex');
select pg_temp.limit('one', 'claude'), public.hub_report_login('two', 'claude', false, 'expired');
select pg_temp.keep();
select is((pg_temp.lane(pg_temp.work())).runs_as, 'codex', 'a broken login is no way, so with a limit elsewhere it is dry');
select public.hub_report_login('two', 'claude', true);
select pg_temp.keep();
select is(pg_temp.takes(pg_temp.work(), 'two'), 'claude as claude', 'and one that holds again is');
select public.hub_drain_device('two', true);
select pg_temp.keep();
select is(pg_temp.takes(pg_temp.work()), 'codex as codex', 'a machine that takes nothing new is none');
select public.hub_drain_device('two', false);
select pg_temp.keep();
select is((pg_temp.lane(pg_temp.work())).runs_as, null, 'until it does');
select public.hub_revoke_device('two');
select pg_temp.keep();
select is((pg_temp.lane(pg_temp.work())).runs_as, 'codex', 'nor is one that is revoked');
select public.hub_revoke_device('two', false), pg_temp.device('two');
select pg_temp.keep();
select is((pg_temp.lane(pg_temp.work())).runs_as, null, 'a worker that begins is one');
select pg_temp.fresh(), pg_temp.device('one'), pg_temp.device('two');
-- What nobody told of is found within a minute
create temp table silent as select pg_temp.work() as id;
select pg_temp.limit('one', 'claude'), pg_temp.keep();
update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour' where name = 'two';
select is(pg_temp.keep(), 0);
select is(hub_internal.weigh_lanes(now() + interval '51 seconds', 1000), 1, 'a machine that fell silent is found by looking');
select is((pg_temp.lane(id)).runs_as, 'codex') from silent;
update public.mesh_quota_pools set limited_until = now();
select is((select count(*)::int from public.hub_recover(now() + interval '2 minutes')), 1, 'so is a limit whose end nobody told');
select is((pg_temp.lane(id)).runs_as, null) from silent;
select pg_temp.fresh(), pg_temp.device('two');
-- One of another server is nobody's here
select pg_temp.limit('elsewhere', 'claude');
select is((pg_temp.lane(pg_temp.work())).runs_as, null, 'a stranger''s limit changes nothing');
select is((pg_temp.lane(pg_temp.work('claude', 'infrastructure'))).runs_as, 'codex', 'but for the stranger');
select pg_temp.fresh();
-- More lanes than are weighed at a time
insert into public.hub_places (kind, server_id, target) values ('project', tap.server('buf-barista'), '*') on conflict do nothing;
insert into public.mac_tasks (content, channel_id, model_preference, project) select 'many', tap.channel('garden'), 'claude', 'many/p' || n from generate_series(1, 230) n;
select pg_temp.limit('one,two', 'claude');
select is(pg_temp.keep(), 200, 'so many at a time');
select is(pg_temp.keep(), 31, 'then the rest');
select ok(not hub_internal.lanes_to_weigh(), 'all of them');
select pg_temp.fresh();
delete from hub_internal.lanes where project like 'many/%';

-- The order is the owners'
create temp table o as select pg_temp.work() as id;
select pg_temp.limit('one,two', 'claude'), pg_temp.keep();
select tap.become('owner');
insert into public.hub_model_fallbacks (server_id, model, position, fallback) values (tap.server('buf-barista'), 'claude', 1, 'gemini');
select tap.become('postgres');
select pg_temp.keep();
select is((pg_temp.lane(id)).ways, '{claude,gemini}', 'a server with an order of its own has that alone') from o;
select is(pg_temp.takes(id), 'gemini as gemini') from o;
insert into public.hub_model_fallbacks (server_id, model, position, fallback) values (tap.server('buf-barista'), 'claude', 2, 'wait'), (tap.server('buf-barista'), 'claude', 3, 'codex');
select pg_temp.keep();
select is((pg_temp.lane(id)).ways, '{claude,gemini}', 'after wait nothing is tried') from o;
delete from public.hub_model_fallbacks where server_id = tap.server('buf-barista') and position <> 2;
select pg_temp.keep();
select is((pg_temp.lane(id)).ways, '{claude}', 'wait alone: it waits') from o;
select is(pg_temp.takes(id), '-') from o;
select is((pg_temp.lane(pg_temp.work('gemini'))).ways, '{gemini,claude,codex}', 'other models have what is shipped');
delete from public.hub_model_fallbacks where server_id = tap.server('buf-barista');
select pg_temp.keep();
select is((pg_temp.lane(id)).ways, '{claude,codex,gemini}', 'as it has again') from o;
update public.hub_model_fallbacks set position = 9 where server_id is null and model = 'claude' and fallback = 'codex';
select pg_temp.keep();
select is((pg_temp.lane(id)).ways, '{claude,gemini,codex}', 'what is shipped the deployment changes') from o;
update public.hub_model_fallbacks set position = 1 where server_id is null and model = 'claude' and fallback = 'codex';
select throws_ok(format($$ insert into public.hub_model_fallbacks (server_id, model, position, fallback) values (tap.server('buf-barista'), %s) $$, v), c, null, 'none: ' || v)
  from (values ($$'any', 1, 'codex'$$, '23514'), ($$'claude', 1, 'claude'$$, '23514'), ($$'claude', 1, 'any'$$, '23514'), ($$'claude', 0, 'codex'$$, '23514'), ($$'claude', 11, 'codex'$$, '23514')) x (v, c);
insert into public.hub_model_fallbacks (server_id, model, position, fallback) values (tap.server('buf-barista'), 'claude', 1, 'codex');
select throws_ok($$ insert into public.hub_model_fallbacks (server_id, model, position, fallback) values (tap.server('buf-barista'), 'claude', 2, 'codex') $$, '23505', null, 'no model twice');
delete from public.hub_model_fallbacks where server_id is not null;
update hub_internal.quotas set amount = 1 where name = 'server_fallbacks';
select is(tap.outcome('owner', $$ insert into public.hub_model_fallbacks (server_id, model, position, fallback) select tap.server('buf-barista'), 'claude', n, f from (values (1, 'codex'), (2, 'gemini')) x (n, f) $$), 'UH006', 'as many as a server may have');
select pg_temp.fresh();

-- What it is run as, and what people are told
create temp table r as select pg_temp.work() as id;
select pg_temp.limit('one', 'claude'), pg_temp.limit('two', 'claude', '3 hours'), pg_temp.keep();
select count(*) from public.hub_claim_tasks('one', 20);
select results_eq($$ select t.model, t.model_preference, t.agent, a.fallback_from from r join public.mac_tasks t using (id) join public.hub_task_attempts a on a.task_id = r.id $$, $$ values ('codex', 'claude', 'codex', 'claude') $$, 'the row says as what it runs, its attempt in place of what');
select results_eq($$ select m.event, m.content, m.embed_data ->> 'title', (m.embed_data ->> 'color')::int, m.content_type from public.hub_channel_messages m join r on m.task_id = r.id where m.event <> 'queued' order by m.seq $$,
  $$ select x.* from r, lateral (values ('fallback', format('⤵️ %s goes to codex: claude is at its limit until %s', left(id::text, 4), pg_temp.until('2 hours')), 'Fallback', 9807270, 'notice'),
                                        ('started', format('▶️ %s started [codex/one]', left(id::text, 4)), null, null, 'progress')) x $$, 'a line says so');
select public.hub_fail_task(id, 1, 'broke', true, '{"reason": "exit"}') from r;
select results_eq($$ select t.model, t.agent from r join public.mac_tasks t using (id) $$, $$ values ('claude', null::text) $$, 'tried again it is for its own model');
update public.mac_tasks set run_after = null where id = (select id from r);
select count(*) from public.hub_claim_tasks('one', 20);
select public.hub_complete_task(id, 2, 'Done.', '{"model": "gpt-6"}') from r;
select is((select f ->> 'value' from public.hub_channel_messages m join r on m.task_id = r.id, jsonb_array_elements(m.embed_data -> 'fields') f where m.event = 'complete' and f ->> 'name' = 'Model'), 'gpt-6 (instead of claude)', 'so does the embed of the end');
create temp table q as select pg_temp.work() as id;
select count(*) from public.hub_claim_tasks('one', 20);
select public.hub_complete_task(id, 1, 'Done.', '{}') from q;
select is((select f ->> 'value' from public.hub_channel_messages m join q on m.task_id = q.id, jsonb_array_elements(m.embed_data -> 'fields') f where m.event = 'complete' and f ->> 'name' = 'Model'), 'codex (instead of claude)', 'by its agent where the model is not told');
create temp table c as select pg_temp.work() as id;
select count(*) from public.hub_claim_tasks('one', 20);
select public.hub_fail_task(id, 1, 'no', false, '{"reason": "exit"}') from c;
select pg_temp.over('claude'), pg_temp.keep();
select public.hub_retry_task(id) from c;
select is(pg_temp.takes(id), 'claude as claude', 'and queued again it is for its own') from c;
update public.mac_tasks set status = 'running', claimed_by = 'older', model = 'opus' where id = (select id from c);
select is((select count(*)::int from public.hub_channel_messages m join c on m.task_id = c.id where m.event = 'fallback'), 1, 'an executor of the older kind that names its model has told of nothing');
select pg_temp.fresh();

-- Who asked for a model
create function pg_temp.pinned(p_task uuid) returns text language sql as $$ select concat_ws(' ', t.model_preference, t.model_pinned) from public.mac_tasks t where t.id = p_task $$;
update public.hub_channels set model_preference = 'codex' where name = 'garden';
create temp table p as select tap.task('garden', 'Ask claude for a bridge') as asked, tap.task('garden', 'Build a bridge') as liked;
select is(pg_temp.pinned(asked) || ', ' || pg_temp.pinned(liked), 'claude t, codex f', 'a model that is spoken to is pinned; a channel''s preference pins nothing') from p;
select pg_temp.device('two', p_more => '[{"agent":"pi","models":["any"]}]');
select is(pg_temp.pinned(tap.task('garden', 'Ask pi for a bridge')), 'any f', 'nor does an agent that is asked for');
create temp table s as select tap.task('dispatch', 'Ask claude for a bridge') as id;
select public.hub_create_task_thread(tap.channel('dispatch'), id) from s where (select thread_id from public.mac_tasks where id = s.id) is null;
select is(pg_temp.pinned((public.hub_send(tap.channel('dispatch'), 'And a door', (select thread_id from public.mac_tasks where id = s.id)) -> 'task' ->> 'id')::uuid), 'claude t', 'what follows keeps it') from s;
update public.mac_tasks set model_preference = 'claude', model_pinned = true where id = (select liked from p);
select count(*) from public.hub_claim_tasks('one', 20);
select count(*) from public.hub_claim_tasks('two', 20);
select is(pg_temp.pinned((public.hub_subtask(liked, 1, 'a', m, a)).id), e, 'a subtask: ' || concat_ws(' ', m, a)) from p, (values (null, null, 'claude t'), ('codex', null, 'codex t'), ('any', null, 'any f'), (null, 'claude', 'any f')) x (m, a, e);
select is(pg_temp.pinned((public.hub_route_task(id, p_model => 'gemini')).id), 'gemini t', 'an operator pins it') from (select pg_temp.work() as id) x;
select is(pg_temp.pinned((public.hub_route_task(id, p_model => 'any')).id), 'any f', 'and lets it go') from (select pg_temp.work(p_pinned => true) as id) x;
select is(pg_temp.pinned((public.hub_route_task(id, p_agent => 'claude')).id), 'any f', 'for an agent') from (select pg_temp.work(p_pinned => true) as id) x;
select is(pg_temp.pinned((public.hub_route_task(id, p_device => 'one')).id), 'claude t', 'not for a machine') from (select pg_temp.work(p_pinned => true) as id) x;
select lives_ok($$ select tap.become('operator'); insert into public.mac_tasks (content, channel_id, model_preference, model_pinned) values ('mine', tap.channel('garden'), 'claude', true); $$, 'whoever inserts a task may');
select tap.become('postgres');
update public.hub_channels set model_preference = 'any' where name = 'garden';
select pg_temp.fresh(), pg_temp.device('two');

-- An attempt that is limited
create function pg_temp.limited(p_task uuid, p_until interval, p_session text default 's-1', p_device text default 'one', p_retryable boolean default true) returns text language plpgsql as $$
declare v_task public.mac_tasks;
begin
  perform public.hub_claim_tasks(p_device, 20);
  select t.* into v_task from public.mac_tasks t where t.id = p_task;
  v_task := public.hub_fail_task(p_task, v_task.attempt, 'You have hit your limit', p_retryable,
    jsonb_strip_nulls(jsonb_build_object('reason', 'limit', 'session_id', p_session, 'limit', jsonb_build_object('until', now() + p_until, 'source', 'structured'))));
  return concat_ws(', ', v_task.status, (select a.outcome from public.hub_task_attempts a where a.task_id = p_task order by a.attempt desc limit 1), v_task.max_attempts - v_task.attempt || ' left', v_task.session_id, v_task.session_device, v_task.agent);
end $$;
create temp table l as select pg_temp.work() as short, pg_temp.work() as long, pg_temp.work() as told, pg_temp.work() as unknown;
select is(pg_temp.limited(short, '5 minutes'), 'pending, limited, 3 left, s-1, one, claude', 'it costs none, and where the limit is over soon it waits with its session, whose id is believed without a word') from l;
select is((select s.session_id || ' ' || s.state from public.hub_sessions s join l on s.root_id = l.short), 's-1 ok', 'which is kept');
select is(pg_temp.takes(short, 'two'), '-', 'there') from l;
select pg_temp.over('claude');
select is(pg_temp.takes(short), 'claude as claude') from l;
update public.mac_tasks set status = 'cancelled' where id = (select short from l);
select is(pg_temp.limited(long, '2 hours', 's-2'), 'pending, limited, 3 left, s-2', 'for longer it goes on wherever it can') from l;
select pg_temp.over('claude');
select is(pg_temp.limited(told, '2 hours', null, p_retryable => false), 'pending, limited, 3 left', 'without a session too, and whatever was said of trying again') from l;
select pg_temp.over('claude');
select public.hub_set_when_limited(tap.channel('garden'), 'wait');
select is(pg_temp.limited(unknown, '2 hours', 's-3'), 'pending, limited, 3 left, s-3, one, claude', 'where the channel says so a task with a session waits, however long') from l;
select pg_temp.limit('two', 'claude'), pg_temp.keep();
select is(pg_temp.takes(unknown) || pg_temp.takes(unknown, 'two'), '--', 'and changes neither machine nor agent') from l;
update public.mac_tasks set updated_at = now() - interval '3 hours' from l where mac_tasks.id = l.unknown;
select is(hub_internal.unpin_sessions(now(), 100), 0, 'is not unpinned for that');
select is(hub_internal.unpin_sessions(now() + interval '1 hour', 100), 1, 'but where its machine is away') from (select public.hub_sign_off('one')) x;
select pg_temp.device('one');
update public.mac_tasks set session_device = 'one', agent = 'claude' from l where mac_tasks.id = l.unknown;
select public.hub_set_when_limited(tap.channel('garden'), 'brief');
select is(hub_internal.unpin_sessions(now(), 100), 1, 'or the channel says that it goes on with a brief');
select pg_temp.limit('one', 'claude'), pg_temp.keep();
select is(pg_temp.takes(unknown), 'codex as codex', 'by whatever stands in') from l;
select pg_temp.fresh();
-- What runs elsewhere goes on there
create temp table g as select pg_temp.work() as id;
select pg_temp.limit('one,two', 'claude'), pg_temp.keep();
select count(*) from public.hub_claim_tasks('one', 20);
select public.hub_ask(id, 1, 'question', 'Which?') from g;
select public.hub_park_task(id, 1, '{"session_id": "x-1"}') from g;
select pg_temp.over('claude'), pg_temp.keep();
select public.hub_answer_ask(a.id, 'this') from public.hub_asks a join g on a.task_id = g.id;
select results_eq($$ select t.status, t.session_device, t.agent, (pg_temp.lane(g.id)).model, pg_temp.takes(g.id, 'one'), pg_temp.takes(g.id, 'two') from g join public.mac_tasks t using (id) $$,
  $$ values ('pending', 'one', 'codex', 'any', 'codex as claude', '-') $$, 'in the session that it has with another agent, which does not offer its model');
select is(pg_temp.limited(id, '5 minutes', 'x-2'), 'pending, limited, 3 left, x-2, one, codex', 'where that meets a limit') from g;
select is(pg_temp.takes(id), '-', 'it is not taken again at once') from g;
select pg_temp.fresh();

select * from finish();
rollback;
