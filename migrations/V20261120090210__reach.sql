-- Why: whether a server may reach a folder, a repository, a chat or a URL with a secret (hub_places), and
-- which server and project a task belongs to. Folders themselves are …projects.
--
-- Who asks: hub_projects and hub_channels.project_path when they are written; a task when it is made (its
-- project) and when a device claims it (the same, on that device); hub_bridges when they are written, claimed
-- and heard; hub_webhook_rules when they are written and for each delivery.

create function hub_internal.check_place()
  returns trigger
  language plpgsql
  security definer                                -- service_role writes places, holds no grant on helpers
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_given text := new.target;
begin
  new.target := btrim(new.target);
  if new.target is distinct from '*' then
    case new.kind
      when 'project' then
        new.target := hub_internal.normal_path(new.target);
      when 'github' then
        new.target := regexp_replace(new.target, '^channel:', '');
        if (new.target ~ '^[A-Za-z0-9._-]{1,100}/([A-Za-z0-9._-]{1,100}|\*)$') is not true then
          new.target := null;
        end if;
      when 'webhook' then
        if not hub_internal.is_public_url(new.target) then
          new.target := null;
        end if;
      when 'ntfy' then
        if not hub_internal.is_ntfy_target(new.target) then
          new.target := null;
        end if;
      else
        if not hub_internal.is_chat_target(new.target) then
          new.target := null;
        end if;
    end case;
    if new.target is null then
      perform hub_internal.refuse('UH001', 'bad input',
        format('target %L', hub_internal.shorten(v_given, 200)),
        case new.kind
          when 'project' then 'A folder below the machines'' projects root, as team/app: no segment that '
                              'begins with a dot, never the root itself; or * for all.'
          when 'github'  then 'A repository owner/name, or owner/*; or * for all.'
          when 'webhook' then 'An https URL of a public name; or * for all.'
          when 'ntfy'    then 'https://<host>/<topic>, of a public name; or * for all.'
          else 'channel:<id> or user:<id>, never a bare id; or * for all.'
        end);
    end if;
  end if;
  return new;
end;
$$;
create trigger hub_places_check
  before insert or update on public.hub_places
  for each row when (new.kind in ('project', 'github', 'telegram', 'discord', 'webhook', 'ntfy'))
  execute function hub_internal.check_place();

