-- What was said to running tasks and what became of it, and what agents gave to others, newest first.
-- Good: nothing open for more than some seconds while its task runs. Open for long: the device does not beat (devices.sql), or its
-- agent takes nothing before its turn ends (next_turn). Many open subtasks under one top: at 20 no more are made (quotas.sql).

select left(s.task_id::text, 8) as task, s.attempt, t.status, s.by,
       coalesce(s.outcome, 'open') as outcome,
       date_trunc('second', now() - s.made_at) as said_before,
       date_trunc('milliseconds', s.given_at - s.made_at) as given_after,
       hub_internal.shorten(hub_internal.one_line(s.text), 60) as text
  from hub_internal.steers s
  join public.mac_tasks t on t.id = s.task_id
 order by s.id desc
 limit 50;

select left(s.top_id::text, 8) as top, left(s.parent_id::text, 8) as parent, left(s.task_id::text, 8) as subtask, s.depth, t.status,
       t.status in ('complete', 'failed', 'cancelled') and s.told is distinct from t.status || ':' || t.attempt as untold,
       p.status as parent_is,
       hub_internal.shorten(hub_internal.one_line(t.content), 60) as asked
  from hub_internal.subtasks s
  join public.mac_tasks t on t.id = s.task_id
  join public.mac_tasks p on p.id = s.parent_id
 order by t.created_at desc
 limit 50;
