-- What a device says of itself, and what follows: which tasks it gets, which machine explain names, what stays of an attempt.
\ir setup.psql
select no_plan();

update public.mesh_devices set revoked_at = now();
-- One server's machines: 'one' is the one that is asked here. A stranger's serves another server.
create function pg_temp.device(p_name text, p_agents text default '[{"agent":"claude","models":["claude"]}]', p_server text default 'buf-barista')
  returns void language plpgsql as $$
begin
  perform public.hub_register_device(p_name, 'linux', p_agents::jsonb, 2);
  update public.mesh_devices set serves_all = false where name = p_name;
  insert into public.mesh_device_servers (device, server_id) values (p_name, tap.server(p_server));
end $$;
select pg_temp.device('one');
select pg_temp.device('elsewhere', '[{"agent":"codex","models":["any"]}]', 'cloud-hub');

create function pg_temp.work(p_project text default null, p_model text default 'claude') returns uuid language plpgsql as $$
declare v_id uuid;
begin
  perform set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true);
  insert into public.mac_tasks (content, channel_id, model_preference, project)
  values ('work', tap.channel('garden'), p_model, p_project) returning id into v_id;
  return v_id;
end $$;
create function pg_temp.project(p_task uuid) returns text language sql as $$ select project from public.mac_tasks where id = p_task $$;
create function pg_temp.beat(p_machine jsonb, p_later interval default '0', p_device text default 'one') returns jsonb language sql as $$
  select hub_internal.heartbeat(p_device, '[]', p_machine, now() + p_later) -> 'projects' $$;
create function pg_temp.has(p_task uuid, p_has boolean, p_device text default 'one') returns jsonb language sql as $$
  select jsonb_build_object('projects', jsonb_build_object(pg_temp.project(p_task), p_has)) $$;
create function pg_temp.takes(p_task uuid, p_device text default 'one') returns boolean language plpgsql as $$
declare v_got boolean;
begin
  begin
    v_got := exists (select from public.hub_claim_tasks(p_device, 50) c where c.id = p_task);
    raise exception sqlstate 'TAP00';
  exception when sqlstate 'TAP00' then return v_got; end;
end $$;
create function pg_temp.why(p_task uuid) returns text language sql as $$
  select string_agg(concat_ws(' | ', e.reason, e.detail), ' || ') from public.hub_explain_task(p_task) e $$;
create function pg_temp.woken(p_device text default 'one') returns text language sql as $$
  select string_agg(event || coalesce(' ask ' || (payload ->> 'ask'), ''), ', ') from realtime.messages where topic = 'device:' || p_device $$;
-- As if the transaction ended: what it woke, it wakes again.
create function pg_temp.hush() returns void language plpgsql as $$
begin
  delete from realtime.messages;
  perform set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true);
end $$;

-- What may be said
select throws_ok(format('select public.hub_heartbeat(%L, %L, %L)', 'one', '[]', m), 'UH001', 'bad input', 'p_machine ' || m)
  from unnest(array['[]', '"x"', '{"disk_free_bytes": -1}', '{"disk_free_bytes": 1.5}', '{"memory_free_bytes": "much"}', '{"memory_free_bytes": 1e18}',
                    '{"stopping": "yes"}', '{"stopping": 1}', '{"projects": []}', '{"projects": {"a": 1}}', '{"projects": {"a": null}}', format('{"projects": {%s: true}}', to_json(repeat('x', 200000))::text)]) m;
select lives_ok(format('select public.hub_heartbeat(%L, %L, %L)', 'one', '[]', m), 'p_machine ' || coalesce(m, 'null'))
  from unnest(array[null, 'null', '{}', '{"disk_free_bytes": null, "projects": null, "stopping": null}', '{"unknown": 1}']) m;
select is((select projects_told from public.mesh_devices where name = 'one'), false, 'none of these tells of projects');
select throws_ok($$ select public.hub_register_device('one', 'linux', '[{"agent":"a","models":[],"memory_bytes":"4 GB"}]', 1) $$, 'UH001', 'bad input', 'the memory of an agent is a number');

