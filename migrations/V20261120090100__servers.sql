-- Why: servers, their channels, who belongs to them and which projects they work on: everything a right is decided by.

create table public.hub_servers (
  id                uuid primary key default gen_random_uuid(),
  name              text not null unique,
  display_name      text not null,
  description       text,
  icon              text not null default 'server.rack',
  architecture_type text not null,
  is_default        boolean not null default false,
  channel_count     integer not null default 0,
  access            text not null default 'authenticated',
  metadata          jsonb,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  constraint hub_servers_architecture_type_check
    check (architecture_type in ('command_dispatch', 'flat_task_pipeline', 'threaded_task_isolation')),
  constraint hub_servers_access_check check (access in ('authenticated', 'members')),
  constraint hub_servers_name_check check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  constraint hub_servers_metadata_check
    check (jsonb_typeof(metadata) = 'object' and not jsonb_path_exists(metadata, 'strict $.* ? (@.type() != "string")'))
);
comment on table public.hub_servers is 'A server of the Servers tab. What a message in it means follows from architecture_type.';
create index hub_servers_open_idx on public.hub_servers (id) where access = 'authenticated';   -- asked by every policy
comment on column public.hub_servers.access is 'authenticated: whoever is signed in may read and post; members: only members see that it exists.';
comment on column public.hub_servers.metadata is 'A flat map of strings: Aura decodes it as such.';

-- No foreign key to auth.users: a person may come from a third-party sign-in, whose ids are not in that table.
create table public.hub_members (
  server_id  uuid not null references public.hub_servers (id) on delete cascade,
  user_id    uuid not null,
  role       text not null,
  accepts_hooks boolean not null default false,
  created_at timestamptz not null default now(),
  primary key (user_id, server_id),               -- "which servers are mine" is asked by every policy
  constraint hub_members_role_check check (role in ('owner', 'operator', 'viewer'))
);
comment on table public.hub_members is
  'Who belongs to a server, as what. Entered by accepting an invitation, left by hub_leave, changed by hub_set_member.';
comment on column public.hub_members.accepts_hooks is
  'Whether hooks that reach this server''s members may write to this one. The member''s own to say, with UPDATE.';
create index hub_members_server_idx on public.hub_members (server_id);

-- Membership is given by two: an owner, and the one who accepts. Whoever were made an operator without being asked would find their tasks
-- on a stranger's machine.
create table public.hub_invitations (
  server_id   uuid not null references public.hub_servers (id) on delete cascade,
  user_id     uuid not null,
  role        text not null,
  server_name text not null,
  invited_by  uuid,
  created_at  timestamptz not null default now(),
  primary key (user_id, server_id),
  constraint hub_invitations_role_check check (role in ('owner', 'operator', 'viewer'))
);
comment on table public.hub_invitations is 'Who may become a member of a server, as what. The invited and the server''s owners see it.';
comment on column public.hub_invitations.server_name is 'As the server was called then: the invited may not read its row before they accept.';
create index hub_invitations_server_idx on public.hub_invitations (server_id);

create table public.hub_channels (
  id               uuid primary key default gen_random_uuid(),
  server_id        uuid not null references public.hub_servers (id) on delete cascade,
  name             text not null,
  display_name     text not null,
  description      text,
  category_group   text,
  project_path     text,
  model_preference text not null default 'any',
  is_read_only     boolean not null default false,
  message_count    integer not null default 0,
  last_message_at  timestamptz,
  metadata         jsonb,
  thread_idle_after  interval,
  thread_decay_after interval,
  feed             text,
  created_at       timestamptz not null default now(),
  unique (server_id, name),
  constraint hub_channels_name_check check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  constraint hub_channels_model_preference_check check (model_preference in ('claude', 'gemini', 'codex', 'any')),
  constraint hub_channels_feed_check check (feed in ('heartbeat', 'morning-brief', 'memory-log', 'digest')),
  constraint hub_channels_thread_idle_after_check check (thread_idle_after > interval '0'),
  constraint hub_channels_thread_decay_after_check check (thread_decay_after > interval '0'),
  constraint hub_channels_metadata_check
    check (jsonb_typeof(metadata) = 'object' and not jsonb_path_exists(metadata, 'strict $.* ? (@.type() != "string")'))
) with (fillfactor = 70);                         -- message_count changes with every flat message: leave room for it on the page
comment on table public.hub_channels is 'A channel of a server. message_count and last_message_at are of its flat conversation.';
comment on column public.hub_channels.message_count is 'Also the seq of its newest flat message: numbers are taken under this row''s lock.';
comment on column public.hub_channels.feed is 'What the hub itself posts here: see hub_post_feeds.';
comment on column public.hub_channels.project_path is 'Where its tasks run, below the root that each machine has for projects.';
comment on column public.hub_channels.thread_idle_after is 'Its own time instead of the setting thread_idle_after.';
comment on column public.hub_channels.thread_decay_after is 'Its own time instead of the setting thread_decay_after.';

