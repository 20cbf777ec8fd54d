-- Why: what people see. A conversation is a channel's flat one or a thread; its messages are numbered 1, 2, 3 without gaps,
-- in the order of commit, because the number is taken from the conversation's row under that row's lock.
--
-- Order of locks, everywhere: task, then channel, then thread, then messages.

create table public.hub_task_threads (
  id               uuid primary key default gen_random_uuid(),
  channel_id       uuid not null references public.hub_channels (id) on delete cascade,
  task_id          uuid,
  team_id          uuid,
  name             text not null,
  status           text not null default 'active',
  message_count    integer not null default 0,
  last_activity_at timestamptz not null default now(),
  archived_at      timestamptz,
  metadata         jsonb,
  created_at       timestamptz not null default now(),
  state_entered_at timestamptz not null default now(),
  decay_at         timestamptz,
  -- Deferred: hub_send makes the thread before the task that names it, in one transaction.
  constraint hub_task_threads_task_fkey foreign key (task_id) references public.mac_tasks (id)
    on delete set null deferrable initially deferred
) with (fillfactor = 70);
comment on table public.hub_task_threads is 'The conversation of one task and its follow-ups, in a channel of a threaded server.';
comment on column public.hub_task_threads.state_entered_at is 'Since when it has its status: an idle thread decays an hour after it became idle.';
comment on column public.hub_task_threads.decay_at is
  'No step of its decay is due before this. A message leaves it as it is, so that it changes no index; the decay cycle moves it on.';
create index hub_task_threads_channel_idx on public.hub_task_threads (channel_id, created_at desc);
create index hub_task_threads_decay_idx   on public.hub_task_threads (decay_at) where decay_at is not null;
create index hub_task_threads_status_idx  on public.hub_task_threads (channel_id, status);
create unique index hub_task_threads_task_idx on public.hub_task_threads (task_id) where task_id is not null;

alter table public.mac_tasks
  add constraint mac_tasks_thread_fkey foreign key (thread_id) references public.hub_task_threads (id) on delete set null;

create table public.hub_channel_messages (
  id              uuid primary key default gen_random_uuid(),
  channel_id      uuid not null references public.hub_channels (id) on delete cascade,
  task_thread_id  uuid references public.hub_task_threads (id) on delete cascade,
  sender_type     text not null,
  sender_id       text,
  sender_label    text,
  content         text not null,
  content_type    text not null default 'text',
  embed_data      jsonb,
  reply_to        uuid,
  is_progress     boolean not null default false,
  metadata        jsonb,
  created_at      timestamptz not null default now(),
  seq             bigint not null,
  task_id         uuid,
  idempotency_key text
);
-- What is allowed in either is said by check_thread and check_message below, not by CHECK constraints: see check_task.
comment on table public.hub_channel_messages is 'The messages of every conversation. What a task has to say is put here by triggers on mac_tasks.';
comment on column public.hub_channel_messages.seq is 'Its number in its conversation: 1, 2, 3, without gaps, in the order of commit.';
comment on column public.hub_channel_messages.task_id is 'The task that said it. No foreign key: what was said stays when retention takes the task.';
comment on column public.hub_channel_messages.idempotency_key is 'Chosen by the sender, unique for the sender: sending again is not posting again.';

-- Both pages of a conversation and "what came after 41" read one of these.
create unique index hub_channel_messages_flat_idx   on public.hub_channel_messages (channel_id, seq) where task_thread_id is null;
create unique index hub_channel_messages_thread_idx on public.hub_channel_messages (task_thread_id, seq) where task_thread_id is not null;
create index hub_channel_messages_channel_idx       on public.hub_channel_messages (channel_id, created_at desc);
create unique index hub_channel_messages_idempotency_idx on public.hub_channel_messages (sender_id, idempotency_key) nulls not distinct
  where idempotency_key is not null;
create index hub_channel_messages_task_idx on public.hub_channel_messages (task_id) where task_id is not null;

alter table public.mac_tasks
  add constraint mac_tasks_message_fkey foreign key (message_id) references public.hub_channel_messages (id) on delete set null;

-- Times of a thread ---------------------------------------------------------------------------------------------------

create function hub_internal.decay_time(p_status text, p_last_activity_at timestamptz, p_state_entered_at timestamptz, p_channel_id uuid)
  returns timestamptz
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return case p_status
    when 'active'   then p_last_activity_at
                       + coalesce((select c.thread_idle_after from public.hub_channels c where c.id = p_channel_id),
                                  hub_internal.setting('thread_idle_after'))
    when 'idle'     then p_state_entered_at
                       + coalesce((select c.thread_decay_after from public.hub_channels c where c.id = p_channel_id),
                                  hub_internal.setting('thread_decay_after'))
    -- "The next cycle": half a cycle is enough to tell it from the one that made it decaying.
    when 'decaying' then p_state_entered_at + interval '30 seconds'
  end;
