-- A task that needs others waits until they have ended, and fails or goes on where one of them failed, as was said; never in a ring.
\ir setup.psql
select no_plan();

create temp table t (name text primary key, id uuid);
grant select on t to public;
create function pg_temp.make(variadic p_names text[]) returns void language sql as $$
  insert into t select n, tap.task('quick', n) from unnest(p_names) n
$$;
create function pg_temp.id(p_name text) returns uuid language sql stable security definer as $$ select id from t where name = p_name $$;
grant execute on function pg_temp.id to public;
create function pg_temp.need(p_task text, p_needs text, p_on_failure text default 'fail') returns text language sql as $$
  select n.on_failure from public.hub_need_task(pg_temp.id(p_task), pg_temp.id(p_needs), p_on_failure) n
$$;
create function pg_temp.states() returns text language sql as $$ select string_agg(t.name || ' ' || m.status, ', ' order by t.name) from t join public.mac_tasks m using (id) $$;
create function pg_temp.run(p_name text) returns int language plpgsql as $$
begin
  update public.mac_tasks set run_after = null where id = pg_temp.id(p_name);
  perform public.hub_claim_tasks('tap-all', 50);
  return (select attempt from public.mac_tasks where id = pg_temp.id(p_name) and status = 'running');
end;
$$;
create function pg_temp.ends(p_name text, p_well boolean default true) returns void language plpgsql as $$
declare
  v_attempt int := pg_temp.run(p_name);
begin
  if p_well then perform public.hub_complete_task(pg_temp.id(p_name), v_attempt, 'done');
  else perform public.hub_fail_task(pg_temp.id(p_name), v_attempt, 'no', false); end if;
end;
$$;

-- Two that a third needs
select pg_temp.make('a', 'b', 'c', 'd');
select is(pg_temp.need('c', 'a') || pg_temp.need('c', 'b') || pg_temp.need('d', 'c'), 'failfailfail', 'a task needs others');
select is(pg_temp.states(), 'a pending, b pending, c blocked, d blocked', 'and is blocked');
select results_eq($$ select e.reason from hub_explain_task(pg_temp.id('c')) e $$, $$ select 'blocked by ' || left(id::text, 8) from t where name in ('a', 'b') order by name $$, 'which is explained, a row each');
select pg_temp.ends('a');
select is(pg_temp.states(), 'a complete, b running, c blocked, d blocked', 'one has ended: it waits for the other');
select results_eq($$ select e.reason from hub_explain_task(pg_temp.id('c')) e $$, $$ select 'blocked by ' || left(id::text, 8) from t where name = 'b' $$, 'and only for that');
select pg_temp.ends('b');
select is(pg_temp.states(), 'a complete, b complete, c pending, d blocked', 'both have: it goes on, in that transaction');
select pg_temp.ends('c'), pg_temp.ends('d');
select is(pg_temp.states(), 'a complete, b complete, c complete, d complete', 'down the line');
delete from t;

-- One fails: who needs it to end well fails with it, down the line; who does not goes on
select pg_temp.make('a', 'b', 'c', 'd', 'e');
select pg_temp.need('b', 'a'), pg_temp.need('c', 'b'), pg_temp.need('d', 'a', 'continue'), pg_temp.need('e', 'b', 'continue');
select pg_temp.ends('a', false);
select is(pg_temp.states(), 'a failed, b failed, c failed, d pending, e pending', 'a failure fails or frees who waits, as they chose');
select results_eq($$ select m.error from t join public.mac_tasks m using (id) where name in ('b', 'c') order by name $$,
  $$ select format('%s, which it needs, failed', left(id::text, 4)) from t where name in ('a', 'b') order by name $$, 'the error says which');
select results_eq($$ select string_agg(s, ' ') from tap.told(pg_temp.id('b')) s where s like '❌%' $$,
  $$ select format(E'❌ %s failed [any/—]\n%s, which it needs, failed', left(b.id::text, 4), left(a.id::text, 4)) from t a, t b where a.name = 'a' and b.name = 'b' $$, 'and people are told, once');
select is(told, 'failed:0', 'which the row says') from public.mac_tasks where id = pg_temp.id('b');

