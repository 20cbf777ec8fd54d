-- Machines of the mesh, each with the servers it is enrolled for and what it runs now.
select to_jsonb(d) || jsonb_build_object(
         'servers', coalesce((select jsonb_agg(e.server_id) from public.mesh_device_servers e where e.device = d.name), '[]'),
         'running', hub_internal.held_count(d.name)
       ) as "row!: Json<Device>"
  from public.mesh_devices d
 order by d.name
