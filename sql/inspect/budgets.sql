-- Budgets: how each stands in its period, how many tasks ask for more of it and how many lanes it holds; then who stands back for others.
-- Good: what is met is asked about (asks), or nothing waits for it; the ledger is empty, or a moment old.
select coalesce(v.name, 'the deployment') as server, b.scope, left(b.subject, 40) as subject, b.measure, s.used, s.level, b.per, s.until, s.met,
       (select count(*) from public.hub_asks a where a.budget_id = b.id and a.state = 'open') as asks,
       (select count(*) from hub_internal.lanes l where l.held_by = b.id or b.scope = 'agent' and l.server_id = b.server_id and b.subject = any (l.held_agents))
         as lanes
  from public.hub_budget_state() s
  join public.hub_budgets b on b.id = s.id
  left join public.hub_servers v on v.id = b.server_id
 order by s.met desc, s.used / s.level desc, b.id
 limit 100;

select count(*) as in_the_ledger, date_trunc('second', now() - min(s.at)) as since from hub_internal.spendings s;

select v.name as server, u.project, u.delay as stands_back, round(u.used::numeric / 3600, 1) as hours_used
  from hub_internal.share_use u
  left join public.hub_servers v on v.id = u.server_id
 where u.delay > interval '0'
 order by u.delay desc
 limit 50;
