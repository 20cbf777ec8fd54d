-- Why: the first kind of server. A command is a row of koji_commands and a function that takes the channel
-- and the words behind the command's name and returns text (…koji_commands). Nothing a person mistypes is an
-- error: wrong words are answered with the usage line.

-- Commands --------------------------------------------------------------------------------------------------

create table public.koji_commands (
  name        text primary key,
  usage       text not null,
  description text not null,
  writes      boolean not null default false,
  function    text not null,           -- a name: pg_upgrade refuses a database with a column of regprocedure
  constraint koji_commands_name_check check (name ~ '^[a-z][a-z0-9-]{0,30}$'),
  constraint koji_commands_function_check check (function ~ '^hub_internal\.[a-z][a-z0-9_]*$')
);
comment on table public.koji_commands is
  'The commands of command dispatch servers: a row and a function (channel id, arguments) returning text. '
  'Changed by migrations only.';

alter table public.koji_commands enable row level security;
revoke all on public.koji_commands from public, anon, authenticated, service_role;
grant select on public.koji_commands to authenticated, service_role;
create policy koji_commands_select_readers on public.koji_commands for select to authenticated
  using (exists (select hub_internal.my_server_ids()));

-- What was answered under an idempotency key: a command that writes is not carried out twice. Of the command
-- its digest is enough.
create table hub_internal.command_answers (
  sender_id       text not null,
  idempotency_key text not null,
  digest          bytea not null,
  answer          jsonb,
  created_at      timestamptz not null default now(),
  primary key (sender_id, idempotency_key)
);
comment on table hub_internal.command_answers is
  'The answers of commands that were sent with an idempotency key, for the setting '
  'command_answer_retention. Other commands leave nothing.';
comment on column hub_internal.command_answers.digest is 'sha256 of channel and command.';
create index command_answers_created_idx on hub_internal.command_answers (created_at);

alter table hub_internal.command_answers enable row level security;
revoke all on hub_internal.command_answers from public, anon, authenticated, service_role;

insert into hub_internal.settings (name, value, about) values
  ('command_answer_retention', '1 day',
   'how long a repeated idempotency key gives a command''s first answer');

-- Sales -----------------------------------------------------------------------------------------------------

create table public.koji_prospects (
  id              uuid primary key default gen_random_uuid(),
  server_id       uuid not null references public.hub_servers (id) on delete cascade,
  number          integer not null,
  name            text not null,
  market          text not null,
  tier            text not null,
  stage           text not null default 'new',
  rating          numeric(2, 1),
  address         text,
  contact         text,
  notes           text,
  last_contact_at timestamptz,
  created_at      timestamptz not null default now(),
  unique (server_id, number),
  constraint koji_prospects_tier_check check (tier in ('hot', 'warm', 'cold')),
  constraint koji_prospects_stage_check
    check (stage in ('new', 'outreach', 'sample', 'follow_up', 'won', 'lost')),
  constraint koji_prospects_rating_check check (rating between 0 and 5)
);
comment on table public.koji_prospects is 'Who might buy. Active until won or lost.';
comment on column public.koji_prospects.number is 'What people type: !lead 7.';
create index koji_prospects_tier_idx on public.koji_prospects (server_id, tier, rating desc nulls last)
  where stage not in ('won', 'lost');
create index koji_prospects_market_idx on public.koji_prospects (server_id, lower(market), lower(name));

alter table public.koji_prospects enable row level security;
revoke all on public.koji_prospects from public, anon, authenticated, service_role;
grant select on public.koji_prospects to authenticated;
grant select, insert, update, delete on public.koji_prospects to service_role;
create policy koji_prospects_select_readers on public.koji_prospects for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));

create table public.koji_accounts (
  id         uuid primary key default gen_random_uuid(),
  server_id  uuid not null references public.hub_servers (id) on delete cascade,
  name       text not null,
  market     text not null,
  created_at timestamptz not null default now(),
  unique (server_id, name)
);
comment on table public.koji_accounts is 'Who buys.';

alter table public.koji_accounts enable row level security;
revoke all on public.koji_accounts from public, anon, authenticated, service_role;
grant select on public.koji_accounts to authenticated;
grant select, insert, update, delete on public.koji_accounts to service_role;
create policy koji_accounts_select_readers on public.koji_accounts for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));

