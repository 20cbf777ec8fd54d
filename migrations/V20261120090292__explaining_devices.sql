-- Why: which machines a person is told of where those that have the project are offline, or where those that
-- could take a task take nothing new. Asked by …explaining.

-- A task that is for one machine is so because its session is there, or because an operator said so.
create function hub_internal.is_in_session(p_task public.mac_tasks, p_device text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return p_task.session_id is not null and p_task.session_device is not distinct from p_device;
end;
$$;

create function hub_internal.pin_text(p_task public.mac_tasks, p_device text, p_now timestamptz)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return case
    when hub_internal.is_in_session(p_task, p_device)
      then format('The session this task goes on with is there; once it was away for %s, the task goes on '
                  'elsewhere with a brief.',
                  hub_internal.age_text(p_now, p_now + hub_internal.setting('session_wait')))
    else format('An operator chose it: `hub task route %s --device any` (hub_route_task) lets others take '
                'it.', hub_internal.task_short(p_task.id)) end;
end;
$$;

-- Of machines that could do it but for the project and what passes, those to look at further. One that is
-- offline and never said whether it has the project does not stand before those that are there and lack
-- nothing but the folder.
create function hub_internal.left_with_project(
  p_left hub_internal.device_lanes[], p_project text, p_online text[])
  returns hub_internal.device_lanes[]
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_here boolean := exists (select
                              from unnest(p_left) x
                             where x.device = any (p_online)
                               and x.accepts
                               and x.has_disk
                               and x.has_memory
                               and not x.has_project
                               and not x.must_look);
begin
  return array(select x
                 from unnest(p_left) x
                where (x.has_project or x.must_look)
                  and (not v_here
                       or x.device = any (p_online)
                       or exists (select from hub_internal.device_projects p
                                   where p.device = x.device and p.project = p_project and p.present)));
end;
$$;

-- Where that leaves none.
create function hub_internal.explain_project(
  p_left hub_internal.device_lanes[], p_project text, p_online text[])
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_here  text;
  v_there text;
begin
  select string_agg(x.device, ', ' order by x.device = any (p_online) desc, x.device)
           filter (where not x.has_project and not x.must_look),
         string_agg(format('%s (`hub worker --device %s`)', x.device, x.device), ', ' order by x.device)
           filter (where x.has_project or x.must_look)
    into v_here, v_there
    from unnest(p_left) x;
  return query select
    format('no device has the project %s', p_project),
    hub_internal.shorten(
      format('Make the folder %s below the projects root of one of them; it looks again within seconds: %s',
             p_project, v_here)
        || coalesce('. Or start one that is offline and may have it: ' || v_there, ''), 1000),
    null::timestamptz;
end;
$$;

-- Machines that could do it, but take nothing new: an operator said so, or their workers stop.
create function hub_internal.explain_draining(p_left hub_internal.device_lanes[])
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_drained  text;
  v_stopping text;
begin
  select string_agg(d.name, ', ' order by d.name) filter (where d.drained_at is not null)
           || '; `hub device drain NAME --undo`, or hub_drain_device(name, false), lets one work again',
         string_agg(format('%s is stopping: `hub worker --device %s` starts it again', d.name, d.name),
                    '; ' order by d.name) filter (where d.drained_at is null)
    into v_drained, v_stopping
    from unnest(p_left) x
    join public.mesh_devices d on d.name = x.device;
  return query select
    case when v_stopping is null then 'all devices are draining'
         when v_drained is not null then 'all devices are draining or stopping'
         when cardinality(p_left) = 1 then format('%s is stopping', p_left[1].device)
         else 'all devices are stopping' end,
    hub_internal.shorten(concat_ws('; ', v_drained, v_stopping), 1000),
    null::timestamptz;
end;
$$;
