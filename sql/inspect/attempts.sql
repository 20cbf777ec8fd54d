-- How did the attempts of the last day end, by reason, and where? What did the last bad one say?
-- Good: mostly complete. signal, out_of_memory: the machine is too small, or somebody kills agents. timeout, no_output, silent, lingered:
-- the agent hangs; `hub task show` of `last_task` has its last lines. no_project, not_started: that machine is not set up for it.
-- worker_gone, host_gone, lease_lost: the machine or its worker dies; its own log says why. auth, limit: `limits.sql`. denied, bad_config:
-- the agent's configuration there permits too little, or is wrong. overloaded: the service behind it; it is tried again by itself.

select a.device, a.agent, a.outcome, a.reason, count(*) as attempts,
       max(date_trunc('second', a.finished_at - a.started_at)) as longest,
       pg_size_pretty(max(a.peak_memory_bytes)) as most_memory,
       pg_size_pretty(max(a.output_bytes)) as most_output,
       left((array_agg(a.task_id order by a.finished_at desc))[1]::text, 8) as last_task,
       hub_internal.shorten(hub_internal.one_line((array_agg(coalesce(a.error, '') order by a.finished_at desc))[1]), 60) as last_word
  from public.hub_task_attempts a
 where a.finished_at > now() - interval '1 day'
 group by a.device, a.agent, a.outcome, a.reason
 order by a.outcome = 'complete', attempts desc
 limit 100;
