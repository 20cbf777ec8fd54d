-- Who is near what they may write, and what do the quotas say?
-- Good: no bucket above 80 %. One that is: somebody misbehaves, or the amount is too small for them (update hub_internal.quotas).

\echo buckets, the fullest first (level now, of amount)
select s.quota, s.subject, round(greatest(0, s.level - extract(epoch from now() - s.at) * q.amount / extract(epoch from q.per))::numeric, 1) as level, q.amount, q.per,
       round(100 * greatest(0, s.level - extract(epoch from now() - s.at) * q.amount / extract(epoch from q.per))::numeric / nullif(q.amount, 0), 1) as percent,
       date_trunc('second', now() - s.at) as last_used
  from hub_internal.spent s join hub_internal.quotas q on q.name = s.quota
 order by 6 desc nulls last limit 30;

\echo quotas
select q.name, q.amount, q.per, q.about from hub_internal.quotas q order by q.name;
