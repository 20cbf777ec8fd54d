-- Why: what is said here goes to each bridge of its channel, and the end of a task that GitHub asked for back
-- to where it was asked. What comes in is …bridged.

create function hub_internal.wake_outbox()
  returns trigger
  language plpgsql
  security definer                                -- service_role writes rows, and holds no grant on helpers
  set search_path = ''
as $$
begin
  perform hub_internal.wake_errand('outbox');
  return null;
end;
$$;
create trigger hub_outbox_wake
  after insert on public.hub_outbox
  for each statement execute function hub_internal.wake_outbox();

-- Every message passes here, and nearly all find no bridge: one look at an index. What is new goes to each
-- bridge of its channel but the one it came from. Not told: the copy that opens a thread (its original was),
-- and a thread's own life.
create function hub_internal.mirror_message()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_bridge   public.hub_bridges;
  v_end      text;
  v_progress boolean;
  v_reply    uuid;
  v_body     jsonb;
  v_sender   text;
  v_stranger boolean;
  v_ask      public.hub_asks;
  v_asked    jsonb := '{}'::jsonb;
begin
  -- Asked on its own: opening a loop costs more than finding that there is nothing to loop over.
  if not exists (select from public.hub_bridges b where b.channel_id = new.channel_id) then
    return null;
  end if;
  v_end := case when new.event in ('complete', 'failed', 'cancelled') then new.event end;
  v_stranger := new.sender_type = 'human'
    and new.sender_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    and not exists (select
                      from public.hub_members m
                      join public.hub_channels c on c.server_id = m.server_id
                     where c.id = new.channel_id
                       and m.user_id = new.sender_id::uuid);
  -- Whoever posts may choose the name that is shown in the hub, where the sender_id stands beside it. In a
  -- bridged chat nobody sees the sender_id: there the name is the token's. It is one line, and only a name
  -- that came by a bridge ends in "(Discord)" or "(Telegram)".
  v_sender := case when new.sender_type = 'human' and new.sender_id = hub_internal.person()::text
                   then hub_internal.person_label()
                   else new.sender_label end;
  v_sender := hub_internal.one_line(hub_internal.tamed(v_sender));
  if v_sender is not null and coalesce(new.sender_id, '') not like 'bridge:%' then
    v_sender := coalesce(
      nullif(regexp_replace(v_sender, E'(\\s*\\((discord|telegram)\\))+\\s*$', '', 'i'), ''),
      'somebody');
  end if;
  if new.event = 'asked' then
    select a.* into v_ask from public.hub_asks a where a.message_id = new.id;
  end if;

  for v_bridge in
    select b.*
      from public.hub_bridges b
     where b.channel_id = new.channel_id
       and b.enabled
       and b.direction <> 'in'
       and b.provider <> 'github'
     order by b.created_at, b.id
  loop
    continue when new.sender_id = 'bridge:' || v_bridge.id;
    -- A phone is told what somebody has to answer, and nothing else.
    continue when v_bridge.provider = 'ntfy' and new.event is distinct from 'asked';
    -- Whoever is signed in may write in an open server; what its members' chats hear is its owners' to say.
    continue when v_stranger and not v_bridge.mirrors_strangers;
    exit when new.content_type in ('warning', 'summary')
           or (new.task_thread_id is not null and new.seq = 1 and new.content_type = 'text');
    -- What an agent says is said once, and stays; so is what it asks. The list of a team's parts is a message
    -- of its own, edited with the one here (mirror_edit).
    v_progress := new.task_id is not null and new.event is not null and v_end is null
                  and new.event not in ('said', 'asked', 'decomposed');
    v_reply := case when v_end is not null or new.event = 'asked'
                    then (select t.message_id from public.mac_tasks t where t.id = new.task_id)
                    else new.reply_to end;

    if v_ask.id is not null then
      v_asked := jsonb_build_object('ask', hub_internal.ask_body(v_ask, v_bridge));
    end if;
    if v_bridge.provider = 'webhook' then
      v_body := jsonb_build_object(
        'type', case when v_end is not null then 'task.' || v_end
                     when v_progress or new.event = 'decomposed' then 'task.progress'
                     when new.event = 'asked' then 'ask.opened'
                     else 'message.posted' end,
        'timestamp', to_char(new.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'data', jsonb_build_object(
          'server', v_bridge.server_id,
          'channel', new.channel_id,
          'thread', new.task_thread_id,
          'message', new.id,
          'task', new.task_id,
          'sender', v_sender,
          'sender_type', new.sender_type,
          'content_type', new.content_type,
          'text', new.content,
          'embed', new.embed_data) || v_asked);
    else
      v_body := jsonb_build_object(
        'text', new.content,
        'sender', v_sender,
        'sender_type', new.sender_type,
        'content_type', new.content_type,
        'embed', new.embed_data,
        'message', new.id,
        'task', new.task_id,
        'in_place', new.event is not distinct from 'decomposed') || v_asked;
    end if;

    if v_progress then
      -- What nobody tried to send yet says the newest instead. One that was tried may have arrived: that gets
      -- an edit behind it.
      update public.hub_outbox o
         set body = v_body,
             message_id = new.id,
             updated_at = now(),
             expires_at = greatest(o.expires_at, now() + hub_internal.setting('outbox_ttl'))
       where o.task_id = new.task_id
         and o.bridge_id = v_bridge.id
         and o.is_progress
         and o.status = 'pending'
         and o.attempt = 0;
      continue when found;
    end if;
    insert into public.hub_outbox
      (server_id, bridge_id, provider, target, secret_name, kind, body, idempotency_key, expires_at,
       message_id, reply_message_id, task_id, ask_id, is_progress, mirror)
    values
      (v_bridge.server_id, v_bridge.id, v_bridge.provider, v_bridge.target,
       hub_internal.bridge_secret(v_bridge),
       case when v_bridge.provider = 'webhook' then 'webhook'
            when v_progress then
              case when exists (select from public.hub_outbox o
                                 where o.task_id = new.task_id
                                   and o.bridge_id = v_bridge.id
                                   and o.is_progress
                                   and o.status in ('pending', 'sending', 'sent')
                                   and hub_internal.chat_of(o.target) = hub_internal.chat_of(v_bridge.target))
                   then 'edit' else 'post' end
            when v_reply is not null and v_bridge.provider <> 'ntfy' then 'reply'
            else 'post' end,
       v_body, v_bridge.id || ':' || new.id,
       now() + hub_internal.setting(
         case when v_bridge.provider = 'webhook' then 'outbox_webhook_ttl' else 'outbox_ttl' end),
       new.id, v_reply, new.task_id, v_ask.id, v_progress, v_stranger and v_bridge.provider <> 'webhook');
  end loop;
  return null;
end;
$$;
-- By its name after hub_channel_messages_broadcast: people who look are told first.
create trigger hub_channel_messages_mirror
  after insert on public.hub_channel_messages
  for each row execute function hub_internal.mirror_message();

-- What is edited here is edited in the chats that were told it; of what was asked close_doors does so. What
-- nobody tried to send yet says the newest instead. Rows in flight are not locked: who ends one may hold it
-- and wait for the conversation, to warn of the bridge.
create function hub_internal.mirror_edit()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_row  public.hub_outbox;
  v_body jsonb;
begin
  for v_row in
    select o.*
      from public.hub_bridges b
      join public.hub_outbox o on o.idempotency_key = b.id || ':' || new.id
     where b.channel_id = new.channel_id
       and b.enabled
       and b.direction <> 'in'
       and o.kind in ('post', 'reply')
       and o.ask_id is null
       and o.provider in ('discord', 'telegram')
       and o.status in ('pending', 'sending', 'sent')
     order by b.created_at, b.id
  loop
    v_body := v_row.body || jsonb_build_object('text', new.content, 'embed', new.embed_data);
    update public.hub_outbox o
       set body = v_body,
           updated_at = now(),
           expires_at = greatest(o.expires_at, now() + hub_internal.setting('outbox_ttl'))
     where o.server_id = v_row.server_id
       and o.provider = v_row.provider
       and o.target = v_row.target
       and o.mirror = v_row.mirror
       and o.status = 'pending'
       and not o.overtaken
       and o.attempt = 0
       and o.bridge_id = v_row.bridge_id
       and o.message_id = new.id;
    continue when found;
    insert into public.hub_outbox
      (server_id, bridge_id, provider, target, secret_name, kind, body, idempotency_key, expires_at,
       message_id, task_id, mirror)
    values
      (v_row.server_id, v_row.bridge_id, v_row.provider, v_row.target, v_row.secret_name, 'edit', v_body,
       v_row.idempotency_key || ':' || gen_random_uuid(), now() + hub_internal.setting('outbox_ttl'),
       new.id, new.task_id, v_row.mirror);
  end loop;
  return null;
end;
$$;
create trigger hub_channel_messages_mirror_edit
  after update of content on public.hub_channel_messages
  for each row when (new.content <> old.content)
  execute function hub_internal.mirror_edit();

-- The end of a task that came of a comment goes back to where it was asked: once for each ending that its
-- conversation was told, in the task's own words.
create function hub_internal.answer_on_github(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_asked   hub_internal.webhook_tasks;
  v_bridge  public.hub_bridges;
  v_secret  text;
  v_message uuid;
  v_rest    text;
begin
  select w.* into v_asked from hub_internal.webhook_tasks w where w.task_id = p_task.id and w.answer;
  if not found then
    return;
  end if;
  select b.* into v_bridge
    from public.hub_bridges b
   where b.channel_id = p_task.channel_id
     and b.provider = 'github'
     and hub_internal.glob_matches(substr(b.target, 9), v_asked.repository, true)
   order by position('*' in b.target) > 0, b.created_at
   limit 1;
  -- Switched off means no answer, not one with everybody's token.
  if found and not v_bridge.enabled then
    return;
  end if;
  v_secret := coalesce(v_bridge.secret_name, hub_internal.default_secret('github'));
  if not hub_internal.may_reach(p_task.server_id, 'github', v_asked.repository, v_secret) then
    return;
  end if;
  select m.id into v_message
    from public.hub_channel_messages m
   where m.task_id = p_task.id
     and m.event = p_task.status
   order by m.created_at desc
   limit 1;
  -- Out there nobody needs to know which machine it was: what the hub itself says of a lost lease names it.
  v_rest := nullif(case
                     when p_task.status = 'complete'
                       then hub_internal.with_receipt(
                              p_task.result, p_task,
                              (select a.receipt
                                 from public.hub_task_attempts a
                                where a.task_id = p_task.id and a.attempt = p_task.attempt), 58000)
                     when p_task.status = 'cancelled' then hub_internal.task_reason(p_task)
                     when exists (select from public.hub_task_attempts a
                                   where a.task_id = p_task.id
                                     and a.attempt = p_task.attempt
                                     and a.outcome = 'lost')
                       then 'lease lost: the machine that ran it was not heard of again'
                     else p_task.error end, '');
  insert into public.hub_outbox
    (server_id, bridge_id, provider, target, secret_name, kind, body, idempotency_key, expires_at, message_id,
     task_id)
  values
    (p_task.server_id, v_bridge.id, v_asked.provider,
     format('channel:%s#%s', v_asked.repository, v_asked.number), v_secret, 'github_comment',
     jsonb_build_object(
       'repository', v_asked.repository,
       'number', v_asked.number,
       'task', p_task.id,
       'mentions', coalesce((select r.mentions from public.hub_webhook_rules r where r.id = v_asked.rule_id),
                            false),
       'text', format(E'%s Task %s %s%s\n\n<!-- aura-hub:%s -->',
                      hub_internal.ending_mark(p_task.status), hub_internal.task_short(p_task.id),
                      p_task.status,
                      coalesce(
                        E'\n\n' || hub_internal.shorten(
                          v_rest, case p_task.status when 'complete' then 59000 else 1000 end),
                        ''),
                      p_task.id)),
     'answer:' || v_message, now() + hub_internal.setting('outbox_webhook_ttl'), v_message, p_task.id);
end;
$$;