-- Tried again
select is((public.hub_retry_task(pg_temp.id('c'))).status, 'pending', 'what it needs has ended: tried again it runs, somebody says so');
select is((public.hub_retry_task(pg_temp.id('a'))).status, 'pending', 'what failed is tried again');
select is((public.hub_retry_task(pg_temp.id('b'))).status, 'blocked', 'what needs it waits for it again');
select ok(bool_or(s like '🔁%queued again%'), 'which is told') from tap.told(pg_temp.id('b')) s;
select pg_temp.ends('a');
select is(pg_temp.states(), 'a complete, b pending, c running, d running, e running', 'and goes on with its end');
select is(pg_temp.run('b'), 1, 'at its first attempt');
delete from t;

-- Cancelled
select pg_temp.make('a', 'b', 'c');
select pg_temp.need('b', 'a'), pg_temp.need('c', 'a', 'continue');
select public.hub_cancel_task(pg_temp.id('a'));
select is(pg_temp.states(), 'a cancelled, b failed, c pending', 'a cancelled one is one that failed');
select matches(error, '^[0-9a-f]{4}, which it needs, was cancelled$', 'and is said to be cancelled') from public.mac_tasks where id = pg_temp.id('b');
delete from t;

-- No ring
select pg_temp.make('r');
select pg_temp.run('r');
select pg_temp.make('a', 'b', 'c');
select pg_temp.need('b', 'a'), pg_temp.need('c', 'b');
select is(tap.outcome('postgres', format('select public.hub_need_task(%L, %L)', pg_temp.id(x), pg_temp.id(y))), z, format('%s needs %s', x, y))
  from (values ('a', 'c', 'UH003'), ('a', 'b', 'UH003'), ('a', 'a', 'UH003'), ('c', 'a', 'ok')) v (x, y, z);
select throws_ok(format('select public.hub_need_task(%L, %L)', pg_temp.id('a'), pg_temp.id('c')), 'UH003', 'conflict', 'a ring is refused');
select is(tap.outcome('service', format('insert into public.hub_task_needs (task, needs) values (%L, %L)', pg_temp.id('a'), pg_temp.id('c'))), '42501', 'and rows alone nobody writes');
insert into t select 'part', (public.hub_subtask(pg_temp.id('r'), 1, 'a part')).id;
select is(tap.outcome('postgres', format('select public.hub_need_task(%L, %L)', pg_temp.id('part'), pg_temp.id('r'))), 'UH003', 'a part does not wait for what waits for it');
select pg_temp.make('after');
select pg_temp.need('after', 'r');
select is(tap.outcome('postgres', format('select public.hub_need_task(%L, %L)', pg_temp.id('part'), pg_temp.id('after'))), 'UH003', 'nor for what waits for the whole');
delete from t where name = 'after';

-- What may wait for what
select is(tap.outcome('postgres', format('select public.hub_need_task(%L, %L)', pg_temp.id('r'), pg_temp.id('a'))), 'UH003', 'one that runs waits for nothing new');
insert into t select 'labs', tap.task('prototypes');
select is(tap.outcome('postgres', format('select public.hub_need_task(%L, %L)', pg_temp.id('a'), pg_temp.id('labs'))), 'UH003', 'nor one of another server');
select is(tap.outcome('operator', format('select public.hub_need_task(%L, %L, %L)', pg_temp.id('c'), pg_temp.id('a'), x)), y, 'on_failure ' || coalesce(x, 'null')) from (values ('continue', 'ok'), ('wait', 'UH001'), (null, 'UH001')) v (x, y);
select pg_temp.make('gone');
select public.hub_cancel_task(pg_temp.id('gone'));
select is(tap.outcome('postgres', format('select public.hub_need_task(%L, %L)', pg_temp.id('a'), pg_temp.id('gone'))), 'UH003', 'one that has failed is not waited for');
select is(pg_temp.need('a', 'gone', 'continue'), 'continue', 'unless it may');
select is(status, 'pending', 'then nothing is waited for') from public.mac_tasks where id = pg_temp.id('a');
update hub_internal.quotas set amount = 1 where name = 'task_needs';
select is(tap.outcome('operator', format('select public.hub_need_task(%L, %L)', pg_temp.id('b'), pg_temp.id('labs'))), 'UH003', 'of one server');
select is(tap.outcome('operator', format('select public.hub_need_task(%L, %L, %L)', pg_temp.id('b'), pg_temp.id(x), 'continue')), y, 'so many') from (values ('gone', 'UH006'), ('a', 'ok')) v (x, y);
update hub_internal.quotas set amount = 100 where name = 'task_needs';

