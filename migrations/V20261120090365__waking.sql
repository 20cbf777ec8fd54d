-- Why: a machine that may take a task hears of it at once, over Realtime and by NOTIFY (…task_rules); so does
-- one that may, once it has looked whether it has the project.

-- Wakes the machines that could take a task of this lane: those that are online and serve it, once a
-- transaction each. A machine that is full is woken, too: whether it still is when this commits nobody knows,
-- and a lost wake costs a slow poll. What a machine's other conditions are is asked only where it may have to
-- look for the project.
create function hub_internal.wake_devices(p_lane integer)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_lanes text := coalesce(nullif(current_setting('hub.woken_lanes', true), ''), ',');
begin
  if position(',' || p_lane || ',' in v_lanes) > 0 then
    return;
  end if;
  v_lanes := set_config('hub.woken_lanes', v_lanes || p_lane || ',', true);
  perform hub_internal.wake_lanes(array[p_lane]);
end;
$$;

create function hub_internal.wake_lanes(p_lanes integer[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_woken text;
  v_name  text;
  v_ask   boolean;
begin
  -- offset 0: each row is looked at once, and first by what sorts out most.
  for v_name, v_ask in
    select y.device, not bool_or(y.eligible)
      from (select x.device, x.eligible, x.must_look and x.agent is not null as asks
              from hub_internal.device_lanes x
             where x.lane = any (p_lanes)
               and x.accepts
               and x.offline_at > now()
               and x.on_platform
               and x.has_session
               and x.serves
               and x.has_folder
            offset 0) y
     where y.eligible or y.asks
     group by y.device
  loop
    v_woken := coalesce(nullif(current_setting('hub.woken_devices', true), ''), ',');
    -- '?' is in no device's name.
    if position(',' || v_name || case when v_ask then '?,' else ',' end in v_woken) = 0 then
      v_woken := set_config('hub.woken_devices',
                            v_woken || v_name || case when v_ask then '?,' else ',' end, true);
      perform hub_internal.wake_device(v_name, v_ask);
    end if;
  end loop;
end;
$$;

-- With p_ask it is to send a heartbeat, whose answer says what to look for.
create function hub_internal.wake_device(p_name text, p_ask boolean default false)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
begin
  perform realtime.send(
    jsonb_build_object('seq', (extract(epoch from clock_timestamp()) * 1000)::bigint)
      || case when p_ask then '{"ask": true}'::jsonb else '{}' end,
    'wake', 'device:' || p_name, true);
  if p_ask then
    perform pg_notify('hub_device', p_name);
  end if;
end;
$$;

create function hub_internal.wake_devices_insert()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  if new.status = 'pending' and (new.run_after is null or new.run_after <= now()) then
    perform hub_internal.wake_devices(new.lane);
  end if;
  return null;
end;
$$;

create function hub_internal.wake_device_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  if tg_table_name = 'mesh_device_servers' then
    perform hub_internal.wake_device(new.device);
  elsif new.drained_at is null and old.drained_at is not null then
    perform hub_internal.wake_device(new.name);
  end if;
  return null;
end;
$$;
create trigger mesh_devices_wake
  after update of drained_at on public.mesh_devices
  for each row execute function hub_internal.wake_device_change();
create trigger mesh_device_servers_wake
  after insert on public.mesh_device_servers
  for each row execute function hub_internal.wake_device_change();
