-- Why: the life of a task as functions: a machine registers, claims, reports, ends; an operator cancels, retries, asks why.
-- Each is one transaction; what people see follows by the triggers of V20261120090400.
-- Bodies take the time as an argument; what the API exposes passes now().

-- Devices ---------------------------------------------------------------------------------------------------------------

-- The device a caller may act for: itself, or any for a trusted caller. Revoked ones act no more.
create function hub_internal.acting_device(p_device text)
  returns public.mesh_devices
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_device public.mesh_devices;
begin
  if p_device is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_device is null', 'Give the name of the device.');
  end if;
  if not hub_internal.is_trusted() and hub_internal.token_device() is distinct from p_device then
    perform hub_internal.refuse('42501', 'permission denied', format('device %s', p_device), 'A device acts only for itself; its token names it.');
  end if;
  select * into v_device from public.mesh_devices d where d.name = p_device;
  if not found then
    perform hub_internal.refuse('UH005', 'device unknown', p_device, 'Register it first: hub_register_device, or `hub device add`.');
  end if;
  if v_device.revoked_at is not null then
    perform hub_internal.refuse('UH005', 'device revoked', p_device, 'An owner revoked it; enrol it again to use it.');
  end if;
  return v_device;
end;
$$;

create function hub_internal.register_device(p_name text, p_platform text, p_agents jsonb, p_capacity int, p_now timestamptz)
  returns public.mesh_devices
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on mesh_devices
  set search_path = ''
as $$
declare
  v_trusted boolean := hub_internal.is_trusted();
  v_device  public.mesh_devices;
begin
  if p_name is null or p_name !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' then
    perform hub_internal.refuse('UH001', 'bad input', format('p_name %L', p_name), 'A device name has 1 to 63 letters, digits, dots, dashes and underscores.');
  end if;
  if not v_trusted and hub_internal.token_device() is distinct from p_name then
    perform hub_internal.refuse('42501', 'permission denied', format('device %s', p_name), 'A device registers only itself; its token names it.');
  end if;
  if p_platform is null or p_platform not in ('macos', 'linux', 'windows') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_platform %L', p_platform), 'A platform is macos, linux or windows.');
  end if;
  if p_capacity is null or p_capacity not between 0 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input', format('p_capacity %s', coalesce(p_capacity::text, 'is null')), 'Capacity is 0 to 1000 tasks at once.');
  end if;
  if p_agents is null or jsonb_typeof(p_agents) <> 'array'
     or exists (select from jsonb_array_elements(p_agents) e (o)
                 where jsonb_typeof(o) <> 'object' or jsonb_typeof(o -> 'agent') is distinct from 'string' or o ->> 'agent' = ''
                    or jsonb_typeof(o -> 'models') is distinct from 'array'
                    or exists (select from jsonb_array_elements(case when jsonb_typeof(o -> 'models') = 'array' then o -> 'models' else '[]' end) m (v)
                                where jsonb_typeof(v) <> 'string')) then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents', 'Give a list like [{"agent": "claude", "models": ["claude"]}].');
  elsif exists (select from jsonb_array_elements(p_agents) e (o) where o ->> 'agent' !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$') then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents: agent', 'The name of an agent: 1 to 63 letters, digits, dots, dashes and underscores.');
  end if;
  perform hub_internal.require_room('device_agents', jsonb_array_length(p_agents) - 1);

  insert into public.mesh_devices as d (name, platform, agents, capacity, user_id, serves_all, last_heartbeat_at)
  values (p_name, p_platform, p_agents, p_capacity,
          case when not v_trusted then (hub_internal.claims() ->> 'sub')::uuid end, v_trusted, p_now)
  on conflict (name) do update
    set platform = excluded.platform, agents = excluded.agents, capacity = excluded.capacity,
        user_id = coalesce(excluded.user_id, d.user_id), last_heartbeat_at = greatest(d.last_heartbeat_at, excluded.last_heartbeat_at)
    where d.revoked_at is null
  returning d.* into v_device;
  if not found then
    perform hub_internal.refuse('UH005', 'device revoked', p_name, 'An owner revoked it; hub_revoke_device(name, false) takes that back.');
  end if;
  return v_device;
end;
$$;

create function public.hub_register_device(p_name text, p_platform text, p_agents jsonb, p_capacity int)
  returns public.mesh_devices
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.register_device(p_name, p_platform, p_agents, p_capacity, now());
end;
$$;
comment on function public.hub_register_device(text, text, jsonb, int) is
  'Makes a device known, or says anew what it offers; p_agents = [{"agent","models":[…]}], p_capacity tasks at once. Registered by service_role or postgres it serves every server; by its own token, what it is enrolled for. Errors: UH001, UH005 revoked, 42501 another device''s name.';

-- Owners steer devices: one that serves only servers of theirs, in all that concerns it.
create function hub_internal.steered_device(p_name text)
  returns public.mesh_devices
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_device public.mesh_devices;
begin
  select * into v_device from public.mesh_devices d where d.name = p_name for no key update;
  if not found or not (hub_internal.is_trusted() or p_name in (select hub_internal.my_device_names())) then
    perform hub_internal.refuse('UH004', 'not found', format('device %s', p_name), 'See `hub devices` for those there are.');
  end if;
  if not hub_internal.is_trusted()
     and (v_device.serves_all
          or not exists (select from public.mesh_device_servers e where e.device = p_name)
          or exists (select from public.mesh_device_servers e
                      where e.device = p_name and e.server_id not in (select hub_internal.my_owned_server_ids()))) then
    perform hub_internal.refuse('42501', 'permission denied', format('device %s', p_name), 'Only who owns every server it serves may do this.');
  end if;
  return v_device;
end;
$$;

