-- Why: a machine registers, is drained, revoked and enrolled. That it is alive it says in …heartbeats.

create trigger mesh_devices_touch before update on public.mesh_devices
  for each row execute function hub_internal.touch();

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
    perform hub_internal.refuse('42501', 'permission denied', format('device %s', p_device),
      'A device acts only for itself; its token names it.');
  end if;
  select * into v_device from public.mesh_devices d where d.name = p_device;
  if not found then
    perform hub_internal.refuse('UH005', 'device unknown', p_device,
      'Register it first: hub_register_device, or `hub device add`.');
  end if;
  if v_device.revoked_at is not null then
    perform hub_internal.refuse('UH005', 'device revoked', p_device,
      'An owner revoked it; enrol it again to use it.');
  end if;
  return v_device;
end;
$$;

create function hub_internal.register_device(
  p_name text, p_platform text, p_agents jsonb, p_capacity int, p_now timestamptz)
  returns public.mesh_devices
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on mesh_devices
  set search_path = ''
as $$
declare
  v_trusted boolean := hub_internal.is_trusted();
  v_device  public.mesh_devices;
  v_agents  jsonb;
begin
  perform hub_internal.require_present(p_now);
  if p_name is null or p_name !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' then
    perform hub_internal.refuse('UH001', 'bad input', format('p_name %L', p_name),
      'A device name has 1 to 63 letters, digits, dots, dashes and underscores.');
  end if;
  if not v_trusted and hub_internal.token_device() is distinct from p_name then
    perform hub_internal.refuse('42501', 'permission denied', format('device %s', p_name),
      'A device registers only itself; its token names it.');
  end if;
  if p_platform is null or p_platform not in ('macos', 'linux', 'windows') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_platform %L', p_platform),
      'A platform is macos, linux or windows.');
  end if;
  if p_capacity is null or p_capacity not between 0 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_capacity %s', coalesce(p_capacity::text, 'is null')), 'Capacity is 0 to 1000 tasks at once.');
  end if;
  if p_agents is null or jsonb_typeof(p_agents) <> 'array'
     or exists (select from jsonb_array_elements(p_agents) e (o)
                 where jsonb_typeof(o) <> 'object'
                    or jsonb_typeof(o -> 'agent') is distinct from 'string'
                    or o ->> 'agent' = ''
                    or o ->> 'memory_bytes' !~ '^[0-9]{1,18}$'
                    or jsonb_typeof(o -> 'models') is distinct from 'array'
                    or exists (select from jsonb_array_elements(
                                   case when jsonb_typeof(o -> 'models') = 'array' then o -> 'models'
                                        else '[]' end) m (v)
                                where jsonb_typeof(v) <> 'string')) then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents',
      'Give a list like [{"agent": "claude", "models": ["claude"], "memory_bytes": 2000000000}]; '
      'memory_bytes may be left out.');
  elsif exists (select from jsonb_array_elements(p_agents) e (o)
                 where o ->> 'agent' !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$') then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents: agent',
      'The name of an agent: 1 to 63 letters, digits, dots, dashes and underscores.');
  elsif exists (select from jsonb_array_elements(p_agents) e (o)
                 where jsonb_typeof(o -> 'account') not in ('string', 'null')
                    or char_length(o ->> 'account') not between 1 and 200
                    or hub_internal.one_line(hub_internal.tamed(o ->> 'account')) <> o ->> 'account'
                    or o ->> 'account' like 'device:%') then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents: account',
      'The name of a login, never its secret: 1 to 200 characters that are seen, not device:….');
  elsif exists (select from jsonb_array_elements(p_agents) e (o)
                 where jsonb_typeof(o -> 'program') not in ('string', 'null')
                    or o ->> 'program' !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$') then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents: program',
      'What runs the agent, without its folder: 1 to 63 letters, digits, dots, dashes and underscores.');
  elsif exists (select from jsonb_array_elements(p_agents) e (o)
                 where jsonb_typeof(o -> 'reserve') not in ('number', 'null')
                    or case when jsonb_typeof(o -> 'reserve') = 'number'
                            then (o ->> 'reserve')::numeric not between 0 and 0.95 end) then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents: reserve',
      'The share of the account that is kept for people: 0 to 0.95.');
  elsif exists (select from jsonb_array_elements(p_agents) e (o)
                 group by o ->> 'agent'
                having count(distinct coalesce(o ->> 'account', '')) > 1
                    or count(distinct coalesce(o ->> 'program', '')) > 1
                    or count(distinct coalesce((o ->> 'reserve')::numeric, 0)) > 1) then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents: account, program, reserve',
      'One agent has one account, program and reserve; give an agent with another one another name.');
  end if;
  if octet_length(p_agents::text) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_agents', 'At most 100 KB.');
  end if;
  perform hub_internal.require_room('device_agents', jsonb_array_length(p_agents) - 1);

  -- A worker that starts names what it knows of in its heartbeats at once. What the one before it had claimed
  -- and not begun is nobody's: it waits for one beat of a second worker of that name, not for its lease. Tasks
  -- before the device.
  if exists (select from hub_internal.beginners b where b.device = p_name) then
    update public.mac_tasks t
       set lease_expires_at = p_now + interval '30 seconds'
      from public.hub_task_attempts a
     where t.claimed_by = p_name
       and t.status = 'running'
       and t.lease_expires_at > p_now + interval '30 seconds'
       and a.task_id = t.id
       and a.attempt = t.attempt
       and a.begun_at is null;
    if found then
      perform hub_internal.wake_errand('leases');
    end if;
  end if;

  -- Who may see the device does not learn of its logins.
  select coalesce(jsonb_agg(e.o - '{account,program,reserve}'::text[] order by e.n), '[]')
    into v_agents
    from jsonb_array_elements(p_agents) with ordinality e (o, n);
  insert into public.mesh_devices as d
    (name, platform, agents, capacity, user_id, serves_all, last_heartbeat_at)
  values
    (p_name, p_platform, v_agents, p_capacity,
     case when not v_trusted then hub_internal.uuid_of(hub_internal.claims() ->> 'sub') end, v_trusted, p_now)
  on conflict (name) do update
    set platform = excluded.platform,
        agents = excluded.agents,
        capacity = excluded.capacity,
        user_id = coalesce(excluded.user_id, d.user_id),
        signed_off_at = null,
        stopping_at = null,
        last_heartbeat_at = greatest(d.last_heartbeat_at, excluded.last_heartbeat_at)
    where d.revoked_at is null
  returning d.* into v_device;
  if not found then
    perform hub_internal.refuse('UH005', 'device revoked', p_name,
      'An owner revoked it; hub_revoke_device(name, false) takes that back.');
  end if;
  -- A worker that starts may keep its projects elsewhere than the one before it: it is asked anew.
  delete from hub_internal.device_projects p where p.device = p_name;
  delete from hub_internal.device_accounts a where a.device = p_name;
  insert into hub_internal.device_accounts (device, agent, account, program, reserve)
  select p_name, o ->> 'agent', max(o ->> 'account'), max(o ->> 'program'), max((o ->> 'reserve')::numeric)
    from jsonb_array_elements(p_agents) e (o)
   where coalesce(o ->> 'account', o ->> 'program', o ->> 'reserve') is not null
   group by 2;
  perform hub_internal.weigh_reserves(p_name, p_now);
  -- And may be logged in now, which it finds out by trying.
  delete from public.mesh_logins b where b.device = p_name;
  if found then
    perform pg_notify('hub_tasks', '');
  end if;
  perform hub_internal.reweigh(p_name);
  return v_device;
