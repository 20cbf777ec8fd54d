-- An agent that is at its limit or not logged in: what is kept of it, who takes what meanwhile, what people are told, and that it ends.
\ir setup.psql
select no_plan();

update public.mesh_devices set revoked_at = now();
-- Machines of one server: 'one' and 'two' share an account, 'three' did not say whose its login is; 'elsewhere' is of another server and names the same account.
create function pg_temp.device(p_name text, p_account text default 'ann@example.com', p_server text default 'buf-barista', p_agents text default 'claude,codex')
  returns void language plpgsql as $$
begin
  perform public.hub_register_device(p_name, 'linux', (
    select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('agent', a, 'account', p_account,
             'models', case a when 'survey' then '["any"]'::jsonb when 'claude' then '["claude", "gemini"]' else jsonb_build_array(a) end)))
      from unnest(string_to_array(p_agents, ',')) a), 20);
  update public.mesh_devices set serves_all = false where name = p_name;
  insert into public.mesh_device_servers (device, server_id) values (p_name, tap.server(p_server)) on conflict do nothing;
end $$;
select pg_temp.device('one'), pg_temp.device('two'), pg_temp.device('three', null), pg_temp.device('elsewhere', p_server => 'cloud-hub');

create function pg_temp.work(p_model text default 'claude', p_channel text default 'garden', p_agent text default null) returns uuid language plpgsql as $$
declare v_id uuid;
begin
  insert into public.mac_tasks (content, channel_id, model_preference, requested_agent) values ('work', tap.channel(p_channel), p_model, p_agent) returning id into v_id;
  return v_id;
end $$;
-- Who would run it on that device; null: the device does not take it. Undone.
create function pg_temp.takes(p_task uuid, p_device text) returns text language plpgsql as $$
declare v_agent text;
begin
  begin
    select c.agent into v_agent from public.hub_claim_tasks(p_device, 20) c where c.id = p_task;
    raise exception sqlstate 'TAP00';
  exception when sqlstate 'TAP00' then return v_agent; end;
end $$;
create function pg_temp.all_take(p_task uuid) returns text language sql as $$
  select string_agg(d || ' ' || coalesce(pg_temp.takes(p_task, d), '-'), ', ') from unnest(array['one', 'two', 'three']) d $$;
create function pg_temp.why(p_task uuid) returns text language sql as $$
  select string_agg(concat_ws(' | ', e.reason, e.detail, e.until - now()), ' || ') from public.hub_explain_task(p_task) e $$;
create function pg_temp.limit(p_device text default 'one', p_agent text default 'claude', p_model text default null, p_until interval default '2 hours',
                              p_source text default 'structured', p_window text default null, p_used numeric default null, p_later interval default '0') returns interval language plpgsql as $$
begin
  perform hub_internal.report_rate_limit(p_device, p_agent, p_model, now() + p_later + p_until, 'You have hit your limit', p_source, p_window, p_used, null, now() + p_later);
  return (select q.limited_until - (now() + p_later) from public.mesh_quota_pools q where q.agent = p_agent and q.model is not distinct from p_model and q.window_name is not distinct from p_window
             and q.account = hub_internal.account_of(p_device, p_agent) and q.servers is not distinct from hub_internal.account_party(p_device, q.account));
end $$;
create function pg_temp.fresh() returns void language plpgsql as $$
begin
  delete from public.mesh_quota_pools;
  delete from public.mesh_logins;
  delete from realtime.messages;
  update public.mac_tasks set status = 'cancelled' where status in ('pending', 'running');
  perform set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true);
end $$;
create function pg_temp.woken(p_device text) returns int language sql as $$ select count(*)::int from realtime.messages where topic = 'device:' || p_device and event = 'wake' $$;

-- Accounts
select is_empty($$ select from public.mesh_devices d where d.agents::text like '%account%' or d::text like '%example.com%' $$, 'who sees a device does not learn of its accounts');
select throws_ok(format('select public.hub_register_device(%L, %L, %L, 1)', 'one', 'linux', a), 'UH001', 'bad input', 'an account that is ' || why)
  from (values ('[{"agent":"a","models":[],"account":1}]', 'a number'), ('[{"agent":"a","models":[],"account":""}]', 'empty'),
               (format('[{"agent":"a","models":[],"account":"%s"}]', repeat('x', 201)), 'too long'), ('[{"agent":"a","models":[],"account":"a\u200bb"}]', 'invisible'),
               ('[{"agent":"a","models":[],"account":"a\nb"}]', 'of two lines'), ('[{"agent":"a","models":[],"account":"device:two"}]', 'another machine''s own'),
               ('[{"agent":"a","models":[],"account":"x"},{"agent":"a","models":["codex"]}]', 'two')) x (a, why);
select lives_ok($$ select public.hub_register_device('one', 'linux', '[{"agent":"a","models":[],"account":null}]', 1) $$, 'null is none');
select pg_temp.device('one');

-- What may be reported
select throws_ok(format('select public.hub_report_rate_limit(%s)', a), c, m, 'a limit: ' || a)
  from (values ($$null, 'claude', null, null, 'x'$$, 'UH001', 'bad input'), ($$'nobody', 'claude', null, null, 'x'$$, 'UH005', 'device unknown'), ($$'tap-all', 'claude', null, null, 'x'$$, 'UH005', 'device revoked'),
               ($$'one', null, null, null, 'x'$$, 'UH001', 'bad input'), ($$'one', 'gemini', null, null, 'x'$$, 'UH001', 'bad input'), ($$'one', repeat('x', 100000), null, null, 'x'$$, 'UH001', 'bad input'),
               ($$'one', 'claude', '', null, 'x'$$, 'UH001', 'bad input'), ($$'one', 'claude', repeat('x', 201), null, 'x'$$, 'UH001', 'bad input'), ($$'one', 'claude', E'a\nb', null, 'x'$$, 'UH001', 'bad input'),
               ($$'one', 'claude', E'a\u202eb', null, 'x'$$, 'UH001', 'bad input'), ($$'one', 'claude', ' ', null, 'x'$$, 'UH001', 'bad input'),
               ($$'one', 'claude', null, 'infinity', 'x'$$, 'UH001', 'bad input'), ($$'one', 'claude', null, '-infinity', 'x'$$, 'UH001', 'bad input'),
               ($$'one', 'claude', null, null, 'x', 'rumour'$$, 'UH001', 'bad input'), ($$'one', 'claude', null, null, 'x', null$$, 'UH001', 'bad input'), ($$'one', 'claude', null, null, 'x', 'text', 'century'$$, 'UH001', 'bad input'),
               ($$'one', 'claude', null, null, 'x', 'text', null, -0.1$$, 'UH001', 'bad input'), ($$'one', 'claude', null, null, 'x', 'text', null, 'NaN'$$, 'UH001', 'bad input'), ($$'one', 'claude', null, null, 'x', 'text', null, 1e30$$, 'UH001', 'bad input')) x (a, c, m);