-- A null is neither yes nor no, and is not what the default says.
create function hub_internal.require_given(p_value boolean, p_name text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_value is null then
    perform hub_internal.refuse('UH001', 'bad input', format('%s is null', p_name), 'Give true or false, or leave it out.');
  end if;
end;
$$;

create function hub_internal.drain_device(p_name text, p_drained boolean)
  returns public.mesh_devices
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_device public.mesh_devices;
begin
  perform hub_internal.require_given(p_drained, 'p_drained');
  v_device := hub_internal.steered_device(p_name);
  update public.mesh_devices d set drained_at = case when p_drained then coalesce(d.drained_at, now()) end
   where d.name = p_name returning d.* into v_device;
  if not p_drained then
    perform pg_notify('hub_tasks', '');
  end if;
  return v_device;
end;
$$;

create function public.hub_drain_device(p_name text, p_drained boolean default true)
  returns public.mesh_devices
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.drain_device(p_name, p_drained);
end;
$$;
comment on function public.hub_drain_device(text, boolean) is
  'A drained device finishes what it runs and gets nothing new; false lets it take work again. Errors: UH004, 42501.';

create function hub_internal.revoke_device(p_name text, p_revoked boolean)
  returns public.mesh_devices
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_device public.mesh_devices;
begin
  perform hub_internal.require_given(p_revoked, 'p_revoked');
  -- Its running tasks first: a claim or an ending holds task before device, never the other way. Their leases are over, and the next
  -- recovery takes them back.
  if p_revoked then
    update public.mac_tasks t set lease_expires_at = least(t.lease_expires_at, t.claimed_at)
     where t.claimed_by = p_name and t.status = 'running' and t.lease_expires_at is not null
       and (hub_internal.is_trusted() or exists (select from public.mesh_device_servers e
              where e.device = p_name and e.server_id in (select hub_internal.my_owned_server_ids())));
  end if;
  v_device := hub_internal.steered_device(p_name);
  update public.mesh_devices d set revoked_at = case when p_revoked then coalesce(d.revoked_at, now()) end
   where d.name = p_name returning d.* into v_device;
  if p_revoked then
    -- Sessions that only this machine had are gone: what waits for them starts afresh, anywhere.
    update public.mac_tasks t set session_id = null, session_device = null, lane = null
     where t.session_device = p_name and t.status in ('pending', 'blocked');
    perform hub_internal.enlane(now(), 1000000);
  end if;
  return v_device;
end;
$$;

create function public.hub_revoke_device(p_name text, p_revoked boolean default true)
  returns public.mesh_devices
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.revoke_device(p_name, p_revoked);
end;
$$;
comment on function public.hub_revoke_device(text, boolean) is
  'From now on the device''s token is good for nothing here, and what it runs is taken back; false takes that back. Errors: UH004, 42501.';

create function hub_internal.enroll_device(p_name text, p_server_id uuid, p_enrolled boolean)
  returns public.mesh_devices
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_device public.mesh_devices;
begin
  perform hub_internal.require_given(p_enrolled, 'p_enrolled');
  if not hub_internal.may_read(p_server_id) or not exists (select from public.hub_servers s where s.id = p_server_id) then
    perform hub_internal.refuse('UH004', 'not found', format('server %s', p_server_id), 'Check the id, and that you may read it.');
  end if;
  if not hub_internal.may_own(p_server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'devices of this server', 'Only an owner of the server says which devices serve it.');
  end if;
  if hub_internal.is_trusted() then
    -- Enrolled before its worker first started: it offers nothing until it registers.
    if p_name is null or p_name !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' then
      perform hub_internal.refuse('UH001', 'bad input', format('p_name %L', p_name), 'A device name has 1 to 63 letters, digits, dots, dashes and underscores.');
    end if;
    insert into public.mesh_devices (name, capacity) values (p_name, 0) on conflict do nothing;
    select * into v_device from public.mesh_devices d where d.name = p_name;
  else
    -- Work for a machine is code that runs on it: nobody enrols a machine that serves others, or nobody yet.
    v_device := hub_internal.steered_device(p_name);
  end if;
  if p_enrolled then
    insert into public.mesh_device_servers (device, server_id) values (p_name, p_server_id) on conflict do nothing;
    perform pg_notify('hub_tasks', '');
  else
    delete from public.mesh_device_servers e where e.device = p_name and e.server_id = p_server_id;
  end if;
  return v_device;
end;
$$;

create function public.hub_enroll_device(p_name text, p_server_id uuid, p_enrolled boolean default true)
  returns public.mesh_devices
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.enroll_device(p_name, p_server_id, p_enrolled);
end;
$$;
comment on function public.hub_enroll_device(text, uuid, boolean) is
  'Lets a device take a server''s tasks, or no longer. An owner may do so with devices that serve only servers of theirs; service_role and postgres with any, also before it has registered. Errors: UH001, UH004, 42501.';

-- Claiming ----------------------------------------------------------------------------------------------------------------

-- Who may take what: a row for each device that is not revoked and each lane, a column a condition. The claim takes where all hold (eligible),
-- hub_explain_task names the first that does not, waking goes by the same. A new condition is one more column, and one more in eligible.
-- online and accepts are of the device alone: a claim comes from one that is there, and looks at its own.
create view hub_internal.device_lanes as
select c.*, c.on_platform and c.has_session and c.serves and c.has_folder and c.agent is not null as eligible
  from (select d.name as device,
               l.id as lane,
               l.platform in ('any', d.platform) as on_platform,
               l.device is null or l.device = d.name as has_session,
               d.serves_all
                 or exists (select from public.mesh_device_servers e where e.device = d.name and e.server_id = l.server_id) as serves,
               l.server_id is null
                 or exists (select from public.hub_places p
                             where p.server_id = l.server_id and p.kind = 'project' and (p.device is null or p.device = d.name)
                               and (p.target in ('*', l.project) or starts_with(l.project, p.target || '/'))) as has_folder,
               o.agent,
               d.last_heartbeat_at + (select s.value from hub_internal.settings s where s.name = 'device_offline_after') as offline_at,
               d.drained_at is null as accepts,
               d.capacity
          from public.mesh_devices d
         cross join hub_internal.lanes l
         -- offset 0: asked once a row, and only where the rest holds.
         cross join lateral (select hub_internal.offered_agent(d.agents, l.agent, l.model) as agent offset 0) o
         where d.revoked_at is null) c;
comment on view hub_internal.device_lanes is 'Which device may take from which lane (eligible), condition by condition, and which agent it would run. Revoked devices have no row.';
comment on column hub_internal.device_lanes.has_session is 'The lane is for any device, or pinned to this one, which has the session.';
comment on column hub_internal.device_lanes.offline_at is 'When it counts as offline unless it is heard of before. Null: it never was.';

create function hub_internal.held_count(p_device text)
  returns integer
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select count(*) from public.mac_tasks t
           where t.claimed_by = p_device and t.status = 'running' and t.lease_expires_at is not null);
