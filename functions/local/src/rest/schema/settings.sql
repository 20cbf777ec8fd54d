-- The `pgrst.*` of the role that asks, and what is set for the roles that it may become, as far as it may set that.
select json_build_object(
         'settings', coalesce((select json_agg(json_build_array(s.name, s.value) order by d.setdatabase)
           from pg_catalog.pg_db_role_setting d
          cross join lateral unnest(d.setconfig) k (said)
          cross join lateral (select split_part(k.said, '=', 1) as name, substr(k.said, strpos(k.said, '=') + 1) as value) s
          where d.setrole = (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)
            and d.setdatabase in (0, (select b.oid from pg_catalog.pg_database b where b.datname = current_database()))
            and s.name like 'pgrst.%'), '[]'),
         'roles', coalesce((select json_agg(json_build_array(r.rolname, s.name, s.value))
           from pg_catalog.pg_auth_members m
           join pg_catalog.pg_roles r on r.oid = m.roleid
          cross join lateral unnest(r.rolconfig) k (said)
          cross join lateral (select split_part(k.said, '=', 1) as name, substr(k.said, strpos(k.said, '=') + 1) as value) s
           join pg_catalog.pg_settings p on p.name = s.name
          where m.member = (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)
            and (p.context = 'user' or pg_catalog.has_parameter_privilege(p.name, 'set'))), '[]'))::text
