-- Who runs what, since when, and how long is the lease still good?
-- Good: lease_left above 0 for all but a moment. Below 0 for more than a minute: no keeper runs (`hub worker` with Postgres
-- or the service key); call `select hub_recover()`. Null: an executor of the older kind, never taken away.

select left(t.id::text, 8) as task, t.claimed_by as device, t.agent, t.attempt || '/' || t.max_attempts as attempt,
       date_trunc('second', now() - t.claimed_at)       as running_for,
       date_trunc('second', t.lease_expires_at - now()) as lease_left,
       t.cancel_requested_at is not null                as cancelling,
       hub_internal.shorten(hub_internal.one_line(coalesce(t.partial_output, '')), 60) as doing
  from public.mac_tasks t
 where t.status = 'running'
 order by t.lease_expires_at nulls last;
