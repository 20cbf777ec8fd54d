-- What the hub posts by itself, when, and that it tells nobody what they may not read.
\ir setup.psql
select no_plan();

create function pg_temp.said(p_channel text) returns setof text language sql as
$$ select m.content from public.hub_channel_messages m where m.channel_id = tap.channel(p_channel) order by m.seq $$;
create function pg_temp.last(p_channel text) returns text language sql as
$$ select m.content from public.hub_channel_messages m where m.channel_id = tap.channel(p_channel) order by m.seq desc limit 1 $$;

-- Noon of a day: the daily feeds of that day are over. Everything before it is not theirs to tell.
update public.mesh_devices set last_heartbeat_at = now(), revoked_at = case when name in ('tap-all') then null else now() end;
create temp table clock as select (date_trunc('day', now() at time zone 'utc') + interval '12 hours') at time zone 'utc' as noon;
grant select on clock to public;
update public.mesh_devices set last_heartbeat_at = (select noon from clock) where name = 'tap-all';
select public.hub_post_feeds(noon) from clock;
select is(pg_temp.last('heartbeat'), E'💓 Mesh: 1 of 1 devices online\n🟢 tap-all: online', 'the first post in heartbeat lists the devices');
select is((select count(*)::int from pg_temp.said('morning-brief')), 0, 'no morning brief is posted for a day that began before the feed');
select is(public.hub_post_feeds(noon + interval '1 minute'), 0, 'nothing is posted when nothing changed') from clock;

select is(public.hub_post_feeds(noon + interval '2 minutes'), 1, 'a device that goes offline is posted') from clock;
select is(pg_temp.last('heartbeat'), E'💓 Mesh: 0 of 1 devices online\n🔴 tap-all went offline', 'the post names the device that went offline');
select is(public.hub_post_feeds(noon + interval '3 minutes'), 0, 'an offline device is posted once') from clock;
update public.mesh_devices set last_heartbeat_at = (select noon + interval '3 minutes' from clock), drained_at = now() where name = 'tap-all';
select public.hub_post_feeds(noon + interval '3 minutes') from clock;
select is(pg_temp.last('heartbeat'), E'💓 Mesh: 1 of 1 devices online\n🟡 tap-all is draining', 'a draining device is posted');
update public.mesh_devices set drained_at = null where name = 'tap-all';

-- What was finished, a line a task; a members' server is not told outside
select public.hub_post_feeds();
update hub_internal.feeds set told_until = now() - interval '1 second';
create temp table done as select tap.running('quick') as good, tap.running('dispatch') as bad, tap.running('evals') as secret;
select from done d, public.hub_complete_task(d.good, 1, 'fine');
select from done d, public.hub_fail_task(d.bad, 1, 'no such file', false);
select from done d, public.hub_complete_task(d.secret, 1, 'fine');
select is(public.hub_post_feeds(), 1, 'finished tasks are posted in memory-log');
select matches(pg_temp.last('memory-log'), '✅ ' || left(good::text, 4) || ' #quick \[.*/tap-all\] .* \(0s\)', 'memory-log has a line for a complete task') from done;
select matches(pg_temp.last('memory-log'), '❌ ' || left(bad::text, 4) || ' #dispatch', 'memory-log has a line for a failed task') from done;
select unalike(pg_temp.last('memory-log'), '%' || left(secret::text, 4) || '%', 'memory-log has no line for a task of a members'' server') from done;
select is(public.hub_post_feeds(), 0, 'a task is posted in memory-log once');
-- One that was ended by a transaction that began earlier shows up behind the mark
update public.mac_tasks set finished_at = now() - interval '5 minutes' where id = (select good from done);
delete from hub_internal.feed_told where task_id = (select good from done);
select is(public.hub_post_feeds(), 1, 'a task that finished before the last run but became visible later is posted');

-- The next morning
select is((select count(*)::int from pg_temp.said('digest')), 0, 'no digest is posted on the first day');
update public.mesh_devices set last_heartbeat_at = (select noon + interval '21 hours' from clock) where name = 'tap-all';
select public.hub_post_feeds(noon + interval '18 hours') from clock;
select is((select count(*)::int from pg_temp.said('morning-brief')), 0, 'no morning brief is posted before its hour');
select public.hub_post_feeds(noon + interval '20 hours') from clock;
select matches(pg_temp.last('morning-brief'), '^☀️ Morning brief of ' || (noon at time zone 'utc')::date || E'\nFinished: 2 \\(1 complete, 1 failed, 0 cancelled\\)', 'the morning brief counts the finished tasks') from clock;
select matches(pg_temp.last('morning-brief'), E'\n❌ ' || left(bad::text, 4) || ' #dispatch: .*: no such file', 'the morning brief names the failed task') from done;
select matches(pg_temp.last('digest'), '^Digest of ' || (noon at time zone 'utc')::date || E'\nPipeline: 23 active leads', 'the digest of the day is posted') from clock;
select is(pg_temp.last('heartbeat'), E'💓 Mesh: 1 of 1 devices online\n🟢 tap-all: online', 'the heartbeat feed lists the devices once a day');
select is(public.hub_post_feeds(noon + interval '21 hours'), 0, 'the daily posts come once a day') from clock;

select * from finish();
rollback;
