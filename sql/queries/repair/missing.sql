-- Which of the named functions (schema.name) are not there.
select n
  from unnest($1::text[]) n
 where not exists (select from pg_proc p
                    where p.pronamespace = to_regnamespace(split_part(n, '.', 1))
                      and p.proname = split_part(n, '.', 2))
 order by n
