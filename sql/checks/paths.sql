-- A folder is written in one way, and never leads elsewhere.
select 'hub_projects' as relation, p.id, p.path from public.hub_projects p where hub_internal.normal_path(p.path) is distinct from p.path
union all
select 'hub_channels', c.id, c.project_path from public.hub_channels c where c.project_path is not null and hub_internal.normal_path(c.project_path) is distinct from c.project_path
union all
select 'hub_places', p.id, p.target from public.hub_places p where p.kind = 'project' and p.target <> '*' and hub_internal.normal_path(p.target) is distinct from p.target;
