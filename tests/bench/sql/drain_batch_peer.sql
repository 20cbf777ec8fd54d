with claimed as (
  update bare.tasks set status = 'running', attempt = attempt + 1, claimed_by = 'bench' || :client_id::text, lease_expires_at = now() + interval '60 seconds', claimed_at = now()
   where id in (select id from bare.tasks where lane = :lane and status = 'pending' and run_after is null order by queue_key for update skip locked limit 50)
  returning id, attempt
)
select coalesce(array_agg(id), '{}') as tasks, coalesce(array_agg(attempt), '{}') as attempts from claimed
\gset
update bare.tasks b set status = 'complete', result = 'done', finished_at = now(), lease_expires_at = null
  from unnest(:tasks::uuid[], :attempts::int[]) as t (task, attempt) where b.id = t.task and b.attempt = t.attempt;
