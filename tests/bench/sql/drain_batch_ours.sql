-- May get fewer than it asks for, or none, while neighbours hold the head of the queue.
select coalesce(array_agg(id), '{}') as tasks, coalesce(array_agg(attempt), '{}') as attempts from hub_claim_tasks('bench' || :client_id::text, 50)
\gset
select count(hub_complete_task(task, attempt, 'done')) from unnest(:tasks::uuid[], :attempts::int[]) as t (task, attempt);
