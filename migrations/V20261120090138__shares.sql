-- Why: a server that asks for much, or a project of it, does not crowd out the others. What each has used
-- lately, by its weight, says how far its tasks stand back while others wait (…sharing); nothing stands back
-- longer than a setting says.

create table public.hub_shares (
  id        uuid primary key default gen_random_uuid(),
  server_id uuid not null references public.hub_servers (id) on delete cascade,
  project   text,
  weight    numeric not null,
  constraint hub_shares_key unique nulls not distinct (server_id, project),
  constraint hub_shares_project_check check (char_length(project) between 1 and 500),
  constraint hub_shares_weight_check check (weight between 0.1 and 100)
);
comment on table public.hub_shares is
  'What a server weighs among servers, or a project among those of its server: one of twice the weight may '
  'use twice as much before it stands back. Without a row it is 1. A project''s is its owners'' to write, '
  'a server''s that of whoever runs the deployment.';
comment on column public.hub_shares.project is 'Its path; null: the server itself.';

alter table public.hub_shares enable row level security;
revoke all on public.hub_shares from public, anon, authenticated, service_role;
grant select, insert (id, server_id, project, weight), update (weight), delete
  on public.hub_shares to authenticated, service_role;
create policy hub_shares_select_operators on public.hub_shares for select to authenticated
  using (server_id in (select hub_internal.my_operated_server_ids()));
create policy hub_shares_insert_owners on public.hub_shares for insert to authenticated
  with check (project is not null and server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_shares_update_owners on public.hub_shares for update to authenticated
  using (project is not null and server_id in (select hub_internal.my_owned_server_ids()))
  with check (project is not null and server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_shares_delete_owners on public.hub_shares for delete to authenticated
  using (project is not null and server_id in (select hub_internal.my_owned_server_ids()));

create trigger hub_shares_fresh_id
  before insert on public.hub_shares
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();
create trigger hub_shares_bound
  before insert on public.hub_shares
  for each row execute function hub_internal.bound_rows('server_shares');

create table hub_internal.share_use (
  id        bigint primary key generated always as identity,
  server_id uuid,
  project   text,
  used      double precision not null default 0,
  at        timestamptz not null,
  delay     interval not null default '0',
  constraint share_use_key unique nulls not distinct (server_id, project)
);
comment on table hub_internal.share_use is
  'How long agents worked for a server (project null) and for each of its projects, in seconds at `at`; it '
  'is halved each share_memory.';
comment on column hub_internal.share_use.project is 'Empty: tasks without one.';
comment on column hub_internal.share_use.delay is 'How far it stands back now.';
alter table hub_internal.share_use enable row level security;
revoke all on hub_internal.share_use from public, anon, authenticated, service_role;

create table hub_internal.shared (
  at  timestamptz not null,
  one boolean primary key default true,
  constraint shared_one_check check (one)
);
comment on table hub_internal.shared is 'One row: when it was last worked out who stands back, and how far.';
alter table hub_internal.shared enable row level security;
revoke all on hub_internal.shared from public, anon, authenticated, service_role;
insert into hub_internal.shared (at) values ('epoch');

insert into hub_internal.quotas (name, amount, per, about) values
  ('server_shares', 200, null, 'weights of projects of a server');
insert into hub_internal.settings (name, value, about) values
  ('share_memory', '6 hours', 'what a server or project has used counts half as much after this long'),
  ('share_most',   '1 day',   'nothing stands back further than this for others to have their share');
