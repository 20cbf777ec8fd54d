-- How many run at once: for a project, a channel, a person, an agent, a server, the deployment; each claim sees to it, and what ends makes room. And shares:
-- who has used more than others stands back while they wait, and nothing starves.
\ir setup.psql
select no_plan();

delete from public.mac_tasks;
update public.mesh_devices set revoked_at = now();
select from public.hub_register_device('one', 'linux', '[{"agent":"claude","models":["any"]},{"agent":"codex","models":["any"]}]', 20);
select from public.hub_register_device('two', 'linux', '[{"agent":"claude","models":["any"]}]', 20);
create function pg_temp.bound(p_scope text, p_subject text, p_most int, p_server uuid default tap.server('buf-barista')) returns bigint language plpgsql as $$
declare v_id bigint;
begin
  insert into public.hub_budgets (server_id, scope, subject, measure, amount) values (p_server, p_scope, p_subject, 'running', p_most) returning id into v_id;
  perform public.hub_recover();
  return v_id;
end $$;
create function pg_temp.works(p_channel text, p_count int, p_person text default null, p_agent text default null) returns void language plpgsql as $$
begin
  insert into public.mac_tasks (content, channel_id, created_by, requested_agent, created_at)
  select p_channel || ' ' || i, tap.channel(p_channel), tap.id(p_person), p_agent, now() + i * interval '1 millisecond' from generate_series(1, p_count) i;
end $$;
create function pg_temp.claims(p_device text, p_most int default 20) returns text language sql as $$ select coalesce(string_agg(c.content, ', ' order by c.content), '-') from public.hub_claim_tasks(p_device, p_most) c $$;
create function pg_temp.ends(p_content text) returns void language sql as $$ select public.hub_complete_task(t.id, t.attempt, 'x') from public.mac_tasks t where t.content = p_content and t.status = 'running' $$;
create function pg_temp.why(p_content text) returns text language sql as $$ select string_agg(concat_ws(' | ', e.reason, e.detail), ' || ') from public.mac_tasks t, public.hub_explain_task(t.id) e where t.content = p_content $$;
create function pg_temp.fresh() returns void language plpgsql as $$
begin
  delete from public.mac_tasks;
  delete from public.hub_budgets;
  perform public.hub_recover();
  delete from realtime.messages;
  perform set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true);
end $$;
create function pg_temp.woken(p_device text) returns boolean language sql as $$ select exists (select from realtime.messages where topic = 'device:' || p_device and event = 'wake') $$;

-- A channel
select is(hub_internal.lock_bounds((select d from public.mesh_devices d where d.name = 'one'), 1), null, 'where nobody bounds anything a claim looks at nothing more');
select pg_temp.bound('channel', tap.channel('quick')::text, 2);
select pg_temp.works('quick', 4), pg_temp.works('garden', 2);
select is(pg_temp.claims('one', 5), 'garden 1, garden 2, quick 1, quick 2', 'of one batch as many run as may, and others take the places');
select is(pg_temp.claims('two'), '-', 'and none on another machine');
select is(pg_temp.why('quick 3'), 'as many run as may | 2 of 2 in #quick; it waits until one of them ends', 'what waits says so');
select is(used || ' ' || level || ' ' || met, '2 2 true', 'hub_budget_state counts them') from public.hub_budget_state();
delete from realtime.messages;
select set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true);
select pg_temp.ends('garden 1');
select is(pg_temp.woken('two'), false, 'what ends elsewhere wakes nobody');
select pg_temp.ends('quick 2');
select is(pg_temp.woken('two'), true, 'what ends under it wakes who could take the next');
select is(pg_temp.claims('two'), 'quick 3', 'one');
update public.hub_budgets set amount = 3;
select public.hub_recover();
select is(pg_temp.claims('two'), 'quick 4', 'a larger bound holds at once');
select pg_temp.works('quick', 1);
delete from public.hub_budgets;
select public.hub_recover();
select is(pg_temp.claims('two'), 'quick 1', 'and none holds nothing');

-- How claims hold bounds: together where there is much room, alone where there is little, and not where there is none or nothing waits
create function pg_temp.held(p_bound bigint) returns text language sql as $$
  select string_agg(distinct l.mode, ' ') from pg_locks l
   where l.locktype = 'advisory' and l.pid = pg_backend_pid() and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('hub_bound:' || p_bound, 0) $$;
