-- Pools, budgets, shares and needs, as a deployment has them that uses all of it: none is met, each is looked at. Accounts have used
-- a part of their windows, and one model of them is at its limit; each server, its projects, channels and agents have budgets,
-- and bounds of how many run at once that are smaller than what all machines could run; weights. Tasks that need others: limits_needs.sql.
insert into hub_internal.device_accounts (device, agent, account, program)
select d.name, 'claude', 'account ' || right(d.name, 1), 'claude' from public.mesh_devices d where d.name ~ '^bench';
insert into public.mesh_quota_pools (account, servers, agent, model, window_name, used_share, source, reported_by, reported_at, resets_at)
select a.account, hub_internal.account_party(a.device, a.account), 'claude', null, w.name, 0.4, 'structured', a.device, now(), now() + interval '1 hour'
  from hub_internal.device_accounts a, unnest(array['five_hour', 'seven_day']) w (name) where a.device ~ '^bench';
insert into public.mesh_quota_pools
  (account, servers, agent, model, window_name, used_share, limited_since, limited_until, source, reason, reported_by, reported_at)
select a.account, hub_internal.account_party(a.device, a.account), 'claude', 'opus', 'five_hour', 1, now(), now() + interval '1 day', 'structured', 'used up', a.device, now()
  from hub_internal.device_accounts a where a.device ~ '^bench';
insert into public.hub_budgets (server_id, scope, subject, measure, amount, per)
select null::uuid, 'deployment', '', m.measure, m.amount, m.per
  from (values ('cost', 1e9, 'month'), ('tokens', 1e14, 'day'), ('seconds', 1e12, 'day'), ('running', 5000, null)) m (measure, amount, per);
insert into public.hub_budgets (server_id, scope, subject, measure, amount, per)
select s.id, x.scope, x.subject, m.measure, m.amount, m.per
  from public.hub_servers s
 cross join lateral (select 'server', ''
                     union all
                     select distinct 'project', c.project_path from public.hub_channels c where c.server_id = s.id and c.project_path is not null
                     union all
                     select 'channel', c.id::text from public.hub_channels c where c.server_id = s.id
                     union all
                     select 'agent', 'claude') x (scope, subject)
 cross join (values ('cost', 1e9, 'month'), ('tokens', 1e14, 'day'), ('seconds', 1e12, 'day'), ('running', 5000, null)) m (measure, amount, per)
 where s.name ~ '^(life|drain|backlog)';
insert into public.hub_shares (server_id, project, weight) select s.id, null, 2 from public.hub_servers s where s.name ~ '^(life|drain|backlog)';
select hub_internal.note_met(now());
select hub_internal.weigh_lanes(now(), 1000);
select hub_internal.share_out(now(), 1000);
vacuum analyze;
