-- Why: Postgres Changes. Which subscriber may see which change is asked of the table's own policies, in the database, as on Supabase.
-- The reader of the log (functions/local) hands each change to realtime.apply_rls in the shape of wal2json's second version:
--   {"action": "I|U|D", "schema", "table", "timestamp", "columns": [{"name", "type", "typeoid", "value"}], "identity": [likewise, old values],
--    "pk": [{"name"}]}
-- Names, types and answers are Supabase's. What is decided alike is decided once: filters once for all who have the same, policies
-- once for all who have the same claims.

begin;
lock table pg_catalog.pg_authid in share row exclusive mode;       -- see 10_roles.sql: one runner at a time
set local role supabase_admin;
set local search_path = pg_catalog, pg_temp;                       -- postgres makes things in public and pg_temp

do $$
begin
  if to_regtype('realtime.action') is null then
    create type realtime.action as enum ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'ERROR');
  end if;
  if to_regtype('realtime.equality_op') is null then
    create type realtime.equality_op as enum
      ('eq', 'neq', 'lt', 'lte', 'gt', 'gte', 'in', 'like', 'ilike', 'is', 'match', 'imatch', 'isdistinct');
  end if;
  if to_regtype('realtime.user_defined_filter') is null then
    create type realtime.user_defined_filter as (column_name text, op realtime.equality_op, value text, negate boolean);
  end if;
  if to_regtype('realtime.wal_column') is null then
    create type realtime.wal_column as (name text, type_name text, type_oid oid, value jsonb, is_pkey boolean, is_selectable boolean);
  end if;
  if to_regtype('realtime.wal_rls') is null then
    create type realtime.wal_rls as (wal jsonb, is_rls_enabled boolean, subscription_ids uuid[], errors text[]);
  end if;
end;
$$;

-- Declared immutable although names of roles change: a generated column asks for it, and a subscription lives as long as a socket.
create or replace function realtime.to_regrole(role_name text) returns regrole language sql immutable as $$
  select role_name::regrole
$$;

create table if not exists realtime.subscription (
  id               bigint generated always as identity,
  subscription_id  uuid not null,
  entity           regclass not null,
  filters          realtime.user_defined_filter[] not null default '{}',
  claims           jsonb not null,
  claims_role      regrole not null generated always as (realtime.to_regrole(claims ->> 'role')) stored,
  created_at       timestamp not null default (now() at time zone 'utc'),
  action_filter    text default '*',
  selected_columns text[],
  constraint pk_subscription primary key (id),
  constraint subscription_action_filter_check check (action_filter in ('*', 'INSERT', 'UPDATE', 'DELETE'))
);
comment on table realtime.subscription is 'Who listens to the changes of which table, with which filters and claims. Kept by the Realtime server.';
create index if not exists ix_realtime_subscription_entity on realtime.subscription (entity);
create unique index if not exists subscription_subscription_id_entity_filters_action_filter_selec
  on realtime.subscription (subscription_id, entity, filters, action_filter, coalesce(selected_columns, '{}'));
alter table realtime.subscription owner to supabase_realtime_admin;
-- Claims are somebody's: on Supabase every role may read them.
grant select on realtime.subscription to postgres;

-- Values ----------------------------------------------------------------------------------------------------------------------
-- A type's name comes from the catalog (by format_type: regtype says "character", which is character(1), for any length), a value is
-- always a quoted literal: a filter can not be SQL.

-- What a domain is made of: a filter's value need not keep the domain's rules.
create or replace function realtime.hub_base_type(type_ regtype) returns regtype language plpgsql stable as $$
declare
  v_base oid;
begin
  loop
    select t.typbasetype into v_base from pg_catalog.pg_type t where t.oid = type_ and t.typtype = 'd';
    exit when not found;
    type_ := v_base;
  end loop;
  return type_;
end;
$$;

-- A change has thirty columns, mostly of these types: no statement for them.
create or replace function realtime."cast"(val text, type_ regtype) returns jsonb language plpgsql immutable as $$
declare
  v_json jsonb;
begin
  if val is null then
    return null;
  end if;
  case type_
    when 'text'::regtype, 'character varying'::regtype, 'bytea'::regtype then     -- bytea: the log has it in hexadecimal
      return to_jsonb(val);
    when 'uuid'::regtype then return to_jsonb(val::uuid);
    when 'integer'::regtype then return to_jsonb(val::integer);
    when 'bigint'::regtype then return to_jsonb(val::bigint);
    when 'boolean'::regtype then return to_jsonb(val::boolean);
    when 'timestamp with time zone'::regtype then return to_jsonb(val::timestamp with time zone);
    when 'jsonb'::regtype then return val::jsonb;
    else
      execute format('select to_jsonb(%L::%s)', val, format_type(realtime.hub_base_type(type_), -1)) into v_json;
      return v_json;
  end case;
