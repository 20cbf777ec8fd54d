-- Why: the queue. A task is one row that moves through states; who may take it is decided by its lane; how each attempt
-- went is kept beside it. An existing mac_tasks is adopted: V20261120090000 has looked whether it can be.
--
--     pending -> running                      claimed: attempt + 1, a lease
--     running -> complete | failed | cancelled
--     running -> pending                      lease expired, or a retryable failure with attempts left
--     running -> waiting -> pending           a question, answered
--     blocked -> pending                      what it waited for has ended
--     pending, blocked, waiting -> cancelled
--     failed, cancelled -> pending            only by hub_retry_task
--     complete is final

-- Machines ----------------------------------------------------------------------------------------------------------

create table public.mesh_devices (
  name              text primary key,
  platform          text,
  labels            text[] not null default '{}',
  capacity          integer not null default 1,
  agents            jsonb not null default '[]',
  user_id           uuid,
  serves_all        boolean not null default false,
  last_heartbeat_at timestamptz,
  drained_at        timestamptz,
  revoked_at        timestamptz,
  created_at        timestamptz not null default now(),
  updated_at        timestamptz not null default now(),
  constraint mesh_devices_name_check check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  constraint mesh_devices_platform_check check (platform in ('macos', 'linux', 'windows')),
  constraint mesh_devices_capacity_check check (capacity between 0 and 1000),
  constraint mesh_devices_agents_check check (jsonb_typeof(agents) = 'array')
);
comment on table public.mesh_devices is 'A machine of the mesh: what it can run, how much at once, when it was last heard of.';
comment on column public.mesh_devices.platform is 'Null until it has registered.';
comment on column public.mesh_devices.agents is 'What it offers: [{"agent": "claude", "models": ["claude"]}]. The model "any" stands for all.';
comment on column public.mesh_devices.serves_all is 'Serves every server, those made later too. Enrolled by service_role or postgres.';
comment on column public.mesh_devices.drained_at is 'Since then it gets nothing new.';
comment on column public.mesh_devices.revoked_at is 'Since then its token is good for nothing here.';

