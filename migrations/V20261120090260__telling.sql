-- Why: what people see of a task is a projection of its row. Whoever writes the row (the hub's functions, or
-- an executor that only knows UPDATE) has told it, in the same transaction; a result can not exist without
-- its message.

create function hub_internal.task_short(p_id uuid)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return left(p_id::text, 4);
end;
$$;

-- A thread for a task of a threaded channel that has none yet. The caller holds the task's row (or is
-- inserting it).
create function hub_internal.open_thread(p_channel_id uuid, p_task_id uuid, p_text text)
  returns public.hub_task_threads
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_thread public.hub_task_threads;
begin
  insert into public.hub_task_threads (channel_id, task_id, name)
  values (p_channel_id, p_task_id,
          left(p_task_id::text, 8) || ' — ' || hub_internal.shorten(hub_internal.one_line(p_text), 89))
  returning * into v_thread;
  return v_thread;
end;
$$;

create function hub_internal.is_threaded(p_channel_id uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select
                   from public.hub_channels c
                   join public.hub_servers s on s.id = c.server_id
                  where c.id = p_channel_id
                    and s.architecture_type = 'threaded_task_isolation');
end;
$$;

-- Whoever waits for a conversation while holding another can wait in a ring. So who tells several locks,
-- before the first word, those that nobody holds at this moment, and leaves the others for later. Gives the
-- tasks that may be told; null where each has somebody: then one of them alone may be waited for.
create function hub_internal.lock_conversations(p_task_ids uuid[])
  returns uuid[]
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return (
    with tasks as materialized (
      select t.id, t.channel_id, t.thread_id from public.mac_tasks t where t.id = any (p_task_ids)
    ), channels as materialized (
      select free.id
        from (select distinct t.channel_id as id from tasks t where t.thread_id is null) x
       cross join lateral (
         select c.id from public.hub_channels c where c.id = x.id for no key update skip locked) free
    ), threads as materialized (
      select free.id
        from (select distinct t.thread_id as id from tasks t) x
       cross join lateral (
         select h.id from public.hub_task_threads h where h.id = x.id for no key update skip locked) free
    )
    select array_agg(t.id)
      from tasks t
     where t.channel_id is null
        or t.thread_id in (select h.id from threads h)
        or t.thread_id is null and t.channel_id in (select c.id from channels c)
  );
end;
$$;

-- One message of the projection into the task's conversation. What the row does not hold is given by the
-- caller: a note, the reason, the machine that had it, the model that ran it. The order is message_values'.
create function hub_internal.tell(p_event text, p_task public.mac_tasks, p_thread_id uuid,
                                  p_note text default null, p_reason text default null,
                                  p_device text default null, p_model text default null,
                                  p_receipt jsonb default null)
  returns boolean
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  -- Notes (and that it started, with an empty one) are half of what is said: nothing is made for them that
  -- they do not say.
  if p_note is not null then
    return hub_internal.post(p_event, p_task.channel_id, p_thread_id, p_task.id, array[
      null,
      hub_internal.task_runner(p_task.agent, p_task.model_preference, p_task.claimed_by),
      left(p_task.id::text, 4),
      p_note]);
  end if;
  return hub_internal.post(p_event, p_task.channel_id, p_thread_id, p_task.id, array[
    case p_task.status when 'complete' then p_task.result else p_task.error end,
    hub_internal.task_runner(p_task.agent, p_task.model_preference, p_task.claimed_by),
    left(p_task.id::text, 4),
    p_note,
    p_reason,
    left(p_task.id::text, 8),
    case p_task.model_preference
      when 'any' then coalesce(case when p_task.session_device is not null then p_task.agent end,
                               p_task.requested_agent, 'any')
      else p_task.model_preference end,
    coalesce(p_model, p_task.agent, p_task.model, p_task.model_preference),
    coalesce(p_task.project, '—'),
    coalesce(p_device, p_task.claimed_by, '—'),
    hub_internal.shorten(p_task.content, 1000),
    p_task.attempt::text,
    (p_task.attempt + 1)::text,
    p_task.max_attempts::text,
    case when p_task.run_after is null then ''
         else ' in ' || hub_internal.duration_text(now(), p_task.run_after) end,
    case when p_task.status in ('complete', 'failed')
         then hub_internal.duration_text(coalesce(p_task.claimed_at, p_task.created_at),
                                         coalesce(p_task.finished_at, now())) end,
    hub_internal.receipt_branch(p_receipt),
    case when p_receipt is not null then hub_internal.verified_text(p_task, p_receipt) end,
    p_receipt ->> 'pull_request']);
end;
$$;

