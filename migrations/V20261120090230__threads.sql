-- Why: a thread ages by itself, in the database, whether or not anybody looks.
--
--   active    -> idle       2 h without activity; a warning is posted
--   idle      -> decaying   1 h after it became idle
--   decaying  -> archived   at the next cycle; a summary is posted
--   any       -> active     by any message but the warning and the summary (number_message in …messages)
--
-- A thread with a task that is not final does not decay. The 2 h and 1 h are settings (hub_internal.settings,
-- hub_channels).

-- States and times ------------------------------------------------------------------------------------------

create function hub_internal.decay_time(p_status text, p_last_activity_at timestamptz,
                                        p_state_entered_at timestamptz, p_channel_id uuid)
  returns timestamptz
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  case p_status
    when 'active' then
      return p_last_activity_at
             + coalesce((select c.thread_idle_after from public.hub_channels c where c.id = p_channel_id),
                        (select s.value from hub_internal.settings s where s.name = 'thread_idle_after'));
    when 'idle' then
      return p_state_entered_at
             + coalesce((select c.thread_decay_after from public.hub_channels c where c.id = p_channel_id),
                        (select s.value from hub_internal.settings s where s.name = 'thread_decay_after'));
    when 'decaying' then
      -- "The next cycle": half a cycle is enough to tell it from the one that made it decaying.
      return p_state_entered_at + interval '30 seconds';
    else
      return null;
  end case;
end;
$$;
comment on function hub_internal.decay_time(text, timestamptz, timestamptz, uuid) is
  'When the next step of a thread''s decay is due. Null: never (archived).';

create function hub_internal.thread_states()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and new.status is distinct from old.status then
    if new.state_entered_at = old.state_entered_at then
      new.state_entered_at := now();
    end if;
    new.archived_at := case when new.status = 'archived'
                            then coalesce(new.archived_at, new.state_entered_at) end;
  end if;
  new.decay_at := hub_internal.decay_time(new.status, new.last_activity_at, new.state_entered_at,
                                          new.channel_id);
  return new;
end;
$$;
create trigger hub_task_threads_states_insert
  before insert on public.hub_task_threads
  for each row execute function hub_internal.thread_states();
-- Not for a message in an active thread, which only moves last_activity_at on: decay_at is a time before
-- which nothing is due.
create trigger hub_task_threads_states
  before update of status, state_entered_at on public.hub_task_threads
  for each row execute function hub_internal.thread_states();
create trigger hub_task_threads_states_back
  before update of last_activity_at on public.hub_task_threads
  for each row when (new.last_activity_at < old.last_activity_at)
  execute function hub_internal.thread_states();

create function hub_internal.check_thread()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
begin
  if new.status not in ('active', 'idle', 'decaying', 'archived') then
    perform hub_internal.refuse('23514', 'bad input', format('status %L', new.status),
      'active, idle, decaying or archived.');
  elsif char_length(new.name) not between 1 and 100 then
    perform hub_internal.refuse('23514', 'bad input', 'name', 'A thread''s name has 1 to 100 characters.');
  elsif new.metadata is not null and not hub_internal.is_flat_map(new.metadata) then
    perform hub_internal.refuse('23514', 'bad input', 'metadata', 'A flat object of strings, or nothing.');
  end if;
  return new;
end;
$$;
create trigger hub_task_threads_check
  before insert or update of status, name, metadata on public.hub_task_threads
  for each row execute function hub_internal.check_thread();

-- New times count for threads that are there, too.
create function hub_internal.retime_threads()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  -- Two statements: settings has no id, and the one where new.id stands is planned for channels alone.
  if tg_table_name = 'settings' then
    update public.hub_task_threads t
       set decay_at = hub_internal.decay_time(t.status, t.last_activity_at, t.state_entered_at, t.channel_id)
     where t.status <> 'archived';
  else
    update public.hub_task_threads t
       set decay_at = hub_internal.decay_time(t.status, t.last_activity_at, t.state_entered_at, t.channel_id)
     where t.status <> 'archived'
       and t.channel_id = new.id;
  end if;
  return null;
end;
$$;
create trigger settings_retime
  after update of value on hub_internal.settings
  for each statement execute function hub_internal.retime_threads();
create trigger hub_channels_retime
  after update of thread_idle_after, thread_decay_after on public.hub_channels
  for each row when ((new.thread_idle_after, new.thread_decay_after)
                     is distinct from (old.thread_idle_after, old.thread_decay_after))
  execute function hub_internal.retime_threads();

