-- Every command of the registry has its function: the channel's id and the words behind the name, as text.
select k.name, k.function
  from public.koji_commands k
 where not exists (select from pg_proc p
                    where p.oid = to_regprocedure(k.function || '(uuid, text[])') and p.prorettype = 'text'::regtype);
