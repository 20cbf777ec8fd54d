-- Why: what keeps an agent of a machine from working although it is there: its account is at a limit, or its
-- login does not hold. What is done with it is …limits; who may take a task by it, …lanes.

-- Under which login an agent of a device works, as its registration said: whose account, and which program,
-- since several agents may be one program. Without a row the account is the device's own, and the program is
-- called as the agent is. Not in mesh_devices, whose rows more people read than may know of an account.
create table hub_internal.device_accounts (
  device  text not null references public.mesh_devices (name) on delete cascade on update cascade,
  agent   text not null,
  account text,
  program text,
  reserve numeric,
  primary key (device, agent),
  constraint device_accounts_reserve_check check (reserve between 0 and 0.95)
);
comment on table hub_internal.device_accounts is
  'The account and the program of an agent of a device, and what of it is kept, where the device said so.';
comment on column hub_internal.device_accounts.reserve is
  'The share of each window of the account that is kept for people, who use it otherwise.';
alter table hub_internal.device_accounts enable row level security;

-- A login whose token rotates is refreshed by one process at a time, or a token would be used twice, which ends
-- the login for all of them.
create table hub_internal.login_leases (
  id      bigint primary key generated always as identity,
  account text not null,
  servers uuid[],
  program text not null,
  device  text not null references public.mesh_devices (name) on delete cascade on update cascade,
  holder  text not null,
  until   timestamptz not null,
  constraint login_leases_key unique nulls not distinct (account, program, servers)
);
comment on table hub_internal.login_leases is
  'Who may refresh a login now: a process (holder) of a device, until a moment or until it gives that back.';
create index login_leases_device_idx on hub_internal.login_leases (device);
alter table hub_internal.login_leases enable row level security;

-- Whoever enrols a machine could give it any account's name. So an account is that name among machines that
-- serve the same servers: what one of them says holds for the others, and for nobody else's. A login that the
-- machine did not name is the machine's alone, whatever it serves.
create table public.mesh_quota_pools (
  id            bigint primary key generated always as identity,
  account       text not null,
  servers       uuid[],
  agent         text not null,
  model         text,
  window_name   text,
  used_share    numeric,
  limited_since timestamptz,
  limited_until timestamptz,
  source        text not null,
  reason        text,
  reported_by   text not null,
  reported_at   timestamptz not null,
  lifted_at     timestamptz,
  resets_at     timestamptz,
  kept          boolean not null default false,
  constraint mesh_quota_pools_key unique nulls not distinct (account, agent, model, window_name, servers),
  constraint mesh_quota_pools_account_check check (char_length(account) between 1 and 200),
  constraint mesh_quota_pools_model_check check (char_length(model) between 1 and 200),
  constraint mesh_quota_pools_window_name_check
    check (window_name in ('five_hour', 'seven_day', 'day', 'minute')),
  constraint mesh_quota_pools_used_share_check check (used_share between 0 and 1),
  constraint mesh_quota_pools_limited_check check ((limited_since is null) = (limited_until is null)),
  constraint mesh_quota_pools_source_check check (source in ('structured', 'text', 'guess'))
);
comment on table public.mesh_quota_pools is
  'What an account may use of an agent in a time, and until when it has used it up, as machines report it.';
comment on column public.mesh_quota_pools.account is
  'A login by its name; device:<name> is the login of that machine, which did not say whose it is.';
comment on column public.mesh_quota_pools.servers is
  'What the machines serve that share it, in order; null: they serve all, or it is one machine''s.';
comment on column public.mesh_quota_pools.agent is
  'The program: all agents of an account that are it share it.';
comment on column public.mesh_quota_pools.model is
  'Null: all that the agent runs. What tasks name as their model; another name is only kept.';
comment on column public.mesh_quota_pools.window_name is 'The time that is counted; null: not known.';
comment on column public.mesh_quota_pools.used_share is '0 to 1, where the agent tells it.';
comment on column public.mesh_quota_pools.limited_until is
  'Nothing takes from it before; null: it never was at its limit.';
comment on column public.mesh_quota_pools.source is
  'How that is known: the agent reports it (structured), its message says so (text), or it is a guess.';
comment on column public.mesh_quota_pools.reported_by is
  'The device; no foreign key: what it said holds when it is gone.';
comment on column public.mesh_quota_pools.lifted_at is
  'When machines were told that the limit is over.';
comment on column public.mesh_quota_pools.resets_at is
  'When its window begins anew, and nothing of it is used; null: not known.';
comment on column public.mesh_quota_pools.kept is
  'The limit is a reserve: what is left of the account is kept for people.';
create index mesh_quota_pools_limited_idx on public.mesh_quota_pools (limited_until);

alter table public.mesh_quota_pools enable row level security;
revoke all on public.mesh_quota_pools from public, anon, authenticated, service_role;
revoke all on sequence public.mesh_quota_pools_id_seq from public, anon, authenticated, service_role;
grant select on public.mesh_quota_pools to authenticated;
grant select, insert, update, delete on public.mesh_quota_pools to service_role;
create policy mesh_quota_pools_select_operators on public.mesh_quota_pools for select to authenticated
  using (servers && array(select hub_internal.my_operated_server_ids())
         or servers is null
            and case when account like 'device:%'
                     then substr(account, 8) in (select hub_internal.my_operated_device_names())
                     else exists (select hub_internal.my_operated_server_ids()) end);

create table public.mesh_logins (
  device       text not null references public.mesh_devices (name) on delete cascade on update cascade,
  agent        text not null,
  broken_since timestamptz not null,
  reason       text,
  primary key (device, agent)
);
comment on table public.mesh_logins is
  'Agents of devices that are not logged in. Without a row an agent is, as far as anybody knows.';
comment on column public.mesh_logins.reason is 'What the agent said, in one line.';

alter table public.mesh_logins enable row level security;
revoke all on public.mesh_logins from public, anon, authenticated, service_role;
grant select on public.mesh_logins to authenticated;
grant select, insert, update, delete on public.mesh_logins to service_role;
create policy mesh_logins_select_operators on public.mesh_logins for select to authenticated
  using (device in (select hub_internal.my_operated_device_names())
         or device = (select hub_internal.live_device()));
