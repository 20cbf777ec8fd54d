-- Which model a message is for: what is addressed, what the channel prefers, what the rules say; and who may add rules.
\ir setup.psql
select no_plan();

create function pg_temp.route(p_text text, p_channel text default null) returns text language sql stable as
$$ select concat_ws(' ', c.task_type, c.model, c.platform)
     from public.hub_classify(p_text, (select h.id from public.hub_channels h where h.name = p_channel)) c $$;
create function pg_temp.model(p_text text, p_channel text default null) returns text language sql stable as
$$ select c.model from public.hub_classify(p_text, (select h.id from public.hub_channels h where h.name = p_channel)) c $$;

-- As shipped: each type and where it goes
select is(pg_temp.route(t.said), t.wanted, t.said) from (values
  ('Implement the export endpoint',                'code claude any'),
  ('Fix the crash when the list is empty',         'fix claude any'),
  ('Write unit tests for the parser',              'test codex any'),
  ('Review the pull request for the login',        'review claude any'),
  ('Compare NATS and Kafka for our events',        'research gemini any'),
  ('Update the README with the install steps',     'docs gemini any'),
  ('Deploy the gateway to staging',                'ops any any'),
  ('Plan the migration to Postgres 18',            'plan claude any'),
  ('Plot weekly churn from the signups CSV',       'data gemini any'),
  ('Design a logo for the hub',                    'design gemini any'),
  ('good morning everybody',                       'other any any'),
  ('Rename fetchUser to loadUser everywhere',      'code codex any'),
  ('fix the build in Xcode',                       'fix claude macos'),
  ('restart the systemd unit of the worker',       'ops any linux'),
  ('Write a PowerShell script that lists services','code claude windows')) t (said, wanted);

-- Addressed wins over the channel, the channel over the rules; mentioned is not addressed
select is(pg_temp.model('ask gemini to fix the login', 'cc-runtime'),           'gemini', 'an addressed model wins over the channel''s preference');
select is(pg_temp.model('Compare two queues', 'cc-runtime'),                    'claude', 'the channel''s preference wins over the rules');
select is(pg_temp.model('Compare two queues', 'quick'),                         'gemini', 'without an addressed model and a preference the rules decide');
select is(pg_temp.model(t.said), t.wanted, t.said) from (values
  ('@codex update the README', 'codex'), ('Claude, compare these libraries', 'claude'), ('use Claude to compare these libraries', 'claude'),
  ('compare these libraries with gemini', 'gemini'), ('have codex review this PR', 'codex'), ('gemini: fix the bug', 'gemini'),
  ('Fix the Gemini API client', 'claude'), ('why did codex fail on this task', 'gemini'), ('update the Claude pricing table in the docs', 'gemini'),
  ('mail me at bob@codex.dev about the docs', 'gemini'), ('fix the file src/gemini/client.rs', 'claude')) t (said, wanted);

-- A platform is a word, not a part of one, and not quoted
select is((select c.platform from public.hub_classify(t.said) c), t.wanted, t.said) from (values
  ('swiftly add a retry', 'any'), ('fix the sliding window', 'any'), ('change the aptitude test', 'any'), ('adapt the parser', 'any'),
  ('fix the typo in the heading "Works on iOS"', 'any'), ('fix the `xcode` string in the parser', 'any'),
  ('run it on Windows', 'windows'), ('the iPad layout is broken', 'macos'), ('build a Linux kernel module', 'linux')) t (said, wanted);

select results_eq($$ select reasons[1], reasons[2], reasons[3] ~ '^fix: ' and reasons[3] ~ 'crash', cardinality(reasons) from public.hub_classify('Fix the crash on the iPhone', tap.channel('cc-runtime')) $$,
  $$ values ('#cc-runtime prefers claude', 'macos: iphone', true, 3) $$, 'the reasons are what was said, the rules that matched and the words that weighed most');
select results_eq($$ select reasons, confidence from public.hub_classify('qwrtz plmkn') $$, $$ values (array['nothing said what it is', 'other goes to any'], 0.2::real) $$, 'words that nobody knows decide nothing');
select cmp_ok((select confidence from public.hub_classify('Write unit tests for the parser')), '>', (select confidence from public.hub_classify('Look at the parser')), 'how sure it is depends on how far the next best is');
select is((select count(*)::int from public.hub_classify('')), 1, 'an empty text gives one row');
select is((select count(*)::int from public.hub_classify(null)), 1, 'null gives one row');
select is((select count(*)::int from public.hub_classify(repeat('fix '' " ` > @ : & | ! <-> \ ', 3000))), 1, 'any text gives one row');

