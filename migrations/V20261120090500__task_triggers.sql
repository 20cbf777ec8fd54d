-- Why: everything that happens when a row of mac_tasks is written, in the order it happens. Postgres fires
-- triggers of one kind by name, so they are numbered; the functions are in the files named beside them.

-- Before a row is inserted ----------------------------------------------------------------------------------

-- …task_rules: a person inserts only what is theirs to say.
create trigger mac_tasks_10_as_oneself
  before insert on public.mac_tasks
  for each row when (current_user = 'authenticated')
  execute function hub_internal.queue_as_oneself();

-- …hub_internal: an id that is taken where they may not look.
create trigger mac_tasks_20_fresh_id
  before insert on public.mac_tasks
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();

-- …task_rules: defaults, checks, server, project, lane.
create trigger mac_tasks_30_guard_insert
  before insert on public.mac_tasks
  for each row execute function hub_internal.guard_task_insert();

-- After it was inserted -------------------------------------------------------------------------------------

-- A message refers to its task, which must be there.

-- …telling: queued.
create trigger mac_tasks_40_tell_insert
  after insert on public.mac_tasks
  for each row when (new.channel_id is not null)
  execute function hub_internal.tell_insert();

-- …waking: wakes the devices that could take it.
create trigger mac_tasks_50_wake_devices
  after insert on public.mac_tasks
  for each row execute function hub_internal.wake_devices_insert();

-- …task_rules: one NOTIFY a statement.
create trigger mac_tasks_60_wake_insert
  after insert on public.mac_tasks
  referencing new table as made
  for each statement execute function hub_internal.wake_on_insert();

-- Before a row is updated -----------------------------------------------------------------------------------

-- Each sees the row as the one before left it.

-- …task_rules: which state may follow which, what goes with it.
create trigger mac_tasks_70_guard_update
  before update on public.mac_tasks
  for each row execute function hub_internal.guard_task_update();

-- …telling: what people see of it.
create trigger mac_tasks_80_tell
  before update on public.mac_tasks
  for each row execute function hub_internal.tell_change();

-- …realtime: the row as it will be; its seq is part of this write. Not for heartbeats, whose columns are not
-- named here.
create trigger mac_tasks_90_broadcast
  before update of status, partial_output, result, error, thread_id, cancel_requested_at on public.mac_tasks
  for each row execute function hub_internal.broadcast_task();

-- After it was updated --------------------------------------------------------------------------------------

-- …task_rules: what waited for it.
create trigger mac_tasks_95_unblock
  after update of status on public.mac_tasks
  for each row when (new.status in ('complete', 'failed', 'cancelled')
                     and old.status is distinct from new.status
                     and new.thread_id is not null)
  execute function hub_internal.unblock_dependents();
-- …bridging: the end goes back to the comment on GitHub that asked for it.
create trigger mac_tasks_97_answer
  after update of status, told on public.mac_tasks
  for each row when (new.told is distinct from old.told and new.told is not null)
  execute function hub_internal.answer_on_github();
