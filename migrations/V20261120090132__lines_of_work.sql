-- Why: a line of work is a task and all that goes on with it. It has one folder and one branch on each machine
-- (a workspace), and with each agent one conversation (a session); a project says how work in it is set up,
-- proved and handed out.
--
--     the key of a line     mac_tasks.root_id, or the task's own id
--     its name              the first eight digits of that; its branch is hub/<name>
--     a session             (line, agent, account): who goes on with it elsewhere does so with a brief

insert into hub_internal.settings (name, value, about) values
  ('session_wait',        '10 minutes',
   'a reply waits for the machine that has its session for this long, then goes on elsewhere with a brief'),
  ('workspace_retention', '7 days',
   'the folder of work without a thread is kept for this long after its last task ended'),
  ('line_retention',      '90 days',
   'what is known of a session or a folder is kept for this long after it was last used'),
  ('ask_hold',            '10 minutes',
   'a program waits with its question for this long before it is ended and its task waits alone');

-- Projects --------------------------------------------------------------------------------------------------

alter table public.hub_projects
  add column setup          text,
  add column setup_inputs   text[] not null default '{}',
  add column verify         text,
  add column verify_seconds integer not null default 900,
  add column verify_rounds  integer not null default 1,
  add column base_branch    text,
  add column push           boolean not null default false,
  add column pull_request   text not null default 'off',
  add column repository     text,
  add column secret_name    text,
  add constraint hub_projects_setup_check check (char_length(setup) between 1 and 4000),
  add constraint hub_projects_setup_inputs_check
    check (cardinality(setup_inputs) <= 20
           and array_position(setup_inputs, null) is null
           and array_to_string(setup_inputs, E'\n') !~ E'(^|\n|/)\\.\\.(/|\n|$)|(^|\n)/'
           and char_length(array_to_string(setup_inputs, E'\n')) <= 4000),
  add constraint hub_projects_verify_check check (char_length(verify) between 1 and 4000),
  add constraint hub_projects_verify_seconds_check check (verify_seconds between 1 and 86400),
  add constraint hub_projects_verify_rounds_check check (verify_rounds between 0 and 10),
  add constraint hub_projects_base_branch_check check (hub_internal.is_base_branch(base_branch)),
  add constraint hub_projects_pull_request_check
    check (pull_request = 'off'
           or pull_request in ('draft', 'ready') and push and repository is not null),
  add constraint hub_projects_repository_check
    check (repository ~ '^[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._-]{1,100}$'),
  add constraint hub_projects_secret_name_check
    check (secret_name ~ '^(HUB_GITHUB_TOKEN|HUB_BRIDGE_[A-Z0-9_]{1,50})$');

comment on column public.hub_projects.setup is
  'Run by sh in each new worktree before an agent works there; again when one of setup_inputs is another.';
comment on column public.hub_projects.setup_inputs is
  'Files of the project, by their paths in it, on which the outcome of setup depends: lock files.';
comment on column public.hub_projects.verify is
  'Run by sh after the agent, on what it left. Where it is set, no task is complete without it having passed.';
comment on column public.hub_projects.verify_seconds is 'How long it may take.';
comment on column public.hub_projects.verify_rounds is
  'How often an agent is sent back with its failure before the task has failed.';
comment on column public.hub_projects.base_branch is
  'Where work begins, and what a pull request is for. Null: what the folder has checked out.';
comment on column public.hub_projects.push is
  'Whether the branch of the work is pushed, by the git of the machine and with its right.';
comment on column public.hub_projects.pull_request is
  'off, draft or ready: whether one is opened at repository. Only while the server has a place for that.';
comment on column public.hub_projects.repository is 'At GitHub: owner/name.';
comment on column public.hub_projects.secret_name is
  'The environment variable of the worker with the token for the pull request. Null: HUB_GITHUB_TOKEN.';

grant insert (setup, setup_inputs, verify, verify_seconds, verify_rounds, base_branch, push, pull_request,
              repository, secret_name),
      update (setup, setup_inputs, verify, verify_seconds, verify_rounds, base_branch, push, pull_request,
              repository, secret_name)
  on public.hub_projects to authenticated;

-- Sessions --------------------------------------------------------------------------------------------------