end;
$$;
comment on function realtime."cast"(text, regtype) is 'A value of the log as JSON of its type. Raises if the text is none of that type.';

-- And back: what the type's input reads. Only arrays, composites and JSON are written otherwise in JSON.
create or replace function realtime.hub_text(val jsonb, type_ regtype) returns text language plpgsql stable as $$
declare
  v_base regtype;
  v_text text;
begin
  if jsonb_typeof(val) = 'string' and type_ not in ('jsonb'::regtype, 'json'::regtype) or val is null then
    return val #>> '{}';
  elsif jsonb_typeof(val) in ('string', 'array', 'object') then
    v_base := realtime.hub_base_type(type_);
    if v_base in ('jsonb'::regtype, 'json'::regtype) then
      return val::text;
    elsif (select t.typcategory from pg_catalog.pg_type t where t.oid = v_base) in ('A', 'C') then
      execute format('select r.v::text from jsonb_to_record($1) as r (v %s)', format_type(v_base, -1)) into v_text using jsonb_build_object('v', val);
      return v_text;
    end if;
  end if;
  return val #>> '{}';
end;
$$;

create or replace function realtime.check_equality_op(op realtime.equality_op, type_ regtype, val_1 text, val_2 text, negate boolean)
  returns boolean
  language plpgsql
  stable
as $$
declare
  v_operator text := case op
    when 'eq' then '=' when 'neq' then '<>' when 'lt' then '<' when 'lte' then '<=' when 'gt' then '>' when 'gte' then '>='
    when 'in' then '= any' when 'like' then 'like' when 'ilike' then 'ilike' when 'match' then '~' when 'imatch' then '~*' end;
  v_type     text;
  v_result   boolean;
begin
  -- What nearly everybody asks for, with no statement of its own.
  if op in ('eq', 'neq') and type_ in ('uuid'::regtype, 'text'::regtype) then
    v_result := case type_ when 'uuid'::regtype then val_1::uuid = val_2::uuid else val_1 = val_2 end;
    return v_result = ((op = 'eq') <> coalesce(negate, false));
  end if;
  v_type := format_type(realtime.hub_base_type(type_), -1);
  if op = 'is' then
    if val_2 is null or val_2 not in ('null', 'true', 'false', 'unknown') then
      raise exception 'invalid value for is filter: must be null, true, false, or unknown';
    end if;
    execute format('select %L::%s is %s %s', val_1, v_type, case when negate then 'not' else '' end, val_2) into v_result;
    return v_result;
  end if;
  if op = 'isdistinct' then
    execute format('select %L::%s is %s distinct from %L::%s', val_1, v_type, case when negate then 'not' else '' end, val_2, v_type)
      into v_result;
    return v_result;
  end if;
  if v_operator is null then
    raise exception 'unsupported equality operator: %', op;
  end if;
  execute format('select %L::%s %s (%L::%s)', val_1, v_type, v_operator, val_2, v_type || case when op = 'in' then '[]' else '' end) into v_result;
  return v_result <> coalesce(negate, false);
end;
$$;
comment on function realtime.check_equality_op(realtime.equality_op, regtype, text, text, boolean) is
  'Whether a column''s value passes one filter, both cast to the column''s type. Null, like false, is no.';

create or replace function realtime.check_equality_op(op realtime.equality_op, type_ regtype, val_1 text, val_2 text)
  returns boolean
  language sql
  immutable
as $$
  select realtime.check_equality_op(op, type_, val_1, val_2, false)
$$;

create or replace function realtime.is_visible_through_filters(columns realtime.wal_column[], filters realtime.user_defined_filter[])
  returns boolean
  language plpgsql
  stable
as $$
declare
  v_filter realtime.user_defined_filter;
  v_column realtime.wal_column;
  v_type   regtype;
begin
  foreach v_filter in array filters loop
    select c.* into v_column from unnest(columns) c where c.name = v_filter.column_name;
    if not found then
      return false;
    end if;
    v_type := coalesce(v_column.type_oid::regtype, v_column.type_name::regtype);
    if realtime.check_equality_op(v_filter.op, v_type, realtime.hub_text(v_column.value, v_type), v_filter.value, coalesce(v_filter.negate, false))
         is not true then
      return false;
    end if;
  end loop;
  return true;
exception
  when others then                                -- a column's type has changed since: not passed, and nobody else is concerned
    return false;
