select id as task, attempt from hub_claim_tasks('bench' || :client_id::text, 1)
\gset
select * from hub_complete_task(:task, :attempt, 'done');
