-- Why: a project is a folder that a server names, and says how work in it is set up, proved and handed out. A
-- channel's own folder is one of which nobody says more than that.

create function hub_internal.has_folder(p_server_id uuid, p_path text, p_device text default null)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (
    select from public.hub_places p
     where p.server_id = p_server_id
       and p.kind = 'project'
       and (p.device is null or p_device is null or p.device = p_device)
       and (p.target in ('*', p_path) or starts_with(p_path, p.target || '/')));
end;
$$;
comment on function hub_internal.has_folder(uuid, text, text) is
  'Whether hub_places give a server that folder: on some device, or on the one named.';

-- The project that a folder of a server is: where several are the same folder, one that has a verify, else the
-- first.
create function hub_internal.project_of(p_server_id uuid, p_path text)
  returns public.hub_projects
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_project public.hub_projects;
begin
  select p.* into v_project
    from public.hub_projects p
   where p.server_id = p_server_id
     and p.path = p_path
   order by p.verify is null, p.created_at, p.name
   limit 1;
  return v_project;
end;
$$;

-- Whether pull requests of a project may be opened where it says, with the secret that it names.
create function hub_internal.project_reaches(p_project public.hub_projects)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return hub_internal.may_reach(p_project.server_id, 'github', p_project.repository,
                                coalesce(p_project.secret_name, hub_internal.default_secret('github')));
end;
$$;

create function hub_internal.check_project()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  -- Before anything is looked up: this runs before the policy does, and must tell a stranger nothing.
  if not hub_internal.may_own(new.server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'projects of this server',
      'An owner of the server writes them.');
  end if;
  new.path := hub_internal.require_path(new.path, 'path');
  if not hub_internal.is_trusted() and not hub_internal.has_folder(new.server_id, new.path) then
    perform hub_internal.refuse('42501', 'permission denied',
      format('this server has no place project %s', new.path),
      format('Whoever runs the deployment gives it: '
             'insert into public.hub_places (kind, server_id, target) values (''project'', %L, %L).',
             new.server_id, new.path));
  end if;
  if not hub_internal.is_base_branch(new.base_branch) then
    perform hub_internal.refuse('23514', 'bad input',
      format('base_branch %L', hub_internal.shorten(new.base_branch, 200)),
      'The name of a branch as `git branch` writes it, like main or release/2: at most 200 letters, digits '
      'and . _ / + -, not hub or below hub/, where the hub puts its own branches; without refs/heads/ '
      'or the remote. Null: what the folder has checked out.');
  end if;
  if new.repository is not null
     and not hub_internal.is_trusted()
     and not hub_internal.project_reaches(new) then
    perform hub_internal.refuse('42501', 'permission denied',
      format('this server has no place github %s with %s', new.repository,
             coalesce(new.secret_name, hub_internal.default_secret('github'))),
      format('Whoever runs the deployment gives it: '
             'insert into public.hub_places (kind, server_id, target, secret_name) '
             'values (''github'', %L, %L, %L).',
             new.server_id, new.repository, new.secret_name));
  end if;
  return new;
end;
$$;
create trigger hub_projects_check
  before insert or update of server_id, path, base_branch, repository, secret_name on public.hub_projects
  for each row execute function hub_internal.check_project();

create function hub_internal.check_channel_project()
  returns trigger
  language plpgsql
  security definer                                -- service_role writes channels, holds no grant on helpers
  set search_path = ''
as $$
begin
  new.project_path := hub_internal.require_path(new.project_path, 'project_path');
  return new;
end;
$$;
create trigger hub_channels_check_project
  before insert or update of server_id, project_path on public.hub_channels
  for each row when (new.project_path is not null)
  execute function hub_internal.check_channel_project();

-- After, and not with the check: a row that ON CONFLICT skips gives nothing.
create function hub_internal.give_project_place()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  if hub_internal.is_trusted() then
    perform hub_internal.give_place('project', new.server_id, new.path);
    if new.repository is not null then
      perform hub_internal.give_place('github', new.server_id, new.repository, new.secret_name);
    end if;
  end if;
  return null;
end;
$$;
create trigger hub_projects_give_place
  after insert or update of server_id, path, repository, secret_name on public.hub_projects
  for each row execute function hub_internal.give_project_place();

create function hub_internal.give_channel_place()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  -- Channels are written by trusted callers alone.
  perform hub_internal.give_place('project', new.server_id, new.project_path);
  return null;
end;
$$;
create trigger hub_channels_give_place
  after insert or update of server_id, project_path on public.hub_channels
  for each row when (new.project_path is not null)
  execute function hub_internal.give_channel_place();

create trigger hub_projects_fresh_id
  before insert on public.hub_projects
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();
create trigger hub_projects_bound
  before insert on public.hub_projects
  for each row execute function hub_internal.bound_rows('server_projects');
