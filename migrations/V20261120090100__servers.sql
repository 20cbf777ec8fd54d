-- Why: servers, their channels, who belongs to them and which projects they work on: everything a right is
-- decided by.

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
    check (jsonb_typeof(metadata) = 'object'
           and not jsonb_path_exists(metadata, 'strict $.* ? (@.type() != "string")'))
);
comment on table public.hub_servers is
  'A server of the Servers tab. What a message in it means follows from architecture_type.';
comment on column public.hub_servers.access is
  'authenticated: whoever is signed in may read and post; members: only members see that it exists.';
comment on column public.hub_servers.metadata is 'A flat map of strings: Aura decodes it as such.';
-- Asked by every policy.
create index hub_servers_open_idx on public.hub_servers (id)
  where access = 'authenticated';

alter table public.hub_servers enable row level security;
revoke all on public.hub_servers from public, anon, authenticated, service_role;
grant select on public.hub_servers to authenticated;
grant select, insert, update, delete on public.hub_servers to service_role;
create policy hub_servers_select_readers on public.hub_servers for select to authenticated
  using (id in (select hub_internal.my_server_ids()));

-- No foreign key to auth.users: a person may come from a third-party sign-in, whose ids are not in that
-- table.
create table public.hub_members (
  server_id     uuid not null references public.hub_servers (id) on delete cascade,
  user_id       uuid not null,
  role          text not null,
  accepts_hooks boolean not null default false,
  created_at    timestamptz not null default now(),
  primary key (user_id, server_id),               -- "which servers are mine" is asked by every policy
  constraint hub_members_role_check check (role in ('owner', 'operator', 'viewer'))
);
comment on table public.hub_members is
  'Who belongs to a server, as what. Entered by accepting an invitation, left by hub_leave, changed by '
  'hub_set_member.';
comment on column public.hub_members.accepts_hooks is
  'Whether hooks that reach this server''s members may write to this one. The member''s own to say, with '
  'UPDATE.';
create index hub_members_server_idx on public.hub_members (server_id);

alter table public.hub_members enable row level security;
revoke all on public.hub_members from public, anon, authenticated, service_role;
grant select on public.hub_members to authenticated;
grant update (accepts_hooks) on public.hub_members to authenticated;
grant select, insert, update, delete on public.hub_members to service_role;
create policy hub_members_select_readers on public.hub_members for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));
create policy hub_members_update_oneself on public.hub_members for update to authenticated
  using (user_id = (select hub_internal.person()))
  with check (user_id = (select hub_internal.person()));

-- Membership is given by two: an owner, and the one who accepts. Whoever were made an operator without being
-- asked would find their tasks on a stranger's machine.
create table public.hub_invitations (
  server_id   uuid not null references public.hub_servers (id) on delete cascade,
  user_id     uuid not null,
  role        text not null,
  server_name text not null,
  server_display_name text not null,
  invited_by  uuid,
  created_at  timestamptz not null default now(),
  primary key (user_id, server_id),
  constraint hub_invitations_role_check check (role in ('owner', 'operator', 'viewer'))
);
comment on table public.hub_invitations is
  'Who may become a member of a server, as what. The invited and the server''s owners see it.';
comment on column public.hub_invitations.server_name is
  'As the server was called then: the invited may not read its row before they accept.';
comment on column public.hub_invitations.server_display_name is
  'As people saw it then.';
create index hub_invitations_server_idx on public.hub_invitations (server_id);

alter table public.hub_invitations enable row level security;
revoke all on public.hub_invitations from public, anon, authenticated, service_role;
grant select on public.hub_invitations to authenticated;
grant select, insert, update, delete on public.hub_invitations to service_role;
create policy hub_invitations_select_concerned on public.hub_invitations for select to authenticated
  using (user_id = (select hub_internal.person())
         or server_id in (select hub_internal.my_owned_server_ids()));

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
  edit_count       bigint not null default 0,
  last_message_at  timestamptz,
  metadata         jsonb,
  thread_idle_after  interval,
  thread_decay_after interval,
  thread_replies   text not null default 'queue',
  when_limited     text not null default 'brief',
  feed             text,
  created_at       timestamptz not null default now(),
  unique (server_id, name)
) with (fillfactor = 70);                         -- message_count changes with every flat message: leave room
                                                  -- for it on the page
comment on table public.hub_channels is
  'A channel of a server. message_count and last_message_at are of its flat conversation.';
comment on column public.hub_channels.message_count is
  'Also the seq of its newest flat message: numbers are taken under this row''s lock.';
comment on column public.hub_channels.edit_count is
  'Also the edit_seq of the message of its flat conversation that was edited last.';
comment on column public.hub_channels.feed is 'What the hub itself posts here: see hub_post_feeds.';
comment on column public.hub_channels.project_path is
  'Where its tasks run, below the root that each machine has for projects.';
comment on column public.hub_channels.thread_idle_after is
  'Its own time instead of the setting thread_idle_after.';
comment on column public.hub_channels.thread_decay_after is
  'Its own time instead of the setting thread_decay_after.';

comment on column public.hub_channels.thread_replies is
  'What a reply is while the task it is for runs: queue, a follow-up; steer, words to the running agent. '
  'Set by hub_set_thread_replies.';
comment on column public.hub_channels.when_limited is
  'What a task with a session does while its agent is at its limit: wait, however long that is; brief: wait '
  'as long as the setting session_wait, then go on with another, with a brief. Set by hub_set_when_limited.';

alter table public.hub_channels enable row level security;
revoke all on public.hub_channels from public, anon, authenticated, service_role;
grant select on public.hub_channels to authenticated;
grant select, insert, update, delete on public.hub_channels to service_role;
create policy hub_channels_select_readers on public.hub_channels for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));

create table public.hub_projects (
  id         uuid primary key default gen_random_uuid(),
  server_id  uuid not null references public.hub_servers (id) on delete cascade,
  name       text not null,
  path       text not null,
  created_at timestamptz not null default now(),
  unique (server_id, name),
  constraint hub_projects_name_check check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$')
);
comment on table public.hub_projects is
  'Projects a server''s tasks may run in, beside its channels'' own. A task may name one by name or by path.';

alter table public.hub_projects enable row level security;
revoke all on public.hub_projects from public, anon, authenticated, service_role;
grant select on public.hub_projects to authenticated;
grant insert (id, server_id, name, path), update (name, path), delete on public.hub_projects to authenticated;
grant select, insert, update, delete on public.hub_projects to service_role;
-- Its commands run on machines, and its path is a folder of theirs: known to those who give it work. A device
-- gets them with the attempt (hub_begin_attempt).
create policy hub_projects_select_operators on public.hub_projects for select to authenticated
  using (server_id in (select hub_internal.my_operated_server_ids()));
create policy hub_projects_insert_owners on public.hub_projects for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_projects_update_owners on public.hub_projects for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_projects_delete_owners on public.hub_projects for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

-- Errands ---------------------------------------------------------------------------------------------------

-- How a deployment keeps house is its owners' to know.
create policy hub_errands_select_owners on public.hub_errands for select to authenticated
  using (exists (select hub_internal.my_owned_server_ids()));
