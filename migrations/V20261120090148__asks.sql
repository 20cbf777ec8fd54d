-- Why: a person is asked, by a row and not by a process that holds its breath: who may answer, what was
-- shown, what was answered by whom, by which door and when. Tables; asking is …asking, answering …answering,
-- the doors …ask_doors and …ask_presses.
--
--     open -> answered              by a person, a rule, or what was allowed before (a grant)
--     open -> expired               nobody answered in time: never told as a refusal
--     open -> withdrawn             its attempt ended, its task was cancelled, or the agent asks no more
--
-- The first answer wins. What was asked never changes: whoever asks something else makes another row.

create table public.hub_asks (
  id              uuid primary key default gen_random_uuid(),
  task_id         uuid not null references public.mac_tasks (id) on delete cascade,
  attempt         integer not null,
  ref             text,
  server_id       uuid,
  channel_id      uuid,
  thread_id       uuid,
  message_id      uuid,
  asked_by        text not null,
  kind            text not null,
  title           text not null,
  body            text,
  tool            text,
  input           jsonb,
  digest          text not null,
  options         jsonb not null,
  roles           text[] not null default '{operator,owner}',
  persons         uuid[] not null default '{}',
  self            boolean not null default true,
  expires_at      timestamptz,
  on_expiry       text,
  reminded        integer not null default 0,
  state           text not null default 'open',
  answer          text,
  answer_text     text,
  answered_by     uuid,
  answered_label  text,
  answered_door   text,
  answered_at     timestamptz,
  answered_digest text,
  answer_message_id uuid,
  parked          boolean not null default false,
  taken_at        timestamptz,
  spent_at        timestamptz,
  budget_id       bigint,
  told_at         timestamptz,
  created_at      timestamptz not null default now(),
  constraint hub_asks_kind_check check (kind in ('approval', 'question', 'stop')),
  constraint hub_asks_state_check check (state in ('open', 'answered', 'expired', 'withdrawn')),
  constraint hub_asks_on_expiry_check check (on_expiry in ('deny', 'cancel', 'remind', 'continue')),
  constraint hub_asks_expiry_check check ((expires_at is null) = (on_expiry is null)),
  constraint hub_asks_roles_check check (roles <@ array['operator', 'owner']),
  constraint hub_asks_answered_check
    check ((state = 'open') = (answered_at is null) and (state <> 'answered' or answered_door is not null))
) with (fillfactor = 70);
comment on table public.hub_asks is
  'What people were asked by tasks, and what was answered. Read by whoever may read the task; written by '
  'hub_ask, hub_answer_ask and the like alone.';
comment on column public.hub_asks.ref is
  'The asker''s own name for it, unique in its attempt: asking again with it is not asking twice.';
comment on column public.hub_asks.server_id is
  'Where it was asked: server, channel, thread. No foreign keys, as the task''s own row decides who may see '
  'and answer it.';
comment on column public.hub_asks.message_id is 'The message that asks; it is edited when the ask is closed.';
comment on column public.hub_asks.asked_by is 'Who asks, as people read it: claude/mac1.';
comment on column public.hub_asks.digest is
  'Of an approval: sha256, in hexadecimal digits, of the tool, a line end, and the input as Postgres writes '
  'it. Whoever answers with it answers what they were shown.';
comment on column public.hub_asks.options is
  'What may be answered: [{"key","label"}]; empty where any text may.';
comment on column public.hub_asks.roles is 'Who may answer: members with one of these roles, or persons.';
comment on column public.hub_asks.self is 'Whether the maker of the task may answer.';
comment on column public.hub_asks.on_expiry is
  'What happens when nobody has answered at expires_at. Null: it waits.';
comment on column public.hub_asks.reminded is 'How often people were reminded of it.';
comment on column public.hub_asks.answered_label is 'By whom, as people read it, when it was answered.';
comment on column public.hub_asks.answered_door is
  'hub (a program of theirs), thread, discord, telegram, ntfy; rule or grant: nobody was asked; time: nobody '
  'answered; end: its attempt ended; agent: it asks no more.';
comment on column public.hub_asks.answered_digest is
  'The digest that came with the answer. Null: it came without one.';
comment on column public.hub_asks.answer_message_id is 'The message in the thread that is its answer.';
comment on column public.hub_asks.parked is
  'Its attempt ended before the answer had reached the agent: the answer goes to the next one, and an '
  '`allow` is good for the same call once more.';
