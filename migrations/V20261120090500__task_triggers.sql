-- Why: everything that happens when a row of mac_tasks is written, in the order it happens. Postgres fires
-- triggers of one kind by name, so they are numbered; the functions are in the files named beside them.
--
-- None has a WHEN: Postgres reads such a condition anew from its text for every statement, which takes longer
-- than to call a function that looks for itself.

-- Before a row is inserted ----------------------------------------------------------------------------------

-- …task_rules: a person inserts only what is theirs to say.
create trigger mac_tasks_10_as_oneself
  before insert on public.mac_tasks
  for each row execute function hub_internal.queue_as_oneself();

-- …hub_internal: an id that is taken where they may not look.
create trigger mac_tasks_20_fresh_id
  before insert on public.mac_tasks
  for each row execute function hub_internal.fresh_id();

-- …task_rules: defaults, checks, server, project, lane.
create trigger mac_tasks_30_guard_insert
  before insert on public.mac_tasks
  for each row execute function hub_internal.guard_task_insert();

-- After it was inserted -------------------------------------------------------------------------------------

-- …telling: queued. Not before, since its message refers to the task, which must be there.
create trigger mac_tasks_40_tell_insert
  after insert on public.mac_tasks
  for each row execute function hub_internal.tell_insert();

-- …needs: what is made blocked by another task needs it.
create trigger mac_tasks_45_needs
  after insert on public.mac_tasks
  for each row execute function hub_internal.need_on_insert();

-- …waking: wakes the devices that could take it.
create trigger mac_tasks_50_wake_devices
  after insert on public.mac_tasks
  for each row execute function hub_internal.wake_devices_insert();

-- …task_rules: one NOTIFY a transaction.
create trigger mac_tasks_60_wake_insert
  after insert on public.mac_tasks
  for each row execute function hub_internal.wake_on_insert();

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

-- What follows when its state is another, in this order; each asked for where there could be something.
create function hub_internal.follow_change()
  returns trigger
  language plpgsql
  security definer                                -- what follows is nobody's to write
  set search_path = ''
as $$
begin
  if new.status is distinct from old.status then
    -- …needs: the same of what becomes blocked by an update alone.
    if new.status = 'blocked' and new.parent_id is not null then
      perform hub_internal.need_parent(new);
    end if;
    -- …planning: what plans the parts of a request has ended well: they are made, before anybody looks at
    -- what the request still needs.
    if new.status = 'complete' and new.team_id is not null and new.task_type = 'plan' then
      perform hub_internal.follow_plan(new);
    end if;
    if new.status in ('complete', 'failed', 'cancelled') then
      -- …needs: what needs it.
      if exists (select from public.hub_task_needs n where n.needs = new.id) then
        perform hub_internal.settle_dependents(new);
      end if;
      -- …way_back: what was said to it and not taken, and who waits for it as a subtask.
      if exists (select from hub_internal.steers s where s.task_id = new.id)
         or exists (select from hub_internal.subtasks s where s.task_id = new.id) then
        perform hub_internal.settle_talk(new);
      end if;
    end if;
    -- …teams: the list of the parts of a request says how they are.
    if new.team_id is not null then
      perform hub_internal.team_changed(new);
    end if;
  end if;
  -- …bridging: the end goes back to the comment on GitHub that asked for it.
  if new.told is distinct from old.told and new.told is not null
     and exists (select from hub_internal.webhook_tasks w where w.task_id = new.id) then
    perform hub_internal.answer_on_github(new);
  end if;
  if new.status is distinct from old.status and old.status in ('running', 'waiting') then
    -- …waiting: what it asked is withdrawn, or goes on to its next attempt.
    if exists (select from public.hub_asks a where a.task_id = new.id) then
      perform hub_internal.settle_asks(old, new);
    end if;
    -- …budgets: as many may run as did, less this one.
    if old.status = 'running' and exists (select from public.hub_budgets b where b.measure = 'running') then
      perform hub_internal.free_room(old);
    end if;
  end if;
  return null;
end;
$$;

create trigger mac_tasks_95_changed
  after update of status, told on public.mac_tasks
  for each row execute function hub_internal.follow_change();
