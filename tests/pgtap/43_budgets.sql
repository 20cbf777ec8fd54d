-- What work used: told while it runs and at its end, with a price where its program told none, billed and not billed apart; and shown. And budgets: what
-- meets one makes room and waits, people give more or end it, and nothing goes past it by more than what two heartbeats lie apart.
\ir setup.psql
select no_plan();

-- Nothing of what is there counts.
delete from public.mac_tasks;
create function pg_temp.runs(p_channel text default 'quick') returns uuid language sql as $$ select tap.running(p_channel) $$;
create function pg_temp.beat(p_task uuid, p_used jsonb, p_attempt int default 1, p_device text default 'tap-all') returns jsonb language sql as $$
  select public.hub_heartbeat(p_device, jsonb_build_array(jsonb_build_object('task', p_task, 'attempt', p_attempt) || p_used)) $$;
create function pg_temp.used(p_task uuid, p_attempt int default 1) returns text language sql as $$
  select concat_ws(' ', a.cost_usd, a.cost_notional, a.tokens_in, a.tokens_cached, a.tokens_out, a.price_version) from public.hub_task_attempts a where a.task_id = p_task and a.attempt = p_attempt $$;

-- Prices
create temp table p (model text, t text, cost numeric, version text);
insert into p select m, d::text, (hub_internal.price(m, 2000000, 1000000, 1000000, d::timestamptz)).* from unnest(array['gpt-5-codex', 'gpt-5-codex-2026-01-31', 'gpt-5-codex-20260131', 'gpt-5-codex-2026-01-3x', 'gemini-3.8-flash', 'nobody knows']) m,
  unnest(array['2026-11-28 23:59Z', '2026-11-29 00:00Z', '2027-01-01 00:00Z']::timestamptz[]) d;
select is((select string_agg(coalesce(cost::text, '-'), ' ' order by t) from p where model = m), e, 'what two millions read, one of them before, and one written cost of ' || m)
  from (values ('gpt-5-codex', '- 11.375000 11.375000'), ('gpt-5-codex-2026-01-31', '- 11.375000 11.375000'), ('gpt-5-codex-20260131', '- 11.375000 11.375000'), ('gpt-5-codex-2026-01-3x', '- - -'),
               ('gemini-3.8-flash', '- 4.575000 9.150000'), ('nobody knows', '- - -')) v (m, e);
insert into public.hub_prices (version, valid_from, model, input, output) values ('ours', '2026-11-29', 'gpt-5-codex-2026-01-31', 1, 1);
select is((hub_internal.price('gpt-5-codex-2026-01-31', 1000000, 9000000, 0, '2026-12-01'))::text, '(1.000000,ours)', 'its own name comes before the one without a date; no more was read before than was read at all');
select is((hub_internal.price(null, 1, 1, 1, now())).cost, null, 'what no model is named for has no price');

-- Heartbeats
create temp table h as select pg_temp.runs() as id;
select is(pg_temp.beat(id, '{"cost_usd": 0.25, "tokens_in": 100, "tokens_cached": 40, "tokens_out": 10, "notional": true}') -> 'lost', '[]', 'a heartbeat tells what an attempt used so far') from h;
select is(pg_temp.used(id), '0.250000 t 100 40 10', 'which its record keeps') from h;
select is((select used_at from public.hub_task_attempts a where a.task_id = id), now(), 'with the time') from h;
select pg_temp.beat(id, '{"cost_usd": 0.1, "tokens_in": 150, "tokens_out": null}') from h;
select is(pg_temp.used(id), '0.250000 t 150 40 10', 'each is the most that was said: less is an older word') from h;
create temp table v as select a.xmin as x from public.hub_task_attempts a join h on h.id = a.task_id;
select pg_temp.beat(id, '{"cost_usd": 0.25, "tokens_in": 150}'), pg_temp.beat(id, '{}') from h;
select ok((select a.xmin = v.x from public.hub_task_attempts a join h on h.id = a.task_id, v), 'and what says nothing new writes nothing');
select pg_temp.beat(id, '{"cost_usd": 9}', 2), pg_temp.beat(id, '{"cost_usd": 9}', 1, 'tap-other') from h;
select is(pg_temp.used(id), '0.250000 t 150 40 10', 'nor does another attempt, or another device') from h;
select throws_ok(format('select pg_temp.beat(%L, %L)', id, u), 'UH001', 'bad input', 'no use: ' || u)
  from h, unnest(array['{"cost_usd": "1"}', '{"cost_usd": -1}', '{"cost_usd": 1000001}', '{"tokens_in": 1.5}', '{"tokens_out": -1}', '{"tokens_cached": 1e13}', '{"notional": "yes"}', '{"cost_usd": {}}']) u;
select lives_ok(format('select public.hub_heartbeat(''tap-all'', %L)', jsonb_build_array(jsonb_build_object('task', id, 'attempt', 1, 'cost_usd', 0.3), jsonb_build_object('task', id, 'attempt', 1, 'cost_usd', 0.5))), 'one that is named twice') from h;
select is(pg_temp.used(id), '0.500000 t 150 40 10', 'is one') from h;

