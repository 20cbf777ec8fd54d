-- Which machines are there, are they alive, how much of them is in use?
-- Good: silent_for below a minute for those that should be on; busy below capacity while queue.sql shows nothing old.

select d.name, d.platform, d.capacity,
       hub_internal.held_count(d.name) as busy,
       date_trunc('second', now() - d.last_heartbeat_at) as silent_for,
       case when d.revoked_at is not null then 'revoked' when d.drained_at is not null then 'draining'
            when d.last_heartbeat_at > now() - hub_internal.setting('device_offline_after') then 'online' else 'offline' end as state,
       case when d.serves_all then 'all' else coalesce((select string_agg(s.name, ', ' order by s.name) from public.mesh_device_servers e
                                                          join public.hub_servers s on s.id = e.server_id where e.device = d.name), 'none') end as serves,
       (select string_agg(o ->> 'agent', ', ') from jsonb_array_elements(d.agents) e (o)) as agents
  from public.mesh_devices d
 order by d.name;