-- Decay -----------------------------------------------------------------------------------------------------

create function hub_internal.tell_thread_state()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_tasks     bigint;
  v_complete  bigint;
  v_failed    bigint;
  v_cancelled bigint;
  v_result    text;
begin
  if new.status = 'idle' then
    perform hub_internal.post('thread_idle', new.channel_id, new.id, null,
                              hub_internal.named_values('thread', new.name));
  else
    select count(*),
           count(*) filter (where t.status = 'complete'),
           count(*) filter (where t.status = 'failed'),
           count(*) filter (where t.status = 'cancelled')
      into v_tasks, v_complete, v_failed, v_cancelled
      from public.mac_tasks t
     where t.thread_id = new.id;
    select coalesce(t.result, t.error)
      into v_result
      from public.mac_tasks t
     where t.thread_id = new.id
       and t.status in ('complete', 'failed')
     order by t.created_at desc
     limit 1;
    perform hub_internal.post('thread_archived', new.channel_id, new.id, null, hub_internal.named_values(
      'thread', new.name,
      'messages', new.message_count::text,
      'tasks', v_tasks::text,
      'complete', v_complete::text,
      'failed', v_failed::text,
      'cancelled', v_cancelled::text,
      'reason', hub_internal.shorten(hub_internal.one_line(v_result), 300),
      'result', hub_internal.shorten(v_result, 1000)));
  end if;
  return null;
end;
$$;
create trigger hub_task_threads_tell
  after update of status on public.hub_task_threads
  for each row when (new.status is distinct from old.status and new.status in ('idle', 'archived'))
  execute function hub_internal.tell_thread_state();

create function hub_internal.decay_threads(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_count integer;
begin
  perform hub_internal.require_trusted('decaying threads');
  perform hub_internal.require_round(p_now, p_limit);
  -- Those that were spoken in since decay_at was set: it moves on, once in the time that it stands for. SKIP
  -- LOCKED in both statements: a thread in which somebody is writing at this moment is active anyway.
  loop
    update public.hub_task_threads t
       set decay_at = hub_internal.decay_time(t.status, t.last_activity_at, t.state_entered_at, t.channel_id)
     where t.id in (select d.id
                      from public.hub_task_threads d
                     where d.decay_at <= p_now
                       and hub_internal.decay_time(d.status, d.last_activity_at, d.state_entered_at,
                                                   d.channel_id) > p_now
                     limit p_limit
                       for update skip locked);
    get diagnostics v_count = row_count;
    exit when v_count < p_limit;
  end loop;

  update public.hub_task_threads t
     set status = case t.status
                    when 'active' then 'idle'
                    when 'idle' then 'decaying'
                    else 'archived' end,
         state_entered_at = p_now
   where t.id in (select d.id
                    from public.hub_task_threads d
                   where d.decay_at <= p_now
                     and hub_internal.decay_time(d.status, d.last_activity_at, d.state_entered_at,
                                                 d.channel_id) <= p_now
                     and not exists (select from public.mac_tasks k
                                      where k.thread_id = d.id
                                        and k.status in ('pending', 'running', 'waiting', 'blocked'))
                   order by d.decay_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

create function hub_internal.update_thread_status(p_thread_id uuid, p_status text)
  returns public.hub_task_threads
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_thread public.hub_task_threads;
  v_server uuid;
begin
  if p_status is null or p_status not in ('active', 'idle', 'decaying', 'archived') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_status %L', p_status),
      'A thread is active, idle, decaying or archived.');
  end if;
  select t.* into v_thread
    from public.hub_task_threads t
   where t.id = p_thread_id
     for no key update;
  select c.server_id into v_server from public.hub_channels c where c.id = v_thread.channel_id;
  if v_thread.id is null or not hub_internal.may_read(v_server) then
    perform hub_internal.refuse('UH004', 'not found',
      format('thread %s', coalesce(p_thread_id::text, 'null')),
      'Check the id, and that you may read its server.');
  end if;
  perform hub_internal.require_operate(hub_internal.may_operate(v_server), 'changing a thread');
  if v_thread.status <> p_status then
    update public.hub_task_threads t
       set status = p_status,
           state_entered_at = now(),
           last_activity_at = case when p_status = 'active' then now() else t.last_activity_at end
     where t.id = p_thread_id;
    -- With what the triggers made of it.
    select t.* into v_thread from public.hub_task_threads t where t.id = p_thread_id;
  end if;
  return v_thread;
end;
$$;