create table public.mesh_device_servers (
  device     text not null references public.mesh_devices (name) on delete cascade on update cascade,
  server_id  uuid not null references public.hub_servers (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (device, server_id)
);
comment on table public.mesh_device_servers is 'Which servers a device serves. Changed by hub_enroll_device.';
create index mesh_device_servers_server_idx on public.mesh_device_servers (server_id);

create trigger mesh_devices_touch before update on public.mesh_devices
  for each row execute function hub_internal.touch();

-- The device that calls, if it is enrolled and not revoked: asked by every function a device may call.
create function hub_internal.live_device()
  returns text
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return (select d.name from public.mesh_devices d where d.name = hub_internal.token_device() and d.revoked_at is null);
end;
$$;

-- People see the machines that serve what they may read.
create function hub_internal.my_device_names()
  returns setof text
  language sql
  stable
  security definer
  set search_path = ''
as $$
  select d.name from public.mesh_devices d
   where exists (select from hub_internal.my_server_ids() s (id)
                  where d.serves_all
                     or exists (select from public.mesh_device_servers e where e.device = d.name and e.server_id = s.id))
$$;

-- A lane is everything that decides who may take a task, as one number: the claim looks at the head of each lane its
-- device serves, and never reads past tasks that are for others. One that has nothing pending any more is reaped (reap_lanes), so that a claim
-- pays for what waits and not for what was ever asked for.
create table hub_internal.lanes (
  id         integer primary key generated always as identity,
  server_id  uuid references public.hub_servers (id) on delete cascade,
  project    text,
  model      text not null,
  agent      text,
  platform   text not null,
  device     text references public.mesh_devices (name) on delete cascade on update cascade,   -- pinned: the session is there
  constraint lanes_key unique nulls not distinct (server_id, project, model, agent, platform, device)
);
comment on table hub_internal.lanes is 'Distinct combinations of what decides eligibility, one row a combination that is asked for.';
comment on column hub_internal.lanes.server_id is 'Null for rows of mac_tasks that were here before the hub, or that a trusted caller bound to none: machines that serve all take them.';

-- The tasks -----------------------------------------------------------------------------------------------------------

create table if not exists public.mac_tasks (
  id      uuid primary key,
  content text not null,
  status  text not null
) with (fillfactor = 60);                         -- a running task is rewritten on its page: heartbeats and notes change no index

alter table public.mac_tasks
  add column if not exists project             text,
  add column if not exists model_preference    text,
  add column if not exists model               text,
  add column if not exists agent               text,
  add column if not exists task_type           text,
  add column if not exists platform            text,
  add column if not exists priority            integer,
  add column if not exists claimed_by          text,
  add column if not exists attempt             integer,
  add column if not exists max_attempts        integer,
  add column if not exists lease_expires_at    timestamptz,
  add column if not exists run_after           timestamptz,
  add column if not exists partial_output      text,
  add column if not exists result              text,
  add column if not exists error               text,
  add column if not exists channel_id          uuid,
  add column if not exists thread_id           uuid,
  add column if not exists message_id          uuid,
  add column if not exists parent_id           uuid,
  add column if not exists team_id             uuid,
  add column if not exists session_id          text,
  add column if not exists session_device      text,
  add column if not exists idempotency_key     text,
  add column if not exists cancel_requested_at timestamptz,
  add column if not exists metadata            jsonb,
  add column if not exists created_by          uuid,
  add column if not exists server_id           uuid,
  add column if not exists created_at          timestamptz,
  add column if not exists updated_at          timestamptz,
  add column if not exists claimed_at          timestamptz,
  add column if not exists finished_at         timestamptz,
  add column if not exists requested_agent     text,
  add column if not exists progress_count      integer not null default 0,
  add column if not exists told                text,
  add column if not exists lane                integer,
  add column if not exists queue_key           timestamptz;

-- Rows that were here before get what a new row would have got.
update public.mac_tasks
   set model_preference = coalesce(model_preference, 'any'),
       task_type        = coalesce(task_type, 'other'),
       platform         = coalesce(platform, 'any'),
       priority         = coalesce(priority, 5),
       attempt          = coalesce(attempt, case when status in ('pending', 'blocked') then 0 else 1 end),
       max_attempts     = coalesce(max_attempts, 3),
       created_at       = coalesce(created_at, now()),
       updated_at       = coalesce(updated_at, created_at, now());

alter table public.mac_tasks
  alter column id set default gen_random_uuid(),
  alter column content set not null,
  alter column status set default 'pending',            alter column status set not null,
  alter column model_preference set default 'any',      alter column model_preference set not null,
  alter column task_type set default 'other',           alter column task_type set not null,
  alter column platform set default 'any',              alter column platform set not null,
  alter column priority set default 5,                  alter column priority set not null,
  alter column attempt set default 0,                   alter column attempt set not null,
  alter column max_attempts set default 3,              alter column max_attempts set not null,
  alter column created_at set default now(),            alter column created_at set not null,
  alter column updated_at set default now(),            alter column updated_at set not null;

alter table public.mac_tasks
  drop constraint if exists mac_tasks_status_check,
  drop constraint if exists mac_tasks_model_preference_check,
  drop constraint if exists mac_tasks_priority_check;
alter table public.mac_tasks
  add constraint mac_tasks_channel_fkey foreign key (channel_id) references public.hub_channels (id) on delete set null,
  add constraint mac_tasks_parent_fkey  foreign key (parent_id)  references public.mac_tasks (id) on delete set null;

comment on table public.mac_tasks is 'The queue: one row a task, for the hub''s own functions and for executors that only update rows.';
comment on column public.mac_tasks.attempt is 'The fence: a write that names any but the live attempt changes nothing.';
comment on column public.mac_tasks.priority is '0 to 9; 9 is most urgent. Each step is worth ten minutes of waiting, so nothing starves.';
comment on column public.mac_tasks.agent is 'Who runs it: what was asked for, else chosen when it is claimed.';
comment on column public.mac_tasks.requested_agent is 'The agent that was asked for; null leaves the choice to the claim.';
comment on column public.mac_tasks.model is 'The model it is meant for; at the end, the one the executor says it used.';
comment on column public.mac_tasks.project is 'Where it runs, below the root that each machine has for projects.';
comment on column public.mac_tasks.server_id is
  'The server it belongs to: its channel''s, or for one without a channel the server it was bound to when it was made. No foreign key: a look and a lock for each task, for what a server does once (hub_servers_end_tasks).';
comment on column public.mac_tasks.told is 'Status and attempt of the ending that its conversation was told; written with the message or not at all.';
comment on column public.mac_tasks.lane is 'Who may take it (hub_internal.lanes).';
comment on column public.mac_tasks.queue_key is 'Its place in its lane: when it was made, moved by its priority.';
comment on column public.mac_tasks.progress_count is 'Notes told in this attempt; after 15 only partial_output changes.';
comment on column public.mac_tasks.lease_expires_at is 'Null while running: an executor of the older kind has it, and it is never taken away.';

-- The claim reads exactly these two; finished rows are in neither.
create index mac_tasks_claim_idx     on public.mac_tasks (lane, queue_key) where status = 'pending' and run_after is null;
create index mac_tasks_backoff_idx   on public.mac_tasks (lane, run_after) where status = 'pending' and run_after is not null;
create index mac_tasks_lease_idx     on public.mac_tasks (lease_expires_at) where status = 'running';
create index mac_tasks_device_idx    on public.mac_tasks (claimed_by) where status = 'running';
create index mac_tasks_laneless_idx  on public.mac_tasks (id) where status = 'pending' and lane is null;
create index mac_tasks_dependents_idx on public.mac_tasks (parent_id) where status = 'blocked';
create index mac_tasks_parent_idx    on public.mac_tasks (parent_id) where parent_id is not null;
create index mac_tasks_thread_idx    on public.mac_tasks (thread_id, created_at) where thread_id is not null;
create index mac_tasks_open_thread_idx on public.mac_tasks (thread_id)
  where thread_id is not null and status in ('pending', 'running', 'waiting', 'blocked');
create index mac_tasks_channel_idx   on public.mac_tasks (channel_id, created_at desc) where channel_id is not null;
create index mac_tasks_message_idx   on public.mac_tasks (message_id) where message_id is not null;
create index mac_tasks_creator_idx   on public.mac_tasks (created_by) where channel_id is null;
create index mac_tasks_waiting_idx   on public.mac_tasks (channel_id) where status in ('blocked', 'waiting') and channel_id is not null;
create index mac_tasks_finished_idx  on public.mac_tasks (finished_at) where finished_at is not null and channel_id is not null;
create index mac_tasks_untold_idx    on public.mac_tasks (channel_id)
  where channel_id is not null and status in ('complete', 'failed', 'cancelled')
    and told is distinct from status || ':' || attempt::text;
create unique index mac_tasks_idempotency_idx on public.mac_tasks (created_by, idempotency_key) nulls not distinct
  where idempotency_key is not null;

-- How each attempt went. No foreign key to the device: executors of the older kind are not enrolled.
create table public.hub_task_attempts (
  task_id     uuid not null references public.mac_tasks (id) on delete cascade,
  attempt     integer not null,
  device      text,
  agent       text,
  model       text,
  started_at  timestamptz not null default now(),
  finished_at timestamptz,
  outcome     text,
  error       text,
  exit_code   integer,
  cost_usd    numeric,
  tokens_in   bigint,
  tokens_out  bigint,
  session_id  text,
  receipt     jsonb,
  primary key (task_id, attempt),
  constraint hub_task_attempts_outcome_check check (outcome in ('complete', 'failed', 'cancelled', 'lost'))
) with (fillfactor = 80);
comment on table public.hub_task_attempts is 'The run record of each attempt: where, by whom, from when to when, how it ended, what it cost.';
comment on column public.hub_task_attempts.outcome is 'Null while it runs.';

-- Eligibility ----------------------------------------------------------------------------------------------------------

-- What puts a task into a lane holds this, shared, until it commits; what takes a lane away holds it alone: it sees the task, or it waits.
create function hub_internal.lane_lock(p_server_id uuid, p_project text, p_model text, p_agent text, p_platform text, p_device text)
  returns bigint
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hashtextextended(concat_ws('/', 'hub_lane', p_server_id, p_project, p_model, p_agent, p_platform, p_device), 0);
end;
$$;

-- p_bounded: refuse a lane too many (UH006). A claim looks into each lane of its device: who makes many makes everybody's claims slow.
create function hub_internal.lane_of(p_task public.mac_tasks, p_bounded boolean default false)
  returns integer
  language plpgsql
  volatile
  security definer                                -- lanes are bookkeeping: nobody holds a grant on them
  set search_path = ''
as $$
declare
  v_device text;
  v_lane   integer;
begin
  -- Only a machine that is still enrolled can have the session; else the follow-up starts afresh anywhere.
  if p_task.session_id is not null and p_task.session_device is not null then
    select d.name into v_device from public.mesh_devices d where d.name = p_task.session_device and d.revoked_at is null;
  end if;
  perform pg_advisory_xact_lock_shared(hub_internal.lane_lock(p_task.server_id, p_task.project, p_task.model_preference, p_task.requested_agent,
                                                             p_task.platform, v_device));
  select l.id into v_lane
    from hub_internal.lanes l
   where l.server_id is not distinct from p_task.server_id and l.project is not distinct from p_task.project
     and l.model = p_task.model_preference and l.agent is not distinct from p_task.requested_agent
     and l.platform = p_task.platform and l.device is not distinct from v_device;
  if not found then
    if p_bounded then
      perform hub_internal.require_room('server_lanes', (select count(*) from hub_internal.lanes l where l.server_id = p_task.server_id));
    end if;
    insert into hub_internal.lanes (server_id, project, model, agent, platform, device)
    values (p_task.server_id, p_task.project, p_task.model_preference, p_task.requested_agent, p_task.platform, v_device)
    on conflict on constraint lanes_key do update set platform = excluded.platform   -- returns the row a neighbour just made
    returning id into v_lane;
  end if;
  return v_lane;
end;
$$;

-- Lanes with nothing pending go; a task that wants one makes it anew. One that somebody puts a task into just now stays.
create function hub_internal.reap_lanes(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_lane hub_internal.lanes;
  v_done integer := 0;
begin
  for v_lane in
    select l.* from hub_internal.lanes l
     where not exists (select from public.mac_tasks t where t.lane = l.id and t.status = 'pending' and t.run_after is null)
       and not exists (select from public.mac_tasks t where t.lane = l.id and t.status = 'pending' and t.run_after is not null)
     limit p_limit
  loop
    continue when not pg_try_advisory_xact_lock(hub_internal.lane_lock(v_lane.server_id, v_lane.project, v_lane.model, v_lane.agent, v_lane.platform, v_lane.device));
    -- Looked at again, with the lock: a task may have been committed since.
    delete from hub_internal.lanes l
     where l.id = v_lane.id
       and not exists (select from public.mac_tasks t where t.lane = l.id and t.status = 'pending' and t.run_after is null)
       and not exists (select from public.mac_tasks t where t.lane = l.id and t.status = 'pending' and t.run_after is not null);
    if found then
      v_done := v_done + 1;
    end if;
  end loop;
  return v_done;
end;
$$;
insert into public.hub_errands (name, about, function, position, counts) values
  ('idle_lanes', 'lanes that nothing waits in go', 'hub_internal.reap_lanes', 810, false);

create function hub_internal.offered_agent(p_agents jsonb, p_agent text, p_model text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return (
  select o ->> 'agent'
    from jsonb_array_elements(p_agents) with ordinality as e (o, n)
   where (p_agent is null or o ->> 'agent' = p_agent)
     and (p_model = 'any' or o -> 'models' ? p_model or o -> 'models' ? 'any')
   order by n
   limit 1
  );
end;
$$;
comment on function hub_internal.offered_agent(jsonb, text, text) is
  'The first of a device''s agents that fits: the one asked for, if any, with the model asked for. Null: none does.';

-- An agent is a name that somebody means: one that is shipped, or that a machine offers. Else anybody could make lanes without end.
create function hub_internal.is_known_agent(p_agent text)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return p_agent in ('claude', 'codex', 'gemini', 'survey')
      or exists (select from public.mesh_devices d
                  where d.revoked_at is null and d.agents @> jsonb_build_array(jsonb_build_object('agent', p_agent)));
end;
$$;

-- A task's place in its lane: when it was made, and ten minutes earlier for each step of priority, so that nothing starves.
create function hub_internal.queue_key(p_created_at timestamptz, p_priority int)
  returns timestamptz
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return p_created_at - (p_priority - 5) * interval '10 minutes';
end;
$$;

-- Guarding the row: what any writer, old executors included, may and may not do to it ---------------------------------

-- What CHECK constraints would say. Postgres reads a constraint's expression anew from its text for every statement that writes
-- the table: on the tables of a task's life that was a fifth of all the time. The triggers are called anyway.
create function hub_internal.check_task(p_task public.mac_tasks)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if p_task.content is null or btrim(p_task.content) = '' or char_length(p_task.content) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'content', 'A task needs a content of 1 to 100,000 characters.');
  elsif p_task.status not in ('pending', 'running', 'waiting', 'blocked', 'complete', 'failed', 'cancelled') then
    perform hub_internal.refuse('23514', 'bad input', format('status %L', p_task.status), 'pending, running, waiting, blocked, complete, failed or cancelled.');
  elsif p_task.model_preference not in ('claude', 'gemini', 'codex', 'any') then
    perform hub_internal.refuse('23514', 'bad input', format('model_preference %L', p_task.model_preference), 'claude, gemini, codex or any.');
  elsif p_task.task_type not in ('code', 'fix', 'test', 'review', 'research', 'docs', 'ops', 'plan', 'data', 'design', 'other') then
    perform hub_internal.refuse('23514', 'bad input', format('task_type %L', p_task.task_type),
      'code, fix, test, review, research, docs, ops, plan, data, design or other.');
  elsif p_task.platform not in ('any', 'macos', 'linux', 'windows') then
    perform hub_internal.refuse('23514', 'bad input', format('platform %L', p_task.platform), 'any, macos, linux or windows.');
  elsif p_task.priority not between 0 and 9 then
    perform hub_internal.refuse('23514', 'bad input', format('priority %s', p_task.priority), '0 to 9; 9 is most urgent.');
  elsif not isfinite(p_task.run_after) or not isfinite(p_task.created_at) then
    perform hub_internal.refuse('23514', 'bad input', 'run_after or created_at', 'A moment, not infinity.');
  elsif p_task.requested_agent !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' then
    perform hub_internal.refuse('UH001', 'bad input', 'agent', 'The name of an agent: 1 to 63 letters, digits, dots, dashes and underscores.');
  elsif p_task.max_attempts not between 1 and 100 then
    perform hub_internal.refuse('23514', 'bad input', format('max_attempts %s', p_task.max_attempts), '1 to 100.');
  elsif not hub_internal.is_flat_map(p_task.metadata) then
    perform hub_internal.refuse('23514', 'bad input', 'metadata', 'A flat object of strings, or nothing.');
  end if;
end;
$$;

create function hub_internal.guard_task_insert()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_architecture text;
begin
  new.model_preference := coalesce(new.model_preference, 'any');
  new.task_type    := coalesce(new.task_type, 'other');
  new.platform     := coalesce(new.platform, 'any');
  new.priority     := coalesce(new.priority, 5);
  new.max_attempts := coalesce(new.max_attempts, 3);
  new.attempt      := coalesce(new.attempt, 0);
  new.status       := coalesce(new.status, 'pending');
  new.created_at   := coalesce(new.created_at, now());
  new.updated_at   := coalesce(new.updated_at, now());
  new.model        := coalesce(new.model, nullif(new.model_preference, 'any'));
  new.requested_agent := coalesce(new.requested_agent, new.agent);
  perform hub_internal.check_task(new);

  if new.channel_id is not null then
    select s.id, s.architecture_type into new.server_id, v_architecture
      from public.hub_channels c join public.hub_servers s on s.id = c.server_id where c.id = new.channel_id;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('channel %s', new.channel_id), 'Check channel_id.');
    end if;
    if v_architecture = 'command_dispatch' then
      perform hub_internal.refuse('UH003', 'conflict', 'this channel answers commands and has no tasks', 'Use hub_execute_command, or another channel.');
    end if;
    new.project := hub_internal.task_project(new.server_id, new.channel_id, new.project);
  else
    select b.server_id, b.project into new.server_id, new.project
      from hub_internal.bind_task(new.server_id, new.project, new.created_by, hub_internal.is_trusted()) b;
  end if;

  if new.status in ('pending', 'blocked', 'waiting') then
    new.queue_key := hub_internal.queue_key(new.created_at, new.priority);
    new.lane := hub_internal.lane_of(new, not hub_internal.is_trusted());
  end if;
  return new;
end;
$$;
create trigger mac_tasks_guard_insert
  before insert on public.mac_tasks
  for each row execute function hub_internal.guard_task_insert();

create function hub_internal.guard_task_update()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  new.updated_at := now();
  -- Whatever was changed of a pending row: a claim passes over a row that somebody holds at that moment, so whoever lets go of one
  -- that is still claimable says so. (hub_create_task_thread right after an insert: without this the task waits for the slow poll.)
  if new.status = 'pending' then
    perform pg_notify('hub_tasks', '');
  end if;
  if (new.content, new.model_preference, new.task_type, new.platform, new.priority, new.max_attempts, new.metadata)
     is distinct from (old.content, old.model_preference, old.task_type, old.platform, old.priority, old.max_attempts, old.metadata) then
    perform hub_internal.check_task(new);
  end if;
  if new.channel_id is distinct from old.channel_id and new.channel_id is not null then
    -- It belongs to that server now, and works in a folder of it; what runs goes on where it runs.
    select c.server_id into new.server_id from public.hub_channels c where c.id = new.channel_id;
    if new.status <> 'running' and new.server_id is distinct from old.server_id and not hub_internal.may_use_project(new.server_id, new.channel_id, new.project) then
      new.project := hub_internal.task_project(new.server_id, new.channel_id, null);
    end if;
  end if;
  if new.status is distinct from old.status then
    if not (case old.status
              when 'pending'   then new.status in ('running', 'complete', 'failed', 'cancelled', 'blocked')
              when 'running'   then new.status in ('complete', 'failed', 'cancelled', 'pending', 'waiting')
              when 'waiting'   then new.status in ('pending', 'cancelled')
              when 'blocked'   then new.status in ('pending', 'cancelled')
              -- hub_retry_task is the one that clears finished_at
              when 'failed'    then new.status = 'pending' and new.finished_at is null
              when 'cancelled' then new.status = 'pending' and new.finished_at is null
              else false
            end) then
      perform hub_internal.refuse('UH003', 'conflict', format('task %s can not go from %s to %s', old.id, old.status, new.status),
        'complete is final; a failed or cancelled task starts again with hub_retry_task.');
    end if;

    if new.status in ('complete', 'failed', 'cancelled') then
      new.finished_at := coalesce(new.finished_at, now());
      new.lease_expires_at := null;
    elsif new.status = 'running' then
      -- hub_claim_tasks counts the attempt and writes its record itself, for a whole batch at once.
      if new.attempt = old.attempt then
        new.attempt := old.attempt + 1;
        new.claimed_at := now();
        new.progress_count := 0;
        new.lease_expires_at := null;
        insert into public.hub_task_attempts (task_id, attempt, device, agent) values (new.id, new.attempt, new.claimed_by, new.agent)
        on conflict do nothing;
      end if;
    elsif new.status = 'pending' then
      new.lease_expires_at := null;
      new.claimed_by := null;
      new.agent := new.requested_agent;
      new.lane := hub_internal.lane_of(new);
      new.queue_key := coalesce(new.queue_key, hub_internal.queue_key(new.created_at, new.priority));
    end if;

    -- An executor of the older kind ends its attempt by this update alone.
    if old.status = 'running' and new.status <> 'running' then
      update public.hub_task_attempts a
         set finished_at = now(), error = new.error,
             outcome = case when new.status in ('complete', 'failed', 'cancelled') then new.status else 'failed' end
       where a.task_id = new.id and a.attempt = old.attempt and a.finished_at is null;
    end if;
  elsif new.status in ('pending', 'blocked')
        and (new.model_preference, new.platform, new.requested_agent, new.priority, new.server_id, new.project)
            is distinct from (old.model_preference, old.platform, old.requested_agent, old.priority, old.server_id, old.project) then
    new.queue_key := hub_internal.queue_key(new.created_at, new.priority);
    new.lane := hub_internal.lane_of(new);
  end if;
  return new;
end;
$$;
create trigger mac_tasks_guard_update
  before update on public.mac_tasks
  for each row execute function hub_internal.guard_task_update();

-- A server that goes takes its work with it: nothing of it is to run under nobody's name. The task lets go of what is deleted next, by itself:
-- a row that this transaction has written is checked against its message while that is already gone.
create function hub_internal.end_tasks_of_server()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  update public.mac_tasks t
     set status = case when t.status = 'running' then t.status else 'cancelled' end,
         cancel_requested_at = coalesce(t.cancel_requested_at, now()), error = 'its server was deleted', channel_id = null, thread_id = null, message_id = null
   where t.status in ('pending', 'blocked', 'waiting', 'running')
     and (t.channel_id in (select c.id from public.hub_channels c where c.server_id = old.id) or t.channel_id is null and t.server_id = old.id);
  return old;
end;
$$;
create trigger hub_servers_end_tasks
  before delete on public.hub_servers
  for each row execute function hub_internal.end_tasks_of_server();

-- Waking: one NOTIFY for a statement that makes tasks claimable. The payload says nothing; Postgres folds equal ones of a
-- transaction into one. For updates guard_task_update does it, since a transition table would be filled by every note and
-- heartbeat.
create function hub_internal.wake_on_insert()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  if exists (select from made where status = 'pending') then
    perform pg_notify('hub_tasks', '');
  end if;
  return null;
end;
$$;
create trigger mac_tasks_wake_insert
  after insert on public.mac_tasks
  referencing new table as made
  for each statement execute function hub_internal.wake_on_insert();

update public.mac_tasks t                         -- adopted rows that wait get their place in the queue
   set requested_agent = t.agent
 where t.status in ('pending', 'blocked', 'waiting');
update public.mac_tasks t
   set queue_key = hub_internal.queue_key(t.created_at, t.priority), lane = hub_internal.lane_of(t)
 where t.status in ('pending', 'blocked', 'waiting');

revoke all on function hub_internal.live_device(), hub_internal.my_device_names(), hub_internal.lane_of(public.mac_tasks, boolean), hub_internal.lane_lock(uuid, text, text, text, text, text), hub_internal.reap_lanes(timestamptz, int), hub_internal.queue_key(timestamptz, int), hub_internal.is_known_agent(text),
  hub_internal.offered_agent(jsonb, text, text), hub_internal.guard_task_insert(), hub_internal.guard_task_update(),
  hub_internal.wake_on_insert(), hub_internal.end_tasks_of_server(), hub_internal.check_task(public.mac_tasks)
  from public, anon, authenticated, service_role;
grant execute on function hub_internal.live_device(), hub_internal.my_device_names() to authenticated, service_role;