-- No foreign key to the line, the device or the thread: what is known of a session holds when they are gone,
-- and a line is locked by its tasks.
create table public.hub_sessions (
  id            uuid primary key default gen_random_uuid(),
  root_id       uuid not null,
  agent         text not null,
  account       text not null,
  server_id     uuid references public.hub_servers (id) on delete cascade,
  thread_id     uuid,
  device        text not null,
  folder        text,
  version       text,
  session_id    text not null,
  state         text not null default 'ok',
  why           text,
  tokens_in     bigint not null default 0,
  tokens_out    bigint not null default 0,
  tokens_cached bigint not null default 0,
  cost_usd      numeric not null default 0,
  created_at    timestamptz not null default now(),
  used_at       timestamptz not null default now(),
  constraint hub_sessions_key unique (root_id, agent, account),
  constraint hub_sessions_state_check check (state in ('ok', 'poisoned'))
) with (fillfactor = 80);
comment on table public.hub_sessions is
  'The conversation of an agent about a line of work, by the account it works under: where it is, and whether '
  'it can be gone on with.';
comment on column public.hub_sessions.root_id is 'The line: mac_tasks.root_id, or the id of the task it is.';
comment on column public.hub_sessions.thread_id is
  'Where people read what it is about (sql/inspect/work.sql). It goes by the line: a flat channel has no '
  'threads, and a thread may have several lines at once.';
comment on column public.hub_sessions.account is
  'The login it belongs to, or device:<name>. Not for readers, who do not learn of accounts.';
comment on column public.hub_sessions.folder is 'The project; in another, the session is not gone on with.';
comment on column public.hub_sessions.version is 'Of the program that used it last.';
comment on column public.hub_sessions.session_id is 'As the agent''s program names it.';
comment on column public.hub_sessions.state is
  'ok, or poisoned: it can not be gone on with (why), and the next attempt begins a new one.';
comment on column public.hub_sessions.used_at is 'When an attempt last ended in it.';
create index hub_sessions_server_idx on public.hub_sessions (server_id);
create index hub_sessions_used_idx on public.hub_sessions (used_at);

alter table public.hub_sessions enable row level security;
revoke all on public.hub_sessions from public, anon, authenticated, service_role;
grant select (id, root_id, agent, server_id, thread_id, device, folder, version, session_id, state, why,
              tokens_in, tokens_out, tokens_cached, cost_usd, created_at, used_at)
  on public.hub_sessions to authenticated;
grant select, insert, update, delete on public.hub_sessions to service_role;
create policy hub_sessions_select_members on public.hub_sessions for select to authenticated
  using (server_id in (select hub_internal.my_member_server_ids())
         or device = (select hub_internal.live_device()));

-- Workspaces ------------------------------------------------------------------------------------------------

create table public.hub_workspaces (
  root_id      uuid not null,
  device       text not null,
  server_id    uuid references public.hub_servers (id) on delete set null,
  thread_id    uuid,
  project      text,
  name         text not null,
  branch       text not null,
  kind         text not null,
  base         text,
  head         text,
  size_bytes   bigint,
  pushed_head  text,
  pull_request text,
  bundled      boolean not null default false,
  merged_at    timestamptz,
  state        text not null default 'ready',
  created_at   timestamptz not null default now(),
  updated_at   timestamptz not null default now(),
  removed_at   timestamptz,
  primary key (root_id, device),
  constraint hub_workspaces_kind_check check (kind in ('git', 'in_place')),
  constraint hub_workspaces_state_check check (state in ('ready', 'removed'))
) with (fillfactor = 80);
comment on table public.hub_workspaces is
  'Where a line of work is done on a machine: a worktree of its own with a branch of its own (git), or the '
  'project''s folder (in_place), as the machine reports it.';
comment on column public.hub_workspaces.root_id is
  'The line. No foreign key: the folder is there when its tasks are gone, and is to be cleaned.';
comment on column public.hub_workspaces.device is 'No foreign key: its branch may be pushed when it is gone.';
comment on column public.hub_workspaces.base is 'The commit it began at.';
comment on column public.hub_workspaces.pushed_head is
  'The commit that its branch has at the remote: where another machine goes on.';
comment on column public.hub_workspaces.bundled is
  'It was removed with commits that are nowhere else but in a bundle on that machine.';
comment on column public.hub_workspaces.merged_at is 'When GitHub reported that its pull request was merged.';
create index hub_workspaces_device_idx on public.hub_workspaces (device) where state = 'ready';
create index hub_workspaces_branch_idx on public.hub_workspaces (branch);
create index hub_workspaces_server_idx on public.hub_workspaces (server_id);
create index hub_workspaces_updated_idx on public.hub_workspaces (updated_at);

alter table public.hub_workspaces enable row level security;
revoke all on public.hub_workspaces from public, anon, authenticated, service_role;
grant select on public.hub_workspaces to authenticated;
grant select, insert, update, delete on public.hub_workspaces to service_role;
create policy hub_workspaces_select_members on public.hub_workspaces for select to authenticated
  using (server_id in (select hub_internal.my_member_server_ids())
         or device = (select hub_internal.live_device()));
