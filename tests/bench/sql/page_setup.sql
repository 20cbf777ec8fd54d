-- 200 servers for members only, ten channels each, {n} messages a channel; one person is a member of five of them.
insert into public.hub_servers (id, name, display_name, architecture_type, access)
select ('00000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid, 's' || i, 'S' || i, 'flat_task_pipeline', 'members' from generate_series(1, 200) i;
insert into public.hub_channels (id, server_id, name, display_name)
select ('00000000-0000-4000-8000-' || lpad((10 * (i - 1) + j)::text, 12, '0'))::uuid, ('00000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid, 'c' || j, '#c' || j
  from generate_series(1, 200) i, generate_series(1, 10) j;
insert into public.hub_members (server_id, user_id, role)
select ('00000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid, '22222222-2222-4222-8222-222222222222', 'viewer' from generate_series(1, 5) i;
set session_replication_role = replica;
-- In the order of time, as it would have come: the channels' messages lie between each other.
insert into public.hub_channel_messages (channel_id, sender_type, sender_id, sender_label, content, seq, created_at)
select ('00000000-0000-4000-8000-' || lpad(c::text, 12, '0'))::uuid, 'human', '22222222-2222-4222-8222-222222222222', 'Mo',
       'Message ' || n || ' of a conversation about what to do next', n, now() - ({n} - n) * interval '1 second'
  from generate_series(1, {n}) n, generate_series(1, 2000) c;
set session_replication_role = origin;
vacuum analyze;
checkpoint;