select pg_temp.fresh();
create temp table bounds as select pg_temp.bound('channel', tap.channel('quick')::text, 2) as few, pg_temp.bound('channel', tap.channel('garden')::text, 2) as idle;
select pg_temp.works('quick', 3);
select is(pg_temp.claims('one', 1), 'quick 1', 'a claim under a small bound');
select is(pg_temp.held(few), 'ExclusiveLock', 'is alone') from bounds;
select is(pg_temp.held(idle), null, 'and holds none of those under which nothing waits') from bounds;
update public.mesh_devices set capacity = 1000 where revoked_at is null;
delete from public.hub_budgets;
create temp table much as select pg_temp.bound('channel', tap.channel('quick')::text, 1500) as id;
select is(pg_temp.claims('one', 1), 'quick 2', 'a claim under a large one');
select is(pg_temp.held(id), 'ShareLock', 'holds it with others') from much;
select is(pg_temp.claims('two', 51), 'quick 3', 'one that wants more than fits beside others');
select is(pg_temp.held(id), 'ExclusiveLock ShareLock', 'is alone') from much;
select is(current_setting('hub.full_bounds', true), '', 'what it counted is for itself');
update public.mesh_devices set capacity = 20 where revoked_at is null;

-- One inside another
select pg_temp.fresh();
select pg_temp.bound('server', '', 3), pg_temp.bound('person', tap.id('operator')::text, 1), pg_temp.bound('project', 'Desktop/Comp-Core/core/motion', 1);
select pg_temp.works('quick', 2, 'operator'), pg_temp.works('cc-motion', 2), pg_temp.works('garden', 2);
select is(pg_temp.claims('one'), 'cc-motion 1, garden 1, quick 1', 'each bound holds');
select is(pg_temp.claims('two'), '-', 'for all machines');
select matches(pg_temp.why('quick 2'), '3 of 3 in this server; 1 of 1 in person ', 'all that hold it back are named');
select pg_temp.ends('garden 1');
select is(pg_temp.claims('two'), 'garden 2', 'what ends under one makes no room under another');
select pg_temp.ends('quick 1');
select is(pg_temp.claims('two', 1), 'quick 2', 'a person''s next');
select pg_temp.works('dispatch', 1, 'operator');
select is(pg_temp.claims('two', 1), 'dispatch 1', 'in another server they are bounded by that');

-- The deployment; one that can not bind
select pg_temp.fresh();
select pg_temp.bound('deployment', '', 2, null);
select pg_temp.works('quick', 2), pg_temp.works('dispatch', 2);
select is(hub_internal.lock_bounds((select d from public.mesh_devices d where d.name = 'one'), 1), (select jsonb_build_object(id, 2) from public.hub_budgets), 'claims come one after the other where it could bind');
select is(pg_temp.claims('one', 10), 'dispatch 1, quick 1', 'of all servers together');
update public.hub_budgets set amount = 40;
select public.hub_recover();
select is(hub_internal.lock_bounds((select d from public.mesh_devices d where d.name = 'one'), 1), null, 'and not where all machines together are no larger');
select is(pg_temp.claims('one', 10), 'dispatch 2, quick 2', 'which holds nothing back');

-- An agent
select pg_temp.fresh();
select pg_temp.bound('agent', 'claude', 1);
select pg_temp.works('quick', 3, null, 'claude');
select is(pg_temp.claims('one'), 'quick 1', 'what is for it waits');
select is(pg_temp.why('quick 2'), 'as many run as may | 1 of 1 in agent claude; it waits until one of them ends', 'and says so');
select pg_temp.works('garden', 2);
select is(pg_temp.claims('two'), '-', 'a machine that has no other takes nothing');
select is((select string_agg(c.agent || ' ' || c.content, ', ' order by c.queue_key) from public.hub_claim_tasks('one', 20) c), 'codex garden 1, codex garden 2', 'one that has takes what is for any, with the other');

-- One place and one bound
select pg_temp.fresh();
select pg_temp.bound('server', '', 2);
select pg_temp.works('quick', 5);
select public.hub_heartbeat('one', '[]', '{"projects": {"Desktop/homelab": "plain"}}');
select is(pg_temp.claims('one'), 'quick 1', 'a folder that is no repository takes one at a time');
select is(pg_temp.claims('two'), 'quick 2', 'the second runs elsewhere');
select is(pg_temp.claims('two'), '-', 'and no third');

