-- Why: the queue. A task is one row that moves through states; who may take it is decided by its lane; how
-- each attempt went is kept beside it. Its triggers, in the order they fire, are the file …task_triggers.
--
--     pending -> running                      claimed: attempt + 1, a lease
--     running -> complete | failed | cancelled
--     running -> pending                      lease expired, or a retryable failure with attempts left
--     running -> waiting -> pending           a question, answered
--     pending -> blocked -> pending           what it needs has not ended; all of it has
--     waiting -> blocked                      answered, and it needs what has not ended
--     blocked -> failed                       what it needs failed (hub_task_needs.on_failure)
--     blocked -> complete                     the results of its team are joined (hub_teams.gather)
--     pending -> waiting                      its budget is met, and it stands for all that this holds back
--     pending, blocked, waiting -> cancelled
--     failed, cancelled -> pending | blocked  only by hub_retry_task
--     complete is final

-- A lane is everything that decides who may take a task, as one number: the claim looks at the head of each
-- lane its device serves, and never reads past tasks that are for others. One that has nothing pending any
-- more is reaped (reap_lanes), so that a claim pays for what waits and not for what was ever asked for.
create table hub_internal.lanes (
  id        integer primary key generated always as identity,
  key       bigint not null,
  server_id uuid references public.hub_servers (id) on delete cascade,
  project   text,
  model     text not null,
  pinned    boolean not null default false,
  agent     text,
  platform  text not null,
  -- The session is there, or an operator said so.
  device    text references public.mesh_devices (name) on delete cascade on update cascade,
  -- Null unless somebody has a budget of them.
  channel_id uuid,
  person     uuid,
  ways      text[] not null,
  runs_as   text,
  held_by   bigint,
  held_agents text[],
  bounds      bigint[],
  agent_bounds jsonb,
  delay       interval not null default '0',
  weighed_at timestamptz,
  constraint lanes_ways_check check (ways[1] = model)
);
create index lanes_key_idx on hub_internal.lanes (key);
create index lanes_weighed_idx on hub_internal.lanes (weighed_at nulls first);
comment on table hub_internal.lanes is
  'Distinct combinations of what decides eligibility, one row a combination that is asked for.';
comment on column hub_internal.lanes.key is
  'All of it in one number (hub_internal.lane_lock). Not unique: two that are made at once are two lanes of '
  'the same kind, and nobody waits for anybody.';
comment on column hub_internal.lanes.pinned is 'The model was asked for: no other takes its place.';
comment on column hub_internal.lanes.ways is
  'As what its tasks may run: its model, then what stands in for that where all of it is at its limit.';
comment on column hub_internal.lanes.runs_as is
  'The way it goes now, worked out seldom (weighed); null: its own model. A claim only reads it.';
comment on column hub_internal.lanes.held_by is
  'A budget that is met: nothing is claimed from it. Worked out seldom, too, as what follows.';
comment on column hub_internal.lanes.held_agents is 'Agents whose budget in that server is met.';
comment on column hub_internal.lanes.bounds is
  'Budgets of how many tasks run at once that cover it; whether there is room, a claim looks at itself.';
comment on column hub_internal.lanes.delay is
  'How far its server and project stand back, for others to have their share: a claim adds it to queue_key.';
comment on column hub_internal.lanes.agent_bounds is 'The same by agent: {"claude": 12}.';
comment on column hub_internal.lanes.weighed_at is
  'When that was worked out; null: it is to be, as soon as somebody keeps time.';
comment on column hub_internal.lanes.server_id is
  'Null for rows of mac_tasks that were here before the hub, or that a trusted caller bound to none: '
  'machines that serve all take them.';

alter table hub_internal.lanes enable row level security;

-- Added to, and never changed: whoever meets a limit waits for nobody, and no lane is locked but by who keeps
-- time.
create table hub_internal.weigh_requests (
  id        bigint primary key generated always as identity,
  device    text,
  server_id uuid
);
comment on table hub_internal.weigh_requests is
  'Lanes that are to be weighed anew: of the servers of a machine, of a server, or all where both are null.';

alter table hub_internal.weigh_requests enable row level security;

