-- Why: what happens here is said elsewhere. A bridge ties a channel to a chat or a URL; what is to be said
-- out there is a row of hub_outbox, in the transaction of what it tells of, and a worker delivers it: tables.
-- How rows are made is …bridging, how they go out …outbox and …outbox_ends.
--
-- A row:  pending -> sending             claimed: attempt + 1, a lease; of one target (of one server) only
--                                        one is in flight, in order of seq, what tasks and members say
--                                        before what strangers wrote (mirror)
--         sending -> sent                external_id is kept: edits and replies refer to it
--         sending -> pending             failed, or the lease ran out (hub_recover): run_after later,
--                                        Retry-After obeyed
--         sending -> dead                for good, or, in a chat, at 12 attempts; hub_retry_outbox starts it
--                                        again. Waits that the other side asked for (p_retry_after) are no
--                                        attempts. A webhook, an answer on GitHub: tried until expires_at
--         pending -> dead                its bridge was switched off or changed, or has no place any more:
--                                        looked at again at each claim
--         pending -> summarised | dead   past expires_at: chat lines become one line that counts them,
--                                        anything else is dead
--
-- A webhook that failed lets what is behind it go before (overtaken), unless the receiver asked to wait;
-- lines of a chat never pass each other.
--
-- A chat or a repository proves nothing of who owns it, and the secrets are the deployment's. So an owner
-- bridges only to where hub_places (server_id, kind, target or *, secret_name) lets the server reach;
-- service_role and postgres write those, and by making a bridge make its place, too. A place taken away stops
-- its bridges. Errors of a bridge: UH001, UH003 another bridge lets that chat in, UH004 no such channel,
-- UH006 too many, 42501 no such place.

-- Bridges ---------------------------------------------------------------------------------------------------

create table public.hub_bridges (
  id                uuid primary key default gen_random_uuid(),
  server_id         uuid not null references public.hub_servers (id) on delete cascade,
  channel_id        uuid not null references public.hub_channels (id) on delete cascade,
  provider          text not null,
  target            text not null,
  direction         text not null default 'both',
  allow_commands    boolean not null default false,
  starts_tasks      text not null default 'nobody',
  starters          text[] not null default '{}',
  mirrors_strangers boolean not null default false,
  secret_name       text,
  enabled           boolean not null default true,
  warned            text,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  constraint hub_bridges_provider_check check (provider in ('discord', 'telegram', 'github', 'webhook', 'ntfy')),
  constraint hub_bridges_direction_check check (direction in ('in', 'out', 'both')),
  constraint hub_bridges_starts_tasks_check check (starts_tasks in ('nobody', 'listed', 'everyone')),
  constraint hub_bridges_starters_check
    check (cardinality(starters) <= 1000 and array_position(starters, null) is null),
  -- A namespace, so that an owner can not have the worker sign or sign in with whatever else its environment
  -- holds.
  constraint hub_bridges_secret_name_check
    check (secret_name ~ '^(HUB_BRIDGE_[A-Z0-9_]{1,50}'
                         '|HUB_GITHUB_TOKEN'
                         '|DISCORD_BOT_TOKEN'
                         '|TELEGRAM_BOT_TOKEN)$')
);
comment on table public.hub_bridges is
  'What ties a channel to a chat (both ways), to a URL (out), or to a repository (whose token writes the '
  'answers). Its owners alone see and change it.';
comment on column public.hub_bridges.target is
  'channel:<id> or user:<id>, with /<topic> for a topic of Telegram; for webhook an https URL; for github '
  'channel:<owner>/<name>, where * is any. Never a bare id. For ntfy https://<host>/<topic>.';
comment on column public.hub_bridges.allow_commands is
  'Whether ! and @model in text from there mean anything. Everybody who can write there then has the '
  'channel''s commands; those that write, who may start tasks.';
comment on column public.hub_bridges.starts_tasks is
  'Whose words become tasks, that is, run an agent on a machine: nobody''s, those of the accounts in '
  'starters, or everyone''s who can write there.';
