-- {n} pending tasks on both sides, beside ten thousand that were finished before: tables in use, so that no plan is made for
-- empty ones.
set session_replication_role = replica;
truncate public.mac_tasks, public.hub_task_attempts, public.hub_task_threads, public.hub_channel_messages, bare.tasks cascade;
insert into public.mac_tasks (content, status, attempt, claimed_by, finished_at)
select 'Task ' || i, 'complete', 1, 'bench0', now() from generate_series(1, 10000) i;
insert into public.hub_task_attempts (task_id, attempt, device, agent, finished_at, outcome)
select t.id, 1, 'bench0', 'claude', now(), 'complete' from public.mac_tasks t;
insert into public.mac_tasks (content, lane, queue_key)
select 'Task ' || i, l.id, now() - interval '1 day' + i * interval '1 ms' from hub_internal.lanes l, generate_series(1, {n}) i;
insert into bare.tasks select * from public.mac_tasks;
set session_replication_role = origin;
vacuum analyze public.mac_tasks;
vacuum analyze public.hub_task_attempts;
vacuum analyze bare.tasks;
checkpoint;
