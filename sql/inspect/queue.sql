-- How deep and how old is the queue, lane by lane (a lane: server, project, model, agent, platform, pinned device)?
-- Good: oldest below a few minutes; "takers" above 0 in each row (machines that are online and serve the lane).

select l.id as lane,
       coalesce(s.name, 'none') as server, coalesce(l.project, '-') as project, l.model, coalesce(l.agent, '-') as agent, l.platform, coalesce(l.device, '-') as pinned_to,
       count(*) filter (where t.run_after is null)              as claimable,
       count(*) filter (where t.run_after is not null)          as backing_off,
       date_trunc('second', now() - min(t.created_at))          as oldest,
       (select count(*) from public.mesh_devices d
         where d.revoked_at is null and d.drained_at is null
           and d.last_heartbeat_at > now() - hub_internal.setting('device_offline_after')
           and l.platform in ('any', d.platform) and (l.device is null or l.device = d.name)
           and hub_internal.serves(d, l.server_id) and (l.server_id is null or hub_internal.has_folder(l.server_id, l.project, d.name))
           and hub_internal.offered_agent(d.agents, l.agent, l.model) is not null) as takers
  from public.mac_tasks t
  join hub_internal.lanes l on l.id = t.lane
  left join public.hub_servers s on s.id = l.server_id
 where t.status = 'pending'
 group by l.id, s.name
 order by min(t.queue_key);
