-- What may each server name outside itself, what stands on it, and what stands on nothing any more?
-- Good: no row in the second and third list. A project without a place runs nowhere, a rule without one hears nothing: insert the place, or remove the row.

\echo places
select s.name as server, p.kind, p.target, coalesce(p.device, 'all') as device, coalesce(p.secret_name, 'the default') as secret_name, p.created_at::date as since
  from public.hub_places p join public.hub_servers s on s.id = p.server_id
 order by s.name, p.kind, p.target;

\echo projects and channels whose folder their server has no place for
select s.name as server, x.what, x.name, x.path
  from (select p.server_id, 'project' as what, p.name, p.path from public.hub_projects p
        union all
        select c.server_id, 'channel', c.name, c.project_path from public.hub_channels c where c.project_path is not null) x
  join public.hub_servers s on s.id = x.server_id
 where not hub_internal.has_folder(x.server_id, x.path)
 order by s.name, x.what, x.name;

\echo webhook rules whose server has no place for any repository
select s.name as server, r.id, r.provider, r.event, r.repository
  from public.hub_webhook_rules r join public.hub_servers s on s.id = r.server_id
 where not exists (select from public.hub_places p where p.server_id = r.server_id and p.kind = r.provider)
 order by s.name;

\echo open invitations
select i.server_name as server, i.user_id, i.role, i.invited_by, date_trunc('second', now() - i.created_at) as age
  from public.hub_invitations i order by i.created_at;
