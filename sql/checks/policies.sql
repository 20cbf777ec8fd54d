-- A policy is of one action, for authenticated, named <table>_<command>_<who>; an update has a with check; one permissive policy an action.
select p.tablename, p.policyname
  from pg_policies p
 where p.schemaname = 'public' and p.tablename ~ '^(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_)'
   and (p.cmd = 'ALL' or p.roles <> '{authenticated}' or p.permissive <> 'PERMISSIVE'
        or p.policyname not like p.tablename || '\_' || lower(p.cmd) || '\_%'
        or (p.cmd = 'UPDATE' and p.with_check is null)
        or exists (select from pg_policies o where o.tablename = p.tablename and o.cmd = p.cmd and o.policyname <> p.policyname));