-- The end
update public.mac_tasks set lease_expires_at = now() - interval '1 hour' where id = (select id from h);
select public.hub_recover(now() + interval '5 minutes');
select is((select outcome || ' ' || pg_temp.used(id) from public.hub_task_attempts a, h where a.task_id = id), 'lost 0.500000 t 150 40 10', 'of one that is lost stays what it said last');
select pg_temp.beat(id, '{"cost_usd": 9}') from h;
select is(pg_temp.used(id), '0.500000 t 150 40 10', 'and it says no more') from h;
create temp table e as select pg_temp.runs() as id;
select pg_temp.beat(id, '{"cost_usd": 0.25, "tokens_in": 100}') from e;
select public.hub_complete_task(id, 1, 'x', '{"cost_usd": 0.2, "tokens_out": 5}') from e;
select is(pg_temp.used(id), '0.200000 100 5', 'the end has the last word of what it tells') from e;
create temp table n as select pg_temp.runs() as id, pg_temp.runs() as billed, pg_temp.runs() as unknown, pg_temp.runs() as told;
select public.hub_complete_task(id, 1, 'x', '{"model": "gpt-5-codex", "tokens_in": 1000000, "tokens_out": 100000}'),
       public.hub_fail_task(billed, 1, 'x', false, '{"model": "gpt-5-codex", "tokens_in": 1000000, "cost_notional": false}'),
       public.hub_complete_task(unknown, 1, 'x', '{"model": "gpt-x", "tokens_in": 1000000}'),
       public.hub_complete_task(told, 1, 'x', '{"model": "gpt-5-codex", "tokens_in": 1000000, "cost_usd": 1}') from n;
select is(pg_temp.used(id), '2.250000 t 1000000 100000 1', 'tokens of which no cost was told are reckoned, by which edition is kept, and nobody is billed') from n;
select is(pg_temp.used(billed), '1.250000 f 1000000 1', 'unless its device says so') from n;
select is(pg_temp.used(unknown), '1000000', 'a model without a price costs what nobody knows') from n;
select is(pg_temp.used(told), '1.000000 1000000', 'what its program told is not reckoned') from n;

-- By model: what its program told no cost of
create temp table m as select pg_temp.runs() as mixed, pg_temp.runs() as said, pg_temp.runs() as odd;
create function pg_temp.models(p_models text) returns jsonb language sql as $$
  select jsonb_build_object('unpriced', jsonb_agg(jsonb_build_object('model', split_part(m, ':', 1), 'tokens_in', split_part(m, ':', 2)::int, 'tokens_out', split_part(m, ':', 3)::int))) from unnest(string_to_array(p_models, ' ')) m $$;
insert into public.hub_prices (version, valid_from, model, input, output) values ('3', '2026-11-29', 'ours', 1, 2);
select pg_temp.beat(mixed, pg_temp.models('gpt-5-codex:1000000:0') || '{"tokens_in": 1000000}') from m;
select is(pg_temp.used(mixed), '1.250000 t 1000000 1', 'a heartbeat names models and tokens: what they cost is reckoned here, and counts while it runs') from m;
select is((select s.notional from hub_internal.spendings s order by s.id desc limit 1), 1.25, 'for budgets, too');
select pg_temp.beat(mixed, pg_temp.models('gpt-5-codex:1000000:0 ours:1000000:500000 nobody-knows:5:5') || '{"cost_usd": 0.5, "notional": false, "tokens_in": 3000000}') from m;
select is(pg_temp.used(mixed), '3.750000 f 3000000 1, 3', 'several models, each by its own row, come to what was told') from m;
select pg_temp.beat(mixed, '{"cost_usd": 3, "tokens_in": 3000000}') from m;
select is(pg_temp.used(mixed), '3.750000 f 3000000 1, 3', 'what is less changes nothing, nor by what it was reckoned') from m;
select public.hub_complete_task(mixed, 1, 'Done.', '{"cost_usd": 3.5, "cost_notional": false, "tokens_in": 3000000, "tokens_out": 7, "unpriced": []}') from m;
select is(pg_temp.used(mixed), '3.500000 f 3000000 7', 'when its program has told all of it at its end, nothing is reckoned') from m;
create temp table g as select pg_temp.runs() as id;
select pg_temp.beat(id, pg_temp.models('gpt-5-codex:1000000:0')) from g;
select public.hub_fail_task(id, 1, 'x', false, '{}') from g;
select is(pg_temp.used(id), '1.250000 t 1', 'of one whose end tells nothing stays what was reckoned, and by which edition') from g;
select matches((select c.content from public.hub_channel_messages c where c.task_id = m.mixed and c.event = 'complete'), E'Done\\.\n\nCost: \\$3\\.50 \\(3000000 tokens in, 7 out\\)$', 'and people read what it cost') from m;
select is((select t.result from public.mac_tasks t where t.id = m.mixed), 'Done.', 'which is not what its agent said') from m;
select public.hub_complete_task(said, 1, 'Done.', pg_temp.models('ours:5000:0') || '{"tokens_in": 5000, "tokens_out": 0}') from m;
select is(pg_temp.used(said), '0.005000 t 5000 0 3', 'at the end as in a heartbeat') from m;
select matches((select c.content from public.hub_channel_messages c where c.task_id = m.said and c.event = 'complete'), E'\n\nWorth: \\$0\\.0050 \\(5000 tokens in, 0 out\\)$', 'nobody is billed for what is only reckoned') from m;
select throws_ok(format(c, odd, u), 'UH001', 'bad input', 'no list of tokens: ' || left(u, 60))
  from m, unnest(array['select pg_temp.beat(%L, %L)', 'select public.hub_complete_task(%L, 1, ''x'', %L)']) c, unnest(array['{"unpriced": {}}', '{"unpriced": [1]}', '{"unpriced": [{}]}', '{"unpriced": [{"model": ""}]}', '{"unpriced": [{"model": 7}]}', '{"unpriced": [{"model": "a", "tokens_in": 1.5}]}', '{"unpriced": [{"model": "a", "tokens_out": -1}]}',
                       '{"unpriced": [{"model": "a", "tokens_cached": "x"}]}', (select jsonb_build_object('unpriced', jsonb_agg(jsonb_build_object('model', 'm' || n)))::text from generate_series(1, 51) n)]) u;
