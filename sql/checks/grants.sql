-- People write columns, never whole tables: a column added later must not be theirs by accident.
select g.table_name, g.grantee, g.privilege_type
  from information_schema.role_table_grants g
 where g.table_schema in ('public', 'hub_internal') and g.table_name ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_)'
   and g.grantee in ('anon', 'authenticated', 'PUBLIC') and g.privilege_type in ('INSERT', 'UPDATE', 'TRUNCATE', 'TRIGGER', 'REFERENCES');
