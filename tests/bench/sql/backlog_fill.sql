-- {pending} pending tasks in the lanes that are served, {finished} finished ones beside them. Millions of rows: the indexes come after.
create temp table indexes as
  select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as def
    from pg_index i where i.indrelid = 'public.mac_tasks'::regclass and not i.indisprimary;
do $$ declare d record; begin for d in select * from indexes loop execute 'drop index ' || d.name; end loop; end $$;
set session_replication_role = replica;
insert into public.mac_tasks (content, status, attempt, channel_id, claimed_by, agent, created_at, claimed_at, finished_at, result, told, lane, queue_key)
select 'Task ' || i, 'complete', 1, '00000000-0000-4000-8000-000000000001', 'bench0', 'claude', t.at, t.at, t.at, 'done', 'complete:1', 1 + i % 8, t.at
  from generate_series(1, {finished}) i, lateral (select now() - interval '10 days' - i * interval '10 ms' as at) t;
insert into public.mac_tasks (content, channel_id, platform, model_preference, lane, created_at, queue_key)
select 'Task ' || i, '00000000-0000-4000-8000-000000000001', l.platform, l.model, l.id, t.at, t.at
  from generate_series(1, {pending}) i, lateral (select now() - interval '5 days' + i * interval '10 ms' as at) t,
       lateral (select * from hub_internal.lanes x where x.platform in ('linux', 'any') and x.server_id = '00000000-0000-4000-9000-000000000001' order by x.id offset i % 8 limit 1) l;
set session_replication_role = origin;
do $$ declare d record; begin for d in select * from indexes loop execute d.def; end loop; end $$;
vacuum analyze;
checkpoint;
