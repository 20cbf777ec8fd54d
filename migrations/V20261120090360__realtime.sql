-- Why: what happens is seen as it happens. Two ways out, for every official Supabase client: the publication
-- (Postgres Changes, decided by the tables' own policies) and private broadcasts through realtime.send,
-- decided by policies on realtime.messages (…listening).
--
-- Topic            Who may join             Event     Payload: always an object with id and seq
-- channel:<uuid>   readers of the channel   message   a row of its flat conversation; the same again, with
--                                                     its seq, when it was edited: edit_seq counts that
--                                           thread    the row of a thread of it that is new or changed, or
--                                                     has grown: once a transaction, as it is at the end,
--                                                     its count included
-- thread:<uuid>    readers of its channel   message   a row of its conversation
--                                           thread    its own row, when its status, name, task or metadata
--                                                     changed: once a transaction, too
-- task:<uuid>      who may read it          task      its row, when status, partial_output, result, error or
--                                                     thread_id changed, or somebody asked to cancel it
-- device:<name>    the device itself        wake      {seq}: something is claimable; with ask: true it is,
--                                                     once the device has beaten and said whether it has the
--                                                     project; seq is a time in milliseconds
--                                           cancel    {id, seq, attempt}: stop that task
--                                           steer     {id, seq, attempt, text}
--                                           answer    {id, seq, attempt, ask}: its next heartbeat has it
--
-- A row above 8 kB goes as a reference: {id, seq, …, truncated: true}. After fifty events of one kind for one
-- channel or thread in one transaction comes one that says {id, seq, refetch: true, from_seq}, and no more:
-- who hears it asks hub_messages_since from the last seq it has, as after a lost connection. seq: of a
-- message, its number; of a thread, its message_count; of a task, its changes.
--
-- A message is sent by a trigger of the row it tells of, while that row is locked: for one conversation, one
-- thread, one task the order of sending is the order of commit. The trigger of a thread's row is deferred:
-- it fires at the end of the transaction, which still holds the lock, and so behind the transaction's
-- messages. realtime.send turns its own errors into warnings; what comes before it can not fail.

do $$
begin
  if to_regprocedure('realtime.send(jsonb,text,text,boolean)') is null
     or to_regclass('realtime.messages') is null then
    raise exception using
      errcode = 'UH003',
      message = 'this database has no Supabase Realtime',
      detail  = 'The function realtime.send or the table realtime.messages is missing.',
      hint    = 'On a bare Postgres run `hub migrate --platform` first. '
                'On Supabase, switch Realtime on or upgrade it.';
  end if;
end;
$$;

-- The publication -------------------------------------------------------------------------------------------

-- Replica identity stays the primary key. Clients filter INSERT and UPDATE on the new row, which is in the
-- log whole; only a DELETE is filtered on the old one, rows are deleted by retention alone, and with row
-- level security a DELETE shows no more than its primary key anyway. A full identity would write the old row
-- once more for every note and heartbeat of a task, its prompt included. What it costs us: an UPDATE does not
-- repeat a column that is stored apart (a long prompt, a long result).
do $$
declare
  v_table text;
  v_index text;
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  -- An adopted mac_tasks may have no primary key, and a published table without an identity refuses every
  -- UPDATE.
  if not exists (select from pg_index i where i.indrelid = 'public.mac_tasks'::regclass and i.indisprimary)
     and (select c.relreplident from pg_class c where c.oid = 'public.mac_tasks'::regclass) = 'd' then
    select x.relname
      into v_index
      from pg_index i
      join pg_class x on x.oid = i.indexrelid
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
     where i.indrelid = 'public.mac_tasks'::regclass
       and i.indisunique
       and i.indimmediate
       and i.indpred is null
       and i.indnkeyatts = 1
       and a.attname = 'id'
       and a.attnotnull
     limit 1;
    if v_index is null then
      alter table public.mac_tasks replica identity full;
    else
      execute format('alter table public.mac_tasks replica identity using index %I', v_index);
    end if;
  end if;
  if (select p.puballtables from pg_publication p where p.pubname = 'supabase_realtime') then
    return;
  end if;
  foreach v_table in array array['hub_servers', 'hub_channels', 'hub_channel_messages', 'hub_task_threads',
                                 'mac_tasks']
  loop
    if not exists (select from pg_publication_tables p
                    where p.pubname = 'supabase_realtime'
                      and p.schemaname = 'public'
                      and p.tablename = v_table) then
      execute format('alter publication supabase_realtime add table public.%I', v_table);
    end if;
  end loop;
end;
$$;

-- Messages and threads --------------------------------------------------------------------------------------

-- What a transaction has sent is kept in settings, which end with it and go back with a rollback: where a
-- conversation's burst began (' channel:<uuid>=41 '; seq says how far it is); how often a channel was told
-- of its threads (' channel:<uuid>..', a dot each), and which version of each thread was told, with which
-- count (' <uuid>=7@(0,5)'; a ! behind it: to the readers of the thread, too). The last is the first.
-- Twenty topics or so are remembered: a burst over more is a burst for no reader.
--
-- A task's life sends nineteen times. The expressions are few, because each is prepared anew in each
-- transaction; and what PERFORM calls takes variables, because its expressions are prepared at each call.
create function hub_internal.broadcast_message()
  returns trigger
  language plpgsql
  security definer                                -- realtime.send inserts as whoever calls it
  set search_path = ''
as $$
declare
  v_topic   text := case when new.task_thread_id is null then 'channel:' || new.channel_id
                         else 'thread:' || new.task_thread_id end;
  v_said    text := coalesce(current_setting('hub.burst_messages', true), '');
  v_first   text := split_part(split_part(v_said, v_topic || '=', 2), ' ', 1);
  v_since   bigint;
  v_payload jsonb;
begin
  if v_first = '' then
    v_said := set_config('hub.burst_messages', right(v_said, 1200) || v_topic || '=' || new.seq || ' ', true);
  else
    v_since := new.seq - v_first::bigint;
    if v_since = 50 then
      perform realtime.send(
        jsonb_build_object('id', coalesce(new.task_thread_id, new.channel_id), 'seq', new.seq,
                           'channel_id', new.channel_id, 'task_thread_id', new.task_thread_id,
                           'refetch', true, 'from_seq', new.seq),
        'message', v_topic, true);
    end if;
    if v_since >= 50 then
      return null;
    end if;
  end if;
  v_payload := case when octet_length(new.content) + coalesce(octet_length(new.embed_data::text), 0)
                         + coalesce(octet_length(new.metadata::text), 0) <= 7500
                    then to_jsonb(new)
                    else jsonb_build_object('id', new.id, 'seq', new.seq, 'channel_id', new.channel_id,
                                            'task_thread_id', new.task_thread_id, 'truncated', true) end;
  perform realtime.send(v_payload, 'message', v_topic, true);
  return null;
end;
$$;
create trigger hub_channel_messages_broadcast
  after insert on public.hub_channel_messages
  for each row execute function hub_internal.broadcast_message();

-- A message that was edited comes again, with the id and seq it has, and the edit_seq of the edit. By the hub
-- itself: of an ask, once it is closed, and of a team, as its parts go on.
create function hub_internal.broadcast_edit()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  perform realtime.send(
    case when octet_length(new.content) + coalesce(octet_length(new.embed_data::text), 0)
                + coalesce(octet_length(new.metadata::text), 0) <= 7500
         then to_jsonb(new)
         else jsonb_build_object('id', new.id, 'seq', new.seq, 'edit_seq', new.edit_seq,
                                 'channel_id', new.channel_id, 'task_thread_id', new.task_thread_id,
                                 'truncated', true) end,
    'message',
    case when new.task_thread_id is null then 'channel:' || new.channel_id
         else 'thread:' || new.task_thread_id end,
    true);
  return null;
end;
$$;
create trigger hub_channel_messages_broadcast_edit
  after update of content, embed_data, event on public.hub_channel_messages
  for each row when (new.edit_seq is distinct from old.edit_seq)
  execute function hub_internal.broadcast_edit();

-- At the end of the transaction the row is read once more and told as it is then: once, however many changes
-- led to it. What only counts messages that the last telling counted, too, is not told again. (Where somebody
-- has made constraints immediate, each change is told at its time.)
create function hub_internal.broadcast_thread()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_topic   text := 'channel:' || new.channel_id;
  v_topics  text := coalesce(current_setting('hub.burst_threads', true), '');
  v_said    text := coalesce(current_setting('hub.told_threads', true), '');
  v_times   integer := octet_length(split_part(split_part(v_topics, v_topic, 2), ' ', 1));
  v_told    text := split_part(split_part(v_said, new.id || '=', 2), ' ', 1);
  v_changed boolean := false;
  v_version text;
  v_count   integer;
  v_payload jsonb;
begin
  if tg_op = 'UPDATE' then
    v_changed := new.status <> old.status or new.name <> old.name or new.task_id is distinct from old.task_id
                 or new.team_id is distinct from old.team_id or new.metadata is distinct from old.metadata;
    if not v_changed
       and (v_times > 50
            or new.message_count > old.message_count
               and new.message_count <= nullif(split_part(v_told, '@', 1), '')::integer) then
      return null;
    end if;
  end if;

  select t.message_count,
         t.message_count || '@' || t.ctid,
         case when coalesce(octet_length(t.metadata::text), 0) <= 7500
              then to_jsonb(t) || jsonb_build_object('seq', t.message_count)
              else jsonb_build_object('id', t.id, 'seq', t.message_count, 'channel_id', t.channel_id,
                                      'status', t.status, 'truncated', true) end
    into v_count, v_version, v_payload
    from public.hub_task_threads t
   where t.id = new.id;
  if not found or v_told in (v_version || '!', case when not v_changed then v_version end) then
    return null;
  end if;

  -- Two settings: the many threads of one channel must not crowd out how often it was told.
  v_said := set_config('hub.told_threads',
                       left(' ' || new.id || '=' || v_version || case when v_changed then '!' else '' end
                            || v_said, 4000), true);
  if v_times <= 50 and v_told <> v_version then
    v_topics := set_config('hub.burst_threads',
                           case when v_times > 0 then replace(v_topics, v_topic, v_topic || '.')
                                else right(v_topics, 1500) || ' ' || v_topic || '.' end, true);
    if v_times < 50 then
      perform realtime.send(v_payload, 'thread', v_topic, true);
    else
      perform realtime.send(jsonb_build_object('id', new.channel_id, 'seq', v_count,
                                               'channel_id', new.channel_id, 'refetch', true),
                            'thread', v_topic, true);
    end if;
  end if;
  -- Who reads the thread itself sees its count by its messages.
  if v_changed then
    perform realtime.send(v_payload, 'thread', 'thread:' || new.id, true);
  end if;
  return null;
end;
$$;
-- Not for decay_at alone, which is bookkeeping.
create constraint trigger hub_task_threads_broadcast
  after insert or update of status, name, task_id, team_id, metadata, message_count, last_activity_at
  on public.hub_task_threads
  deferrable initially deferred
  for each row execute function hub_internal.broadcast_thread();

-- Tasks -----------------------------------------------------------------------------------------------------

-- Called BEFORE the update, because seq is part of the row that is written anyway, and as the last of its
-- kind, so that it sees the row as it will be. Heartbeats do not call it: the trigger (…task_triggers) does
-- not name their columns.
create function hub_internal.broadcast_task()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_payload jsonb;
begin
  if (new.status, new.partial_output, new.result, new.error, new.thread_id, new.cancel_requested_at)
     is not distinct from
     (old.status, old.partial_output, old.result, old.error, old.thread_id, old.cancel_requested_at) then
    return new;
  end if;
  new.seq := old.seq + 1;
  -- What is stored apart or compressed is not fetched to find that it is too long: octet_length of a text
  -- looks at its header alone.
  v_payload := case when octet_length(new.content) + coalesce(octet_length(new.partial_output), 0)
                         + coalesce(octet_length(new.result), 0) + coalesce(octet_length(new.error), 0)
                         + coalesce(octet_length(new.metadata::text), 0) <= 7000
                    then to_jsonb(new)
                    else jsonb_build_object('id', new.id, 'seq', new.seq, 'status', new.status,
                                            'attempt', new.attempt, 'channel_id', new.channel_id,
                                            'thread_id', new.thread_id, 'truncated', true) end;
  perform realtime.send(v_payload, 'task', 'task:' || new.id, true);

  if new.status = 'pending'
     and old.status <> 'pending'
     and (new.run_after is null or new.run_after <= now()) then
    perform hub_internal.wake_devices(new.lane);
  elsif old.status = 'running'
        and old.claimed_by is not null
        and old.cancel_requested_at is null
        and (new.status = 'cancelled'
             or (new.status = 'running' and new.cancel_requested_at is not null)) then
    perform realtime.send(jsonb_build_object('id', new.id, 'seq', new.seq, 'attempt', old.attempt),
                          'cancel', 'device:' || old.claimed_by, true);
  end if;
  return new;
end;
$$;

-- For what steers a running task. The text is a person's, as long as they like; the device asks for a long
-- one with its heartbeat.
create function hub_internal.broadcast_steer(p_task public.mac_tasks, p_text text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
begin
  if p_task.claimed_by is not null then
    perform realtime.send(jsonb_build_object('id', p_task.id, 'seq', p_task.seq, 'attempt', p_task.attempt)
                          || case when octet_length(p_text) <= 8192 then jsonb_build_object('text', p_text)
                                  else '{"truncated": true}'::jsonb end,
                          'steer', 'device:' || p_task.claimed_by, true);
  end if;
end;
$$;

-- Partitions ------------------------------------------------------------------------------------------------

-- On Supabase the Realtime server makes the days' partitions of realtime.messages; sql/platform brings a
-- function instead, and the keeper calls it: a day without a partition would lose every broadcast. By the
-- clock alone: send writes by it, whatever time a caller plays.
create function hub_internal.keep_broadcasts(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  -- Without the right: an older sql/platform, of which `hub dev` does it alone.
  if has_function_privilege(to_regprocedure('realtime.hub_keep_partitions(timestamptz)'), 'execute') then
    execute 'select realtime.hub_keep_partitions()';
  end if;
  return 0;
end;
$$;
insert into public.hub_errands (name, about, function, position, counts) values
  ('broadcasts', 'the days'' partitions of realtime.messages are made ahead, and dropped',
   'hub_internal.keep_broadcasts', 820, false);