-- It is what hub_send routes by
select tap.become('operator');
select is(t.task ->> 'task_type' || ' ' || (t.task ->> 'model_preference') || ' ' || (t.task ->> 'platform'), 'fix claude macos', 'hub_send routes by hub_classify')
  from (select public.hub_send(tap.channel('quick'), 'Fix the crash on the iPhone') -> 'task' as task) t;
select tap.become('postgres');

-- An agent that a machine of the server offers is asked for by its name
select public.hub_register_device('namer', 'linux', '[{"agent": "dual-max", "models": ["claude"]}, {"agent": "survey", "models": ["any"]}]', 4);
update public.mesh_devices set serves_all = false where name = 'namer';
insert into public.mesh_device_servers (device, server_id) select 'namer', tap.server(s) from unnest(array['buf-barista', 'cloud-hub']) s;
select is(hub_internal.addressed_agent(t.said, tap.server('buf-barista')), t.wanted, t.said) from (values
  ('ask dual-max to fix the login', 'dual-max'), ('@dual-max fix the login', 'dual-max'), ('use dual-max to fix the login', 'dual-max'),
  ('Fix the login. Use Dual-Max.', 'dual-max'), ('have dual-max, please, look at it', 'dual-max'), ('hand this to dual-max', 'dual-max'),
  ('@survey look at the folder', 'survey'), ('ask survey to look at the folder', 'survey'), ('use survey to find out what people want', null),
  ('fix the login of dual-max', null), ('use dual-max-2 to fix it', null), ('mail me at bob@dual-max.dev', null), ('see @dual-max/core', null),
  ('write "ask dual-max to fix it" into the README', null), ('ask claude to fix the login', null), ('ask nobody to fix it', null), ('', null), (null, null)) t (said, wanted);
