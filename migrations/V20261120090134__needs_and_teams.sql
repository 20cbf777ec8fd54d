-- Why: work that waits for other work. What a task needs is a row each; a follow-up, which waits for the task
-- it follows, is a case of it. A team is one request that became several tasks.
--
--     a task needs one that has not ended    -> it is blocked (…needs)
--     all have ended                         -> pending
--     one failed that it needs to end well   -> failed, and so on down the line

create table public.hub_task_needs (
  task       uuid not null references public.mac_tasks (id) on delete cascade,
  needs      uuid not null references public.mac_tasks (id) on delete cascade,
  on_failure text not null default 'fail',
  created_at timestamptz not null default now(),
  primary key (task, needs),
  constraint hub_task_needs_other_check check (task <> needs),
  constraint hub_task_needs_on_failure_check check (on_failure in ('fail', 'continue'))
);
comment on table public.hub_task_needs is
  'Which task needs which other to have ended. Never in a ring: written by hub_need_task and by what makes '
  'tasks alone, so no API role has the right to insert.';
comment on column public.hub_task_needs.on_failure is
  'What becomes of task where the other fails or is cancelled: it fails, or goes on all the same.';
create index hub_task_needs_needs_idx on public.hub_task_needs (needs);

alter table public.hub_task_needs enable row level security;
revoke all on public.hub_task_needs from public, anon, authenticated, service_role;
grant select on public.hub_task_needs to authenticated, service_role;
-- The subquery stands under the policies of mac_tasks.
create policy hub_task_needs_select_readers on public.hub_task_needs for select to authenticated
  using (exists (select from public.mac_tasks t where t.id = task));

-- Recovery looks at what is blocked, and only at that.
create index mac_tasks_blocked_idx on public.mac_tasks (id) where status = 'blocked';

-- A row that was here before the hub waits for its parent, as one that is inserted so does.
insert into public.hub_task_needs (task, needs, on_failure)
select t.id, t.parent_id, 'continue'
  from public.mac_tasks t
  join public.mac_tasks p on p.id = t.parent_id
 where t.status = 'blocked' and t.id <> t.parent_id;

-- Teams -----------------------------------------------------------------------------------------------------

-- One request, several tasks. The parent's own run gathers what the members did: it is blocked by them and
-- ends by its own fence, once, and a gatherer that dies is a lost lease like any.
--
--     list      the request had the parts       parent blocked, needs its members
--     plan      a task of its own plans them    parent blocked, needs that; then its members
--     agent     the parent's agent makes them   the parent runs, and waits by itself
create table public.hub_teams (
  id         uuid primary key default gen_random_uuid(),
  task_id    uuid not null unique references public.mac_tasks (id) on delete cascade,
  server_id  uuid references public.hub_servers (id) on delete cascade,
  source     text not null,
  gather     text not null default 'agent',
  branches   text not null default 'each',
  planned_by uuid,
  message_id uuid,
  shown_at   timestamptz,
  ended_at   timestamptz,
  created_at timestamptz not null default now(),
  constraint hub_teams_source_check check (source in ('list', 'plan', 'agent')),
  constraint hub_teams_gather_check check (gather in ('agent', 'join')),
  constraint hub_teams_branches_check check (branches in ('each', 'merge'))
);
comment on table public.hub_teams is
  'Requests that became several tasks: mac_tasks.team_id of the parent (task_id) and of its members.';
comment on column public.hub_teams.gather is
  'Who makes one answer of what the members did: the parent''s agent, or nobody (their results, joined).';
comment on column public.hub_teams.branches is
  'What becomes of the members'' branches: each stays, with its pull request, or whoever gathers merges '
  'them.';
comment on column public.hub_teams.planned_by is 'The task whose plan it follows; there is one.';
comment on column public.hub_teams.message_id is
  'The message that lists the members, edited as they go on. No foreign key: retention takes it alone.';
create index hub_teams_server_idx on public.hub_teams (server_id);
create index mac_tasks_team_idx on public.mac_tasks (team_id) where team_id is not null;

alter table public.hub_teams enable row level security;
revoke all on public.hub_teams from public, anon, authenticated, service_role;
grant select on public.hub_teams to authenticated, service_role;
create policy hub_teams_select_readers on public.hub_teams for select to authenticated
  using (exists (select from public.mac_tasks t where t.id = task_id));
