-- Why: what a server may name outside itself is the deployment's to give. A folder of a shared machine, a
-- repository, a chat, a URL, and the secret that opens it, prove nothing of who owns them; nothing in here
-- can tell. So whoever runs the deployment says it for each server, in hub_places, and everything that
-- reaches out asks there at the moment it does: a place that is taken away stops what stood on it.
--
-- service_role and postgres write places. What they tie themselves (a project, a channel's folder, a bridge,
-- a webhook rule) brings its own place.

create table public.hub_places (
  id          uuid primary key default gen_random_uuid(),
  kind        text not null,
  server_id   uuid not null references public.hub_servers (id) on delete cascade,
  target      text not null,
  device      text references public.mesh_devices (name) on delete cascade on update cascade,
  secret_name text,
  created_at  timestamptz not null default now(),
  constraint hub_places_kind_check check (kind in ('project', 'github', 'telegram', 'discord', 'webhook', 'ntfy')),
  constraint hub_places_device_check check (device is null or kind = 'project'),
  -- A namespace, so that a place can not have a program sign or sign in with whatever else its environment
  -- holds.
  constraint hub_places_secret_name_check
    check (secret_name is null
           or kind <> 'project'
              and secret_name ~ '^(HUB_BRIDGE_[A-Z0-9_]{1,50}'
                                '|HUB_GITHUB_WEBHOOK_SECRET_[A-Z0-9_]{1,50}'
                                '|GITHUB_WEBHOOK_SECRET'
                                '|HUB_GITHUB_TOKEN'
                                '|DISCORD_BOT_TOKEN'
                                '|TELEGRAM_BOT_TOKEN)$'),
  constraint hub_places_key unique nulls not distinct (server_id, kind, target, device, secret_name)
);
comment on table public.hub_places is
  'What a server may name outside itself: folders of machines, repositories, chats, URLs. Written by '
  'service_role and postgres alone; its owners see it.';
comment on column public.hub_places.target is
  'project: a folder below the machines'' projects root, and all that is in it; github: owner/name or '
  'owner/*; telegram, discord: channel:<id> or user:<id>, as in hub_bridges; webhook, ntfy: the URL. Each also * '
  'for any.';
comment on column public.hub_places.device is
  'For a project: the only device where it is. Null: every device that serves the server.';
comment on column public.hub_places.secret_name is
  'The one secret, by the name of its environment variable, with which it may be reached (or, from GitHub, '
  'reports). Null: the provider''s own; for a webhook any that no other server''s place names.';
create index hub_places_device_idx on public.hub_places (device) where device is not null;
create index hub_places_github_idx on public.hub_places (kind, lower(target));

alter table public.hub_places enable row level security;
revoke all on public.hub_places from public, anon, authenticated, service_role;
grant select on public.hub_places to authenticated;
grant select, insert, update, delete on public.hub_places to service_role;
create policy hub_places_select_owners on public.hub_places for select to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));