select throws_ok(format('select public.hub_report_login(%s)', a), c, m, 'a login: ' || a)
  from (values ($$null, 'claude', true$$, 'UH001', 'bad input'), ($$'one', null, true$$, 'UH001', 'bad input'), ($$'one', 'gemini', false$$, 'UH001', 'bad input'), ($$'one', 'claude', null$$, 'UH001', 'bad input'), ($$'tap-all', 'claude', false$$, 'UH005', 'device revoked')) x (a, c, m);
select is(tap.outcome('device:elsewhere', $$select public.hub_report_rate_limit('one', 'claude', null, null, 'x')$$), '42501', 'another device may not speak for it');
select is(tap.outcome('device:elsewhere', $$select public.hub_report_login('one', 'claude', false)$$), '42501', 'nor of its login');
select public.hub_report_rate_limit('one', 'claude', null, null, E'\u202e  a\nb\u200b' || repeat('x', 100000)), public.hub_report_login('one', 'claude', false, repeat(E'y\n', 100000));
select results_eq($$ select left(q.reason, 4), char_length(q.reason) <= 500, left(b.reason, 4), char_length(b.reason) <= 500 from public.mesh_quota_pools q, public.mesh_logins b $$,
                  $$ values ('a bx', true, 'y y ', true) $$, 'why is one line of what is seen');
select pg_temp.fresh();

-- Until when
select is(pg_temp.limit(p_until => u), is_, 'told ' || u) from (values (interval '2 hours', interval '2 hours'), ('-3 days', '1 minute'), ('1 second', '1 minute'), ('30 years', '8 days')) x (u, is_);
select is((select count(*) from public.mesh_quota_pools)::int, 1, 'one pool');
select is(pg_temp.limit(p_until => '1 hour', p_source => 'text'), interval '8 days', 'a text is not believed over what was structured');
select is(pg_temp.limit(p_until => '1 hour'), interval '1 hour', 'what is structured is, also when it is sooner');
select is(pg_temp.limit(p_until => null), interval '1 hour', 'nor is a guess while a limit holds');
select is(pg_temp.limit(p_until => '3 hours', p_later => '61 minutes', p_source => 'text'), interval '3 hours', 'after it any is');
select pg_temp.fresh();
select is(pg_temp.limit(p_until => null, p_later => later), is_, format('a guess after %s', later))
  from (values (1, interval '0', interval '5 minutes'), (2, '1 minute', '4 minutes'), (3, '6 minutes', '10 minutes'), (4, '17 minutes', '20 minutes'), (5, '38 minutes', '40 minutes'),
               (6, '80 minutes', '60 minutes'), (7, '150 minutes', '60 minutes'), (8, '10 hours', '5 minutes')) x (n, later, is_) ;
select is((select source from public.mesh_quota_pools), 'guess', 'is called one, whatever it was called');
select is(pg_temp.limit(p_until => '2 hours', p_later => '10 hours 1 minute', p_source => 'text'), interval '2 hours', 'and what is known counts more');
select pg_temp.fresh();
select is(pg_temp.limit(p_until => null, p_used => 0.87, p_window => 'five_hour'), null, 'how much was used is kept');
select is((select used_share from public.mesh_quota_pools), 0.87);
select is(pg_temp.limit(p_until => null, p_used => 0.91, p_window => 'five_hour'), null, 'anew');
create temp table free as select pg_temp.work() as id;
select is(pg_temp.all_take(id), 'one claude, two claude, three claude', 'and stops nobody') from free;
select is(pg_temp.limit(p_until => null, p_used => 1.2, p_window => 'five_hour'), interval '5 minutes', 'all of it does');
select results_eq($$ select used_share, account, agent, model, source, reason, reported_by, servers from public.mesh_quota_pools $$,
                  $$ values (1::numeric, 'ann@example.com', 'claude', null::text, 'guess', 'You have hit your limit', 'one', array[tap.server('buf-barista')]) $$, 'with who said so');
select is(pg_temp.all_take(id), 'one -, two -, three claude', 'for who has that account') from free;
select is(pg_temp.limit(p_until => null, p_used => 0.2, p_window => 'five_hour', p_later => '1 minute'), interval '4 minutes', 'a share in between does not end it');
select pg_temp.fresh();
select pg_temp.limit(p_model => 'model ' || n) from generate_series(1, 260) n;
select ok(count(*) between 200 and 202, 'who names models without end forgets some') from public.mesh_quota_pools;
select pg_temp.fresh();

-- Who takes what meanwhile
create temp table t as select pg_temp.work('claude') as claude, pg_temp.work('codex') as codex, pg_temp.work('any') as "any", pg_temp.work('gemini') as gemini, pg_temp.work('any', p_agent => 'claude') as named;
select pg_temp.limit();
select is(pg_temp.all_take(claude), 'one -, two -, three claude', 'claude''s limit keeps both machines of the account') from t;
select is(pg_temp.all_take(codex), 'one codex, two codex, three codex', 'not from another agent''s work') from t;
select is(pg_temp.all_take("any"), 'one codex, two codex, three claude', 'an agent that fits and has some left takes its place') from t;
select is(pg_temp.all_take(named), 'one -, two -, three claude', 'not where it was asked for by name') from t;
select ok(pg_temp.takes(pg_temp.work('claude', 'infrastructure'), 'elsewhere') is not null, 'a stranger''s machine that names the same account is not stopped');
select pg_temp.limit('elsewhere', p_model => 'codex');
select is((select count(*) from public.mesh_quota_pools where account = 'ann@example.com')::int, 2, 'and has its own pool');
select pg_temp.fresh();
select pg_temp.limit('elsewhere');
select is(pg_temp.all_take(pg_temp.work()), 'one claude, two claude, three claude', 'nor can it stop others by that name');
select pg_temp.limit('three');
select is(pg_temp.all_take(pg_temp.work()), 'one claude, two claude, three -', 'a login that nobody named is that machine''s alone');
select is((select account from public.mesh_quota_pools where reported_by = 'three'), 'device:three', 'and is called by its name');
select pg_temp.fresh();
-- openclaw#5744, openclaw#3231: one model's limit cools all
select pg_temp.limit(p_model => 'gemini');
create temp table m as select pg_temp.work('claude') as claude, pg_temp.work('gemini') as gemini;
select is(pg_temp.all_take(claude), 'one claude, two claude, three claude', 'one model''s limit does not cool another') from m;
select is(pg_temp.all_take(gemini), 'one -, two -, three claude', 'only itself') from m;
select pg_temp.fresh();
-- Survey
select pg_temp.device('dev', null, p_agents => 'survey,claude'), pg_temp.device('lists', null, p_agents => 'survey');
create temp table s as select pg_temp.work('claude') as id;
select pg_temp.limit(d) from unnest(array['one', 'three', 'dev']) d;
select is(concat_ws(', ', pg_temp.all_take(id), pg_temp.takes(id, 'dev'), pg_temp.takes(id, 'lists')), 'one -, two -, three -', 'survey never takes the place of an agent that is only limited, on its machine or another') from s;
update public.mesh_quota_pools set limited_until = now() - interval '1 second', limited_since = now() - interval '1 minute';
select public.hub_report_login(d, 'claude', false) from unnest(array['one', 'two', 'three', 'dev']) d;
select is(concat_ws(', ', pg_temp.all_take(id), pg_temp.takes(id, 'dev'), pg_temp.takes(id, 'lists')), 'one -, two -, three -', 'or not logged in') from s;
select is(pg_temp.takes(pg_temp.work('claude', p_agent => 'survey'), 'dev'), 'survey', 'by name it does what it does');
select pg_temp.fresh();
update public.mesh_devices set revoked_at = now() where name in ('dev', 'lists');

