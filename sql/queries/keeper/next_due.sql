-- In how many seconds the next lease of a running task ends, or the next limit of an account. Finite, whatever a row says.
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
           limit 1)),
       now() - interval '1 day') - now())::float8 as "seconds"
