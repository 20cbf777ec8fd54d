-- In how many seconds the next lease of a running task ends, or the next limit of an account, or the period in which a budget is met; now
-- where a lane is to be weighed, or a task needs only what has ended, or failed. Finite, whatever a row says.
select extract(epoch from greatest(least(
         (select t.lease_expires_at
            from public.mac_tasks t
           where t.status = 'running' and t.lease_expires_at < 'infinity'
           order by t.lease_expires_at
           limit 1),
         (select q.limited_until
            from public.mesh_quota_pools q
           where q.lifted_at is null and q.limited_until < 'infinity'
           order by q.limited_until
           limit 1),
         case when hub_internal.lanes_to_weigh() then now() end,
         hub_internal.next_period(),
         (select now()
            from public.mac_tasks b
            join public.hub_task_needs n on n.task = b.id
            join public.mac_tasks o on o.id = n.needs
           where b.status = 'blocked'
           group by b.id
          having bool_and(o.status in ('complete', 'failed', 'cancelled'))
              or bool_or(n.on_failure = 'fail' and o.status in ('failed', 'cancelled'))
           limit 1)),
       now() - interval '1 day') - now())::float8 as "seconds"
