-- Why: a person asks why a task does, or does not, run, and is told what would have to change, and where.

-- Which machines are left, narrowed one condition of device_lanes at a time: the first that leaves none is
-- the reason, and those that were left before it are the ones to change. What a machine is and has comes
-- first, what passes (offline, drained, full) last, so that the machine that is named is one that could do
-- it. Only those that serve the server of the lane are looked at, and so named.
create function hub_internal.explain_lane(
  p_task public.mac_tasks, p_lane hub_internal.lanes, p_now timestamptz)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_left    hub_internal.device_lanes[];
  v_were    hub_internal.device_lanes[];
  v_online  text[];
  v_floor   bigint := (select q.amount from hub_internal.quotas q where q.name = 'device_free_disk');
  v_names   text;
  v_until   timestamptz;
  v_ahead   bigint;
  v_wants   text := case when p_lane.agent is null then format('the model %s', p_lane.model)
                         when p_lane.model = 'any' then format('the agent %s', p_lane.agent)
                         else format('the agent %s with the model %s', p_lane.agent, p_lane.model) end;
begin
  v_left := array(select x from hub_internal.device_lanes x
                   where x.lane = p_lane.id and x.serves
                   order by x.device);
  if cardinality(v_left) = 0 then
    return query select
      'no device serves it'::text,
      'Enrol a machine: `hub device add NAME`, or hub_enroll_device for one that is there.'::text,
      null::timestamptz;
    return;
  end if;
  -- One that was silent for as long as a lease lasts is promised to nobody, though it counts as online for a
  -- while yet.
  v_online := array(select x.device
                      from unnest(v_left) x
                      join public.mesh_devices d on d.name = x.device
                     where x.offline_at > p_now and d.last_heartbeat_at > p_now - interval '60 seconds');

  v_left := array(select x from unnest(v_left) x where x.has_session);
  if cardinality(v_left) = 0 then
    return query select
      case when hub_internal.is_in_session(p_task, p_lane.device)
           then 'the device with its session does not serve this server any more'
           else format('device %s does not serve this server any more', p_lane.device) end,
      'Enrol it again with hub_enroll_device. ' || hub_internal.pin_text(p_task, p_lane.device, p_now),
      null::timestamptz;
    return;
  end if;

  v_left := array(select x from unnest(v_left) x where x.has_folder);
  if cardinality(v_left) = 0 then
    return query select
      format('no device may work in %s', p_lane.project),
      format('Whoever runs the deployment gives the server the place: '
             'insert into public.hub_places (kind, server_id, target) values (''project'', %L, %L).',
             p_lane.server_id, p_lane.project),
      null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.on_platform);
  if cardinality(v_left) = 0 then
    select string_agg(format('%s (%s)', d.name, coalesce(d.platform, 'never started')), ', ' order by d.name)
      into v_names
      from unnest(v_were) x
      join public.mesh_devices d on d.name = x.device;
    return query select
      format('no device online with platform %s', p_lane.platform),
      hub_internal.shorten(
        format('Those that serve this server: %s. Start a worker on a machine with %s, enrolled for it.',
               v_names, p_lane.platform), 1000),
      null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.agent is not null);
  if cardinality(v_left) = 0 then
    if not exists (select from unnest(v_were) x where x.offline_at is not null) then
      return query select
        'no device online'::text,
        hub_internal.shorten(
          (select string_agg(format('%s was never started: `hub worker --device %s`', x.device, x.device),
                             '; ' order by x.device)
             from unnest(v_were) x), 1000),
        null::timestamptz;
      return;
    end if;
    select string_agg(
             format('%s: %s', d.name,
                    coalesce((select string_agg(
                                       format('%s (%s)', o ->> 'agent',
                                              (select string_agg(m.model, ', ')
                                                 from jsonb_array_elements_text(o -> 'models') m (model))),
                                       ', ')
                                from jsonb_array_elements(d.agents) e (o)),
                             case when d.platform is null then 'never started' else 'nothing' end)),
             '; ' order by d.name)
      into v_names
      from unnest(v_were) x
      join public.mesh_devices d on d.name = x.device;
    return query select
      format('no device offers %s', v_wants),
      hub_internal.shorten(
        format('Offered by those that serve this server: %s. Start a worker that has it, or give the task to '
               'another.', v_names), 1000),
      null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := hub_internal.left_with_project(v_were, p_lane.project, v_online);
  if cardinality(v_left) = 0 then
    return query select * from hub_internal.explain_project(v_were, p_lane.project, v_online);
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.device = any (v_online));
  if cardinality(v_left) = 0 then
    select string_agg(format('%s has %s for it and ', x.device, x.agent)
                        || case when x.offline_at > p_now
                                then format('was not heard of since %s: is its worker running?',
                                            hub_internal.moment_text(d.last_heartbeat_at))
                                else format('is offline: `hub worker --device %s`', x.device) end,
                      '; ' order by x.device)
      into v_names
      from unnest(v_were) x
      join public.mesh_devices d on d.name = x.device;
    return query select
      case when p_lane.device is not null then format('device %s is not online', p_lane.device)
           when p_lane.platform <> 'any' then format('no device online with platform %s', p_lane.platform)
           when cardinality(v_online) > 0 then 'no device online that could take it'
           else 'no device online' end,
      hub_internal.shorten(
        v_names
          || case when p_lane.device is not null
                  then '. ' || hub_internal.pin_text(p_task, p_lane.device, p_now)
                  else '' end, 1000),
      null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.accepts);
  if cardinality(v_left) = 0 then
    return query select * from hub_internal.explain_draining(v_were);
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.has_project);
  if cardinality(v_left) = 0 then
    select string_agg(x.device, ', ' order by x.device) into v_names from unnest(v_were) x;
    return query select
      format('waiting for a device to look for the project %s', p_lane.project),
      hub_internal.shorten('Asked, and answers with its next heartbeat: ' || v_names, 1000),
      null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.has_disk);
  if cardinality(v_left) = 0 then
    select string_agg(format('free %s on %s, which has %s of %s',
                             hub_internal.size_text(v_floor - d.disk_free_bytes), d.name,
                             hub_internal.size_text(d.disk_free_bytes), hub_internal.size_text(v_floor)),
                      '; ' order by d.name)
      into v_names
      from unnest(v_were) x
      join public.mesh_devices d on d.name = x.device;
    return query select
      'no device has enough free disk'::text, hub_internal.shorten(v_names, 1000), null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.has_memory);
  if cardinality(v_left) = 0 then
    select string_agg(format('free %s of memory on %s: %s needs more than the %s that are free',
                             hub_internal.size_text((o.offer ->> 'memory_bytes')::numeric
                                                      - d.memory_free_bytes),
                             d.name, x.agent, hub_internal.size_text(d.memory_free_bytes)),
                      '; ' order by d.name)
      into v_names
      from unnest(v_were) x
      join public.mesh_devices d on d.name = x.device
     cross join lateral (select hub_internal.offer(d.agents, p_lane.agent, x.as_model) as offer) o;
    return query select
      'no device has enough free memory'::text, hub_internal.shorten(v_names, 1000), null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where not x.yields);
  if cardinality(v_left) = 0 then
    select string_agg(x.device, ', ' order by x.device) into v_names from unnest(v_were) x;
    return query select
      'left to a device with an agent for it'::text,
      hub_internal.shorten(v_names || ' could only run survey, and another is there', 1000),
      null::timestamptz;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.within_budget and x.has_room);
  if cardinality(v_left) = 0 then
    return query select * from hub_internal.explain_budget(v_were, p_lane, p_now);
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.logged_in and x.within_limits);
  if cardinality(v_left) = 0 then
    return query select * from hub_internal.explain_stops(v_were, p_lane);
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where x.is_free);
  if cardinality(v_left) = 0 then
    select string_agg(format('%s, by %s', x.device, left(t.id::text, 4)), '; ' order by x.device),
           min(t.lease_expires_at)
      into v_names, v_until
      from unnest(v_were) x
      join public.mac_tasks t on t.claimed_by = x.device and t.status = 'running' and t.project = x.place
                             and t.agent <> 'survey';
    return query select
      format('%s is worked in in place, one task at a time', p_lane.project),
      hub_internal.shorten(
        format('It is at work on %s. With a git repository in that folder each task has a worktree of its own.',
               v_names), 1000),
      v_until;
    return;
  end if;

  v_were := v_left;
  v_left := array(select x from unnest(v_were) x where hub_internal.held_count(x.device) < x.capacity);
  if cardinality(v_left) = 0 then
    select string_agg(format('%s %s/%s', x.device, hub_internal.held_count(x.device), x.capacity),
                      ', ' order by x.device)
      into v_names
      from unnest(v_were) x;
    return query select
      'all devices at capacity'::text,
      hub_internal.shorten(v_names || '; it waits until one of their tasks ends', 1000),
      (select min(r.lease_expires_at)
         from public.mac_tasks r
        where r.claimed_by in (select x.device from unnest(v_were) x) and r.status = 'running');
    return;
  end if;

  if p_task.run_after > p_now then
    return;
  end if;
  select count(*) into v_ahead
    from (select from public.mac_tasks a
           where a.lane = p_task.lane
             and a.status = 'pending'
             and a.run_after is null
             and a.queue_key < p_task.queue_key
           limit 1000) a;
  select string_agg(x.device, ', ' order by x.device) into v_names from unnest(v_left) x;
  return query select
    'claimable'::text,
    hub_internal.shorten(v_names, 1000) || ' could take it; '
      || case v_ahead when 0 then 'nothing is'
                      when 1000 then '1000 or more tasks are'
                      else v_ahead || ' task(s) are' end
      || ' ahead of it in its lane',
    null::timestamptz;