end;
$$;

-- By owners -------------------------------------------------------------------------------------------------

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
    perform hub_internal.refuse('UH004', 'not found', format('device %s', p_name),
      'See `hub devices` for those there are.');
  end if;
  if not hub_internal.is_trusted()
     and (v_device.serves_all
          or not exists (select from public.mesh_device_servers e where e.device = p_name)
          or exists (select from public.mesh_device_servers e
                      where e.device = p_name
                        and e.server_id not in (select hub_internal.my_owned_server_ids()))) then
    perform hub_internal.refuse('42501', 'permission denied', format('device %s', p_name),
      'Only who owns every server it serves may do this.');
  end if;
  return v_device;
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
  update public.mesh_devices d
     set drained_at = case when p_drained then coalesce(d.drained_at, now()) end
   where d.name = p_name
  returning d.* into v_device;
  -- There is work for it again, or what was left to it others may take.
  perform pg_notify('hub_tasks', '');
  perform hub_internal.reweigh(p_name);
  return v_device;
end;
$$;

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
  -- Its running tasks first: a claim or an ending holds task before device, never the other way. Their leases
  -- are over, and the next recovery takes them back.
  if p_revoked then
    update public.mac_tasks t
       set lease_expires_at = least(t.lease_expires_at, t.claimed_at)
     where t.claimed_by = p_name
       and t.status = 'running'
       and t.lease_expires_at is not null
       and (hub_internal.is_trusted()
            or exists (select from public.mesh_device_servers e
                        where e.device = p_name
                          and e.server_id in (select hub_internal.my_owned_server_ids())));
  end if;
  v_device := hub_internal.steered_device(p_name);
  update public.mesh_devices d
     set revoked_at = case when p_revoked then coalesce(d.revoked_at, now()) end
   where d.name = p_name
  returning d.* into v_device;
  -- What it keeps of an account for people is kept by it no more, or again.
  perform hub_internal.weigh_reserves(p_name, now());
  if p_revoked then
    perform hub_internal.wake_errand('leases');
    -- What was left to it others may take.
    perform pg_notify('hub_tasks', '');
    -- Sessions that only this machine had are gone: what waits for them starts afresh, anywhere.
    update public.mac_tasks t
       set session_id = null,
           session_device = null
     where t.session_device = p_name and t.status in ('pending', 'blocked', 'waiting');
  end if;
  perform hub_internal.reweigh(p_name);
  return v_device;
