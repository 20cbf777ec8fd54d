-- Why: what is said to a task that runs, and what its agent gives to others, is kept until somebody has heard
-- of it. Tables; saying it is …steering, giving a part away …way_back, a request that has parts …teams.

create table hub_internal.steers (
  id         bigint primary key generated always as identity,
  task_id    uuid not null references public.mac_tasks (id) on delete cascade,
  attempt    integer not null,
  text       text not null,
  by         text not null,
  person     uuid,
  message_id uuid,
  made_at    timestamptz not null default clock_timestamp(),
  given_at   timestamptz,
  outcome    text,
  went_with  integer,
  constraint steers_outcome_check
    check (outcome in ('taken', 'next_turn', 'next_attempt', 'follow_up', 'not_taken'))
);
comment on table hub_internal.steers is 'What people said to running tasks, and what became of it.';
comment on column hub_internal.steers.attempt is 'The attempt that ran when it was said.';
comment on column hub_internal.steers.text is
  'As the agent is given it: of somebody in a bridged chat, quoted.';
comment on column hub_internal.steers.given_at is 'When its device was first given it.';
comment on column hub_internal.steers.outcome is 'Null: nobody took it yet.';
comment on column hub_internal.steers.went_with is 'Of next_attempt: the attempt that began with it.';
create index steers_task_idx on hub_internal.steers (task_id);
create index steers_open_idx on hub_internal.steers (task_id, attempt) where outcome is null;
create index steers_message_idx on hub_internal.steers (message_id) where message_id is not null;

alter table hub_internal.steers enable row level security;

-- A subtask is its own line of work in its parent's conversation. How deep it is and how many there are is
-- counted under the task at the top.
create table hub_internal.subtasks (
  task_id   uuid primary key references public.mac_tasks (id) on delete cascade,
  parent_id uuid not null references public.mac_tasks (id) on delete cascade,
  top_id    uuid not null references public.mac_tasks (id) on delete cascade,
  depth     integer not null,
  attempt   integer,
  position  integer not null,
  title     text not null,
  late      boolean not null default false,
  told      text
);
comment on table hub_internal.subtasks is
  'Tasks that are parts of others: those that agents made while they worked, and the members of teams.';
comment on column hub_internal.subtasks.parent_id is
  'The task it is a part of: whose agent made it, and is told its end, or whose team it is in.';
comment on column hub_internal.subtasks.top_id is 'The line of work at the top, which is a part of nothing.';
comment on column hub_internal.subtasks.attempt is
  'The attempt of its parent that asked for it last. Null: no agent did; the team''s request says so.';
comment on column hub_internal.subtasks.position is
  'Which part of its parent: 1, 2, 3. 0 is no part: it plans them.';
comment on column hub_internal.subtasks.title is 'What it is, in one line.';
comment on column hub_internal.subtasks.late is
  'It was tried again after its team had ended: nobody gathers what it does.';
comment on column hub_internal.subtasks.told is
  'Status and attempt of the ending that its parent''s agent has fetched, as mac_tasks.told.';
create index subtasks_parent_idx on hub_internal.subtasks (parent_id);
create index subtasks_top_idx on hub_internal.subtasks (top_id);

alter table hub_internal.subtasks enable row level security;
