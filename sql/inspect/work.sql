-- Where is work going on, in which session, and what is kept of it? Newest first.
-- Good: few rows with `unpinned_in` below zero (hub_recover moves them), few poisoned sessions (`why`), no workspace that is ready long after its
-- last task ended. An old one that stays: its machine finds commits in it that are nowhere else, or has been away; `hub workspaces` there tells.
-- Much in place: those projects are no git repositories, and run one task at a time.

-- Sessions: which agent has one where, and whether a task waits for it.
select left(s.root_id::text, 8) as line, s.agent, s.device, s.state, hub_internal.shorten(s.why, 60) as why, left(s.session_id, 12) as session,
       s.tokens_in, s.tokens_out, round(s.cost_usd, 2) as cost, date_trunc('second', now() - s.used_at) as unused_for,
       h.status as thread, left(t.id::text, 8) as waits_for_it,
       date_trunc('second', hub_internal.away_since(d) + hub_internal.setting('session_wait') - now()) as unpinned_in
  from public.hub_sessions s
  left join public.mesh_devices d on d.name = s.device
  left join public.hub_task_threads h on h.id = s.thread_id
  left join public.mac_tasks t on t.status = 'pending' and t.session_device = s.device and coalesce(t.root_id, t.id) = s.root_id
 order by t.id is null, s.used_at desc
 limit 100;

-- Workspaces: what each machine holds, and whether anybody still works in it.
select w.device, w.name, w.project, w.kind, w.state, pg_size_pretty(w.size_bytes) as size,
       case when w.pushed_head is null then 'no' when w.pushed_head = w.head then 'yes' else 'not all' end as pushed,
       w.pull_request, w.merged_at is not null as merged, w.bundled, h.status as thread,
       (select count(*) from hub_internal.line_tasks(w.root_id) t where t.status in ('pending', 'running', 'waiting', 'blocked')) as open_tasks,
       date_trunc('second', now() - w.updated_at) as untouched_for
  from public.hub_workspaces w
  left join public.hub_task_threads h on h.id = w.thread_id
 order by w.state = 'removed', w.updated_at desc
 limit 100;
