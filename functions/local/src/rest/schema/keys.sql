-- Primary, unique and foreign keys of every schema, also of those that are not exposed: views lead there. One JSON array.
with keyed as (
  select k.oid, k.conrelid, k.conname, k.contype, k.conkey, k.confrelid, k.confkey, k.conparentid,
         c.relname, n.nspname
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class c on c.oid = k.conrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where k.contype in ('p', 'u', 'f')
     and n.nspname not in ('pg_catalog', 'information_schema')
)
select coalesce(json_agg(json_build_object(
         'of', k.conrelid::bigint,
         'schema', k.nspname,
         'table', k.relname,
         'name', k.conname,
         'kind', k.contype,
         'columns', (select json_agg(json_build_array(a.attnum, a.attname) order by u.n)
                       from unnest(k.conkey) with ordinality u (num, n)
                       join pg_catalog.pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.num),
         'to', case when k.contype = 'f' then json_build_object(
           'of', k.confrelid::bigint,
           'schema', n.nspname,
           'table', c.relname,
           'columns', (select json_agg(json_build_array(a.attnum, a.attname) order by u.n)
                         from unnest(k.confkey) with ordinality u (num, n)
                         join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.num),
           -- A partition's copy of its parent's key is no way of its own.
           'own', k.conparentid = 0) end)
         order by k.conrelid, k.conname), '[]')::text
  from keyed k
  left join pg_catalog.pg_class c on c.oid = k.confrelid
  left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
