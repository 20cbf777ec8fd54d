-- A time has a zone.
select a.attrelid::regclass, a.attname
  from pg_attribute a join pg_class c on c.oid = a.attrelid
 where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'hub_internal'::regnamespace)
   and a.atttypid = 'timestamp'::regtype and a.attnum > 0 and not a.attisdropped and c.relname ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_|settings|lanes)';
