-- One rule, three readers: what the claim takes, what hub_explain_task says and whom waking tells follow hub_internal.device_lanes. And errands are rows.
\ir setup.psql
select no_plan();

-- Who may take what
update public.mesh_devices set revoked_at = now();
select from public.hub_register_device('one', 'linux', '[{"agent":"claude","models":["claude"]}]', 2);
update public.mesh_devices set serves_all = false where name = 'one';
insert into public.mesh_device_servers (device, server_id) values ('one', tap.server('buf-barista'));
create function pg_temp.ask(p_change text) returns text language plpgsql as $$
declare
  v_task  uuid;
  v_lane  integer;
  v_row   hub_internal.device_lanes;
  v_wakes bigint;
  v_said  text;
begin
  begin
    execute p_change;
    perform set_config('hub.woken_lanes', '', true), set_config('hub.woken_devices', '', true);
    select count(*) into v_wakes from realtime.messages where topic = 'device:one';
    insert into public.mac_tasks (content, channel_id, model_preference, platform)
    values ('asked', tap.channel('general-tasks'), 'claude', 'linux') returning id, lane into v_task, v_lane;
    select x.* into v_row from hub_internal.device_lanes x where x.device = 'one' and x.lane = v_lane;
    select (select count(*) from realtime.messages where topic = 'device:one') - v_wakes into v_wakes;
    v_said := (select e.reason from public.hub_explain_task(v_task) e limit 1);
    v_said := format('eligible %s, woken %s, claimed %s, %s', coalesce(v_row.eligible::text, 'no row'), v_wakes,
                     (select count(*) from hub_internal.claim_tasks('one', 5, '1 minute', now()) c where c.id = v_task), v_said);
    raise exception sqlstate 'TAP00' using message = v_said;
  exception
    when sqlstate 'TAP00' then return sqlerrm;
    when sqlstate 'UH005' then return 'refused: ' || sqlerrm;
  end;
end;
$$;
select is(pg_temp.ask('select'), 'eligible true, woken 1, claimed 1, claimable', 'all conditions hold');
select is(pg_temp.ask($$ update public.mesh_devices set platform = 'macos' where name = 'one' $$),
          'eligible false, woken 0, claimed 0, no device online with platform linux', 'another platform');
select is(pg_temp.ask($$ delete from public.mesh_device_servers where device = 'one' $$),
          'eligible false, woken 0, claimed 0, no device serves it', 'does not serve the server');
select is(pg_temp.ask($$ insert into public.hub_budgets (server_id, scope, measure, amount) values (tap.server('buf-barista'), 'server', 'tokens', 5);
                          insert into hub_internal.budget_use select id, 'epoch', 6 from public.hub_budgets; select hub_internal.note_met(now()), hub_internal.weigh_lanes(now(), 1000) $$),
          'eligible false, woken 0, claimed 0, its budget is used up', 'a budget that is met');
select is(pg_temp.ask($$ insert into public.hub_budgets (server_id, scope, measure, amount) values (tap.server('buf-barista'), 'server', 'running', 1); insert into public.mac_tasks (content, channel_id) values ('runs', tap.channel('general-tasks'));
                          select hub_internal.note_met(now()), hub_internal.weigh_lanes(now(), 1000); update public.mac_tasks set status = 'running', claimed_by = 'old' where content = 'runs' $$),
          'eligible false, woken 0, claimed 0, as many run as may', 'as many run as may');
select matches(pg_temp.ask($$ delete from public.hub_places where kind = 'project' and server_id = tap.server('buf-barista');
                              insert into public.hub_places (kind, server_id, target, device) select 'project', tap.server('buf-barista'), '*', 'tap-all' $$),
          '^eligible false, woken 0, claimed 0, no device may work in ', 'the folder is on another device');
select is(pg_temp.ask($$ update public.mesh_devices set agents = '[{"agent":"codex","models":["codex"]}]' where name = 'one' $$),
          'eligible false, woken 0, claimed 0, no device offers the model claude', 'no agent for the model');