-- One that asks and is answered waits for what it came to need meanwhile
delete from t where name <> 'a';
insert into t values ('asks', tap.running('quick', 'asks'));
update t set id = tap.task('quick', 'a') where name = 'a';
select from public.hub_ask(pg_temp.id('asks'), 1, 'question', 'Which?');
select is((public.hub_park_task(pg_temp.id('asks'), 1)).status, 'waiting', 'it waits for an answer');
select is(pg_temp.need('asks', 'a'), 'fail', 'and for a task');
select is((public.hub_answer_task(pg_temp.id('asks'), 'this')).status, 'blocked', 'answered, it waits for the task');
select pg_temp.ends('a');
select is(pg_temp.states(), 'a complete, asks pending', 'then it goes on');
delete from t;

-- What follows a task, and what an executor of the older kind blocks, needs its parent
select pg_temp.make('a');
insert into public.mac_tasks (id, content, status, channel_id, parent_id) select gen_random_uuid(), 'older', 'blocked', tap.channel('quick'), id from t;
insert into t select 'older', id from public.mac_tasks where content = 'older';
select results_eq($$ select n.needs = pg_temp.id('a'), n.on_failure from public.hub_task_needs n where n.task = pg_temp.id('older') $$, $$ values (true, 'continue') $$, 'a blocked row with a parent needs it');
insert into public.mac_tasks (id, content, channel_id, parent_id) select gen_random_uuid(), 'later', tap.channel('quick'), pg_temp.id('a');
insert into t select 'later', id from public.mac_tasks where content = 'later';
update public.mac_tasks set status = 'blocked' where id = pg_temp.id('later');
select pg_temp.ends('a', false);
select is(pg_temp.states(), 'a failed, later pending, older pending', 'and goes on however that ends');
delete from t;

-- What nobody saw end, because triggers were off, is found
select pg_temp.make('a', 'b', 'c');
select pg_temp.need('b', 'a'), pg_temp.need('c', 'b');
set constraints all immediate;
alter table public.mac_tasks disable trigger mac_tasks_95_changed;
update public.mac_tasks set status = 'failed', told = 'failed:0', finished_at = now() where id = pg_temp.id('a');
alter table public.mac_tasks enable trigger mac_tasks_95_changed;
select is(pg_temp.states(), 'a failed, b blocked, c blocked', 'nobody saw it');
select ok(public.hub_recover() >= 1, 'a round does');
select is(pg_temp.states(), 'a failed, b failed, c failed', 'and who needs it fails');
-- Recovery completes nothing (agent-swarm#1572)
delete from t;
select pg_temp.make('a', 'b');
select pg_temp.need('b', 'a');
select pg_temp.run('a');
select public.hub_recover();
select is(pg_temp.states(), 'a running, b blocked', 'what runs is not over because somebody waits for it');
-- What is gone is waited for no more
delete from public.mac_tasks where id = pg_temp.id('a');
select results_eq($$ select e.reason, e.detail like 'What it waited for is gone%' from hub_explain_task(pg_temp.id('b')) e $$, $$ values ('blocked', true) $$, 'a task that waited for what was deleted says so');

-- A chain longer than one failure can be followed: nothing stops, and the rounds do the rest
delete from t;
select pg_temp.make(variadic array['head']);
insert into t select 'link ' || lpad(n::text, 3, '0'), gen_random_uuid() from generate_series(1, 400) n;
insert into public.mac_tasks (id, content, channel_id, status) select id, name, tap.channel('quick'), 'blocked' from t where name <> 'head';
insert into public.hub_task_needs (task, needs) select id, lag(id) over (order by name) from t order by name offset 1;
select lives_ok($$ select public.hub_cancel_task(pg_temp.id('head')) $$, 'the head of a long chain is cancelled');
select from generate_series(1, 40) n, lateral (select public.hub_recover(now() + n * interval '1 minute')) r;
select is((select count(*) from t join public.mac_tasks m using (id) where m.status = 'failed'), 400::bigint, 'and all that needs it fails, in time');

select * from finish();
rollback;
