-- Which agents get no tasks, where, since when and until when, how is that known, and how many tasks may wait for it?
-- Good: no rows, or limits that end soon. login: log the agent in on that machine, then `hub agents check AGENT` there; or, if it is well,
-- `select hub_report_login('DEVICE', 'AGENT', true)`. limit: it ends by itself. One that is wrong is over a minute after
-- `select hub_report_rate_limit('DEVICE', 'AGENT', 'MODEL' or null, now(), 'mended by hand', p_window => 'WINDOW' or null)`.
-- kept for people: what is left of the account is the reserve of one of its machines; a lower one in its configuration frees it at its restart.
-- over_but_not_told: since when it is over without that anybody was told: no keeper runs; `select hub_recover()`.

select s.device, s.agent, s.reason, coalesce(s.model, 'all') as model, s.window_name,
       date_trunc('second', s.since) as since, date_trunc('second', s.until) as until, s.source,
       (select count(*)
          from hub_internal.device_offers o
          join public.mac_tasks t on t.lane = o.lane and t.status = 'pending'
         where o.device = s.device and o.agent = s.agent and o.is_current and o.serves and not (o.within_limits and o.logged_in)) as waiting,
       null::interval as over_but_not_told,
       hub_internal.shorten(s.detail, 80) as detail
  from public.hub_agent_stops() s
union all
select q.reported_by, q.agent, 'over', coalesce(q.model, 'all'), q.window_name,
       date_trunc('second', q.limited_since), date_trunc('second', q.limited_until), q.source,
       null, date_trunc('second', now() - q.limited_until), hub_internal.shorten(q.reason, 80)
  from public.mesh_quota_pools q
 where q.limited_until < now() - interval '2 minutes' and q.lifted_at is null
 order by 1, 2, 3;
