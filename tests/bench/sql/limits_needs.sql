-- Tasks that wait for others, which wait, too.
set session_replication_role = replica;
insert into public.mac_tasks (content, status) select 'What others need ' || i, 'blocked' from generate_series(1, 500) i;
insert into public.mac_tasks (content, status) select 'What needs others ' || i, 'blocked' from generate_series(1, 500) i;
insert into public.hub_task_needs (task, needs, on_failure)
select b.id, a.id, 'fail'
  from public.mac_tasks a join public.mac_tasks b on b.content = replace(a.content, 'What others need', 'What needs others')
 where a.content ~ '^What others need';
set session_replication_role = origin;
vacuum analyze public.mac_tasks, public.hub_task_needs;
