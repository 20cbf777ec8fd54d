-- Claims and completes while an old snapshot is held open; what is taken is replaced, so that the backlog stays as it is.
select id as task, attempt from hub_claim_tasks('bench' || :client_id::text, 1)
\gset
select * from hub_complete_task(:task, :attempt, 'done');
insert into mac_tasks (content, channel_id) values ('Task', '00000000-0000-4000-8000-000000000001');
