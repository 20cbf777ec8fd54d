-- {n} threads of one finished task each, in 50 channels: 100 are due for the first step, half of the others are archived, the
-- rest are active or idle with their step before them.
insert into public.hub_servers (id, name, display_name, architecture_type) values ('00000000-0000-4000-9000-000000000001', 'decay', 'Decay', 'threaded_task_isolation');
insert into public.hub_channels (id, server_id, name, display_name)
select ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, '00000000-0000-4000-9000-000000000001', 'c' || i, '#c' || i from generate_series(0, 49) i;
set session_replication_role = replica;
insert into public.hub_task_threads (id, channel_id, task_id, name, status, message_count, created_at, last_activity_at, state_entered_at, decay_at, archived_at)
select gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad((i % 50)::text, 12, '0'))::uuid, gen_random_uuid(), 'Thread ' || i, k.status, 8,
       k.at, k.at, k.at,
       case k.status when 'active' then k.at + interval '2 hours' when 'idle' then k.at + interval '1 hour' end,
       case when k.status = 'archived' then k.at end
  from generate_series(1, {n}) i,
       lateral (select case when i <= 100 then 'active' when i % 2 = 0 then 'archived' when i % 4 = 1 then 'active' else 'idle' end as status,
                       case when i <= 100 then now() - interval '2 hours 1 minute' - i * interval '1 ms'
                            when i % 2 = 0 then now() - interval '1 day' - i * interval '1 second'
                            else now() + (i::float8 / {n}) * interval '50 minutes' end as at) k;
insert into public.mac_tasks (id, content, status, attempt, channel_id, thread_id, finished_at, told)
select t.task_id, 'Task', 'complete', 1, t.channel_id, t.id, t.last_activity_at, 'complete:1' from public.hub_task_threads t;
set session_replication_role = origin;
vacuum analyze;
checkpoint;
