-- What `hub migrate --repair` puts right, as name and state: rights, row level security, policies, triggers, the publication.
with ours as (
  select c.oid, c.oid::regclass::text as name, c.relkind, c.relowner, c.relacl, c.relrowsecurity
    from pg_class c
   where c.relkind in ('r', 'p', 'S', 'v')
     and (c.relnamespace = 'hub_internal'::regnamespace
          or c.relnamespace = 'public'::regnamespace and c.relname ~ '^(hub|mesh|mac|koji)_')
)
select 'rights of ' || o.name,
       concat_ws(' ', case when o.relkind in ('r', 'p') then 'row level security ' || o.relrowsecurity end,
         (select string_agg(a::text, ' ' order by a::text)
            from unnest(coalesce(o.relacl, acldefault(case o.relkind when 'S' then 's'::"char" else 'r' end, o.relowner))) a),
         (select string_agg(t.attname || ' ' || a::text, ' ' order by t.attname, a::text)
            from pg_attribute t, unnest(t.attacl) a where t.attrelid = o.oid))
  from ours o
union all
select 'rights of ' || p.oid::regprocedure,
       (select string_agg(a::text, ' ' order by a::text) from unnest(coalesce(p.proacl, acldefault('f', p.proowner))) a)
  from pg_proc p
 where p.pronamespace = 'hub_internal'::regnamespace or p.pronamespace = 'public'::regnamespace and p.proname like 'hub\_%'
union all
select 'rights of schema hub_internal', (select string_agg(a::text, ' ' order by a::text) from unnest(n.nspacl) a)
  from pg_namespace n where n.nspname = 'hub_internal'
union all
select format('policy %s on %s', p.polname, p.polrelid::regclass),
       concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  from pg_policy p
 where p.polrelid in (select o.oid from ours o) or p.polname like 'hub\_messages\_%'
union all
select format('trigger %s on %s', t.tgname, t.tgrelid::regclass), concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
  from pg_trigger t where not t.tgisinternal and t.tgrelid in (select o.oid from ours o)
union all
select format('%s.%s in the publication %s', p.schemaname, p.tablename, p.pubname), 'yes'
  from pg_publication_tables p where p.pubname = 'supabase_realtime'
