-- Why: what a message must be before it is one: who may post it, what it may say of itself, and its number.

-- Posting ---------------------------------------------------------------------------------------------------

-- What a person writes is counted before anything is locked or numbered: for themselves, and for all who are
-- no members together.
create function hub_internal.spend_message(p_channel_id uuid, p_characters bigint)
  returns void
  language plpgsql
  volatile
  security definer                                -- buckets are nobody's to write
  set search_path = ''
as $$
declare
  v_person uuid := hub_internal.person();
  v_server uuid := (select c.server_id from public.hub_channels c where c.id = p_channel_id);
begin
  -- Called as the one who posts, who could call it with other values as well.
  if (p_characters between 0 and 10000000) is not true or not hub_internal.may_read(v_server) then
    perform hub_internal.refuse('UH004', 'not found', format('channel %s', p_channel_id),
      'Check channel_id, and that you may read its server.');
  end if;
  if exists (select from public.hub_members m where m.user_id = v_person and m.server_id = v_server) then
    perform hub_internal.spend('person_messages', v_person::text, 1, 'transaction_messages');
    perform hub_internal.spend('person_characters', v_person::text, p_characters);
  else
    perform hub_internal.spend('stranger_messages', v_person::text, 1, 'transaction_stranger_messages');
    perform hub_internal.spend('stranger_characters', v_person::text, p_characters);
    perform hub_internal.spend('server_stranger_messages', v_server::text, 1);
    perform hub_internal.spend('server_stranger_characters', v_server::text, p_characters);
  end if;
end;
$$;
grant execute on function hub_internal.spend_message to authenticated;

-- Posting as oneself: only for a person's own plain INSERT (then current_user is still the API's role; inside
-- our definer bodies it is the owner; not as WHEN of the trigger, for the reason given at check_task). A client
-- may send its whole struct: what it may not choose is set here, what would be a lie is refused.
create function hub_internal.post_as_oneself()
  returns trigger
  language plpgsql
  set search_path = ''                            -- security invoker: it runs as the one who posts
as $$
declare
  v_me        uuid;
  v_read_only boolean;
begin
  if current_user <> 'authenticated' then
    return new;
  end if;
  v_me := hub_internal.person();
  if v_me is null then
    perform hub_internal.refuse('42501', 'permission denied', 'posting a message',
      'Only a signed-in person posts messages.');
  end if;
  -- Under row level security: a channel that may not be seen is one that is not there.
  select c.is_read_only into v_read_only from public.hub_channels c where c.id = new.channel_id;
  if not found then
    perform hub_internal.refuse('UH004', 'not found', format('channel %s', new.channel_id),
      'Check channel_id, and that you may read its server.');
  end if;
  if v_read_only then
    perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only',
      'It is a feed; post in another channel.');
  end if;
  if coalesce(new.sender_type, 'human') <> 'human' then
    perform hub_internal.refuse('42501', 'permission denied', format('sender_type %L', new.sender_type),
      'Leave it out, or say human.');
  end if;
  if coalesce(new.sender_id, v_me::text) <> v_me::text then
    perform hub_internal.refuse('42501', 'permission denied', 'sender_id is somebody else',
      'Leave it out: it is taken from your token.');
  end if;
  if jsonb_typeof(new.embed_data) <> 'null' then
    perform hub_internal.refuse('42501', 'permission denied', 'embed_data',
      'Embeds come from the hub alone: leave it out.');
  end if;
  if new.is_progress or coalesce(new.content_type, 'text') not in ('text', 'command') then
    perform hub_internal.refuse('42501', 'permission denied',
      case when new.is_progress then 'is_progress' else format('content_type %L', new.content_type) end,
      'What a task has to say comes from the hub alone: a person posts text or command.');
  end if;
  -- Of its own conversation; in a thread also of the channel's flat one, where the thread began.
  if new.reply_to is not null
     and not exists (select from public.hub_channel_messages m
                      where m.id = new.reply_to
                        and m.channel_id = new.channel_id
                        and (m.task_thread_id is null or m.task_thread_id = new.task_thread_id)) then
    perform hub_internal.refuse('UH004', 'not found', format('reply_to %s', new.reply_to),
      'Name a message of the same conversation, or leave it out.');
  end if;
  perform hub_internal.spend_message(new.channel_id,
    coalesce(char_length(new.content), 0) + coalesce(char_length(new.metadata::text), 0));
  new.sender_type  := 'human';
  new.sender_id    := v_me::text;
  -- Theirs to choose, but for the hub's own name.
  new.sender_label := hub_internal.shown_name(new.sender_label);
  if new.sender_label is null or hub_internal.poses_as_hub(new.sender_label) then
    new.sender_label := hub_internal.person_label();
  end if;
  new.content_type := coalesce(new.content_type, 'text');
  new.is_progress  := false;
  new.embed_data   := null;
  new.task_id      := null;
  if jsonb_typeof(new.metadata) = 'null' then
    new.metadata := null;
  end if;
  return new;