create function hub_internal.default_secret(p_provider text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case p_provider
           when 'discord'  then 'DISCORD_BOT_TOKEN'
           when 'telegram' then 'TELEGRAM_BOT_TOKEN'
           when 'github'   then 'HUB_GITHUB_TOKEN'
           when 'ntfy'     then 'HUB_BRIDGE_NTFY'
         end;
end;
$$;

-- Whether a server may reach this with that secret.
create function hub_internal.may_reach(p_server_id uuid, p_provider text, p_target text, p_secret_name text)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (
    select from public.hub_places p
     where p.server_id = p_server_id
       and p.kind = p_provider
       and (p.target in ('*', p_target)
            or p_provider = 'github' and hub_internal.holds_repository(p.target, p_target))
       and (p.secret_name = p_secret_name
            or p.secret_name is null
               and case p_provider
                     when 'webhook' then
                       not exists (select from public.hub_places o
                                    where o.secret_name = p_secret_name and o.server_id <> p_server_id)
                     else
                       p_secret_name in (hub_internal.default_secret(p_provider),
                                         case when p_provider = 'github' then 'GITHUB_WEBHOOK_SECRET' end)
                   end));
end;
$$;
comment on function hub_internal.may_reach(uuid, text, text, text) is
  'Whether hub_places let a server reach a target of a provider (for github a repository owner/name) with a '
  'secret, named as the environment variable.';

-- What a trusted caller ties may be reached from then on.
create function hub_internal.give_place(
    p_kind text, p_server_id uuid, p_target text, p_secret_name text default null)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  insert into public.hub_places (kind, server_id, target, secret_name)
  values (p_kind, p_server_id, p_target, p_secret_name)
  on conflict on constraint hub_places_key do nothing;
end;
$$;

-- The project of a task -------------------------------------------------------------------------------------

-- Whether a task of that server and channel may name a folder.
create function hub_internal.may_use_project(p_server_id uuid, p_channel_id uuid, p_path text)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (exists (select from public.hub_channels c where c.id = p_channel_id and c.project_path = p_path)
          or exists (select from public.hub_projects p where p.server_id = p_server_id and p.path = p_path))
     and hub_internal.has_folder(p_server_id, p_path);
end;
$$;

-- The folder a task works in: what it names (a project of its server by name or path, or its channel's own),
-- else its channel's, else its server's first. Work always has one.
create function hub_internal.task_project(p_server_id uuid, p_channel_id uuid, p_project text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_path text;
begin
  if p_project is not null then
    v_path := coalesce((select p.path
                          from public.hub_projects p
                         where p.server_id = p_server_id and p.name = p_project),
                       hub_internal.normal_path(p_project));
    if v_path is null
       or not (hub_internal.may_use_project(p_server_id, p_channel_id, v_path)
               or hub_internal.is_trusted() and hub_internal.has_folder(p_server_id, v_path)) then
      perform hub_internal.refuse('42501', 'permission denied',
        format('project %L', hub_internal.shorten(p_project, 200)),
        'It must be the channel''s own or one of its server''s hub_projects, and the server must have '
        'a place for it (hub_places).');
    end if;
    return v_path;
  end if;

  v_path := (select c.project_path from public.hub_channels c where c.id = p_channel_id);
  if v_path is null then
    select p.path
      into v_path
      from public.hub_projects p
     where p.server_id = p_server_id
     order by p.created_at, p.name limit 1;
  end if;
  if v_path is null then
    select c.project_path
      into v_path
      from public.hub_channels c
     where c.server_id = p_server_id and c.project_path is not null
     order by c.created_at, c.name limit 1;
  end if;
  if v_path is null then
    perform hub_internal.refuse('UH003', 'conflict', 'the server has no project to work in',
      'Set the channel''s project_path, or add one to hub_projects.');
  elsif not hub_internal.has_folder(p_server_id, v_path) then
    perform hub_internal.refuse('42501', 'permission denied',
      format('this server has no place project %s', v_path),
      format('Whoever runs the deployment gives it: '
             'insert into public.hub_places (kind, server_id, target) values (''project'', %L, %L).',
             p_server_id, v_path));
  end if;
  return v_path;
end;
$$;

-- A task without a channel belongs to one server from the moment it is made: the one it names, that of its
-- project, else the only one its maker operates. Where that leaves a choice (of servers, where no project is
-- named; of folders, where several servers call one so) a person is asked to make it; a trusted caller gets
-- the first, or none.
create function hub_internal.bind_task(
    p_server_id uuid, p_project text, p_maker uuid, p_trusted boolean,
    out server_id uuid, out project text)
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
declare
  v_path    text := hub_internal.normal_path(p_project);
  v_servers uuid[];
begin
  -- Servers that take tasks, and where its maker may make them. A trusted caller need not say for whom.
  select array_agg(s.id order by s.is_default desc, s.created_at, s.name)
    into v_servers
    from public.hub_servers s
   where s.architecture_type <> 'command_dispatch'
     and (p_server_id is null or s.id = p_server_id)
     and (p_trusted and p_maker is null
          or exists (select from public.hub_members m
                      where m.server_id = s.id
                        and m.user_id = p_maker
                        and m.role in ('operator', 'owner')))
     and (p_project is null
          or exists (select from public.hub_projects p
                      where p.server_id = s.id and (p.name = p_project or p.path = v_path))
          or exists (select from public.hub_channels c where c.server_id = s.id and c.project_path = v_path));

  if p_trusted then
    if v_servers is null or p_project is null and p_maker is null and p_server_id is null then
      -- Bound to none: only machines that serve all take it.
      server_id := p_server_id;
      project := case when p_project is not null then hub_internal.require_path(p_project, 'project') end;
      if v_servers is null or project is not null then
        return;
      end if;
      -- Nobody said whose: the first server that has a project.
      select s.id
        into server_id
        from unnest(v_servers) with ordinality s (id, n)
       where exists (select from public.hub_projects p where p.server_id = s.id)
          or exists (select from public.hub_channels c
                      where c.server_id = s.id and c.project_path is not null)
       order by s.n limit 1;
      if server_id is null then
        return;
      end if;
    else
      server_id := v_servers[1];
    end if;
  elsif v_servers is null then
    if p_server_id is not null then
      perform hub_internal.refuse('UH004', 'not found', format('server %s', p_server_id),
        'Name a server that takes tasks and where you are an operator, and a project of it.');
    elsif p_project is not null then
      perform hub_internal.refuse('42501', 'permission denied',
        format('project %L', hub_internal.shorten(p_project, 200)),
        'It must be a project of a server where you are an operator.');
    end if;
    perform hub_internal.refuse('42501', 'permission denied', 'making a task',
      'An operator or owner of a server that takes tasks makes them.');
  elsif cardinality(v_servers) > 1
        and (p_project is null
             or (select count(distinct coalesce((select p.path
                                                   from public.hub_projects p
                                                  where p.server_id = s.id and p.name = p_project),
                                                v_path))
                   from unnest(v_servers) s (id)) > 1) then
    perform hub_internal.refuse('UH001', 'bad input',
      case when p_project is null then 'project and server_id are not given'
           else format('project %L is another folder in each of several servers', p_project) end,
      'Name the server in server_id, or a project that one of them alone has: '
      || (select string_agg(
                   format('%s (server_id %s%s)', s.name, s.id,
                          coalesce(', projects ' || (select string_agg(p.name, ', ' order by p.name)
                                                       from (select p.name
                                                               from public.hub_projects p
                                                              where p.server_id = s.id
                                                              order by p.name limit 10) p),
                                   '')),
                   '; ' order by s.name)
            from public.hub_servers s
           where s.id = any (v_servers)));
  else
    -- Of several that share the folder it names, the first: the work is the same.
    server_id := v_servers[1];
  end if;

  project := hub_internal.task_project(
    server_id,
    (select c.id
       from public.hub_channels c
      where c.server_id = bind_task.server_id and c.project_path = v_path
      order by c.name limit 1),
    p_project);
end;
$$;
