-- Why: which kind of work a message is, and so for which model and platform, is said by rules that are rows.
-- A rule is a tsquery over the words of the message; 500 of them cost little more than five, because only
-- rules that share a word with it are looked at.
--
--   a model that is addressed ("ask gemini to …", "@codex …")   wins over
--   the channel's preference                                    wins over
--   the rules: the weights of those that match are summed, for type, platform and model each; the highest
--   sum decides
--
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
  'Shipped rules weigh 1 to 20, so that one of a server''s own (100 unless said) outweighs them.';
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
  'The model each type of task goes to unless somebody says otherwise. Changed by migrations.';

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
  ('research', 'gemini'),
  ('docs',     'gemini'),
  ('data',     'gemini'),
  ('design',   'gemini'),
  ('ops',      'any'),
  ('other',    'any');

create table hub_internal.routing_words (
  word      text not null,
  server_id uuid,                                 -- of the rule; null for those that are shipped
  rule_id   uuid not null references public.hub_routing_rules (id) on delete cascade,
  primary key (word, rule_id)
);
comment on table hub_internal.routing_words is
  'The words of each rule: the way from a message to the few rules that may match. An empty word stands in '
  'for a rule that needs no certain one (a prefix, a negation).';

-- By which a message finds its rules: what other servers have of a word is not read.
create index routing_words_word_idx on hub_internal.routing_words (word, server_id, rule_id);
create index routing_words_rule_idx on hub_internal.routing_words (rule_id);

alter table hub_internal.routing_words enable row level security;
revoke all on hub_internal.routing_words from public, anon, authenticated, service_role;