end;
$$;
create trigger hub_channel_messages_as_oneself
  before insert on public.hub_channel_messages
  for each row execute function hub_internal.post_as_oneself();
create trigger hub_channel_messages_as_oneself_fresh_id
  before insert on public.hub_channel_messages
  for each row execute function hub_internal.fresh_id();

create function hub_internal.check_message()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
begin
  if new.content is null or new.content = '' or char_length(new.content) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'content', 'A message has 1 to 100,000 characters.');
  elsif new.sender_type not in ('human', 'agent', 'system', 'device') then
    perform hub_internal.refuse('23514', 'bad input', format('sender_type %L', new.sender_type),
      'human, agent, system or device.');
  elsif new.content_type not in ('text', 'command', 'task', 'progress', 'result', 'error', 'notice',
                                 'warning', 'summary') then
    perform hub_internal.refuse('23514', 'bad input', format('content_type %L', new.content_type),
      'text, command, task, progress, result, error, notice, warning or summary.');
  elsif jsonb_typeof(new.embed_data) <> 'object' then
    perform hub_internal.refuse('23514', 'bad input', 'embed_data', 'An object, or nothing.');
  elsif char_length(new.idempotency_key) not between 1 and 200 then
    perform hub_internal.refuse('23514', 'bad input', 'idempotency_key', 'A key has 1 to 200 characters.');
  elsif new.metadata is not null
        and (not hub_internal.is_flat_map(new.metadata) or char_length(new.metadata::text) > 8000) then
    perform hub_internal.refuse('23514', 'bad input', 'metadata',
      'A flat object of strings of at most 8,000 characters in all, or nothing.');
  end if;
  return new;
end;
$$;
create trigger hub_channel_messages_check
  before insert or update on public.hub_channel_messages
  for each row execute function hub_internal.check_message();

-- The number. The conversation's row is locked from here to commit: whoever is second waits, then reads a
-- later number.
create function hub_internal.number_message()
  returns trigger
  language plpgsql
  security definer                                -- counts are nobody's to write
  set search_path = ''
as $$
declare
  v_same       public.hub_channel_messages;
  v_chosen     boolean;
  v_channel_id uuid;
begin
  new.content_type := coalesce(new.content_type, 'text');
  new.is_progress := coalesce(new.is_progress, false);

  -- What ON CONFLICT skips, or a key refuses, must take no number: looked for under the lock and before
  -- counting. Nearly all of the hub's own inserts leave the id null, and only what has an id (chosen, or the
  -- column's default) can be there already.
  v_chosen := new.id is not null;
  new.id := coalesce(new.id, gen_random_uuid());
  if v_chosen or new.idempotency_key is not null then
    if new.task_thread_id is null then
      perform from public.hub_channels c where c.id = new.channel_id for no key update;
    else
      perform from public.hub_task_threads t where t.id = new.task_thread_id for no key update;
    end if;
  end if;
  if v_chosen then
    select m.* into v_same from public.hub_channel_messages m where m.id = new.id;
    if found then
      new.seq := v_same.seq;                      -- the primary key decides the rest
      new.created_at := v_same.created_at;
      return new;
    end if;
  end if;
  if new.idempotency_key is not null then
    select m.* into v_same from public.hub_channel_messages m
     where m.sender_id is not distinct from new.sender_id
       and m.idempotency_key = new.idempotency_key;
    if found then
      if (v_same.channel_id, v_same.task_thread_id, v_same.content)
         is distinct from (new.channel_id, new.task_thread_id, new.content) then
        perform hub_internal.refuse('UH003', 'conflict', 'idempotency_key was used for another message',
          'Use a new key for a new message.');
      end if;
      -- The unique index decides the rest: ON CONFLICT skips it, a bare INSERT gets 23505.
      new.seq := v_same.seq;
      new.created_at := v_same.created_at;
      return new;
    end if;
  end if;

  -- clock_timestamp() is taken again when the row had to be waited for, so created_at never runs against seq.
  if new.task_thread_id is null then
    update public.hub_channels c
       set message_count = c.message_count + 1,
           last_message_at = clock_timestamp()
     where c.id = new.channel_id
    returning c.message_count, c.last_message_at into new.seq, new.created_at;
  elsif new.content_type in ('warning', 'summary') then
    -- Telling that nobody was active is no activity.
    update public.hub_task_threads t
       set message_count = t.message_count + 1
     where t.id = new.task_thread_id
    returning t.message_count, clock_timestamp(), t.channel_id into new.seq, new.created_at, v_channel_id;
  else
    -- An active thread's status is not named: naming it calls the triggers of a state. By id alone, so that
    -- no plan takes another index than the key's.
    update public.hub_task_threads t
       set message_count = t.message_count + 1,
           last_activity_at = clock_timestamp()
     where t.id = new.task_thread_id and t.status = 'active'
    returning t.message_count, t.last_activity_at, t.channel_id into new.seq, new.created_at, v_channel_id;
    if not found then
      update public.hub_task_threads t
         set message_count = t.message_count + 1,
             last_activity_at = clock_timestamp(),
             status = 'active',
             state_entered_at = clock_timestamp()
       where t.id = new.task_thread_id
      returning t.message_count, t.last_activity_at, t.channel_id into new.seq, new.created_at, v_channel_id;
    end if;
  end if;
  if new.seq is null or v_channel_id <> new.channel_id then
    perform hub_internal.refuse('UH004', 'not found',
      case when new.task_thread_id is null then format('channel %s', new.channel_id)
           else format('thread %s in channel %s', new.task_thread_id, new.channel_id) end,
      'Check the ids.');
  end if;
  return new;