comment on column public.hub_bridges.starters is
  'Ids of accounts as the provider numbers them: of Discord a user''s, of Telegram a user''s or, for who '
  'writes as a chat, the chat''s. Of ntfy the one person of the hub whose phone it is: its buttons answer as '
  'them.';
comment on column public.hub_bridges.warned is
  'Of what its channel was warned last: it is said once, until the bridge is well again or goes elsewhere.';
comment on column public.hub_bridges.mirrors_strangers is
  'Whether what people write here who are no members of the server goes out, too.';
comment on column public.hub_bridges.secret_name is
  'The name of an environment variable of the worker, never the secret: HUB_BRIDGE_<NAME>, or the '
  'provider''s own when null. A webhook needs one to sign with.';

-- What comes in must have one channel to go to.
create unique index hub_bridges_target_idx on public.hub_bridges (provider, target)
  where direction in ('in', 'both');
create unique index hub_bridges_channel_idx on public.hub_bridges (channel_id, provider, target);
create index hub_bridges_server_idx on public.hub_bridges (server_id);

alter table public.hub_bridges enable row level security;
revoke all on public.hub_bridges from public, anon, authenticated, service_role;
grant select on public.hub_bridges to authenticated;
grant insert (id, server_id, channel_id, provider, target, direction, allow_commands, starts_tasks, starters,
              mirrors_strangers, secret_name, enabled),
      update (channel_id, target, direction, allow_commands, starts_tasks, starters,
              mirrors_strangers, secret_name, enabled),
      delete
  on public.hub_bridges to authenticated;
grant select, insert, update, delete on public.hub_bridges to service_role;
create policy hub_bridges_select_owners on public.hub_bridges for select to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_bridges_insert_owners on public.hub_bridges for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_bridges_update_owners on public.hub_bridges for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_bridges_delete_owners on public.hub_bridges for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

-- Which message there is which message here: for replies, for edits, and to know our own when they come back.
create table hub_internal.bridge_messages (
  bridge_id   uuid not null references public.hub_bridges (id) on delete cascade,
  chat        text not null,
  external_id text not null,
  message_id  uuid,
  task_id     uuid,
  incoming    boolean not null,
  part        integer not null default 1,
  interaction boolean not null default false,
  created_at  timestamptz not null default now(),
  primary key (bridge_id, chat, external_id)
);
comment on table hub_internal.bridge_messages is
  'Messages of a bridge by their ids on the other side, kept for the setting outbox_retention.';
comment on column hub_internal.bridge_messages.chat is
  'Whose ids they are: a bridge''s target may change, and another chat counts for itself.';
comment on column hub_internal.bridge_messages.part is
  'Which of the messages that a long text took out there. A reply refers to the first.';
comment on column hub_internal.bridge_messages.interaction is
  'A slash command: its id is known when it comes again, but is no message that one could reply to.';
create index bridge_messages_message_idx on hub_internal.bridge_messages (message_id, bridge_id);
create index bridge_messages_age_idx on hub_internal.bridge_messages (created_at);

alter table hub_internal.bridge_messages enable row level security;
revoke all on hub_internal.bridge_messages from public, anon, authenticated, service_role;

-- What goes out ---------------------------------------------------------------------------------------------

create table public.hub_outbox (
  id               uuid primary key default gen_random_uuid(),
  seq              bigint generated by default as identity,
  server_id        uuid not null references public.hub_servers (id) on delete cascade,
  bridge_id        uuid references public.hub_bridges (id) on delete cascade,
  provider         text not null,
  target           text not null,
  secret_name      text not null,
  kind             text not null,
  body             jsonb not null,
  idempotency_key  text not null,
  nonce            text generated always as (left(replace(id::text, '-', ''), 25)) stored,
  status           text not null default 'pending',
  attempt          integer not null default 0,
  max_attempts     integer not null default 12,
  run_after        timestamptz not null default now(),
  expires_at       timestamptz not null,
  lease_expires_at timestamptz,
  external_id      text,
  parts            text[] not null default '{}',
  edit_of          text,
  reply_to         text,
  error            text,
  message_id       uuid,
  reply_message_id uuid,
  task_id          uuid,
  ask_id           uuid,
  is_progress      boolean not null default false,
  mirror           boolean not null default false,
  summarises       integer not null default 0,
  overtaken        boolean not null default false,
  created_at       timestamptz not null default now(),
  updated_at       timestamptz not null default now(),
  finished_at      timestamptz,
  constraint hub_outbox_kind_check check (kind in ('post', 'edit', 'reply', 'webhook', 'github_comment')),
  constraint hub_outbox_status_check check (status in ('pending', 'sending', 'sent', 'dead', 'summarised'))
) with (fillfactor = 70);
comment on table public.hub_outbox is
  'What is to be said elsewhere, in order for each target of a server: what one says waits for no other''s. '
  'Finished rows are kept for the setting outbox_retention.';
