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

create function hub_internal.embed(p_title text, p_color int, p_description text, p_footer text, variadic p_fields text[] default '{}')
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_fields jsonb := '[]'::jsonb;
begin
  for i in 1 .. coalesce(array_length(p_fields, 1), 0) by 2 loop
    v_fields := v_fields || jsonb_build_object('name', p_fields[i], 'value', hub_internal.shorten(p_fields[i + 1], 1000), 'inline', true);
  end loop;
  return jsonb_build_object(
    'title', p_title,
    'description', hub_internal.shorten(coalesce(p_description, ''), 4000),
    'color', p_color,
    'fields', v_fields,
    'footer', p_footer,
    'timestamp', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
end;
$$;
comment on function hub_internal.embed(text, int, text, text, text[]) is
  'An embed as Aura decodes it; p_fields are names and values in turn.';

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
  values (p_channel_id, p_task_id, left(p_task_id::text, 8) || ' — ' || hub_internal.shorten(hub_internal.one_line(p_text), 89))
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
  return exists (select from public.hub_channels c join public.hub_servers s on s.id = c.server_id
                  where c.id = p_channel_id and s.architecture_type = 'threaded_task_isolation');
end;
$$;

-- One line of the projection into the task's conversation.
create function hub_internal.tell(p_task public.mac_tasks, p_thread_id uuid, p_content_type text, p_content text, p_embed jsonb,
                                  p_sender text default null)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  insert into public.hub_channel_messages
    (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, embed_data, is_progress, task_id)
  values
    (null, p_task.channel_id, p_thread_id,
     case when p_sender is null then 'system' else 'agent' end, coalesce(p_sender, 'hub'), coalesce(p_sender, 'Aura Hub'),
     hub_internal.shorten(p_content, 100000), p_content_type, p_embed, p_content_type = 'progress', p_task.id);
end;
$$;

create function hub_internal.task_runner(p_task public.mac_tasks)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(p_task.agent, p_task.model_preference) || '/' || coalesce(p_task.claimed_by, '—');
end;
$$;
comment on function hub_internal.task_runner(public.mac_tasks) is
  'Who ran it where, as people read it: claude/mac1.';

create function hub_internal.queued_text(p_task public.mac_tasks)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return format(E'⏳ Task %s queued\nModel: %s | Project: %s', hub_internal.task_short(p_task.id), p_task.model_preference, coalesce(p_task.project, '—'));
end;
$$;

create function hub_internal.task_footer(p_task public.mac_tasks)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return format('Task %s · attempt %s', left(p_task.id::text, 8), p_task.attempt);
end;
$$;

create function hub_internal.tell_queued(p_task public.mac_tasks, p_thread_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.tell(p_task, p_thread_id, 'task', hub_internal.queued_text(p_task),
    hub_internal.embed('Task Queued', 3447003, hub_internal.shorten(p_task.content, 1000), format('Task %s', left(p_task.id::text, 8)),
                       'Model', p_task.model_preference, 'Device', '— (pending)'));
end;
$$;

-- How a task ended, told once for each ending. Used by the trigger, and by what catches up with a trigger
-- that was off.
create function hub_internal.tell_end(p_task public.mac_tasks, p_thread_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_short  text := hub_internal.task_short(p_task.id);
  v_runner text := hub_internal.task_runner(p_task);
  v_run    public.hub_task_attempts;
begin
  if p_task.status in ('complete', 'failed') then
    select * into v_run from public.hub_task_attempts a where a.task_id = p_task.id and a.attempt = p_task.attempt;
  end if;
  case p_task.status
    when 'complete' then
      perform hub_internal.tell(p_task, p_thread_id, 'result',
        format('✅ %s complete [%s]', v_short, v_runner) || coalesce(E'\n' || nullif(p_task.result, ''), ''),
        hub_internal.embed('Task Complete', 3066993, p_task.result, hub_internal.task_footer(p_task),
          'Model', coalesce(v_run.model, p_task.agent, p_task.model, p_task.model_preference), 'Device', coalesce(p_task.claimed_by, '—'),
          'Duration', hub_internal.duration_text(coalesce(p_task.claimed_at, p_task.created_at), coalesce(p_task.finished_at, now()))),
        v_runner);
    when 'failed' then
      perform hub_internal.tell(p_task, p_thread_id, 'error',
        format('❌ %s failed [%s]', v_short, v_runner) || coalesce(E'\n' || nullif(p_task.error, ''), ''),
        hub_internal.embed('Task Failed', 15158332, p_task.error, hub_internal.task_footer(p_task),
          'Model', coalesce(v_run.model, p_task.agent, p_task.model, p_task.model_preference), 'Device', coalesce(p_task.claimed_by, '—'),
          'Duration', hub_internal.duration_text(coalesce(p_task.claimed_at, p_task.created_at), coalesce(p_task.finished_at, now()))),
        v_runner);
    when 'cancelled' then
      perform hub_internal.tell(p_task, p_thread_id, 'notice',
        format('🚫 %s cancelled: %s', v_short, hub_internal.shorten(hub_internal.one_line(coalesce(nullif(p_task.error, ''), 'on request')), 500)),
        hub_internal.embed('Task Cancelled', 9807270, coalesce(p_task.error, ''), hub_internal.task_footer(p_task)));
    else null;
  end case;
end;
$$;

-- What is new in a note that grew by lines: an executor may write the whole text so far, or only the newest
-- line.
create function hub_internal.progress_text(p_old text, p_new text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.shorten(btrim(case when p_old <> '' and left(p_new, char_length(p_old) + 1) = p_old || E'\n'
                                         then substr(p_new, char_length(p_old) + 1) else p_new end, E' \t\r\n'), 1500);
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
  v_note   text;
begin
  -- Not as WHEN of the trigger, for the reason given at check_task.
  if new.channel_id is null
     or (case when new.status <> old.status
             then new.status not in ('complete', 'failed', 'cancelled') and not (new.status = 'pending' and old.status in ('running', 'failed', 'cancelled'))
                  and not (new.status = 'running' and new.partial_output is not null and new.partial_output is distinct from old.partial_output)
             else new.status <> 'running' or new.partial_output is null or new.partial_output is not distinct from old.partial_output end) then
    return new;
  end if;
  -- An executor that knows no threads works on a task of a threaded channel: the channel stays clean all the
  -- same.
  if new.thread_id is null and hub_internal.is_threaded(new.channel_id) then
    new.thread_id := (hub_internal.new_thread_for(new)).id;
  end if;

  if new.status is distinct from old.status then
    if new.status in ('complete', 'failed', 'cancelled') then
      perform hub_internal.tell_end(new, new.thread_id);
      new.told := new.status || ':' || new.attempt::text;
    elsif new.status = 'pending' and old.status = 'running' then
      perform hub_internal.tell(new, new.thread_id, 'notice',
        format(case when new.error like 'lease lost%' then '⚠️ %s lost by %s: %s; trying again%s' else '🔁 %s failed on %s: %s; trying again%s' end,
               hub_internal.task_short(new.id), coalesce(old.claimed_by, '—'),
               hub_internal.shorten(hub_internal.one_line(coalesce(nullif(new.error, ''), 'no reason given')), 500),
               case when new.run_after is null then '' else format(' in %s', hub_internal.duration_text(now(), new.run_after)) end
               || format(' (attempt %s of %s)', new.attempt + 1, new.max_attempts)),
        hub_internal.embed(case when new.error like 'lease lost%' then 'Lease Lost' else 'Task Retried' end, 9807270,
                           coalesce(new.error, ''), hub_internal.task_footer(new)));
    elsif new.status = 'pending' and old.status in ('failed', 'cancelled') then
      new.told := null;
      perform hub_internal.tell(new, new.thread_id, 'notice', format('🔁 %s queued again by request', hub_internal.task_short(new.id)),
        hub_internal.embed('Task Retried', 9807270, '', hub_internal.task_footer(new)));
    end if;
  end if;

  if new.status = 'running' and new.partial_output is distinct from old.partial_output then
    v_note := hub_internal.progress_text(case when old.status = 'running' then coalesce(old.partial_output, '') else '' end, new.partial_output);
    if v_note <> '' then
      new.progress_count := new.progress_count + 1;
      if new.progress_count <= 15 then
        perform hub_internal.tell(new, new.thread_id, 'progress', format('📋 %s: %s', hub_internal.task_short(new.id), v_note), null,
                                  hub_internal.task_runner(new));
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
    select * into v_asked from public.hub_channel_messages m where m.id = p_task.message_id and m.content = p_task.content and m.channel_id = p_task.channel_id;
  elsif p_task.created_by is not null then
    -- Aura posts the message, then makes the task: the newest message of its maker that says the same.
    select * into v_asked from public.hub_channel_messages m
     where m.channel_id = p_task.channel_id and m.task_thread_id is null
       and m.sender_id = p_task.created_by::text and m.content = p_task.content
       and m.created_at > p_task.created_at - interval '10 minutes'
     order by m.created_at desc limit 1;
  end if;
  insert into public.hub_channel_messages (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, reply_to, task_id)
  values (null, p_task.channel_id, v_thread.id,
          coalesce(v_asked.sender_type, case when p_task.created_by is null then 'system' else 'human' end),
          coalesce(v_asked.sender_id, p_task.created_by::text, 'hub'),
          coalesce(v_asked.sender_label, case when p_task.created_by is null then 'Aura Hub'
                                              when p_task.created_by = hub_internal.person() then hub_internal.person_label() end),
          p_task.content, 'text', coalesce(v_asked.id, p_task.message_id), p_task.id);
  perform hub_internal.tell_queued(p_task, v_thread.id);
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
begin
  if new.status in ('pending', 'blocked') then
    -- A task that starts a thread: its channel gets one line, whether the thread is there yet or comes by
    -- hub_create_task_thread. A follow-up is of its thread alone.
    if new.thread_id is null
       or exists (select from public.hub_task_threads t where t.id = new.thread_id and t.task_id = new.id) then
      perform hub_internal.tell_queued(new, null);
    end if;
    if new.thread_id is not null then
      perform hub_internal.tell_queued(new, new.thread_id);
    end if;
  end if;
  return null;
end;
$$;
