-- Why: what the world reports, by whom it may be reported, and what it becomes: tables. How it is dealt with
-- is …deliveries and …github; how tokens of other agents are made and used, …hooks.
--
-- A delivery:  stored -> done                     tasks were made
--              stored -> ignored                  no rule, nothing to do (a ping): error says why
--              stored -> stored                   it failed: attempt + 1, run_after later
--              stored -> failed                   five times, or it can never succeed
--
-- What became of it in a server is a row of hub_webhook_outcomes, which that server's operators see, and
-- nobody of another.

-- What came in ----------------------------------------------------------------------------------------------

create table public.hub_webhook_deliveries (
  id          uuid primary key default gen_random_uuid(),
  seq         bigint generated always as identity,
  provider    text not null,
  delivery_id text not null,
  event       text not null,
  payload     jsonb not null,
  received_at timestamptz not null default now(),
  status      text not null default 'stored',
  attempt     integer not null default 0,
  run_after   timestamptz not null default now(),
  error       text,
  secret_name text not null default 'GITHUB_WEBHOOK_SECRET',
  finished_at timestamptz,
  constraint hub_webhook_deliveries_status_check check (status in ('stored', 'done', 'ignored', 'failed'))
);
comment on table public.hub_webhook_deliveries is
  'What was reported from outside, once each by the id its sender gave it. Finished ones are kept for the '
  'setting webhook_retention.';
comment on column public.hub_webhook_deliveries.error is
  'Why it was ignored, or why it failed as a whole; of one that is done, which rules failed. Never the '
  'payload. For whoever runs the deployment.';
comment on column public.hub_webhook_deliveries.secret_name is
  'With which secret it was signed: the name of the environment variable.';

-- A sender's id is its own: hashes and such of 200 characters make one index entry.
create unique index hub_webhook_deliveries_delivery_idx
  on public.hub_webhook_deliveries (provider, delivery_id);
create index hub_webhook_deliveries_due_idx on public.hub_webhook_deliveries (run_after, seq)
  where status = 'stored';
create index hub_webhook_deliveries_received_idx on public.hub_webhook_deliveries (received_at);
create index hub_webhook_deliveries_finished_idx on public.hub_webhook_deliveries (finished_at)
  where finished_at is not null;

-- Not compressed: the time in which a sender waits for its answer goes to checking and writing.
alter table public.hub_webhook_deliveries alter column payload set storage external;

alter table public.hub_webhook_deliveries enable row level security;
revoke all on sequence public.hub_webhook_deliveries_seq_seq from public, anon, authenticated, service_role;
revoke all on public.hub_webhook_deliveries from public, anon, authenticated, service_role;
grant select (id, provider, delivery_id, event, received_at)
  on public.hub_webhook_deliveries to authenticated;
grant select, insert, update, delete on public.hub_webhook_deliveries to service_role;

-- A row a delivery and server: what it became in one says nothing of the others.
create table public.hub_webhook_outcomes (
  delivery_id uuid not null references public.hub_webhook_deliveries (id) on delete cascade,
  server_id   uuid not null references public.hub_servers (id) on delete cascade,
  status      text not null,
  error       text,
  task_ids    uuid[] not null default '{}',
  updated_at  timestamptz not null default now(),
  primary key (server_id, delivery_id),
  constraint hub_webhook_outcomes_status_check check (status in ('done', 'stored', 'failed'))
);
comment on table public.hub_webhook_outcomes is
  'What became of a delivery in a server: its tasks, or why its rules failed. Its operators see it.';
comment on column public.hub_webhook_outcomes.status is
  'done: it made tasks (error says which rules failed all the same); stored: its rules failed, and it is '
  'tried again; failed: given up.';
create index hub_webhook_outcomes_delivery_idx on public.hub_webhook_outcomes (delivery_id);

alter table public.hub_webhook_outcomes enable row level security;
revoke all on public.hub_webhook_outcomes from public, anon, authenticated, service_role;
grant select on public.hub_webhook_outcomes to authenticated;
grant select, insert, update, delete on public.hub_webhook_outcomes to service_role;
create policy hub_webhook_outcomes_select_operators on public.hub_webhook_outcomes for select to authenticated
  using (server_id in (select hub_internal.my_operated_server_ids()));

create policy hub_webhook_deliveries_select_operators on public.hub_webhook_deliveries
  for select to authenticated
  using (id in (select o.delivery_id
                  from public.hub_webhook_outcomes o
                 where o.server_id in (select hub_internal.my_operated_server_ids())));

-- By what it becomes work -----------------------------------------------------------------------------------

