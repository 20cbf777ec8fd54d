-- Threads by state, and what is due.
-- Good: overdue is 0, or falls within a minute. If it grows, no keeper runs; call `select hub_decay_threads()`.

select t.status, count(*) as threads,
       count(*) filter (where open.yes)                                   as with_open_tasks,
       count(*) filter (where not open.yes and due.at < now() - interval '2 minutes') as overdue,
       date_trunc('second', now() - min(t.last_activity_at))              as longest_quiet
  from public.hub_task_threads t
 cross join lateral (select exists (select from public.mac_tasks k where k.thread_id = t.id
                                      and k.status in ('pending', 'running', 'waiting', 'blocked')) as yes) open
 cross join lateral (select hub_internal.decay_time(t.status, t.last_activity_at, t.state_entered_at, t.channel_id) as at) due
 group by t.status
 order by t.status;
