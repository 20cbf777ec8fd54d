-- A time that clients read is a moment: infinity is none in JSON, and takes clients down that read it.
select c.oid::regclass as relation, a.attname, x.n as rows
  from pg_class c
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
 cross join lateral (select (xpath('/row/n/text()', query_to_xml(format('select count(*) as n from %s where not isfinite(%I)', c.oid::regclass, a.attname), false, true, '')))[1]::text::bigint as n) x
 where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and c.relname ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_)' and x.n > 0;