-- The end of a limit
create temp table e as select pg_temp.work() as id;
select pg_temp.limit(), pg_temp.limit(p_model => 'gemini', p_until => '1 hour'), pg_temp.limit('three');
select pg_temp.fresh() from (select) x where false;
delete from realtime.messages;
select is(hub_internal.lift_limits(now() + interval '59 minutes', 100), 0, 'a limit that holds is not lifted');
select is(hub_internal.lift_limits(now() + interval '1 hour', 100), 1, 'one that is over is');
select is(hub_internal.lift_limits(now() + interval '1 hour', 100), 0, 'once');
select is(array[pg_temp.woken('one'), pg_temp.woken('two'), pg_temp.woken('three'), pg_temp.woken('elsewhere')], array[1, 1, 0, 0], 'machines with that account hear of it, and no others');
select is((select count(*) from public.hub_recover(now() + interval '3 hours'))::int, 1, 'whoever keeps time does so');
select is((select count(*) from public.mesh_quota_pools where lifted_at is null)::int, 0, 'for all');
update public.mesh_quota_pools set limited_until = now(), limited_since = now() - interval '1 hour';
select is(pg_temp.all_take(id), 'one claude, two claude, three claude', 'and the task is taken at that moment') from e;
select is(pg_temp.limit(p_later => '1 minute'), interval '2 hours', 'a new limit');
select is((select lifted_at from public.mesh_quota_pools where model is null and reported_by = 'one'), null, 'is lifted anew');
select hub_internal.reap_limits(now() + interval '40 days', 1000);
select is_empty('select from public.mesh_quota_pools', 'what is over and a month old goes');
select pg_temp.fresh();

-- An attempt that meets a limit
create function pg_temp.ends(p_task uuid, p_meta jsonb, p_retryable boolean default true, p_device text default 'one', p_error text default 'You have hit your limit') returns text language plpgsql as $$
declare v_task public.mac_tasks;
begin
  perform public.hub_claim_tasks(p_device, 20);
  select t.* into v_task from public.mac_tasks t where t.id = p_task;
  if v_task.claimed_by is distinct from p_device then return 'not claimed'; end if;
  v_task := public.hub_fail_task(p_task, v_task.attempt, p_error, p_retryable, p_meta);
  return format('%s, %s, %s left', v_task.status, case when v_task.run_after is null then 'at once' else 'later' end, v_task.max_attempts - v_task.attempt);
end $$;
create function pg_temp.told(p_task uuid) returns text language sql as $$
  select substr(m.content, position('waits' in m.content)) from public.hub_channel_messages m where m.task_id = p_task and m.event = 'waits' order by m.seq desc limit 1 $$;
create temp table a as select pg_temp.work() as id;
select is(pg_temp.ends(id, '{"reason": "limit", "limit": {"until": "2026-11-20T00:00:00Z"}, "model": "opus"}'), 'pending, at once, 3 left', 'a limit costs no attempt') from a;
select is((select limited_until - now() from public.mesh_quota_pools), interval '1 minute', 'one of the past is of a minute');
select pg_temp.fresh();
create temp table b as select pg_temp.work() as id;
select set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true) from (select from realtime.messages) x;
delete from realtime.messages;
select is(pg_temp.ends(id, jsonb_build_object('reason', 'limit', 'limit', jsonb_build_object('until', '2026-12-01T10:20:30Z', 'source', 'structured', 'window', 'five_hour'), 'session_id', 's1')), 'pending, at once, 3 left') from b;
select results_eq($$ select account, agent, model, window_name, limited_until, source, reason, reported_by from public.mesh_quota_pools $$,
  $$ values ('ann@example.com', 'claude', null::text, 'five_hour', '2026-12-01T10:20:30Z'::timestamptz, 'structured', 'You have hit your limit', 'one') $$, 'the pool is kept in the same transaction');
select results_eq($$ select a.outcome, a.reason, a.error, a.limited_until, a.limit_source from public.hub_task_attempts a join b on a.task_id = b.id $$,
  $$ values ('limited', 'limit', 'You have hit your limit', '2026-12-01T10:20:30Z'::timestamptz, 'structured') $$, 'and the record says what was met');
select is(pg_temp.told(id), E'waits [claude/one]\nclaude on one is at its limit until 2026-12-01 10:21 UTC (says claude)', 'people are told') from b;
select is((select error from public.mac_tasks join b using (id)), 'claude on one is at its limit until 2026-12-01 10:21 UTC (says claude)', 'why it waits');
select is((select count(*)::int from public.hub_channel_messages m join b on m.task_id = b.id where m.event in ('failed', 'retried')), 0, 'and not that it failed');
select is(pg_temp.all_take(id), 'one -, two -, three claude', 'whoever has another account takes it') from b;
select ok(pg_temp.woken('three') > 0 and pg_temp.woken('two') = 0, 'and is woken for it');
select is(pg_temp.ends(id, '{"reason": "limit", "limit": {"source": "text", "until": "2026-12-02T00:00:00Z"}}', p_device => 'three'), 'pending, at once, 3 left') from b;
select is(pg_temp.told(id), E'waits [claude/three]\nclaude on three is at its limit until 2026-12-02 00:00 UTC (as its message says)') from b;
select is(pg_temp.all_take(id), 'one -, two -, three -', 'then it waits') from b;
select is(pg_temp.why(id), 'every agent for it is at its limit | claude on one is at its limit until 2026-12-01 10:21 UTC (says claude); claude on two is at its limit until 2026-12-01 10:21 UTC (says claude); '
  || 'claude on three is at its limit until 2026-12-02 00:00 UTC (as its message says); then it goes on by itself, or sooner with an agent or an account that has some left | ' || ('2026-12-01T10:20:30Z'::timestamptz - now()), 'explain says for what, until when, how it is known') from b;