end;
$$;
comment on function hub_internal.held_count(text) is 'How many tasks a device holds by a lease: what its capacity counts.';

create function hub_internal.claim_tasks(p_device text, p_limit int, p_lease interval, p_now timestamptz)
  returns setof public.mac_tasks
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on mac_tasks
  set search_path = ''
  set plan_cache_mode = force_generic_plan        -- planned anew at each call, its plan took longer than the claim
as $$
declare
  v_device public.mesh_devices;
  v_want   integer;
  v_got    integer;
begin
  if p_limit is null or p_limit not between 1 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input', format('p_limit %s', coalesce(p_limit::text, 'is null')), 'Claim 1 to 1000 tasks at once.');
  end if;
  if p_lease is null or p_lease < interval '1 second' or p_lease > interval '1 day' then
    perform hub_internal.refuse('UH001', 'bad input', format('p_lease %s', coalesce(p_lease::text, 'is null')), 'A lease is 1 second to 1 day.');
  end if;
  v_device := hub_internal.acting_device(p_device);
  if v_device.drained_at is not null then
    return;
  end if;
  -- Two workers of one name claim one after the other, or their capacity would count twice.
  perform pg_advisory_xact_lock(hashtextextended('hub_claim:' || p_device, 0));
  v_want := least(p_limit, v_device.capacity - hub_internal.held_count(p_device));

  -- A few rounds: what a neighbour locked first is skipped, and there may be more behind it.
  for v_round in 1 .. 5 loop
    exit when v_want <= 0;
    -- 1. a short ordered look into each lane this device may take from; 2. the best of them, locked and looked at again.
    return query
      with lanes as materialized (
        select x.lane as id, x.agent
          from hub_internal.device_lanes x
         where x.device = p_device and x.eligible
      ), heads as materialized (
        select h.id, h.queue_key, lanes.agent
          from lanes
         cross join lateral (
           (select t.id, t.queue_key from public.mac_tasks t
             where t.lane = lanes.id and t.status = 'pending' and t.run_after is null
             order by t.queue_key limit v_want + 16)
           union all
           (select t.id, t.queue_key from public.mac_tasks t
             where t.lane = lanes.id and t.status = 'pending' and t.run_after is not null and t.run_after <= p_now
             order by t.run_after limit v_want + 16)
         ) h
         order by h.queue_key
         limit v_want + 16
      ), locked as materialized (
        select t.id, heads.agent
          from heads join public.mac_tasks t on t.id = heads.id
         where t.status = 'pending' and (t.run_after is null or t.run_after <= p_now)
         order by heads.queue_key
         limit v_want
           for update of t skip locked
      ), claimed as (
        update public.mac_tasks t
           set status = 'running', attempt = t.attempt + 1, claimed_by = p_device, agent = locked.agent,
               lease_expires_at = p_now + p_lease, claimed_at = p_now, run_after = null, partial_output = null, progress_count = 0
          from locked
         where t.id = locked.id
        returning t.*
      ), recorded as (
        insert into public.hub_task_attempts (task_id, attempt, device, agent, started_at)
        select c.id, c.attempt, p_device, c.agent, p_now from claimed c
      )
      select * from claimed order by queue_key;
    get diagnostics v_got = row_count;
    v_want := v_want - v_got;
    exit when v_got = 0
          and not exists (select from hub_internal.device_lanes x
                           where x.device = p_device and x.eligible
                             and exists (select from public.mac_tasks t
                                          where t.lane = x.lane and t.status = 'pending' and t.run_after is null));
    exit when v_got = 0 and v_round >= 2;
  end loop;
end;
$$;

create function public.hub_claim_tasks(p_device text, p_limit int default 1, p_lease interval default '60 seconds')
  returns setof public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return query select * from hub_internal.claim_tasks(p_device, p_limit, p_lease, now());
end;
$$;
comment on function public.hub_claim_tasks(text, int, interval) is
  'Takes up to p_limit (1 to 1000) tasks for the device, best first: running now, attempt + 1, leased for p_lease (1 s to 1 day). Never more than its capacity; nothing while drained. Errors: UH001, UH005, 42501.';

-- Reporting -----------------------------------------------------------------------------------------------------------------