-- What is no bound
select is(tap.outcome('owner', format('insert into public.hub_budgets (server_id, scope, subject, measure, amount, per) select tap.server(''buf-barista''), %s', v)), c, 'a bound: ' || v) from (values
  ($$ 'project', 'app', 'running', 3, null $$, 'ok'), ($$ 'project', 'app', 'running', 3, 'day' $$, '23514'), ($$ 'project', 'app', 'running', 0, null $$, '23514'),
  ($$ 'task', (select id::text from public.mac_tasks limit 1), 'running', 3, null $$, '23514')) x (v, c);

-- Shares
select pg_temp.fresh();
create function pg_temp.used(p_channel text, p_for interval, p_project text default null) returns void language sql as $$
  insert into hub_internal.spendings (server_id, project, shared, cost, notional, tokens, seconds, at)
  select c.server_id, coalesce(p_project, c.project_path), true, 0, 0, 0, extract(epoch from p_for), now() from public.hub_channels c where c.name = p_channel $$;
create function pg_temp.share(p_later interval default '0') returns text language plpgsql as $$
begin
  update hub_internal.shared set at = 'epoch';
  perform hub_internal.fold_spendings(now() + p_later, 1000), hub_internal.share_out(now() + p_later, 1000);
  return (select string_agg(distinct format('%s %s', s.name, l.delay), ', ') from hub_internal.lanes l join public.hub_servers s on s.id = l.server_id join public.mac_tasks t on t.lane = l.id where t.status = 'pending');
end $$;
create function pg_temp.made(p_content text, p_channel text, p_at interval default '0', p_priority int default 5) returns void language sql as $$
  insert into public.mac_tasks (content, channel_id, created_at, priority) values (p_content, tap.channel(p_channel), now() + p_at, p_priority) $$;
delete from hub_internal.share_use;
select pg_temp.made('greedy 1', 'quick'), pg_temp.made('greedy 2', 'quick', '1 minute'), pg_temp.used('quick', '2 hours');
select is(pg_temp.share(), 'buf-barista 00:00:00', 'who is alone does not stand back, whatever it used');
select pg_temp.made('quiet 1', 'dispatch', '30 minutes');
select is(pg_temp.share(), 'buf-barista 02:00:00, cloud-hub 00:00:00', 'who used two hours more stands back by two hours');
select is(pg_temp.claims('two', 1), 'quiet 1', 'so another''s that was made later goes first');
select pg_temp.made('quiet 2', 'dispatch', '3 hours');
select is(pg_temp.claims('two', 1), 'greedy 1', 'but not one that was made later than that');
select pg_temp.made('greedy 3', 'garden');
select is((select l.delay from public.mac_tasks t join hub_internal.lanes l on l.id = t.lane where t.content = 'greedy 3'), interval '2 hours', 'a lane that is made now stands where its server does');
select pg_temp.ends('quiet 1'), pg_temp.ends('greedy 1');
select is(pg_temp.share('6 hours'), 'buf-barista 01:00:00, cloud-hub 00:00:00', 'what was used is forgotten by half');
select is((select count(*)::int from hub_internal.share_use where delay > '0'), 1, 'written where it is so');
insert into public.hub_shares (server_id, weight) values (tap.server('buf-barista'), 2);
select is(pg_temp.share('6 hours'), 'buf-barista 00:30:00, cloud-hub 00:00:00', 'one of twice the weight stands back half as far');
select pg_temp.used('quick', '1000 hours');
select is(pg_temp.share(), 'buf-barista 24:00:00, cloud-hub 00:00:00', 'and nobody further than a day');
delete from public.hub_shares;

-- What runs counts
select pg_temp.fresh();
delete from hub_internal.share_use;
select pg_temp.made('greedy', 'quick');
select from public.hub_claim_tasks('two', 1);
update public.mac_tasks set claimed_at = now() - interval '1 hour' where content = 'greedy';
update public.hub_task_attempts set started_at = now() - interval '1 hour';
select pg_temp.made('greedy 2', 'quick'), pg_temp.made('quiet', 'dispatch');
select is(pg_temp.share(), 'buf-barista 01:00:00, cloud-hub 00:00:00', 'what runs is counted to now');
update public.mac_tasks set status = 'failed', error = 'x' where content = 'greedy';
select is((select count(*)::int from hub_internal.spendings where server_id = tap.server('buf-barista')), 1, 'what ends is in the ledger, whoever ends it');