comment on column public.hub_asks.taken_at is 'When the answer had reached the agent.';
comment on column public.hub_asks.spent_at is
  'When the same was asked in a later attempt, and this answered it.';

comment on column public.hub_asks.budget_id is
  'The budget that is met: the hub asks, and its agent is told nothing of it. No foreign key: what was asked '
  'stays.';
comment on column public.hub_asks.told_at is 'Of a budget: when its device was first told to make room.';

create unique index hub_asks_ref_idx on public.hub_asks (task_id, attempt, ref);
create index hub_asks_open_idx on public.hub_asks (task_id) where state = 'open';
create index hub_asks_inbox_idx on public.hub_asks (created_at) where state = 'open';
create index hub_asks_expiry_idx on public.hub_asks (expires_at)
  where state = 'open' and expires_at is not null;
create index hub_asks_untaken_idx on public.hub_asks (task_id) where state <> 'open' and taken_at is null;
create index hub_asks_budget_idx on public.hub_asks (budget_id)
  where state = 'open' and budget_id is not null;
create index hub_asks_message_idx on public.hub_asks (message_id) where message_id is not null;
create index hub_asks_answer_message_idx on public.hub_asks (answer_message_id)
  where answer_message_id is not null;

alter table public.hub_asks enable row level security;
revoke all on public.hub_asks from public, anon, authenticated, service_role;
grant select on public.hub_asks to authenticated, service_role;
-- The subquery stands under the policies of mac_tasks.
create policy hub_asks_select_readers on public.hub_asks for select to authenticated
  using (exists (select from public.mac_tasks t where t.id = task_id));

-- Rules -----------------------------------------------------------------------------------------------------