select lives_ok(format('select pg_temp.beat(%L, %L), public.hub_complete_task(%1$L, 1, %L, %2$L)', odd, '{"unpriced": null, "tokens_in": 7}', 'x'), 'no list is none') from m;
select is(pg_temp.used(odd), '7', 'and of no model nothing is known') from m;
select throws_ok(format('select pg_temp.beat(%L, %L)', odd, '{"cost_notional": "perhaps", "cost_usd": 1}'), 'UH001', 'bad input', 'whether it is billed is true or false by either name') from m;
create temp table lies as select pg_temp.runs() as id;
select pg_temp.beat(id, '{"unpriced": [{"model": "ours", "tokens_in": 999999999999, "tokens_out": 999999999999}]}') from lies;
select is((select a.cost_usd from public.hub_task_attempts a join lies on a.task_id = lies.id), 1000000::numeric, 'tokens that nobody can have used cost at most what may be said') from m;
delete from public.hub_prices where model = 'ours';

-- hub_costs
delete from public.mac_tasks;
insert into public.hub_places (kind, server_id, target) select 'project', tap.server(s), p from (values ('buf-barista', 'app'), ('buf-barista', 'site'), ('aura-labs', 'lab')) x (s, p);
insert into public.hub_projects (server_id, name, path) select server_id, target, target from public.hub_places where target in ('app', 'site', 'lab');
insert into public.mac_tasks (id, content, channel_id, project, created_by, status, finished_at, agent)
select gen_random_uuid(), c || n, tap.channel(c), p, tap.id(w), 'complete', now(), 'claude'
  from (values ('quick', 'app', 'operator', 1), ('quick', 'site', 'owner', 2), ('prototypes', 'lab', 'owner', 3)) x (c, p, w, n);
insert into public.hub_task_attempts (task_id, attempt, device, agent, started_at, finished_at, outcome, cost_usd, cost_notional, tokens_in, tokens_out)
select t.id, a.attempt, 'tap-all', a.agent, a.at - interval '90 seconds', a.at, 'complete', a.cost, a.notional, 10, 1
  from public.mac_tasks t
  join (values ('quick1', 1, 'claude', 1.5, null, timestamptz '2026-11-20 12:00Z'), ('quick1', 2, 'codex', 2.5, true, '2026-11-21 00:00Z'), ('quick2', 1, 'claude', 0.25, false, '2026-11-21 23:59:59Z'),
               ('quick2', 2, 'claude', null, null, '2026-11-20 00:00Z'), ('prototypes3', 1, 'gemini', 7, null, '2026-11-20 00:00Z'), ('quick1', 3, 'claude', 99, null, '2026-11-22 00:00Z'), ('quick1', 4, 'claude', 99, null, '2026-11-19 23:59Z')) a (content, attempt, agent, cost, notional, at)
    on t.content = a.content;
create function pg_temp.costs(p_who text, p_by text) returns text language plpgsql as $$
declare v_text text;
begin
  perform tap.become(p_who);
  select string_agg(concat_ws(' ', coalesce(c.name, '-'), c.attempts, c.cost_usd, c.notional_usd, c.tokens_in, c.tokens_out, c.seconds::int), ', ') into v_text from public.hub_costs('2026-11-20', '2026-11-22', p_by) c;
  perform tap.become('postgres');
  return v_text;
end $$;
set local timezone = 'utc';
select is(pg_temp.costs('service', b), e, 'what work cost by ' || b) from (values
  ('day', '2026-11-20 3 8.5 0 30 3 270, 2026-11-21 2 0.25 2.5 20 2 180'),
  ('agent', 'gemini 1 7 0 10 1 90, codex 1 0 2.5 10 1 90, claude 3 1.75 0 30 3 270'),
  ('project', 'lab 1 7 0 10 1 90, app 2 1.5 2.5 20 2 180, site 2 0.25 0 20 2 180'),
  ('server', 'aura-labs 1 7 0 10 1 90, buf-barista 4 1.75 2.5 40 4 360')) v (b, e);
