-- Which attempts look stuck: no sign of progress for ten minutes, a lease that is over, a cancel that nobody obeys, or many attempts?
-- Good: no rows. A lease that is over for more than a minute: no keeper runs; call `select hub_recover()`. A cancel that is not obeyed:
-- look at that machine. Many attempts: read `error`, and hub_task_attempts for how each went.

select left(t.id::text, 8) as task, coalesce('#' || c.name, '-') as channel, t.status, t.claimed_by as device, t.attempt || '/' || t.max_attempts as attempt,
       date_trunc('second', now() - t.updated_at) as no_news_for,
       case when t.lease_expires_at < now()                                   then 'lease over'
            when t.cancel_requested_at < now() - interval '1 minute'          then 'cancel not obeyed'
            when t.status = 'running' and t.lease_expires_at is null          then 'old executor, silent'
            when t.status = 'running'                                         then 'silent'
            when t.status = 'pending' and t.lane is null                      then 'in no lane'
            when t.status = 'blocked'                                         then 'all it needs has ended'
            else 'tried often' end as why,
       hub_internal.shorten(hub_internal.one_line(coalesce(t.error, t.partial_output, '')), 60) as last_word
  from public.mac_tasks t
  left join public.hub_channels c on c.id = t.channel_id
 where (t.status = 'running' and (t.lease_expires_at < now() or t.updated_at < now() - interval '10 minutes' or t.cancel_requested_at < now() - interval '1 minute'))
    or (t.status = 'pending' and t.lane is null)
    or (t.status = 'pending' and t.run_after is not null and t.attempt >= greatest(2, t.max_attempts - 1))
    or (t.status = 'blocked' and (hub_internal.needs_verdict(t)).verdict is not null)
 order by t.updated_at
 limit 100;
