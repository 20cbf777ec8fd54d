-- Why: an ask is answered, or closed, without anybody calling hub_answer_ask: by a word in its thread, by
-- time.

-- A reply in the thread -------------------------------------------------------------------------------------

-- What a person means by a word. Null: it is no answer to that.
create function hub_internal.meant_answer(p_ask public.hub_asks, p_content text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_word text := lower(btrim(hub_internal.tamed(p_content), E' \t\r\n.!,'));
begin
  return case p_ask.kind
    when 'approval' then
      case when v_word in ('yes', 'y', 'ok', 'okay', 'allow', 'allowed', 'approve', 'approved', 'go ahead',
                           'do it', '👍', '✅') then 'allow'
           when v_word in ('no', 'n', 'deny', 'denied', 'reject', 'rejected', 'don''t', '👎', '❌') then 'deny'
           when v_word in ('allow_task', 'allow from now on', 'always') then 'allow_task' end
    when 'stop' then
      case when v_word in ('continue', 'go on', 'yes', 'y', 'ok', 'okay', '👍', '✅') then 'continue'
           when v_word in ('cancel', 'stop', 'no', 'n', '👎', '❌') then 'cancel' end
    else p_content end;
end;
$$;

-- A person's reply to the message that asks is its answer, and in a thread a reply to nothing, where its
-- tasks ask one thing. Null: it is none, and means what a reply means otherwise.
create function hub_internal.answer_by_reply(
    p_channel_id uuid, p_thread_id uuid, p_reply_to uuid, p_content text, p_idempotency_key text,
    p_person uuid, p_label text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids     uuid[];
  v_ask     public.hub_asks;
  v_task    public.mac_tasks;
  v_thread  public.hub_task_threads;
  v_message public.hub_channel_messages;
  v_meant   text;
begin
  if p_reply_to is not null then
    v_ids := array(select a.id from public.hub_asks a where a.message_id = p_reply_to and a.state = 'open');
  else
    v_ids := array(select a.id
                     from public.mac_tasks t
                     join public.hub_asks a on a.task_id = t.id and a.state = 'open'
                    where t.thread_id = p_thread_id
                      and t.channel_id = p_channel_id
                      and t.status in ('running', 'waiting')
                    limit 2);
  end if;
  if cardinality(v_ids) <> 1 then
    return null;
  end if;
  -- Decided without a lock: what is no answer becomes work, and that takes a bucket, which goes before a task.
  select a.* into v_ask from public.hub_asks a where a.id = v_ids[1];
  select t.* into v_task from public.mac_tasks t where t.id = v_ask.task_id;
  v_meant := hub_internal.meant_answer(v_ask, p_content);
  if v_meant is null or not hub_internal.may_answer(v_ask, v_task, p_person) then
    return null;
  end if;
  -- Whoever waits here is told who was first.
  perform from public.mac_tasks t where t.id = v_task.id for no key update;
  select a.* into v_ask from public.hub_asks a where a.id = v_ask.id;
  if v_ask.state <> 'open' then
    perform hub_internal.refuse_closed(v_ask);
  end if;
  if v_ask.kind = 'approval' and v_meant <> 'deny' and not hub_internal.is_shown_whole(v_ask) then
    perform hub_internal.refuse('UH003', 'conflict', 'the message does not show all that would be allowed',
      format('Look at it whole and answer it there: hub task answer %s.', left(v_task.id::text, 4)));
  end if;
  insert into public.hub_channel_messages
    (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type,
     idempotency_key, reply_to)
  values
    (null, p_channel_id, p_thread_id, 'human', p_person::text, p_label, p_content, 'text',
     p_idempotency_key, v_ask.message_id)
  returning * into v_message;
  v_ask := hub_internal.put_answer(v_ask.id, v_meant, null, v_ask.digest, p_person, p_label, 'thread',
                                   v_message.id, true);
  select t.* into v_task from public.mac_tasks t where t.id = v_ask.task_id;
  select h.* into v_thread from public.hub_task_threads h where h.id = p_thread_id;
  return jsonb_build_object(
    'message', to_jsonb(v_message),
    'task', to_jsonb(v_task),
    'thread', case when v_thread.id is not null then to_jsonb(v_thread) end,
    'reply', null,
    'ask', to_jsonb(v_ask));
end;
$$;

-- Time ------------------------------------------------------------------------------------------------------

-- What nobody answered in time, as its rule says. A reminder comes when it has waited twice as long as at the
-- one before, ten times.
create function hub_internal.expire_asks(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids  uuid[];
  v_ask  public.hub_asks;
  v_task public.mac_tasks;
  v_done integer := 0;
begin
  select array_agg(x.id) into v_ids
    from (select t.id
            from public.mac_tasks t
           where t.id in (select a.task_id
                            from public.hub_asks a
                           where a.state = 'open' and a.expires_at <= p_now
                           order by a.expires_at
                           limit p_limit)
             for no key update skip locked) x;
  if v_ids is null then
    return 0;
  end if;
  v_ids := coalesce(hub_internal.lock_conversations(v_ids), v_ids[1:1]);
  for v_ask in
    select a.*
      from public.hub_asks a
     where a.task_id = any (v_ids) and a.state = 'open' and a.expires_at <= p_now
     order by a.expires_at, a.id
  loop
    select t.* into v_task from public.mac_tasks t where t.id = v_ask.task_id;
    v_done := v_done + 1;
    if v_ask.on_expiry = 'remind' then
      update public.hub_asks a
         set reminded = a.reminded + 1,
             expires_at = case when a.reminded < 9 then p_now + (p_now - a.created_at) end,
             on_expiry = case when a.reminded < 9 then a.on_expiry end
       where a.id = v_ask.id;
      if v_task.channel_id is not null then
        perform hub_internal.tell('ask_reminder', v_task, v_task.thread_id,
                                  hub_internal.visible(v_ask.title));
      end if;
      continue;
    end if;
    -- Withdrawn meanwhile, with its task that another of its asks has stopped.
    update public.hub_asks a
       set state = 'expired',
           answer = case when a.on_expiry = 'continue' then 'continue'
                         when a.kind = 'approval' then 'deny'
                         when a.kind = 'stop' then 'cancel' end,
           answered_door = 'time',
           answered_at = p_now
     where a.id = v_ask.id and a.state = 'open'
    returning a.* into v_ask;
    if found then
      perform hub_internal.go_on(v_ask, v_task, p_now);
    end if;
  end loop;
  return v_done;
end;
$$;
insert into public.hub_errands (name, about, wakes, function, position) values
  ('asks', 'what nobody answered in time is denied, cancelled, or people are reminded', true,
   'hub_internal.expire_asks', 140);