comment on column public.hub_outbox.seq is
  'Where it stands among what its server says to the same target: its own words before what it mirrors of '
  'strangers, each in order.';
comment on column public.hub_outbox.mirror is
  'What somebody wrote who may not start work here: in a chat it goes out behind all else that waits.';
comment on column public.hub_outbox.attempt is
  'The fence: a worker that names any but the live attempt changes nothing.';
comment on column public.hub_outbox.ask_id is
  'The ask that its message is of: one message out there, which an edit closes.';
comment on column public.hub_outbox.is_progress is
  'Of a task''s progress: one message out there, which the rows after the first edit.';
comment on column public.hub_outbox.overtaken is
  'A webhook that failed and waits for its next attempt: others go before it.';
comment on column public.hub_outbox.max_attempts is
  'In a chat it is given up at this many; waits that were asked for are added. A webhook and an answer on '
  'GitHub have their time alone.';
comment on column public.hub_outbox.parts is
  'Ids of the messages that a long text took, in order, as far as they arrived; empty if it took one.';
comment on column public.hub_outbox.summarises is
  'How many messages that were never sent this one stands for.';
create unique index hub_outbox_idempotency_idx on public.hub_outbox (idempotency_key);
create index hub_outbox_target_idx on public.hub_outbox (server_id, provider, target, mirror, seq)
  where status in ('pending', 'sending') and not overtaken;
create index hub_outbox_overtaken_idx on public.hub_outbox (server_id, provider, target, run_after)
  where status = 'pending' and overtaken;
create unique index hub_outbox_in_flight_idx on public.hub_outbox (server_id, provider, target)
  where status = 'sending';
create index hub_outbox_due_idx on public.hub_outbox (run_after)
  where status = 'pending';
create index hub_outbox_expiry_idx on public.hub_outbox (expires_at)
  where status = 'pending';
create index hub_outbox_lease_idx on public.hub_outbox (lease_expires_at)
  where status = 'sending';
create index hub_outbox_finished_idx on public.hub_outbox (finished_at)
  where finished_at is not null;
create index hub_outbox_progress_idx on public.hub_outbox (task_id, bridge_id, seq)
  where is_progress;
create index hub_outbox_ask_idx on public.hub_outbox (ask_id, seq)
  where ask_id is not null;
create index hub_outbox_server_idx on public.hub_outbox (server_id, status);
create index hub_outbox_bridge_idx on public.hub_outbox (bridge_id);

alter table public.hub_outbox enable row level security;
revoke all on sequence public.hub_outbox_seq_seq from public, anon, authenticated, service_role;
revoke all on public.hub_outbox from public, anon, authenticated, service_role;
grant select on public.hub_outbox to authenticated;
grant select, insert, update, delete on public.hub_outbox to service_role;
create policy hub_outbox_select_owners on public.hub_outbox for select to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

insert into hub_internal.settings (name, value, about) values
  ('outbox_ttl',         '1 hour',
   'a line for a chat that could not be sent for this long is summarised with the others'),
  ('outbox_webhook_ttl', '3 days',
   'a webhook or an answer on GitHub that could not be sent for this long is a dead letter'),
  ('outbox_retention',   '30 days',
   'what was sent, or given up, is kept for this long');