select is(tap.sees('viewer', format('public.hub_explain_task(%L) where detail like %L', id, '%example%')), '0', 'but not whose account') from b;
select pg_temp.fresh();
-- A name that only the agent has for its model
create temp table n as select pg_temp.work() as claude;
select is(pg_temp.ends(claude, '{"reason": "limit", "limit": {"model": "opus-9", "window": "seven_day"}}'), 'pending, at once, 3 left') from n;
select set_eq($$ select model from public.mesh_quota_pools $$, $$ values ('opus-9'), ('claude') $$, 'is kept for what the task named, too');
select is(pg_temp.all_take(claude), 'one -, two -, three claude', 'so that it is not taken again at once') from n;
select is(pg_temp.all_take(pg_temp.work('gemini')), 'one claude, two claude, three claude', 'other models are not cooled');
create temp table y as select pg_temp.work('any', p_agent => 'claude') as id;
select is(pg_temp.ends(id, '{"reason": "limit", "limit": {"model": "claude"}}'), 'pending, at once, 3 left') from y;
select is(pg_temp.all_take(id), 'one -, two -, three claude', 'nor is a task that named no model taken again at once') from y;
select pg_temp.fresh();
-- Any number of times
create temp table w as select pg_temp.work() as id;
create function pg_temp.again(p_times int) returns text language plpgsql as $$
declare v_said text;
begin
  for i in 1 .. p_times loop
    v_said := pg_temp.ends((select id from w), '{"reason": "limit"}');
    update public.mesh_quota_pools set limited_until = now(), limited_since = now() - interval '5 minutes';
  end loop;
  return v_said;
end $$;
select is(pg_temp.again(130), 'pending, at once, 3 left', 'a task waits any number of times');
select is(pg_temp.ends(id, '{"reason": "worker_stopped"}'), 'pending, at once, 3 left', 'and is handed back for nothing all the same') from w;
select is(pg_temp.ends(id, '{"reason": "exit"}'), 'pending, later, 2 left', 'a failure counts as ever') from w;
update public.mac_tasks set run_after = null from w where mac_tasks.id = w.id;
select is(pg_temp.ends(id, '{"reason": "exit"}'), 'pending, later, 1 left') from w;
update public.mac_tasks set run_after = null from w where mac_tasks.id = w.id;
select is(pg_temp.ends(id, '{"reason": "exit"}'), 'failed, at once, 0 left', 'and the last is the last') from w;
select public.hub_retry_task(id) from w;
select is(pg_temp.again(1), 'pending, at once, 3 left', 'queued again it has all its attempts, and waits again');
select pg_temp.fresh();
create temp table c as select pg_temp.work() as id;
select is(pg_temp.ends(id, '{"reason": "limit"}', false), 'pending, at once, 3 left', 'whatever was said of trying again') from c;
select is((select count(*) from public.mesh_quota_pools)::int, 1, 'and its limit is known');
select pg_temp.fresh();
create temp table x as select pg_temp.work() as id;
select public.hub_claim_tasks('one', 20);
select public.hub_cancel_task(id) from x;
select is((select status from x, public.hub_fail_task(x.id, 1, 'limit', true, '{"reason": "limit"}')), 'cancelled', 'what was asked to stop stops');
select is((select count(*) from public.mesh_quota_pools)::int, 1, 'and its limit is known, too');
select pg_temp.fresh();
create temp table o as select pg_temp.work() as id;
update public.mac_tasks set status = 'running', claimed_by = 'somebody' from o where mac_tasks.id = o.id;
select is((select status || ' ' || (t.run_after - now()) from o, public.hub_fail_task(o.id, 1, 'limit', true, '{"reason": "limit"}') t), 'pending 00:05:00', 'of a machine that is none of ours the task waits by itself');
select is_empty('select from public.mesh_quota_pools', 'and nothing is kept');
select pg_temp.fresh();

-- Logins
create temp table l as select pg_temp.work() as first, pg_temp.work() as second;
select is(pg_temp.ends(first, '{"reason": "auth"}', false, p_error => 'Invalid API key · Please run /login'), 'pending, at once, 3 left', 'a broken login costs no attempt where another machine can take it, whatever was said of trying again') from l;
select is(pg_temp.told(first), E'waits [claude/one]\nclaude on one is not logged in', 'people are told') from l;
select results_eq($$ select device, agent, broken_since, reason from public.mesh_logins $$, $$ values ('one', 'claude', now(), 'Invalid API key · Please run /login') $$, 'it is kept');
update public.mac_tasks set status = 'pending', error = null where status = 'running';
select is(pg_temp.all_take(second), 'one -, two claude, three claude', 'other tasks do not follow, and the account is not to blame') from l;
select public.hub_report_login(d, 'claude', false, 'expired') from unnest(array['two', 'three']) d;
select is(pg_temp.why(second), 'no agent for it is logged in | '
  || (select string_agg(format('claude on %s is not logged in since %s UTC: log in on %s: `claude auth login`, then `hub agents check claude` there', d, to_char(now() at time zone 'utc', 'YYYY-MM-DD HH24:MI'), d), '; ')
        from unnest(array['one', 'three', 'two']) d), 'explain says where to log in, and how') from l;