end;
$$;
comment on function hub_internal.decay_time(text, timestamptz, timestamptz, uuid) is 'When the next step of a thread''s decay is due. Null: never (archived).';

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
    new.archived_at := case when new.status = 'archived' then coalesce(new.archived_at, new.state_entered_at) end;
  end if;
  new.decay_at := hub_internal.decay_time(new.status, new.last_activity_at, new.state_entered_at, new.channel_id);
  return new;
end;
$$;
create trigger hub_task_threads_states_insert
  before insert on public.hub_task_threads
  for each row execute function hub_internal.thread_states();
-- Not for a message in an active thread, which only moves last_activity_at on: decay_at is a time before which nothing is due.
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
    perform hub_internal.refuse('23514', 'bad input', format('status %L', new.status), 'active, idle, decaying or archived.');
  elsif char_length(new.name) not between 1 and 100 then
    perform hub_internal.refuse('23514', 'bad input', 'name', 'A thread''s name has 1 to 100 characters.');
  elsif not hub_internal.is_flat_map(new.metadata) then
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
     where t.status <> 'archived' and t.channel_id = new.id;
  end if;
  return null;
end;
$$;
create trigger settings_retime
  after update of value on hub_internal.settings
  for each statement execute function hub_internal.retime_threads();
create trigger hub_channels_retime
  after update of thread_idle_after, thread_decay_after on public.hub_channels
  for each row when ((new.thread_idle_after, new.thread_decay_after) is distinct from (old.thread_idle_after, old.thread_decay_after))
  execute function hub_internal.retime_threads();

-- What a person writes is counted before anything is locked or numbered: for themselves, and for all who are no members together.
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

-- Posting as oneself: only for a person's own plain INSERT (then current_user is still the API's role; inside our definer
-- bodies it is the owner). A client may send its whole struct: what it may not choose is set here, what would be a lie is refused.
create function hub_internal.post_as_oneself()
  returns trigger
  language plpgsql
  set search_path = ''                            -- security invoker: it runs as the one who posts
as $$
declare
  v_me uuid := hub_internal.person();
  v_read_only boolean;
begin
  if v_me is null then
    perform hub_internal.refuse('42501', 'permission denied', 'posting a message', 'Only a signed-in person posts messages.');
  end if;
  -- Under row level security: a channel that may not be seen is one that is not there.
  select c.is_read_only into v_read_only from public.hub_channels c where c.id = new.channel_id;
  if not found then
    perform hub_internal.refuse('UH004', 'not found', format('channel %s', new.channel_id), 'Check channel_id, and that you may read its server.');
  end if;
  if v_read_only then
    perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only', 'It is a feed; post in another channel.');
  end if;
  if coalesce(new.sender_type, 'human') <> 'human' then
    perform hub_internal.refuse('42501', 'permission denied', format('sender_type %L', new.sender_type), 'Leave it out, or say human.');
  end if;
  if coalesce(new.sender_id, v_me::text) <> v_me::text then
    perform hub_internal.refuse('42501', 'permission denied', 'sender_id is somebody else', 'Leave it out: it is taken from your token.');
  end if;
  if jsonb_typeof(new.embed_data) <> 'null' then
    perform hub_internal.refuse('42501', 'permission denied', 'embed_data', 'Embeds come from the hub alone: leave it out.');
  end if;
  if new.is_progress or coalesce(new.content_type, 'text') not in ('text', 'command') then
    perform hub_internal.refuse('42501', 'permission denied',
      case when new.is_progress then 'is_progress' else format('content_type %L', new.content_type) end,
      'What a task has to say comes from the hub alone: a person posts text or command.');
  end if;
  perform hub_internal.spend_message(new.channel_id, coalesce(char_length(new.content), 0));
  new.sender_type  := 'human';
  new.sender_id    := v_me::text;
  -- Theirs to choose, but for the hub's own name.
  new.sender_label := nullif(hub_internal.head(btrim(new.sender_label), 80), '');
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
  for each row when (current_user = 'authenticated')
  execute function hub_internal.post_as_oneself();

create trigger hub_channel_messages_as_oneself_fresh_id
  before insert on public.hub_channel_messages
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();