create table if not exists public.mac_tasks (
  id                  uuid primary key default gen_random_uuid(),
  content             text not null,
  project             text,
  status              text not null default 'pending',
  model_preference    text not null default 'any',
  model               text,
  agent               text,
  task_type           text not null default 'other',
  platform            text not null default 'any',
  priority            integer not null default 5,
  claimed_by          text,
  attempt             integer not null default 0,
  max_attempts        integer not null default 3,
  lease_expires_at    timestamptz,
  run_after           timestamptz,
  partial_output      text,
  result              text,
  error               text,
  channel_id          uuid,
  thread_id           uuid,
  message_id          uuid,
  parent_id           uuid,
  team_id             uuid,
  session_id          text,
  session_device      text,
  idempotency_key     text,
  cancel_requested_at timestamptz,
  metadata            jsonb,
  created_by          uuid,
  server_id           uuid,
  created_at          timestamptz not null default now(),
  updated_at          timestamptz not null default now(),
  claimed_at          timestamptz,
  finished_at         timestamptz,
  requested_agent     text,
  requested_device    text,
  progress_count      integer not null default 0,
  quiet               boolean not null default false,
  told                text,
  lane                integer,
  queue_key           timestamptz,
  seq                 bigint not null default 0,
  root_id             uuid,
  model_pinned        boolean not null default false
) with (fillfactor = 60);         -- heartbeats and notes change no index: the row is rewritten on its page

-- What a row may say is checked by a trigger (check_task, in …task_rules) and not by CHECK constraints, for
-- the reason given there.
alter table public.mac_tasks
  add constraint mac_tasks_channel_fkey
    foreign key (channel_id) references public.hub_channels (id) on delete set null,
  add constraint mac_tasks_thread_fkey
    foreign key (thread_id) references public.hub_task_threads (id) on delete set null,
  add constraint mac_tasks_message_fkey
    foreign key (message_id) references public.hub_channel_messages (id) on delete set null,
  add constraint mac_tasks_parent_fkey
    foreign key (parent_id) references public.mac_tasks (id) on delete set null;
-- Deferred: hub_send makes the thread before the task that names it, in one transaction.
alter table public.hub_task_threads
  add constraint hub_task_threads_task_fkey
    foreign key (task_id) references public.mac_tasks (id) on delete set null deferrable initially deferred;

comment on table public.mac_tasks is
  'The queue: one row a task, for the hub''s own functions and for executors that only update rows.';
comment on column public.mac_tasks.attempt is
  'The fence: a write that names any but the live attempt changes nothing.';
comment on column public.mac_tasks.priority is
  '0 to 9; 9 is most urgent. Each step is worth ten minutes of waiting, so nothing starves.';
comment on column public.mac_tasks.agent is
  'Who runs it, chosen when it is claimed. While it waits for one machine: whose session is there.';
comment on column public.mac_tasks.requested_agent is
  'The agent that somebody asked for; null leaves the choice to the session, else to the claim.';
comment on column public.mac_tasks.requested_device is
  'The machine it is for, by an operator''s word (hub_route_task); null for any. No foreign key: of one that '
  'is gone it is for any, too.';
comment on column public.mac_tasks.model is
  'The model it is meant for; at the end, the one the executor says it used.';
comment on column public.mac_tasks.model_pinned is
  'Somebody asked for that model: where it is at its limit the task waits for it.';
comment on column public.mac_tasks.project is
  'Where it runs, below the root that each machine has for projects.';
comment on column public.mac_tasks.server_id is
  'The server it belongs to: its channel''s, or for one without a channel the server it was bound to when '
  'it was made. No foreign key: a look and a lock for each task, for what a server does once '
  '(hub_servers_end_tasks).';
comment on column public.mac_tasks.root_id is
  'The task that its line of work began with: what goes on with it works in its folder and on its branch. '
  'Null: it begins one. No foreign key, as for server_id; the line keeps its name when that task is gone.';
comment on column public.mac_tasks.told is
  'Status and attempt of the ending that its conversation was told; written with the message or not at all.';
comment on column public.mac_tasks.lane is 'Who may take it (hub_internal.lanes).';
comment on column public.mac_tasks.queue_key is
  'Where it stands in its lane: when it was made, moved by its priority.';
comment on column public.mac_tasks.progress_count is
  'Notes told in this attempt; after 15 only partial_output changes.';
