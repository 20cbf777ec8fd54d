-- What is little, as one JSON object: ways that functions make, forms of domains, makers of media types, comments on the schemas
-- $1.
with rows as (
  select c.reltype, c.relname, n.nspname
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'v', 'm', 'f', 'p')
     and n.nspname = any ($1)
),
-- A domain that is named as a media type, so that a function that returns it makes that.
media as (
  select t.oid, t.typname, lower(t.typname) as asked,
         case t.typname when '*/*' then 'application/octet-stream' else t.typname end as said
    from pg_catalog.pg_type t
   where t.typtype = 'd'
     and (t.typname ~* '^[a-z0-9.-]+/[a-z0-9.+-]+$' or t.typname = '*/*')
)
select json_build_object(
         'computed', coalesce((select json_agg(json_build_object(
             'schema', n.nspname, 'name', p.proname,
             'from', json_build_array(a.nspname, a.relname), 'to', json_build_array(b.nspname, b.relname),
             'to_one', not p.proretset or p.prorows = 1))
           from pg_catalog.pg_proc p
           join pg_catalog.pg_namespace n on n.oid = p.pronamespace
           join rows a on a.reltype = p.proargtypes[0]
           join rows b on b.reltype = p.prorettype
          where p.pronargs = 1 and p.prokind = 'f'), '[]'),
         'representations', coalesce((select json_agg(json_build_array(
             pg_catalog.format_type(c.castsource, null), pg_catalog.format_type(c.casttarget, null), c.castfunc::regproc::text))
           from pg_catalog.pg_cast c
           join pg_catalog.pg_type a on a.oid = c.castsource
           join pg_catalog.pg_type b on b.oid = c.casttarget
          where c.castcontext = 'i'
            and c.castmethod = 'f'
            and ((a.typtype = 'd' and c.casttarget in ('json'::regtype, 'text'::regtype))
              or (b.typtype = 'd' and c.castsource in ('json'::regtype, 'text'::regtype)))
            and pg_catalog.has_function_privilege(c.castfunc, 'execute')), '[]'),
         'handlers', coalesce((select json_agg(json_build_object(
             'asked', m.asked, 'said', m.said, 'schema', n.nspname, 'name', p.proname, 'aggregate', p.prokind = 'a',
             'of', case when p.prokind = 'f' then json_build_array(n.nspname, p.proname)
                        when a.nspname is not null then json_build_array(a.nspname, a.relname) end))
           from media m
           join pg_catalog.pg_proc p on p.prorettype = m.oid
           join pg_catalog.pg_namespace n on n.oid = p.pronamespace
           left join rows a on p.prokind = 'a' and a.reltype = p.proargtypes[0]
          where n.nspname = any ($1)
            and ((p.prokind = 'f' and not p.proretset)
              or (p.prokind = 'a' and p.pronargs = 1 and (a.reltype is not null or p.proargtypes[0] = 'anyelement'::regtype)))), '[]'),
         'descriptions', coalesce((select json_object_agg(n.nspname, d.description)
           from pg_catalog.pg_namespace n
           join pg_catalog.pg_description d on d.objoid = n.oid and d.classoid = 'pg_catalog.pg_namespace'::regclass
          where n.nspname = any ($1)), '{}'))::text
