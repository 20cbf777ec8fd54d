-- Which machines are there, are they alive, how much of them is in use, and what keeps work from them?
-- Good: silent_for below a minute for those that should be on; busy below capacity while queue.sql shows nothing old; has_disk true;
-- stopped empty: agents that are not logged in or at a limit (limits.sql says until when);
-- lacks empty: projects that wait and that it said it does not have. to_ask: projects it has yet to look for, gone with its next beat.

select d.name, d.platform, d.capacity,
       hub_internal.held_count(d.name) as busy,
       date_trunc('second', now() - d.last_heartbeat_at) as silent_for,
       case when d.revoked_at is not null then 'revoked'
            when d.signed_off_at is not null then 'signed off'
            when d.last_heartbeat_at > now() - hub_internal.setting('device_offline_after') is not true then 'offline'
            when d.drained_at is not null then 'draining'
            when d.stopping_at is not null then 'stopping' else 'online' end as state,
       pg_size_pretty(d.disk_free_bytes) as free_disk, pg_size_pretty(d.memory_free_bytes) as free_memory,
       x.has_disk, x.lacks, x.to_ask,
       (select string_agg(distinct s.agent || ' ' || s.reason, ', ') from public.hub_agent_stops() s where s.device = d.name) as stopped,
       case when d.serves_all then 'all' else coalesce((select string_agg(s.name, ', ' order by s.name) from public.mesh_device_servers e
                                                          join public.hub_servers s on s.id = e.server_id where e.device = d.name), 'none') end as serves,
       (select string_agg(o ->> 'agent', ', ') from jsonb_array_elements(d.agents) e (o)) as agents
  from public.mesh_devices d
 cross join lateral (
   select coalesce(bool_and(o.has_disk), true) as has_disk,
          string_agg(distinct l.project, ', ') filter (where not o.has_project and not o.must_look and o.serves and o.has_folder) as lacks,
          count(distinct l.project) filter (where o.must_look and o.serves and o.has_folder) as to_ask
     from hub_internal.device_offers o
     join hub_internal.lanes l on l.id = o.lane
    where o.device = d.name and o.is_current) x
 order by d.name;
