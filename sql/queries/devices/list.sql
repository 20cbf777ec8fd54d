-- Machines of the mesh, each with the servers it is enrolled for, what it runs now, and what keeps its agents from more.
with stops as materialized (select s.device, jsonb_agg(to_jsonb(s)) as all_of_it from public.hub_agent_stops() s group by s.device)
select to_jsonb(d) || jsonb_build_object(
         'servers', coalesce((select jsonb_agg(e.server_id) from public.mesh_device_servers e where e.device = d.name), '[]'),
         'running', hub_internal.held_count(d.name),
         'stops', coalesce((select s.all_of_it from stops s where s.device = d.name), '[]')
       ) as "row!: Json<Device>"
  from public.mesh_devices d
 order by d.name