-- Why a task was stopped, or is tried again, in one line.
create function hub_internal.task_reason(p_task public.mac_tasks)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.shorten(
    hub_internal.one_line(
      coalesce(nullif(p_task.error, ''),
               case p_task.status when 'cancelled' then 'on request' else 'no reason given' end)),
    500);
end;
$$;

-- How an ending is marked where several are told in one list, or far from here.
create function hub_internal.ending_mark(p_status text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case p_status when 'complete' then '✅' when 'failed' then '❌' else '🚫' end;
end;
$$;

create function hub_internal.task_runner(p_agent text, p_model_preference text, p_device text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(p_agent, p_model_preference) || '/' || coalesce(p_device, '—');
end;
$$;
comment on function hub_internal.task_runner(text, text, text) is
  'Who ran it where, as people read it: claude/mac1.';

-- How a task ended, told once for each ending. Used by the trigger, and by what catches up with a trigger
-- that was off. Returns the mark that this was told (mac_tasks.told), to be written in the same transaction.
create function hub_internal.tell_end(p_task public.mac_tasks, p_thread_id uuid)
  returns text
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_model   text;
  v_receipt jsonb;
  v_cost    text;
  v_reason  text;
  v_told    boolean;
begin
  if p_task.status = 'cancelled' then
    v_reason := hub_internal.task_reason(p_task);
  else
    select case when a.fallback_from is null then a.model else hub_internal.used_text(a) end, a.receipt,
           hub_internal.cost_text(a)
      into v_model, v_receipt, v_cost
      from public.hub_task_attempts a
     where a.task_id = p_task.id and a.attempt = p_task.attempt;
    if v_receipt ->> 'kind' is null then
      v_receipt := null;
    elsif p_task.status = 'complete' then
      p_task.result := hub_internal.with_receipt(p_task.result, p_task, v_receipt, 99000);
    else
      p_task.error := hub_internal.with_receipt(p_task.error, p_task, v_receipt, 100000);
    end if;
    p_task.result := hub_internal.with_cost(p_task.result, v_cost);
  end if;
  -- Each of the three is an event of the same name. Assigned and not PERFORMed, here and below: what PERFORM
  -- is given is prepared anew at each call.
  v_told := hub_internal.tell(p_task.status, p_task, p_thread_id, p_reason => v_reason, p_model => v_model,
                              p_receipt => v_receipt);
  return p_task.status || ':' || p_task.attempt::text;
end;
$$;

-- What is new in a note that grew by lines: an executor may write the whole text so far, or its newest line.
create function hub_internal.progress_text(p_old text, p_new text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.shorten(
    btrim(case when p_old <> '' and left(p_new, char_length(p_old) + 1) = p_old || E'\n'
               then substr(p_new, char_length(p_old) + 1)
               else p_new end,
          E' \t\r\n'),
    1500);
end;
$$;

-- BEFORE, not AFTER: `told` is part of the row this statement writes anyway, so a message and the mark that
-- it was posted are one write. (An AFTER trigger would need a second version of every finished task.)
create function hub_internal.tell_change()
  returns trigger
  language plpgsql
  security definer                                -- messages of a task are nobody's to write
  set search_path = ''
as $$
declare
  v_noted   boolean;
  v_note    text;
  v_attempt public.hub_task_attempts;
  v_said    public.mac_tasks;
  v_event   text;
  v_reason  text;
  v_told    boolean;
begin
  if new.channel_id is null then
    return new;
  end if;
  -- One that was written quietly and comes again is told all the same.
  v_noted := new.status = 'running'
             and not new.quiet
             and new.partial_output is not null
             and (new.partial_output is distinct from old.partial_output or old.quiet);
  -- Not as WHEN of the trigger, for the reason given at check_task (…task_rules).
  if not v_noted
     and (new.status = old.status
          or (new.status = 'blocked' and old.status not in ('failed', 'cancelled'))
          or (new.status = 'pending' and old.status not in ('running', 'failed', 'cancelled'))) then
    return new;
  end if;
  -- An executor that knows no threads works on a task of a threaded channel: the channel stays clean all the
  -- same.
  if new.thread_id is null and hub_internal.is_threaded(new.channel_id) then
    new.thread_id := (hub_internal.new_thread_for(new)).id;
  end if;

  if new.status is distinct from old.status then
    if new.status in ('complete', 'failed', 'cancelled') then
      new.told := hub_internal.tell_end(new, new.thread_id);
    elsif new.status = 'pending' and old.status = 'running' then
      -- What became of the attempt is written before its task is.
      select a.*
        into v_attempt
        from public.hub_task_attempts a
       where a.task_id = new.id
         and a.attempt = new.attempt;
      v_said := new;
      -- Who had it: the row does not say so any more.
      v_said.agent := old.agent;
      v_said.claimed_by := old.claimed_by;
      v_event := case when v_attempt.outcome = 'lost' then 'lease_lost'
                      when v_attempt.reason in ('limit', 'auth') then 'waits'
                      when hub_internal.hand_back(v_attempt.reason) is not null then 'handed_back'
                      else 'retried' end;
      v_reason := case when v_event = 'handed_back'
                       then rtrim(hub_internal.task_reason(new), '.')
                            || hub_internal.hand_back_text(new, v_attempt.reason)
                       else hub_internal.task_reason(new) end;
      -- Parked and answered at the same moment: it goes on as if nothing had been.
      if v_reason is not null and v_attempt.outcome is distinct from 'parked' then
        perform hub_internal.tell(v_event, v_said, new.thread_id, p_reason => v_reason,
                                  p_device => old.claimed_by);
      end if;
    elsif new.status = 'waiting' then
      v_said := new;
      v_said.claimed_by := old.claimed_by;        -- who had it, as above
      perform hub_internal.tell_parked(v_said, new.thread_id, old.status);
    elsif new.status in ('pending', 'blocked') and old.status in ('failed', 'cancelled') then
      new.told := null;
      perform hub_internal.tell('requeued', new, new.thread_id);
    elsif new.status = 'running' then
      if new.model is distinct from old.model and new.lease_expires_at is not null then
        perform hub_internal.tell_fallback(new);
      end if;
      v_told := hub_internal.tell('started', new, new.thread_id, '');
    end if;
  end if;

  if v_noted then
    v_note := hub_internal.progress_text(
      case when old.status = 'running' and not old.quiet then coalesce(old.partial_output, '') else '' end,
      new.partial_output);
    if v_note <> '' then
      new.progress_count := new.progress_count + 1;
      if new.progress_count <= 15 then
        v_told := hub_internal.tell('progress', new, new.thread_id, v_note);
      end if;
    end if;
  end if;
  return new;
end;
$$;

-- Opens the thread as a person would read it: with what was asked, then that it is queued. Who is said to
-- have asked is the sender of a message with the very words of the task, else the task's maker: nobody's name
-- stands over what somebody else has written.
create function hub_internal.new_thread_for(p_task public.mac_tasks)
  returns public.hub_task_threads
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_thread public.hub_task_threads;
  v_asked  public.hub_channel_messages;
begin
  v_thread := hub_internal.open_thread(p_task.channel_id, p_task.id, p_task.content);
  if p_task.message_id is not null then
    select * into v_asked
      from public.hub_channel_messages m
     where m.id = p_task.message_id
       and m.content = p_task.content
       and m.channel_id = p_task.channel_id;
  elsif p_task.created_by is not null then
    -- Aura posts the message, then makes the task: the newest message of its maker that says the same.
    select * into v_asked
      from public.hub_channel_messages m
     where m.channel_id = p_task.channel_id
       and m.task_thread_id is null
       and m.sender_id = p_task.created_by::text
       and m.content = p_task.content
       and m.created_at > p_task.created_at - interval '10 minutes'
     order by m.created_at desc
     limit 1;
  end if;

  insert into public.hub_channel_messages
    (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, reply_to,
     task_id)
  values
    (null, p_task.channel_id, v_thread.id,
     coalesce(v_asked.sender_type, case when p_task.created_by is null then 'system' else 'human' end),
     coalesce(v_asked.sender_id, p_task.created_by::text, 'hub'),
     coalesce(v_asked.sender_label,
              case when p_task.created_by is null then 'Aura Hub'
                   when p_task.created_by = hub_internal.person() then hub_internal.person_label() end),
     p_task.content, 'text', coalesce(v_asked.id, p_task.message_id), p_task.id);

  perform hub_internal.tell('queued', p_task, v_thread.id);
  select * into v_thread from public.hub_task_threads t where t.id = v_thread.id;
  return v_thread;
end;
$$;

create function hub_internal.tell_insert()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_told boolean;
begin
  if new.channel_id is not null and new.status in ('pending', 'blocked') then
    -- A task that starts a thread: its channel gets one line, whether the thread is there yet or comes by
    -- hub_create_task_thread. A follow-up is of its thread alone.
    if new.thread_id is null
       or exists (select from public.hub_task_threads t
                   where t.id = new.thread_id and t.task_id = new.id) then
      v_told := hub_internal.tell('queued', new, null);
    end if;
    if new.thread_id is not null then
      v_told := hub_internal.tell('queued', new, new.thread_id);
    end if;
  end if;
  return null;
end;
$$;
