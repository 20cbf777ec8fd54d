-- Every function of ours states an empty search_path, is not public's to execute, and, in public, runs as its caller and has a comment.
select p.oid::regprocedure,
       case when not coalesce('search_path=""' = any (p.proconfig), false) then 'no empty search_path'
            when p.pronamespace = 'public'::regnamespace and p.prosecdef then 'a definer the API exposes'
            when p.pronamespace = 'public'::regnamespace and obj_description(p.oid) is null then 'no comment'
            else 'anon or everybody may execute it' end as breaks
  from pg_proc p
 where (p.pronamespace = 'hub_internal'::regnamespace or (p.pronamespace = 'public'::regnamespace and p.proname like 'hub\_%'))
   and (not coalesce('search_path=""' = any (p.proconfig), false)
        or (p.pronamespace = 'public'::regnamespace and (p.prosecdef or obj_description(p.oid) is null))
        or has_function_privilege('anon', p.oid, 'execute'));