comment on column public.mac_tasks.quiet is 'Whether partial_output was written without telling it.';
comment on column public.mac_tasks.lease_expires_at is
  'Null while running: an executor of the older kind has it, and it is never taken away.';
comment on column public.mac_tasks.seq is
  'Counts the changes that its topic was told: a client drops what is older than what it has.';

-- The claim reads exactly these two; finished rows are in neither.
create index mac_tasks_claim_idx on public.mac_tasks (lane, queue_key)
  where status = 'pending' and run_after is null;
create index mac_tasks_backoff_idx on public.mac_tasks (lane, run_after)
  where status = 'pending' and run_after is not null;

create index mac_tasks_lease_idx on public.mac_tasks (lease_expires_at)
  where status = 'running';
create index mac_tasks_device_idx on public.mac_tasks (claimed_by)
  where status = 'running';
create index mac_tasks_laneless_idx on public.mac_tasks (id)
  where status = 'pending' and lane is null;
create index mac_tasks_root_idx on public.mac_tasks (root_id)
  where root_id is not null;
create index mac_tasks_pinned_idx on public.mac_tasks (session_device)
  where status = 'pending' and session_device is not null;
create index mac_tasks_parent_idx on public.mac_tasks (parent_id)
  where parent_id is not null;
create index mac_tasks_thread_idx on public.mac_tasks (thread_id, created_at)
  where thread_id is not null;
create index mac_tasks_open_thread_idx on public.mac_tasks (thread_id)
  where thread_id is not null and status in ('pending', 'running', 'waiting', 'blocked');
create index mac_tasks_channel_idx on public.mac_tasks (channel_id, created_at desc)
  where channel_id is not null;
create index mac_tasks_message_idx on public.mac_tasks (message_id)
  where message_id is not null;
create index mac_tasks_creator_idx on public.mac_tasks (created_by)
  where channel_id is null;
create index mac_tasks_waiting_idx on public.mac_tasks (channel_id)
  where status in ('blocked', 'waiting') and channel_id is not null;
create index mac_tasks_finished_idx on public.mac_tasks (finished_at)
  where finished_at is not null and channel_id is not null;
-- hub_recover and sql/checks/told.sql repeat the expression, so that this serves them; tell_end makes it.
create index mac_tasks_untold_idx on public.mac_tasks (channel_id)
  where channel_id is not null
    and status in ('complete', 'failed', 'cancelled')
    and told is distinct from status || ':' || attempt::text;
create unique index mac_tasks_idempotency_idx
  on public.mac_tasks (created_by, idempotency_key) nulls not distinct
  where idempotency_key is not null;

alter table public.mac_tasks enable row level security;
revoke all on public.mac_tasks from public, anon, authenticated, service_role;
grant select on public.mac_tasks to authenticated;
grant select, insert, update, delete on public.mac_tasks to service_role;
grant insert (id, content, project, status, model_preference, model, agent, task_type, platform, priority,
              claimed_by, attempt, max_attempts, lease_expires_at, run_after, partial_output, result, error,
              channel_id, thread_id, message_id, parent_id, team_id, session_id, session_device,
              idempotency_key, cancel_requested_at, metadata, created_by, server_id, created_at, updated_at,
              claimed_at, finished_at, model_pinned)
  on public.mac_tasks to authenticated;

-- One policy for three chairs (several permissive ones would each be evaluated): readers of its server, the
-- maker of a task without a channel, the device that holds it.
create policy mac_tasks_select_readers on public.mac_tasks for select to authenticated
  using (channel_id in (select hub_internal.my_channel_ids())
         or (channel_id is null and created_by = (select hub_internal.person()))
         or (status = 'running' and claimed_by = (select hub_internal.live_device())));
create policy mac_tasks_insert_operators on public.mac_tasks for insert to authenticated
  with check (created_by = (select hub_internal.person())
              and status = 'pending'
              and exists (select hub_internal.my_operated_server_ids())
              and (channel_id is null
                   or channel_id in (select c.id
                                       from public.hub_channels c
                                      where c.server_id in (select hub_internal.my_operated_server_ids()))));

