-- A task's whole life as a person and a device lead it: six calls.
select hub_send(('00000000-0000-4000-8000-00000000000' || :client_id::text)::uuid, 'Do a thing please');
select id as task, attempt from hub_claim_tasks('bench' || :client_id::text, 1)
\gset
select hub_report_progress(:task, :attempt, 'Reading what is there');
select hub_report_progress(:task, :attempt, 'Changing what is wrong');
select hub_report_progress(:task, :attempt, 'Testing what was changed');
select * from hub_complete_task(:task, :attempt, 'Done: it works now.');
