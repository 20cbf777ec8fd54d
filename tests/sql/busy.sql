-- A hub in use, for sql/inspect and sql/checks: tasks in every state, in flat and threaded conversations, on machines in every state.
-- Run as postgres on a migrated and seeded database; adds to what is there.

select count(public.hub_register_device('busy-' || i, (array['linux', 'macos', 'windows'])[i], '[{"agent": "claude", "models": ["any"]}]', 40))
  from generate_series(1, 3) i;
select count(public.hub_send(c.id, format('Task %s: fix the parser', n)))
  from public.hub_channels c join public.hub_servers s on s.id = c.server_id, generate_series(1, 20) n
 where s.architecture_type <> 'command_dispatch' and not c.is_read_only;

create temp table held as select * from public.hub_claim_tasks('busy-1', 40) union all select * from public.hub_claim_tasks('busy-2', 40);
select count(public.hub_report_progress(h.id, h.attempt, 'note ' || n)) from held h, generate_series(1, 3) n;
select count(public.hub_complete_task(h.id, h.attempt, 'done', '{"model": "opus", "cost_usd": 0.01, "tokens_in": 10, "tokens_out": 20}'))
  from (select * from held order by created_at, id limit 30) h;
select count(public.hub_fail_task(h.id, h.attempt, 'no such file', n % 2 = 0))
  from (select *, row_number() over (order by created_at, id) as n from held offset 30 limit 20) h;
select count(public.hub_cancel_task(h.id)) from (select * from held order by created_at, id offset 50 limit 5) h;

-- Told something while they run: taken, for the next turn, not taken by one that is complete, by one that failed. Subtasks, one of which has ended.
create temp table told as select h.*, row_number() over (order by h.created_at desc, h.id desc) as n from held h order by h.created_at desc, h.id desc limit 4;
select count(public.hub_steer_task(id, 'Leave the lexer alone')) from told;
select count(public.hub_report_steer(t.id, t.attempt, array[s.id], case t.n when 1 then 'taken' else 'next_turn' end)) from told t join hub_internal.steers s on s.task_id = t.id where t.n <= 2;
select count(public.hub_say(id, attempt, 'The lexer is fine')), count(public.hub_subtask(id, attempt, 'Count its rules')) from told where n <= 2;
select public.hub_cancel_task(task_id) from hub_internal.subtasks limit 1;
select count(public.hub_complete_task(id, attempt, 'done')) from told where n = 3;
select count(public.hub_fail_task(id, attempt, 'no', false)) from told where n = 4;
select count(public.hub_route_task(id, p_device => 'busy-1')) from (select id from public.mac_tasks where status = 'failed' limit 1) f;

-- Follow-ups, one of which waits for its predecessor; a thread that nobody writes in; a lease that ran out; a silent machine.
select count(public.hub_send(t.channel_id, 'and the tests', t.thread_id)) from (select * from public.mac_tasks where thread_id is not null and status = 'running' limit 3) t;
update public.hub_task_threads set last_activity_at = now() - interval '5 hours'
 where id in (select thread_id from public.mac_tasks where status = 'complete' and thread_id is not null limit 5);
update public.mac_tasks set lease_expires_at = now() - interval '5 minutes' where id in (select id from public.mac_tasks where status = 'running' limit 3);
update public.mesh_devices set last_heartbeat_at = now() - interval '1 hour', drained_at = now() where name = 'busy-3';

-- A machine with a full disk that tells of projects, one that signed off, and attempts that ended for other reasons.
select public.hub_register_device('busy-4', 'linux', '[{"agent": "codex", "models": ["any"], "memory_bytes": 4000000000}]', 4), public.hub_register_device('busy-5', 'linux', '[]', 4);
select public.hub_heartbeat('busy-4', '[]', h.machine) from (values ('{"disk_free_bytes": 5000000, "memory_free_bytes": 1000000000, "projects": {}}'::jsonb)) h (machine);
select public.hub_heartbeat('busy-4', '[]', jsonb_build_object('projects', jsonb_build_object(l.project, false)))
  from (select project from hub_internal.lanes where project is not null order by project limit 1) l;
