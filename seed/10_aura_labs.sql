-- A fourth server that only its members see: what `access = 'members'` looks like. Idempotent.

insert into public.hub_servers (name, display_name, description, icon, architecture_type, access)
values ('aura-labs', 'Aura Labs', 'Experiments of the Aura team. Members only.', 'flask.fill', 'threaded_task_isolation', 'members')
on conflict (name) do nothing;

insert into public.hub_channels (server_id, name, display_name, category_group, description, project_path, model_preference)
select s.id, c.name, '#' || c.name, 'Labs', c.description, 'Desktop/homelab', c.model_preference
  from (values ('prototypes', 'Try an idea on a real project', 'any'),
               ('evals',      'Compare agents on the same task', 'any')) as c (name, description, model_preference)
  join public.hub_servers s on s.name = 'aura-labs'
on conflict (server_id, name) do nothing;

insert into public.hub_projects (server_id, name, path)
select s.id, 'homelab', 'Desktop/homelab' from public.hub_servers s where s.name in ('buf-barista', 'cloud-hub', 'aura-labs')
on conflict (server_id, name) do nothing;
