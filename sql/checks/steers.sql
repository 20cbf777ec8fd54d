-- What was said to a task that has ended is settled: taken, followed up, or not taken.
select s.id, s.task_id, t.status
  from hub_internal.steers s
  join public.mac_tasks t on t.id = s.task_id
 where (s.outcome is null or s.outcome = 'next_turn') and t.status in ('complete', 'failed', 'cancelled');