select public.hub_sign_off('busy-5');
select count(public.hub_fail_task(h.id, h.attempt, 'because', true, jsonb_build_object('reason', r.reason, 'signal', 9, 'stderr', 'Killed', 'peak_memory_bytes', 8000000000)))
  from (select *, row_number() over (order by created_at, id) as n from held order by created_at, id offset 56 limit 3) h
  join (values (57, 'out_of_memory'), (58, 'worker_stopped'), (59, 'no_project')) r (n, reason) using (n);
select public.hub_decay_threads();
select public.hub_post_feeds();

-- Reports from GitHub, dealt with in each way; bridges, and an outbox with what is sent, waits, is in flight, is late, is dead.
insert into public.hub_webhook_rules (server_id, event, repository, channel_id, template)
select c.server_id, e.event, 'busy/*', c.id, 'Look at {title}: {body}'
  from public.hub_channels c, (values ('issues'), ('issue_comment'), ('check_suite')) e (event) where c.name = 'bridge';
select count(public.hub_receive_webhook('github', 'busy-' || n, (array['ping', 'issues', 'issue_comment', 'star', 'issues'])[n % 5 + 1],
         jsonb_build_object('action', case n % 5 when 2 then 'created' else 'opened' end, 'repository', case n % 5 when 4 then null else '{"full_name":"busy/app"}'::jsonb end,
           'issue', jsonb_build_object('number', n, 'title', 'It breaks'), 'comment', '{"body":"/hub mend it","author_association":"OWNER"}'::jsonb)))
  from generate_series(1, 25) n;
select public.hub_process_webhooks();
select public.hub_receive_webhook('github', 'busy-late', 'issues', '{}');
insert into public.hub_bridges (server_id, channel_id, provider, target, direction, secret_name, starts_tasks)
select c.server_id, c.id, b.provider, b.target, b.direction, b.secret_name, 'everyone'
  from public.hub_channels c, (values ('discord', 'channel:71', 'both', null), ('telegram', 'channel:-72/3', 'both', null), ('webhook', 'https://example.com/busy', 'out', 'HUB_BRIDGE_BUSY')) b (provider, target, direction, secret_name)
 where c.name = 'garden';
select count(public.hub_receive_bridged('discord', 'channel:71', 'busy-' || n, 'Larry', 'Plant ' || n)) from generate_series(1, 5) n;
do $$
declare
  o public.hub_outbox;
begin
  for n in 1 .. 6 loop
    for o in select * from public.hub_claim_outbox() loop
      if n = 3 then
        perform public.hub_fail_outbox(o.id, o.attempt, '403', null, true);
      elsif n < 6 then
        perform public.hub_complete_outbox(o.id, o.attempt, case when o.kind <> 'webhook' then 'busy-' || o.seq end);
      elsif o.provider <> 'discord' then
        perform public.hub_fail_outbox(o.id, o.attempt, '429', '90 seconds');
      end if;
    end loop;
  end loop;
end;
$$;
select count(public.hub_create_hook_token('busy', array['channel:' || c.id])) from public.hub_channels c where c.name = 'garden';
-- Agents that can not work: one is at its limit, one for a model alone, one is not logged in, one limit is over and nobody said so.
select public.hub_report_rate_limit('busy-2', 'claude', null, now() + interval '3 hours', 'You have hit your limit', 'structured', 'five_hour', 1),
       public.hub_report_rate_limit('busy-3', 'claude', 'gemini', null, 'slow down'),
       public.hub_report_login('busy-3', 'claude', false, 'Invalid API key');
insert into public.mesh_quota_pools (account, agent, limited_since, limited_until, source, reported_by, reported_at)
values ('ann@example.com', 'claude', now() - interval '2 hours', now() - interval '1 hour', 'text', 'busy-1', now() - interval '2 hours');
