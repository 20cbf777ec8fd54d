-- Why: money and time have an end. A budget is an amount of one measure, for a part of what the hub does;
-- what was used of it stands beside it, and whoever meets it waits until people have answered
-- (…meeting_budgets).
--
--     an attempt used more, or ended   -> a row of the ledger (spendings): nobody waits for others' sums
--     the ledger is folded             -> budget_use, by budget and period
--     a budget is met                  -> its lanes are held, what runs is asked about and makes room
--     answered, or a new period        -> its lanes are free, what waited goes on

create table public.hub_budgets (
  id         bigint primary key generated always as identity,
  server_id  uuid references public.hub_servers (id) on delete cascade,
  scope      text not null,
  subject    text not null default '',
  measure    text not null,
  amount     numeric not null,
  per        text,
  raised     numeric not null default 0,
  raised_in  timestamptz,
  raised_by  text,
  on_silence text not null default 'wait',
  silence    interval,
  roles      text[] not null default '{owner}',
  about      text,
  has_lanes  boolean not null default true,
  created_by uuid,
  created_at timestamptz not null default now(),
  constraint hub_budgets_key unique nulls not distinct (server_id, scope, subject, measure, per),
  constraint hub_budgets_scope_check
    check (scope in ('deployment', 'server', 'project', 'channel', 'agent', 'person', 'task')
           and (scope = 'deployment') = (server_id is null)
           and (scope in ('deployment', 'server')) = (subject = '')),
  constraint hub_budgets_subject_check check (char_length(subject) <= 500),
  constraint hub_budgets_measure_check
    check (measure in ('cost', 'notional', 'tokens', 'seconds', 'running')),
  constraint hub_budgets_amount_check check (amount > 0 and amount <= 1e15),
  constraint hub_budgets_per_check check (per in ('day', 'week', 'month')),
  constraint hub_budgets_silence_check
    check (on_silence in ('wait', 'cancel', 'continue')
           and (on_silence = 'wait') = (silence is null)
           and silence between interval '1 minute' and interval '90 days'),
  -- How many at once is of no time, is asked for by nobody, and a task is one.
  constraint hub_budgets_running_check
    check (measure <> 'running' or per is null and on_silence = 'wait' and scope <> 'task'),
  constraint hub_budgets_roles_check check (roles <@ array['operator', 'owner'] and cardinality(roles) > 0),
  constraint hub_budgets_about_check check (char_length(about) between 1 and 500)
);
comment on table public.hub_budgets is
  'How much may be used: of cost (US dollars that are billed), notional (US dollars that nobody is '
  'billed), tokens or seconds, in a period or in all; or how many tasks may run at once (running). All '
  'that cover a task apply. Read by operators, written by owners; of a task by operators, too, who may '
  'only make it smaller.';
comment on column public.hub_budgets.server_id is 'Null: of the deployment.';
comment on column public.hub_budgets.subject is
  'The path of the project, the id of the channel, the name of the agent, the id of the person, the id of '
  'the task: that covers its line of work and what its agent gave to others, too.';
comment on column public.hub_budgets.per is 'A day, a week from Monday on, or a month, in UTC; null: in all.';
comment on column public.hub_budgets.raised is 'How much more people gave in the period raised_in.';
comment on column public.hub_budgets.raised_by is 'Who did so last, as people read it.';
comment on column public.hub_budgets.on_silence is
  'What a task does that nobody answered within silence: it waits on, is cancelled, or goes on with as '
  'much again.';
comment on column public.hub_budgets.roles is
  'Who may answer, and so give more. Of the deployment''s only whoever runs it.';
comment on column public.hub_budgets.has_lanes is
  'Of a channel or a person: what was pending before it stands in lanes of its own.';
create index hub_budgets_subject_idx on public.hub_budgets (scope, subject);
create index hub_budgets_running_idx on public.hub_budgets (id) where measure = 'running';
create index hub_budgets_lanes_idx on public.hub_budgets (id) where not has_lanes;

alter table public.hub_budgets enable row level security;
revoke all on public.hub_budgets from public, anon, authenticated, service_role;
grant select on public.hub_budgets to authenticated, service_role;
grant insert (server_id, scope, subject, measure, amount, per, on_silence, silence, roles, about),
      update (amount, on_silence, silence, roles, about),
      delete
  on public.hub_budgets to authenticated, service_role;
create policy hub_budgets_select_operators on public.hub_budgets for select to authenticated
  using (server_id in (select hub_internal.my_operated_server_ids()));
create policy hub_budgets_insert_owners on public.hub_budgets for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids())
              or scope = 'task' and server_id in (select hub_internal.my_operated_server_ids()));
create policy hub_budgets_update_owners on public.hub_budgets for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids())
         or scope = 'task' and server_id in (select hub_internal.my_operated_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids())
              or scope = 'task' and server_id in (select hub_internal.my_operated_server_ids()));
create policy hub_budgets_delete_owners on public.hub_budgets for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

-- No foreign key: a budget that is deleted while the ledger is folded stops nobody. Its rows go with it
-- (budget_changed).
create table hub_internal.budget_use (
  budget_id bigint not null,
  since     timestamptz not null,
  used      numeric not null,
  primary key (budget_id, since)
);
comment on table hub_internal.budget_use is
  'What was used of a budget in a period, by when the period began; 1970 where it has none.';
alter table hub_internal.budget_use enable row level security;
revoke all on hub_internal.budget_use from public, anon, authenticated, service_role;

create table hub_internal.weighed_budgets (
  budget_id bigint primary key
);
comment on table hub_internal.weighed_budgets is
  'Budgets that lanes were last weighed by: those that are met, and those of how many run at once. When that '
  'changes, lanes are weighed anew.';
alter table hub_internal.weighed_budgets enable row level security;
revoke all on hub_internal.weighed_budgets from public, anon, authenticated, service_role;

create table hub_internal.spendings (
  id         bigint primary key generated always as identity,
  server_id  uuid,
  project    text,
  channel_id uuid,
  agent      text,
  person     uuid,
  tasks      uuid[],
  shared     boolean not null,
  cost       numeric not null,
  notional   numeric not null,
  tokens     bigint not null,
  seconds    numeric not null,
  at         timestamptz not null
);
comment on table hub_internal.spendings is
  'What attempts used since it was last folded into budget_use: written by many at once, who never wait '
  'for each other.';
comment on column hub_internal.spendings.tasks is
  'The tasks whose budgets cover it; null: there is no budget of a task.';
comment on column hub_internal.spendings.shared is
  'Whether it ran on a machine that serves all: a budget of the deployment counts nothing else, or a server '
  'could use it up with what a machine of its own says.';
alter table hub_internal.spendings enable row level security;
revoke all on hub_internal.spendings from public, anon, authenticated, service_role;
revoke all on sequence public.hub_budgets_id_seq from public, anon, authenticated, service_role;
revoke all on sequence hub_internal.spendings_id_seq from public, anon, authenticated, service_role;

insert into hub_internal.quotas (name, amount, per, about) values
  ('server_budgets', 200, null, 'budgets of a server');
insert into hub_internal.settings (name, value, about) values
  ('budget_grace', '30 seconds',
   'an attempt that was told that its budget is met and uses more for this long is parked where it is');
