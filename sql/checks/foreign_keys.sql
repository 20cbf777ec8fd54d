-- Every foreign key has an index that begins with its column, or deleting the other side reads this whole table. Left out: lanes, which are few.
select k.conrelid::regclass, k.conname
  from pg_constraint k
 where k.contype = 'f' and k.connamespace = 'public'::regnamespace
   and k.conrelid::regclass::text ~ '^(public\.)?(hub_(?!threads$|messages$)|mac_tasks|mesh_|koji_)'
   and not exists (select from pg_index i where i.indrelid = k.conrelid and i.indkey[0] = k.conkey[1]);
