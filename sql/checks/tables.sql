-- Every table of ours has row level security, a comment, a primary key, and nothing for anon.
select c.oid::regclass,
       case when not c.relrowsecurity then 'no row level security' when obj_description(c.oid) is null then 'no comment'
            when not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary) then 'no primary key' else 'anon has a grant' end as breaks
  from pg_class c
 where c.relkind in ('r', 'p')
   and ((c.relnamespace = 'hub_internal'::regnamespace and c.relname <> 'refinery_schema_history')
        or (c.relnamespace = 'public'::regnamespace and c.relname ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_)'))
   and (not c.relrowsecurity or obj_description(c.oid) is null
        or not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
        or has_table_privilege('anon', c.oid, 'select, insert, update, delete, truncate, references, trigger'));