end;
$$;

create function hub_internal.explain_own(p_task_id uuid, p_now timestamptz)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_task   public.mac_tasks;
  v_server uuid;
  v_lane   hub_internal.lanes;
  -- As a person does it in a terminal, and a program through the API.
  v_short  constant text := left(p_task_id::text, 8);
  v_cancel constant text := format('hub task cancel %s (hub_cancel_task)', v_short);
begin
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  select c.server_id into v_server from public.hub_channels c where c.id = v_task.channel_id;
  if v_task.id is null
     or not (hub_internal.is_trusted()
             or case when v_task.channel_id is null then v_task.created_by = hub_internal.person()
                     else hub_internal.may_read(v_server) end) is true then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', coalesce(p_task_id::text, 'null')),
      'Check the id, and that you may read its server.');
  end if;

  if v_task.status = 'running' then
    if v_task.lease_expires_at is null then
      return query select
        format('running on %s, without a lease', coalesce(v_task.claimed_by, 'an unnamed executor')),
        format('An executor of the older kind has it; it is never taken away. To end it: %s.', v_cancel),
        null::timestamptz;
    elsif v_task.lease_expires_at < p_now then
      return query select
        'older than its lease'::text,
        format('%s has not been heard of; the task is taken back by whoever keeps time here (hub_recover), '
               'within seconds.', v_task.claimed_by),
        v_task.lease_expires_at;
    else
      return query select
        format('running on %s', v_task.claimed_by),
        format('attempt %s of %s by %s since %s', v_task.attempt, v_task.max_attempts, v_task.agent,
               hub_internal.moment_text(v_task.claimed_at)),
        v_task.lease_expires_at;
    end if;
    if v_task.cancel_requested_at is not null then
      return query select
        'cancel requested'::text, 'Its device stops it when it next reports.', v_task.lease_expires_at;
    end if;
    return query select * from hub_internal.explain_asks(v_task.id);
    return;
  elsif v_task.status = 'blocked' then
    return query select * from hub_internal.explain_needs(v_task);
    return;
  elsif v_task.status = 'waiting' then
    return query select * from hub_internal.explain_asks(v_task.id);
    if found then
      return;
    end if;
    return query select
      'waiting for an answer'::text,
      coalesce(v_task.partial_output, format('Its executor says for what. To end it: %s.', v_cancel)),
      null::timestamptz;
    return;
  elsif v_task.status = 'failed'
        and (select a.reason from public.hub_task_attempts a
              where a.task_id = v_task.id and a.attempt = v_task.attempt) = 'verify' then
    return query select
      'verification failed'::text,
      coalesce((select hub_internal.last_line(a.receipt #>> '{verify,tail}')
                  from public.hub_task_attempts a
                 where a.task_id = v_task.id and a.attempt = v_task.attempt),
               hub_internal.task_reason(v_task))
        || format('; to have it tried again: hub task retry %s (hub_retry_task)', v_short),
      v_task.finished_at;
    return;
  elsif v_task.status <> 'pending' then
    return query select
      v_task.status,
      case v_task.status
        when 'complete' then coalesce('finished on ' || v_task.claimed_by,
                                     case when v_task.team_id is not null and v_task.attempt = 0
                                          then 'what its parts did is its result' else 'finished' end)
        else format('%s; to have it tried again: hub task retry %s (hub_retry_task)',
                    rtrim(coalesce(nullif(v_task.error, ''), 'no reason given'), E'. \n'), v_short) end,
      v_task.finished_at;
    return;
  end if;

  -- Pending. First what time alone will mend, then the machines.
  if v_task.run_after > p_now then
    return query select
      'backing off'::text,
      format('attempt %s of %s failed: %s', v_task.attempt, v_task.max_attempts,
             hub_internal.shorten(hub_internal.one_line(coalesce(v_task.error, '—')), 200)),
      v_task.run_after;
  end if;
  select l.* into v_lane from hub_internal.lanes l where l.id = v_task.lane;
  if not found then
    return query select
      'not in the queue yet'::text,
      'It came in with the triggers off; whoever keeps time here (hub_recover) puts it in its lane.',
      null::timestamptz;
    return;
  end if;
  return query select * from hub_internal.explain_way(v_lane, p_now);
  return query select * from hub_internal.explain_lane(v_task, v_lane, p_now);
end;
$$;
