-- The oldest ten thousand are for a platform that the claiming device is not.
set session_replication_role = replica;
insert into public.mac_tasks (content, channel_id, platform, lane, created_at, queue_key)
select 'Task ' || i, '00000000-0000-4000-8000-000000000001', 'macos', l.id, t.at, t.at
  from hub_internal.lanes l, generate_series(1, 10000) i, lateral (select now() - interval '9 days' + i * interval '10 ms' as at) t
 where l.platform = 'macos' and l.server_id = '00000000-0000-4000-9000-000000000001';
set session_replication_role = origin;
vacuum analyze public.mac_tasks;