create table public.hub_projects (
  id         uuid primary key default gen_random_uuid(),
  server_id  uuid not null references public.hub_servers (id) on delete cascade,
  name       text not null,
  path       text not null,
  created_at timestamptz not null default now(),
  unique (server_id, name),
  constraint hub_projects_name_check check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$')
);
comment on table public.hub_projects is 'Projects a server''s tasks may run in, beside its channels'' own. A task may name one by name or by path.';

-- channel_count is counted, never typed in.
create function hub_internal.count_channels()
  returns trigger
  language plpgsql
  security definer                                -- who makes a channel need not have a grant on hub_servers
  set search_path = ''
as $$
begin
  update public.hub_servers s
     set channel_count = s.channel_count + d.n
    from (select coalesce(x.server_id) as server_id, sum(x.n) as n
            from (select new.server_id, 1 as n where tg_op in ('INSERT', 'UPDATE')
                  union all
                  select old.server_id, -1 where tg_op in ('DELETE', 'UPDATE')) x
           group by 1 having sum(x.n) <> 0 order by 1) d
   where s.id = d.server_id;
  return null;
end;
$$;
create trigger hub_channels_count
  after insert or delete or update of server_id on public.hub_channels
  for each row execute function hub_internal.count_channels();

create trigger hub_servers_touch
  before update of name, display_name, description, icon, architecture_type, is_default, access, metadata on public.hub_servers
  for each row execute function hub_internal.touch();

-- What is mine ------------------------------------------------------------------------------------------------------
-- SECURITY DEFINER, because policies on these tables use them: a policy that reads its own table would recurse.
-- They return sets, so that a query pays for them once and not once a row.

create function hub_internal.my_server_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  rows 20
  set search_path = ''
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is not null then
    return query
      select s.id from public.hub_servers s where s.access = 'authenticated'
      union
      select m.server_id from public.hub_members m where m.user_id = v_me;
  end if;
end;
$$;
comment on function hub_internal.my_server_ids() is 'Servers whose rows the signed-in person may read. Empty for devices and anonymous sign-ins.';

create function hub_internal.my_channel_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  rows 200
  set search_path = ''
  set random_page_cost = 1.1                      -- these pages are always in memory: few servers, by index, not all channels
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is not null then
    -- Two joins and not one over a union: each goes by an index from few servers to their channels. One may come twice.
    return query
      select c.id from public.hub_servers s join public.hub_channels c on c.server_id = s.id where s.access = 'authenticated';
    return query
      select c.id from public.hub_members m join public.hub_channels c on c.server_id = m.server_id where m.user_id = v_me;
  end if;
end;
$$;

create function hub_internal.my_operated_server_ids()
  returns setof uuid
  language sql
  stable
  security definer
  set search_path = ''
as $$ select m.server_id from public.hub_members m where m.user_id = hub_internal.person() and m.role in ('operator', 'owner') $$;

create function hub_internal.my_owned_server_ids()
  returns setof uuid
  language sql
  stable
  security definer
  set search_path = ''
as $$ select m.server_id from public.hub_members m where m.user_id = hub_internal.person() and m.role = 'owner' $$;

