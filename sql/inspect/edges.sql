-- What comes in and goes out: deliveries by state and age, rules that never match, the outbox by target, dead letters.
-- Good: nothing stored for longer than a minute; no failed delivery, or one whose error you know; each rule matched some time; for each target of a server `oldest`
-- below a minute and `attempt` 1; no dead letters; each bridge `has_place`, or it is stopped (hub_places), and `warned` of nothing. `arrived`: how many messages of a long text are there already. A dead letter starts again with hub_retry_outbox('<id>').

\echo deliveries, of the last seven days
select d.provider, d.event, d.status, count(*), sum((select coalesce(sum(cardinality(o.task_ids)), 0) from public.hub_webhook_outcomes o where o.delivery_id = d.id)) as tasks,
       date_trunc('second', now() - min(d.received_at)) as oldest, date_trunc('second', now() - max(d.received_at)) as newest,
       (array_agg(d.error order by d.received_at desc) filter (where d.error is not null))[1] as newest_reason
  from public.hub_webhook_deliveries d
 where d.received_at > now() - interval '7 days'
 group by d.provider, d.event, d.status
 order by d.status = 'stored' desc, d.status = 'failed' desc, count(*) desc;

\echo deliveries that fail, or that a rule missed since it failed (done, with an error)
select d.id, d.provider, d.event, d.delivery_id, d.status, d.attempt, case d.status when 'stored' then date_trunc('second', d.run_after - now()) end as again_in, d.error
  from public.hub_webhook_deliveries d
 where d.status = 'failed' or (d.status = 'stored' and d.attempt > 0) or (d.status = 'done' and d.error is not null)
 order by d.received_at desc limit 20;

\echo rules that matched nothing for a month, or ever
select r.id, s.name as server, c.name as channel, r.event, r.action, r.repository, r.branch, r.label, r.author, r.enabled, r.last_matched_at, r.created_at::date as made_on
  from public.hub_webhook_rules r join public.hub_servers s on s.id = r.server_id join public.hub_channels c on c.id = r.channel_id
 where coalesce(r.last_matched_at < now() - interval '30 days', true)
 order by r.created_at;

\echo outbox, by server and target (the head is what waits, or is in flight, first; overtaken: webhooks that failed and let others go before)
select s.name as server, o.provider, o.target, count(*) as waiting, count(*) filter (where o.mirror) as mirrored, count(*) filter (where o.overtaken) as overtaken, date_trunc('second', now() - min(o.created_at)) as oldest, h.status as head, h.attempt, h.kind, cardinality(h.parts) as arrived,
       date_trunc('second', h.run_after - now()) as again_in, date_trunc('second', h.lease_expires_at - now()) as lease_left, h.error
  from public.hub_outbox o join public.hub_servers s on s.id = o.server_id
  cross join lateral (select f.* from public.hub_outbox f
                       where f.server_id = o.server_id and f.provider = o.provider and f.target = o.target and f.status in ('pending', 'sending') order by f.overtaken, f.mirror, f.seq limit 1) h
 where o.status in ('pending', 'sending')
 group by s.name, o.provider, o.target, h.status, h.attempt, h.kind, h.parts, h.run_after, h.lease_expires_at, h.error
 order by min(o.created_at) limit 50;

\echo dead letters, and what was summarised
select o.status, o.provider, o.target, o.kind, count(*), max(o.finished_at) as newest, (array_agg(o.id order by o.finished_at desc))[1] as newest_id,
       (array_agg(o.error order by o.finished_at desc))[1] as newest_error
  from public.hub_outbox o
 where o.status in ('dead', 'summarised')
 group by o.status, o.provider, o.target, o.kind
 order by max(o.finished_at) desc limit 50;

\echo bridges
select s.name as server, c.name as channel, b.provider, b.target, b.direction, b.allow_commands, b.starts_tasks, b.mirrors_strangers, b.enabled,
       coalesce(b.secret_name, hub_internal.default_secret(b.provider)) as secret_name,
       hub_internal.bridge_reaches(b) as has_place, b.warned,
       (select date_trunc('second', now() - max(m.created_at)) from hub_internal.bridge_messages m where m.bridge_id = b.id and m.incoming) as last_in,
       (select date_trunc('second', now() - max(o.finished_at)) from public.hub_outbox o where o.bridge_id = b.id and o.status = 'sent') as last_out
  from public.hub_bridges b join public.hub_servers s on s.id = b.server_id join public.hub_channels c on c.id = b.channel_id
 order by s.name, c.name, b.provider, b.target;

\echo hook tokens
select t.id, t.name, cardinality(t.targets) as targets, t.created_by, t.created_at::date as made_on, date_trunc('second', now() - t.last_used_at) as last_used, t.revoked_at
  from public.hub_hook_tokens t
 order by t.created_at;