select pg_temp.limit('three');
select public.hub_report_login('three', 'claude', true);
select matches(pg_temp.why(second), '^no agent for it is logged in \| claude on one .*; claude on two .* \|\| every agent for it is at its limit \| claude on three is at its limit until .* \| 02:00:00$', 'and of each machine what is its trouble') from l;
delete from realtime.messages;
select public.hub_report_login('one', 'claude', true);
select is(pg_temp.woken('one'), 1, 'who is logged in again hears that there may be work');
select public.hub_report_login('one', 'claude', true);
select is(pg_temp.woken('one'), 1, 'once');
select is(pg_temp.all_take(second), 'one claude, two -, three -', 'and takes it') from l;
select pg_temp.device('two');
select is(pg_temp.all_take(second), 'one claude, two claude, three -', 'a worker that begins anew tries its logins anew') from l;
select public.hub_report_login('two', 'claude', false, 'first');
update public.mesh_logins set broken_since = now() - interval '1 hour';
select public.hub_report_login('two', 'claude', false, 'second');
select results_eq($$ select broken_since, reason from public.mesh_logins $$, $$ values (now() - interval '1 hour', 'second') $$, 'since when stays, why is the newest');
select pg_temp.fresh();
create temp table p as select pg_temp.work() as id;
select public.hub_report_login('three', 'claude', false), public.hub_sign_off('two');
select is(pg_temp.ends(id, '{"reason": "auth"}', true, p_error => 'expired'), 'failed, at once, 2 left', 'where nobody else can take it now it has failed, whatever was said') from p;
select is((select error from public.mac_tasks join p using (id)), 'expired', 'as its device said');
select pg_temp.fresh();
create temp table q as select pg_temp.work('any') as id;
select is(pg_temp.ends(id, '{"reason": "auth"}'), 'pending, at once, 3 left', 'another agent of the same machine can, too') from q;
select is(pg_temp.takes(id, 'one'), 'codex', 'and does') from q;
select pg_temp.fresh();
select public.hub_claim_tasks('two', 1);

-- Agents that are one program under one account have one login
create function pg_temp.kin(p_device text, p_account text default null) returns void language plpgsql as $$
begin
  perform public.hub_register_device(p_device, 'linux', jsonb_build_array(
    jsonb_strip_nulls(jsonb_build_object('agent', 'claude', 'models', array['claude'], 'program', 'claude', 'account', p_account)),
    jsonb_strip_nulls(jsonb_build_object('agent', 'review', 'models', array['claude'], 'program', 'claude', 'account', p_account)),
    jsonb_build_object('agent', 'other', 'models', array['claude'], 'program', 'claude', 'account', 'another'),
    jsonb_build_object('agent', 'codex', 'models', array['codex'], 'program', 'codex')), 20);
  update public.mesh_devices set serves_all = false where name = p_device;
  insert into public.mesh_device_servers (device, server_id) values (p_device, tap.server('buf-barista')) on conflict do nothing;
end $$;
select pg_temp.kin('kin'), pg_temp.kin('cousin', 'ann@example.com');
create temp table k as select pg_temp.work() as plain, pg_temp.work(p_agent => 'review') as review, pg_temp.work(p_agent => 'other') as other, pg_temp.work('codex') as codex;
create function pg_temp.taken(p_device text) returns text language sql as $$
  select concat_ws(' ', coalesce(pg_temp.takes(plain, p_device), '-'), coalesce(pg_temp.takes(review, p_device), '-'),
                        coalesce(pg_temp.takes(other, p_device), '-'), coalesce(pg_temp.takes(codex, p_device), '-')) from k $$;
select is(pg_temp.taken('kin'), 'claude review other codex', 'each is taken');
select hub_internal.report_rate_limit('kin', 'review', null, now() + interval '2 hours', 'You have hit your limit', 'structured', null, null, null, now());
select is(pg_temp.taken('kin'), 'other - other codex', 'a limit of one is that of all of its login, and of no other account or program');
select is(pg_temp.taken('cousin'), 'claude review other codex', 'nor of another machine that named another');
select results_eq($$ select account, agent, servers from public.mesh_quota_pools $$, $$ values ('device:kin', 'claude', null::uuid[]) $$, 'it is kept by program');
select is((select string_agg(s.agent || ' ' || s.reason, ', ' order by s.agent) from public.hub_agent_stops() s where s.device = 'kin'), 'claude limit, review limit', 'and told of each of them');
select public.hub_enroll_device('kin', tap.server('cloud-hub'));
select is(pg_temp.taken('kin'), 'other - other codex', 'to serve one more server lifts no limit of a login of its own');
update public.mesh_devices set revoked_at = now() where name = 'cousin';
select matches(pg_temp.why(review), 'review on kin is at its limit until', 'explain names the agent that would run it') from k;
update public.mesh_devices set revoked_at = null where name = 'cousin';
select hub_internal.report_rate_limit('cousin', 'claude', null, now() + interval '2 hours', 'You have hit your limit', 'structured', null, null, null, now());
select is(pg_temp.taken('one'), '- - - codex', 'who shares the account and calls its agent as the program, too');
select is(pg_temp.ends(codex, '{"reason": "limit"}', p_device => 'kin'), 'pending, at once, 3 left', 'the end of an attempt says it of all of its login, too') from k;
update public.mac_tasks set status = 'pending', error = null where status = 'running';
select is(pg_temp.taken('kin'), 'other - other -', 'and only of that') from k;
select pg_temp.fresh();
drop table k;
create temp table k as select pg_temp.work() as plain, pg_temp.work(p_agent => 'review') as review, pg_temp.work(p_agent => 'other') as other, pg_temp.work('codex') as codex;
select public.hub_report_login('kin', 'review', false, 'expired');
select is(pg_temp.taken('kin'), 'other - other codex', 'so is a login that does not hold');
select is((select string_agg(s.agent || ' ' || s.reason, ', ' order by s.agent) from public.hub_agent_stops() s where s.device = 'kin'), 'claude login, review login', 'and told of each');
update public.mesh_devices set revoked_at = now() where name = 'cousin';
select matches(pg_temp.why(review), 'review on kin is not logged in since .*: log in on kin: `claude auth login`', 'with how its program wants it') from k;
select public.hub_report_login('kin', 'claude', true);
select is(pg_temp.taken('kin'), 'claude review other codex', 'and one that holds again, holds for all');
select is_empty($$ select from public.mesh_devices d where d.agents::text like '%program%' $$, 'who sees a device does not learn of programs');
select throws_ok(format('select public.hub_register_device(%L, %L, %L, 1)', 'kin', 'linux', a), 'UH001', 'bad input', 'a program that is ' || why)
  from (values ('[{"agent":"a","models":[],"program":1}]', 'a number'), ('[{"agent":"a","models":[],"program":""}]', 'empty'), ('[{"agent":"a","models":[],"program":"/bin/a"}]', 'a path'),
               ('[{"agent":"a","models":[],"program":"x"},{"agent":"a","models":["codex"]}]', 'two')) x (a, why);
select pg_temp.fresh();
update public.mesh_devices set revoked_at = now() where name in ('kin', 'cousin');

-- Who is told what keeps agents from working
select pg_temp.limit('one', p_window => 'five_hour'), public.hub_report_login('three', 'codex', false, 'expired'), pg_temp.limit('elsewhere');
create function pg_temp.stops(p_actor text) returns text language plpgsql as $$
declare v_said text;
begin
  perform tap.become(p_actor);
  select string_agg(concat_ws(' ', s.device, s.agent, s.reason, s.window_name, s.until - now(), s.source, s.detail), ', ') into v_said from public.hub_agent_stops() s;
  perform tap.become('postgres');
  return v_said;
