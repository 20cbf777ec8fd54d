-- Eight servers with a channel and a device each, so that a client works on what it sent itself; and the bare tables of the peer:
-- the same columns, defaults, indexes and room on the page, without triggers, foreign keys and checks.
insert into public.hub_servers (name, display_name, architecture_type)
select 'life' || i, 'Life', 'threaded_task_isolation' from generate_series(0, 7) i;
insert into public.hub_channels (id, server_id, name, display_name, project_path)
select ('00000000-0000-4000-8000-00000000000' || right(s.name, 1))::uuid, s.id, 'life', '#life', 'Desktop/homelab'
  from public.hub_servers s where s.name ~ '^life[0-9]$';
insert into public.mesh_devices (name, platform, capacity, agents)
select 'bench' || i, 'linux', 1000, '[{"agent": "claude", "models": ["any"]}]' from generate_series(0, 7) i;
insert into public.mesh_device_servers (device, server_id)
select 'bench' || right(s.name, 1), s.id from public.hub_servers s where s.name ~ '^life[0-9]$';

create schema bare;
create table bare.channels (like public.hub_channels         including defaults including indexes) with (fillfactor = 70);
create table bare.threads  (like public.hub_task_threads     including defaults including indexes) with (fillfactor = 70);
create table bare.messages (like public.hub_channel_messages including defaults including indexes);
create table bare.tasks    (like public.mac_tasks            including defaults including indexes) with (fillfactor = 60);
create table bare.attempts (like public.hub_task_attempts    including defaults including indexes) with (fillfactor = 80);
insert into bare.channels select * from public.hub_channels;
grant all on schema bare to postgres;
grant all on all tables in schema bare to postgres;
