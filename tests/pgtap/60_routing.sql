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

select is((select reasons from public.hub_classify('Fix the crash on the iPhone', tap.channel('cc-runtime'))),
  array['#cc-runtime prefers claude', 'fix: fix', 'macos: iphone', 'fix: crash'], 'the reasons are the rules that matched');
select is((select count(*)::int from public.hub_classify('')), 1, 'an empty text gives one row');
select is((select count(*)::int from public.hub_classify(null)), 1, 'null gives one row');
select is((select count(*)::int from public.hub_classify(repeat('fix '' " ` > @ : & | ! <-> \ ', 3000))), 1, 'any text gives one row');

-- It is what hub_send routes by
select tap.become('operator');
select is(t.task ->> 'task_type' || ' ' || (t.task ->> 'model_preference') || ' ' || (t.task ->> 'platform'), 'fix claude macos', 'hub_send routes by hub_classify')
  from (select public.hub_send(tap.channel('quick'), 'Fix the crash on the iPhone') -> 'task' as task) t;
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

select * from finish();
rollback;
