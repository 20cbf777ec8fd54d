update bare.tasks set status = 'running', attempt = attempt + 1, claimed_by = 'bench' || :client_id::text, lease_expires_at = now() + interval '60 seconds', claimed_at = now()
 where id = (select id from bare.tasks where lane = :lane and status = 'pending' and run_after is null order by queue_key for update skip locked limit 1)
returning id as task, attempt
\gset
update bare.tasks set status = 'complete', result = 'done', finished_at = now(), lease_expires_at = null where id = :task and attempt = :attempt returning *;
