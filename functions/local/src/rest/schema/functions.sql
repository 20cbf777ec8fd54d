-- Functions of the schemas $1 that can be called, as one JSON array; $2 are the settings that hold for a whole transaction.
with recursive
bases as (
  select t.oid, t.typbasetype as next, t.oid as base
    from pg_catalog.pg_type t
   where t.typtype = 'd'
  union all
  select b.oid, t.typbasetype, t.oid
    from bases b
    join pg_catalog.pg_type t on t.oid = b.next
),
called as (
  select p.oid, p.proname, n.nspname, p.provolatile, p.proretset, p.pronargs, p.pronargdefaults,
         p.proargnames, p.proargmodes, p.proargtypes, p.proconfig,
         coalesce(p.proallargtypes, p.proargtypes) as types,
         coalesce(b.base, p.prorettype) as returned
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    left join bases b on b.oid = p.prorettype and b.next = 0
   where p.prokind = 'f'
     and n.nspname = any ($1)
     and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
),
arguments as (
  select c.oid, u.n, u.type, coalesce(c.proargnames[u.n], '') as name, coalesce(c.proargmodes[u.n], 'i') as mode,
         count(*) filter (where coalesce(c.proargmodes[u.n], 'i') in ('i', 'b', 'v')) over (partition by c.oid order by u.n) as nth
    from called c
   cross join lateral unnest(c.types) with ordinality u (type, n)
),
taken as (
  select a.oid,
         json_agg(json_build_object(
           'name', a.name,
           'full_type', pg_catalog.format_type(a.type, null),
           'cast_type', case a.type when 'bit'::regtype then 'pg_catalog."bit"'
                                    when 'bit[]'::regtype then 'pg_catalog."bit"[]'
                                    when 'bpchar'::regtype then 'pg_catalog.bpchar'
                                    when 'bpchar[]'::regtype then 'pg_catalog.bpchar[]'
                                    else pg_catalog.format_type(a.type, null) end,
           'required', a.nth <= c.pronargs - c.pronargdefaults,
           'variadic', a.mode = 'v') order by a.n) as arguments,
         count(*) filter (where a.name = '') as nameless,
         bool_or(a.name = '' and a.type in ('bytea'::regtype, 'json'::regtype, 'jsonb'::regtype, 'text'::regtype, 'xml'::regtype)) as takes_body
    from arguments a
    join called c on c.oid = a.oid
   where a.mode in ('i', 'b', 'v')
   group by a.oid
),
given as (
  select a.oid, json_agg(json_build_array(a.name, pg_catalog.format_type(a.type, null)) order by a.n) as columns
    from arguments a
   where a.mode in ('o', 'b', 't')
   group by a.oid
)
select coalesce(json_agg(json_build_object(
         'id', c.oid::bigint,
         'schema', c.nspname,
         'name', c.proname,
         'description', d.description,
         'arguments', coalesce(t.arguments, '[]'),
         'columns', coalesce(g.columns, '[]'),
         'set', c.proretset,
         'composite', r.typtype = 'c' or g.oid is not null,
         'returns_schema', rn.nspname,
         'returns', coalesce(rc.relname, r.typname),
         'volatility', c.provolatile,
         'settings', coalesce((select json_agg(json_build_array(s.name, s.value))
                                 from unnest(c.proconfig) k (said)
                                cross join lateral (select split_part(k.said, '=', 1) as name,
                                                           substr(k.said, strpos(k.said, '=') + 1) as value) s
                                where s.name = any ($2) or s.name = 'default_transaction_isolation'), '[]'))
         order by c.nspname, c.proname, c.pronargs, pg_catalog.oidvectortypes(c.proargtypes), c.oid), '[]')::text
  from called c
  join pg_catalog.pg_type r on r.oid = c.returned
  join pg_catalog.pg_namespace rn on rn.oid = r.typnamespace
  left join pg_catalog.pg_class rc on rc.oid = r.typrelid
  left join taken t on t.oid = c.oid
  left join given g on g.oid = c.oid
  left join pg_catalog.pg_description d on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_proc'::regclass
 where coalesce(t.nameless, 0) = 0
    or (t.nameless = 1 and c.pronargs = 1 and t.takes_body)