end;
$$;
create trigger hub_channel_messages_number
  before insert on public.hub_channel_messages
  for each row execute function hub_internal.number_message();

-- An edit has a number, too, under the same lock: who has read up to one knows what it missed. No seq
-- changes.
create function hub_internal.number_edit()
  returns trigger
  language plpgsql
  security definer                                -- counts are nobody's to write
  set search_path = ''
as $$
begin
  if new.task_thread_id is null then
    update public.hub_channels c
       set edit_count = c.edit_count + 1
     where c.id = new.channel_id
    returning c.edit_count into new.edit_seq;
  else
    update public.hub_task_threads t
       set edit_count = t.edit_count + 1
     where t.id = new.task_thread_id
    returning t.edit_count into new.edit_seq;
  end if;
  return new;
end;
$$;
create trigger hub_channel_messages_number_edit
  before update of content, embed_data, event on public.hub_channel_messages
  for each row when ((new.content, new.embed_data, new.event)
                     is distinct from (old.content, old.embed_data, old.event))
  execute function hub_internal.number_edit();

-- Reading what came later -----------------------------------------------------------------------------------

-- Where p_edits_after is given also what the caller has and was edited since, at most as many again: it is
-- before the rest, since its seq is.
create function hub_internal.messages_since(
  p_channel_id uuid, p_after bigint, p_thread_id uuid, p_limit int, p_edits_after bigint)
  returns setof public.hub_channel_messages
  language plpgsql
  stable                                          -- security invoker: row level security decides what is seen
  set search_path = ''
as $$
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_limit %s', coalesce(p_limit::text, 'is null')), 'Ask for 1 to 1000 messages.');
  end if;
  if p_after is null or p_after < 0 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_after %s', coalesce(p_after::text, 'is null')),
      'Give the seq of the last message you have, or 0.');
  end if;
  if not exists (select from public.hub_channels c where c.id = p_channel_id)
     or (p_thread_id is not null
         and not exists (select from public.hub_task_threads t
                          where t.id = p_thread_id
                            and t.channel_id = p_channel_id)) then
    perform hub_internal.refuse('UH004', 'not found', 'channel or thread',
      'Check the ids, and that you may read the server.');
  end if;
  if p_edits_after < 0 then
    perform hub_internal.refuse('UH001', 'bad input', format('p_edits_after %s', p_edits_after),
      'Give the edit_seq of the last edit you have, or 0.');
  end if;
  if p_thread_id is null then
    return query
      select e.*
        from (select m.*
                from public.hub_channel_messages m
               where m.channel_id = p_channel_id
                 and m.task_thread_id is null
                 and m.edit_seq > p_edits_after
                 and m.seq <= p_after
               order by m.edit_seq
               limit p_limit) e
       order by e.seq;
    return query
      select m.*
        from public.hub_channel_messages m
       where m.channel_id = p_channel_id
         and m.task_thread_id is null
         and m.seq > p_after
       order by m.seq
       limit p_limit;
  else
    return query
      select e.*
        from (select m.*
                from public.hub_channel_messages m
               where m.task_thread_id = p_thread_id
                 and m.channel_id = p_channel_id
                 and m.edit_seq > p_edits_after
                 and m.seq <= p_after
               order by m.edit_seq
               limit p_limit) e
       order by e.seq;
    return query
      select m.*
        from public.hub_channel_messages m
       where m.task_thread_id = p_thread_id
         and m.channel_id = p_channel_id
         and m.seq > p_after
       order by m.seq
       limit p_limit;
  end if;
end;
$$;
