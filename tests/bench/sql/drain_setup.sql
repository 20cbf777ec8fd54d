-- Eight devices that serve everything, one lane of tasks without a channel, and the peer: a bare table of the same columns with
-- its key and the same claim index.
insert into public.mesh_devices (name, platform, capacity, agents, serves_all)
select 'bench' || i, 'linux', 1000, '[{"agent": "claude", "models": ["any"]}]', true from generate_series(0, 7) i;
insert into hub_internal.lanes (key, model, ways, platform) values (0, 'any', '{any}', 'any');
create schema bare;
create table bare.tasks (like public.mac_tasks including defaults) with (fillfactor = 60);
alter table bare.tasks add primary key (id);
create index on bare.tasks (lane, queue_key) where status = 'pending' and run_after is null;
grant all on schema bare to postgres;
grant all on all tables in schema bare to postgres;