create function hub_internal.may_read(p_server_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return hub_internal.is_trusted() or p_server_id in (select hub_internal.my_server_ids());
end;
$$;

create function hub_internal.may_operate(p_server_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return hub_internal.is_trusted() or p_server_id in (select hub_internal.my_operated_server_ids());
end;
$$;

create function hub_internal.may_own(p_server_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return hub_internal.is_trusted() or p_server_id in (select hub_internal.my_owned_server_ids());
end;
$$;

-- The channel, if the caller may know of it. One that may not be seen and one that does not exist are the same.
create function hub_internal.readable_channel(p_channel_id uuid)
  returns public.hub_channels
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
declare
  v_channel public.hub_channels;
begin
  if p_channel_id is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_channel_id is null', 'Give the id of a channel.');
  end if;
  select * into v_channel from public.hub_channels c where c.id = p_channel_id;
  if not found or not hub_internal.may_read(v_channel.server_id) then
    perform hub_internal.refuse('UH004', 'not found', format('channel %s', p_channel_id), 'Check the id, and that you may read its server.');
  end if;
  return v_channel;
end;
$$;

-- Members -----------------------------------------------------------------------------------------------------------

-- The server, locked: of two owners who leave at the same moment, the second sees that it is the last.
create function hub_internal.locked_server(p_server_id uuid)
  returns public.hub_servers
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_server public.hub_servers;
begin
  if p_server_id is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_server_id is null', 'Give the id of a server.');
  end if;
  select * into v_server from public.hub_servers s where s.id = p_server_id for no key update;
  return v_server;
end;
$$;

-- The same for who may say who belongs to it.
create function hub_internal.owned_server(p_server_id uuid, p_user_id uuid, p_role text)
  returns public.hub_servers
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_server public.hub_servers;
begin
  if p_user_id is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_user_id is null', 'Give the id of a user.');
  end if;
  if p_role is not null and p_role not in ('owner', 'operator', 'viewer') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_role %L', p_role), 'A role is owner, operator or viewer; null removes the member.');
  end if;
  if not hub_internal.may_own(p_server_id) then  -- looked at before it is locked: a stranger holds up nobody
    if not hub_internal.may_read(p_server_id) or not exists (select from public.hub_servers s where s.id = p_server_id) then
      perform hub_internal.refuse('UH004', 'not found', format('server %s', coalesce(p_server_id::text, 'null')), 'Check the id, and that you may read it.');
    end if;
    perform hub_internal.refuse('42501', 'permission denied', 'members of this server', 'Only an owner of the server changes its members.');
  end if;
  v_server := hub_internal.locked_server(p_server_id);
  if v_server.id is null then
    perform hub_internal.refuse('UH004', 'not found', format('server %s', p_server_id), 'Check the id, and that you may read it.');
  elsif not hub_internal.may_own(p_server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'members of this server', 'Only an owner of the server changes its members.');
  end if;
  return v_server;
end;
$$;

create function hub_internal.require_other_owner(p_server_id uuid, p_user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if exists (select from public.hub_members m where m.server_id = p_server_id and m.user_id = p_user_id and m.role = 'owner')
     and not exists (select from public.hub_members m where m.server_id = p_server_id and m.user_id <> p_user_id and m.role = 'owner') then
    perform hub_internal.refuse('UH003', 'conflict', 'this is the last owner of the server', 'Make somebody else an owner first.');
  end if;
end;
$$;

create function hub_internal.set_member(p_server_id uuid, p_user_id uuid, p_role text)
  returns public.hub_members
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_members
  set search_path = ''
as $$
declare
  v_member public.hub_members;
begin
  perform hub_internal.owned_server(p_server_id, p_user_id, p_role);
  if p_role is distinct from 'owner' and not hub_internal.is_trusted() then
    perform hub_internal.require_other_owner(p_server_id, p_user_id);
  end if;
  if p_role is null then
    delete from public.hub_members m where m.server_id = p_server_id and m.user_id = p_user_id returning m.* into v_member;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('member %s', p_user_id),
        'They are not a member of this server; an invitation is withdrawn by hub_invite with a null role.');
    end if;
  elsif hub_internal.is_trusted() then
    insert into public.hub_members as m (server_id, user_id, role)
    values (p_server_id, p_user_id, p_role)
    on conflict (user_id, server_id) do update set role = excluded.role
    returning m.* into v_member;
    delete from public.hub_invitations i where i.server_id = p_server_id and i.user_id = p_user_id;
  else
    update public.hub_members m set role = p_role where m.server_id = p_server_id and m.user_id = p_user_id returning m.* into v_member;
    if not found then
      perform hub_internal.refuse('UH003', 'conflict', format('%s is no member of this server', p_user_id),
        'Invite them with hub_invite: they become a member when they accept.');
    end if;
  end if;
  return v_member;
end;
$$;

-- The default lets a client whose REST layer can not say null leave the role out.
create function public.hub_set_member(p_server_id uuid, p_user_id uuid, p_role text default null)
  returns public.hub_members
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.set_member(p_server_id, p_user_id, p_role);
end;
$$;
comment on function public.hub_set_member(uuid, uuid, text) is
  'Changes what a member of a server is (owner, operator, viewer); a null role removes them. Only service_role and postgres make a stranger a member so; owners invite. Errors: UH001 bad role, UH003 the last owner, or a stranger, UH004 no such server or member, 42501 not an owner.';

create function hub_internal.invite(p_server_id uuid, p_user_id uuid, p_role text)
  returns public.hub_invitations
  language plpgsql
  volatile
  security definer                                -- invitations are nobody's to write
  set search_path = ''
as $$
declare
  v_server     public.hub_servers := hub_internal.owned_server(p_server_id, p_user_id, p_role);
  v_invitation public.hub_invitations;
begin
  if p_role is null then
    delete from public.hub_invitations i where i.server_id = p_server_id and i.user_id = p_user_id returning i.* into v_invitation;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('an invitation of %s', p_user_id), 'They are not invited, or have answered; members are removed by hub_set_member.');
    end if;
    return v_invitation;
  end if;
  if exists (select from public.hub_members m where m.server_id = p_server_id and m.user_id = p_user_id) then
    perform hub_internal.refuse('UH003', 'conflict', format('%s is a member of this server', p_user_id), 'hub_set_member changes what a member is.');
  end if;
  if not hub_internal.is_trusted()
     and not exists (select from public.hub_invitations i where i.server_id = p_server_id and i.user_id = p_user_id) then
    perform hub_internal.require_room('server_invitations', (select count(*) from public.hub_invitations i where i.server_id = p_server_id));
  end if;
  insert into public.hub_invitations as i (server_id, user_id, role, server_name, invited_by)
  values (p_server_id, p_user_id, p_role, v_server.display_name, hub_internal.person())
  on conflict (user_id, server_id) do update set role = excluded.role, invited_by = excluded.invited_by, server_name = excluded.server_name
  returning i.* into v_invitation;
  return v_invitation;
end;
$$;

create function public.hub_invite(p_server_id uuid, p_user_id uuid, p_role text)
  returns public.hub_invitations
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.invite(p_server_id, p_user_id, p_role);
end;
$$;
comment on function public.hub_invite(uuid, uuid, text) is
  'Lets a person become a member of a server as owner, operator or viewer, once they accept; again changes the role, a null role withdraws it. Errors: UH001 bad role, UH003 a member already, UH004, UH006 too many open ones, 42501 not an owner.';

create function hub_internal.accept_invitation(p_server_id uuid)
  returns public.hub_members
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_members
  set search_path = ''
as $$
declare
  v_me         uuid := hub_internal.person();
  v_invitation public.hub_invitations;
  v_member     public.hub_members;
begin
  if v_me is null then
    perform hub_internal.refuse('42501', 'permission denied', 'accepting an invitation', 'The invited accepts it with their own sign-in.');
  end if;
  delete from public.hub_invitations i where i.server_id = p_server_id and i.user_id = v_me returning i.* into v_invitation;
  if not found then
    perform hub_internal.refuse('UH004', 'not found', format('an invitation to server %s', coalesce(p_server_id::text, 'null')), 'It was withdrawn or answered; hub_invitations shows yours.');
  end if;
  insert into public.hub_members as m (server_id, user_id, role) values (p_server_id, v_me, v_invitation.role)
  on conflict (user_id, server_id) do nothing
  returning m.* into v_member;
  if not found then                               -- placed meanwhile: that counts
    select * into v_member from public.hub_members m where m.server_id = p_server_id and m.user_id = v_me;
  end if;
  return v_member;
end;
$$;

create function public.hub_accept_invitation(p_server_id uuid)
  returns public.hub_members
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.accept_invitation(p_server_id);
end;
$$;
comment on function public.hub_accept_invitation(uuid) is
  'Makes the invited a member, as what the invitation says. hub_leave declines one. Errors: UH004 not invited, 42501 not signed in as a person.';

create function hub_internal.leave(p_server_id uuid)
  returns void
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_members
  set search_path = ''
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is null then
    perform hub_internal.refuse('42501', 'permission denied', 'leaving a server', 'A person leaves with their own sign-in.');
  end if;
  -- Looked at before the server is locked: a stranger holds up nobody.
  if exists (select from public.hub_members m where m.server_id = p_server_id and m.user_id = v_me) then
    perform hub_internal.locked_server(p_server_id);
    perform hub_internal.require_other_owner(p_server_id, v_me);
    delete from public.hub_members m where m.server_id = p_server_id and m.user_id = v_me;
  else
    delete from public.hub_invitations i where i.server_id = p_server_id and i.user_id = v_me;
  end if;
  if not found then
    perform hub_internal.refuse('UH004', 'not found', format('your membership of server %s', coalesce(p_server_id::text, 'null')), 'You are neither a member nor invited.');
  end if;
end;
$$;

create function public.hub_leave(p_server_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.leave(p_server_id);
end;
$$;
comment on function public.hub_leave(uuid) is
  'Ends one''s own membership of a server, or declines an invitation to it. Errors: UH003 the last owner, UH004 neither member nor invited, 42501 not signed in as a person.';

-- Row level security, grants, policies -------------------------------------------------------------------------------

alter table public.hub_servers  enable row level security;
alter table public.hub_members  enable row level security;
alter table public.hub_channels enable row level security;
alter table public.hub_projects enable row level security;
alter table public.hub_invitations enable row level security;

-- Older projects grant everything on a new table by name, newer ones nothing: take all of it, then give what is meant.
revoke all on public.hub_servers, public.hub_members, public.hub_invitations, public.hub_channels, public.hub_projects from public, anon, authenticated, service_role;
grant select on public.hub_servers, public.hub_members, public.hub_invitations, public.hub_channels, public.hub_projects to authenticated;
grant update (accepts_hooks) on public.hub_members to authenticated;
grant insert (id, server_id, name, path), update (name, path), delete on public.hub_projects to authenticated;
grant select, insert, update, delete on public.hub_servers, public.hub_members, public.hub_invitations, public.hub_channels, public.hub_projects to service_role;

create policy hub_servers_select_readers on public.hub_servers for select to authenticated
  using (id in (select hub_internal.my_server_ids()));
create policy hub_members_select_readers on public.hub_members for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));
create policy hub_members_update_oneself on public.hub_members for update to authenticated
  using (user_id = (select hub_internal.person()))
  with check (user_id = (select hub_internal.person()));
create policy hub_invitations_select_concerned on public.hub_invitations for select to authenticated
  using (user_id = (select hub_internal.person()) or server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_channels_select_readers on public.hub_channels for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));