end;
$$;
comment on function realtime.is_visible_through_filters(realtime.wal_column[], realtime.user_defined_filter[]) is
  'Whether a row passes all filters. A filter on a column that is not in the change is not passed.';

-- Subscribing -----------------------------------------------------------------------------------------------------------------
-- Everything that would fail while a change is handed out is refused here, with a text for the subscriber.

create or replace function realtime.subscription_check_filters() returns trigger language plpgsql as $$
declare
  v_columns text[];
  v_filter  realtime.user_defined_filter;
  v_column  text;
  v_type    regtype;
  v_symbol  text;
begin
  select coalesce(array_agg(a.attname::text), '{}') into v_columns
    from pg_catalog.pg_attribute a
   where a.attrelid = new.entity and a.attnum > 0 and not a.attisdropped
     and pg_catalog.has_column_privilege(new.claims ->> 'role', a.attrelid, a.attnum, 'select');

  foreach v_filter in array new.filters loop
    if v_filter.column_name is null or v_filter.column_name <> all (v_columns) then
      raise exception 'invalid column for filter %', v_filter.column_name;
    end if;
    select realtime.hub_base_type(a.atttypid) into v_type from pg_catalog.pg_attribute a
     where a.attrelid = new.entity and a.attname = v_filter.column_name and not a.attisdropped;
    v_symbol := case v_filter.op when 'like' then '~~' when 'ilike' then '~~*' when 'match' then '~' when 'imatch' then '~*' end;
    if v_filter.op is null then
      raise exception 'invalid operator for filter %', v_filter.column_name;
    elsif v_filter.op = 'in' then
      if jsonb_array_length(realtime."cast"(v_filter.value, (format_type(v_type, -1) || '[]')::regtype)) > 100 then
        raise exception 'too many values for `in` filter. Maximum 100';
      end if;
    elsif v_filter.op = 'is' then
      if v_filter.value is null or v_filter.value not in ('null', 'true', 'false', 'unknown') then
        raise exception 'invalid value for is filter: must be null, true, false, or unknown';
      elsif v_filter.value <> 'null' and v_type <> 'boolean'::regtype then
        raise exception 'is % filter requires a boolean column, got %', v_filter.value, v_type;
      end if;
    elsif v_symbol is not null then
      if not exists (select from pg_catalog.pg_operator o where o.oprname = v_symbol and o.oprleft = v_type and o.oprright in (v_type, 'text'::regtype))
         and v_type not in ('text'::regtype, 'character varying'::regtype) then
        raise exception 'operator % requires a text-compatible column type, got %', v_filter.op, v_type;
      end if;
      if v_filter.op in ('match', 'imatch') then
        begin
          perform '' ~ v_filter.value;
        exception
          when others then
            raise exception 'invalid regular expression for % filter: %', v_filter.op, sqlerrm;
        end;
      end if;
    end if;
    perform realtime.check_equality_op(v_filter.op, v_type, null, v_filter.value, v_filter.negate);
  end loop;

  foreach v_column in array coalesce(new.selected_columns, '{}') loop
    if v_column is null or v_column <> all (v_columns) then
      raise exception 'invalid column for select %', v_column;
    end if;
  end loop;

  -- One order, so that the unique index knows equal subscriptions.
  new.filters := coalesce((select array_agg(f order by f.column_name, f.op, f.value, f.negate) from unnest(new.filters) f), '{}');
  new.selected_columns := (select array_agg(c order by c) from unnest(new.selected_columns) c);
  return new;
end;
$$;
create or replace trigger tr_check_filters before insert or update on realtime.subscription
  for each row execute function realtime.subscription_check_filters();

-- Handing out -----------------------------------------------------------------------------------------------------------------