-- How each attempt went. No foreign key to the device: executors of the older kind are not enrolled.
create table public.hub_task_attempts (
  task_id     uuid not null references public.mac_tasks (id) on delete cascade,
  attempt     integer not null,
  device      text,
  agent       text,
  model       text,
  started_at  timestamptz not null default now(),
  finished_at timestamptz,
  outcome     text,
  error       text,
  exit_code   integer,
  cost_usd    numeric,
  tokens_in   bigint,
  tokens_out  bigint,
  session_id  text,
  receipt     jsonb,
  reason      text,
  signal      integer,
  stderr      text,
  output_bytes      bigint,
  peak_memory_bytes bigint,
  agent_started_at  timestamptz,
  agent_ended_at    timestamptz,
  tokens_cached bigint,
  turns         integer,
  tool_calls    integer,
  cost_notional boolean,
  agent_version text,
  limited_until timestamptz,
  limit_source  text,
  begun_at      timestamptz,
  plan          jsonb,
  fallback_from text,
  price_version text,
  used_at       timestamptz,
  primary key (task_id, attempt)
) with (fillfactor = 80);
comment on table public.hub_task_attempts is
  'The run record of each attempt: where, by whom, from when to when, how it ended, what it cost.';
comment on column public.hub_task_attempts.outcome is 'Null while it runs.';
comment on column public.hub_task_attempts.reason is
  'Why it ended: what its device said, else what follows from the outcome. Null while it runs.';
comment on column public.hub_task_attempts.tokens_cached is
  'Of those it read, how many it had read before and paid less for.';
comment on column public.hub_task_attempts.cost_notional is
  'Nobody is billed cost_usd: a subscription pays for it, or it is reckoned from a price table.';
comment on column public.hub_task_attempts.price_version is
  'The edition of hub_prices that cost_usd was reckoned by; null: by none.';
comment on column public.hub_task_attempts.used_at is
  'When a heartbeat last told that it used more; cost_usd and tokens are so far, until it has ended.';
comment on column public.hub_task_attempts.limited_until is 'The limit that it met, or was told of.';
comment on column public.hub_task_attempts.limit_source is
  'How that is known, as in mesh_quota_pools.';
comment on column public.hub_task_attempts.fallback_from is
  'The model it was for, where that was at its limit everywhere and another ran it.';
comment on column public.hub_task_attempts.signal is 'The number of the signal that ended its program.';
comment on column public.hub_task_attempts.stderr is 'The last lines of its standard error.';
comment on column public.hub_task_attempts.output_bytes is 'How much its program wrote.';
comment on column public.hub_task_attempts.peak_memory_bytes is
  'The most that its program, and what that started, held at once.';
comment on column public.hub_task_attempts.agent_started_at is
  'When its program began, by the clock of the device; started_at is when it was claimed, by ours.';
comment on column public.hub_task_attempts.begun_at is
  'When its device was given what to work with (hub_begin_attempt); null: it never asked.';
comment on column public.hub_task_attempts.plan is 'The parts of its request, of one that plans them.';
comment on column public.hub_task_attempts.agent_ended_at is
  'When its program ended, by the clock of the device.';

create index hub_task_attempts_finished_idx on public.hub_task_attempts (finished_at)
  where finished_at is not null;

alter table public.hub_task_attempts enable row level security;
revoke all on public.hub_task_attempts from public, anon, authenticated, service_role;
grant select on public.hub_task_attempts to authenticated;
grant select, insert, update, delete on public.hub_task_attempts to service_role;

-- An attempt is seen by whoever sees its task (the subquery stands under the policies of mac_tasks).
create policy hub_task_attempts_select_readers on public.hub_task_attempts for select to authenticated
  using (exists (select from public.mac_tasks t where t.id = task_id));

-- What costs no attempt adds one to max_attempts, since attempt goes on counting.
create table hub_internal.task_allowances (
  task_id  uuid primary key references public.mac_tasks (id) on delete cascade,
  attempts integer not null,
  since    integer not null default 0
);
comment on table hub_internal.task_allowances is
  'With how many attempts a task was made, for those that were given more: hub_retry_task gives as many '
  'again.';
comment on column hub_internal.task_allowances.since is
  'The last attempt before somebody queued it again; 0 for none.';

alter table hub_internal.task_allowances enable row level security;