create table public.hub_ask_rules (
  id            uuid primary key default gen_random_uuid(),
  server_id     uuid not null references public.hub_servers (id) on delete cascade,
  agent         text,
  tool          text,
  pattern       text,
  action        text not null,
  position      integer not null default 100,
  roles         text[] not null default '{operator,owner}',
  persons       uuid[] not null default '{}',
  self          boolean not null default true,
  expires_after interval,
  on_expiry     text,
  about         text,
  created_by    uuid,
  created_at    timestamptz not null default now(),
  constraint hub_ask_rules_action_check check (action in ('allow', 'ask', 'deny')),
  constraint hub_ask_rules_agent_check check (agent ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  constraint hub_ask_rules_tool_check check (char_length(tool) between 1 and 200),
  constraint hub_ask_rules_pattern_check check (char_length(pattern) between 1 and 500),
  constraint hub_ask_rules_about_check check (char_length(about) between 1 and 500),
  constraint hub_ask_rules_roles_check
    check (roles <@ array['operator', 'owner'] and cardinality(roles) + cardinality(persons) > 0),
  constraint hub_ask_rules_persons_check
    check (cardinality(persons) <= 50 and array_position(persons, null) is null),
  constraint hub_ask_rules_on_expiry_check check (on_expiry in ('deny', 'cancel', 'remind')),
  constraint hub_ask_rules_expiry_check
    check ((expires_after is null) = (on_expiry is null)
           and expires_after between interval '1 minute' and interval '90 days'),
  constraint hub_ask_rules_ask_check
    check (action = 'ask' or (expires_after is null and self and persons = '{}'))
);
comment on table public.hub_ask_rules is
  'What of a server''s approvals is answered without asking (allow, deny), and who is asked how (ask): the '
  'first that matches, by position. Its owners'' to write.';
comment on column public.hub_ask_rules.agent is 'Of this agent; null of any.';
comment on column public.hub_ask_rules.tool is 'Of this tool; null of any.';
comment on column public.hub_ask_rules.pattern is
  'A glob (* any text, ? any character) that the whole input must match, as it is shown: a text as it is, of '
  'an object a line `key: value` each. Null: any.';
comment on column public.hub_ask_rules.action is
  'ask without tool and pattern is for questions and stops, too.';
comment on column public.hub_ask_rules.created_by is 'Who wrote it last; null: the deployment.';
create index hub_ask_rules_server_idx on public.hub_ask_rules (server_id, position);

alter table public.hub_ask_rules enable row level security;
revoke all on public.hub_ask_rules from public, anon, authenticated, service_role;
grant select on public.hub_ask_rules to authenticated, service_role;
grant insert (id, server_id, agent, tool, pattern, action, position, roles, persons, self, expires_after,
              on_expiry, about),
      update (agent, tool, pattern, action, position, roles, persons, self, expires_after, on_expiry, about),
      delete
  on public.hub_ask_rules to authenticated, service_role;
-- What is allowed without asking is a map for whoever wants to get past it.
create policy hub_ask_rules_select_members on public.hub_ask_rules for select to authenticated
  using (server_id in (select hub_internal.my_member_server_ids()));
create policy hub_ask_rules_insert_owners on public.hub_ask_rules for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_ask_rules_update_owners on public.hub_ask_rules for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_ask_rules_delete_owners on public.hub_ask_rules for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

-- By digest alone: what was shown is allowed again, and nothing that only looks like it.
create table hub_internal.ask_grants (
  root_id    uuid not null,
  digest     text not null,
  ask_id     uuid not null references public.hub_asks (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (root_id, digest)
);
comment on table hub_internal.ask_grants is
  'What was allowed for the rest of a line of work: the same tool with the same input.';
create index ask_grants_ask_idx on hub_internal.ask_grants (ask_id);

alter table hub_internal.ask_grants enable row level security;
revoke all on hub_internal.ask_grants from public, anon, authenticated, service_role;

-- Doors -----------------------------------------------------------------------------------------------------

-- The key behind a button. Who has read this table has none.
create table hub_internal.ask_keys (
  hash       bytea primary key,
  ask_id     uuid not null references public.hub_asks (id) on delete cascade,
  answer     text not null,
  provider   text not null,
  chat       text not null,
  person     uuid,
  created_at timestamptz not null default now()
);
comment on table hub_internal.ask_keys is
  'Keys of buttons by their hash: which answer to which ask, good in one chat only.';
comment on column hub_internal.ask_keys.person is
  'Whose key it is, where the door knows no accounts (ntfy).';
create index ask_keys_ask_idx on hub_internal.ask_keys (ask_id);

alter table hub_internal.ask_keys enable row level security;
revoke all on hub_internal.ask_keys from public, anon, authenticated, service_role;

create table public.hub_chat_identities (
  provider   text not null,
  author_id  text not null,
  user_id    uuid not null,
  label      text not null,
  person_label text not null,
  created_at timestamptz not null default now(),
  primary key (provider, author_id),
  constraint hub_chat_identities_provider_check check (provider in ('discord', 'telegram')),
  constraint hub_chat_identities_author_id_check check (char_length(author_id) between 1 and 100)
);
comment on table public.hub_chat_identities is
  'Whose account in a chat it is: what is answered with it counts as theirs. Made with a one-time code '
  '(hub_link_code, hub_link_chat), ended with hub_unlink_chat. A person sees their own.';
comment on column public.hub_chat_identities.author_id is 'As the provider numbers accounts.';
comment on column public.hub_chat_identities.label is 'As the account was called when it was linked.';
comment on column public.hub_chat_identities.person_label is 'As the person was called then.';
create index hub_chat_identities_user_idx on public.hub_chat_identities (user_id);

alter table public.hub_chat_identities enable row level security;
revoke all on public.hub_chat_identities from public, anon, authenticated, service_role;
grant select on public.hub_chat_identities to authenticated, service_role;
create policy hub_chat_identities_select_oneself on public.hub_chat_identities for select to authenticated
  using (user_id = (select hub_internal.person()));

create table hub_internal.link_codes (
  user_id    uuid primary key,
  hash       bytea not null unique,
  label      text not null,
  expires_at timestamptz not null
);
comment on table hub_internal.link_codes is 'One-time codes of people, by their hash; one a person.';

alter table hub_internal.link_codes enable row level security;
revoke all on hub_internal.link_codes from public, anon, authenticated, service_role;

-- How much --------------------------------------------------------------------------------------------------

insert into hub_internal.settings (name, value, about) values
  ('link_code_life', '10 minutes', 'how long the code is good that links an account of a chat to a person');

insert into hub_internal.quotas (name, amount, per, about) values
  ('task_open_asks',    20, null,         'open questions of a task'),
  ('task_asks',        300, '1 hour',     'questions of a task'),
  ('server_ask_rules', 300, null,         'rules for approvals of a server'),
  ('person_link_codes', 20, '1 hour',     'codes to link an account of a chat that a person asks for'),
  ('link_tries',        10, '10 minutes', 'codes that an account of a chat tries');
