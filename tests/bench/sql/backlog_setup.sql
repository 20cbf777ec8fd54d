-- Eight lanes of one server (four models, two platforms that a Linux device serves) and one that it does not serve.
insert into public.hub_servers (id, name, display_name, architecture_type) values ('00000000-0000-4000-9000-000000000001', 'backlog', 'Backlog', 'flat_task_pipeline');
insert into public.hub_channels (id, server_id, name, display_name, project_path)
values ('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-9000-000000000001', 'backlog', '#backlog', 'backlog');
insert into public.mesh_devices (name, platform, capacity, agents)
select 'bench' || i, 'linux', 1000, '[{"agent": "claude", "models": ["any"]}]' from generate_series(0, 7) i;
insert into public.mesh_device_servers (device, server_id) select d.name, '00000000-0000-4000-9000-000000000001' from public.mesh_devices d where d.name ~ '^bench';
insert into hub_internal.lanes (key, server_id, project, model, ways, platform)
select 0, '00000000-0000-4000-9000-000000000001', 'backlog', m, case m when 'any' then '{any}' else hub_internal.ways_of(null, m) end, p from unnest(array['linux', 'any']) p, unnest(array['claude', 'gemini', 'codex', 'any']) m;
insert into hub_internal.lanes (key, server_id, project, model, ways, platform) values (0, '00000000-0000-4000-9000-000000000001', 'backlog', 'any', '{any}', 'macos');
