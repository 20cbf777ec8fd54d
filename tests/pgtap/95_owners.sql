-- Two owners who do not know each other, each with a server, a machine, a bridge, a rule, a project, a hook and work under way: each tries every
-- function and every table against the other. The list is written by hand, and a function or table that is not in it fails.
-- Beside each attack stands the same call in one's own server, which must work.
\ir setup.psql
select no_plan();

insert into tap.ids (name) values ('ann'), ('bob');
create temp table party (who text primary key, server uuid, room uuid, hall_server uuid, hall uuid, task uuid, held uuid, failed uuid, thread uuid, token uuid, secret text, bridge uuid, rule uuid, routing uuid, project uuid,
                         outbox uuid, message uuid, loose uuid, ask uuid);
grant select on party to public;

create function pg_temp.settle(p_who text) returns void language plpgsql as $$
declare
  v party;
begin
  v.who := p_who;
  insert into public.hub_servers (name, display_name, architecture_type, access) values (p_who || '-flat', p_who, 'flat_task_pipeline', 'members') returning id into v.server;
  insert into public.hub_servers (name, display_name, architecture_type, access) values (p_who || '-threads', p_who, 'threaded_task_isolation', 'members') returning id into v.hall_server;
  insert into public.hub_channels (server_id, name, display_name, project_path) values (v.server, p_who || '-room', '#room', p_who || '/app') returning id into v.room;
  insert into public.hub_channels (server_id, name, display_name, project_path) values (v.hall_server, p_who || '-hall', '#hall', p_who || '/app') returning id into v.hall;
  insert into public.hub_places (kind, server_id, target) values ('project', v.server, p_who), ('github', v.server, p_who || '/*'), ('discord', v.server, 'channel:' || p_who);
  insert into public.hub_members (server_id, user_id, role) select s, tap.id(p_who), 'owner' from unnest(array[v.server, v.hall_server]) s;
  perform public.hub_enroll_device(p_who || '-mac', s) from unnest(array[v.server, v.hall_server]) s;
  perform public.hub_register_device(p_who || '-mac', 'linux', '[{"agent":"claude","models":["any"]}]', 50);
  update public.mesh_devices set serves_all = false where name = p_who || '-mac';
  v.failed := (public.hub_send(v.room, 'fails') #>> '{task,id}')::uuid;
  v.held := (public.hub_send(v.room, 'runs') #>> '{task,id}')::uuid;
  perform public.hub_claim_tasks(p_who || '-mac', 50);
  perform public.hub_fail_task(v.failed, 1, 'no', false);
  v.ask := (public.hub_ask(v.held, 1, 'question', 'Which?')).id;
  perform public.hub_send(v.room, E'!team Both\n- one\n- two');
  perform public.hub_need_task((public.hub_send(v.room, 'needs it') #>> '{task,id}')::uuid, v.held);
  perform public.hub_report_rate_limit(p_who || '-mac', 'claude', 'gemini', null, 'x'), public.hub_report_login(p_who || '-mac', 'claude', false, 'x');
  perform public.hub_report_workspace(v.held, 1, '{"kind": "git"}');
  insert into public.hub_sessions (root_id, agent, account, server_id, device, session_id) values (v.held, 'claude', 'x', v.server, p_who || '-mac', 's');
  v.task := (public.hub_send(v.room, 'waits') #>> '{task,id}')::uuid;
  v.thread := (public.hub_send(v.hall, 'in a thread') #>> '{thread,id}')::uuid;
  perform tap.become(p_who);
  insert into public.mac_tasks (content, server_id) values ('of the Dispatch tab', v.hall_server) returning id into v.loose;
  select (t ->> 'id')::uuid, t ->> 'token' into v.token, v.secret from public.hub_create_hook_token(p_who, array['channel:' || v.room]) t;
  insert into public.hub_projects (server_id, name, path) values (v.server, 'app', p_who || '/app') returning id into v.project;
  insert into public.hub_routing_rules (server_id, query, model) values (v.server, p_who, 'codex') returning id into v.routing;
  perform public.hub_route_task(v.task, p_type => 'docs');
  insert into public.hub_webhook_rules (server_id, event, repository, channel_id, template) values (v.server, 'push', p_who || '/app', v.room, 'Look') returning id into v.rule;
  insert into public.hub_bridges (server_id, channel_id, provider, target, starts_tasks) values (v.server, v.room, 'discord', 'channel:' || p_who, 'everyone') returning id into v.bridge;
  insert into public.hub_channel_messages (channel_id, content) values (v.room, 'a word of ' || p_who) returning id into v.message;
  perform public.hub_invite(v.server, tap.id('stranger'), 'viewer');
  perform tap.become('postgres');
  select o.id into v.outbox from public.hub_outbox o where o.bridge_id = v.bridge limit 1;
  update public.hub_outbox set status = 'dead' where id = v.outbox;
  perform public.hub_receive_webhook('github', p_who || '-1', 'push', jsonb_build_object('ref', 'refs/heads/main', 'repository', jsonb_build_object('full_name', p_who || '/app'), 'sender', '{"login":"larry"}'::jsonb));
  insert into public.hub_ask_rules (server_id, action, about) values (v.server, 'ask', p_who);
  insert into public.hub_budgets (server_id, scope, measure, amount) values (v.server, 'server', 'cost', 5);
  insert into public.hub_shares (server_id, project, weight) values (v.server, p_who, 2);
  insert into public.hub_model_fallbacks (server_id, model, position, fallback) values (v.server, 'codex', 1, 'wait');
  insert into public.hub_chat_identities (provider, author_id, user_id, label, person_label) values ('discord', p_who, tap.id(p_who), p_who, p_who);
  insert into public.koji_accounts (server_id, name, market) values (v.server, p_who, 'Troy');
  insert into party select (v).*;
end;
$$;
select pg_temp.settle('ann'), pg_temp.settle('bob');
select public.hub_process_webhooks();
insert into public.hub_direct_messages (user_id, sender_id, sender_label, content) select tap.id(who), 'x', 'x', 'for ' || who from party;

-- Functions: as %s the one against whom it is done; what comes of it against the other, and at home.
create temp table deeds (object text, deed text, against text, home text);
insert into deeds values
  ('hub_send', $$select public.hub_send(room, 'x') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_send', $$select public.hub_send(p.room, 'x', o.thread) from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'UH004'),
  ('hub_send_to', $$select public.hub_send_to(%L || '-flat/' || %1$L || '-room', 'x')$$, 'UH004', 'ok'),
  ('hub_execute_command', $$select public.hub_execute_command(room, '!help') from party where who = %L$$, 'UH004', 'UH003'),
  ('hub_messages_since', $$select m.* from party, public.hub_messages_since(room) m where who = %L$$, 'UH004', 'ok'),
  ('hub_messages_since', $$select m.* from party, public.hub_messages_since(hall, 0, thread) m where who = %L$$, 'UH004', 'ok'),
  ('hub_create_task_thread', $$select public.hub_create_task_thread(hall, loose) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_create_task_thread', $$select public.hub_create_task_thread(p.hall, o.loose) from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('hub_update_thread_status', $$select public.hub_update_thread_status(thread, 'idle') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_cancel_task', $$select public.hub_cancel_task(task) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_cancel_task', $$select public.hub_cancel_task(loose) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_retry_task', $$select public.hub_retry_task(failed) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_explain_task', $$select e.* from party, public.hub_explain_task(task) e where who = %L$$, 'UH004', 'ok'),
  ('hub_explain_task', $$select e.* from party, public.hub_explain_task(loose) e where who = %L$$, 'UH004', 'ok'),
  ('hub_classify', $$select c.* from party, public.hub_classify('x', room) c where who = %L$$, 'UH004', 'ok'),
  ('hub_set_member', $$select public.hub_set_member(server, tap.id(%2$L), 'owner') from party where who = %1$L$$, 'UH004', 'ok'),
  ('hub_set_member', $$select public.hub_set_member(server, tap.id(%1$L), null) from party where who = %1$L$$, 'UH004', 'UH003'),
  ('hub_invite', $$select public.hub_invite(server, tap.id('viewer'), 'owner') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_invite', $$select public.hub_invite(server, tap.id('stranger'), null) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_accept_invitation', $$select public.hub_accept_invitation(server) from party where who = %L$$, 'UH004', 'UH004'),
  ('hub_leave', $$select public.hub_leave(server) from party where who = %L$$, 'UH004', 'UH003'),
  ('hub_register_device', $$select public.hub_register_device(%L || '-mac', 'linux', '[]', 1)$$, '42501', '42501'),
  ('hub_claim_tasks', $$select public.hub_claim_tasks(%L || '-mac', 5)$$, '42501', '42501'),
  ('hub_heartbeat', $$select public.hub_heartbeat(%L || '-mac')$$, '42501', '42501'),
  ('hub_sign_off', $$select public.hub_sign_off(%L || '-mac')$$, '42501', '42501'),
  ('hub_report_rate_limit', $$select public.hub_report_rate_limit(%L || '-mac', 'claude', null, null, 'x')$$, '42501', '42501'),
  ('hub_report_login', $$select public.hub_report_login(%L || '-mac', 'claude', false)$$, '42501', '42501'),
  ('hub_lease_login', $$select public.hub_lease_login(%L || '-mac', 'claude', 'x')$$, '42501', '42501'),
  ('hub_return_login', $$select public.hub_return_login(%L || '-mac', 'claude', 'x')$$, '42501', '42501'),
  ('hub_limits', $$select 1 / count(*) from public.hub_limits() l where l.account = 'device:' || %L || '-mac'$$, '22012', 'ok'),
  ('hub_agent_stops', $$select 1 / count(*) from public.hub_agent_stops() s where s.device = %L || '-mac'$$, '22012', 'ok'),
  ('hub_begin_attempt', $$select public.hub_begin_attempt(held, 1) from party where who = %L$$, '42501', '42501'),
  ('hub_report_workspace', $$select public.hub_report_workspace(held, 1, '{"kind": "git"}') from party where who = %L$$, '42501', '42501'),
  ('hub_workspaces_to_clean', $$select * from public.hub_workspaces_to_clean(%L || '-mac')$$, '42501', '42501'),
  ('hub_workspace_removed', $$select public.hub_workspace_removed(%1$L || '-mac', held, false) from party where who = %1$L$$, '42501', '42501'),
  ('hub_report_progress', $$select public.hub_report_progress(held, 1, 'x') from party where who = %L$$, '42501', '42501'),
  ('hub_complete_task', $$select public.hub_complete_task(held, 1, 'x') from party where who = %L$$, '42501', '42501'),
  ('hub_fail_task', $$select public.hub_fail_task(held, 1, 'x') from party where who = %L$$, '42501', '42501'),
  ('hub_send', $$select public.hub_send(p.room, 'x', null, null, o.message) from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'UH003'),
  ('hub_steer_task', $$select public.hub_steer_task(held, 'x') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_need_task', $$select public.hub_need_task(task, held) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_need_task', $$select public.hub_need_task(p.task, o.held) from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('hub_route_task', $$select public.hub_route_task(task, p_agent => 'claude') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_route_task', $$select public.hub_route_task(task, p_type => 'ops') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_route_task', $$select public.hub_route_task(task, p_device => %1$L || '-mac') from party where who = %2$L$$, 'UH004', 'ok'),
  ('hub_set_thread_replies', $$select public.hub_set_thread_replies(hall, 'steer') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_set_when_limited', $$select public.hub_set_when_limited(hall, 'wait') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_report_steer', $$select public.hub_report_steer(held, 1, array[1], 'taken') from party where who = %L$$, '42501', '42501'),
  ('hub_say', $$select public.hub_say(held, 1, 'x') from party where who = %L$$, '42501', '42501'),
  ('hub_subtask', $$select public.hub_subtask(held, 1, 'x') from party where who = %L$$, '42501', '42501'),
  ('hub_subtask_result', $$select public.hub_subtask_result(held, 1, task) from party where who = %L$$, '42501', '42501'),
  ('hub_attempt_thread', $$select public.hub_attempt_thread(held, 1) from party where who = %L$$, '42501', '42501'),
  ('hub_drain_device', $$select public.hub_drain_device(%L || '-mac')$$, 'UH004', 'ok'),
  ('hub_revoke_device', $$select public.hub_revoke_device(%L || '-mac')$$, 'UH004', 'ok'),
  ('hub_enroll_device', $$select public.hub_enroll_device(%2$L || '-mac', server) from party where who = %1$L$$, 'UH004', 'ok'),
  ('hub_enroll_device', $$select public.hub_enroll_device(%1$L || '-mac', server) from party where who = %2$L$$, 'UH004', 'ok'),
  ('hub_create_hook_token', $$select public.hub_create_hook_token('x', array['channel:' || room]) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_create_hook_token', $$select public.hub_create_hook_token('x', array['user:' || tap.id(%L)])$$, 'UH004', 'UH004'),
  ('hub_revoke_hook_token', $$select public.hub_revoke_hook_token(token) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_retry_outbox', $$select public.hub_retry_outbox(outbox) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_receive_hook', $$select public.hub_receive_hook(secret, 'x', 'channel:' || room) from party where who = %L$$, '42501', '42501'),
  ('hub_receive_webhook', $$select public.hub_receive_webhook('github', %L, 'push', '{}')$$, '42501', '42501'),
  ('hub_receive_bridged', $$select public.hub_receive_bridged('discord', 'channel:' || %L, 'm', 'x', 'x')$$, '42501', '42501'),
  ('hub_process_webhooks', $$select public.hub_process_webhooks() from (select %L) x$$, '42501', '42501'),
  ('hub_claim_outbox', $$select public.hub_claim_outbox() from (select %L) x$$, '42501', '42501'),
  ('hub_complete_outbox', $$select public.hub_complete_outbox(outbox, 1) from party where who = %L$$, '42501', '42501'),
  ('hub_fail_outbox', $$select public.hub_fail_outbox(outbox, 1, 'x') from party where who = %L$$, '42501', '42501'),
  ('hub_outbox_due', $$select public.hub_outbox_due() from (select %L) x$$, '42501', '42501'),
  ('hub_ask', $$select public.hub_ask(held, 1, 'question', 'x') from party where who = %L$$, '42501', '42501'),
  ('hub_withdraw_ask', $$select public.hub_withdraw_ask(held, 1, ask) from party where who = %L$$, '42501', '42501'),
  ('hub_take_answers', $$select public.hub_take_answers(held, 1, array[ask]) from party where who = %L$$, '42501', '42501'),
  ('hub_park_task', $$select public.hub_park_task(held, 1) from party where who = %L$$, '42501', '42501'),
  ('hub_answer_ask', $$select public.hub_answer_ask(ask, 'x') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_answer_task', $$select public.hub_answer_task(held, 'x') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_inbox', $$select 1 / count(*) from public.hub_inbox() i where i.id = (select ask from party where who = %L)$$, '22012', 'ok'),
  ('hub_set_budget', $$select public.hub_set_budget(server, 'server', null, 'cost', 5) from party where who = %L$$, 'UH004', 'ok'),
  ('hub_remove_budget', $$select public.hub_remove_budget((select b.id from public.hub_budget_state() b where b.server_id = p.server limit 1)) from party p where who = %L$$, 'UH004', 'ok'),
  ('hub_set_share', $$select public.hub_set_share(server, room_project, 2) from (select p.server, p.who || '/app' as room_project, who from party p) p where who = %L$$, 'UH004', 'ok'),
  ('hub_share_state', $$select 1 / count(*) from public.hub_share_state() s where s.server_id = (select server from party where who = %L)$$, '22012', 'ok'),
  ('hub_set_fallbacks', $$select public.hub_set_fallbacks(server, 'claude', '{wait}') from party where who = %L$$, 'UH004', 'ok'),
  ('hub_budget_state', $$select 1 / count(*) from public.hub_budget_state() b where b.server_id = (select server from party where who = %L)$$, '22012', 'ok'),
  ('hub_costs', $$select 1 / count(*) from public.hub_costs('2000-01-01', '2100-01-01', 'server') c where c.name = %L || '-flat'$$, '22012', 'ok'),
  ('hub_link_code', $$select public.hub_link_code() from (select %L) x$$, 'ok', 'ok'),
  ('hub_link_chat', $$select public.hub_link_chat('discord', %L, 'x', 'y')$$, '42501', '42501'),
  ('hub_unlink_chat', $$select public.hub_unlink_chat('discord', %L)$$, 'UH004', 'ok'),
  ('hub_answer_from_chat', $$select public.hub_answer_from_chat('discord', 'x', %L, 'channel:1')$$, '42501', '42501'),
  ('hub_answer_by_token', $$select public.hub_answer_by_token(%L)$$, '42501', '42501'),
  ('hub_decay_threads', $$select public.hub_decay_threads() from (select %L) x$$, '42501', '42501'),
  ('hub_recover', $$select public.hub_recover() from (select %L) x$$, '42501', '42501'),
  ('hub_post_feeds', $$select public.hub_post_feeds() from (select %L) x$$, '42501', '42501'),
  ('hub_claim_sweeps', $$select public.hub_claim_sweeps() from (select %L) x$$, '42501', '42501'),
  ('hub_complete_sweep', $$select public.hub_complete_sweep(task, 1, '[]') from party where who = %L$$, '42501', '42501'),
  ('hub_fail_sweep', $$select public.hub_fail_sweep(task, 1, 'x') from party where who = %L$$, '42501', '42501');

-- Writing to tables: what the other has, or into what is theirs. 'none' is that no row was touched.
create temp table writes (object text, deed text, against text, home text);
insert into writes values
  ('hub_servers', $$update public.hub_servers set access = 'authenticated' where id = (select server from party where who = %L)$$, '42501', '42501'),
  ('hub_channels', $$insert into public.hub_channels (server_id, name, display_name) select server, 'x', 'x' from party where who = %L$$, '42501', '42501'),
  ('hub_members', $$insert into public.hub_members (server_id, user_id, role) select server, tap.id(%2$L), 'owner' from party where who = %1$L$$, '42501', '42501'),
  ('hub_members', $$update public.hub_members set accepts_hooks = true where user_id = tap.id(%L)$$, 'none', 'ok'),
  ('hub_invitations', $$delete from public.hub_invitations where server_id = (select server from party where who = %L)$$, '42501', '42501'),
  ('hub_places', $$insert into public.hub_places (kind, server_id, target) select 'project', server, 'x' from party where who = %L$$, '42501', '42501'),
  ('hub_places', $$insert into public.hub_places (kind, server_id, target) select 'project', server, %1$L || '/app' from party where who = %2$L$$, '42501', '42501'),
  ('hub_projects', $$insert into public.hub_projects (server_id, name, path) select server, 'x', %1$L || '/app' from party where who = %1$L$$, '42501', 'ok'),
  ('hub_projects', $$insert into public.hub_projects (server_id, name, path) select server, 'x', %1$L || '/app' from party where who = %2$L$$, '42501', 'ok'),
  ('hub_projects', $$update public.hub_projects set path = %2$L || '/app' where id = (select project from party where who = %1$L)$$, 'none', 'ok'),
  ('hub_projects', $$update public.hub_projects set path = %1$L || '/app' where id = (select project from party where who = %2$L)$$, '42501', 'ok'),
  ('hub_projects', $$update public.hub_projects set verify = 'make', push = true, pull_request = 'draft', repository = %1$L || '/app' where id = (select project from party where who = %1$L)$$, 'none', 'ok'),
  ('hub_projects', $$update public.hub_projects set repository = %1$L || '/app' where id = (select project from party where who = %2$L)$$, '42501', 'ok'),
  ('hub_sessions', $$update public.hub_sessions set state = 'ok' where server_id = (select server from party where who = %L)$$, '42501', '42501'),
  ('hub_workspaces', $$delete from public.hub_workspaces where server_id = (select server from party where who = %L)$$, '42501', '42501'),
  ('hub_projects', $$delete from public.hub_projects where id = (select project from party where who = %L)$$, 'none', 'ok'),
  ('hub_channel_messages', $$insert into public.hub_channel_messages (channel_id, content) select room, 'x' from party where who = %L$$, 'UH004', 'ok'),
  ('hub_channel_messages', $$insert into public.hub_channel_messages (channel_id, task_thread_id, content) select p.room, o.thread, 'x' from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'UH004'),
  ('hub_channel_messages', $$update public.hub_channel_messages set content = 'x' where id = (select message from party where who = %L)$$, '42501', '42501'),
  ('hub_task_threads', $$update public.hub_task_threads set status = 'archived' where id = (select thread from party where who = %L)$$, '42501', '42501'),
  ('mac_tasks', $$insert into public.mac_tasks (content, channel_id) select 'x', room from party where who = %L$$, 'UH004', 'ok'),
  ('mac_tasks', $$insert into public.mac_tasks (content, server_id) select 'x', server from party where who = %L$$, 'UH004', 'ok'),
  ('mac_tasks', $$insert into public.mac_tasks (content, channel_id, project) select 'x', room, %1$L || '/app' from party where who = %2$L$$, '42501', 'ok'),
  ('mac_tasks', $$insert into public.mac_tasks (content, channel_id, thread_id) select 'x', p.hall, o.thread from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('mac_tasks', $$insert into public.mac_tasks (content, channel_id, message_id) select 'x', p.room, o.message from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('mac_tasks', $$insert into public.mac_tasks (content, channel_id, parent_id) select 'x', p.room, o.task from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('mac_tasks', $$update public.mac_tasks set status = 'cancelled' where id = (select task from party where who = %L)$$, '42501', '42501'),
  ('hub_task_attempts', $$update public.hub_task_attempts set outcome = null where task_id = (select held from party where who = %L)$$, '42501', '42501'),
  ('mesh_devices', $$update public.mesh_devices set capacity = 9 where name = %L || '-mac'$$, '42501', '42501'),
  ('mesh_device_servers', $$insert into public.mesh_device_servers (device, server_id) select %2$L || '-mac', server from party where who = %1$L$$, '42501', '42501'),
  ('mesh_quota_pools', $$delete from public.mesh_quota_pools where account = 'device:' || %L || '-mac'$$, '42501', '42501'),
  ('mesh_logins', $$update public.mesh_logins set reason = 'x' where device = %L || '-mac'$$, '42501', '42501'),
  ('hub_task_needs', $$delete from public.hub_task_needs where needs = (select held from party where who = %L)$$, '42501', '42501'),
  ('hub_teams', $$update public.hub_teams set gather = 'join' where server_id = (select server from party where who = %L)$$, '42501', '42501'),
  ('hub_asks', $$update public.hub_asks set state = 'answered' where id = (select ask from party where who = %L)$$, '42501', '42501'),
  ('hub_ask_rules', $$insert into public.hub_ask_rules (server_id, action) select server, 'allow' from party where who = %L$$, '42501', 'ok'),
  ('hub_ask_rules', $$update public.hub_ask_rules set action = 'allow' where about = %L$$, 'none', 'ok'),
  ('hub_ask_rules', $$delete from public.hub_ask_rules where about = %L$$, 'none', 'ok'),
  ('hub_budgets', $$insert into public.hub_budgets (server_id, scope, measure, amount) select server, 'server', 'tokens', 5 from party where who = %L$$, '42501', 'ok'),
  ('hub_budgets', $$insert into public.hub_budgets (server_id, scope, subject, measure, amount) select server, 'task', held::text, 'tokens', 5 from party where who = %L$$, '42501', 'ok'),
  ('hub_budgets', $$insert into public.hub_budgets (server_id, scope, subject, measure, amount) select p.server, 'task', o.held::text, 'tokens', 5 from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('hub_budgets', $$insert into public.hub_budgets (server_id, scope, subject, measure, amount) select p.server, 'channel', o.room::text, 'tokens', 5 from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('hub_budgets', $$update public.hub_budgets set amount = 9 where server_id = (select server from party where who = %L)$$, 'none', 'ok'),
  ('hub_budgets', $$delete from public.hub_budgets where server_id = (select server from party where who = %L)$$, 'none', 'ok'),
  ('hub_shares', $$insert into public.hub_shares (server_id, project, weight) select server, 'x', 2 from party where who = %L$$, '42501', 'ok'),
  ('hub_shares', $$update public.hub_shares set weight = 9 where project = %L$$, 'none', 'ok'),
  ('hub_shares', $$delete from public.hub_shares where project = %L$$, 'none', 'ok'),
  ('hub_prices', $$update public.hub_prices set input = 0 where %L is not null$$, '42501', '42501'),
  ('hub_model_fallbacks', $$insert into public.hub_model_fallbacks (server_id, model, position, fallback) select server, 'claude', 1, 'wait' from party where who = %L$$, '42501', 'ok'),
  ('hub_model_fallbacks', $$update public.hub_model_fallbacks set fallback = 'gemini' where server_id = (select server from party where who = %L)$$, 'none', 'ok'),
  ('hub_model_fallbacks', $$delete from public.hub_model_fallbacks where server_id = (select server from party where who = %L)$$, 'none', 'ok'),
  ('hub_chat_identities', $$delete from public.hub_chat_identities where author_id = %L$$, '42501', '42501'),
  ('hub_routing_rules', $$insert into public.hub_routing_rules (server_id, query, model) select server, 'x', 'codex' from party where who = %L$$, '42501', 'ok'),
  ('hub_routing_rules', $$update public.hub_routing_rules set model = 'any' where id = (select routing from party where who = %L)$$, 'none', 'ok'),
  ('hub_routing_rules', $$delete from public.hub_routing_rules where id = (select routing from party where who = %L)$$, 'none', 'ok'),
  ('hub_routing_examples', $$update public.hub_routing_examples set task_type = 'ops' where server_id = (select server from party where who = %L)$$, '42501', '42501'),
  ('hub_routing_examples', $$delete from public.hub_routing_examples where server_id = (select server from party where who = %L)$$, 'none', 'ok'),
  ('hub_routing_models', $$delete from public.hub_routing_models where task_type = %L$$, '42501', '42501'),
  ('hub_webhook_rules', $$insert into public.hub_webhook_rules (server_id, event, repository, channel_id, template) select server, 'push', %1$L || '/app', room, 'Look' from party where who = %1$L$$, '42501', 'ok'),
  ('hub_webhook_rules', $$insert into public.hub_webhook_rules (server_id, event, repository, channel_id, template) select server, 'push', %1$L || '/app', room, 'Look' from party where who = %2$L$$, '42501', 'ok'),
  ('hub_webhook_rules', $$insert into public.hub_webhook_rules (server_id, event, repository, channel_id, template) select p.server, 'push', %2$L || '/app', o.room, 'Look' from party p, party o where p.who = %2$L and o.who = %1$L$$, 'UH004', 'ok'),
  ('hub_webhook_rules', $$update public.hub_webhook_rules set template = 'Look again' where id = (select rule from party where who = %L)$$, 'none', 'ok'),
  ('hub_webhook_rules', $$update public.hub_webhook_rules set repository = %1$L || '/app' where id = (select rule from party where who = %2$L)$$, '42501', 'ok'),
  ('hub_webhook_rules', $$delete from public.hub_webhook_rules where id = (select rule from party where who = %L)$$, 'none', 'ok'),
  ('hub_webhook_deliveries', $$update public.hub_webhook_deliveries set status = 'stored' where delivery_id = %L || '-1'$$, '42501', '42501'),
  ('hub_webhook_outcomes', $$delete from public.hub_webhook_outcomes where server_id = (select server from party where who = %L)$$, '42501', '42501'),
  ('hub_hook_tokens', $$update public.hub_hook_tokens set revoked_at = null where id = (select token from party where who = %L)$$, '42501', '42501'),
  ('hub_direct_messages', $$update public.hub_direct_messages set read_at = now() where user_id = tap.id(%L)$$, 'none', 'ok'),
  ('hub_direct_messages', $$delete from public.hub_direct_messages where user_id = tap.id(%L)$$, 'none', 'ok'),
  ('hub_bridges', $$insert into public.hub_bridges (server_id, channel_id, provider, target) select server, room, 'discord', 'channel:' || %1$L from party where who = %2$L$$, '42501', '23505'),
  ('hub_bridges', $$insert into public.hub_bridges (server_id, channel_id, provider, target, secret_name) select server, room, 'discord', 'channel:' || %2$L, 'HUB_BRIDGE_X' from party where who = %1$L$$, '42501', '42501'),
  ('hub_bridges', $$update public.hub_bridges set enabled = false where id = (select bridge from party where who = %L)$$, 'none', 'ok'),
  ('hub_bridges', $$update public.hub_bridges set target = 'channel:' || %1$L where id = (select bridge from party where who = %2$L)$$, '42501', 'ok'),
  ('hub_bridges', $$delete from public.hub_bridges where id = (select bridge from party where who = %L)$$, 'none', 'ok'),
  ('hub_outbox', $$delete from public.hub_outbox where id = (select outbox from party where who = %L)$$, '42501', '42501'),
  ('koji_commands', $$delete from public.koji_commands where name = %L$$, '42501', '42501'),
  ('hub_errands', $$delete from public.hub_errands where name = %L$$, '42501', '42501'),
  ('hub_message_events', $$delete from public.hub_message_events where event = %L$$, '42501', '42501'),
  ('koji_accounts', $$delete from public.koji_accounts where name = %L$$, '42501', '42501'),
  ('koji_prospects', $$delete from public.koji_prospects where name = %L$$, '42501', '42501'),
  ('koji_orders', $$delete from public.koji_orders where id::text = %L$$, '42501', '42501'),
  ('koji_samples', $$delete from public.koji_samples where id::text = %L$$, '42501', '42501'),
  ('koji_followups', $$delete from public.koji_followups where id::text = %L$$, '42501', '42501'),
  ('koji_sweeps', $$delete from public.koji_sweeps where id::text = %L$$, '42501', '42501');

-- Reading: the rows that are the other's; how many are seen at home ('42501': nobody reads it).
create temp table sights (object text, what text, home text);
insert into sights values
  ('hub_servers', $$public.hub_servers where id = (select server from party where who = %L)$$, '1'),
  ('hub_channels', $$public.hub_channels where id = (select room from party where who = %L)$$, '1'),
  ('hub_members', $$public.hub_members where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_invitations', $$public.hub_invitations where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_places', $$public.hub_places where server_id = (select server from party where who = %L) and kind = 'github'$$, '1'),
  ('hub_projects', $$public.hub_projects where id = (select project from party where who = %L)$$, '1'),
  ('hub_channel_messages', $$public.hub_channel_messages where id = (select message from party where who = %L)$$, '1'),
  ('hub_task_threads', $$public.hub_task_threads where id = (select thread from party where who = %L)$$, '1'),
  ('mac_tasks', $$public.mac_tasks where id = (select task from party where who = %L)$$, '1'),
  ('mac_tasks', $$public.mac_tasks where id = (select loose from party where who = %L)$$, '1'),
  ('hub_task_attempts', $$public.hub_task_attempts where task_id = (select held from party where who = %L)$$, '1'),
  ('hub_task_needs', $$public.hub_task_needs where needs = (select held from party where who = %L)$$, '1'),
  ('hub_teams', $$public.hub_teams where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_asks', $$public.hub_asks where id = (select ask from party where who = %L)$$, '1'),
  ('hub_ask_rules', $$public.hub_ask_rules where about = %L$$, '1'),
  ('hub_budgets', $$public.hub_budgets where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_shares', $$public.hub_shares where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_model_fallbacks', $$public.hub_model_fallbacks where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_chat_identities', $$public.hub_chat_identities where author_id = %L$$, '1'),
  ('hub_sessions', $$(select id from public.hub_sessions where server_id = (select server from party where who = %L)) s$$, '1'),
  ('hub_workspaces', $$public.hub_workspaces where server_id = (select server from party where who = %L)$$, '1'),
  ('mesh_devices', $$public.mesh_devices where name = %L || '-mac'$$, '1'),
  ('mesh_device_servers', $$public.mesh_device_servers where device = %L || '-mac' and server_id in (select server from party)$$, '1'),
  ('mesh_quota_pools', $$public.mesh_quota_pools where account = 'device:' || %L || '-mac'$$, '1'),
  ('mesh_logins', $$public.mesh_logins where device = %L || '-mac'$$, '1'),
  ('hub_routing_rules', $$public.hub_routing_rules where id = (select routing from party where who = %L)$$, '1'),
  ('hub_routing_examples', $$public.hub_routing_examples where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_webhook_rules', $$public.hub_webhook_rules where id = (select rule from party where who = %L)$$, '1'),
  ('hub_webhook_deliveries', $$(select id from public.hub_webhook_deliveries where delivery_id = %L || '-1') d$$, '1'),
  ('hub_webhook_outcomes', $$public.hub_webhook_outcomes where server_id = (select server from party where who = %L)$$, '1'),
  ('hub_hook_tokens', $$(select id from public.hub_hook_tokens where id = (select token from party where who = %L)) t$$, '1'),
  ('hub_direct_messages', $$public.hub_direct_messages where user_id = tap.id(%L)$$, '1'),
  ('hub_bridges', $$public.hub_bridges where id = (select bridge from party where who = %L)$$, '1'),
  ('hub_outbox', $$public.hub_outbox where id = (select outbox from party where who = %L)$$, '1'),
  ('koji_accounts', $$public.koji_accounts where name = %L$$, '1');

-- Nothing is left out: a new function or table must be tried here, too. What everybody signed in reads is named.
select is_empty($$ select p.proname::text from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname ~ '^hub_' except select object from deeds $$, 'every function of the contract is tried here');
select is_empty($$ select c.relname::text from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname ~ '^(hub_|mac_tasks|mesh_|koji_)' except select object from writes $$, 'every table is written to here');
select is_empty($$ select c.relname::text from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname ~ '^(hub_|mac_tasks|mesh_|koji_)'
                      and c.relname not in ('hub_errands', 'hub_message_events', 'hub_prices', 'hub_routing_models', 'koji_commands', 'koji_prospects', 'koji_orders', 'koji_samples', 'koji_followups', 'koji_sweeps')
                   except select object from sights $$, 'every table is read here');

-- As tap.outcome, but that touching no row is told from having done it.
create function pg_temp.touched(p_actor text, p_sql text) returns text language plpgsql as $$
declare
  v_result text;
  v_rows   bigint;
begin
  perform tap.become(p_actor);
  begin
    execute p_sql;
    get diagnostics v_rows = row_count;
    raise exception using errcode = 'TAPOK';
  exception when others then
    v_result := case sqlstate when 'TAPOK' then case when v_rows = 0 then 'none' else 'ok' end else sqlstate end;
  end;
  perform tap.become('postgres');
  return v_result;
end;
$$;

create temp table matrix as
select 'calls' as how, d.object, format(d.deed, o.who, p.who) as deed, p.who as actor, case when o.who = p.who then d.home else d.against end as expected, tap.outcome(p.who, format(d.deed, o.who, p.who)) as outcome, o.who <> p.who as against
  from deeds d, party p, party o
union all
select 'writes', w.object, format(w.deed, o.who, p.who), p.who, case when o.who = p.who then w.home else w.against end, pg_temp.touched(p.who, format(w.deed, o.who, p.who)), o.who <> p.who
  from writes w, party p, party o
union all
select 'reads', s.object, format(s.what, o.who), p.who, case when o.who = p.who then s.home else '0' end, tap.sees(p.who, format(s.what, o.who)), o.who <> p.who
  from sights s, party p, party o;
select is(m.outcome, m.expected, format('%s %s: %s', m.actor, m.how, m.deed)) from matrix m;

-- The machines of the two: each is nobody at the other's.
select is(tap.outcome(p.who_device, format(d.deed, o.who)), d.expected, format('%s: %s', p.who_device, format(d.deed, o.who)))
  from (select who, 'device:' || who || '-mac' as who_device from party) p join party o on o.who <> p.who,
       (values ($$select public.hub_register_device(%L || '-mac', 'linux', '[]', 1)$$, '42501'), ($$select public.hub_claim_tasks(%L || '-mac', 5)$$, '42501'), ($$select public.hub_heartbeat(%L || '-mac')$$, '42501'),
               ($$select public.hub_report_progress(held, 1, 'x') from party where who = %L$$, 'UH002'), ($$select public.hub_complete_task(held, 1, 'x') from party where who = %L$$, 'UH002'),
               ($$select public.hub_ask(held, 1, 'question', 'x') from party where who = %L$$, 'UH002'), ($$select public.hub_park_task(held, 1) from party where who = %L$$, 'UH002'),
               ($$select public.hub_answer_ask(ask, 'x') from party where who = %L$$, 'UH004'),
               ($$select public.hub_report_steer(held, 1, array[1], 'taken') from party where who = %L$$, 'UH002'), ($$select public.hub_say(held, 1, 'x') from party where who = %L$$, 'UH002'),
               ($$select public.hub_subtask(held, 1, 'x') from party where who = %L$$, 'UH002'), ($$select public.hub_subtask_result(held, 1, task) from party where who = %L$$, 'UH002'),
               ($$select public.hub_attempt_thread(held, 1) from party where who = %L$$, 'UH002'),
               ($$select public.hub_fail_task(held, 1, 'x') from party where who = %L$$, 'UH002')) d (deed, expected);
select is(tap.sees('device:' || p.who || '-mac', format(s.what, o.who)), '0', format('%s-mac reads %s of %s', p.who, s.object, o.who))
  from sights s, party p join party o on o.who <> p.who where s.object not in ('mac_tasks', 'hub_task_attempts') or p.who <> o.who;
select tap.become('device:ann-mac');
select is((select count(*)::int from public.hub_claim_tasks('ann-mac', 50) c where c.server_id not in (select server from party where who = 'ann' union select hall_server from party where who = 'ann')), 0, 'a device claims tasks of its own servers only');
select tap.become('postgres');

-- The matrix itself, for whoever reads the log: what each object says to the other's owner.
select diag(format('%-26s %-7s %s', object, how, string_agg(distinct outcome, ' ' order by outcome))) from matrix where against group by object, how order by object, how;

select * from finish();
rollback;