create function hub_internal.check_message()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
begin
  if new.content is null or new.content = '' or char_length(new.content) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'content', 'A message has 1 to 100,000 characters.');
  elsif new.sender_type not in ('human', 'agent', 'system', 'device') then
    perform hub_internal.refuse('23514', 'bad input', format('sender_type %L', new.sender_type), 'human, agent, system or device.');
  elsif new.content_type not in ('text', 'command', 'task', 'progress', 'result', 'error', 'notice', 'warning', 'summary') then
    perform hub_internal.refuse('23514', 'bad input', format('content_type %L', new.content_type),
      'text, command, task, progress, result, error, notice, warning or summary.');
  elsif jsonb_typeof(new.embed_data) <> 'object' then
    perform hub_internal.refuse('23514', 'bad input', 'embed_data', 'An object, or nothing.');
  elsif char_length(new.idempotency_key) not between 1 and 200 then
    perform hub_internal.refuse('23514', 'bad input', 'idempotency_key', 'A key has 1 to 200 characters.');
  elsif not hub_internal.is_flat_map(new.metadata) then
    perform hub_internal.refuse('23514', 'bad input', 'metadata', 'A flat object of strings, or nothing.');
  end if;
  return new;
end;
$$;
create trigger hub_channel_messages_check
  before insert or update on public.hub_channel_messages
  for each row execute function hub_internal.check_message();

