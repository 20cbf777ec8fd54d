-- Views of the schemas $1 (exposed) and $2 with what they are made of: the tree of each, and its columns.
select c.oid::bigint as "of", n.nspname::text as "schema", c.relname::text as "name", n.nspname = any ($1) as "exposed",
       r.ev_action::text as "tree",
       array(select a.attname::text
               from pg_catalog.pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0
              order by a.attnum) as "columns"
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  join pg_catalog.pg_rewrite r on r.ev_class = c.oid and r.ev_type = '1'
 where c.relkind in ('v', 'm')
   and n.nspname = any ($1 || $2)