end $$;
insert into tap.ids (name) values ('barista');
insert into public.hub_members (server_id, user_id, role) values (tap.server('buf-barista'), tap.id('barista'), 'operator');
select is(pg_temp.stops('barista'), 'one claude limit five_hour 02:00:00 structured You have hit your limit, three codex login expired, two claude limit five_hour 02:00:00 structured You have hit your limit', 'who operates a server hears of its machines');
select is(pg_temp.stops(w), is_, w || ' hears ' || coalesce(is_, 'nothing'))
  from (values ('outsider', null), ('viewer', null), ('device:elsewhere', 'elsewhere claude limit 02:00:00 structured You have hit your limit'), ('device:three', 'three codex login expired'), ('device:tap-all', null)) x (w, is_);
select is(tap.sees('barista', 'public.mesh_quota_pools'), '1', 'and reads the pools of its machines');
select pg_temp.fresh();

-- What is kept for people
create function pg_temp.keeps(p_device text, p_reserve numeric, p_account text default 'ann@example.com') returns void language plpgsql as $$
begin
  perform public.hub_register_device(p_device, 'linux', jsonb_build_array(
    jsonb_strip_nulls(jsonb_build_object('agent', 'claude', 'models', array['claude', 'gemini'], 'account', p_account, 'reserve', p_reserve)),
    jsonb_strip_nulls(jsonb_build_object('agent', 'codex', 'models', array['codex'], 'account', p_account))), 20);
  update public.mesh_devices set serves_all = false where name = p_device;
end $$;
-- Until when, after what was told, and whether it is for people; null: it is not limited.
create function pg_temp.share(p_device text, p_used numeric, p_resets interval default '3 hours', p_window text default 'five_hour', p_model text default null) returns text language plpgsql as $$
begin
  perform public.hub_report_rate_limit(p_device, 'claude', p_model, null, 'allowed_warning', 'structured', p_window, p_used, now() + p_resets);
  return (select string_agg(concat_ws(' ', q.limited_until - now(), case when q.kept then 'kept' end, q.source), ', ') from public.mesh_quota_pools q
           where q.limited_until > now() and q.window_name = p_window and q.model is not distinct from p_model);
end $$;
select throws_ok(format('select public.hub_register_device(%L, %L, %L, 1)', 'one', 'linux', a), 'UH001', 'bad input', 'a reserve that is ' || why)
  from (values ('[{"agent":"a","models":[],"reserve":"0.1"}]', 'a text'), ('[{"agent":"a","models":[],"reserve":-0.1}]', 'less than nothing'), ('[{"agent":"a","models":[],"reserve":0.96}]', 'nearly all'),
               ('[{"agent":"a","models":[],"reserve":[0.1]}]', 'a list'), ('[{"agent":"a","models":[],"reserve":0.1},{"agent":"a","models":["codex"],"reserve":0.2}]', 'two')) x (a, why);
select lives_ok($$ select public.hub_register_device('one', 'linux', '[{"agent":"a","models":[],"reserve":null},{"agent":"b","models":[],"reserve":0},{"agent":"c","models":[],"reserve":0.95}]', 1) $$, 'none, nothing and most are well');
select throws_ok(format('select public.hub_report_rate_limit(%s)', a), 'UH001', 'bad input', 'a window that begins anew ' || a)
  from unnest(array[$$'one', 'claude', p_resets_at => 'infinity'$$, $$'one', 'claude', p_resets_at => '-infinity'$$]) a;
select pg_temp.keeps('one', null);
create temp table g as select pg_temp.work() as id;
select is(pg_temp.share('one', 0.97), null, 'where nothing is kept all may be used');
select is(pg_temp.all_take(id), 'one claude, two claude, three claude', 'and is') from g;
select pg_temp.keeps('two', 0.2);
select results_eq($$ select limited_until - now(), kept, source, reason from public.mesh_quota_pools $$, $$ values (interval '3 hours', true, 'structured', 'kept for people: 97 % of it is used') $$, 'once a machine of that account keeps some, what is left is kept');
select is(pg_temp.all_take(id), 'one -, two -, three claude', 'by all of its machines') from g;
select is_empty($$ select from public.mesh_devices d where d.agents::text like '%reserve%' $$, 'who sees a device does not learn of reserves');
update public.mesh_devices set revoked_at = now() where name = 'three';
select is(pg_temp.why(id), 'every agent for it is at its limit | '
  || (select string_agg(format('claude on %s is kept for people until %s UTC (says claude)', d, to_char(date_trunc('minute', (now() + interval '3 hours') at time zone 'utc' + interval '59.999999 seconds'), 'YYYY-MM-DD HH24:MI')), '; ') from unnest(array['one', 'two']) d)
  || '; then it goes on by itself, or sooner with an agent or an account that has some left | 03:00:00', 'explain says for whom') from g;
