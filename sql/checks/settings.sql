-- A body with a backslash in a plain literal means another thing where standard_conforming_strings is off: it sets that, or writes E''.
select p.oid::regprocedure, 'depends on standard_conforming_strings' as breaks
  from pg_proc p
 where (p.pronamespace = 'hub_internal'::regnamespace or (p.pronamespace = 'public'::regnamespace and p.proname like 'hub\_%'))
   and not coalesce('standard_conforming_strings=on' = any (p.proconfig), false)
   -- What is left without E'' literals and comments.
   and regexp_replace(regexp_replace(p.prosrc, $e$\m[eE]'(?:[^'\\]|''|\\.)*'$e$, '', 'g'), $c$--[^'\n]*$$c$, '', 'gn') like E'%\\\\%';