-- Projects: the first task of one
create temp table t as select pg_temp.work() as id;
select ok(pg_temp.takes(id), 'a device that never told of projects is not held to them') from t;
select is(pg_temp.beat('{"projects": {}}'), jsonb_build_array(pg_temp.project(id)), 'one that does is asked for what work asks for') from t;
select ok(not pg_temp.takes(id), 'and gets it only once it has answered') from t;
select matches(pg_temp.why(id), '^waiting for a device to look for the project .* \| Asked, .*: one$', 'which explain says') from t;
select pg_temp.hush();
select is(pg_temp.beat(pg_temp.has(id, true)), '[]', 'after its answer it is asked no more') from t;
select is(pg_temp.woken(), 'wake', 'what became claimable wakes it');
select ok(pg_temp.takes(id), 'and it takes it') from t;
select pg_temp.hush();
create temp table u as select pg_temp.work() as id;
select is(pg_temp.woken(), 'wake', 'the next task of the project wakes it as ever');
select pg_temp.hush();
delete from hub_internal.device_projects;
create temp table v as select pg_temp.work() as id;
select is(pg_temp.woken(), 'wake ask true', 'a task of a project it said nothing of makes it beat');
select is(pg_temp.woken('elsewhere'), null, 'and no device of another server');
select is(pg_temp.beat(pg_temp.has(id, false)), '[]', 'what it has not it is not asked for again at once') from v;
select matches(pg_temp.why(id), format('^no device has the project %s \| Make the folder %s below the projects root .*: one$', pg_temp.project(id), pg_temp.project(id)), 'explain names the folder to make') from v;
select is(pg_temp.beat('{}', '11 seconds'), jsonb_build_array(pg_temp.project(id)), 'but some seconds later, since somebody may have made it') from v;
select pg_temp.hush();
select pg_temp.beat(pg_temp.has(id, true), '12 seconds') from v;
select is(pg_temp.woken(), 'wake', 'then it is woken');
select is((select count(*) from hub_internal.device_projects)::int, 1, 'a row a project that was asked for');
select is(pg_temp.beat('{"projects": {"secret-folder": true, "other": false}}'), '[]');
select is((select count(*) from hub_internal.device_projects)::int, 1, 'what nobody asked for is not kept');
select is(pg_temp.beat(pg_temp.has(id, true), p_device => 'elsewhere'), '[]') from v;
select is((select count(*) from hub_internal.device_projects where device = 'elsewhere')::int, 0, 'nor what only servers ask for that the device does not serve');
select pg_temp.beat('{"projects": {}}', p_device => 'elsewhere');
select is(pg_temp.beat('{}', p_device => 'elsewhere'), '[]', 'which it is not asked for');
update public.hub_places set device = 'elsewhere' where kind = 'project' and server_id = tap.server('buf-barista');
delete from hub_internal.device_projects;
select is(pg_temp.beat('{}'), '[]', 'a server that was not given a place on the machine finds out nothing about it');
update public.hub_places set device = null where kind = 'project' and server_id = tap.server('buf-barista');
select is(jsonb_array_length(pg_temp.beat('{}')), 1, 'and else it does');
select pg_temp.beat(pg_temp.has(id, true)) from v;
select public.hub_register_device('one', 'linux', '[{"agent":"claude","models":["claude"]}]', 2);
select is(jsonb_array_length(pg_temp.beat('{}')), 1, 'a worker that starts is asked anew: its root may be another');
select pg_temp.beat(pg_temp.has(id, true)) from v;
delete from public.hub_projects;
select is((select count(*)::int from public.hub_recover()) * (select count(*)::int from hub_internal.device_projects), 1, 'what work asks for stays');
update public.mac_tasks set status = 'cancelled' where content = 'work' and status = 'pending';
select from public.hub_recover();
select from public.hub_recover();
select is_empty('select from hub_internal.device_projects', 'what nothing asks for any more goes');
insert into public.hub_places (kind, server_id, target) values ('project', tap.server('buf-barista'), 'many');
insert into public.mac_tasks (content, channel_id, project, model_preference) select 'p' || n, tap.channel('garden'), 'many/' || n, 'claude' from generate_series(1, 250) n;
select is(jsonb_array_length(pg_temp.beat('{}')), 200, 'asked for at most 200 at a time');
select from hub_internal.heartbeat('one', '[]', (select jsonb_build_object('projects', jsonb_object_agg(p, false)) from jsonb_array_elements_text(pg_temp.beat('{}')) p), now());
select is(jsonb_array_length(pg_temp.beat('{}', '20 seconds')), 200, 'then for the rest first');
select is((select count(*)::int from jsonb_array_elements_text(pg_temp.beat('{}', '20 seconds')) p where p not in (select project from hub_internal.device_projects)), 50, 'of which there are fifty');
update public.mac_tasks set status = 'cancelled' where content like 'p%' and project like 'many/%';
update public.mesh_devices set projects_told = false;

-- Disk and memory
create temp table d as select pg_temp.work() as id;
select pg_temp.beat('{"disk_free_bytes": 400000000}');
select ok(not pg_temp.takes(id), 'a device without room gets nothing') from d;
select is(pg_temp.why(id), 'no device has enough free disk | free 0.6 GB on one, which has 0.4 GB of 1.0 GB', 'explain says how much to free where') from d;
update hub_internal.quotas set amount = 300000000 where name = 'device_free_disk';
select ok(pg_temp.takes(id), 'how much is enough is a setting') from d;
update hub_internal.quotas set amount = 1000000000 where name = 'device_free_disk';
select pg_temp.beat('{"disk_free_bytes": 1000000000, "memory_free_bytes": 1200000000}');
select ok(pg_temp.takes(id), 'an agent that names no memory needs none') from d;
select public.hub_register_device('one', 'linux', '[{"agent":"claude","models":["claude"],"memory_bytes":4000000000}]', 2);
select ok(not pg_temp.takes(id), 'one that needs more than is free is not started') from d;
select is(pg_temp.why(id), 'no device has enough free memory | free 2.8 GB of memory on one: claude needs more than the 1.2 GB that are free', 'explain says how much of it') from d;
select pg_temp.beat('{"memory_free_bytes": 4000000000}');
select ok(pg_temp.takes(id), 'enough is enough') from d;
update public.mesh_devices set disk_free_bytes = null, memory_free_bytes = null;
select ok(pg_temp.takes(id), 'a device that does not say is not held to it') from d;
select public.hub_register_device('one', 'linux', '[{"agent":"claude","models":["claude"]}]', 2);

-- Survey
select is(hub_internal.offer('[{"agent":"survey","models":["any"]},{"agent":"claude","models":["claude"]}]', null, m) ->> 'agent', a, 'of survey and claude, ' || m || ' is for ' || a)
  from (values ('claude', 'claude'), ('any', 'claude'), ('codex', 'survey')) x (m, a);
select is(hub_internal.offer('[{"agent":"survey","models":["any"]},{"agent":"claude","models":["claude"]}]', 'survey', 'claude') ->> 'agent', 'survey', 'survey by name is survey');
select pg_temp.device('dev', '[{"agent":"survey","models":["any"]}]');
select ok(not pg_temp.takes(id, 'dev'), 'survey leaves work to an online device that has the model') from d;
select ok(pg_temp.takes(pg_temp.work(null, 'gemini'), 'dev'), 'and does what nobody has a model for');
create function pg_temp.without(p_change text) returns boolean language plpgsql as $$
declare v_takes boolean;
begin
  begin
    execute p_change;
    v_takes := pg_temp.takes((select id from d), 'dev');
    raise exception sqlstate 'TAP00';
  exception when sqlstate 'TAP00' then return v_takes; end;
