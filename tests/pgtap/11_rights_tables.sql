-- Who may read and write which rows, table by table, as every kind of caller; and that there are no other policies.
\ir setup.psql
select no_plan();

create temp table stage as select tap.running('quick') as running, tap.task('prototypes') as labs_task,
  (select id from public.hub_channels where name = 'quick') as quick, (select id from public.hub_channels where name = 'prototypes') as prototypes,
  (select id from public.hub_channels where name = 'heartbeat') as feed, tap.server('buf-barista') as barista;
insert into public.hub_routing_rules (server_id, query, model) values (tap.server('aura-labs'), 'secretword', 'codex');
insert into public.hub_routing_examples (server_id, words, content, task_type) values (tap.server('aura-labs'), gen_random_uuid(), 'secret words', 'docs');
insert into public.hub_bridges (server_id, channel_id, provider, target) select tap.server('aura-labs'), prototypes, 'discord', 'channel:1' from stage;
insert into public.hub_places (server_id, kind, target, secret_name) select barista, 'discord', 'channel:9', 'DISCORD_BOT_TOKEN' from stage;
insert into public.hub_places (server_id, kind, target) select barista, k.kind, k.target from stage, (values ('project', 'a'), ('github', 'tap/*')) k (kind, target);
update public.hub_members set accepts_hooks = true where user_id = tap.id('viewer');
insert into public.hub_invitations (server_id, user_id, role, server_name, server_display_name) values (tap.server('aura-labs'), tap.id('outsider'), 'operator', 'aura-labs', 'Aura Labs');
insert into public.hub_channel_messages (channel_id, content, sender_type) select prototypes, 'out', 'system' from stage;
insert into public.hub_webhook_rules (server_id, event, repository, channel_id, template) values (tap.server('aura-labs'), 'issues', 'tap/tap', tap.channel('evals'), 'Look at it: {body}');
select public.hub_receive_webhook('github', 'tap-1', 'issues', '{"action":"opened","repository":{"full_name":"tap/tap"},"issue":{"number":1,"title":"t","body":"secret"}}');
select public.hub_receive_webhook('github', 'tap-2', 'ping', '{}');
select public.hub_process_webhooks();
select public.hub_send(tap.channel('leads'), '!help', null, 'tap');
create temp table token as select public.hub_create_hook_token('tap', array['channel:' || prototypes, 'user:' || tap.id('viewer')]) as t from stage;
select public.hub_receive_hook(t ->> 'token', 'for the viewer', 'user:' || tap.id('viewer')) from token;
select public.hub_report_rate_limit('tap-all', 'claude', null, null, 'x'), public.hub_report_login('tap-all', 'claude', false, 'x');
insert into public.hub_sessions (root_id, agent, account, server_id, device, session_id) select gen_random_uuid(), 'claude', 'a', tap.server(s), d, 'of ' || s from (values ('buf-barista', 'tap-all'), ('aura-labs', 'tap-all')) v (s, d);
insert into public.hub_workspaces (root_id, device, server_id, name, branch, kind) select gen_random_uuid(), d, tap.server(s), 'of ' || s, 'hub/tap', 'git' from (values ('buf-barista', 'tap-all'), ('aura-labs', 'tap-all')) v (s, d);
select public.hub_ask(running, 1, 'question', 'Which?') from stage;
select public.hub_need_task(tap.task('quick'), running) from stage;
select public.hub_send(tap.channel('quick'), E'!team A team\n- a\n- b');
insert into public.hub_ask_rules (server_id, action) values (tap.server('aura-labs'), 'ask');
insert into public.hub_budgets (server_id, scope, measure, amount) values (tap.server('aura-labs'), 'server', 'cost', 5), (tap.server('buf-barista'), 'server', 'cost', 5), (null, 'deployment', 'cost', 5);
insert into public.hub_shares (server_id, project, weight) values (tap.server('aura-labs'), null, 2), (tap.server('buf-barista'), 'app', 2);
insert into hub_internal.budget_use select id, 'epoch', 1 from public.hub_budgets where server_id is null;
insert into public.hub_ask_rules (server_id, action, about) values (tap.server('buf-barista'), 'ask', 'tap');
insert into public.hub_model_fallbacks (server_id, model, position, fallback) values (tap.server('aura-labs'), 'claude', 1, 'wait'), (tap.server('buf-barista'), 'claude', 1, 'codex');
insert into public.hub_projects (server_id, name, path, verify) values (tap.server('buf-barista'), 'tap-quick', 'a/tap', 'make check');
insert into public.hub_chat_identities (provider, author_id, user_id, label, person_label) values ('discord', '1', tap.id('operator'), 'x', 'x');
grant select on stage to public;