update public.mesh_devices set revoked_at = null where name = 'three';
select is((select string_agg(concat_ws(' ', s.device, s.reason, s.detail), ', ' order by s.device) from public.hub_agent_stops() s), 'one limit kept for people: 97 % of it is used, two limit kept for people: 97 % of it is used', 'and so do the stops');
select is(pg_temp.share('two', 0.81, '2 hours'), '02:00:00 kept structured', 'as long as no more is left than is kept');
delete from realtime.messages;
select is(pg_temp.share('two', 0.79), null, 'not when more is');
select is(pg_temp.all_take(id), 'one claude, two claude, three claude', 'at once') from g;
select is(array[pg_temp.woken('one'), pg_temp.woken('two'), pg_temp.woken('three')], array[1, 1, 0], 'and the machines of the account hear of it');
select is(pg_temp.share('two', 0.8), '03:00:00 kept structured', 'what is kept is no more than what is left: then too');
select pg_temp.keeps('one', 0.1);
select is(pg_temp.share('one', 0.85), '03:00:00 kept structured', 'the most that any of them keeps holds for all');
select pg_temp.keeps('two', 0.15);
select is(pg_temp.share('one', 0.84), null, 'also when it is less');
select is(pg_temp.share('one', 0.86), '03:00:00 kept structured');
select pg_temp.keeps('two', null);
select is_empty('select from public.mesh_quota_pools where limited_until > now()', 'whoever keeps less at its next start frees what was kept');
select pg_temp.keeps('two', 0.2);
select is((select count(*) from public.mesh_quota_pools where limited_until > now() and kept)::int, 1, 'or keeps it again');
select public.hub_revoke_device('two');
select is_empty('select from public.mesh_quota_pools where limited_until > now()', 'one that is revoked keeps nothing');
select public.hub_revoke_device('two', false);
select is((select count(*) from public.mesh_quota_pools where limited_until > now() and kept)::int, 1, 'until that is taken back');
select pg_temp.keeps('two', 0.2, 'bob@example.com');
select is_empty('select from public.mesh_quota_pools where limited_until > now()', 'nor does one that has another account now');
select pg_temp.keeps('two', null);
select is(pg_temp.share('one', 0.95, '-1 minute'), null, 'a share of a window that is over says nothing');
select is(pg_temp.share('one', 0.95, null), '03:00:00 kept structured', 'one without a time is of the window that was told of');
delete from public.mesh_quota_pools;
select is(pg_temp.share('one', 0.95, null), null, 'of a window that nobody knows the end of nothing is kept');
select is(pg_temp.share('one', 0.95, '30 days'), '8 days kept structured', 'nothing is kept for longer than a limit may be');
select is(pg_temp.share('one', 0.99, '2 days', 'seven_day'), '2 days kept structured', 'each window is for itself');
select is(pg_temp.share('one', 0.5), null);
select is(pg_temp.all_take(id), 'one -, two -, three claude', 'and any of them keeps all') from g;
select is(pg_temp.share('one', 0.5, '2 days', 'seven_day'), null);
select is(pg_temp.share('three', 0.99), null, 'an account of a machine alone keeps what that machine says, which is nothing');
select is(pg_temp.share('elsewhere', 0.99), null, 'nor does what strangers name as the account of others');
select pg_temp.fresh();
update public.mesh_devices set revoked_at = now() where name = 'three';
drop table g;
create temp table g as select pg_temp.work() as id;
select is(pg_temp.share('one', 0.95), '03:00:00 kept structured');
select hub_internal.weigh_lanes(now(), 100);
select is(pg_temp.takes(id, 'one') || ' ' || pg_temp.takes(id, 'two'), 'codex codex', 'where all that is left of it is kept, another stands in') from g;
select pg_temp.share('one', 0.5), hub_internal.weigh_lanes(now(), 100);
select is(pg_temp.takes(id, 'one') || ' ' || pg_temp.takes(id, 'two'), 'claude claude', 'as long as it is') from g;
update public.mesh_devices set revoked_at = null where name = 'three';
select pg_temp.fresh();
-- A limit that is met
select is(pg_temp.share('one', 0.95), '03:00:00 kept structured');
select is(pg_temp.limit(p_until => null, p_window => 'five_hour'), interval '3 hours', 'who meets a limit where some was kept, meets it until the window begins anew');
select results_eq($$ select kept, source, reason from public.mesh_quota_pools $$, $$ values (false, 'guess', 'You have hit your limit') $$, 'and nothing is left to keep');
select is(pg_temp.share('one', 0.2), '03:00:00 guess', 'a share does not end a limit that was met');
select pg_temp.fresh();
select is(pg_temp.share('one', 0.95), '03:00:00 kept structured');
select is(pg_temp.limit(p_until => '1 hour', p_window => 'five_hour', p_source => 'text'), interval '1 hour', 'a limit that was met is believed over a reserve, also where a text says until when');
select pg_temp.fresh();
select is(pg_temp.share('one', 1), '03:00:00 structured', 'where all is used it is the limit of the window');
select pg_temp.fresh();
select public.hub_report_rate_limit('one', 'claude', null, null, 'x', 'structured', 'five_hour', null, now() + interval '2 hours');
select is((select limited_until - now() || ' ' || source from public.mesh_quota_pools), '02:00:00 structured', 'and so is one that is met and says only when the window begins anew');
select pg_temp.fresh();

-- What is used
select pg_temp.share('one', 0.95), pg_temp.share('three', 0.4), pg_temp.share('elsewhere', 0.3, p_window => 'seven_day', p_model => 'opus'), pg_temp.limit('two', 'codex', p_until => '1 hour', p_source => 'text');
create function pg_temp.limits(p_actor text) returns text language plpgsql as $$
declare v_said text;
begin
  perform tap.become(p_actor);
  select string_agg(concat_ws(' ', l.agent, l.account, l.model, l.window_name, l.used_share, l.limited_until - now(), case when l.kept then 'kept' end, l.resets_at - now(), l.source, l.reason, l.reported_at - now(), l.devices::text), ', ') into v_said
    from public.hub_limits() l;
  perform tap.become('postgres');
  return v_said;
end $$;
select is(pg_temp.limits(w), is_, w || ' hears of pools: ' || coalesce(is_, 'nothing'))
  from (values ('barista', 'claude ann@example.com five_hour 0.95 03:00:00 kept 03:00:00 structured kept for people: 95 % of it is used 00:00:00 {one,two}, '
                        || 'claude device:three five_hour 0.4 03:00:00 00:00:00 {three}, '
                        || 'codex ann@example.com 1 01:00:00 text You have hit your limit 00:00:00 {one,two}'),
               ('device:three', 'claude device:three five_hour 0.4 03:00:00 00:00:00 {three}'),
               ('device:elsewhere', 'claude ann@example.com opus seven_day 0.3 03:00:00 00:00:00 {elsewhere}'),
               ('outsider', null), ('viewer', null), ('device:tap-all', null)) x (w, is_);
select is((select count(*) from public.hub_limits())::int, 4, 'postgres of all');
update public.mesh_quota_pools set limited_since = now() - interval '2 hours', limited_until = now() - interval '1 hour', resets_at = case when kept then now() - interval '1 hour' end;
select is(pg_temp.limits('device:one'), 'claude ann@example.com five_hour 00:00:00 {one}, codex ann@example.com 00:00:00 {one}', 'of a limit and a window that are over nothing is said');
update public.mesh_quota_pools set reported_at = now() - interval '8 days 1 second' where agent = 'claude';
select is(pg_temp.limits('device:one'), 'codex ann@example.com 00:00:00 {one}', 'nor of what nobody spoke of for 8 days');
update public.mesh_devices set revoked_at = now() where name = 'one';
select is(pg_temp.limits('device:one'), null, 'a revoked device hears nothing');
update public.mesh_devices set revoked_at = null where name = 'one';
select pg_temp.fresh();

