-- Says why a row was not delivered, when to try again ($4, seconds), whether it is for good, and what of it arrived. When it is tried again.
select case when o.status = 'pending' then o.run_after end as again from public.hub_fail_outbox($1, $2, $3, make_interval(secs => $4), $5, $6) o