create table public.koji_orders (
  id           uuid primary key default gen_random_uuid(),
  server_id    uuid not null references public.hub_servers (id) on delete cascade,
  account_id   uuid not null references public.koji_accounts (id) on delete cascade,
  amount_cents bigint not null,
  ordered_at   timestamptz not null default now(),
  constraint koji_orders_amount_cents_check check (amount_cents >= 0)
);
comment on table public.koji_orders is 'What they bought, in US cents.';
create index koji_orders_month_idx on public.koji_orders (server_id, ordered_at);
create index koji_orders_account_idx on public.koji_orders (account_id);

alter table public.koji_orders enable row level security;
revoke all on public.koji_orders from public, anon, authenticated, service_role;
grant select on public.koji_orders to authenticated;
grant select, insert, update, delete on public.koji_orders to service_role;
create policy koji_orders_select_readers on public.koji_orders for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));

create table public.koji_samples (
  id          uuid primary key default gen_random_uuid(),
  server_id   uuid not null references public.hub_servers (id) on delete cascade,
  prospect_id uuid not null references public.koji_prospects (id) on delete cascade,
  sent_at     timestamptz not null default now()
);
comment on table public.koji_samples is 'Samples that were sent.';
create index koji_samples_server_idx on public.koji_samples (server_id, sent_at);
create index koji_samples_prospect_idx on public.koji_samples (prospect_id);

alter table public.koji_samples enable row level security;
revoke all on public.koji_samples from public, anon, authenticated, service_role;
grant select on public.koji_samples to authenticated;
grant select, insert, update, delete on public.koji_samples to service_role;
create policy koji_samples_select_readers on public.koji_samples for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));

create table public.koji_followups (
  id          uuid primary key default gen_random_uuid(),
  server_id   uuid not null references public.hub_servers (id) on delete cascade,
  prospect_id uuid not null references public.koji_prospects (id) on delete cascade,
  due_at      timestamptz not null,
  done_at     timestamptz
);
comment on table public.koji_followups is 'When to be in touch again.';
create index koji_followups_due_idx on public.koji_followups (server_id, due_at)
  where done_at is null;
create index koji_followups_prospect_idx on public.koji_followups (prospect_id);

alter table public.koji_followups enable row level security;
revoke all on public.koji_followups from public, anon, authenticated, service_role;
grant select on public.koji_followups to authenticated;
grant select, insert, update, delete on public.koji_followups to service_role;
create policy koji_followups_select_readers on public.koji_followups for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));

-- Sweeps ----------------------------------------------------------------------------------------------------

create table public.koji_sweeps (
  id               uuid primary key default gen_random_uuid(),
  server_id        uuid not null references public.hub_servers (id) on delete cascade,
  city             text not null,
  status           text not null default 'queued',
  attempt          integer not null default 0,
  run_after        timestamptz not null default now(),
  lease_expires_at timestamptz,
  source           text,
  found            integer,
  added            integer,
  error            text,
  requested_by     uuid,
  created_at       timestamptz not null default now(),
  started_at       timestamptz,
  finished_at      timestamptz,
  constraint koji_sweeps_city_check check (char_length(city) between 1 and 80),
  constraint koji_sweeps_status_check check (status in ('queued', 'running', 'complete', 'failed'))
);
comment on table public.koji_sweeps is
  'Searches of a city for new leads: asked for by !sweep, carried out by a worker.';
comment on column public.koji_sweeps.attempt is
  'The fence: what an earlier attempt brings is refused with UH002.';
comment on column public.koji_sweeps.found is
  'How many leads the source named; added is how many of them were new.';
create index koji_sweeps_server_idx on public.koji_sweeps (server_id, created_at desc);
create unique index koji_sweeps_live_idx on public.koji_sweeps (server_id, lower(city))
  where status in ('queued', 'running');
create index koji_sweeps_due_idx on public.koji_sweeps ((coalesce(lease_expires_at, run_after)))
  where status in ('queued', 'running');

alter table public.koji_sweeps enable row level security;
revoke all on public.koji_sweeps from public, anon, authenticated, service_role;
grant select on public.koji_sweeps to authenticated;
grant select, insert, update, delete on public.koji_sweeps to service_role;
create policy koji_sweeps_select_readers on public.koji_sweeps for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()));