create or replace function realtime.hub_wal_columns(p_columns jsonb, p_pk jsonb) returns realtime.wal_column[] language sql stable as $$
  select array_agg((c ->> 'name', c ->> 'type', (c ->> 'typeoid')::oid,
                    realtime."cast"(c #>> '{value}', coalesce((c ->> 'typeoid')::oid::regtype, (c ->> 'type')::regtype)),
                    exists (select from jsonb_array_elements(nullif(p_pk, 'null')) k where k ->> 'name' = c ->> 'name'), true)::realtime.wal_column order by n)
    from jsonb_array_elements(nullif(p_columns, 'null')) with ordinality as e (c, n)
$$;

-- The same columns, as a role may see them. One that is gone by now is seen by nobody.
create or replace function realtime.hub_columns_for(p_columns realtime.wal_column[], p_entity regclass, p_role regrole)
  returns realtime.wal_column[]
  language sql
  stable
as $$
  select array_agg((c.name, c.type_name, c.type_oid, c.value, c.is_pkey,
                    a.attnum is not null and pg_catalog.has_column_privilege(p_role, p_entity, a.attnum, 'select'))::realtime.wal_column order by n)
    from unnest(p_columns) with ordinality as c (name, type_name, type_oid, value, is_pkey, is_selectable, n)
    left join pg_catalog.pg_attribute a on a.attrelid = p_entity and a.attname = c.name and a.attnum > 0 and not a.attisdropped
$$;

create or replace function realtime.apply_rls(wal jsonb, max_record_bytes integer default 1024 * 1024)
  returns setof realtime.wal_rls
  language plpgsql
as $$
declare
  v_entity  regclass := to_regclass(format('%I.%I', wal ->> 'schema', wal ->> 'table'));
  v_action  realtime.action := case wal ->> 'action' when 'I' then 'INSERT' when 'U' then 'UPDATE' when 'D' then 'DELETE' end;
  v_rls     boolean := (select c.relrowsecurity from pg_catalog.pg_class c where c.oid = v_entity);
  v_large   boolean := octet_length(wal::text) > max_record_bytes;
  v_new     realtime.wal_column[];
  v_old     realtime.wal_column[];
  v_probe   text;                                 -- whether the row is there, for who is asking
  v_role    regrole;
  v_error   text;
  v_claims  jsonb;
  v_all_claims jsonb[];
  v_seen_by jsonb[];
  v_ids     bigint[];                             -- of rows in realtime.subscription
  v_yes     boolean;
  v_select  record;
  v_output  jsonb;
  v_path    constant text := pg_catalog.current_setting('search_path');
begin
  perform set_config('role', 'none', true);
  if v_action is null
     or not exists (select from realtime.subscription s where s.entity = v_entity and s.action_filter in ('*', v_action::text)) then
    return;
  end if;
  v_new := realtime.hub_wal_columns(wal -> 'columns', wal -> 'pk');
  v_old := realtime.hub_wal_columns(wal -> 'identity', wal -> 'pk');
  -- The key as the log has it, and not as JSON.
  select format('select exists (select from %s where %s)', v_entity,
                string_agg(format('%I = %L', c ->> 'name', c ->> 'value'), ' and '))
    into v_probe
    from jsonb_array_elements(nullif(wal -> 'columns', 'null')) c
   where c ->> 'name' in (select k ->> 'name' from jsonb_array_elements(nullif(wal -> 'pk', 'null')) k);

  foreach v_role in array array(select distinct s.claims_role from realtime.subscription s
                                 where s.entity = v_entity and s.action_filter in ('*', v_action::text) order by 1) loop
    v_new := realtime.hub_columns_for(v_new, v_entity, v_role);
    v_old := realtime.hub_columns_for(v_old, v_entity, v_role);
    v_error := case
      when v_action = 'DELETE' then null
      when not exists (select from unnest(v_new) c where c.is_pkey) then 'Error 400: Bad Request, no primary key'
      when exists (select from unnest(v_new) c where c.is_pkey and not c.is_selectable) then 'Error 401: Unauthorized' end;

    if v_error is not null then
      select array_agg(s.id) into v_ids from realtime.subscription s
       where s.entity = v_entity and s.claims_role = v_role and s.action_filter in ('*', v_action::text);
    else
      -- 1. Filters, once for all who have the same.
      with mine as materialized (
        select s.id, s.claims, s.filters from realtime.subscription s
         where s.entity = v_entity and s.claims_role = v_role and s.action_filter in ('*', v_action::text)
      ), asked as materialized (                  -- or the planner filters first: once for each socket
        select distinct m.filters from mine m
      ), passed as materialized (
        select f.filters from asked f
         where case when v_action = 'DELETE' then realtime.is_visible_through_filters(v_old, f.filters)
                                             else realtime.is_visible_through_filters(v_new, f.filters) end
      ), told as materialized (
        select m.id, m.claims from mine m join passed p on p.filters = m.filters
      )
      select (select array_agg(t.id) from told t), (select array_agg(c.claims) from (select distinct t.claims from told t) c)
        into v_ids, v_all_claims;

      -- 2. Policies, once for all who have the same claims. A policy that raises lets nobody see; rolling back gives the role back.
      if v_rls and v_action <> 'DELETE' and v_ids is not null then
        v_seen_by := '{}';
        -- Prepared, so that the policies are planned once a role and not once for all claims.
        if exists (select from pg_catalog.pg_prepared_statements p where p.name = 'hub_probe') then
          deallocate hub_probe;
        end if;
        execute 'prepare hub_probe as ' || v_probe;
        foreach v_claims in array v_all_claims loop
          begin
            perform set_config('request.jwt.claims', v_claims::text, true),
                    set_config('search_path', 'public, extensions', true),
                    set_config('role', v_claims ->> 'role', true);
            execute 'execute hub_probe' into v_yes;
            perform pg_catalog.set_config('role', 'none', true),
                    pg_catalog.set_config('search_path', v_path, true),
                    pg_catalog.set_config('request.jwt.claims', '', true);
          exception
            when others then
              v_yes := false;
          end;
          if v_yes then
            v_seen_by := v_seen_by || v_claims;
          end if;
        end loop;
        if array_length(v_seen_by, 1) is distinct from array_length(v_all_claims, 1) then
          select array_agg(s.id) into v_ids
            from realtime.subscription s
            join unnest(v_ids) i on i = s.id
            join unnest(v_seen_by) c on c = s.claims;
        end if;
      end if;
    end if;

    -- 3. One answer for all who asked for the same columns.
    for v_select in
      select s.selected_columns as columns, array_agg(s.subscription_id order by s.id) as ids
        from realtime.subscription s
        join unnest(v_ids) i on i = s.id
       group by s.selected_columns
       order by coalesce(array_to_string(s.selected_columns, ','), '')
    loop
      v_output := jsonb_build_object('schema', wal ->> 'schema', 'table', wal ->> 'table', 'type', v_action);
      if v_error is not null then
        return next (v_output, v_rls, v_select.ids, array[v_error])::realtime.wal_rls;
        continue;
      end if;
      v_output := v_output || jsonb_build_object(
        'commit_timestamp', to_char((wal ->> 'timestamp')::timestamptz at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'columns', (select jsonb_agg(jsonb_build_object('name', a.attname, 'type', t.typname) order by a.attnum)
                      from pg_catalog.pg_attribute a
                      join pg_catalog.pg_type t on t.oid = a.atttypid
                     where a.attrelid = v_entity and a.attnum > 0 and not a.attisdropped
                       and pg_catalog.has_column_privilege(v_role, v_entity, a.attnum, 'select')
                       and (v_select.columns is null or a.attname = any (v_select.columns)
                            or exists (select from pg_catalog.pg_index i
                                        where i.indrelid = v_entity and i.indisprimary and a.attnum = any (i.indkey)))));
      if v_action in ('INSERT', 'UPDATE') then
        -- A value that is stored apart and did not change is in neither, or among the old ones.
        v_output := v_output || jsonb_build_object('record', (
          select jsonb_object_agg(coalesce(n.name, o.name), case when n.name is null then o.value else n.value end)
            from unnest(v_new) n
            full join unnest(v_old) o on o.name = n.name
           where coalesce(n.is_selectable, o.is_selectable)
             and (v_select.columns is null or coalesce(n.name, o.name) = any (v_select.columns) or coalesce(n.is_pkey, o.is_pkey))
             and (not v_large or coalesce(octet_length(case when n.name is null then o.value else n.value end ::text), 0) <= 64)));
      end if;
      if v_action in ('UPDATE', 'DELETE') then
        -- Nobody can be asked about a row that is gone: with row level security no more than its key is told.
        v_output := v_output || jsonb_build_object('old_record', (
          select jsonb_object_agg(o.name, o.value)
            from unnest(v_old) o
           where o.is_selectable
             and (v_select.columns is null or o.name = any (v_select.columns) or o.is_pkey)
             and (not v_large or coalesce(octet_length(o.value::text), 0) <= 64)
             and (o.is_pkey or v_action = 'UPDATE' or not v_rls)));
      end if;
      return next (v_output, v_rls, v_select.ids,
                   case when v_large then array['Error 413: Payload Too Large'] else '{}' end)::realtime.wal_rls;
    end loop;
  end loop;
end;
$$;
comment on function realtime.apply_rls(jsonb, integer) is
  'Who may see one change, and what they are sent: a row for each role and each list of columns. Run by the Realtime server alone.';

create or replace function realtime.wal2json_escape_identifier(name text) returns text language sql immutable strict as $$
  select regexp_replace(name, '([\\,.[:space:]])', '\\\1', 'g')
$$;
create or replace function realtime.quote_wal2json(entity regclass) returns text language sql immutable strict as $$
  select realtime.wal2json_escape_identifier(n.nspname::text) || '.' || realtime.wal2json_escape_identifier(c.relname::text)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where c.oid = entity
$$;

-- It takes roles: nobody's but the Realtime server's, and those who run the stack.
revoke all on function realtime.apply_rls(jsonb, integer) from public;
grant execute on function realtime.apply_rls(jsonb, integer) to postgres, supabase_realtime_admin;

commit;