create policy hub_projects_select_readers on public.hub_projects for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));
create policy hub_projects_insert_owners on public.hub_projects for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_projects_update_owners on public.hub_projects for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_projects_delete_owners on public.hub_projects for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

-- How a deployment keeps house is its owners' to know.
create policy hub_errands_select_owners on public.hub_errands for select to authenticated
  using (exists (select hub_internal.my_owned_server_ids()));

create trigger hub_projects_fresh_id before insert on public.hub_projects
  for each row when (current_user = 'authenticated') execute function hub_internal.fresh_id();
create trigger hub_projects_bound before insert on public.hub_projects
  for each row execute function hub_internal.bound_rows('server_projects');

revoke all on function hub_internal.count_channels(), hub_internal.my_server_ids(), hub_internal.my_channel_ids(),
  hub_internal.my_operated_server_ids(), hub_internal.my_owned_server_ids(), hub_internal.may_read(uuid), hub_internal.may_operate(uuid),
  hub_internal.may_own(uuid), hub_internal.readable_channel(uuid), hub_internal.locked_server(uuid), hub_internal.owned_server(uuid, uuid, text),
  hub_internal.require_other_owner(uuid, uuid), hub_internal.set_member(uuid, uuid, text), hub_internal.invite(uuid, uuid, text),
  hub_internal.accept_invitation(uuid), hub_internal.leave(uuid),
  public.hub_set_member(uuid, uuid, text), public.hub_invite(uuid, uuid, text), public.hub_accept_invitation(uuid), public.hub_leave(uuid)
  from public, anon, authenticated, service_role;
grant execute on function hub_internal.my_server_ids(), hub_internal.my_channel_ids(), hub_internal.my_operated_server_ids(),
  hub_internal.my_owned_server_ids(), hub_internal.set_member(uuid, uuid, text), hub_internal.invite(uuid, uuid, text),
  hub_internal.accept_invitation(uuid), hub_internal.leave(uuid),
  public.hub_set_member(uuid, uuid, text), public.hub_invite(uuid, uuid, text), public.hub_accept_invitation(uuid), public.hub_leave(uuid)
  to authenticated, service_role;
