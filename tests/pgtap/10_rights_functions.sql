-- Who may call what: every function of the contract as every kind of caller, allow and deny side by side (DESIGN section 7).
\ir setup.psql
select no_plan();

create temp table stage as select
  tap.channel('quick') as quick, tap.channel('dispatch') as dispatch, tap.channel('leads') as leads, tap.channel('prototypes') as prototypes,
  tap.server('buf-barista') as barista, tap.server('aura-labs') as labs,
  tap.task('bridge') as pending, tap.task('evals') as labs_task, tap.running('workshop') as running,
  (select (public.hub_send(tap.channel('dispatch'), 'thread') -> 'thread' ->> 'id')::uuid) as thread,
  tap.running('garden') as failed, null::uuid as loose, null::uuid as sweep, null::uuid as token, null::text as secret, null::uuid as outbox, null::uuid as dead, null::uuid as part, null::uuid as said, null::bigint as budget, null::bigint as hubs_budget, tap.running('quick') as asking, null::uuid as ask;
select public.hub_execute_command(leads, '!sweep Troy') from stage;
update stage set sweep = (select id from public.hub_claim_sweeps());
select from stage s, public.hub_fail_task(s.failed, 1, 'no', false);
insert into public.mac_tasks (content, channel_id) select 'no thread yet', dispatch from stage;
update stage set budget = (public.hub_set_budget(barista, 'agent', 'claude', 'cost', 1000)).id, hubs_budget = (public.hub_set_budget(null, 'deployment', null, 'cost', 1000000)).id;
update stage set part = (select id from public.hub_subtask((select running from stage), 1, 'a part'));
update stage set said = (select m.id from public.hub_channel_messages m where m.task_id = (select labs_task from stage) order by m.seq limit 1);
update stage set loose = (select id from public.mac_tasks where content = 'no thread yet');
select from stage s, public.hub_register_device('tap-gone', 'linux', '[]', 1), public.hub_revoke_device('tap-gone');
with made as (select public.hub_create_hook_token('tap', array['channel:' || quick]) as t from stage)
update stage set token = (made.t ->> 'id')::uuid, secret = made.t ->> 'token' from made;
insert into public.hub_bridges (server_id, channel_id, provider, target) select barista, quick, 'discord', 'channel:' || n from stage, generate_series(1, 3) n;
insert into public.hub_channel_messages (channel_id, content, sender_type) select quick, 'out', 'system' from stage;
update stage set outbox = (select id from public.hub_claim_outbox(1));
update stage set dead = (select o.id from public.hub_outbox o where o.status = 'pending' order by o.seq limit 1);
update public.hub_outbox set status = 'dead' where id = (select dead from stage);
update public.hub_members set accepts_hooks = true where user_id = tap.id('viewer');
insert into public.hub_invitations (server_id, user_id, role, server_name, server_display_name) select s.id, tap.id('outsider'), 'operator', 'x', 'x' from stage, unnest(array[barista, labs]) s (id);
update stage set ask = (public.hub_ask(asking, 1, 'question', 'Which?')).id;
insert into public.hub_chat_identities (provider, author_id, user_id, label, person_label) values ('discord', '1', tap.id('operator'), 'x', 'x');
grant select on stage to public;

-- A sub that is no uuid (a third-party sign-in) is nobody here, and no error.
create function pg_temp.person_of(p_sub text) returns uuid language plpgsql as $$
begin
  perform set_config('request.jwt.claims', jsonb_build_object('sub', p_sub, 'role', 'authenticated')::text, true);
  return hub_internal.person();
end;
$$;
select tap.become('viewer');
select is(pg_temp.person_of(x), x::uuid, 'a person is who their token says')
  from unnest(array['22222222-2222-4222-8222-22222222222a', 'AAAAAAAA-2222-4222-8222-22222222222F']) x;
select is(pg_temp.person_of(x), null, 'what is no uuid is nobody')
  from unnest(array['', 'firebase-7', '22222222222242228222222222222222', '22222222-2222-4222-8222-2222-2222222', '22222222-2222-4222-8222-22222222222g',
                    E'22222222-2222-4222-8222-22222222222\n', '{22222222-2222-4222-8222-222222222222}', null]) x;
select tap.become('postgres');