select is(pg_temp.costs('operator', 'person'), format('%s 3 7.25 0 30 3 270, %s 2 1.5 2.5 20 2 180', tap.id('owner'), tap.id('operator')), 'people without a word of theirs are told by their ids');
insert into public.hub_channel_messages (channel_id, content, sender_type, sender_id, sender_label) values (tap.channel('quick'), 'do it', 'human', tap.id('operator')::text, 'Olga');
update public.mac_tasks set message_id = (select id from public.hub_channel_messages where sender_label = 'Olga') where content = 'quick1';
select is(split_part(pg_temp.costs('owner', 'person'), ', ', 2), 'Olga 2 1.5 2.5 20 2 180', 'and else by the name that they had');
update public.hub_members set role = 'viewer' where server_id = tap.server('aura-labs') and user_id = tap.id('operator');
select is(pg_temp.costs('operator', 'server'), 'buf-barista 4 1.75 2.5 40 4 360', 'an operator is told of their own servers alone');
select is(pg_temp.costs(w, 'server'), null, 'what work cost is no business of: ' || w) from unnest(array['viewer', 'outsider']) w;
select throws_ok(format('select * from public.hub_costs(%s)', a), 'UH001', 'bad input', 'no costs of: ' || a)
  from unnest(array['now(), now(), ''day''', 'now(), null, ''day''', '''infinity'', now(), ''day''', 'now() - interval ''1 day'', now(), ''model''', 'now() - interval ''1 day'', now(), null']) a;

-- The brief
select is(hub_internal.cost_lines(array(select id from public.hub_channels), '2026-11-20', '2026-11-22'), E'Cost: $8.75 (and $2.50 not billed)\n· lab: $7.00\n· app: $1.50 (and $2.50 not billed)\n· site: $0.25', 'the brief tells what was billed, what was not, and where');
select is(hub_internal.cost_lines(array[tap.channel('prototypes')], '2026-11-20', '2026-11-22'), 'Cost: $7.00', 'one project is not told twice');
select is(hub_internal.cost_lines(array[tap.channel('dispatch')], '2026-11-20', '2026-11-22'), null, 'and nothing is told of nothing');

-- Budgets
delete from public.mac_tasks;
delete from hub_internal.spendings;
create function pg_temp.budget(p_scope text, p_subject text, p_measure text default 'cost', p_amount numeric default 5, p_per text default 'day', p_server uuid default tap.server('buf-barista')) returns bigint language sql as $$
  insert into public.hub_budgets (server_id, scope, subject, measure, amount, per) values (p_server, p_scope, p_subject, p_measure, p_amount, p_per) returning id $$;
create function pg_temp.fresh() returns void language plpgsql as $$
begin
  update public.mac_tasks set status = 'cancelled' where status in ('pending', 'running', 'waiting', 'blocked');
  delete from public.hub_budgets;
  delete from hub_internal.spendings;
  perform public.hub_recover(), public.hub_recover();
end $$;
create function pg_temp.rounds() returns void language sql as $$ select public.hub_recover(); select public.hub_recover(); $$;
create function pg_temp.status(p_task uuid) returns text language sql as $$ select status from public.mac_tasks where id = p_task $$;
create function pg_temp.asked(p_task uuid) returns public.hub_asks language sql as $$ select a from public.hub_asks a where a.task_id = p_task and a.budget_id is not null order by a.created_at desc limit 1 $$;
create function pg_temp.why(p_task uuid) returns text language sql as $$ select string_agg(concat_ws(' | ', e.reason, e.detail, e.until), ' || ') from public.hub_explain_task(p_task) e $$;
create function pg_temp.used(p_budget bigint) returns numeric language sql as $$ select used from hub_internal.budget_use where budget_id = p_budget $$;
create function pg_temp.claims(p_task uuid) returns boolean language plpgsql as $$
declare v_there boolean;
begin
  begin
    v_there := exists (select from public.hub_claim_tasks('tap-all', 50) c where c.id = p_task);
    raise exception sqlstate 'TAP00';
  exception when sqlstate 'TAP00' then return v_there; end;
end $$;

