-- Triggers are <table>_<effect>, indexes <table>_<purpose>_idx, check constraints <table>_<rule>_check.
select t.tgrelid::regclass, t.tgname as name
  from pg_trigger t join pg_class c on c.oid = t.tgrelid
 where not t.tgisinternal and c.relnamespace in ('public'::regnamespace, 'hub_internal'::regnamespace)
   and c.relname ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_|settings|lanes)' and t.tgname not like c.relname || '\_%'
union all
select c.oid::regclass, i.indexrelid::regclass::text
  from pg_index i join pg_class c on c.oid = i.indrelid join pg_class x on x.oid = i.indexrelid
 where c.relnamespace = 'public'::regnamespace and c.relname ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_)'
   and not exists (select from pg_constraint k where k.conindid = i.indexrelid) and x.relname not like c.relname || '\_%\_idx'
union all
select c.oid::regclass, k.conname
  from pg_constraint k join pg_class c on c.oid = k.conrelid
 where k.contype = 'c' and c.relnamespace = 'public'::regnamespace and c.relname ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_)' and k.conname not like c.relname || '\_%\_check';
