-- Why: a person says something to an agent while it works, and is told what became of it.
--
--     hub_steer_task, or a reply where the channel's thread_replies is steer
--                                   -> a row of steers, the words in the conversation, the device is woken
--     a heartbeat of its device     -> given, and again with each, until
--     hub_report_steer              -> taken, or next_turn: the device has it, its agent gets it after this
--                                      turn, and the device says taken then
--     the attempt ends before that  -> complete: follow_up, a task of the same line of work with those words
--                                      pending, waiting: next_attempt, which begins with them
--                                      (untaken_steers)
--                                      failed, cancelled: not_taken
--
-- Whoever writes to hub_internal.steers holds the task's row, so each is reported once.

-- Whether a person may still give work to a server; nobody (a trusted caller's own) always may.
create function hub_internal.may_still_send(p_person uuid, p_server_id uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return p_person is null
      or exists (select from public.hub_members m
                  where m.user_id = p_person
                    and m.server_id = p_server_id
                    and m.role in ('operator', 'owner'));
end;
$$;

create function hub_internal.tell_steered(p_task public.mac_tasks, p_note text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_task.channel_id is not null then
    perform hub_internal.tell('steered', p_task, p_task.thread_id, p_note);
  end if;
end;
$$;

-- Saying it -------------------------------------------------------------------------------------------------

create function hub_internal.require_steerable(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_task.status <> 'running' then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', p_task.id, p_task.status),
      'Only a task that runs can be told something. Send it as a message in its thread, or as a reply to one '
      'of its messages: that is a follow-up.');
  elsif p_task.lease_expires_at is null then
    perform hub_internal.refuse('UH003', 'conflict',
      format('task %s is run by an executor of the older kind, which can not be told', p_task.id),
      'Reply to it: that is a follow-up; or cancel it with hub_cancel_task.');
  elsif p_task.cancel_requested_at is not null then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is being cancelled', p_task.id),
      'Reply to it: that is a follow-up.');
  end if;
end;
$$;

-- Keeps the words, shows them as what the sender said, and wakes the device. The caller holds the task's row
-- and has looked at it (require_steerable). p_text is what the agent gets, p_said what people read; a task
-- without a channel has no conversation, and then no message.
create function hub_internal.steer(
  p_task public.mac_tasks, p_text text, p_said text, p_sender_type text, p_sender text, p_label text,
  p_person uuid, p_idempotency_key text default null, p_reply_to uuid default null)
  returns public.hub_channel_messages
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_message public.hub_channel_messages;
begin
  perform hub_internal.require_room('open_steers',
    (select count(*)
       from hub_internal.steers s
      where s.task_id = p_task.id and s.attempt = p_task.attempt and s.outcome is null),
    'Wait until its agent has taken some of them.');
  if p_task.channel_id is not null then
    insert into public.hub_channel_messages
      (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type,
       idempotency_key, reply_to, task_id)
    values
      (null, p_task.channel_id, p_task.thread_id, p_sender_type, p_sender, p_label, p_said, 'text',
       p_idempotency_key, p_reply_to, p_task.id)
    returning * into v_message;
  end if;
  insert into hub_internal.steers (task_id, attempt, text, by, person, message_id)
  values (p_task.id, p_task.attempt, p_text, coalesce(p_label, p_sender), p_person, v_message.id);
  perform hub_internal.broadcast_steer(p_task, p_text);
  perform pg_notify('hub_device', p_task.claimed_by);
  return v_message;
end;
$$;

create function hub_internal.steer_task(p_task_id uuid, p_text text)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  -- Looked at, not locked: buckets come before tasks.
  v_task   public.mac_tasks :=
    hub_internal.operated_task(p_task_id, 'steering a task', array[]::text[]);
  v_person uuid := hub_internal.person();
  v_sender text := coalesce(v_person::text, hub_internal.caller_role());
begin
  perform hub_internal.require_text(p_text, 'p_text');
  perform hub_internal.require_steerable(v_task);
  if v_person is not null and v_task.channel_id is not null then
    perform hub_internal.spend_message(v_task.channel_id, char_length(p_text));
  elsif v_person is not null then
    perform hub_internal.spend('person_messages', v_person::text, 1, 'transaction_messages');
    perform hub_internal.spend('person_characters', v_person::text, char_length(p_text));
  end if;
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id for no key update;
  perform hub_internal.require_steerable(v_task);
  perform hub_internal.steer(
    v_task, p_text, p_text, 'human', v_sender,
    case when v_person is null then v_sender else hub_internal.person_label() end, v_person);
  return v_task;
end;
$$;

-- The task that a reply steers, locked before any conversation is (…sending): the one that runs in the line
-- of work of what it answers, else in its thread, where a subtask is another's. Null: none does, or it ended
-- meanwhile; then the reply is a follow-up.
create function hub_internal.steerable_task(p_thread_id uuid, p_answered public.mac_tasks)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_id   uuid;
  v_task public.mac_tasks;
begin
  if p_answered.id is not null then
    select t.id
      into v_id
      from public.mac_tasks t
     where t.id in (select l.id from hub_internal.line_tasks(coalesce(p_answered.root_id, p_answered.id)) l)
       and t.status = 'running'
     limit 1;
  else
    select t.id
      into v_id
      from public.mac_tasks t
     where t.thread_id = p_thread_id
       and t.status = 'running'
       and not exists (select from hub_internal.subtasks s where s.task_id = t.id)
     order by t.claimed_at desc
     limit 1;
  end if;
  if v_id is null then
    return null;
  end if;
  select t.* into v_task from public.mac_tasks t where t.id = v_id for no key update;
  return case when v_task.status = 'running'
                   and v_task.lease_expires_at is not null
                   and v_task.cancel_requested_at is null
              then v_task end;
end;
$$;

create function hub_internal.set_thread_replies(p_channel_id uuid, p_replies text)
  returns public.hub_channels
  language plpgsql
  volatile
  security definer                                -- owners hold no write grant on channels
  set search_path = ''
as $$
declare
  v_channel public.hub_channels := hub_internal.owned_channel(p_channel_id);
begin
  if (p_replies in ('queue', 'steer')) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_replies', 'queue or steer.');
  end if;
  update public.hub_channels c
     set thread_replies = p_replies
   where c.id = p_channel_id
  returning c.* into v_channel;
  return v_channel;
end;
$$;

-- What became of it -----------------------------------------------------------------------------------------

create function hub_internal.report_steer(p_task_id uuid, p_attempt int, p_ids bigint[], p_outcome text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task  public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_known boolean;
begin
  if (p_outcome in ('taken', 'next_turn')) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_outcome', 'taken or next_turn.');
  elsif (cardinality(p_ids) between 1 and 1000) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_ids', 'The ids of 1 to 1000 steers.');
  end if;
  v_known := exists (select from hub_internal.steers s
                      where s.task_id = p_task_id
                        and s.attempt = p_attempt
                        and s.id = any (p_ids)
                        and s.outcome is null);
  update hub_internal.steers s
     set outcome = p_outcome
   where s.task_id = p_task_id
     and s.attempt = p_attempt
     and s.id = any (p_ids)
     and (s.outcome is null or s.outcome = 'next_turn' and p_outcome = 'taken');
  -- That what waited for its turn has had it is what was said already.
  if v_known then
    perform hub_internal.tell_steered(v_task,
      case p_outcome when 'taken' then 'was told' else 'is told in its next turn' end);
  end if;
end;
$$;

-- For hub_begin_attempt, which holds the task's row: what was said to earlier attempts and they did not take,
-- as the prompt says it; null for nothing. The same attempt is given the same again. p_afresh: all that was
-- ever said to it, for an agent that does not have the session of those attempts.
create function hub_internal.untaken_steers(p_task_id uuid, p_afresh boolean default false)
  returns text
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task public.mac_tasks;
begin
  if not exists (select from hub_internal.steers s where s.task_id = p_task_id) then
    return null;
  end if;
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  update hub_internal.steers s
     set outcome = 'next_attempt',
         went_with = v_task.attempt
   where s.task_id = p_task_id
     and s.attempt < v_task.attempt
     and (s.outcome is null or s.outcome = 'next_turn');
  if found then
    perform hub_internal.tell_steered(v_task, 'was told');
  end if;
  return (
    select string_agg(format('Meanwhile %s added: %s', s.by, s.text), E'\n\n' order by s.id)
      from hub_internal.steers s
     where s.task_id = p_task_id
       and s.attempt < v_task.attempt
       and (s.went_with = v_task.attempt or p_afresh and s.outcome in ('taken', 'next_attempt')));
end;
$$;
comment on function hub_internal.untaken_steers(uuid, boolean) is
  'What an attempt begins with because an earlier one was told it and did not take it. Called by '
  'hub_begin_attempt.';

-- A task is complete and was not told all: a follow-up of each who said something, one after the other. What
-- can not be one (its maker may not send any more, its project is no longer the server's) is told: the end of
-- the task itself is not to fail for it.
create function hub_internal.follow_steers(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_said record;
  v_last public.mac_tasks := p_task;
  v_note text;
begin
  for v_said in
    select s.person,
           array_agg(s.id) as ids,
           hub_internal.shorten(string_agg(s.text, E'\n\n' order by s.id), 100000) as text,
           (array_agg(s.message_id order by s.id))[1] as message_id
      from hub_internal.steers s
     where s.task_id = p_task.id and (s.outcome is null or s.outcome = 'next_turn')
     group by s.person
     order by min(s.id)
  loop
    v_note := 'was not told before its end';
    if hub_internal.may_still_send(v_said.person, p_task.server_id) then
      begin
        v_last := hub_internal.follow_up(
          v_last, gen_random_uuid(), v_said.text, p_task.channel_id, p_task.thread_id, v_said.message_id,
          v_said.person);
        v_note := format('ended before it was told; %s goes on with it',
                         hub_internal.task_short(v_last.id));
      exception
        when sqlstate 'UH001' or sqlstate 'UH003' or sqlstate 'UH004' or sqlstate 'UH006'
             or insufficient_privilege or check_violation then
          v_note := v_note || format(': %s', sqlerrm);
      end;
    end if;
    update hub_internal.steers s
       set outcome = case when v_note like 'ended%' then 'follow_up' else 'not_taken' end
     where s.id = any (v_said.ids);
    perform hub_internal.tell_steered(p_task, v_note);
  end loop;
end;
$$;

-- A task has ended: what was said to it and not taken.
create function hub_internal.settle_steers(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_task.status = 'complete' then
    perform hub_internal.follow_steers(p_task);
  else
    update hub_internal.steers s
       set outcome = 'not_taken'
     where s.task_id = p_task.id and (s.outcome is null or s.outcome = 'next_turn');
    perform hub_internal.tell_steered(p_task, 'was not told before its end');
  end if;
end;
$$;