-- While it runs: of a project
create temp table b as select pg_temp.budget('project', (select project_path from public.hub_channels where name = 'quick')) as id;
create temp table w as select tap.running('quick') as runs, tap.running('quick') as more, tap.running('cc-motion') as other, null::uuid as waits;
update w set waits = tap.task('quick');
select pg_temp.beat(runs, '{"cost_usd": 3}'), pg_temp.beat(other, '{"cost_usd": 50}') from w;
select is((select count(*)::int from hub_internal.spendings), 2, 'what was used is in the ledger');
insert into hub_internal.spendings (server_id, project, shared, cost, notional, tokens, seconds, at) select server_id, subject, true, 9, 0, 0, 0, now() - interval '1 second' from public.hub_budgets;
select is(hub_internal.lanes_to_weigh(), true, 'whoever keeps time is to look');
select pg_temp.rounds();
select is_empty('select from hub_internal.spendings', 'until it is folded');
select is(hub_internal.lanes_to_weigh(), false, 'once');
select is(pg_temp.used(id), 3.0, 'into the sum of the budget that covers it, if it was used since there is one') from b;
select is((pg_temp.asked(runs)).id, null, 'nobody is asked while some is left') from w;
select is(pg_temp.claims(waits), true, 'what waits may begin') from w;
select pg_temp.beat(runs, '{"cost_usd": 4.5}'), pg_temp.beat(runs, '{"cost_usd": 4}'), pg_temp.beat(more, '{"cost_usd": 0.52, "notional": null}') from w;
select pg_temp.rounds();
select is(pg_temp.used(id), 5.02, 'differences are counted, each once') from b;
select is((a).title, 'The budget of project ' || b.subject || ' is used up: 5.02 of 5.00 USD today', 'each that runs under it is asked about') from w, pg_temp.asked(runs) a, public.hub_budgets b;
select is((pg_temp.asked(more)).kind, 'stop', 'by a stop') from w;
select is((pg_temp.asked(other)).id, null, 'another project is not') from w;
select matches(string_agg(m.content, '|'), '🟡 .* asks \[its budget\]: The budget of project .* is used up: 5.02 of 5.00 USD today', 'people read it in the thread') from w, public.hub_channel_messages m where m.task_id = runs;
select is(pg_temp.claims(waits), false, 'nothing begins') from w;
select is(pg_temp.status(waits), 'pending', 'what is pending stays so, as others are asked about it') from w;
select matches(pg_temp.why(waits), '^its budget is used up \| The budget of project .* is used up: 5.02 of 5.00 USD today; owners of its server are asked for more: hub task answer .{4} \| ', 'and says why') from w;
select pg_temp.rounds();
select is((select count(*)::int from public.hub_asks where budget_id is not null), 2, 'nobody is asked twice');
create temp table beaten as select pg_temp.beat(runs, '{"cost_usd": 4.6}') as said from w;
select is(said -> 'budget', jsonb_build_array(jsonb_build_object('task', runs, 'attempt', 1, 'ask', (pg_temp.asked(runs)).id)), 'its device is told to park it') from beaten, w;
select is(said -> 'answers', '[]', 'and of no answer') from beaten;
select public.hub_park_task(runs, 1, '{"session_id": "s", "session_state": "ok", "cost_usd": 4.7}') from w;
select is(pg_temp.status(runs), 'waiting', 'it waits') from w;
select is((select outcome || ' ' || cost_usd from public.hub_task_attempts where task_id = runs), 'parked 4.700000', 'its attempt costs none') from w;
select is((select max_attempts - attempt from public.mac_tasks where id = runs), 3, 'and it may be tried as often as before') from w;
select matches(string_agg(m.content, '|'), '⏸️ .* waits for more of its budget \[', 'which people read') from w, public.hub_channel_messages m where m.task_id = runs;