select is(hub_internal.addressed_agent('ask dual-max to fix it', tap.server('koji-pipeline')), null, 'not where no machine of the server offers it');
select tap.become('operator');
create temp table named as select public.hub_send(tap.channel('infrastructure'), 'ask dual-max to compare two queues') as sent;
select is(sent #>> '{task,requested_agent}' || ' ' || (sent #>> '{task,model_preference}'), 'dual-max any', 'hub_send gives it the task, with the models it has') from named;
select matches((select content from public.hub_channel_messages where task_thread_id = (sent #>> '{thread,id}')::uuid and content ~ 'queued'), 'Model: dual-max', 'and says so') from named;
select is(public.hub_send(tap.channel('infrastructure'), 'and @survey look at it', (sent #>> '{thread,id}')::uuid) #>> '{task,requested_agent}', 'survey', 'so does a reply') from named;
select is(public.hub_send(tap.channel('infrastructure'), 'and the tests', (sent #>> '{thread,id}')::uuid) #>> '{task,requested_agent}', 'dual-max', 'a name is for that reply; the line goes on with whom it began with') from named;
select tap.become('postgres');

-- An owner's rule outweighs the shipped ones, in that server alone
select tap.become('owner');
select lives_ok($$ insert into public.hub_routing_rules (server_id, query, task_type, model) values (tap.server('buf-barista'), 'cobol | fortran', 'research', 'codex') $$, 'an owner adds a rule');
select is(pg_temp.route('Fix the COBOL batch job', 'quick'), 'research codex any', 'an owner''s rule wins over the shipped ones');
select is(pg_temp.route('Fix the COBOL batch job'), 'fix claude any', 'an owner''s rule does not apply elsewhere');
select is(pg_temp.model('ask gemini to fix the COBOL batch job', 'quick'), 'gemini', 'an addressed model wins over an owner''s rule');
select lives_ok($$ update public.hub_routing_rules set query = 'mainframe:*' where query = 'cobol | fortran' $$, 'an owner changes a rule');
select is(pg_temp.route('Fix the COBOL batch job', 'quick'), 'fix claude any', 'a changed rule no longer matches its old words');
select is(pg_temp.route('fix the mainframes', 'quick'), 'research codex any', 'a rule may match by prefix');
select lives_ok($$ delete from public.hub_routing_rules where query = 'mainframe:*' $$, 'an owner deletes a rule');
select is(pg_temp.route('fix the mainframes', 'quick'), 'fix claude any', 'a deleted rule no longer applies');
select throws_ok($$ insert into public.hub_routing_rules (server_id, query, model) values (tap.server('buf-barista'), 'a & | b', 'codex') $$, 'UH001', null, 'an invalid query is refused');
select throws_ok($$ insert into public.hub_routing_rules (server_id, query, model) values (tap.server('buf-barista'), ' ', 'codex') $$, 'UH001', null, 'an empty query is refused');
select throws_ok($$ insert into public.hub_routing_rules (server_id, query) values (tap.server('buf-barista'), 'x') $$, '23514', null, 'a rule without a type, model or platform is refused');
select throws_ok($$ insert into public.hub_routing_rules (server_id, query, model) values (tap.server('buf-barista'), 'x', 'gpt') $$, '23514', null, 'an unknown model is refused');
select lives_ok($$ insert into public.hub_routing_rules (server_id, query, model) values (tap.server('buf-barista'), '!fix & !add', 'gemini') $$, 'a rule may exclude words');
select is(pg_temp.model('deploy it', 'quick'), 'gemini', 'a rule with excluded words matches texts without them');
select tap.become('postgres');

-- What an operator corrects goes that way the next time: in that server, until somebody says otherwise
select tap.become('operator');
create temp table corrected as select (public.hub_send(tap.channel('quick'), 'Fix the squeaky frobnicator, please') #>> '{task,id}')::uuid as id, pg_temp.route('Fix the squeaky frobnicator, please', 'quick') as taken_for;
select is(taken_for, 'fix claude any', 'what it is taken for at first') from corrected;
select throws_ok($$ select public.hub_route_task(id, p_type => 'poetry') from corrected $$, 'UH001', 'bad input', 'a type that is one');
select results_eq($$ select t.task_type, t.model_preference from corrected c, public.hub_route_task(c.id, p_type => 'docs') t $$, $$ values ('docs', 'gemini') $$, 'another type is another model''s');
select is((select m.content ~ 'as docs model gemini, by' from public.hub_channel_messages m join corrected c on m.task_id = c.id order by m.seq desc limit 1), true, 'it is told');
select is(pg_temp.route(t.said, 'quick'), t.wanted, t.said) from (values
  ('Fix the squeaky frobnicator, please', 'docs gemini any'), ('please fix squeaky frobnicators', 'docs gemini any'), ('the squeaky frobnicator: fix it!', 'docs gemini any'),
  ('ask codex to fix the squeaky frobnicator', 'docs codex any'), ('fix the squeaky hinge', 'fix claude any')) t (said, wanted);
select is(pg_temp.route('Fix the squeaky frobnicator, please'), 'fix claude any', 'not elsewhere');
select results_eq($$ select confidence, reasons from public.hub_classify('fix squeaky frobnicator', tap.channel('quick')) $$, $$ values (1::real, array['docs: as corrected before', 'docs goes to gemini']) $$, 'and the reason says so');
select results_eq($$ select t.task_type, t.model_preference from corrected c, public.hub_route_task(c.id, p_type => 'ops', p_model => 'codex') t $$, $$ values ('ops', 'codex') $$, 'the type and the model');
select is(pg_temp.route('fix the squeaky frobnicator', 'quick'), 'ops codex any', 'the newest word on it counts, with its model');
select results_eq($$ select t.task_type, t.model_preference from corrected c, public.hub_route_task(c.id, p_model => 'claude') t $$, $$ values ('ops', 'claude') $$, 'a model alone');
select is(pg_temp.route('fix the squeaky frobnicator', 'quick'), 'ops codex any', 'is no correction: it may only be the one that is to be had');
select tap.become('owner');
insert into public.hub_routing_rules (server_id, query, task_type) values (tap.server('buf-barista'), 'frobnicator', 'research');
select is(pg_temp.route('fix the squeaky frobnicator', 'quick'), 'research codex any', 'an owner''s rule stands above');
delete from public.hub_routing_rules where query = 'frobnicator';
select results_eq($$ select content, task_type, model, created_by = tap.id('operator') from public.hub_routing_examples $$, $$ values ('Fix the squeaky frobnicator, please', 'ops', 'codex', true) $$, 'owners see what was corrected, and by whom');
select lives_ok($$ delete from public.hub_routing_examples $$, 'and take it back');
select is(pg_temp.route('fix the squeaky frobnicator', 'quick'), 'fix claude any', 'so it is forgotten');
select tap.become('postgres');
update hub_internal.quotas set amount = 2 where name = 'server_routing_examples';
select hub_internal.keep_example(tap.server('buf-barista'), w, 'docs', null) from unnest(array['first thing', 'second thing', 'third thing']) w;
select bag_eq($$ select content from public.hub_routing_examples where server_id = tap.server('buf-barista') $$, $$ values ('second thing'), ('third thing') $$, 'of more than the quota the oldest go');

select throws_ok(format('select from public.hub_classify(%L)', repeat('x', 100001)), 'UH001', 'bad input', 'a text has a size');
select * from finish();
rollback;