-- Projects of a server
select pg_temp.fresh();
delete from hub_internal.share_use;
select pg_temp.made('greedy', 'quick'), pg_temp.made('quiet', 'cc-motion', '10 minutes'), pg_temp.used('quick', '30 minutes');
select is(pg_temp.share(), 'buf-barista 00:00:00, buf-barista 00:30:00', 'projects share what their server has');
select is(pg_temp.claims('two', 1), 'quiet', 'in the same way');
insert into public.hub_shares (server_id, project, weight) values (tap.server('buf-barista'), 'Desktop/homelab', 3);
select pg_temp.made('quiet 2', 'cc-motion');
select is((select s.value from hub_internal.share_state(now()) s where s.project = 'Desktop/homelab'), 600::double precision, 'and have weights of their own');

-- Nothing starves: it is passed only by what was made less than twice share_most, and what its priority is worth, later.
select pg_temp.fresh();
update hub_internal.share_use set used = 1e9, at = now() where server_id = tap.server('buf-barista') and (project is null or project = 'Desktop/homelab');
select pg_temp.made('greedy', 'quick', '-49 hours', 0);
select pg_temp.made('quiet ' || i, 'dispatch', '0') from generate_series(1, 3) i;
select pg_temp.made('of its own', 'cc-motion', '0');
select pg_temp.share();
select is(pg_temp.claims('two', 1), 'greedy', 'the greediest waits two days at most');

-- Little is written
select pg_temp.fresh();
delete from hub_internal.share_use;
select pg_temp.made('a', 'quick'), pg_temp.made('b', 'dispatch'), pg_temp.used('quick', '1 hour'), pg_temp.share();
update hub_internal.shared set at = now();
select pg_temp.used('quick', '1 hour'), hub_internal.fold_spendings(now(), 1000);
select is(hub_internal.share_out(now() + interval '30 seconds', 1000), 0, 'once a minute');
select is(hub_internal.share_out(now() + interval '60 seconds', 1000), 1, 'where something differs by a minute');
select is(hub_internal.share_out(now() + interval '120 seconds', 1000), 0, 'and not elsewhere');
select is(hub_internal.share_out(now() + interval '600 days', 1000), 1, 'what was used long ago is forgotten');
select is_empty($$ select from hub_internal.share_use where used > 0 $$, 'with its row');

-- Who may give weight
select is(tap.outcome(w, $$ insert into public.hub_shares (server_id, project, weight) values (tap.server('buf-barista'), 'app', 2) $$), c, w || ' gives a project its weight') from (values ('owner', 'ok'), ('operator', '42501'), ('service', 'ok')) x (w, c);
select is(tap.outcome(w, $$ insert into public.hub_shares (server_id, weight) values (tap.server('buf-barista'), 2) $$), c, w || ' gives a server its weight') from (values ('owner', '42501'), ('service', 'ok')) x (w, c);
select is(tap.outcome('owner', format($$ insert into public.hub_shares (server_id, project, weight) values (tap.server('buf-barista'), 'app', %s) $$, v)), '23514', 'no weight: ' || v) from unnest(array['0', '101', '''NaN''']) v;
update hub_internal.quotas set amount = 1 where name = 'server_shares';
select is(tap.outcome('owner', $$ insert into public.hub_shares (server_id, project, weight) values (tap.server('buf-barista'), 'app', 2), (tap.server('buf-barista'), 'b', 2) $$), 'UH006', 'as many as a server may have');

-- What a server's own machine runs is none of the deployment's, and its bounds are none of another server's lanes.
select pg_temp.fresh();
select pg_temp.bound('deployment', '', 1, null);
select pg_temp.works('quick', 2);
update public.mac_tasks set status = 'running', claimed_by = 'tap-own' where content = 'quick 1';
select is((select r.running from hub_internal.running_under() r), 0::bigint, 'a machine of one server fills no bound of the deployment');
select is(pg_temp.claims('one', 1), 'quick 2', 'which holds for machines that serve all');
select pg_temp.bound('person', tap.id('operator')::text, 1);
select is(hub_internal.bounded_subject(tap.server('buf-barista'), 'person', tap.id('operator')), tap.id('operator'), 'a bound of a person is of their server''s lanes');
select is(hub_internal.bounded_subject(tap.server('cloud-hub'), 'person', tap.id('operator')), null, 'and of no other''s');

select * from finish();
rollback;