-- One that goes on (paperclip#4965, PR2006)
select pg_temp.beat(more, '{"cost_usd": 0.6}') from w;
select pg_temp.rounds();
select is(pg_temp.status(more), 'running', 'who was told only now has a moment to stop') from w;
update public.hub_asks set told_at = now() - interval '31 seconds' where task_id = (select more from w);
select pg_temp.beat(more, '{"cost_usd": 0.7}') from w;
select pg_temp.rounds();
select is(pg_temp.status(more), 'waiting', 'one that goes on using is parked where it is') from w;
select throws_ok(format('select public.hub_complete_task(%L, 1, %L)', more, 'x'), 'UH002', 'lease lost', 'what it says after that is nobody''s') from w;
select is(pg_temp.used(id), 5.4, 'all of it is counted') from b;

-- Answers
select matches(tap.refusal('operator', format('select public.hub_answer_ask(%L, ''continue'')', (pg_temp.asked(runs)).id)), '^42501', 'operators do not give more, unless the budget says so') from w;
select throws_ok(format('select public.hub_answer_ask(%L, ''continue'', ''a lot'')', (pg_temp.asked(runs)).id), 'UH001', 'bad input', 'how much is a number') from w;
select tap.become('owner');
select public.hub_answer_ask((select a.id from public.hub_asks a where a.task_id = (select id from public.mac_tasks where status = 'waiting' order by created_at limit 1) and a.state = 'open'), 'continue');
select tap.become('postgres');
select is((select raised from public.hub_budgets), 5.4, 'as much again, from what was used');
select is((select count(*)::int from public.hub_asks where budget_id is not null and state = 'open'), 1, 'the others of that budget') from w;
select pg_temp.rounds();
select is((select count(*)::int from public.hub_asks where budget_id is not null and state = 'open'), 0, 'are answered with it');
select ok((select bool_or(answered_label like 'owner, for all of it') from public.hub_asks where budget_id is not null), 'by the same');
select is(pg_temp.status(runs) || ' ' || pg_temp.status(more), 'pending pending', 'all go on') from w;
select is(pg_temp.claims(waits), true, 'and what waited may begin') from w;
select throws_ok(format('select public.hub_answer_ask(%L, ''continue'')', (pg_temp.asked(runs)).id), 'UH003', 'conflict', 'an answer that comes twice') from w;
select is((select raised from public.hub_budgets), 5.4, 'gives nothing twice');
select from w, public.hub_claim_tasks('tap-all', 50);
select matches((public.hub_begin_attempt(runs, 2)) ->> 'prompt', 'The budget for it was used up; there is more now', 'its agent goes on, and is told why') from w;
select is(public.hub_begin_attempt(runs, 2) -> 'answers', '[]', 'but of no answer to what it did not ask') from w;

-- Two who give more at the same moment
select pg_temp.beat(runs, '{"cost_usd": 5.5}', 2), pg_temp.beat(more, '{"cost_usd": 5}', 2) from w;
select pg_temp.rounds();
select is((pg_temp.asked(runs)).title, (pg_temp.asked(more)).title, 'met again, each is asked about again') from w;
select public.hub_answer_ask((pg_temp.asked(runs)).id, 'continue', '2'), public.hub_answer_ask((pg_temp.asked(more)).id, 'continue', '2') from w;
select is((select amount + raised from public.hub_budgets), 17.9, 'the first gives two more than was used, the second nothing');
select is((pg_temp.beat(runs, '{}', 2) -> 'answers') || (pg_temp.beat(runs, '{}', 2) -> 'budget'), '[]', 'who still ran goes on running') from w;
select pg_temp.rounds();

-- A new day
select pg_temp.beat(runs, '{"cost_usd": 20}', 2) from w;
select pg_temp.rounds();
select public.hub_park_task(runs, 2) from w;
select is(pg_temp.status(runs), 'waiting', 'met') from w;
update public.mac_tasks set lease_expires_at = now() + interval '3 days' where status = 'running';
select public.hub_recover(now() + interval '1 day');
select is(pg_temp.status(runs), 'pending', 'a new day begins with all of it') from w;
select is((pg_temp.asked(runs)).answered_label, 'a budget that is free again', 'nobody said so') from w;

-- Only pending
select pg_temp.fresh();
update b set id = pg_temp.budget('channel', tap.channel('quick')::text, 'tokens', 100, null);
select pg_temp.rounds();
update w set runs = tap.running('quick');
update w set waits = tap.task('quick'), more = tap.task('quick'), other = tap.task('garden');
update public.mac_tasks set priority = 9 where id = (select waits from w);
select public.hub_complete_task(runs, 1, 'x', '{"tokens_in": 90, "tokens_out": 10}') from w;
select pg_temp.rounds(), pg_temp.rounds();
select is(pg_temp.status(waits) || ' ' || pg_temp.status(more), 'waiting pending', 'where nothing runs the first that is pending stands for all') from w;
select is((a).title, 'The budget of #quick is used up: 100 of 100 tokens', 'with the question') from w, pg_temp.asked(waits) a;
select is(pg_temp.claims(more), false, 'the others are held') from w;
select is(pg_temp.claims(other), true, 'of another channel they are not, in the same project') from w;
select matches(pg_temp.why(waits), '^waiting for an answer \| stop of attempt 0: The budget of #quick', 'it says for what') from w;
select pg_temp.rounds();
select is((select count(*)::int from public.hub_asks where budget_id = b.id), 1, 'one question, however many wait') from b;
select public.hub_answer_task(waits, 'cancel') from w;
select is(pg_temp.status(waits), 'cancelled', 'cancel ends it alone') from w;
select pg_temp.rounds();
select is(pg_temp.status(more), 'waiting', 'the next stands for the others') from w;
update public.hub_budgets set amount = 1000;
select pg_temp.rounds();
select is(pg_temp.status(more), 'pending', 'an owner who makes it larger has answered') from w;
select is(pg_temp.claims(more), true, 'and its lane is free') from w;
select is(hub_internal.lanes_to_weigh(), false, 'nothing is left to look at');
update public.hub_budgets set amount = 100;
select is(hub_internal.lanes_to_weigh(), true, 'whoever changes a budget has a round due now');
select pg_temp.rounds();
select is(pg_temp.status(more) || ' ' || (pg_temp.asked(more)).state, 'waiting open', 'one that has asked before, and never ran, asks again') from w;
update public.hub_budgets set amount = 1000;
select pg_temp.rounds();
select throws_ok(format($$ update public.mac_tasks set status = 'waiting' where id = %L $$, more), 'UH003', 'conflict', 'nothing pending waits for nothing') from w;

-- What was pending before there was a budget of its channel or person
select pg_temp.fresh();
update w set more = tap.task('quick');
update b set id = pg_temp.budget('channel', tap.channel('quick')::text, 'tokens', 1, null);
insert into hub_internal.budget_use select id, 'epoch', 5 from b;
select pg_temp.rounds();
select is(pg_temp.claims(more), false, 'it is held, too') from w;
select public.hub_recover(now() + interval '2 minutes');
select is((select has_lanes from public.hub_budgets), true, 'looked for until a minute later');
delete from public.hub_budgets;
select pg_temp.rounds();
select is(pg_temp.status(more) || pg_temp.claims(more), 'pendingtrue', 'a budget that is gone holds nothing') from w;
select is_empty('select from hub_internal.budget_use', 'and leaves nothing');

-- Silence
select pg_temp.fresh();
insert into public.hub_budgets (server_id, scope, subject, measure, amount, on_silence, silence) values (tap.server('buf-barista'), 'server', '', 'notional', 1, 'continue', '1 hour');
update w set runs = tap.running('quick');
update w set waits = tap.task('quick');
select pg_temp.beat(runs, '{"cost_usd": 9, "notional": false}') from w;
select pg_temp.rounds();
select is((pg_temp.asked(runs)).id, null, 'what is billed counts not against what is not') from w;
select pg_temp.beat(runs, '{"cost_usd": 9, "tokens_in": 1, "notional": true}') from w;
select pg_temp.rounds();
select is((pg_temp.asked(runs)).title, 'The budget of this server is used up: 9.00 of 1.00 USD (not billed)', 'and is counted as what it turns out to be') from w;
select public.hub_park_task(runs, 1) from w;
select public.hub_recover(now() + interval '61 minutes'), public.hub_recover(now() + interval '61 minutes');
select is(pg_temp.status(runs), 'pending', 'nobody answered: it goes on, as the budget says') from w;
select is((select raised from public.hub_budgets), 9.0, 'with as much again');
select is((pg_temp.asked(runs)).state, 'expired', 'nobody is said to have answered') from w;
update public.hub_budgets set on_silence = 'cancel', amount = 0.5, raised = 0;
select pg_temp.rounds(), pg_temp.rounds();
select public.hub_recover(now() + interval '61 minutes');
select is((select count(*)::int from w, public.mac_tasks t where t.id in (runs, waits) and t.status = 'cancelled'), 1, 'or ends what was asked about');

-- An agent
select pg_temp.fresh();
select public.hub_register_device('tap-all', 'linux', '[{"agent":"claude","models":["any"]},{"agent":"codex","models":["any"]}]', 50), public.hub_drain_device('tap-other');
update b set id = pg_temp.budget('agent', 'claude');
insert into hub_internal.budget_use select id, date_trunc('day', now() at time zone 'utc') at time zone 'utc', 5 from b;
select pg_temp.rounds();
update w set runs = tap.task('quick');
insert into public.mac_tasks (content, channel_id, requested_agent) values ('for claude', tap.channel('quick'), 'claude');
update w set more = (select id from public.mac_tasks where content = 'for claude');
select is((select c.agent from public.hub_claim_tasks('tap-all', 50) c join w on c.id = w.runs), 'codex', 'another agent takes what is for any');
select matches(pg_temp.why(more), 'The budget of agent claude is used up: 5.00 of 5.00 USD today', 'what is for it waits') from w;
select is(pg_temp.status(more), 'pending', 'pending') from w;
select pg_temp.rounds();
select is(pg_temp.status(more), 'waiting', 'and asks') from w;
select is(hub_internal.next_period(), (date_trunc('day', now() at time zone 'utc') + interval '1 day') at time zone 'utc', 'a round is due when the next period of what is met begins');
update hub_internal.rounds set ran_at = ran_at - interval '1 day';
select ok(hub_internal.next_period() <= now(), 'and now, where that is over and nobody has looked');
select pg_temp.rounds();
delete from public.hub_budgets;
select pg_temp.rounds();
select is(hub_internal.next_period(), null, 'none, where no budget is met');
-- The same of what is for any, where no other agent is there
select pg_temp.fresh();
update b set id = pg_temp.budget('agent', 'claude');
insert into hub_internal.budget_use select id, date_trunc('day', now() at time zone 'utc') at time zone 'utc', 5 from b;
select pg_temp.rounds();
update w set more = tap.task('quick');
select pg_temp.rounds();
select is(pg_temp.status(more), 'pending', 'what another agent may do does not ask') from w;
select public.hub_register_device('tap-all', 'linux', '[{"agent":"claude","models":["any"]}]', 50);
select is(pg_temp.claims(more), false, 'without one it waits') from w;
select pg_temp.rounds();
select is(pg_temp.status(more), 'waiting', 'and asks, too') from w;
select is((a).title, 'The budget of agent claude is used up: 5.00 of 5.00 USD today', 'for the agent''s budget') from w, pg_temp.asked(more) a;
select public.hub_register_device('tap-all', 'linux', '[{"agent":"claude","models":["any"]},{"agent":"codex","models":["any"]}]', 50);

-- A task: its line, and what it gave to others
select pg_temp.fresh();
update w set runs = tap.running('quick');
update w set more = (public.hub_subtask(runs, 1, 'a part')).id;
update b set id = pg_temp.budget('task', (select runs from w)::text, 'cost', 1, null);
select from public.hub_claim_tasks('tap-all', 50);
select pg_temp.beat(runs, '{"cost_usd": 0.5}'), pg_temp.beat(more, '{"cost_usd": 0.6}') from w;
select pg_temp.rounds();
select is(pg_temp.used(id), 1.1, 'a part counts with the whole') from b;
select is((pg_temp.asked(more)).title, format('The budget of task %s is used up: 1.10 of 1.00 USD', left(runs::text, 4)), 'and is stopped with it') from w;
select is((select (p ->> 'status') from jsonb_build_object('status', pg_temp.status((public.hub_subtask(runs, 1, 'one more')).id)) p), 'pending', 'one that it gives now') from w;
select pg_temp.rounds();
select is((select status from public.mac_tasks where content = 'one more'), 'waiting', 'waits, too');

-- The nearest is named; one inside another: both hold
select pg_temp.fresh();
select pg_temp.budget('server', '', 'cost', 2), pg_temp.budget('person', tap.id('operator')::text, 'cost', 1), pg_temp.budget('deployment', '', 'cost', 3, 'day', null);
select tap.become('operator');
select public.hub_send(tap.channel('quick'), 'of the operator');
select tap.become('postgres');
update w set runs = (select id from public.mac_tasks where content = 'of the operator');
select from public.hub_claim_tasks('tap-all', 50);
select pg_temp.beat(runs, '{"cost_usd": 4}') from w;
select pg_temp.rounds();
select is((pg_temp.asked(runs)).title, format('The budget of person %s is used up: 4.00 of 1.00 USD today', left(tap.id('operator')::text, 8)), 'the person''s first') from w;
select public.hub_park_task(runs, 1) from w;
select public.hub_answer_task(runs, 'continue') from w;
select pg_temp.rounds();
select is((pg_temp.asked(runs)).title, 'The budget of this server is used up: 4.00 of 2.00 USD today', 'then the server''s') from w;
select public.hub_answer_task(runs, 'continue') from w;
select pg_temp.rounds();
select is((pg_temp.asked(runs)).title, 'The budget of this hub is used up', 'then the deployment''s, of which nobody is told how much') from w;
select matches(tap.refusal('owner', format('select public.hub_answer_ask(%L, ''continue'')', (pg_temp.asked(runs)).id)), '^42501.*whoever runs the deployment', 'and which nobody in a server gives more of') from w;
select is(tap.outcome('service', format('select public.hub_answer_ask(%L, ''continue'')', (pg_temp.asked(runs)).id)), 'ok', 'but who runs it') from w;

-- Time
select pg_temp.fresh();
update b set id = pg_temp.budget('server', '', 'seconds', 60, null);
update w set runs = tap.running('quick');
update public.hub_task_attempts set started_at = now() - interval '50 seconds' where task_id = (select runs from w);
select pg_temp.beat(runs, '{}') from w;
select pg_temp.rounds();
select is(pg_temp.used(id), 50.0, 'time is counted while it runs') from b;
update public.hub_task_attempts set started_at = now() - interval '70 seconds', used_at = now() - interval '20 seconds' where task_id = (select runs from w);
select pg_temp.beat(runs, '{}') from w;
update public.mac_tasks set status = 'failed', error = 'x' where id = (select runs from w);
select pg_temp.rounds();
select is(pg_temp.used(id), 70.0, 'each second once, and of an executor of the older kind, too') from b;

-- Who may write one
select pg_temp.fresh();
update w set runs = tap.task('quick');
select pg_temp.budget('task', runs::text) from w;
select is(tap.outcome('operator', $$ update public.hub_budgets set amount = 4 $$), 'ok', 'an operator makes a budget of a task smaller');
select is(tap.outcome('operator', 'update public.hub_budgets set ' || c), '42501', 'and not: ' || c) from unnest(array['amount = 6', $$ roles = '{operator}' $$, $$ on_silence = 'continue', silence = '1 hour' $$]) c;
select is(tap.outcome('owner', $$ update public.hub_budgets set amount = 6, roles = '{operator}' $$), 'ok', 'an owner does');
select is(tap.outcome('owner', format('insert into public.hub_budgets (server_id, scope, subject, measure, amount, per, on_silence, silence) select tap.server(''buf-barista''), %s', v)), c, 'a budget: ' || v) from (values
  ($$ 'project', 'app', 'cost', 5, null, 'wait', null::interval $$, 'ok'), ($$ 'project', '', 'cost', 5, null, 'wait', null::interval $$, '23514'), ($$ 'server', 'x', 'cost', 5, null, 'wait', null::interval $$, '23514'),
  ($$ 'deployment', '', 'cost', 5, null, 'wait', null::interval $$, '23514'), ($$ 'server', '', 'cost', 0, null, 'wait', null::interval $$, '23514'), ($$ 'server', '', 'miles', 5, null, 'wait', null::interval $$, '23514'),
  ($$ 'server', '', 'cost', 'NaN', null, 'wait', null::interval $$, '23514'), ($$ 'server', '', 'cost', 5, 'year', 'wait', null::interval $$, '23514'), ($$ 'server', '', 'cost', 5, null, 'cancel', null::interval $$, '23514'),
  ($$ 'server', '', 'cost', 5, null, 'cancel', interval '1 second' $$, '23514'), ($$ 'channel', 'quick', 'cost', 5, null, 'wait', null::interval $$, 'UH004'), ($$ 'channel', tap.channel('quick')::text, 'cost', 5, null, 'wait', null::interval $$, 'ok'),
  ($$ 'channel', tap.channel('prototypes')::text, 'cost', 5, null, 'wait', null::interval $$, 'UH004'), ($$ 'person', tap.id('stranger')::text, 'cost', 5, null, 'wait', null::interval $$, 'UH004'),
  ($$ 'person', tap.id('viewer')::text, 'cost', 5, null, 'wait', null::interval $$, 'ok'), ($$ 'task', gen_random_uuid()::text, 'cost', 5, null, 'wait', null::interval $$, 'UH004')) x (v, c);
update hub_internal.quotas set amount = 1 where name = 'server_budgets';
select is(tap.outcome('owner', $$ insert into public.hub_budgets (server_id, scope, measure, amount) select tap.server('buf-barista'), 'server', 'cost', 5 $$), 'UH006', 'as many as a server may have');

-- How they stand
select pg_temp.fresh();
update b set id = pg_temp.budget('server', '', 'cost', 10, 'month');
insert into hub_internal.budget_use select id, date_trunc('month', now() at time zone 'utc') at time zone 'utc', 8.5 from b;
select results_eq($$ select s.scope, s.level, s.used, s.since, s.until, s.met from public.hub_budget_state() s $$,
  $$ values ('server', 10.0, 8.5, date_trunc('month', now() at time zone 'utc') at time zone 'utc', (date_trunc('month', now() at time zone 'utc') + interval '1 month') at time zone 'utc', false) $$, 'hub_budget_state tells it');
select is(hub_internal.budget_lines(array[tap.server('buf-barista')], now()), E'\n🟡 Budget of this server: 8.50 of 10.00 USD this month', 'and the brief, of what is nearly used up');

select * from finish();
rollback;
