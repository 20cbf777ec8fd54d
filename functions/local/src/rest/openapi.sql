-- What of the schema $1 the current role may use, as one JSON object: names of tables, ids of functions.
select json_build_object(
         'tables', coalesce((select json_agg(c.relname)
           from pg_catalog.pg_class c
          where c.relnamespace = n.oid
            and c.relkind in ('r', 'v', 'm', 'f', 'p')
            and (pg_catalog.has_table_privilege(c.oid, 'select, insert, update, delete')
              or pg_catalog.has_any_column_privilege(c.oid, 'select, insert, update'))), '[]'),
         'functions', coalesce((select json_agg(p.oid::bigint)
           from pg_catalog.pg_proc p
          where p.pronamespace = n.oid
            and pg_catalog.has_function_privilege(p.oid, 'execute')), '[]'))::text
  from (select (select s.oid from pg_catalog.pg_namespace s where s.nspname = $1) as oid) n
