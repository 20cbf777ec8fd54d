-- Why: a thread ages by itself, in the database, whether or not anybody looks.
--
--   active    -> idle       2 h without activity; a warning is posted
--   idle      -> decaying   1 h after it became idle
--   decaying  -> archived   at the next cycle; a summary is posted
--   any       -> active     by any message but the warning and the summary (see number_message)
--
-- A thread with a task that is not final does not decay. The 2 h and 1 h are settings (hub_internal.settings, hub_channels).

create function hub_internal.tell_thread_state()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_tasks bigint; v_complete bigint; v_failed bigint; v_cancelled bigint; v_result text;
begin
  if new.status = 'idle' then
    insert into public.hub_channel_messages (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, embed_data)
    values (null, new.channel_id, new.id, 'system', 'hub', 'Aura Hub',
            '💤 This thread is idle. A reply keeps it open; otherwise it will be archived.', 'warning',
            hub_internal.embed('Thread Idle', 15844367, 'No activity; it will be archived unless somebody replies.', new.name));
  else
    select count(*), count(*) filter (where t.status = 'complete'), count(*) filter (where t.status = 'failed'), count(*) filter (where t.status = 'cancelled')
      into v_tasks, v_complete, v_failed, v_cancelled
      from public.mac_tasks t where t.thread_id = new.id;
    select coalesce(t.result, t.error) into v_result from public.mac_tasks t
     where t.thread_id = new.id and t.status in ('complete', 'failed') order by t.created_at desc limit 1;
    insert into public.hub_channel_messages (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, embed_data)
    values (null, new.channel_id, new.id, 'system', 'hub', 'Aura Hub',
            format('📦 Thread archived: %s messages, %s task(s): %s complete, %s failed, %s cancelled.', new.message_count, v_tasks, v_complete, v_failed, v_cancelled)
              || coalesce(E'\nLast: ' || hub_internal.shorten(hub_internal.one_line(nullif(v_result, '')), 300), ''),
            'summary',
            hub_internal.embed('Thread Archived', 9807270, hub_internal.shorten(coalesce(v_result, ''), 1000), new.name,
              'Messages', new.message_count::text, 'Tasks', v_tasks::text, 'Complete', v_complete::text, 'Failed', v_failed::text));
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
  -- Those that were spoken in since decay_at was set: it moves on, once in the time that it stands for. SKIP LOCKED here and
  -- below: a thread in which somebody is writing at this moment is active anyway.
  loop
    update public.hub_task_threads t
       set decay_at = hub_internal.decay_time(t.status, t.last_activity_at, t.state_entered_at, t.channel_id)
     where t.id in (select d.id from public.hub_task_threads d
                     where d.decay_at <= p_now
                       and hub_internal.decay_time(d.status, d.last_activity_at, d.state_entered_at, d.channel_id) > p_now
                     limit p_limit for update skip locked);
    get diagnostics v_count = row_count;
    exit when v_count < p_limit;
  end loop;

  update public.hub_task_threads t
     set status = case t.status when 'active' then 'idle' when 'idle' then 'decaying' else 'archived' end,
         state_entered_at = p_now
   where t.id in (select d.id from public.hub_task_threads d
                   where d.decay_at <= p_now
                     and hub_internal.decay_time(d.status, d.last_activity_at, d.state_entered_at, d.channel_id) <= p_now
                     and not exists (select from public.mac_tasks k
                                      where k.thread_id = d.id and k.status in ('pending', 'running', 'waiting', 'blocked'))
                   order by d.decay_at limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

create function public.hub_decay_threads(p_now timestamptz default now(), p_limit int default 1000)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.decay_threads(p_now, p_limit);
end;
$$;
comment on function public.hub_decay_threads(timestamptz, int) is
  'Takes each thread that is due one step on: idle, decaying, archived. Returns how many; call again while it returns p_limit. Errors: UH001, 42501.';

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
    perform hub_internal.refuse('UH001', 'bad input', format('p_status %L', p_status), 'A thread is active, idle, decaying or archived.');
  end if;
  select t.* into v_thread from public.hub_task_threads t where t.id = p_thread_id for no key update;
  select c.server_id into v_server from public.hub_channels c where c.id = v_thread.channel_id;
  if v_thread.id is null or not hub_internal.may_read(v_server) then
    perform hub_internal.refuse('UH004', 'not found', format('thread %s', coalesce(p_thread_id::text, 'null')), 'Check the id, and that you may read its server.');
  end if;
  perform hub_internal.require_operate(hub_internal.may_operate(v_server), 'changing a thread');
  if v_thread.status <> p_status then
    update public.hub_task_threads t
       set status = p_status, state_entered_at = now(),
           last_activity_at = case when p_status = 'active' then now() else t.last_activity_at end
     where t.id = p_thread_id;
    select t.* into v_thread from public.hub_task_threads t where t.id = p_thread_id;   -- with what the triggers made of it
  end if;
  return v_thread;
end;
$$;

create function public.hub_update_thread_status(p_thread_id uuid, p_status text)
  returns public.hub_task_threads
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.update_thread_status(p_thread_id, p_status);
end;
$$;
comment on function public.hub_update_thread_status(uuid, text) is
  'Sets a thread active, idle, decaying or archived by hand, with the message that goes with it. Errors: UH001, UH004, 42501.';

revoke all on function hub_internal.tell_thread_state(), hub_internal.decay_threads(timestamptz, int), public.hub_decay_threads(timestamptz, int),
  hub_internal.update_thread_status(uuid, text), public.hub_update_thread_status(uuid, text)
  from public, anon, authenticated, service_role;
grant execute on function hub_internal.update_thread_status(uuid, text), public.hub_update_thread_status(uuid, text) to authenticated, service_role;
grant execute on function hub_internal.decay_threads(timestamptz, int), public.hub_decay_threads(timestamptz, int) to service_role;
