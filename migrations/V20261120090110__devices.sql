-- Why: the machines of the mesh, what they offer and which servers they serve.

create table public.mesh_devices (
  name              text primary key,
  platform          text,
  labels            text[] not null default '{}',
  capacity          integer not null default 1,
  agents            jsonb not null default '[]',
  user_id           uuid,
  serves_all        boolean not null default false,
  last_heartbeat_at timestamptz,
  drained_at        timestamptz,
  revoked_at        timestamptz,
  signed_off_at     timestamptz,
  stopping_at       timestamptz,
  disk_free_bytes   bigint,
  memory_free_bytes bigint,
  projects_told     boolean not null default false,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  constraint mesh_devices_name_check check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  constraint mesh_devices_platform_check check (platform in ('macos', 'linux', 'windows')),
  constraint mesh_devices_capacity_check check (capacity between 0 and 1000),
  constraint mesh_devices_agents_check check (jsonb_typeof(agents) = 'array')
);
comment on table public.mesh_devices is
  'A machine of the mesh: what it can run, how much at once, when it was last heard of.';
comment on column public.mesh_devices.platform is 'Null until it has registered.';
comment on column public.mesh_devices.agents is
  'What it offers: [{"agent": "claude", "models": ["claude"], "memory_bytes": 2000000000}]. The model "any" '
  'stands for all; memory_bytes, how much must be free to start it, may be left out. The account that it may '
  'name beside them is not kept here.';
comment on column public.mesh_devices.serves_all is
  'Serves every server, those made later too. Enrolled by service_role or postgres.';
comment on column public.mesh_devices.drained_at is 'Since then it gets nothing new.';
comment on column public.mesh_devices.revoked_at is 'Since then its token is good for nothing here.';
comment on column public.mesh_devices.signed_off_at is
  'Since then it is offline by its own word, until it is heard of again.';
comment on column public.mesh_devices.stopping_at is
  'Since then its worker ends what it has and takes nothing new, by its own word; taken back by whatever says '
  'otherwise.';
comment on column public.mesh_devices.disk_free_bytes is 'As it last said; null: it never did.';
comment on column public.mesh_devices.memory_free_bytes is 'As it last said; null: it never did.';
comment on column public.mesh_devices.projects_told is
  'Whether it answers which projects it has. One that never did takes work without.';

alter table public.mesh_devices enable row level security;
revoke all on public.mesh_devices from public, anon, authenticated, service_role;
grant select on public.mesh_devices to authenticated;
grant select, insert, update, delete on public.mesh_devices to service_role;
create policy mesh_devices_select_readers on public.mesh_devices for select to authenticated
  using (name in (select hub_internal.my_device_names())
         or name = (select hub_internal.live_device()));

create table public.mesh_device_servers (
  device     text not null references public.mesh_devices (name) on delete cascade on update cascade,
  server_id  uuid not null references public.hub_servers (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (device, server_id)
);
comment on table public.mesh_device_servers is 'Which servers a device serves. Changed by hub_enroll_device.';
create index mesh_device_servers_server_idx on public.mesh_device_servers (server_id);

alter table public.mesh_device_servers enable row level security;
revoke all on public.mesh_device_servers from public, anon, authenticated, service_role;
grant select on public.mesh_device_servers to authenticated;
grant select, insert, update, delete on public.mesh_device_servers to service_role;
create policy mesh_device_servers_select_readers on public.mesh_device_servers for select to authenticated
  using (server_id in (select hub_internal.my_server_ids())
         or device = (select hub_internal.live_device()));

-- What a device answered when it was asked for a project. Only what work of a server it serves asks for has a
-- row: a machine's folders are not listed, and the table is no larger than what is asked. Nobody holds a
-- grant: who works with others on a machine does not learn what others' projects are called.
create table hub_internal.device_projects (
  device  text not null references public.mesh_devices (name) on delete cascade on update cascade,
  project text not null,
  present boolean not null,
  kind    text,
  told_at timestamptz not null,
  primary key (device, project),
  constraint device_projects_kind_check check (kind in ('git', 'plain'))
);
comment on table hub_internal.device_projects is
  'Whether a device has a project that it was asked for. Without a row it was not asked, or did not answer.';
comment on column hub_internal.device_projects.kind is
  'git: each line of work has a worktree of its own. plain: it is worked in in place, one task at a time. Null: '
  'it did not say.';
alter table hub_internal.device_projects enable row level security;

-- A program of the older kind works without beginning its attempts: the record of one does not say whether
-- anything ran.
create table hub_internal.beginners (
  device text primary key references public.mesh_devices (name) on delete cascade on update cascade
);
comment on table hub_internal.beginners is
  'Devices that have called hub_begin_attempt: an attempt of theirs that was not begun has done nothing.';
alter table hub_internal.beginners enable row level security;
