-- Tables and views of the schemas $1 with their columns, as one JSON array; $2 is the extra search path. Run with an empty search path.
with recursive
-- The type at the bottom of a domain.
bases as (
  select t.oid, t.typbasetype as next, t.oid as base, t.typnamespace as namespace
    from pg_catalog.pg_type t
   where t.typtype = 'd'
  union all
  select b.oid, t.typbasetype, t.oid, t.typnamespace
    from bases b
    join pg_catalog.pg_type t on t.oid = b.next
),
-- How a value is cast to a type, without a length that would cut it and without a domain that would refuse it.
types as materialized (
  select t.oid, t.typtype, t.typnamespace, t.typnotnull, t.typdefaultbin, t.typtypmod, b.base, b.namespace,
         case coalesce(b.base, t.oid) when 'bpchar'::regtype then 'pg_catalog.bpchar'
                                      when 'bpchar[]'::regtype then 'pg_catalog.bpchar[]'
                                      when 'bit'::regtype then 'pg_catalog."bit"'
                                      when 'bit[]'::regtype then 'pg_catalog."bit"[]'
                                      else pg_catalog.format_type(coalesce(b.base, t.oid), null) end as cast_type
    from pg_catalog.pg_type t
    left join bases b on b.oid = t.oid and b.next = 0
),
relations as (
  select c.oid, c.relname, c.relkind, c.reltype, n.nspname,
         case when c.relkind in ('v', 'f') then pg_catalog.pg_relation_is_updatable(c.oid, true)
              when c.relkind in ('r', 'p') then 28 else 0 end as does
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'v', 'm', 'f', 'p')
     and not c.relispartition
     and n.nspname = any ($1)
),
described as (
  select d.objoid, d.objsubid, d.description
    from pg_catalog.pg_description d
    join relations r on r.oid = d.objoid
   where d.classoid = 'pg_catalog.pg_class'::regclass
),
cols as (
  select a.attrelid, a.attnum, a.attname, d.description,
         not (a.attnotnull or (t.typtype = 'd' and t.typnotnull)) as nullable,
         pg_catalog.format_type(a.atttypid, a.atttypmod) as full_type,
         t.cast_type,
         case when t.typtype = 'd' and t.namespace = 'pg_catalog'::regnamespace then pg_catalog.format_type(t.base, null)
              when t.typtype <> 'd' and t.typnamespace = 'pg_catalog'::regnamespace then pg_catalog.format_type(a.atttypid, null)
              else pg_catalog.format_type(a.atttypid, a.atttypmod) end as base_type,
         case when s.base in ('bpchar'::regtype, 'varchar'::regtype) and s.typmod > 4 then s.typmod - 4
              when s.base in ('bit'::regtype, 'varbit'::regtype) and s.typmod > 0 then s.typmod end as max_length,
         case when a.attidentity = 'd' then format('nextval(%L::regclass)', q.objid::regclass)
              when a.attgenerated <> '' then null
              when f.adbin is not null then pg_catalog.pg_get_expr(f.adbin, f.adrelid)
              when t.typtype = 'd' then pg_catalog.pg_get_expr(t.typdefaultbin, 0) end as "default",
         coalesce((select array_agg(e.enumlabel order by e.enumsortorder)
                     from pg_catalog.pg_enum e
                    where e.enumtypid = coalesce(t.base, a.atttypid)), '{}') as enum_values
    from pg_catalog.pg_attribute a
    join relations r on r.oid = a.attrelid
    join types t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
    left join described d on d.objoid = a.attrelid and d.objsubid = a.attnum
    left join pg_catalog.pg_depend q on a.attidentity = 'd' and q.deptype = 'i' and q.classid = 'pg_catalog.pg_class'::regclass
                                     and q.refclassid = q.classid and q.refobjid = a.attrelid and q.refobjsubid = a.attnum
   cross join lateral (select coalesce(t.base, a.atttypid) as base,
                              case when t.typtype = 'd' then t.typtypmod else a.atttypmod end as typmod) s
   where a.attnum > 0
     and not a.attisdropped
),
-- Functions of one row: columns that are computed. Those that return rows are ways to other tables.
computed as (
  select p.proargtypes[0] as reltype,
         json_object_agg(p.proname, t.cast_type) as functions
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    join relations r on r.reltype = p.proargtypes[0]
    join types t on t.oid = p.prorettype
    left join pg_catalog.pg_class c on c.reltype = p.prorettype
   where p.pronargs = 1
     and p.prokind = 'f'
     and not p.proretset
     and n.nspname = any ($1 || $2)
     and (c.oid is null or c.relkind = 'c')
     and t.typtype <> 'p'
   group by p.proargtypes[0]
)
select coalesce(json_agg(json_build_object(
         'schema', r.nspname,
         'name', r.relname,
         'description', d.description,
         'insertable', r.does & 8 = 8,
         'updatable', r.does & 4 = 4,
         'deletable', r.does & 16 = 16,
         'computed', coalesce(f.functions, '{}'),
         'columns', coalesce(c.columns, '[]'))), '[]')::text
  from relations r
  left join described d on d.objoid = r.oid and d.objsubid = 0
  left join computed f on f.reltype = r.reltype
  left join (select c.attrelid,
                    json_agg(json_build_object(
                      'name', c.attname,
                      'description', c.description,
                      'nullable', c.nullable,
                      'base_type', c.base_type,
                      'full_type', c.full_type,
                      'cast_type', c.cast_type,
                      'max_length', c.max_length,
                      'default', c."default",
                      'enum_values', c.enum_values) order by c.attnum) as columns
               from cols c
              group by c.attrelid) c on c.attrelid = r.oid