end $$;
select ok(pg_temp.without(x), 'and where ' || why)
  from (values ($$ update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour' where name = 'one' $$, 'it is silent'),
               ($$ select public.hub_sign_off('one') $$, 'it signed off'),
               ($$ select public.hub_drain_device('one') $$, 'it is drained'),
               ($$ select pg_temp.beat('{"stopping": true}') $$, 'it stops'),
               ($$ select public.hub_revoke_device('one') $$, 'it is revoked'),
               ($$ delete from public.mesh_device_servers where device = 'one' $$, 'it does not serve the server'),
               ($$ update public.mesh_devices set capacity = 0 where name = 'one' $$, 'it takes nothing at all'),
               ($$ select pg_temp.beat('{"disk_free_bytes": 5}') $$, 'it has no room'),
               ($$ select pg_temp.beat('{"projects": {}}'), pg_temp.beat(pg_temp.has((select id from d), false)) $$, 'it has not the project'),
               ($$ update public.mesh_devices set agents = '[{"agent":"survey","models":["any"]}]' where name = 'one' $$, 'it has only survey, too')) x (x, why);
select ok(not pg_temp.without(x), 'but not where ' || why)
  from (values ('select', 'it is well'), ($$ select pg_temp.beat('{"projects": {}}') $$, 'it only has not said yet whether it has the project')) x (x, why);
update public.mac_tasks set requested_agent = 'survey' where id = (select id from d);
select ok(pg_temp.takes(id, 'dev'), 'survey that was asked for by name is not left to anybody') from d;
update public.mac_tasks set requested_agent = null where id = (select id from d);
delete from public.mesh_devices where name = 'dev';

-- Signing off
select throws_ok($$ select public.hub_sign_off(null) $$, 'UH001', 'bad input');
select throws_ok($$ select public.hub_sign_off('nobody') $$, 'UH005', 'device unknown');
select public.hub_sign_off('one');
select is(pg_temp.why(id), 'no device online | one has claude for it and is offline: `hub worker --device one`', 'a device that signed off is offline at once') from d;
select pg_temp.hush();
select pg_temp.work();
select is(pg_temp.woken(), null, 'and not woken');
select pg_temp.beat('{}');
select matches(pg_temp.why(id), '^claimable', 'it is back with its next heartbeat') from d;
select public.hub_sign_off('one');
select public.hub_register_device('one', 'linux', '[{"agent":"claude","models":["claude"]}]', 2);
select matches(pg_temp.why(id), '^claimable', 'or when it registers') from d;
select public.hub_sign_off('one');
create temp table s as select c.id from public.hub_claim_tasks('one', 1) c;
select is((select signed_off_at from public.mesh_devices where name = 'one'), null, 'or when it claims');
select from s, public.hub_fail_task(s.id, 1, 'x', true, '{"reason": "worker_stopped"}');

-- Stopping: of two workers of a device one may
select pg_temp.hush();
select pg_temp.beat('{"stopping": true}');
select is(pg_temp.why(id), 'one is stopping | one is stopping: `hub worker --device one` starts it again', 'a device that stops is promised to nobody') from d;
select is(pg_temp.woken(), 'wake ask true', 'another worker of it is asked');
select pg_temp.hush();
select pg_temp.beat('{"stopping": true}');
select pg_temp.work();
select is(pg_temp.woken(), null, 'once, and not woken for work');
select pg_temp.beat('{}');
select matches(pg_temp.why(id), '^one is stopping', 'what says nothing of it leaves it so') from d;
select pg_temp.beat('{"stopping": false}');
select matches(pg_temp.why(id), '^claimable', 'the other says that it goes on') from d;
select is(pg_temp.woken(), 'wake', 'and is told of what came meanwhile');
create function pg_temp.stops_no_more(p_by text) returns boolean language plpgsql as $$
declare v_stops boolean;
begin
  begin
    perform pg_temp.beat('{"stopping": true}');
    execute p_by;
    v_stops := (select d.stopping_at is not null from public.mesh_devices d where d.name = 'one');
    raise exception sqlstate 'TAP00';
  exception when sqlstate 'TAP00' then return not v_stops; end;
end $$;
select ok(pg_temp.stops_no_more(x), 'it stops no more: ' || x)
  from unnest(array[$$ select public.hub_register_device('one', 'linux', '[]', 2) $$, $$ select public.hub_claim_tasks('one', 1) $$, $$ select public.hub_sign_off('one') $$]) x;

-- Explain names the machine that could do it, and what to change
create function pg_temp.explained(p_change text) returns text language plpgsql as $$
declare v_said text;
begin
  begin
    execute p_change;
    v_said := pg_temp.why((select id from d));
    raise exception using errcode = 'TAP00', message = v_said;
  exception when sqlstate 'TAP00' then return sqlerrm; end;
end $$;
select pg_temp.device('two', '[{"agent":"codex","models":["codex"]}]');
select is(pg_temp.explained($$ select public.hub_drain_device('one') $$),
  'all devices are draining | one; `hub device drain NAME --undo`, or hub_drain_device(name, false), lets one work again', 'a drained one with the agent beside one without it');
select is(pg_temp.explained($$ update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour' where name = 'one' $$),
  'no device online that could take it | one has claude for it and is offline: `hub worker --device one`', 'an offline one with the agent beside an online one without it');
select is(pg_temp.explained($$ select pg_temp.device('three'), public.hub_drain_device('one'), pg_temp.beat('{"stopping": true}', p_device => 'three') $$),
  'all devices are draining or stopping | one; `hub device drain NAME --undo`, or hub_drain_device(name, false), lets one work again; three is stopping: `hub worker --device three` starts it again', 'a drained one and one that stops');
create function pg_temp.without_folder(p_then text) returns text language sql as $$
  select replace(pg_temp.explained(format($x$
    select pg_temp.device('three'), pg_temp.device('gone');
    select pg_temp.beat('{"projects": {}}', p_device => x) from unnest(array['one', 'three', 'gone']) x;
    select pg_temp.beat(pg_temp.has(id, false), p_device => x) from d, unnest(array['one', 'three']) x;
    %s; select public.hub_sign_off('gone') $x$, p_then)), (select pg_temp.project(id) from d), 'FOLDER') $$;
select is(pg_temp.without_folder('select'),
  'no device has the project FOLDER | Make the folder FOLDER below the projects root of one of them; it looks again within seconds: one, three. Or start one that is offline and may have it: gone (`hub worker --device gone`)',
  'those that are online and lack only the folder come before an offline one that was never asked');
select is(pg_temp.without_folder($$ update public.mesh_devices set projects_told = false where name = 'gone' $$), pg_temp.without_folder('select'), 'also before one that never tells');
select is(pg_temp.without_folder($$ select pg_temp.beat(pg_temp.has(id, true), p_device => 'gone') from d $$),
  'no device online that could take it | gone has claude for it and is offline: `hub worker --device gone`', 'but not before one that said that it has it');
select is(pg_temp.without_folder($$ update public.mesh_devices set disk_free_bytes = 5 where name in ('one', 'three') $$),
  'no device online that could take it | gone has claude for it and is offline: `hub worker --device gone`', 'nor where they lack more');
select is(pg_temp.without_folder($$ update public.mesh_devices set agents = '[]' where name = 'gone' $$),
  'no device has the project FOLDER | Make the folder FOLDER below the projects root of one of them; it looks again within seconds: one, three', 'one that could not do it is not named');
select is(pg_temp.explained($$ update public.mesh_devices set agents = '[]' where name = 'one' $$),
  'no device offers the model claude | Offered by those that serve this server: one: nothing; tap-own: never started; two: codex (codex). Start a worker that has it, or give the task to another.',
  'nobody has it: what they have')
  from (select public.hub_enroll_device('tap-own', tap.server('buf-barista'), false), public.hub_revoke_device('tap-own', false), public.hub_enroll_device('tap-own', tap.server('buf-barista'))) x;
select is(pg_temp.explained($$ delete from public.mesh_device_servers where device in ('one', 'two') $$),
  'no device online | tap-own was never started: `hub worker --device tap-own`', 'only enrolled so far');
select is(pg_temp.explained($$ delete from public.mesh_device_servers where device <> 'elsewhere' $$),
  'no device serves it | Enrol a machine: `hub device add NAME`, or hub_enroll_device for one that is there.', 'nobody serves it; other servers'' machines are not named');
select is(pg_temp.explained($$ update public.mac_tasks set platform = 'macos' where id = (select id from d) $$),
  'no device online with platform macos | Those that serve this server: one (linux), tap-own (never started), two (linux). Start a worker on a machine with macos, enrolled for it.', 'another platform');
select matches(pg_temp.explained($$ update public.mesh_devices set capacity = 0 where name = 'one' $$), '^all devices at capacity \| one 0/0; it waits until one of their tasks ends$', 'full');
select is(pg_temp.explained($$ update public.mac_tasks set session_id = 's', session_device = 'two', status = 'blocked' where id = (select id from d);
                               update public.mac_tasks set status = 'pending', requested_agent = 'codex', model_preference = 'any' where id = (select id from d); select public.hub_sign_off('two') $$),
  'device two is not online | two has codex for it and is offline: `hub worker --device two`. The session this task goes on with is there; once it was away for 10 min, the task goes on elsewhere with a brief.', 'pinned to an offline machine');
select unalike(pg_temp.explained($$ update public.mac_tasks set status = 'cancelled' where id <> (select id from d) and status = 'pending' $$), '%elsewhere%', 'nor where one could take it');
update public.mac_tasks set status = 'cancelled' where status = 'pending';

-- Notes
create temp table n as select pg_temp.work() as id;
select public.hub_claim_tasks('one', 5);
create function pg_temp.notes() returns text language sql as $$
  select coalesce(string_agg(substr(m.content, 9), ' / ' order by m.seq), '-') from public.hub_channel_messages m, n where m.task_id = n.id and m.event = 'progress' $$;
select pg_temp.hush();
select public.hub_report_progress(id, 1, 'reading', true) from n;
select is(pg_temp.notes(), '-', 'a quiet note is no message');
select is((select partial_output from public.mac_tasks join n using (id)), 'reading', 'it is what the task is doing');
select is((select count(*)::int from realtime.messages, n where topic = 'task:' || n.id), 1, 'and broadcast');
select public.hub_report_progress(id, 1, 'reading') from n;
select is(pg_temp.notes(), 'reading', 'the same aloud is posted');
select public.hub_report_progress(id, 1, 'reading') from n;
select is(pg_temp.notes(), 'reading', 'once');
select public.hub_report_progress(id, 1, 'reading', true) from n;
select public.hub_report_progress(id, 1, E'reading\nwriting', true) from n;
select public.hub_report_progress(id, 1, E'reading\nwriting\ntesting') from n;
select is(pg_temp.notes(), E'reading / reading\nwriting\ntesting', 'what was only written quietly is not taken for told');
select from n, generate_series(1, 40) g, public.hub_report_progress(n.id, 1, 'quiet ' || g, true);
select is((select progress_count from public.mac_tasks join n using (id)), 2, 'quiet notes are none of the fifteen');
select throws_ok($$ select public.hub_report_progress(id, 1, 'x', null) from n $$, 'UH001', 'bad input');

-- The record of an attempt
create function pg_temp.record(p_task uuid) returns public.hub_task_attempts language sql as $$
  select a from public.hub_task_attempts a join public.mac_tasks t on t.id = a.task_id and t.attempt = a.attempt where t.id = p_task $$;
select throws_ok(format('select public.hub_complete_task(%L, 1, %L, %L)', id, 'x', m), 'UH001', 'bad input', 'p_meta ' || left(m, 60))
  from n, unnest(array['{"reason": "tired"}', '{"reason": 1}', '{"signal": -9}', '{"signal": "KILL"}', '{"output_bytes": 1.5}', '{"peak_memory_bytes": "all"}',
                       '{"agent_started_at": "yesterday"}', '{"agent_started_at": "infinity"}', '{"agent_ended_at": "2026-02-30T00:00:00Z"}', '{"agent_ended_at": 7}',
                       format('{"stderr": "%s"}', repeat('x', 8001))]) m;
create function pg_temp.refused(p_call text) returns text language plpgsql as $$
declare v_detail text;
begin
  execute replace(p_call, '$1', quote_literal((select id from n)));
  return 'accepted';
exception when sqlstate 'UH001' then
  get stacked diagnostics v_detail = pg_exception_detail;
  return v_detail;
end $$;
select is(pg_temp.refused($$ select public.hub_complete_task($1, 1, 'x', '{"agent_started_at": "2026-11-29T12:00:00Z", "agent_ended_at": "2026-11-29T12:59:59+01:00"}') $$),
  'p_meta.agent_ended_at is before p_meta.agent_started_at', 'an end before the beginning');
select is(pg_temp.refused(format($$ select public.hub_complete_task($1, 1, 'x', '{"reason": "%s"}') $$, r)), format('p_meta.reason %L of an attempt that is complete', r), 'complete is not ' || r)
  from unnest(array['signal', 'lease_lost', 'cancelled', 'worker_stopped', 'limit', 'lingered']) r;
select is(pg_temp.refused($$ select public.hub_fail_task($1, 1, 'x', true, '{"reason": "complete"}') $$), $$p_meta.reason 'complete' of an attempt that is not complete$$, 'nor is what failed complete');
select is(pg_temp.refused($$ select public.hub_complete_task($1, 1, repeat('ü', 1000001)) $$), 'p_result has 1000001 characters', 'a result has an end');
select is(pg_temp.refused($$ select public.hub_fail_task($1, 1, repeat('ü', 100001)) $$), 'p_error has 100001 characters', 'and so has an error');
select is((select status from public.mac_tasks join n using (id)), 'running', 'the attempt goes on');
create temp table large as select pg_temp.work() as id;
select from public.hub_claim_tasks('one', 5);
select is((select char_length(t.result) from large, public.hub_complete_task(large.id, 1, repeat('ü', 1000000)) t), 1000000, 'one of a million is kept whole');
select is((select char_length(m.content) from public.hub_channel_messages m join large on m.task_id = large.id where m.event = 'complete'), 100000, 'its message has as much of it as a message may');
create temp table wrong as select pg_temp.work() as id;
select from public.hub_claim_tasks('one', 5);
select is((select char_length(t.error) from wrong, public.hub_fail_task(wrong.id, 1, repeat('x', 100000), false) t), 100000, 'and an error of a hundred thousand');
select public.hub_complete_task(id, 1, 'Done.', '{"reason": "complete", "signal": 15, "stderr": "warning: x", "output_bytes": 123456789012, "peak_memory_bytes": 345000000,
  "agent_started_at": "2026-11-29T12:00:00.123456789Z", "agent_ended_at": "2026-11-29T13:00:01+01:00"}') from n;
select results_eq($$ select (r).reason, (r).signal, (r).stderr, (r).output_bytes, (r).peak_memory_bytes, (r).agent_started_at, (r).agent_ended_at from n, pg_temp.record(id) r $$,
  $$ values ('complete', 15, 'warning: x', 123456789012, 345000000::bigint, '2026-11-29 12:00:00.123457+00'::timestamptz, '2026-11-29 12:00:01+00'::timestamptz) $$, 'all that was said is kept');
update hub_internal.rounds set due_at = null;                                 -- so that an hour later is no outage
create function pg_temp.ended(p_how text) returns text language plpgsql as $$
declare v_id uuid := pg_temp.work(); v_row public.hub_task_attempts;
begin
  perform public.hub_claim_tasks('one', 5);
  execute p_how using v_id;
  v_row := pg_temp.record(v_id);
  update public.mac_tasks set status = 'cancelled' where status in ('pending', 'running');
  return v_row.outcome || ' ' || v_row.reason;
end $$;
select is(pg_temp.ended(how), ends, ends)
  from (values ($$ select public.hub_complete_task($1, 1, 'x') $$, 'complete complete'),
               ($$ select public.hub_fail_task($1, 1, 'x') $$, 'failed failed'),
               ($$ select public.hub_fail_task($1, 1, 'x', false, '{"reason": "timeout"}') $$, 'failed timeout'),
               ($$ select public.hub_cancel_task($1), public.hub_fail_task($1, 1, 'x') $$, 'cancelled cancelled'),
               ($$ with x as (update public.mac_tasks set status = 'failed' where id = $1 returning 1) select from x $$, 'failed failed'),
               ($$ select public.hub_recover(now() + interval '1 hour') from (values ($1)) x $$, 'lost lease_lost'),
               ($$ select public.hub_recover(now() + interval '1 hour') from public.hub_revoke_device('one'), (values ($1)) x $$, 'lost revoked')) x (how, ends);
select public.hub_revoke_device('one', false);

-- A lease that is lost
create function pg_temp.lost(p_meanwhile text, p_after interval) returns text language plpgsql as $$
declare v_id uuid := pg_temp.work(); v_said text;
begin
  update public.mesh_devices set last_heartbeat_at = now() where name = 'one';
  perform public.hub_claim_tasks('one', 5);
  execute p_meanwhile using v_id;
  perform hub_internal.recover_leases(now() + p_after, 10);
  v_said := (select t.status || ': ' || t.error from public.mac_tasks t where t.id = v_id)
    || (select ' | ' || string_agg(concat_ws(' | ', e.reason, e.detail), ' || ') from hub_internal.explain_task(v_id, now() + p_after) e);
  update public.mac_tasks set status = 'cancelled' where id = v_id;
  return replace(replace(v_said, hub_internal.moment_text(now()), 'NOW'), hub_internal.moment_text(now() + interval '20 seconds'), 'NOW+20');
end $$;
select is(pg_temp.lost('select $1', '61 seconds'),
  'pending: lease lost: one was not heard of since NOW | no device online | one has claude for it and was not heard of since NOW: is its worker running?',
  'a silent device is named with when it was last heard of, and is promised to nobody');
select is(pg_temp.lost($$ select hub_internal.heartbeat('one', jsonb_build_array(jsonb_build_object('task', $1, 'attempt', 1)), '{}', now() + interval '20 seconds') $$, '81 seconds'),
  'pending: lease lost: one was not heard of since NOW+20 | no device online | one has claude for it and was not heard of since NOW+20: is its worker running?', 'that was its last heartbeat');
select matches(pg_temp.lost($$ select hub_internal.heartbeat('one', '[]', '{}', now() + interval '50 seconds') from (values ($1)) x $$, '61 seconds'),
  '^pending: lease lost: one is there and did not go on with it \| claimable', 'a device that beats without the attempt is there');

-- Handing back
create function pg_temp.back(p_reason text, p_retryable boolean default true, p_most int default 3) returns text language plpgsql as $$
declare v_id uuid := pg_temp.work(); v_task public.mac_tasks;
begin
  update public.mac_tasks set max_attempts = p_most where id = v_id;
  perform public.hub_claim_tasks('one', 5);
  v_task := public.hub_fail_task(v_id, 1, 'because', p_retryable, jsonb_build_object('reason', p_reason));
  update public.mac_tasks set status = 'cancelled' where id = v_id and status = 'pending';
  return format('%s, %s, %s left, %s', v_task.status, case when v_task.run_after is null then 'at once' else 'later' end, v_task.max_attempts - v_task.attempt,
    (select string_agg(m.event, ' ' order by m.seq) from public.hub_channel_messages m where m.task_id = v_id and m.event not in ('queued', 'started', 'cancelled')));
end $$;
select is(pg_temp.back('worker_stopped'), 'pending, at once, 3 left, handed_back', 'a worker that stops hands back at no cost');
select is(pg_temp.back('worker_stopped', true, 1), 'pending, at once, 1 left, handed_back', 'also at the last attempt');
select is(pg_temp.back('worker_stopped', true, 100), 'pending, at once, 100 left, handed_back', 'and with as many as a task may have');
select is(pg_temp.back('worker_stopped', false), 'failed, at once, 2 left, failed', 'what is not to be tried again is not handed back');
select is(pg_temp.back('worker_gone'), 'pending, at once, 2 left, handed_back', 'a worker that died hands back, and it counts');
select is(pg_temp.back('host_gone', true, 1), 'failed, at once, 0 left, failed', 'what kills its hosts ends');
select is(pg_temp.back('exit'), 'pending, later, 2 left, retried', 'any other failure waits');
select is(pg_temp.back('no_project'), 'pending, at once, 3 left, handed_back', 'no such project');
create temp table again as select pg_temp.work() as id;
select ok(not pg_temp.takes(id), 'and that device gets none of the project any more, whether or not it tells of projects') from again;
select matches(pg_temp.why(id), '^no device has the project', 'which explain says') from again;
select pg_temp.beat(pg_temp.has(id, true)) from again;
select ok(pg_temp.takes(id), 'until it says that it has it') from again;

-- Again and again: a machine that is out of order
update public.mac_tasks set run_after = 'tomorrow' from again where mac_tasks.id = again.id;
create temp table rests as select pg_temp.work() as id;
create function pg_temp.backs(p_reason text, p_times int) returns text language plpgsql as $$
declare v_id uuid := (select id from rests); v_task public.mac_tasks; v_said text[] := '{}'; v_seen bigint; v_told text;
begin
  for i in 1 .. p_times loop
    update public.mac_tasks set run_after = null where id = v_id and run_after is not null;
    update hub_internal.device_projects set present = true;
    perform public.hub_claim_tasks('one', 5);
    select max(m.seq) into v_seen from public.hub_channel_messages m where m.task_id = v_id;
    v_task := public.hub_fail_task(v_id, t.attempt, 'because', true, jsonb_build_object('reason', p_reason)) from public.mac_tasks t where t.id = v_id;
    select string_agg(m.event, ' ') into v_told from public.hub_channel_messages m where m.task_id = v_id and m.seq > v_seen;
    v_said := v_said || concat_ws(' ', case when v_task.status = 'pending' then to_char(coalesce(extract(epoch from v_task.run_after - now()), 0), 'FM999') || 's' else v_task.status end, v_told);
  end loop;
  return array_to_string(v_said, ', ') || format('; %s left', v_task.max_attempts - v_task.attempt);
end $$;
create function pg_temp.last_back() returns text language sql as $$
  select substr(m.content, position('because' in m.content)) from public.hub_channel_messages m join rests on m.task_id = rests.id where m.event = 'handed_back' order by m.seq desc limit 1 $$;
select is(pg_temp.backs('worker_stopped', 3), '0s handed_back, 0s handed_back, 0s handed_back; 3 left', 'three hand-backs in a row are told, and others may take it at once');
select is(pg_temp.last_back(), 'because; waits for a machine');
select is(pg_temp.backs('no_project', 1), '10s handed_back; 3 left', 'from the fourth on it rests');
select is(pg_temp.last_back(), 'because; rests 10s, and longer each time it is handed back again; waits for a machine', 'which is told once');
select is(pg_temp.backs('worker_stopped', 7), '20s, 40s, 80s, 160s, 320s, 600s, 600s; 3 left', 'longer and longer, and no more is told');
select is(pg_temp.backs('worker_stopped', 130), array_to_string(array_fill('600s'::text, array[130]), ', ') || '; 3 left', 'any number of times, at no cost');
select is(pg_temp.backs('exit', 1), '600s retried; 2 left', 'a failure costs an attempt');
select is(pg_temp.backs('worker_stopped', 4), '0s handed_back, 0s handed_back, 0s handed_back, 10s handed_back; 2 left', 'and ends the row');
select is(pg_temp.backs('exit', 2), '600s retried, failed failed; 0 left');
select from rests, public.hub_retry_task(id);
select is((select max_attempts - attempt from public.mac_tasks join rests using (id)), 3, 'queued again it has all its attempts');
select is(pg_temp.backs('worker_gone', 1), '0s handed_back; 2 left', 'a worker that died');
select matches(pg_temp.last_back(), '^because; attempt [0-9]+ of [0-9]+ is used up; waits for a machine$', 'the line says that it counts');
select is(pg_temp.backs('host_gone', 1), '10s handed_back; 1 left', 'the second in a row rests');
select matches(pg_temp.last_back(), '^because; attempt [0-9]+ of [0-9]+ is used up; rests 10s; waits for a machine$', 'and says so');
select is(pg_temp.backs('worker_stopped', 4), '0s handed_back, 0s handed_back, 0s handed_back, 10s handed_back; 1 left');
select from rests, public.hub_cancel_task(id);
select from rests, public.hub_retry_task(id);
select is(pg_temp.backs('worker_stopped', 1), '0s handed_back; 3 left', 'queued again the row begins anew');
do $$ begin for i in 1 .. 2 loop perform public.hub_cancel_task(id) from rests; perform public.hub_retry_task(id) from rests; end loop; end $$;
select is(pg_temp.backs('worker_gone', 3), '0s handed_back, 10s handed_back, failed failed; 0 left', 'however often');

-- A sign-in elsewhere numbers its users as it likes.
create function pg_temp.foreigner() returns text language plpgsql as $$
declare v_device public.mesh_devices;
begin
  perform tap.become('device:foreign');
  perform set_config('request.jwt.claims', '{"sub": "auth0|1", "role": "authenticated", "app_metadata": {"device": "foreign"}}', true);
  v_device := public.hub_register_device('foreign', 'linux', '[]', 1);
  perform tap.become('postgres');
  return concat_ws(' ', v_device.name, v_device.user_id);
end $$;
select is(pg_temp.foreigner(), 'foreign', 'a device whose token names no uuid registers');

-- A worker killed between its claim and its first step costs no attempt, three times.
select from public.hub_register_device('young', 'linux', '[{"agent":"claude","models":["any"]}]', 5);
create temp table unbegun as select tap.task('quick', 'Never begun') as id;
create function pg_temp.young() returns int language plpgsql as $$
begin
  update public.mac_tasks t set run_after = null, requested_device = 'young' from unbegun where t.id = unbegun.id;
  perform public.hub_claim_tasks('young', 5, '60 seconds');
  return (select t.attempt from public.mac_tasks t join unbegun using (id) where t.status = 'running');
end $$;
create function pg_temp.killed() returns text language plpgsql as $$
declare v_attempt int := pg_temp.young();
begin
  update public.mac_tasks t set lease_expires_at = t.claimed_at - interval '1 second' from unbegun where t.id = unbegun.id;
  perform hub_internal.recover_leases(now(), 10);
  return (select concat_ws(' ', v_attempt, t.status, t.max_attempts, 'left', t.max_attempts - t.attempt,
                           case when (select m.content from public.hub_channel_messages m where m.task_id = t.id order by m.seq desc limit 1) like '%before it had begun%' then 'not begun' end)
            from public.mac_tasks t join unbegun using (id));
end $$;
update hub_internal.rounds set ran_at = null, due_at = null, outage_from = null, outage_to = null;
update public.mac_tasks set requested_device = 'young' where id = (select id from unbegun);
select is(pg_temp.killed(), '1 pending 3 left 2', 'of one that never began an attempt nobody can tell: it costs one');
select from unbegun, public.hub_begin_attempt(id, pg_temp.young());
select is(public.hub_register_device('young', 'linux', '[{"agent":"claude","models":["any"]}]', 5) is null, false);
select is((select lease_expires_at - now() from public.mac_tasks join unbegun using (id)), interval '60 seconds', 'a worker that starts anew takes nothing that was begun');
select is((select status || max_attempts from unbegun, public.hub_fail_task(id, 2, 'the worker was ended', true, '{"reason": "worker_gone"}')), 'pending3', 'and what was begun counts when its worker is gone');
select pg_temp.young() is null as claimed \gset
select is(public.hub_register_device('young', 'linux', '[{"agent":"claude","models":["any"]}]', 5) is null, false);
select is((select lease_expires_at - now() from public.mac_tasks join unbegun using (id)), interval '30 seconds', 'what was not is waited for shortly');
select is(jsonb_typeof(public.hub_heartbeat('young', jsonb_build_array(jsonb_build_object('task', id, 'attempt', 3))) -> 'lost'), 'array') from unbegun;
select is((select lease_expires_at - now() from public.mac_tasks join unbegun using (id)), interval '60 seconds', 'unless somebody has it');
select is((select status || max_attempts from unbegun, public.hub_fail_task(id, 3, 'the worker was ended', true, '{"reason": "worker_gone"}')), 'pending4', 'one that was not begun costs none when its worker is gone');
select alike((select m.content from public.hub_channel_messages m join unbegun u on m.task_id = u.id order by m.seq desc limit 1), '↩️ %: the worker was ended before it had begun%; waits for a machine', 'the line says so');
select is(pg_temp.killed(), '4 pending 5 left 1 not begun', 'nor when its lease runs out');
select is(pg_temp.killed(), '5 failed 5 left 0', 'but no more than three times');
select from unbegun, public.hub_retry_task(id);
select is(pg_temp.killed(), '6 pending 9 left 3 not begun', 'queued again it begins anew');
delete from public.mac_tasks where id = (select id from unbegun);
select from public.hub_revoke_device('young');
update hub_internal.rounds set ran_at = null, due_at = null, outage_from = null, outage_to = null;
update public.mac_tasks set run_after = null from again where mac_tasks.id = again.id;

-- While the database was away nobody could renew a lease
create temp table away as select c.id from public.hub_claim_tasks('one', 1, '1 second') c;
update public.mac_tasks set claimed_at = pg_postmaster_start_time() - interval '1 hour', lease_expires_at = pg_postmaster_start_time() - interval '59 minutes' from away where mac_tasks.id = away.id;
select is(hub_internal.recover_leases(pg_postmaster_start_time() + interval '29 seconds', 10), 0, 'a lease from before is left alone for a moment after the start');
select is(hub_internal.recover_leases(pg_postmaster_start_time() + interval '31 seconds', 10), 1, 'and not for longer');
create temp table since as select c.id from public.hub_claim_tasks('one', 1, '1 second') c;
update public.mac_tasks set claimed_at = pg_postmaster_start_time(), lease_expires_at = pg_postmaster_start_time() + interval '1 second' from since where mac_tasks.id = since.id;
select is(hub_internal.recover_leases(pg_postmaster_start_time() + interval '2 seconds', 10), 1, 'one from after the start is over when it is over');

-- While it was frozen neither, nor could the keeper see it
create temp table frozen as select pg_temp.work() as id;
create function pg_temp.claims() returns void language plpgsql as $$
begin
  update public.mac_tasks t set status = 'cancelled' where t.status in ('pending', 'running') and t.id <> (select id from frozen);
  update public.mac_tasks t set status = 'pending' from frozen where t.id = frozen.id and t.status = 'running';
  update public.mac_tasks t set max_attempts = 50, run_after = null from frozen where t.id = frozen.id;
  update hub_internal.rounds set ran_at = null, due_at = null, outage_from = null, outage_to = null;
  perform public.hub_claim_tasks('one', 1, '60 seconds');
end $$;
create function pg_temp.rounds(variadic p_seconds int[]) returns text language sql as $$
  select string_agg(hub_internal.recover_leases(now() + make_interval(secs => s), 10)::text, ' ' order by n) from unnest(p_seconds) with ordinality x (s, n) $$;
select pg_temp.claims() is null as claimed \gset
select is(pg_temp.rounds(30, 61), '0 1', 'a round that is on time takes a lease when it is over');
select pg_temp.claims() is null as claimed \gset
select is(pg_temp.rounds(30, 70), '0 1', 'one that is late by ten seconds, too');
select pg_temp.claims() is null as claimed \gset
select is(pg_temp.rounds(30, 102, 103, 131), '0 0 0 0', 'one that is later ends an outage: what ran out meanwhile is left alone for a moment');
select is((select status from public.mac_tasks join frozen using (id)), 'running', 'and its device may deliver it');
select is(pg_temp.rounds(132), '1', 'and not for longer');
select pg_temp.claims() is null as claimed \gset
select is(pg_temp.rounds(30, 102, 160, 220, 280), '0 0 1 0 0', 'once');
select pg_temp.claims() is null as claimed \gset
select is(pg_temp.rounds(102), '1', 'before the first round nothing is known of an outage');
select pg_temp.claims() is null as claimed \gset
select is(pg_temp.rounds(30, 102, -3600, 20, 95), '0 0 0 0 0', 'a clock that was set back takes nothing');
select pg_temp.claims() is null as claimed \gset
select pg_temp.rounds(30, 102) is null as frozen \gset
update hub_internal.rounds set due_at = now() + interval '104 seconds';
select is(pg_temp.rounds(125, 154, 155), '0 0 1', 'frozen again before anything could be delivered it waits again');
select pg_temp.claims() is null as claimed \gset
update hub_internal.rounds set ran_at = now() + interval '61 seconds', due_at = now() + interval '70 seconds';
select is(pg_temp.rounds(100), '1', 'what was over before the last round is taken at once');
select pg_temp.claims() is null as claimed \gset
update hub_internal.rounds set ran_at = now(), due_at = now() + interval '60 seconds';
update public.mac_tasks set lease_expires_at = now() + interval '5 seconds' from frozen where mac_tasks.id = frozen.id;
select is(pg_temp.rounds(1, 17, 46, 47), '0 0 0 1', 'a round is due when the next lease ends');
select is((select count(*)::int from hub_internal.rounds), 1, 'one row');

select throws_ok($$ select public.hub_heartbeat('one', (select jsonb_agg(jsonb_build_object('task', gen_random_uuid(), 'attempt', 1)) from generate_series(1, 1001))) $$, 'UH001', 'bad input', 'no device runs more than a thousand');

select * from finish();
rollback;
