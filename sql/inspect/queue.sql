-- How deep and how old is the queue, lane by lane (a lane: server, project, model, agent, platform, pinned device)?
-- instead: the model that its tasks run as, while their own is at its limit everywhere.
-- Good: oldest below a few minutes; "takers" above 0 in each row (machines that are online and serve the lane).

select l.id as lane,
       coalesce(s.name, 'none') as server, coalesce(l.project, '-') as project, l.model, coalesce(l.agent, '-') as agent, l.platform, coalesce(l.device, '-') as pinned_to,
       l.runs_as as instead,
       count(*) filter (where t.run_after is null)              as claimable,
       count(*) filter (where t.run_after is not null)          as backing_off,
       date_trunc('second', now() - min(t.created_at))          as oldest,
       (select count(*) from hub_internal.device_lanes x
         where x.lane = l.id and x.eligible and x.accepts and x.offline_at > now()) as takers
  from public.mac_tasks t
  join hub_internal.lanes l on l.id = t.lane
  left join public.hub_servers s on s.id = l.server_id
 where t.status = 'pending'
 group by l.id, s.name
 order by min(t.queue_key);