create table public.hub_webhook_rules (
  id              uuid primary key default gen_random_uuid(),
  server_id       uuid not null references public.hub_servers (id) on delete cascade,
  provider        text not null default 'github',
  event           text not null,
  action          text,
  repository      text,
  branch          text,
  label           text,
  author          text,
  command         text,
  channel_id      uuid not null references public.hub_channels (id) on delete cascade,
  agent           text,
  model           text,
  project         text,
  template        text not null,
  answer          boolean not null default false,
  mentions        boolean not null default false,
  enabled         boolean not null default true,
  position        integer not null default 100,
  last_matched_at timestamptz,
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  constraint hub_webhook_rules_provider_check check (provider = 'github'),
  constraint hub_webhook_rules_event_check
    check (event in ('push', 'pull_request', 'issues', 'issue_comment', 'pull_request_review_comment',
                     'check_suite')),
  constraint hub_webhook_rules_globs_check
    check (char_length(action) between 1 and 200
           and char_length(repository) between 1 and 200
           and char_length(branch) between 1 and 200
           and char_length(label) between 1 and 200
           and char_length(author) between 1 and 200),
  constraint hub_webhook_rules_command_check check (command ~ '^[^\s[:cntrl:]]{2,40}$'),
  constraint hub_webhook_rules_agent_check check (agent ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  constraint hub_webhook_rules_model_check check (model in ('claude', 'gemini', 'codex', 'any'))
);
comment on table public.hub_webhook_rules is
  'What is reported from outside, to which channel''s tasks. For one channel the first rule that matches '
  '(position, then age) makes the one task; other channels have theirs.';
comment on column public.hub_webhook_rules.action is
  'Globs (* any characters, ? one) from here to author; null is any. The payload''s action, or for '
  'check_suite its conclusion (failure), for pull_request also merged. For comments null is created.';
comment on column public.hub_webhook_rules.repository is 'owner/name, in any case of letters.';
comment on column public.hub_webhook_rules.branch is
  'The branch pushed or checked; of a pull request the one it goes into, as in GitHub''s own workflows. '
  'Issues and their comments have none.';
comment on column public.hub_webhook_rules.label is
  'One of its labels; for the action labeled the one just put on.';
comment on column public.hub_webhook_rules.author is 'Who pushed, opened, or commented.';
comment on column public.hub_webhook_rules.command is
  'The word a comment begins with; /hub unless said otherwise, and only for comments. Obeyed from an OWNER, '
  'MEMBER or COLLABORATOR alone.';
comment on column public.hub_webhook_rules.project is
  'The channel''s own unless said otherwise: one of the server''s hub_projects, by name or path.';
comment on column public.hub_webhook_rules.template is
  'What the task says. Placeholders: {repository} {branch} {title} {author} {url} {number}, and once each '
  '{body} '
  '{commits} {comment}; what is put in is quoted as data.';
comment on column public.hub_webhook_rules.answer is
  'Whether the end of the task is told as a comment on that issue or pull request. For a command it always '
  'is.';
comment on column public.hub_webhook_rules.mentions is
  'Whether @name in an answer calls that person or team. What an agent writes may be what a stranger asked '
  'it to write.';
create index hub_webhook_rules_event_idx on public.hub_webhook_rules (provider, event)
  where enabled;
-- By server: only the rules of those servers are read that have a place for the repository.
create index hub_webhook_rules_server_idx on public.hub_webhook_rules (server_id, provider, event);
create index hub_webhook_rules_channel_idx on public.hub_webhook_rules (channel_id);

alter table public.hub_webhook_rules enable row level security;
revoke all on public.hub_webhook_rules from public, anon, authenticated, service_role;
grant select on public.hub_webhook_rules to authenticated;
grant insert (id, server_id, provider, event, action, repository, branch, label, author, command, channel_id,
              agent, model, project, template, answer, mentions, enabled, position),
      update (event, action, repository, branch, label, author, command, channel_id,
              agent, model, project, template, answer, mentions, enabled, position),
      delete
  on public.hub_webhook_rules to authenticated;
grant select, insert, update, delete on public.hub_webhook_rules to service_role;
create policy hub_webhook_rules_select_owners on public.hub_webhook_rules for select to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_webhook_rules_insert_owners on public.hub_webhook_rules for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_webhook_rules_update_owners on public.hub_webhook_rules for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_webhook_rules_delete_owners on public.hub_webhook_rules for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

-- Which task came of what. Here and not in metadata, which its maker may write: an answer goes where this
-- says.
create table hub_internal.webhook_tasks (
  delivery_id uuid not null,
  channel_id  uuid not null references public.hub_channels (id) on delete cascade,
  task_id     uuid not null unique references public.mac_tasks (id) on delete cascade,
  rule_id     uuid,
  provider    text not null,
  repository  text not null,
  number      bigint,
  answer      boolean not null,
  primary key (delivery_id, channel_id)
);
comment on table hub_internal.webhook_tasks is
  'The task that a delivery became in a channel, and where its end is told.';
create index webhook_tasks_channel_idx on hub_internal.webhook_tasks (channel_id);

alter table hub_internal.webhook_tasks enable row level security;
revoke all on hub_internal.webhook_tasks from public, anon, authenticated, service_role;

insert into hub_internal.settings (name, value, about) values
  ('webhook_retention',        '30 days',   'a webhook delivery that was dealt with is kept for this long'),
  ('direct_message_retention', '90 days',   'a message to a person is kept for this long, read or not'),
  ('webhook_round',            '3 seconds', 'hub_process_webhooks begins no other delivery after this long');

-- The delivery (its seq) that is being dealt with, not called when there is none. A sequence, since setval is
-- the one thing that a cancelled statement leaves behind. Only for who holds the lock of process_webhooks.
create sequence hub_internal.webhook_at_work;
revoke all on sequence hub_internal.webhook_at_work from public, anon, authenticated, service_role;
comment on sequence hub_internal.webhook_at_work is
  'Which delivery hub_process_webhooks is at: what it finds here when it begins was cut off.';

-- Other agents ----------------------------------------------------------------------------------------------

create table public.hub_hook_tokens (
  id           uuid primary key default gen_random_uuid(),
  name         text not null,
  token_hash   bytea not null unique,
  targets      text[] not null,
  server_ids   uuid[] not null default '{}',
  created_by   uuid,
  created_at   timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at   timestamptz,
  constraint hub_hook_tokens_name_check check (name ~ '^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9._-])?$'),
  constraint hub_hook_tokens_targets_check check (cardinality(targets) between 1 and 50)
);
comment on table public.hub_hook_tokens is
  'Tokens with which other agents and scripts send work here: each to its own targets, channel:<uuid> or '
  'user:<uuid>.';
comment on column public.hub_hook_tokens.token_hash is
  'sha256 of the token. 256 random bits need no salt and no slow hash.';
comment on column public.hub_hook_tokens.server_ids is
  'By which servers its targets were its maker''s to give: those of its channels and, for a person, those '
  'of the maker''s where they were a member. Their owners see and revoke it.';
comment on column public.hub_hook_tokens.last_used_at is 'To the minute.';
create index hub_hook_tokens_targets_idx on public.hub_hook_tokens using gin (targets);

alter table public.hub_hook_tokens enable row level security;
revoke all on public.hub_hook_tokens from public, anon, authenticated, service_role;
grant select (id, name, targets, server_ids, created_by, created_at, last_used_at, revoked_at)
  on public.hub_hook_tokens to authenticated;
grant select, insert, update, delete on public.hub_hook_tokens to service_role;
create policy hub_hook_tokens_select_owners on public.hub_hook_tokens for select to authenticated
  using (id in (select hub_internal.my_hook_token_ids()));

create table public.hub_direct_messages (
  id              uuid primary key default gen_random_uuid(),
  user_id         uuid not null,
  sender_id       text not null,
  sender_label    text not null,
  content         text not null,
  idempotency_key text,
  created_at      timestamptz not null default now(),
  read_at         timestamptz,
  constraint hub_direct_messages_read_at_check check (isfinite(read_at)),
  constraint hub_direct_messages_content_check check (char_length(content) between 1 and 100000),
  constraint hub_direct_messages_idempotency_key_check check (char_length(idempotency_key) between 1 and 200)
);
comment on table public.hub_direct_messages is
  'What was sent to a person and to no channel: by agents, with hub_receive_hook. The person alone reads '
  'it; it is kept for the setting direct_message_retention.';
create index hub_direct_messages_user_idx on public.hub_direct_messages (user_id, created_at desc);
create index hub_direct_messages_created_idx on public.hub_direct_messages (created_at);
create unique index hub_direct_messages_idempotency_idx
  on public.hub_direct_messages (sender_id, idempotency_key)
  where idempotency_key is not null;

alter table public.hub_direct_messages enable row level security;
revoke all on public.hub_direct_messages from public, anon, authenticated, service_role;
grant select, update (read_at), delete on public.hub_direct_messages to authenticated;
grant select, insert, update, delete on public.hub_direct_messages to service_role;
create policy hub_direct_messages_select_oneself on public.hub_direct_messages for select to authenticated
  using (user_id = (select hub_internal.person()));
create policy hub_direct_messages_update_oneself on public.hub_direct_messages for update to authenticated
  using (user_id = (select hub_internal.person()))
  with check (user_id = (select hub_internal.person()));
create policy hub_direct_messages_delete_oneself on public.hub_direct_messages for delete to authenticated
  using (user_id = (select hub_internal.person()));
