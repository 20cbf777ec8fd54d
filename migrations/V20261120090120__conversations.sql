-- Why: what people see. A conversation is a channel's flat one or a thread; its messages are numbered 1, 2, 3
-- without gaps, in the order of commit, because the number is taken from the conversation's row under that
-- row's lock (…messages).
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
  edit_count       bigint not null default 0,
  last_activity_at timestamptz not null default now(),
  archived_at      timestamptz,
  metadata         jsonb,
  created_at       timestamptz not null default now(),
  state_entered_at timestamptz not null default now(),
  decay_at         timestamptz
) with (fillfactor = 70);
comment on table public.hub_task_threads is
  'The conversation of one task and its follow-ups, in a channel of a threaded server.';
comment on column public.hub_task_threads.state_entered_at is
  'Since when it has its status: an idle thread decays an hour after it became idle.';
comment on column public.hub_task_threads.decay_at is
  'No step of its decay is due before this. A message leaves it as it is, so that it changes no index; the '
  'decay cycle moves it on.';
create index hub_task_threads_channel_idx on public.hub_task_threads (channel_id, created_at desc);
create index hub_task_threads_decay_idx   on public.hub_task_threads (decay_at) where decay_at is not null;
create index hub_task_threads_status_idx  on public.hub_task_threads (channel_id, status);
create unique index hub_task_threads_task_idx on public.hub_task_threads (task_id) where task_id is not null;

alter table public.hub_task_threads enable row level security;
revoke all on public.hub_task_threads from public, anon, authenticated, service_role;
grant select on public.hub_task_threads to authenticated;
grant select, insert, update, delete on public.hub_task_threads to service_role;
create policy hub_task_threads_select_readers on public.hub_task_threads for select to authenticated
  using (channel_id in (select hub_internal.my_channel_ids()));

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
  idempotency_key text,
  event           text,
  edit_seq        bigint
);
-- What is allowed in a thread is said by check_thread (…threads), and in a message by check_message
-- (…messages), not by CHECK constraints: see check_task (…task_rules).
comment on table public.hub_channel_messages is
  'The messages of every conversation. What a task has to say is put here by triggers on mac_tasks.';
comment on column public.hub_channel_messages.seq is
  'Its number in its conversation: 1, 2, 3, without gaps, in the order of commit.';
comment on column public.hub_channel_messages.edit_seq is
  'The number of its last edit among those of its conversation: 1, 2, 3, in the order of commit. Null: never '
  'edited.';
comment on column public.hub_channel_messages.task_id is
  'The task that said it. No foreign key: what was said stays when retention takes the task.';
comment on column public.hub_channel_messages.event is
  'What happened, of a message of the hub''s own: a row of hub_message_events. Null for all others. Written '
  'by hub_internal.post alone.';
comment on column public.hub_channel_messages.idempotency_key is
  'Chosen by the sender, unique for the sender: sending again is not posting again.';

-- Both pages of a conversation and "what came after 41" read one of these.
create unique index hub_channel_messages_flat_idx on public.hub_channel_messages (channel_id, seq)
  where task_thread_id is null;
create unique index hub_channel_messages_thread_idx on public.hub_channel_messages (task_thread_id, seq)
  where task_thread_id is not null;

-- What was edited since.
create index hub_channel_messages_flat_edits_idx on public.hub_channel_messages (channel_id, edit_seq)
  where edit_seq is not null and task_thread_id is null;
create index hub_channel_messages_thread_edits_idx on public.hub_channel_messages (task_thread_id, edit_seq)
  where edit_seq is not null and task_thread_id is not null;

create index hub_channel_messages_channel_idx on public.hub_channel_messages (channel_id, created_at desc);
create unique index hub_channel_messages_idempotency_idx
  on public.hub_channel_messages (sender_id, idempotency_key) nulls not distinct
  where idempotency_key is not null;
create index hub_channel_messages_task_idx on public.hub_channel_messages (task_id)
  where task_id is not null;

alter table public.hub_channel_messages enable row level security;
revoke all on public.hub_channel_messages from public, anon, authenticated, service_role;
grant select on public.hub_channel_messages to authenticated;
-- Its event is the hub's own to say (hub_internal.post), so no API role may write it: this is what keeps the
-- set closed. A foreign key would look up, and lock, the event's row for every message once more.
grant select, delete on public.hub_channel_messages to service_role;
grant update (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type,
              embed_data, reply_to, is_progress, metadata, created_at, seq, task_id, idempotency_key)
  on public.hub_channel_messages to service_role;
grant insert (id, channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type,
              embed_data, reply_to, is_progress, metadata, created_at, seq, task_id, idempotency_key)
  on public.hub_channel_messages to authenticated, service_role;
create policy hub_channel_messages_select_readers on public.hub_channel_messages for select to authenticated
  using (channel_id in (select hub_internal.my_channel_ids()));
create policy hub_channel_messages_insert_oneself on public.hub_channel_messages for insert to authenticated
  with check (sender_type = 'human'
              and sender_id = (select hub_internal.person())::text
              and channel_id in (select hub_internal.my_channel_ids()));