select is(pg_temp.ask($$ update public.mesh_devices set drained_at = now() where name = 'one' $$),
          'eligible true, woken 0, claimed 0, all devices are draining', 'drained');
select is(pg_temp.ask($$ update public.mesh_devices set capacity = 0 where name = 'one' $$),
          'eligible true, woken 1, claimed 0, all devices at capacity', 'full: woken all the same, since it may be free when this commits');
select is(pg_temp.ask($$ update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour' where name = 'one' $$),
          'eligible true, woken 0, claimed 1, no device online with platform linux', 'silent, but it calls');
select is(pg_temp.ask($$ update public.mesh_devices set revoked_at = now() where name = 'one' $$), 'refused: device revoked', 'revoked');
insert into public.hub_places (kind, server_id, target, device)
select 'project', s.id, t, d from public.hub_servers s, (values ('research/deep', 'tap-all'), ('docs', 'tap-own'), ('a', null)) v (t, d) on conflict do nothing;
insert into hub_internal.lanes (key, server_id, project, model, ways, platform)
select 0, s.id, p, 'any', '{any}', 'any' from public.hub_servers s, unnest(array['a', 'ab', 'a/b', 'docs/x', 'research', 'research/deep/er']) p on conflict do nothing;
update public.mesh_devices set revoked_at = null;
select ok(count(*) filter (where x.has_folder) between 1 and count(*) - 1
          and bool_and(x.has_folder = (l.server_id is null or hub_internal.has_folder(l.server_id, l.project, x.device))), 'device_lanes and has_folder say the same of a folder')
  from hub_internal.device_lanes x join hub_internal.lanes l on l.id = x.lane;

-- Errands
select set_eq($$ select name from public.hub_errands where wakes $$, $$ values ('asks'), ('lanes_weighed'), ('leases'), ('outbox'), ('spendings'), ('sweep'), ('webhooks') $$, 'whom NOTIFY hub_errands wakes');
create function hub_internal.tap_errand(p_now timestamptz, p_limit int) returns int language sql as $$ select least(p_limit, 7) $$;
select is(public.hub_recover(now(), 1000), 0, 'nothing is left to do');
insert into public.hub_errands (name, about, function, position) values ('tap', 'a row and a function', 'hub_internal.tap_errand', 140);
select is(public.hub_recover(now(), 1000), 7, 'a new errand is a row: hub_recover calls and counts it');
select is(public.hub_recover(now(), 5), 5, 'within what the call may do');
update public.hub_errands set counts = false where name = 'tap';
select is(public.hub_recover(now(), 5), 0, 'housekeeping is called and not counted');
select throws_ok($$ insert into public.hub_errands (name, about, function, position) values ('bad', '', 'pg_sleep', 1) $$, '23514', null, 'its function is one of ours');
select throws_ok($$ insert into public.hub_errands (name, about, function) values ('bad', '', 'hub_internal.tap_errand') $$, '23514', null, 'and has its place in the round');

-- Times that are none
select throws_ok(format('select public.%s(%L)', f, t), 'UH001', 'bad input', f || ' at ' || t)
  from unnest(array['hub_recover', 'hub_decay_threads', 'hub_post_feeds', 'hub_process_webhooks']) f, unnest(array['infinity', '-infinity', '4713-01-01 BC', '0001-01-01']) t;

-- An errand that can not be done keeps no other from being done.
create function hub_internal.tap_broken(p_now timestamptz, p_limit int) returns int language plpgsql as $$ begin raise 'broken'; end; $$;
insert into public.hub_errands (name, about, function, position) values ('broken', 'never done', 'hub_internal.tap_broken', 1);
create temp table lost as select tap.running('quick', 'Lost while another errand is broken') as id;
update public.mac_tasks set lease_expires_at = now() - interval '1 hour' where id = (select id from lost);
select set_config('client_min_messages', 'error', true);
select cmp_ok(public.hub_recover(now() + interval '5 minutes'), '>=', 1, 'the round is done');
select is((select status from public.mac_tasks where id = (select id from lost)), 'pending', 'and whose lease ended has its task taken back');

select * from finish();
rollback;