-- What each sees: anon, an anonymous sign-in, an outsider, a viewer, an operator, an owner, the device that holds the task, another, service, postgres.
create temp table reads (what text, expected text[]);
insert into reads values
  ($$public.hub_servers where name = 'buf-barista'$$,                                     '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_servers where name = 'aura-labs'$$,                                       '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_channels where name = 'quick'$$,                                          '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_channels where name = 'prototypes'$$,                                     '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_members where user_id = tap.id('viewer') and server_id = tap.server('aura-labs')$$, '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_projects where server_id = tap.server('aura-labs')$$,                     '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$public.hub_projects where name = 'tap-quick'$$,                                      '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$public.hub_invitations where server_name = 'aura-labs'$$,                            '{42501,0,1,0,0,1,0,0,1,1}'),
  ($$public.hub_channel_messages m where m.channel_id = (select quick from stage) and m.seq = 1$$,      '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_channel_messages m where m.channel_id = (select prototypes from stage) and m.seq = 1 and m.task_thread_id is null$$, '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_task_threads t where t.channel_id = (select prototypes from stage)$$,     '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.mac_tasks t where t.id = (select running from stage)$$,                       '{42501,0,1,1,1,1,1,0,1,1}'),
  ($$public.mac_tasks t where t.id = (select labs_task from stage)$$,                     '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_task_attempts a where a.task_id = (select running from stage)$$,          '{42501,0,1,1,1,1,1,0,1,1}'),
  ($$public.hub_task_needs where needs = (select running from stage)$$,                   '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_teams m join public.mac_tasks t on t.id = m.task_id where t.content like 'A team%'$$,  '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_asks a where a.task_id = (select running from stage)$$,                   '{42501,0,1,1,1,1,1,0,1,1}'),
  ($$public.hub_ask_rules where server_id = tap.server('aura-labs')$$,                    '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_model_fallbacks where server_id = tap.server('aura-labs')$$,             '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_model_fallbacks where server_id = tap.server('buf-barista')$$,           '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_model_fallbacks where server_id is null and model = 'claude' and position = 1$$, '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_chat_identities where author_id = '1'$$,                                  '{42501,0,0,0,1,0,0,0,1,1}'),
  ($$(select from hub_internal.steers limit 0) s$$,                                       '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$(select from hub_internal.login_leases limit 0) s$$,                                 '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$(select from hub_internal.subtasks limit 0) s$$,                                     '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$(select from hub_internal.beginners limit 0) s$$,                                    '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$hub_internal.ask_keys$$,                                                             '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$hub_internal.link_codes$$,                                                           '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$hub_internal.ask_grants$$,                                                           '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$public.hub_budgets where server_id = tap.server('aura-labs')$$,                      '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$public.hub_budgets where server_id = tap.server('buf-barista')$$,                    '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$public.hub_budgets where server_id is null$$,                                        '{42501,0,0,0,0,0,0,0,1,1}'),
  ($$public.hub_budget_state()$$,                                                         '{42501,42501,0,0,2,2,42501,42501,3,3}'),
  ($$hub_internal.budget_use$$,                                                           '{42501,42501,42501,42501,42501,42501,42501,42501,42501,1}'),
  ($$hub_internal.weighed_budgets$$,                                                          '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$public.hub_shares where server_id = tap.server('aura-labs')$$,                       '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$public.hub_shares where server_id = tap.server('buf-barista')$$,                     '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$hub_internal.share_use$$,                                                            '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$hub_internal.shared$$,                                                               '{42501,42501,42501,42501,42501,42501,42501,42501,42501,1}'),
  ($$hub_internal.spendings$$,                                                            '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$public.hub_ask_rules where about = 'tap'$$,                                          '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$(select id from public.hub_sessions where session_id = 'of buf-barista') s$$, '{42501,0,0,1,1,1,1,0,1,1}'),
  ($$(select id from public.hub_sessions where session_id = 'of aura-labs') s$$,   '{42501,0,0,1,1,1,1,0,1,1}'),
  ($$(select account from public.hub_sessions where session_id like 'of %') s$$,            '{42501,42501,42501,42501,42501,42501,42501,42501,2,2}'),
  ($$public.hub_workspaces where name = 'of buf-barista'$$, '{42501,0,0,1,1,1,1,0,1,1}'),
  ($$public.hub_workspaces where name = 'of aura-labs'$$,  '{42501,0,0,1,1,1,1,0,1,1}'),
  ($$public.mesh_quota_pools where agent = 'claude'$$,                                    '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$public.mesh_logins where device = 'tap-all'$$,                                       '{42501,0,0,0,1,1,1,0,1,1}'),
  ($$public.hub_agent_stops() where device = 'tap-all'$$,                                 '{42501,0,0,0,2,2,2,0,2,2}'),
  ($$public.hub_limits() where account = 'device:tap-all'$$,                              '{42501,0,0,0,1,1,1,0,1,1}'),
  ($$hub_internal.device_accounts$$,                                                      '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$public.hub_routing_rules where server_id is null and platform = 'macos' and query like 'swift %'$$,                        '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_routing_rules where server_id = tap.server('aura-labs')$$,                '{42501,0,0,1,1,1,0,0,1,1}'),
  ($$public.hub_message_events where event = 'queued'$$,                                  '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_prices where model = 'gpt-5-codex'$$,                                     '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.hub_routing_examples where server_id = tap.server('aura-labs')$$,             '{42501,0,0,0,0,1,0,0,1,1}'),
  ($$(select from hub_internal.routing_weights limit 0) s$$,                              '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$public.hub_routing_models where task_type = 'code'$$,                                '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$public.mesh_devices where name = 'tap-all'$$,                                        '{42501,0,1,1,1,1,1,0,1,1}'),
  ($$public.mesh_device_servers where device = 'tap-own'$$,                               '{42501,0,1,1,1,1,0,0,1,1}'),
  ($$(select id from public.hub_webhook_deliveries where delivery_id = 'tap-1') d$$,      '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$(select id from public.hub_webhook_deliveries where delivery_id = 'tap-2') d$$,      '{42501,0,0,0,0,0,0,0,1,1}'),
  ($$(select error from public.hub_webhook_deliveries where delivery_id = 'tap-1') d$$,   '{42501,42501,42501,42501,42501,42501,42501,42501,1,1}'),
  ($$public.hub_webhook_outcomes where server_id = tap.server('aura-labs')$$,             '{42501,0,0,0,1,1,0,0,1,1}'),
  ($$(select payload from public.hub_webhook_deliveries where delivery_id = 'tap-1') d$$, '{42501,42501,42501,42501,42501,42501,42501,42501,1,1}'),
  ($$public.hub_webhook_rules where repository = 'tap/tap'$$,                             '{42501,0,0,0,0,1,0,0,1,1}'),
  ($$(select id from public.hub_hook_tokens where name = 'tap') t$$,                      '{42501,0,0,0,0,1,0,0,1,1}'),
  ($$(select token_hash from public.hub_hook_tokens where name = 'tap') t$$,              '{42501,42501,42501,42501,42501,42501,42501,42501,1,1}'),
  ($$public.hub_direct_messages where content = 'for the viewer'$$,                       '{42501,0,0,1,0,0,0,0,1,1}'),
  ($$public.hub_bridges where server_id = tap.server('aura-labs')$$,                      '{42501,0,0,0,0,1,0,0,1,1}'),
  ($$public.hub_places where server_id = tap.server('aura-labs') and kind = 'discord'$$,  '{42501,0,0,0,0,1,0,0,1,1}'),
  ($$public.hub_errands where name = 'outbox'$$,                                         '{42501,0,0,0,0,1,0,0,1,1}'),
  ($$hub_internal.quotas where name = 'person_messages'$$,                                '{42501,42501,42501,42501,42501,42501,42501,42501,42501,1}'),
  ($$public.hub_outbox where body ->> 'text' = 'out'$$,                                   '{42501,0,0,0,0,1,0,0,1,1}'),
  ($$hub_internal.hub$$,                                                                  '{42501,42501,42501,42501,42501,42501,42501,42501,42501,1}'),
  ($$hub_internal.rounds$$,                                                               '{42501,42501,42501,42501,42501,42501,42501,42501,42501,1}'),
  ($$hub_internal.task_allowances$$,                                                      '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$hub_internal.bridge_messages$$,                                                      '{42501,42501,42501,42501,42501,42501,42501,42501,42501,0}'),
  ($$hub_internal.command_answers$$,                                                      '{42501,42501,42501,42501,42501,42501,42501,42501,42501,1}'),
  ($$hub_internal.webhook_tasks$$,                                                        '{42501,42501,42501,42501,42501,42501,42501,42501,42501,1}');
select is(tap.sees(a.actor, r.what), a.expected, format('%s reads %s', a.actor, r.what))
  from reads r
 cross join lateral unnest(array['anon', 'anonymous', 'outsider', 'viewer', 'operator', 'owner', 'device:tap-all', 'device:tap-other', 'service', 'postgres'],
                           r.expected) as a (actor, expected);

create temp table writes (what text, expected text[]);
insert into writes values
  ($$insert into public.hub_channel_messages (channel_id, content) select quick, 'x' from stage$$,        '{42501,42501,ok,ok,ok,ok,42501,42501,23502,23502}'),
  ($$insert into public.hub_channel_messages (channel_id, content, sender_type) select quick, 'x', 'system' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_channel_messages (channel_id, content) select prototypes, 'x' from stage$$,   '{42501,42501,UH004,ok,ok,ok,42501,42501,23502,23502}'),
  ($$insert into public.hub_channel_messages (channel_id, content) select feed, 'x' from stage$$,         '{42501,42501,42501,42501,42501,42501,42501,42501,23502,23502}'),
  ($$insert into public.mac_tasks (content, channel_id) select 'x', quick from stage$$,                   '{42501,42501,42501,42501,ok,ok,42501,42501,ok,ok}'),
  ($$insert into public.mac_tasks (content) values ('x')$$,                                               '{42501,42501,42501,42501,UH001,UH001,42501,42501,ok,ok}'),
  ($$insert into public.mac_tasks (content, project) values ('x', 'Desktop/Comp-Core/core/motion')$$,     '{42501,42501,42501,42501,ok,ok,42501,42501,ok,ok}'),
  ($$insert into public.mac_tasks (content, channel_id) select 'x', prototypes from stage$$,              '{42501,42501,42501,42501,ok,ok,42501,42501,ok,ok}'),
  ($$update public.mac_tasks set status = 'complete' where id = (select running from stage)$$,            '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$delete from public.hub_channel_messages$$,                                                           '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_channel_messages set content = 'x'$$,                                              '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_members (server_id, user_id, role) select barista, tap.id('stranger'), 'owner' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_members set role = 'owner'$$,                                                      '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_members set accepts_hooks = true where user_id = tap.id('viewer') and accepts_hooks is distinct from null returning 1 / (case when user_id = hub_internal.person() or hub_internal.is_trusted() then 1 else 0 end)$$, '{42501,ok,ok,ok,ok,ok,ok,ok,ok,ok}'),
  ($$insert into public.hub_invitations (server_id, user_id, role, server_name, server_display_name) select barista, tap.id('stranger'), 'owner', 'x', 'x' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$delete from public.hub_invitations$$,                                                                '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_servers set access = 'authenticated'$$,                                            '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_channels set project_path = 'x'$$,                                                 '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_task_threads set status = 'archived'$$,                                            '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.mesh_devices set revoked_at = now()$$,                                                 '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$delete from public.mesh_quota_pools$$,                                                               '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$delete from public.mesh_logins$$,                                                                    '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.mesh_device_servers (device, server_id) select 'tap-all', barista from stage$$,   '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_task_attempts set outcome = null$$,                                                '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_projects (server_id, name, path) select barista, 'p', 'a/b' from stage$$,     '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_projects (server_id, name, path) select barista, 'p', 'victim/secret' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_task_needs (task, needs) select running, labs_task from stage$$,               '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$delete from public.hub_task_needs$$,                                                                   '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$update public.hub_teams set gather = 'join'$$,                                                         '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$update public.hub_asks set title = 'x'$$,                                                              '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.hub_asks (task_id, attempt, asked_by, kind, title, digest, options) select running, 1, 'x', 'stop', 'x', 'x', '[]' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.hub_ask_rules (server_id, action) select barista, 'allow' from stage$$,           '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_ask_rules (server_id, action, created_by) select barista, 'allow', tap.id('viewer') from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.hub_model_fallbacks (server_id, model, position, fallback) select barista, 'codex', 1, 'wait' from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_budgets (server_id, scope, measure, amount) select barista, 'server', 'tokens', 1 from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_budgets (scope, measure, amount) values ('deployment', 'tokens', 1)$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_budgets (server_id, scope, subject, measure, amount) select barista, 'task', running::text, 'tokens', 1 from stage$$, '{42501,42501,42501,42501,ok,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_budgets (server_id, scope, measure, amount, raised) select barista, 'server', 'tokens', 1, 9 from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.hub_shares (server_id, project, weight) select barista, 'x', 2 from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_shares (server_id, weight) select barista, 2 from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_prices (version, valid_from, model, input, output) values ('x', '2026-01-01', 'x', 1, 1)$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_model_fallbacks (model, position, fallback) values ('claude', 3, 'wait')$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_model_fallbacks set server_id = tap.server('buf-barista') where id is null$$, '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.hub_chat_identities (provider, author_id, user_id, label, person_label) values ('discord', '2', tap.id('owner'), 'x', 'x')$$, '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.hub_projects (server_id, name, path, verify, setup) select barista, 'p', 'a/b', 'make', 'make' from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_projects (server_id, name, path, push, pull_request, repository) select barista, 'p', 'a/b', true, 'draft', 'tap/own' from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_projects (server_id, name, path, push, pull_request, repository) select barista, 'p', 'a/b', true, 'draft', 'victim/private' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_sessions set state = 'ok'$$,                                                       '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$delete from public.hub_workspaces$$,                                                                 '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_routing_rules (server_id, query, model) select barista, 'cobol', 'claude' from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_routing_rules (query, model) values ('cobol', 'claude')$$,                    '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_routing_examples (server_id, words, content, task_type) select barista, gen_random_uuid(), 'x', 'docs' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$update public.hub_routing_examples set task_type = 'ops'$$,                                          '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$delete from public.hub_routing_models$$,                                                             '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.hub_webhook_rules (server_id, event, channel_id, template) select barista, 'push', quick, 'Look' from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_webhook_rules (server_id, event, channel_id, template, repository) select barista, 'push', quick, 'Look', 'victim/private' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_webhook_rules (server_id, event, channel_id, template) select barista, 'push', prototypes, 'Look' from stage$$, '{42501,42501,42501,42501,42501,UH004,42501,42501,UH004,UH004}'),
  ($$update public.hub_webhook_rules set last_matched_at = now()$$,                                       '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_bridges (server_id, channel_id, provider, target) select barista, quick, 'discord', 'channel:9' from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$insert into public.hub_bridges (server_id, channel_id, provider, target) select barista, prototypes, 'discord', 'channel:9' from stage$$, '{42501,42501,42501,42501,42501,UH004,42501,42501,UH004,UH004}'),
  ($$insert into public.hub_bridges (server_id, channel_id, provider, target) select barista, quick, 'discord', 'channel:8' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_places (server_id, kind, target, secret_name) select barista, 'discord', '*', 'DISCORD_BOT_TOKEN' from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_places set target = '*' where kind = 'discord' and target = 'channel:9'$$,                                                  '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$delete from public.hub_places$$,                                                              '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_bridges set server_id = tap.server('buf-barista')$$,                               '{42501,42501,42501,42501,42501,42501,42501,42501,UH004,UH004}'),
  ($$insert into public.hub_webhook_deliveries (provider, delivery_id, event, payload) values ('github', 'x', 'push', '{}')$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_outbox set body = '{}'$$,                                                          '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$delete from public.hub_outbox$$,                                                                     '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_hook_tokens set revoked_at = null$$,                                               '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_hook_tokens (name, token_hash, targets) values ('x', '\x00', '{x}')$$,        '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$insert into public.hub_direct_messages (user_id, sender_id, sender_label, content) values (tap.id('viewer'), 'x', 'x', 'x')$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_direct_messages set content = 'x'$$,                                               '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$update public.hub_errands set function = null, position = null where name = 'leases'$$,                          '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$delete from public.hub_message_events$$,                                                             '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}'),
  ($$insert into public.koji_commands select * from public.koji_commands where false$$,                               '{42501,42501,42501,42501,42501,42501,42501,42501,42501,ok}');
select is(tap.outcome(a.actor, w.what), a.expected, format('%s: %s', a.actor, w.what))
  from writes w
 cross join lateral unnest(array['anon', 'anonymous', 'outsider', 'viewer', 'operator', 'owner', 'device:tap-all', 'device:tap-other', 'service', 'postgres'],
                           w.expected) as a (actor, expected);

-- False fields of a message or a task are refused; what a person may not choose is set by the server.
select is(tap.outcome('operator', format('insert into public.hub_channel_messages (channel_id, content, %s) select quick, ''x'', %s from stage', l.field, l.value)), '42501', 'a person may not set in a message: ' || l.field)
  from (values ('sender_id', quote_literal(tap.id('owner'))), ('sender_type', '''agent'''), ('embed_data', '''{"title":"x"}'''), ('is_progress', 'true'), ('content_type', '''result'''), ('event', '''complete''')) l (field, value);
select is(tap.outcome('operator', format('insert into public.mac_tasks (content, channel_id, %s) select ''x'', quick, %s from stage', l.field, l.value)), '42501', 'a person may not set in a task: ' || l.field)
  from (values ('status', '''running'''), ('claimed_by', '''mac1'''), ('result', '''x'''), ('created_by', quote_literal(tap.id('owner'))), ('project', '''../elsewhere''')) l (field, value);
select tap.become('operator');
select results_eq(
  $$ insert into public.hub_channel_messages (channel_id, content, created_at, seq, task_id) select quick, 'hello', '2001-01-01', 999, running from stage
     returning sender_type, sender_id, sender_label, seq < 100, created_at > now() - interval '1 day', task_id $$,
  $$ select 'human', tap.id('operator')::text, 'operator', true, true, null::uuid $$, 'sender, number, time and task of a message are set by the server');
select results_eq(
  $$ insert into public.mac_tasks (content, channel_id, attempt, session_id, lease_expires_at, created_at) select 'x', quick, 7, 'stolen', now(), '2001-01-01' from stage
     returning attempt, session_id, lease_expires_at, created_by, project, created_at = now() $$,
  $$ select 0, null::text, null::timestamptz, tap.id('operator'), 'Desktop/homelab', true $$, 'attempt, session, lease, maker and time of a task are set by the server');
select tap.become('postgres');

select policies_are('public', t.name, t.policies) from (values
  ('hub_servers', array['hub_servers_select_readers']),
  ('hub_members', array['hub_members_select_readers', 'hub_members_update_oneself']),
  ('hub_invitations', array['hub_invitations_select_concerned']),
  ('hub_channels', array['hub_channels_select_readers']),
  ('hub_projects', array['hub_projects_select_operators', 'hub_projects_insert_owners', 'hub_projects_update_owners', 'hub_projects_delete_owners']),
  ('hub_channel_messages', array['hub_channel_messages_select_readers', 'hub_channel_messages_insert_oneself']),
  ('hub_task_threads', array['hub_task_threads_select_readers']),
  ('mac_tasks', array['mac_tasks_select_readers', 'mac_tasks_insert_operators']),
  ('hub_task_attempts', array['hub_task_attempts_select_readers']),
  ('hub_task_needs', array['hub_task_needs_select_readers']),
  ('hub_teams', array['hub_teams_select_readers']),
  ('hub_asks', array['hub_asks_select_readers']),
  ('hub_ask_rules', array['hub_ask_rules_select_members', 'hub_ask_rules_insert_owners', 'hub_ask_rules_update_owners', 'hub_ask_rules_delete_owners']),
  ('hub_model_fallbacks', array['hub_model_fallbacks_select_readers', 'hub_model_fallbacks_insert_owners', 'hub_model_fallbacks_update_owners', 'hub_model_fallbacks_delete_owners']),
  ('hub_budgets', array['hub_budgets_select_operators', 'hub_budgets_insert_owners', 'hub_budgets_update_owners', 'hub_budgets_delete_owners']),
  ('hub_shares', array['hub_shares_select_operators', 'hub_shares_insert_owners', 'hub_shares_update_owners', 'hub_shares_delete_owners']),
  ('hub_prices', array['hub_prices_select_people']),
  ('hub_chat_identities', array['hub_chat_identities_select_oneself']),
  ('mesh_devices', array['mesh_devices_select_readers']),
  ('mesh_device_servers', array['mesh_device_servers_select_readers']),
  ('hub_webhook_deliveries', array['hub_webhook_deliveries_select_operators']),
  ('hub_webhook_outcomes', array['hub_webhook_outcomes_select_operators']),
  ('hub_webhook_rules', array['hub_webhook_rules_select_owners', 'hub_webhook_rules_insert_owners', 'hub_webhook_rules_update_owners', 'hub_webhook_rules_delete_owners']),
  ('hub_hook_tokens', array['hub_hook_tokens_select_owners']),
  ('hub_direct_messages', array['hub_direct_messages_select_oneself', 'hub_direct_messages_update_oneself', 'hub_direct_messages_delete_oneself']),
  ('hub_bridges', array['hub_bridges_select_owners', 'hub_bridges_insert_owners', 'hub_bridges_update_owners', 'hub_bridges_delete_owners']),
  ('hub_places', array['hub_places_select_owners']),
  ('hub_outbox', array['hub_outbox_select_owners']),
  ('hub_errands', array['hub_errands_select_owners']),
  ('hub_message_events', array['hub_message_events_select_readers']),
  ('koji_commands', array['koji_commands_select_readers'])) t (name, policies);

-- The four that say what may be read say the same, for each channel.
create function tap.readings() returns text language plpgsql security definer as $$
declare
  v_channel  public.hub_channels;
  v_read     boolean;
  v_readings text := '';
  v_count    int := 0;
begin
  for v_channel in select * from public.hub_channels loop
    begin
      v_read := (hub_internal.readable_channel(v_channel.id)).id = v_channel.id;
    exception when sqlstate 'UH004' then
      v_read := false;
    end;
    if array[v_channel.server_id in (select hub_internal.my_server_ids()), v_channel.id in (select hub_internal.my_channel_ids()),
             hub_internal.may_read(v_channel.server_id)] <> array[v_read, v_read, v_read] then
      v_readings := v_readings || v_channel.name || ' ';
    end if;
    v_count := v_count + v_read::int;
  end loop;
  return v_readings || v_count;
end;
$$;
create function tap.reads_as(p_actor text) returns text language plpgsql as $$
declare
  v_readings text;
begin
  perform tap.become(p_actor);
  v_readings := tap.readings();
  perform tap.become('postgres');
  return v_readings;
end;
$$;
delete from public.hub_members where user_id = tap.id('viewer') and server_id = tap.server('aura-labs');
select is(tap.reads_as(a), e::text, a || ' reads as many channels, whichever function says so')
  from (select count(*) as n, count(*) filter (where s.access = 'authenticated') as open
          from public.hub_channels c join public.hub_servers s on s.id = c.server_id) c,
       lateral (values ('anonymous', 0), ('outsider', c.open), ('viewer', c.open), ('operator', c.n), ('owner', c.n), ('device:tap-all', 0)) v (a, e);

select * from finish();
rollback;
