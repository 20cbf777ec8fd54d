-- Why: which kind of work a message is, and so for which model and platform, is decided by rows that can be
-- read.
--
--   type       the rules of the server     win over
--              what was corrected there    wins over
--              the weights of the words, which are learned (tests/routing/train)
--   model      who is addressed ("ask gemini to …", "@codex …")   wins over
--              the channel's preference                           wins over
--              rules, then corrections, then the model of the type
--   platform   rules
--
-- A rule is a tsquery over the words of the message; 500 of them cost little more than five, because only
-- rules that share a word with it are looked at. Of rules that match, the weights are summed, for type,
-- platform and model each; the highest sum decides.
-- Of the words, the one that opens the request (behind "please", "can you", …) has the tsvector weight A, one
-- that opens a later sentence B, all others D: 'fix:A' is "fix the login", not "document the fix".

create table public.hub_routing_rules (
  id         uuid primary key default gen_random_uuid(),
  server_id  uuid references public.hub_servers (id) on delete cascade,
  query      text not null,
  task_type  text,
  model      text,
  platform   text,
  weight     real not null default 100,
  compiled   tsquery not null,
  created_at timestamptz not null default now(),
  constraint hub_routing_rules_says_something_check check (num_nonnulls(task_type, model, platform) > 0),
  constraint hub_routing_rules_task_type_check
    check (task_type in ('code', 'fix', 'test', 'review', 'research', 'docs', 'ops', 'plan', 'data', 'design',
                         'other')),
  constraint hub_routing_rules_model_check check (model in ('claude', 'codex', 'gemini', 'any')),
  constraint hub_routing_rules_platform_check check (platform in ('any', 'macos', 'linux', 'windows')),
  constraint hub_routing_rules_weight_check check (weight > 0 and weight <= 1000)
);
comment on table public.hub_routing_rules is
  'What words say about a request: its type, its model, its platform. Rules of a server are its owners''; '
  'those without one are shipped, changed by migrations.';
comment on column public.hub_routing_rules.query is
  'As to_tsquery reads it, with the simple configuration: words joined by & | ! and <-> (next to each '
  'other); fix:A only where it opens the request, fix:B where it opens a later sentence, deploy:* any word '
  'that starts so.';
comment on column public.hub_routing_rules.weight is
  'Against other rules. Shipped ones weigh 10, so that one of a server''s own (100 unless said) outweighs '
  'them.';
create index hub_routing_rules_server_idx on public.hub_routing_rules (server_id);

alter table public.hub_routing_rules enable row level security;
revoke all on public.hub_routing_rules from public, anon, authenticated, service_role;
grant select on public.hub_routing_rules to authenticated, service_role;
grant insert (id, server_id, query, task_type, model, platform, weight),
      update (query, task_type, model, platform, weight),
      delete
  on public.hub_routing_rules to authenticated, service_role;
create policy hub_routing_rules_select_readers on public.hub_routing_rules for select to authenticated
  using (server_id in (select hub_internal.my_server_ids())
         or server_id is null and (select hub_internal.person()) is not null);
create policy hub_routing_rules_insert_owners on public.hub_routing_rules for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_routing_rules_update_owners on public.hub_routing_rules for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_routing_rules_delete_owners on public.hub_routing_rules for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

-- Which model a kind of work goes to when neither words nor channel say so.
create table public.hub_routing_models (
  task_type text primary key,
  model     text not null,
  constraint hub_routing_models_model_check check (model in ('claude', 'codex', 'gemini', 'any'))
);
comment on table public.hub_routing_models is
  'The model each type of task goes to unless somebody says otherwise; edit is code that a script could '
  'change. Changed by migrations.';

alter table public.hub_routing_models enable row level security;
revoke all on public.hub_routing_models from public, anon, authenticated, service_role;
grant select on public.hub_routing_models to authenticated, service_role;
create policy hub_routing_models_select_readers on public.hub_routing_models for select to authenticated
  using ((select hub_internal.person()) is not null);

insert into public.hub_routing_models (task_type, model) values
  ('code',     'claude'),
  ('fix',      'claude'),
  ('review',   'claude'),
  ('plan',     'claude'),
  ('test',     'codex'),
  ('edit',     'codex'),
  ('research', 'gemini'),
  ('docs',     'gemini'),
  ('data',     'gemini'),
  ('design',   'gemini'),
  ('ops',      'any'),
  ('other',    'any');

create table hub_internal.routing_weights (
  feature text collate "C" primary key,
  weights real[] not null,
  constraint routing_weights_weights_check check (cardinality(weights) = 12)
);
comment on table hub_internal.routing_weights is
  'How much a word speaks for each kind of work: what a message has of it is summed, and the highest sum is '
  'its kind. Made by tests/routing/train, changed by migrations.';
comment on column hub_internal.routing_weights.feature is
  'See request_features. The empty one counts for every message.';
comment on column hub_internal.routing_weights.weights is
  'For code, data, design, docs, edit, fix, ops, other, plan, research, review and test, in this order.';

-- Each of them is looked at: unpacked again and again it would be most of that.
alter table hub_internal.routing_weights alter column weights set storage plain;
alter table hub_internal.routing_weights enable row level security;
revoke all on hub_internal.routing_weights from public, anon, authenticated, service_role;

-- What operators said a request is (hub_route_task with p_type): the same request goes that way the next
-- time.
create table public.hub_routing_examples (
  id         uuid primary key default gen_random_uuid(),
  server_id  uuid not null references public.hub_servers (id) on delete cascade,
  words      uuid not null,
  content    text not null,
  task_type  text not null,
  model      text,
  created_by uuid,
  created_at timestamptz not null default clock_timestamp(),
  unique (server_id, words),
  constraint hub_routing_examples_task_type_check
    check (task_type in ('code', 'fix', 'test', 'review', 'research', 'docs', 'ops', 'plan', 'data', 'design',
                         'other')),
  constraint hub_routing_examples_model_check check (model in ('claude', 'codex', 'gemini', 'any'))
);
comment on table public.hub_routing_examples is
  'Requests of a server whose type was corrected by hand, the newest so many (server_routing_examples of the '
  'quotas). Its owners see them, and delete what shall not count any more.';
comment on column public.hub_routing_examples.words is
  'Made of the words of the request: the same for whoever says the same in another order or politer.';
comment on column public.hub_routing_examples.model is 'Null: the model of the type.';

alter table public.hub_routing_examples enable row level security;
revoke all on public.hub_routing_examples from public, anon, authenticated, service_role;
grant select, delete on public.hub_routing_examples to authenticated, service_role;
create policy hub_routing_examples_select_owners on public.hub_routing_examples for select to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_routing_examples_delete_owners on public.hub_routing_examples for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

create table hub_internal.routing_words (
  word      text not null,
  server_id uuid,                                 -- of the rule; null for those that are shipped
  rule_id   uuid not null references public.hub_routing_rules (id) on delete cascade,
  primary key (word, rule_id)
);
comment on table hub_internal.routing_words is
  'Words of each rule: the way from a message to the few rules that may match. An empty word stands in '
  'for a rule that needs no certain one (a prefix, a negation).';

-- By which a message finds its rules: what other servers have of a word is not read.
create index routing_words_word_idx on hub_internal.routing_words (word, server_id, rule_id);
create index routing_words_rule_idx on hub_internal.routing_words (rule_id);

alter table hub_internal.routing_words enable row level security;
revoke all on hub_internal.routing_words from public, anon, authenticated, service_role;