create function hub_internal.heartbeat(p_device text, p_running jsonb, p_now timestamptz)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_answer jsonb;
begin
  perform hub_internal.acting_device(p_device);
  p_running := coalesce(p_running, '[]');
  if jsonb_typeof(p_running) <> 'array'
     or exists (select from jsonb_array_elements(p_running) e (o)
                 where jsonb_typeof(o) <> 'object' or coalesce(o ->> 'task', '') !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
                    or coalesce(o ->> 'attempt', '') !~ '^[0-9]{1,9}$') then
    perform hub_internal.refuse('UH001', 'bad input', 'p_running', 'Give a list like [{"task": "<uuid>", "attempt": 1}].');
  end if;

  with said as (
    select distinct (o ->> 'task')::uuid as task, (o ->> 'attempt')::int as attempt from jsonb_array_elements(p_running) e (o)
  ), held as (                                    -- in the order of ids: two heartbeats never wait for each other in a ring
    select t.id from public.mac_tasks t join said s on s.task = t.id and s.attempt = t.attempt
     where t.status = 'running' and t.claimed_by = p_device
     order by t.id
       for no key update of t
  ), extended as (
    update public.mac_tasks t
       set lease_expires_at = greatest(t.lease_expires_at, p_now + interval '60 seconds')
      from held where t.id = held.id
    returning t.id, t.cancel_requested_at
  )
  select jsonb_build_object(
           'cancel', coalesce((select jsonb_agg(e.id order by e.id) from extended e where e.cancel_requested_at is not null), '[]'),
           'steer',  '[]'::jsonb,
           'lost',   coalesce((select jsonb_agg(s.task order by s.task) from said s where s.task not in (select e.id from extended e)), '[]'))
    into v_answer;

  update public.mesh_devices d set last_heartbeat_at = greatest(d.last_heartbeat_at, p_now) where d.name = p_device;
  return v_answer;
end;
$$;

create function public.hub_heartbeat(p_device text, p_running jsonb default '[]')
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.heartbeat(p_device, p_running, now());
end;
$$;
comment on function public.hub_heartbeat(text, jsonb) is
  'Says that the device is alive and extends the leases of p_running = [{"task","attempt"}] by 60 seconds. Returns {cancel: [task], steer: [{task,text}], lost: [task]}. Errors: UH001, UH005, 42501.';

-- The device that writes to an attempt; null for a trusted caller, who writes for whoever holds it.
create function hub_internal.writing_device()
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_device text;
begin
  if not hub_internal.is_trusted() then
    v_device := hub_internal.live_device();
    if v_device is null and hub_internal.token_device() is not null then
      perform hub_internal.refuse('UH005', 'device revoked', hub_internal.token_device(), 'It is revoked or was never enrolled.');
    elsif v_device is null then
      perform hub_internal.refuse('42501', 'permission denied', 'attempts are written by devices', 'Use the token of the device that holds the task.');
    end if;
  end if;
  return v_device;
end;
$$;

create function hub_internal.refuse_lost(p_task_id uuid, p_attempt int)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.refuse('UH002', 'lease lost', format('task %s is not held at attempt %s', p_task_id, coalesce(p_attempt::text, 'null')),
    'Discard what this attempt did: another device holds the task, or it ended.');
end;
$$;

-- The live attempt, locked, or UH002.
create function hub_internal.held_task(p_task_id uuid, p_attempt int)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_device text := hub_internal.writing_device();
  v_task   public.mac_tasks;
begin
  select t.* into v_task from public.mac_tasks t
   where t.id = p_task_id and t.attempt = p_attempt and t.status = 'running' and (v_device is null or t.claimed_by = v_device)
     for no key update;
  if not found then
    perform hub_internal.refuse_lost(p_task_id, p_attempt);
  end if;
  return v_task;
end;
$$;