-- Who refreshes a login: two who do use a rotating token twice, and it ends for all (codex#10332, claude-code#24317)
create function pg_temp.lease(p_device text, p_holder text, p_later interval default '0', p_seconds int default 60, p_agent text default 'claude') returns text language plpgsql as $$
declare v jsonb := hub_internal.lease_login(p_device, p_agent, p_holder, p_seconds, now() + p_later);
begin
  return concat_ws(' ', v ->> 'granted', (v ->> 'until')::timestamptz - now());
end $$;
select is(pg_temp.lease('one', 'a'), 'true 00:01:00', 'the first refreshes');
select is(pg_temp.lease('two', 'a', '10 seconds'), 'false 00:01:00', 'a second of another machine waits');
select is(pg_temp.lease('one', 'b', '10 seconds'), 'false 00:01:00', 'as does another process of the machine');
select is(pg_temp.lease('one', 'a', '20 seconds'), 'true 00:01:20', 'the first may be slower');
select is(pg_temp.lease('one', 'a', '20 seconds', 10), 'true 00:00:30', 'or faster');
select is(pg_temp.lease('two', 'a', p_agent => 'codex'), 'true 00:01:00', 'another program is another login');
select is(pg_temp.lease('three', 'a'), 'true 00:01:00', 'so is another account');
select is(pg_temp.lease('elsewhere', 'a'), 'true 00:01:00', 'and what strangers call by the same name');
select is(pg_temp.lease('two', 'b', '30 seconds'), 'true 00:01:30', 'when it is over, another does');
select public.hub_return_login('one', 'claude', 'a');
select is(pg_temp.lease('one', 'a', '40 seconds'), 'false 00:01:30', 'who has it no more gives back nothing');
select public.hub_return_login('two', 'claude', 'a');
select is(pg_temp.lease('one', 'a', '40 seconds'), 'false 00:01:30', 'nor does another process');
select public.hub_return_login('two', 'claude', 'b');
select is(pg_temp.lease('one', 'a', '40 seconds', 300), 'true 00:05:40', 'what is given back another has at once');
select throws_ok(format('select public.hub_lease_login(%s)', a), c, m, 'a lease: ' || a)
  from (values ($$null, 'claude', 'x'$$, 'UH001', 'bad input'), ($$'one', null, 'x'$$, 'UH001', 'bad input'), ($$'one', 'gemini', 'x'$$, 'UH001', 'bad input'), ($$'one', 'claude', null$$, 'UH001', 'bad input'), ($$'one', 'claude', ' '$$, 'UH001', 'bad input'),
               ($$'one', 'claude', repeat('x', 201)$$, 'UH001', 'bad input'), ($$'one', 'claude', 'x', 0$$, 'UH001', 'bad input'), ($$'one', 'claude', 'x', 301$$, 'UH001', 'bad input'), ($$'one', 'claude', 'x', null$$, 'UH001', 'bad input'),
               ($$'nobody', 'claude', 'x'$$, 'UH005', 'device unknown'), ($$'tap-all', 'claude', 'x'$$, 'UH005', 'device revoked')) x (a, c, m);
select is(tap.outcome('device:two', $$select public.hub_lease_login('one', 'claude', 'a')$$), '42501', 'nobody does for another device');
select is(tap.outcome('device:two', $$select public.hub_return_login('one', 'claude', 'a')$$), '42501', 'nor gives its login back');
update public.mesh_devices set revoked_at = now() where name = 'one';
select throws_ok($$select public.hub_lease_login('one', 'claude', 'a')$$, 'UH005', 'device revoked', 'a revoked device refreshes no more');
select is(pg_temp.lease('two', 'b', '2 minutes'), 'false 00:05:40', 'what it began it may end');
select is(pg_temp.lease('two', 'b', '341 seconds'), 'true 00:06:41', 'for no longer than it said');
update public.mesh_devices set revoked_at = null where name = 'one';
select hub_internal.reap_limits(now() + interval '1 hour 100 seconds', 100);
select results_eq($$ select device, program from hub_internal.login_leases $$, $$ values ('two', 'claude') $$, 'leases that are long over go');
delete from public.mesh_devices where name = 'two';
select is_empty('select from hub_internal.login_leases', 'and those of a device that goes');
select pg_temp.device('two'), pg_temp.fresh();

-- The record
create temp table r as select pg_temp.work() as id;
select public.hub_claim_tasks('one', 20);
select throws_ok(format('select public.hub_fail_task(%L, 1, %L, true, %L)', id, 'x', m), 'UH001', 'bad input', 'p_meta ' || left(m, 70))
  from r, unnest(array['{"tokens_cached": -1}', '{"tokens_cached": 1e13}', '{"turns": 1.5}', '{"tool_calls": "many"}', '{"cost_notional": 1}', '{"cost_notional": "true"}', format('{"agent_version": "%s"}', repeat('1', 201)),
                       '{"limit": 1}', '{"limit": []}', '{"limit": {"until": "infinity"}}', '{"limit": {"until": "soon"}}', '{"limit": {"until": 1764500000}}', '{"limit": {"source": "rumour"}}', '{"limit": {"window": "century"}}',
                       '{"limit": {"model": ""}}', '{"limit": {"model": "a\u200bb"}}', format('{"limit": {"model": "%s"}}', repeat('x', 201)), '{"reason": "login"}']) m;
select is_empty('select from public.mesh_quota_pools', 'of which nothing stays');
select public.hub_complete_task(id, 1, 'Done.', '{"tokens_cached": 123456789012, "turns": 12, "tool_calls": 0, "cost_notional": true, "agent_version": "2.1.0\u200b (Claude Code)\n", "cost_usd": 0.5,
  "limit": {"until": "2026-12-01T00:00:00Z", "source": "structured", "model": "opus", "window": "seven_day"}}') from r;
select results_eq($$ select tokens_cached, turns, tool_calls, cost_notional, agent_version, limited_until, limit_source from public.hub_task_attempts a join r on a.task_id = r.id $$,
  $$ values (123456789012, 12, 0, true, '2.1.0 (Claude Code)', '2026-12-01T00:00:00Z'::timestamptz, 'structured') $$, 'all that was said is kept');
select is_empty('select from public.mesh_quota_pools', 'a limit that an attempt got past stops nobody');
create function pg_temp.class(p_reason text, p_retryable boolean) returns text language sql as $$
  select pg_temp.ends(pg_temp.work(), jsonb_build_object('reason', p_reason, 'limit', null, 'turns', null, 'cost_notional', null), p_retryable) $$;
select is(pg_temp.class(c, true), 'pending, later, 2 left', c || ' is tried again where its device says so') from unnest(array['overloaded', 'crashed', 'refused', 'denied', 'context_full', 'bad_config', 'not_stored']) c;
select is(pg_temp.class(c, false), 'failed, at once, 2 left', c || ' is not where it says so') from unnest(array['overloaded', 'crashed', 'refused', 'denied', 'context_full', 'bad_config', 'not_stored']) c;

select * from finish();
rollback;