-- The number. The conversation's row is locked from here to commit: whoever is second waits, then reads a later number.
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

  -- What ON CONFLICT skips, or a key refuses, must take no number: looked for under the lock and before counting. The hub's own inserts leave
  -- the id null, and only what has an id already (chosen, or the column's default) can be there already.
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
     where m.sender_id is not distinct from new.sender_id and m.idempotency_key = new.idempotency_key;
    if found then
      if (v_same.channel_id, v_same.task_thread_id, v_same.content) is distinct from (new.channel_id, new.task_thread_id, new.content) then
        perform hub_internal.refuse('UH003', 'conflict', 'idempotency_key was used for another message', 'Use a new key for a new message.');
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
       set message_count = c.message_count + 1, last_message_at = clock_timestamp()
     where c.id = new.channel_id
    returning c.message_count, c.last_message_at into new.seq, new.created_at;
  elsif new.content_type in ('warning', 'summary') then
    -- Telling that nobody was active is no activity.
    update public.hub_task_threads t set message_count = t.message_count + 1
     where t.id = new.task_thread_id
    returning t.message_count, clock_timestamp(), t.channel_id into new.seq, new.created_at, v_channel_id;
  else
    -- An active thread's status is not named: naming it calls the triggers of a state. By id alone, so that no plan takes
    -- another index than the key's.
    update public.hub_task_threads t
       set message_count = t.message_count + 1, last_activity_at = clock_timestamp()
     where t.id = new.task_thread_id and t.status = 'active'
    returning t.message_count, t.last_activity_at, t.channel_id into new.seq, new.created_at, v_channel_id;
    if not found then
      update public.hub_task_threads t
         set message_count = t.message_count + 1, last_activity_at = clock_timestamp(), status = 'active', state_entered_at = clock_timestamp()
       where t.id = new.task_thread_id
      returning t.message_count, t.last_activity_at, t.channel_id into new.seq, new.created_at, v_channel_id;
    end if;
  end if;
  if new.seq is null or v_channel_id <> new.channel_id then
    perform hub_internal.refuse('UH004', 'not found',
      case when new.task_thread_id is null then format('channel %s', new.channel_id)
           else format('thread %s in channel %s', new.task_thread_id, new.channel_id) end, 'Check the ids.');
  end if;
  return new;
end;
$$;
create trigger hub_channel_messages_number
  before insert on public.hub_channel_messages
  for each row execute function hub_internal.number_message();

-- Reading what came later ------------------------------------------------------------------------------------------------

create function public.hub_messages_since(p_channel_id uuid, p_after bigint default 0, p_thread_id uuid default null, p_limit int default 200)
  returns setof public.hub_channel_messages
  language plpgsql
  stable                                          -- security invoker: row level security decides what is seen
  set search_path = ''
as $$
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input', format('p_limit %s', coalesce(p_limit::text, 'is null')), 'Ask for 1 to 1000 messages.');
  end if;
  if p_after is null or p_after < 0 then
    perform hub_internal.refuse('UH001', 'bad input', format('p_after %s', coalesce(p_after::text, 'is null')), 'Give the seq of the last message you have, or 0.');
  end if;
  if not exists (select from public.hub_channels c where c.id = p_channel_id)
     or (p_thread_id is not null and not exists (select from public.hub_task_threads t where t.id = p_thread_id and t.channel_id = p_channel_id)) then
    perform hub_internal.refuse('UH004', 'not found', 'channel or thread', 'Check the ids, and that you may read the server.');
  end if;
  if p_thread_id is null then
    return query select m.* from public.hub_channel_messages m
                  where m.channel_id = p_channel_id and m.task_thread_id is null and m.seq > p_after
                  order by m.seq limit p_limit;
  else
    return query select m.* from public.hub_channel_messages m
                  where m.task_thread_id = p_thread_id and m.channel_id = p_channel_id and m.seq > p_after
                  order by m.seq limit p_limit;
  end if;
end;
$$;
comment on function public.hub_messages_since(uuid, bigint, uuid, int) is
  'Messages of one conversation (the channel''s flat one, or a thread) with seq > p_after, in order, at most p_limit (1 to 1000). Errors: UH001, UH004.';

-- Row level security, grants, policies --------------------------------------------------------------------------------------

alter table public.hub_task_threads     enable row level security;
alter table public.hub_channel_messages enable row level security;
alter table public.mac_tasks            enable row level security;
alter table public.hub_task_attempts    enable row level security;
alter table public.mesh_devices         enable row level security;
alter table public.mesh_device_servers  enable row level security;
alter table hub_internal.settings       enable row level security;
alter table hub_internal.lanes          enable row level security;

-- An adopted mac_tasks may carry policies that let every signed-in user write to the queue, which is running code on
-- somebody's machine. They go; the ones below take their place.
do $$
declare
  v_policy text;
begin
  for v_policy in select polname from pg_policy where polrelid = 'public.mac_tasks'::regclass loop
    execute format('drop policy %I on public.mac_tasks', v_policy);
    raise notice 'dropped the policy % of the adopted table mac_tasks', v_policy;
  end loop;
end;
$$;

revoke all on public.hub_task_threads, public.hub_channel_messages, public.mac_tasks, public.hub_task_attempts,
  public.mesh_devices, public.mesh_device_servers from public, anon, authenticated, service_role;
grant select on public.hub_task_threads, public.hub_channel_messages, public.mac_tasks, public.hub_task_attempts,
  public.mesh_devices, public.mesh_device_servers to authenticated;
grant select, insert, update, delete on public.hub_task_threads, public.hub_channel_messages, public.mac_tasks,
  public.hub_task_attempts, public.mesh_devices, public.mesh_device_servers to service_role;
grant insert (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, embed_data, reply_to,
              is_progress, metadata, created_at, seq, task_id, idempotency_key)
  on public.hub_channel_messages to authenticated;

create policy hub_task_threads_select_readers on public.hub_task_threads for select to authenticated
  using (channel_id in (select hub_internal.my_channel_ids()));

create policy hub_channel_messages_select_readers on public.hub_channel_messages for select to authenticated
  using (channel_id in (select hub_internal.my_channel_ids()));
create policy hub_channel_messages_insert_oneself on public.hub_channel_messages for insert to authenticated
  with check (sender_type = 'human' and sender_id = (select hub_internal.person())::text
              and channel_id in (select hub_internal.my_channel_ids()));

-- One policy for three chairs (several permissive ones would each be evaluated): readers of its server, the maker of a
-- task without a channel, the device that holds it.
create policy mac_tasks_select_readers on public.mac_tasks for select to authenticated
  using (channel_id in (select hub_internal.my_channel_ids())
         or (channel_id is null and created_by = (select hub_internal.person()))
         or (status = 'running' and claimed_by = (select hub_internal.live_device())));

-- An attempt is seen by whoever sees its task (the subquery stands under the policies of mac_tasks).
create policy hub_task_attempts_select_readers on public.hub_task_attempts for select to authenticated
  using (exists (select from public.mac_tasks t where t.id = task_id));

create policy mesh_devices_select_readers on public.mesh_devices for select to authenticated
  using (name in (select hub_internal.my_device_names()) or name = (select hub_internal.live_device()));
create policy mesh_device_servers_select_readers on public.mesh_device_servers for select to authenticated
  using (server_id in (select hub_internal.my_server_ids()) or device = (select hub_internal.live_device()));

revoke all on function hub_internal.spend_message(uuid, bigint), hub_internal.decay_time(text, timestamptz, timestamptz, uuid), hub_internal.thread_states(), hub_internal.retime_threads(),
  hub_internal.post_as_oneself(), hub_internal.check_thread(), hub_internal.check_message(), hub_internal.number_message(), public.hub_messages_since(uuid, bigint, uuid, int)
  from public, anon, authenticated, service_role;
grant execute on function hub_internal.spend_message(uuid, bigint) to authenticated;
grant execute on function public.hub_messages_since(uuid, bigint, uuid, int) to authenticated, service_role;
