-- Every errand has its function: a moment and how many at most, giving how many it did.
select e.name, e.function
  from public.hub_errands e
 where e.function is not null
   and not exists (select from pg_proc p
                    where p.oid = to_regprocedure(e.function || '(timestamptz, integer)') and p.prorettype = 'integer'::regtype)
union all
-- Who is woken for one is woken for a row of it.
select p.oid::regprocedure::text, w.m[1]
  from pg_proc p
 cross join lateral regexp_matches(p.prosrc, $e$wake_errand\('([a-z_]+)'\)$e$, 'g') as w (m)
 where p.pronamespace = 'hub_internal'::regnamespace
   and not exists (select from public.hub_errands e where e.name = w.m[1] and e.wakes);