-- Each line: what is called, then what comes of it for anon, an anonymous sign-in, an outsider, a viewer, an operator, an owner, the
-- device that holds the task, another device, the service role, postgres.
create temp table matrix (call text, expected text[]);
insert into matrix values
  ($$select public.hub_send(quick, 'x') from stage$$,                         '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_send(prototypes, 'x') from stage$$,                    '{42501,UH004,UH004,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_send_to(quick::text, 'x') from stage$$,                '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_send_to('buf-barista/nowhere', 'x')$$,                 '{42501,UH004,UH004,UH004,UH004,UH004,UH004,UH004,UH004,UH004}'),
  ($$select public.hub_send(leads, '!help') from stage$$,                     '{42501,UH004,ok,ok,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_execute_command(leads, '!help') from stage$$,          '{42501,UH004,ok,ok,ok,ok,UH004,UH004,ok,ok}'),
  ($$select * from stage, public.hub_messages_since(quick)$$,                 '{42501,UH004,ok,ok,ok,ok,UH004,UH004,ok,ok}'),
  ($$select * from stage, public.hub_messages_since(prototypes)$$,            '{42501,UH004,UH004,ok,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_create_task_thread(dispatch, loose) from stage$$,      '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_update_thread_status(thread, 'idle') from stage$$,     '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_cancel_task(pending) from stage$$,                     '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_cancel_task(labs_task) from stage$$,                   '{42501,UH004,UH004,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_retry_task(failed) from stage$$,                       '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select * from stage, public.hub_explain_task(pending)$$,                 '{42501,UH004,ok,ok,ok,ok,UH004,UH004,ok,ok}'),
  ($$select * from stage, public.hub_explain_task(labs_task)$$,               '{42501,UH004,UH004,ok,ok,ok,UH004,UH004,ok,ok}'),
  ($$select * from stage, public.hub_classify('x', quick)$$,                  '{42501,UH004,ok,ok,ok,ok,UH004,UH004,ok,ok}'),
  ($$select * from stage, public.hub_classify('x')$$,                         '{42501,ok,ok,ok,ok,ok,ok,ok,ok,ok}'),
  ($$select public.hub_set_member(barista, tap.id('stranger'), 'viewer') from stage$$, '{42501,UH004,42501,42501,42501,UH003,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_member(labs, tap.id('stranger'), 'viewer') from stage$$,    '{42501,UH004,UH004,42501,42501,UH003,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_member(barista, tap.id('viewer'), 'operator') from stage$$,  '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_invite(barista, tap.id('stranger'), 'viewer') from stage$$,      '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_invite(labs, tap.id('stranger'), 'operator') from stage$$,       '{42501,UH004,UH004,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_accept_invitation(labs) from stage$$,                            '{42501,42501,ok,UH004,UH004,UH004,42501,42501,42501,42501}'),
  ($$select public.hub_leave(barista) from stage$$,                                     '{42501,42501,ok,ok,ok,UH003,42501,42501,42501,42501}'),
  ($$select public.hub_register_device('tap-all', 'linux', '[]', 1)$$,        '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select * from public.hub_claim_tasks('tap-all')$$,                       '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_heartbeat('tap-all')$$,                                '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_sign_off('tap-all')$$,                                 '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_report_rate_limit('tap-all', 'claude', null, null, 'x')$$, '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_report_login('tap-all', 'claude', false, 'x')$$,       '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_lease_login('tap-all', 'claude', 'x')$$,               '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_return_login('tap-all', 'claude', 'x')$$,              '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select * from public.hub_limits()$$,                                     '{42501,ok,ok,ok,ok,ok,ok,ok,ok,ok}'),
  ($$select * from public.hub_agent_stops()$$,                                '{42501,ok,ok,ok,ok,ok,ok,ok,ok,ok}'),
  ($$select public.hub_begin_attempt(running, 1) from stage$$,                '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_report_workspace(running, 1, '{"kind": "git"}') from stage$$, '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select * from public.hub_workspaces_to_clean('tap-all')$$,               '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_workspace_removed('tap-all', running, false) from stage$$, '{42501,42501,42501,42501,42501,42501,ok,42501,ok,ok}'),
  ($$select public.hub_report_progress(running, 1, 'x') from stage$$,         '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_complete_task(running, 1, 'x') from stage$$,           '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_fail_task(running, 1, 'x') from stage$$,               '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_send(prototypes, 'x', null, null, said) from stage$$,  '{42501,UH004,UH004,42501,UH004,UH004,UH004,UH004,UH004,UH004}'),
  ($$select public.hub_steer_task(running, 'x') from stage$$,                 '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_steer_task(labs_task, 'x') from stage$$,               '{42501,UH004,UH004,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_need_task(part, labs_task) from stage$$,               '{42501,UH004,42501,42501,UH003,UH003,UH004,UH004,UH003,UH003}'),
  ($$select public.hub_route_task(part, p_model => 'codex') from stage$$,     '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_route_task(part, p_type => 'docs') from stage$$,       '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_route_task(labs_task, p_agent => 'claude') from stage$$, '{42501,UH004,UH004,42501,UH003,UH003,UH004,UH004,UH003,UH003}'),
  ($$select public.hub_set_thread_replies(dispatch, 'steer') from stage$$,    '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_thread_replies(prototypes, 'queue') from stage$$,  '{42501,UH004,UH004,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_when_limited(dispatch, 'wait') from stage$$,       '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_when_limited(prototypes, 'brief') from stage$$,    '{42501,UH004,UH004,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_report_steer(running, 1, array[1], 'taken') from stage$$, '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_say(running, 1, 'x') from stage$$,                     '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_subtask(running, 1, 'x') from stage$$,                 '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_subtask_result(running, 1, part) from stage$$,         '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select * from stage, public.hub_attempt_thread(running, 1)$$,            '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_ask(asking, 1, 'question', 'x') from stage$$,          '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_withdraw_ask(asking, 1, ask) from stage$$,             '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_take_answers(asking, 1, array[ask]) from stage$$,      '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_park_task(asking, 1) from stage$$,                     '{42501,42501,42501,42501,42501,42501,ok,UH002,ok,ok}'),
  ($$select public.hub_answer_ask(ask, 'x') from stage$$,                     '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_answer_task(asking, 'x') from stage$$,                 '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select * from public.hub_costs(now() - interval '1 day', now(), 'day')$$, '{42501,42501,ok,ok,ok,ok,42501,42501,ok,ok}'),
  ($$select * from public.hub_budget_state()$$,                               '{42501,42501,ok,ok,ok,ok,42501,42501,ok,ok}'),
  ($$select * from public.hub_share_state()$$,                                '{42501,42501,ok,ok,ok,ok,42501,42501,ok,ok}'),
  ($$select public.hub_set_budget(barista, 'server', null, 'cost', 5) from stage$$, '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_budget(labs, 'server', null, 'cost', 5) from stage$$, '{42501,UH004,UH004,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_budget(barista, 'task', pending::text, 'cost', 5) from stage$$, '{42501,UH004,42501,42501,ok,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_budget(null, 'deployment', null, 'cost', 5)$$,     '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_remove_budget(budget) from stage$$,                    '{42501,UH004,UH004,UH004,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_remove_budget(hubs_budget) from stage$$,               '{42501,UH004,UH004,UH004,UH004,UH004,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_share(barista, 'Desktop/homelab', 2) from stage$$, '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_share(barista, null, 2) from stage$$,              '{42501,UH004,42501,42501,42501,42501,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_fallbacks(barista, 'claude', '{wait}') from stage$$, '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_set_fallbacks(null, 'claude', '{wait}')$$,             '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select * from public.hub_inbox()$$,                                      '{42501,42501,ok,ok,ok,ok,42501,42501,ok,ok}'),
  ($$select public.hub_link_code()$$,                                         '{42501,42501,ok,ok,ok,ok,42501,42501,42501,42501}'),
  ($$select public.hub_unlink_chat('discord', '1')$$,                         '{42501,UH004,UH004,UH004,ok,UH004,UH004,UH004,ok,ok}'),
  ($$select public.hub_link_chat('discord', '2', 'x', 'y')$$,                 '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_answer_from_chat('discord', 'x', '1', 'channel:1')$$,  '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_answer_by_token('x')$$,                                '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_decay_threads()$$,                                     '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_recover()$$,                                           '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_post_feeds()$$,                                        '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_claim_sweeps()$$,                                      '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_complete_sweep(sweep, 1, '[]') from stage$$,           '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_fail_sweep(sweep, 1, 'no') from stage$$,               '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_receive_webhook('github', 'd1', 'ping', '{}')$$,         '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_process_webhooks()$$,                                    '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_create_hook_token('t', array['channel:' || quick]) from stage$$, '{42501,42501,42501,42501,42501,ok,42501,42501,ok,ok}'),
  ($$select public.hub_create_hook_token('t', array['channel:' || prototypes]) from stage$$, '{42501,42501,UH004,42501,42501,ok,42501,42501,ok,ok}'),
  ($$select public.hub_create_hook_token('t', array['user:' || tap.id('viewer')])$$, '{42501,42501,UH004,UH004,UH004,ok,42501,42501,ok,ok}'),
  ($$select public.hub_revoke_hook_token(token) from stage$$,                   '{42501,UH004,UH004,UH004,UH004,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_receive_hook(secret, 'x', 'channel:' || quick) from stage$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_receive_bridged('discord', 'channel:2', 'm1', 'Larry', 'x')$$, '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select * from public.hub_claim_outbox()$$,                                 '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_complete_outbox(outbox, 1, 'e1') from stage$$,           '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_fail_outbox(outbox, 1, 'no') from stage$$,               '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_outbox_due()$$,                                          '{42501,42501,42501,42501,42501,42501,42501,42501,ok,ok}'),
  ($$select public.hub_retry_outbox(dead) from stage$$,                         '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_drain_device('tap-all')$$,                             '{42501,UH004,42501,42501,42501,42501,UH004,UH004,ok,ok}'),
  ($$select public.hub_drain_device('tap-own')$$,                             '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_revoke_device('tap-own')$$,                            '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_enroll_device('tap-own', barista) from stage$$,        '{42501,UH004,42501,42501,42501,ok,UH004,UH004,ok,ok}'),
  ($$select public.hub_enroll_device('tap-all', barista) from stage$$,        '{42501,UH004,42501,42501,42501,42501,UH004,UH004,ok,ok}');

select is(tap.outcome(a.actor, m.call), a.expected, format('%s: %s', a.actor, m.call))
  from matrix m
 cross join lateral unnest(array['anon', 'anonymous', 'outsider', 'viewer', 'operator', 'owner', 'device:tap-all', 'device:tap-other', 'service', 'postgres'],
                           m.expected) as a (actor, expected);

-- Every function of the contract is in the matrix: a new one without a line fails here.
select is_empty(
  $$ select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'hub\_%'
       and not exists (select from matrix m where m.call like '%public.' || p.proname || '(%') $$,
  'every hub_ function is in the matrix');

-- An id that the caller may not see and one that does not exist give the same refusal, except for the id in its detail.
select is(tap.refusal('outsider', format('select public.hub_send(%L, ''x'')', s.prototypes)),
          tap.refusal('outsider', format('select public.hub_send(%L, ''x'')', gen_random_uuid())), 'hub_send answers alike for a members'' server and an unknown channel') from stage s;
select is(tap.refusal('outsider', format('select public.hub_cancel_task(%L)', s.labs_task)),
          tap.refusal('outsider', format('select public.hub_cancel_task(%L)', gen_random_uuid())), 'hub_cancel_task answers alike for a hidden and an unknown task') from stage s;
select is(tap.refusal('outsider', format('select public.hub_set_member(%L, %L, ''viewer'')', s.labs, tap.id('stranger'))),
          tap.refusal('outsider', format('select public.hub_set_member(%L, %L, ''viewer'')', gen_random_uuid(), tap.id('stranger'))), 'hub_set_member answers alike for a hidden and an unknown server') from stage s;
select is(tap.refusal('outsider', format('insert into public.hub_channel_messages (channel_id, content) values (%L, ''x'')', s.prototypes)),
          tap.refusal('outsider', format('insert into public.hub_channel_messages (channel_id, content) values (%L, ''x'')', gen_random_uuid())), 'posting answers alike for a hidden and an unknown channel') from stage s;

-- Devices that may not act
select is(tap.outcome('device:tap-gone', $$select * from public.hub_claim_tasks('tap-gone')$$), 'UH005', 'a revoked device claims nothing');
select is(tap.outcome('device:tap-gone', $$select public.hub_heartbeat('tap-gone')$$), 'UH005', 'a revoked device sends no heartbeat');
select is(tap.outcome('device:tap-gone', $$select public.hub_register_device('tap-gone', 'linux', '[]', 1)$$), 'UH005', 'a revoked device does not come back by registering');
select is(tap.outcome('service', $$select * from public.hub_claim_tasks('tap-gone')$$), 'UH005', 'the service role claims nothing for a revoked device');
select is(tap.outcome('device:tap-new', $$select public.hub_register_device('tap-new', 'macos', '[{"agent":"claude","models":["claude"]}]', 1)$$), 'ok', 'a new device registers itself');
select is(tap.outcome('device:tap-new', $$select public.hub_complete_task((select running from stage), 1, 'x')$$), 'UH005', 'a device that was never enrolled may not complete a task');
select from public.hub_drain_device('tap-other');
select is_empty($$ select * from public.hub_claim_tasks('tap-other', 50) $$, 'a drained device gets nothing new');

-- A device that registers by its own token serves what it is enrolled for, and only that.
select tap.become('device:tap-self');
select from public.hub_register_device('tap-self', 'linux', '[{"agent":"claude","models":["any"]}]', 50);
select is_empty($$ select * from public.hub_claim_tasks('tap-self', 50) $$, 'a device that is enrolled for no server gets no task');
select tap.become('postgres');
select from public.hub_enroll_device('tap-self', tap.server('aura-labs'));
update stage set labs_task = tap.task('evals', 'for tap-self'), pending = tap.task('bridge', 'not for tap-self');
select tap.become('device:tap-self');
select results_eq($$ select c.id from public.hub_claim_tasks('tap-self', 50) c $$, $$ select labs_task from stage $$, 'a device that is enrolled for a server gets that server''s tasks');
select is(tap.sees('device:tap-self', 'public.mac_tasks'), '1', 'it sees the task it holds and no other');
select tap.become('postgres');

-- The last owner stays.
select is(tap.outcome('owner', format('select public.hub_set_member(%L, %L, ''viewer'')', s.barista, tap.id('owner'))), 'UH003', 'the last owner can not step down') from stage s;
select is(tap.outcome('owner', format('select public.hub_set_member(%L, %L, null)', s.barista, tap.id('owner'))), 'UH003', 'the last owner can not be removed') from stage s;
select is(tap.outcome('owner', format('select public.hub_set_member(%L, %L, ''boss'')', s.barista, tap.id('viewer'))), 'UH001', 'a role that does not exist is refused') from stage s;

-- The time is nobody's to choose, in the bodies as in the contract.
select is(tap.outcome(a, format(c, t)) = '42501', t <> 'now()', format('%s may not choose the time: %s', a, format(c, t)))
  from unnest(array['now()', 'now() + interval ''1 year''', 'null']) t,
       (values ('device:tap-all', $$select hub_internal.register_device('tap-all', 'linux', '[]', 1, %s)$$),
               ('device:tap-all', $$select hub_internal.heartbeat('tap-all', '[]', null, %s)$$),
               ('device:tap-all', $$select hub_internal.sign_off('tap-all', %s)$$),
               ('device:tap-all', $$select hub_internal.report_rate_limit('tap-all', 'claude', null, null, null, 'text', null, null, null, %s)$$),
               ('device:tap-all', $$select hub_internal.lease_login('tap-all', 'claude', 'x', 60, %s)$$),
               ('device:tap-all', $$select hub_internal.report_login('tap-all', 'claude', true, null, %s)$$),
               ('device:tap-all', $$select hub_internal.claim_tasks('tap-all', 1, '1 minute', %s)$$),
               ('device:tap-all', $$select hub_internal.complete_task(running, 1, 'x', '{}', %s) from stage$$),
               ('device:tap-all', $$select hub_internal.fail_task(running, 1, 'x', true, '{}', %s) from stage$$),
               ('device:tap-all', $$select hub_internal.park_task(asking, 1, '{}', %s) from stage$$),
               ('device:tap-all', $$select hub_internal.begin_attempt(running, 1, %s) from stage$$),
               ('device:tap-all', $$select hub_internal.report_workspace(running, 1, '{"kind": "git"}', %s) from stage$$),
               ('device:tap-all', $$select hub_internal.workspaces_to_clean('tap-all', %s)$$),
               ('device:tap-all', $$select hub_internal.workspace_removed('tap-all', running, false, %s) from stage$$),
               ('operator', $$select hub_internal.cancel_task(running, %s) from stage$$),
               ('owner', $$select hub_internal.retry_outbox(dead, %s) from stage$$)) v (a, c);
select set_eq($$ select p.proname::text from pg_proc p where p.pronamespace = 'hub_internal'::regnamespace and p.provolatile = 'v'
                    and 'p_now' = any (p.proargnames) and has_function_privilege('authenticated', p.oid, 'execute') $$,
              $$ values ('register_device'), ('heartbeat'), ('sign_off'), ('claim_tasks'), ('complete_task'), ('fail_task'), ('park_task'), ('cancel_task'), ('retry_outbox'), ('report_rate_limit'), ('report_login'), ('lease_login'), ('begin_attempt'), ('report_workspace'), ('workspace_removed') $$,
              'and these are all that take one');
update public.mesh_devices set agents = '[{"agent":"secret-agent","models":["any"]}]' where name = 'tap-own';
create function pg_temp.knows(p_actor text) returns boolean language plpgsql as $$
declare
  v_server uuid := tap.server('aura-labs');
  v_known  boolean;
begin
  insert into public.mesh_device_servers (device, server_id) values ('tap-own', v_server) on conflict do nothing;
  perform tap.become(p_actor);
  v_known := hub_internal.is_known_agent('secret-agent', array[v_server]);
  perform tap.become('postgres');
  return v_known;
end;
$$;
select is(pg_temp.knows(a), e, format('%s hears %s of the agents of a server for members', a, case when e then 'something' else 'nothing' end))
  from (values ('outsider', false), ('viewer', true)) v (a, e);

select * from finish();
rollback;