end;
$$;

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
  if not hub_internal.may_read(p_server_id)
     or not exists (select from public.hub_servers s where s.id = p_server_id) then
    perform hub_internal.refuse('UH004', 'not found', format('server %s', p_server_id),
      'Check the id, and that you may read it.');
  end if;
  if not hub_internal.may_own(p_server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'devices of this server',
      'Only an owner of the server says which devices serve it.');
  end if;
  -- Its work here goes on elsewhere: what waits for a session that this machine has waits for it no more.
  -- Tasks before the device, as above.
  if not p_enrolled
     and not exists (select from public.mesh_devices d where d.name = p_name and d.serves_all) then
    update public.mac_tasks t
       set session_device = null
     where t.session_device = p_name
       and t.server_id = p_server_id
       and t.status in ('pending', 'blocked', 'waiting');
  end if;
  if hub_internal.is_trusted() then
    -- Enrolled before its worker first started: it offers nothing until it registers.
    if p_name is null or p_name !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' then
      perform hub_internal.refuse('UH001', 'bad input', format('p_name %L', p_name),
        'A device name has 1 to 63 letters, digits, dots, dashes and underscores.');
    end if;
    insert into public.mesh_devices (name, capacity) values (p_name, 0) on conflict do nothing;
    select * into v_device from public.mesh_devices d where d.name = p_name;
  else
    -- Work for a machine is code that runs on it: nobody enrols a machine that serves others, or nobody yet.
    v_device := hub_internal.steered_device(p_name);
  end if;
  if p_enrolled then
    insert into public.mesh_device_servers (device, server_id) values (p_name, p_server_id)
    on conflict do nothing;
    perform pg_notify('hub_tasks', '');
  else
    delete from public.mesh_device_servers e where e.device = p_name and e.server_id = p_server_id;
  end if;
  return v_device;
end;
$$;