create function hub_internal.report_progress(p_task_id uuid, p_attempt int, p_note text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_device text;
begin
  if p_note is null or btrim(p_note) = '' or char_length(p_note) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_note', 'A note has 1 to 100,000 characters.');
  end if;
  v_device := hub_internal.writing_device();
  -- The fence is in the update itself: a note is the commonest write, and a lock ahead of it would be a second version of the row.
  update public.mac_tasks t set partial_output = p_note
   where t.id = p_task_id and t.attempt = p_attempt and t.status = 'running' and (v_device is null or t.claimed_by = v_device);
  if not found then
    perform hub_internal.refuse_lost(p_task_id, p_attempt);
  end if;
end;
$$;

create function public.hub_report_progress(p_task_id uuid, p_attempt int, p_note text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.report_progress(p_task_id, p_attempt, p_note);
end;
$$;
comment on function public.hub_report_progress(uuid, int, text) is
  'What the live attempt is doing now. The first 15 notes of an attempt appear in the conversation, the newest is always in partial_output. Errors: UH001, UH002 lease lost, UH005, 42501.';

create function hub_internal.end_attempt(p_task public.mac_tasks, p_outcome text, p_error text, p_meta jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_bad text;
begin
  if p_meta is not null and jsonb_typeof(p_meta) not in ('object', 'null') then
    v_bad := 'p_meta is not an object';
  -- What a device reports is added up by others: bounds that no attempt comes near.
  elsif p_meta ->> 'cost_usd' is not null and jsonb_typeof(p_meta -> 'cost_usd') <> 'number' then
    v_bad := 'p_meta.cost_usd is not a number';
  elsif (p_meta ->> 'cost_usd')::numeric not between 0 and 1000000 then
    v_bad := 'p_meta.cost_usd is not between 0 and 1,000,000';
  elsif p_meta ->> 'tokens_in' is not null and p_meta ->> 'tokens_in' !~ '^[0-9]{1,12}$' then
    v_bad := 'p_meta.tokens_in is not a whole number of at most 12 digits';
  elsif p_meta ->> 'tokens_out' is not null and p_meta ->> 'tokens_out' !~ '^[0-9]{1,12}$' then
    v_bad := 'p_meta.tokens_out is not a whole number of at most 12 digits';
  elsif char_length(p_meta ->> 'model') > 200 or char_length(p_meta ->> 'session_id') > 500 then
    v_bad := 'p_meta.model or p_meta.session_id is longer than 200 and 500 characters';
  elsif octet_length((p_meta -> 'receipt')::text) > 100000 then
    v_bad := 'p_meta.receipt is larger than 100 KB';
  elsif p_meta ->> 'exit_code' is not null and p_meta ->> 'exit_code' !~ '^-?[0-9]{1,9}$' then
    v_bad := 'p_meta.exit_code is not a whole number';
  end if;
  if v_bad is not null then
    perform hub_internal.refuse('UH001', 'bad input', v_bad, 'p_meta = {model, session_id, cost_usd, tokens_in, tokens_out, exit_code, receipt}, each optional.');
  end if;
  insert into public.hub_task_attempts as a
    (task_id, attempt, device, agent, started_at, finished_at, outcome, error, model, session_id, cost_usd, tokens_in, tokens_out, exit_code, receipt)
  values
    (p_task.id, p_task.attempt, p_task.claimed_by, p_task.agent, coalesce(p_task.claimed_at, p_now), p_now, p_outcome, p_error,
     p_meta ->> 'model', p_meta ->> 'session_id', round((p_meta ->> 'cost_usd')::numeric, 6), (p_meta ->> 'tokens_in')::bigint,
     (p_meta ->> 'tokens_out')::bigint, (p_meta ->> 'exit_code')::int, nullif(p_meta -> 'receipt', 'null'))
  on conflict (task_id, attempt) do update
    set finished_at = excluded.finished_at, outcome = excluded.outcome, error = excluded.error, model = excluded.model,
        session_id = excluded.session_id, cost_usd = excluded.cost_usd, tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out,
        exit_code = excluded.exit_code, receipt = excluded.receipt;
end;
$$;

create function hub_internal.complete_task(p_task_id uuid, p_attempt int, p_result text, p_meta jsonb, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
begin
  perform hub_internal.end_attempt(v_task, 'complete', null, p_meta, p_now);
  update public.mac_tasks t
     set status = 'complete', result = p_result, error = null, finished_at = p_now,
         model = coalesce(p_meta ->> 'model', t.model),
         session_id = coalesce(p_meta ->> 'session_id', t.session_id),
         session_device = case when p_meta ->> 'session_id' is not null then t.claimed_by else t.session_device end
   where t.id = p_task_id
  returning t.* into v_task;
  return v_task;
end;
$$;

create function public.hub_complete_task(p_task_id uuid, p_attempt int, p_result text, p_meta jsonb default '{}')
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.complete_task(p_task_id, p_attempt, p_result, p_meta, now());
end;
$$;
comment on function public.hub_complete_task(uuid, int, text, jsonb) is
  'Ends the live attempt well. p_meta = {model, session_id, cost_usd, tokens_in, tokens_out, exit_code, receipt}. Errors: UH001, UH002 lease lost, UH005, 42501.';

-- Ten seconds, doubling, at most ten minutes.
create function hub_internal.backoff(p_attempt int)
  returns interval
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return least(interval '10 minutes', interval '10 seconds' * power(2, least(greatest(p_attempt, 1), 20) - 1));
end;
$$;

create function hub_internal.fail_task(p_task_id uuid, p_attempt int, p_error text, p_retryable boolean, p_meta jsonb, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_session text := p_meta ->> 'session_id';
begin
  if v_task.cancel_requested_at is not null then
    perform hub_internal.end_attempt(v_task, 'cancelled', p_error, p_meta, p_now);
    update public.mac_tasks t set status = 'cancelled', error = 'stopped on request', finished_at = p_now,
           session_id = coalesce(v_session, t.session_id), session_device = case when v_session is not null then t.claimed_by else t.session_device end
     where t.id = p_task_id returning t.* into v_task;
  else
    perform hub_internal.end_attempt(v_task, 'failed', p_error, p_meta, p_now);
    if coalesce(p_retryable, true) and v_task.attempt < v_task.max_attempts then
      update public.mac_tasks t set status = 'pending', error = p_error, run_after = p_now + hub_internal.backoff(t.attempt)
       where t.id = p_task_id returning t.* into v_task;
    else
      update public.mac_tasks t set status = 'failed', error = p_error, finished_at = p_now,
             session_id = coalesce(v_session, t.session_id), session_device = case when v_session is not null then t.claimed_by else t.session_device end
       where t.id = p_task_id returning t.* into v_task;
    end if;
  end if;
  return v_task;
end;
$$;

create function public.hub_fail_task(p_task_id uuid, p_attempt int, p_error text, p_retryable boolean default true, p_meta jsonb default '{}')
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.fail_task(p_task_id, p_attempt, p_error, p_retryable, p_meta, now());
end;
$$;
comment on function public.hub_fail_task(uuid, int, text, boolean, jsonb) is
  'Ends the live attempt badly: pending again with a backoff if p_retryable and attempts are left, failed otherwise, cancelled if that was asked for. Errors: UH001, UH002 lease lost, UH005, 42501.';

-- Operating -------------------------------------------------------------------------------------------------------------------

-- The task, locked, if the caller may know of it, and may operate it. Looked at before it is locked: a lock held by who is then
-- refused would hide a pending task from a claim, and nothing would wake a device when it is let go.
create function hub_internal.operated_task(p_task_id uuid, p_what text, p_in text[] default null)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task   public.mac_tasks;
  v_server uuid;
begin
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  if v_task.channel_id is null then
    v_server := v_task.server_id;
  else
    select c.server_id into v_server from public.hub_channels c where c.id = v_task.channel_id;
  end if;
  if v_task.id is null
     or not (case when v_task.channel_id is null then hub_internal.is_trusted() or v_task.created_by = hub_internal.person()
                  else hub_internal.may_read(v_server) end) is true then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', coalesce(p_task_id::text, 'null')), 'Check the id, and that you may read its server.');
  end if;
  perform hub_internal.require_operate(hub_internal.may_operate(v_server), p_what);
  if v_task.status = any (p_in) is not false then
    select t.* into v_task from public.mac_tasks t where t.id = p_task_id for no key update;
  end if;
  return v_task;
end;
$$;

create function hub_internal.cancel_task(p_task_id uuid, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks := hub_internal.operated_task(p_task_id, 'cancelling a task');
begin
  case
    when v_task.status = 'cancelled' then
      null;                                       -- asked twice is asked once
    when v_task.status in ('complete', 'failed') then
      perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status), 'There is nothing left to cancel.');
    when v_task.status = 'running' and v_task.lease_expires_at is not null then
      update public.mac_tasks t set cancel_requested_at = coalesce(t.cancel_requested_at, p_now) where t.id = p_task_id returning t.* into v_task;
      perform pg_notify('hub_device', v_task.claimed_by);
    else
      -- Nobody runs it, or an executor of the older kind does, which can not be told: its later writes find it final.
      update public.mac_tasks t
         set status = 'cancelled', cancel_requested_at = coalesce(t.cancel_requested_at, p_now), finished_at = p_now,
             error = case when t.status = 'running' then 'on request; its executor can not be told' else 'on request, before it ran' end
       where t.id = p_task_id returning t.* into v_task;
  end case;
  return v_task;
end;
$$;

create function public.hub_cancel_task(p_task_id uuid)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.cancel_task(p_task_id, now());
end;
$$;
comment on function public.hub_cancel_task(uuid) is
  'Cancels a task: at once if it is not running, else as soon as its device has stopped it (cancel_requested_at says since when). Errors: UH003 it has ended, UH004, 42501.';

create function hub_internal.retry_task(p_task_id uuid)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks := hub_internal.operated_task(p_task_id, 'retrying a task', array['failed', 'cancelled']);
begin
  if v_task.status not in ('failed', 'cancelled') then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is %s', v_task.id, v_task.status), 'Only a failed or cancelled task is tried again.');
  end if;
  update public.mac_tasks t
     set status = 'pending', finished_at = null, error = null, result = null, partial_output = null, run_after = null, cancel_requested_at = null,
         max_attempts = least(100, greatest(t.max_attempts, t.attempt + 1))
   where t.id = p_task_id returning t.* into v_task;
  return v_task;
end;
$$;

create function public.hub_retry_task(p_task_id uuid)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.retry_task(p_task_id);
end;
$$;
comment on function public.hub_retry_task(uuid) is
  'Queues a failed or cancelled task again; its attempts go on counting. Errors: UH003 in another state, UH004, 42501.';

-- Catching up -------------------------------------------------------------------------------------------------------------------

-- Leases that ran out. In the order of conversations: two of these, or one and a bulk update, can not wait in a ring.
create function hub_internal.recover_leases(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task  public.mac_tasks;
  v_error text;
  v_done  integer := 0;
begin
  for v_task in
    select t.* from public.mac_tasks t
     where t.status = 'running' and t.lease_expires_at < p_now
     order by t.channel_id, t.thread_id, t.id limit p_limit for update skip locked
  loop
    v_error := case when exists (select from public.mesh_devices d where d.name = v_task.claimed_by and d.revoked_at is not null)
                    then format('lease lost: %s was revoked', v_task.claimed_by)
                    else format('lease lost: %s was not heard of since %s', v_task.claimed_by,
                                to_char(v_task.lease_expires_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS"Z"')) end;
    perform hub_internal.end_attempt(v_task, 'lost', v_error, null, p_now);
    if v_task.cancel_requested_at is not null then
      update public.mac_tasks t
         set status = 'cancelled',
             error = 'on request; its device was not heard of again',
             finished_at = p_now
       where t.id = v_task.id;
    elsif v_task.attempt < v_task.max_attempts then
      update public.mac_tasks t set status = 'pending', error = v_error, run_after = null where t.id = v_task.id;
    else
      update public.mac_tasks t set status = 'failed', error = v_error, finished_at = p_now where t.id = v_task.id;
    end if;
    v_done := v_done + 1;
  end loop;
  return v_done;
end;
$$;

-- Endings that were never told: imported rows, a trigger that was off. The mark and the message are one transaction.
create function hub_internal.tell_endings(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task public.mac_tasks;
  v_done integer := 0;
begin
  for v_task in
    select t.* from public.mac_tasks t
     where t.channel_id is not null and t.status in ('complete', 'failed', 'cancelled')
       and t.told is distinct from t.status || ':' || t.attempt::text
     order by t.channel_id limit p_limit for update skip locked
  loop
    if v_task.thread_id is null and hub_internal.is_threaded(v_task.channel_id) then
      v_task.thread_id := (hub_internal.new_thread_for(v_task)).id;
    end if;
    perform hub_internal.tell_end(v_task, v_task.thread_id);
    update public.mac_tasks t
       set told = v_task.status || ':' || v_task.attempt::text,
           thread_id = v_task.thread_id
     where t.id = v_task.id;
    v_done := v_done + 1;
  end loop;
  return v_done;
end;
$$;

-- What waits for a task that has ended already.
create function hub_internal.unblock_waiting(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_task public.mac_tasks;
  v_done integer := 0;
begin
  for v_task in
    select p.* from public.mac_tasks b join public.mac_tasks p on p.id = b.parent_id
     where b.status = 'blocked' and p.status in ('complete', 'failed', 'cancelled')
     limit p_limit
  loop
    v_done := v_done + hub_internal.unblock(v_task);
  end loop;
  return v_done;
end;
$$;

-- Rows that came in with the triggers off, and so stand in no lane.
create function hub_internal.enlane(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_count integer;
begin
  update public.mac_tasks t
     set lane = hub_internal.lane_of(t),
         queue_key = coalesce(t.queue_key, hub_internal.queue_key(t.created_at, t.priority))
   where t.id in (select x.id from public.mac_tasks x
                   where x.status = 'pending' and x.lane is null limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;

insert into public.hub_errands (name, about, function, position) values
  ('leases',      'attempts whose device fell silent are taken back',    'hub_internal.recover_leases',  100),
  ('endings',     'endings that were never told are told',               'hub_internal.tell_endings',    110),
  ('follow_ups',  'what waits for a task that has ended goes on',        'hub_internal.unblock_waiting', 120),
  ('lanes',       'rows that stand in no lane get one',                  'hub_internal.enlane',          130);

create function hub_internal.recover(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_errand public.hub_errands;
  v_count  integer;
  v_done   integer := 0;
begin
  perform hub_internal.require_trusted('recovering');
  perform hub_internal.require_round(p_now, p_limit);
  for v_errand in
    select e.* from public.hub_errands e where e.function is not null order by e.position
  loop
    continue when v_errand.counts and v_done >= p_limit;
    -- The name comes from the registry, which only migrations change.
    execute format('select %s($1, $2)', v_errand.function)
       into v_count
      using p_now, case when v_errand.counts then p_limit - v_done else p_limit end;
    if v_errand.counts then
      v_done := v_done + v_count;
    end if;
  end loop;
  return v_done;
end;
$$;

create function public.hub_recover(p_now timestamptz default now(), p_limit int default 1000)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return hub_internal.recover(p_now, p_limit);
end;
$$;
comment on function public.hub_recover(timestamptz, int) is
  'Takes back expired leases, of deliveries too, tells endings that were never told, frees what waits for nothing, drops what was kept long enough. Returns how many; call again while it returns p_limit. Errors: UH001, 42501.';

-- Why is it, or is it not, running -------------------------------------------------------------------------------------------------

create function hub_internal.explain_task(p_task_id uuid, p_now timestamptz)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_task    public.mac_tasks;
  v_server  uuid;
  v_lane    hub_internal.lanes;
  v_serving text[]; v_housing text[]; v_platform text[]; v_online text[]; v_fitting text[]; v_taking text[]; v_free text[];
  v_ahead   bigint;
begin
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  select c.server_id into v_server from public.hub_channels c where c.id = v_task.channel_id;
  if v_task.id is null
     or not (hub_internal.is_trusted()
             or case when v_task.channel_id is null then v_task.created_by = hub_internal.person() else hub_internal.may_read(v_server) end) is true then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', coalesce(p_task_id::text, 'null')), 'Check the id, and that you may read its server.');
  end if;

  if v_task.status = 'running' then
    if v_task.lease_expires_at is null then
      return query select format('running on %s, without a lease', coalesce(v_task.claimed_by, 'an unnamed executor')),
        'An executor of the older kind has it; it is never taken away. hub_cancel_task ends it.', null::timestamptz;
    elsif v_task.lease_expires_at < p_now then
      return query select 'older than its lease'::text,
        format('%s has not been heard of; hub_recover takes the task back at its next round.', v_task.claimed_by), v_task.lease_expires_at;
    else
      return query select format('running on %s', v_task.claimed_by),
        format('attempt %s of %s by %s since %s', v_task.attempt, v_task.max_attempts, v_task.agent,
               to_char(v_task.claimed_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS"Z"')), v_task.lease_expires_at;
    end if;
    if v_task.cancel_requested_at is not null then
      return query select 'cancel requested'::text, 'Its device stops it when it next reports.', v_task.lease_expires_at;
    end if;
    return;
  elsif v_task.status = 'blocked' then
    return query
      select case when p.id is null then 'blocked' else format('blocked by %s', left(p.id::text, 8)) end,
             case when p.id is null then 'What it waited for is gone; cancel it, or set it pending.'
                  else format('%s, which is %s: %s', p.id, p.status, hub_internal.shorten(hub_internal.one_line(p.content), 80)) end, null::timestamptz
        from (values (v_task.parent_id)) v (parent) left join public.mac_tasks p on p.id = v.parent;
    return;
  elsif v_task.status = 'waiting' then
    return query select 'waiting for an answer'::text, coalesce(v_task.partial_output, 'hub_answer_task gives it.'), null::timestamptz;
    return;
  elsif v_task.status <> 'pending' then
    return query select v_task.status,
      case v_task.status when 'complete' then format('finished on %s', coalesce(v_task.claimed_by, '—'))
                         else coalesce(v_task.error, 'no reason given') || '; hub_retry_task queues it again' end, v_task.finished_at;
    return;
  end if;

  -- Pending. First what time alone will mend, then the machines, narrowed one condition at a time: the first that leaves
  -- none is the reason.
  if v_task.run_after > p_now then
    return query select 'backing off'::text,
      format('attempt %s of %s failed: %s', v_task.attempt, v_task.max_attempts, hub_internal.shorten(hub_internal.one_line(coalesce(v_task.error, '—')), 200)), v_task.run_after;
  end if;
  select l.* into v_lane from hub_internal.lanes l where l.id = v_task.lane;
  if not found then
    return query select 'not in the queue yet'::text, 'It came in with the triggers off; hub_recover puts it in its lane.', null::timestamptz;
    return;
  end if;

  -- Narrowed one condition of device_lanes at a time.
  select array_agg(x.device order by x.device),
         array_agg(x.device order by x.device) filter (where x.has_folder),
         array_agg(x.device order by x.device) filter (where x.has_folder and x.on_platform),
         array_agg(x.device order by x.device) filter (where x.has_folder and x.on_platform and x.online),
         array_agg(x.device order by x.device) filter (where x.eligible and x.online),
         array_agg(x.device order by x.device) filter (where x.eligible and x.online and x.accepts),
         array_agg(x.device order by x.device) filter (where x.eligible and x.online and x.accepts and x.held < x.capacity)
    into v_serving, v_housing, v_platform, v_online, v_fitting, v_taking, v_free
    from (select d.*, coalesce(d.offline_at > p_now, false) as online, hub_internal.held_count(d.device) as held
            from hub_internal.device_lanes d
           where d.lane = v_lane.id and d.serves and d.has_session) x;

  if v_serving is not null and v_housing is null then
    return query select format('no device may work in %s', v_lane.project),
      format('Whoever runs the deployment gives the server the place: insert into public.hub_places (kind, server_id, target) values (''project'', %L, %L).',
             v_lane.server_id, v_lane.project), null::timestamptz;
  elsif v_lane.device is not null and v_online is null then
    return query select format('device %s is not online', v_lane.device),
      'The session this task goes on with is on that machine. Start its worker, or revoke the device to start afresh elsewhere.', null::timestamptz;
  elsif v_lane.platform <> 'any' and v_online is null then
    return query select format('no device online with platform %s', v_lane.platform),
      case when v_platform is null then 'None that serves this server has that platform.' else 'Offline: ' || array_to_string(v_platform, ', ') end, null::timestamptz;
  elsif v_serving is null then
    return query select 'no device serves it'::text,
      'Enrol a machine: `hub device add NAME`, or hub_enroll_device for one that is there.', null::timestamptz;
  elsif v_online is null then
    return query select 'no device online'::text, 'Offline: ' || array_to_string(v_platform, ', '), null::timestamptz;
  elsif v_fitting is null then
    return query select case when v_lane.agent is null then format('no device offers the model %s', v_lane.model)
                             when v_lane.model = 'any' then format('no device offers the agent %s', v_lane.agent)
                             else format('no device offers the agent %s with the model %s', v_lane.agent, v_lane.model) end,
      'Online: ' || array_to_string(v_online, ', '), null::timestamptz;
  elsif v_taking is null then
    return query select 'all devices are draining'::text, array_to_string(v_fitting, ', ') || '; hub_drain_device(name, false) lets one work again', null::timestamptz;
  elsif v_free is null then
    return query select 'all devices at capacity'::text,
      (select string_agg(format('%s %s/%s', d.name, hub_internal.held_count(d.name), d.capacity), ', ' order by d.name)
         from public.mesh_devices d where d.name = any (v_taking)),
      (select min(r.lease_expires_at) from public.mac_tasks r where r.claimed_by = any (v_taking) and r.status = 'running');
  elsif not coalesce(v_task.run_after > p_now, false) then
    select count(*) into v_ahead from (select from public.mac_tasks a
      where a.lane = v_task.lane and a.status = 'pending' and a.run_after is null and a.queue_key < v_task.queue_key limit 1000) a;
    return query select 'claimable'::text,
      format('%s could take it; %s ahead of it in its lane', array_to_string(v_free, ', '),
             case v_ahead when 0 then 'nothing is' when 1000 then '1000 or more tasks are' else v_ahead || ' task(s) are' end), null::timestamptz;
  end if;
end;
$$;

create function public.hub_explain_task(p_task_id uuid)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query select * from hub_internal.explain_task(p_task_id, now());
end;
$$;
comment on function public.hub_explain_task(uuid) is
  'Why a task is, or is not, running: a row a reason, until when if that is known. Errors: UH004.';

revoke all on function hub_internal.acting_device(text), hub_internal.register_device(text, text, jsonb, int, timestamptz),
  hub_internal.steered_device(text), hub_internal.require_given(boolean, text), hub_internal.drain_device(text, boolean), hub_internal.revoke_device(text, boolean),
  hub_internal.enroll_device(text, uuid, boolean), hub_internal.held_count(text), hub_internal.claim_tasks(text, int, interval, timestamptz),
  hub_internal.heartbeat(text, jsonb, timestamptz), hub_internal.writing_device(), hub_internal.refuse_lost(uuid, int),
  hub_internal.held_task(uuid, int), hub_internal.report_progress(uuid, int, text),
  hub_internal.end_attempt(public.mac_tasks, text, text, jsonb, timestamptz), hub_internal.complete_task(uuid, int, text, jsonb, timestamptz),
  hub_internal.backoff(int), hub_internal.fail_task(uuid, int, text, boolean, jsonb, timestamptz), hub_internal.operated_task(uuid, text, text[]),
  hub_internal.cancel_task(uuid, timestamptz), hub_internal.retry_task(uuid), hub_internal.recover_leases(timestamptz, int), hub_internal.tell_endings(timestamptz, int), hub_internal.unblock_waiting(timestamptz, int), hub_internal.enlane(timestamptz, int), hub_internal.recover(timestamptz, int),
  hub_internal.explain_task(uuid, timestamptz),
  public.hub_register_device(text, text, jsonb, int), public.hub_drain_device(text, boolean), public.hub_revoke_device(text, boolean),
  public.hub_enroll_device(text, uuid, boolean), public.hub_claim_tasks(text, int, interval), public.hub_heartbeat(text, jsonb),
  public.hub_report_progress(uuid, int, text), public.hub_complete_task(uuid, int, text, jsonb),
  public.hub_fail_task(uuid, int, text, boolean, jsonb), public.hub_cancel_task(uuid), public.hub_retry_task(uuid),
  public.hub_recover(timestamptz, int), public.hub_explain_task(uuid)
  from public, anon, authenticated, service_role;
grant execute on function hub_internal.register_device(text, text, jsonb, int, timestamptz),
  hub_internal.drain_device(text, boolean), hub_internal.revoke_device(text, boolean), hub_internal.enroll_device(text, uuid, boolean),
  hub_internal.claim_tasks(text, int, interval, timestamptz), hub_internal.heartbeat(text, jsonb, timestamptz),
  hub_internal.report_progress(uuid, int, text), hub_internal.complete_task(uuid, int, text, jsonb, timestamptz),
  hub_internal.fail_task(uuid, int, text, boolean, jsonb, timestamptz), hub_internal.cancel_task(uuid, timestamptz), hub_internal.retry_task(uuid),
  hub_internal.explain_task(uuid, timestamptz),
  public.hub_register_device(text, text, jsonb, int), public.hub_drain_device(text, boolean), public.hub_revoke_device(text, boolean),
  public.hub_enroll_device(text, uuid, boolean), public.hub_claim_tasks(text, int, interval), public.hub_heartbeat(text, jsonb),
  public.hub_report_progress(uuid, int, text), public.hub_complete_task(uuid, int, text, jsonb),
  public.hub_fail_task(uuid, int, text, boolean, jsonb), public.hub_cancel_task(uuid), public.hub_retry_task(uuid), public.hub_explain_task(uuid)
  to authenticated, service_role;
-- Keeping time is not for people and not for devices.
grant execute on function hub_internal.recover(timestamptz, int), public.hub_recover(timestamptz, int) to service_role;
