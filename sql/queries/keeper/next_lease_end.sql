-- In how many seconds the next lease of a running task ends. Finite, whatever a row says.
select (select extract(epoch from greatest(t.lease_expires_at, now() - interval '1 day') - now())::float8
          from public.mac_tasks t
         where t.status = 'running' and t.lease_expires_at < 'infinity'
         order by t.lease_expires_at
         limit 1) as "seconds"
