-- The query that !stats is, with nothing around it.
select count(*), count(*) filter (where p.tier = 'hot'), count(*) filter (where p.tier = 'warm'), count(*) filter (where p.tier = 'cold'),
       (select coalesce(sum(o.amount_cents), 0) / 100 from koji_orders o
         where o.server_id = (select id from hub_servers where name = 'koji-pipeline') and o.ordered_at >= date_trunc('month', now()))
  from koji_prospects p where p.server_id = (select id from hub_servers where name = 'koji-pipeline') and p.stage not in ('won', 'lost');
