-- Why: which machines a person is told of where those that could take a task take nothing new. Asked by …explaining.

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
