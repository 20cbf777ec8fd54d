-- Postgres Changes: who is told of which change, and what of it. realtime.apply_rls is given changes made by hand, in the form in which the
-- reader of the log hands them over. On Supabase that is Realtime's own; here it is what sql/platform brings.
\ir setup.psql
select no_plan();

create schema odd;
create type odd.mood as enum ('sad', 'ok', 'happy');
create domain odd.short as text check (char_length(value) <= 5);
create domain odd.shorter as odd.short;
create table odd.things (
  id int, part text, mood odd.mood, tags text[], nums int[], doc jsonb, at timestamptz, price numeric(12, 4), blob bytea, code odd.shorter,
  fixed char(6), ok boolean, ref uuid, day date, span int4range, ratio float8, body text, "odd ""name" text, owner text, hidden text,
  primary key (id, part));
create table odd.keyless (id int, note text);
grant usage on schema odd to anon, authenticated, service_role;
grant select on odd.keyless to authenticated;
grant select (id, part, mood, tags, nums, doc, at, price, blob, code, fixed, ok, ref, day, span, ratio, body, "odd ""name", owner) on odd.things to authenticated;
grant select on odd.things to service_role;
grant select (body) on odd.things to anon;

create function tap.filter(p_column text, p_op text, p_value text, p_negate boolean default false) returns realtime.user_defined_filter language sql as $$
  select (p_column, p_op, p_value, p_negate)::realtime.user_defined_filter
$$;
-- A subscriber is known by a letter.
create table tap.subscribers (name text primary key, id uuid not null default gen_random_uuid());
create function tap.subscribe(p_name text, p_entity regclass, p_filters realtime.user_defined_filter[] default '{}', p_actor text default 'service',
                              p_action text default '*', p_columns text[] default null) returns void language plpgsql as $$
declare
  v_id uuid;
  v_claims text;
begin
  perform tap.become(p_actor);
  v_claims := current_setting('request.jwt.claims', true);
  perform tap.become('postgres');
  insert into tap.subscribers as s (name) values (p_name) on conflict (name) do update set name = excluded.name returning s.id into v_id;
  insert into realtime.subscription (subscription_id, entity, filters, claims, action_filter, selected_columns)
  values (v_id, p_entity, p_filters, v_claims::jsonb, p_action, p_columns);
end;
$$;
create function tap.unsubscribe() returns void language plpgsql as $$
begin
  delete from realtime.subscription;
  delete from tap.subscribers;
end;
$$;
-- A row as the log has it: names, types and texts.
create function tap.columns(p_row record, p_only text[] default null) returns jsonb language plpgsql as $$
declare
  v_columns jsonb := '[]';
  v_text    text;
  a         record;
begin
  for a in select x.attname, x.atttypid from pg_attribute x join pg_type t on t.typrelid = x.attrelid where t.oid = pg_typeof(p_row)::oid and x.attnum > 0 and not x.attisdropped order by x.attnum loop
    continue when a.attname <> all (p_only);
    -- %s is the type's own output: a cast to text would trim a char(n).
    execute format('select case when ($1).%1$I is distinct from null then format(''%%s'', ($1).%1$I) end', a.attname) into v_text using p_row;
    v_columns := v_columns || jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, null), 'typeoid', a.atttypid::int, 'value', v_text);
  end loop;
  return v_columns;
end;
$$;
create function tap.change(p_action text, p_entity regclass, p_new record, p_old record default null, p_identity text[] default null, p_unchanged text[] default '{}')
  returns jsonb language plpgsql as $$
begin
  return (select jsonb_build_object('action', p_action, 'schema', n.nspname, 'table', c.relname, 'timestamp', '2026-11-21 10:00:00.123456+02',
    'columns', case when p_action <> 'D' then (select jsonb_agg(x) from jsonb_array_elements(tap.columns(p_new)) x where x ->> 'name' <> all (p_unchanged)) end,
    'identity', case when p_old is distinct from null then tap.columns(p_old, p_identity) end,
    'pk', coalesce((select jsonb_agg(jsonb_build_object('name', a.attname)) from pg_index i, pg_attribute a
           where i.indrelid = c.oid and i.indisprimary and a.attrelid = c.oid and a.attnum = any (i.indkey)), '[]'))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = p_entity);
end;
$$;
-- Who gets it, by their letters; and what they get.
create function tap.told_to(p_wal jsonb, p_max int default 1048576) returns text language plpgsql as $$
declare
  v_names text;
begin
  select string_agg(s.name, '' order by s.name) into v_names from realtime.apply_rls(p_wal, p_max) r, unnest(r.subscription_ids) i join tap.subscribers s on s.id = i;
  return coalesce(v_names, '');
end;
$$;
create function tap.given(p_name text, p_wal jsonb, p_max int default 1048576) returns table (wal jsonb, is_rls_enabled boolean, errors text[]) language plpgsql as $$
begin
  return query select r.wal, r.is_rls_enabled, r.errors from realtime.apply_rls(p_wal, p_max) r
                where (select s.id from tap.subscribers s where s.name = p_name) = any (r.subscription_ids);
end;
$$;

create temp table thing as
select 7 as id, 'it''s; drop' as part, 'ok'::odd.mood as mood, array['a', 'b c', null, '"'] as tags, array[[1, 2], [3, 4]] as nums, '{"k": [1, "x"]}'::jsonb as doc,
       '2026-01-02 03:04:05.678+00'::timestamptz as at, 12.5::numeric(12, 4) as price, '\xdeadbeef'::bytea as blob, 'abc'::odd.shorter as code, 'abc'::char(6) as fixed,
       true as ok, '11111111-2222-3333-4444-555555555555'::uuid as ref, '2026-01-02'::date as day, '[1,5)'::int4range as span, 1.5::float8 as ratio, 'Hello World' as body,
       'x'::text as "odd ""name", null::text as owner, 'secret' as hidden;
insert into odd.things select * from thing;
create function tap.inserted() returns jsonb language sql as $$ select tap.change('I', 'odd.things', t) from odd.things t where id = 7 $$;

-- What is sent ----------------------------------------------------------------------------------------------------------------------
select tap.subscribe('a', 'odd.things');
select is((select wal - 'columns' - 'record' from tap.given('a', tap.inserted())),
  '{"schema": "odd", "table": "things", "type": "INSERT", "commit_timestamp": "2026-11-21T08:00:00.123Z"}', 'an INSERT has schema, table, type and time');
select is((select wal -> 'record' from tap.given('a', tap.inserted())), (select to_jsonb(t) || '{"blob": "\\xdeadbeef"}' from odd.things t), 'an INSERT''s record is the row as JSON, with every type');
select is((select wal -> 'columns' from tap.given('a', tap.inserted())),
  (select jsonb_agg(jsonb_build_object('name', attname, 'type', typname) order by attnum) from pg_attribute a join pg_type t on t.oid = atttypid where attrelid = 'odd.things'::regclass and attnum > 0 and not attisdropped),
  'an INSERT''s columns are those of the table');
select is((select errors || is_rls_enabled::text from tap.given('a', tap.inserted())), array['false'], 'an INSERT on a table without row level security has no errors');
select is((select wal -> 'old_record' from tap.given('a', tap.change('U', 'odd.things', t, t, array['id', 'part'])) x), '{"id": 7, "part": "it''s; drop"}', 'an UPDATE has the old key') from odd.things t;
select is((select wal ->> 'type' from tap.given('a', tap.change('U', 'odd.things', t)) x), 'UPDATE', 'an UPDATE whose key did not change is read without an old key') from odd.things t;
select is((select wal -> 'record' ->> 'body' from tap.given('a', tap.change('U', 'odd.things', t, t, null, '{body}')) x), 'Hello World', 'a long value that did not change is taken from the old row') from odd.things t;
select ok(not (select wal -> 'record' ? 'body' from tap.given('a', tap.change('U', 'odd.things', t, null, null, '{body}')) x), 'a long value that did not change is left out if there is no old row') from odd.things t;
select is((select wal - 'columns' - 'commit_timestamp' from tap.given('a', tap.change('D', 'odd.things', null, t, array['id', 'part'])) x),
  '{"schema": "odd", "table": "things", "type": "DELETE", "old_record": {"id": 7, "part": "it''s; drop"}}', 'a DELETE has the old key alone') from odd.things t;
select is((select wal -> 'old_record' ->> 'body' from tap.given('a', tap.change('D', 'odd.things', null, t)) x), 'Hello World', 'a DELETE has the whole old row if the log has it') from odd.things t;
select is(tap.told_to(tap.change('T', 'odd.things', t)), '', 'a TRUNCATE is sent to nobody') from odd.things t;
select is(tap.told_to(tap.inserted() || '{"table": "gone"}'), '', 'a change of a table that was dropped is sent to nobody');
alter table odd.things add column late text;
alter table odd.things drop column hidden;
select ok(not (select wal -> 'record' ? 'hidden' from tap.given('a', (select tap.change('I', 'odd.things', t) from odd.things t) || jsonb_build_object('columns', (select tap.columns(t) from thing t)))), 'a column that was dropped is left out');
alter table odd.things add column hidden text;
update odd.things set hidden = 'secret';

-- Too large
select is((select errors from tap.given('a', tap.inserted(), 500)), array['Error 413: Payload Too Large'], 'a change that is too large has an error');
select ok((select wal -> 'record' ? 'owner' and wal -> 'record' ? 'body' from tap.given('a', tap.inserted(), 500)), 'a change that is too large has the short values');
update odd.things set body = repeat('long', 100);
select ok((select not wal -> 'record' ? 'body' and wal -> 'record' ->> 'id' = '7' from tap.given('a', tap.inserted(), 500)), 'a change that is too large leaves out the long values');
update odd.things set body = 'Hello World';

-- Filters -----------------------------------------------------------------------------------------------------------------------------
create temp table asked (what text, op text, value text, passes boolean);
insert into asked values
  ('id', 'eq', '7', true), ('id', 'eq', '8', false), ('id', 'neq', '8', true), ('id', 'neq', '7', false), ('id', 'lt', '8', true), ('id', 'lt', '7', false),
  ('id', 'lte', '7', true), ('id', 'lte', '6', false), ('id', 'gt', '6', true), ('id', 'gt', '7', false), ('id', 'gte', '7', true), ('id', 'gte', '8', false),
  ('id', 'gt', '10', false), ('id', 'in', '{1,7}', true), ('id', 'in', '{1,77}', false), ('id', 'in', '{}', false),
  ('part', 'eq', $$it's; drop$$, true), ('part', 'in', $${"it's; drop",x}$$, true), ('part', 'in', '{it}', false),
  ('body', 'like', 'Hello%', true), ('body', 'like', 'hello%', false), ('body', 'ilike', 'hello%', true), ('body', 'ilike', '%mars%', false),
  ('body', 'match', '^H.*d$', true), ('body', 'match', '^h', false), ('body', 'imatch', '^h', true), ('body', 'imatch', '^w', false), ('body', 'match', '', true),
  ('ok', 'eq', 'true', true), ('ok', 'eq', 'false', false), ('ok', 'is', 'true', true), ('ok', 'is', 'false', false), ('ok', 'is', 'unknown', false), ('ok', 'is', 'null', false),
  ('owner', 'is', 'null', true), ('body', 'is', 'null', false), ('owner', 'eq', 'x', false), ('owner', 'neq', 'x', false),
  ('owner', 'isdistinct', 'x', true), ('body', 'isdistinct', 'Hello World', false), ('body', 'isdistinct', 'x', true),
  ('mood', 'eq', 'ok', true), ('mood', 'gt', 'sad', true), ('mood', 'gt', 'happy', false), ('mood', 'in', '{ok,sad}', true),
  ('at', 'eq', '2026-01-02T03:04:05.678Z', true), ('at', 'gt', '2026-01-02', true), ('at', 'lt', '2026-01-02', false), ('day', 'eq', '2026-01-02', true), ('day', 'lt', '2026-01-02', false),
  ('price', 'eq', '12.50', true), ('price', 'gt', '9', true), ('price', 'lt', '100', true), ('ratio', 'eq', '1.5', true), ('ratio', 'gt', '2', false),
  ('ref', 'eq', '11111111-2222-3333-4444-555555555555', true), ('ref', 'eq', '11111111222233334444555555555555', true), ('ref', 'neq', '11111111-2222-3333-4444-555555555555', false),
  ('ref', 'in', '{11111111-2222-3333-4444-555555555555}', true), ('blob', 'eq', '\xdeadbeef', true), ('blob', 'eq', '\xdead', false),
  ('code', 'eq', 'abc', true), ('code', 'neq', 'longer than the domain', true), ('code', 'like', 'a%', true), ('code', 'like', '%longer%', false), ('code', 'in', '{abc,longer than it}', true),
  ('fixed', 'eq', 'abc', true), ('fixed', 'eq', 'abc   ', true), ('fixed', 'eq', 'a', false),
  ('tags', 'eq', '{a,"b c",NULL,"\""}', true), ('tags', 'eq', '{a}', false), ('nums', 'eq', '{{1,2},{3,4}}', true), ('doc', 'eq', '{"k": [1,   "x"]}', true), ('doc', 'eq', '{}', false),
  ('span', 'eq', '[1,4]', true), ('odd "name', 'eq', 'x', true),
  -- Text that is SQL is text.
  ('body', 'eq', $$Hello World' or '1'='1$$, false), ('body', 'eq', $$x'); drop table odd.things; --$$, false), ('body', 'like', $$%' or true --$$, false),
  ('body', 'in', $${"x') or true --"}$$, false), ('body', 'eq', '(select ''Hello World'')', false), ('body', 'eq', E'\\', false), ('body', 'eq', '$1', false), ('body', 'eq', '%I', false);
create temp table answers (what text, op text, value text, passes boolean, negated boolean, got boolean);
do $$
declare
  a asked;
begin
  for a in select * from asked loop
    perform tap.unsubscribe();
    perform tap.subscribe('y', 'odd.things', array[tap.filter(a.what, a.op, a.value)]);
    perform tap.subscribe('n', 'odd.things', array[tap.filter(a.what, a.op, a.value, true)]);
    insert into answers select a.*, false, tap.told_to(tap.inserted()) like '%y';
    insert into answers select a.*, true, tap.told_to(tap.inserted()) like 'n%';
  end loop;
end;
$$;
-- Null passes neither a filter nor its opposite, but for `is` and `isdistinct`.
select is(got, case when what = 'owner' and op in ('eq', 'neq') then false else passes <> negated end, format('%s%s.%s.%s', what, case when negated then '=not' else '=' end, op, value)) from answers;
select is((select count(*)::int from odd.things), 1, 'the table survives filters with SQL in them');

select tap.unsubscribe();
select tap.subscribe('a', 'odd.things', array[tap.filter('id', 'gt', '5'), tap.filter('id', 'lt', '10'), tap.filter('body', 'like', 'H%')]);
select tap.subscribe('b', 'odd.things', array[tap.filter('id', 'gt', '5'), tap.filter('id', 'lt', '6')]);
select tap.subscribe('c', 'odd.things', '{}', 'service', 'INSERT');
select tap.subscribe('d', 'odd.things', '{}', 'service', 'UPDATE');
select tap.subscribe('e', 'odd.things', array[tap.filter('id', 'eq', '7')], 'service', 'DELETE');
select tap.subscribe('f', 'odd.things', array[tap.filter('body', 'eq', 'Hello World')], 'service', 'DELETE');
select is(tap.told_to(tap.inserted()), 'ac', 'all filters must pass, and the event must be subscribed to');
select is(tap.told_to(tap.change('U', 'odd.things', t, t, array['id', 'part'])), 'ad', 'an UPDATE is filtered by its new row') from odd.things t;
select is(tap.told_to(tap.change('D', 'odd.things', null, t, array['id', 'part'])), 'e', 'a DELETE is filtered by its old key') from odd.things t;
select is(tap.told_to(tap.change('D', 'odd.things', null, t)), 'aef', 'a DELETE is filtered by its whole old row if the log has it') from odd.things t;
select is((select count(*)::int from realtime.subscription where filters = (select filters from realtime.subscription s join tap.subscribers x on x.id = s.subscription_id where x.name = 'a')), 1, 'filters are stored in one order');

-- A filter that can not work is refused when it is asked for
create function pg_temp.refused(p_column text, p_op text, p_value text, p_entity regclass default 'odd.things') returns text language plpgsql as $$
begin
  perform tap.subscribe('z', p_entity, array[tap.filter(p_column, p_op, p_value)], 'viewer');
  return 'not refused';
exception
  when others then
    return sqlerrm;
end;
$$;
select is(pg_temp.refused('nope', 'eq', '1'), 'invalid column for filter nope', 'a filter on an unknown column is refused');
select is(pg_temp.refused('id or true', 'eq', '1'), 'invalid column for filter id or true', 'a filter on a column that is SQL is refused');
select is(pg_temp.refused('hidden', 'eq', '1'), 'invalid column for filter hidden', 'a filter on a column that may not be read is refused');
select is(pg_temp.refused('ctid', 'eq', '(0,1)'), 'invalid column for filter ctid', 'a filter on a system column is refused');
select is(pg_temp.refused(null, 'eq', '1'), 'invalid column for filter <NULL>', 'a filter without a column is refused');
select alike(pg_temp.refused('id', 'eq', 'x'), 'invalid input syntax for type integer%', 'a filter with a value of another type is refused');
select alike(pg_temp.refused('id', 'eq', '1); drop table odd.things; --'), 'invalid input syntax for type integer%', 'a filter with a value that is SQL is refused');
select alike(pg_temp.refused('id', 'in', '1,2'), 'malformed array literal%', 'a filter with an invalid list is refused');
select alike(pg_temp.refused('mood', 'eq', 'angry'), 'invalid input value for enum%', 'a filter with a value that the enum lacks is refused');
select is(pg_temp.refused('id', 'in', '{' || (select string_agg(n::text, ',') from generate_series(1, 101) n) || '}'), 'too many values for `in` filter. Maximum 100', 'a filter with more than a hundred values is refused');
select is(pg_temp.refused('id', 'in', '{' || (select string_agg(n::text, ',') from generate_series(1, 100) n) || '}'), 'not refused', 'a filter with a hundred values is accepted');
select alike(pg_temp.refused('body', 'match', '(['), 'invalid regular expression for match filter%', 'a filter with an invalid pattern is refused');
select alike(pg_temp.refused('body', 'imatch', '*'), 'invalid regular expression for imatch filter%', 'an imatch filter with an invalid pattern is refused');
select alike(pg_temp.refused('id', 'like', '1%'), 'operator like requires a text-compatible column type, got integer', 'a pattern on a number is refused');
select alike(pg_temp.refused('id', 'is', 'true'), 'is true filter requires a boolean column%', 'is.true on a number is refused');
select alike(pg_temp.refused('ok', 'is', 'maybe'), 'invalid value for is filter%', 'is with an unknown word is refused');
select alike(pg_temp.refused('body', 'is', 'null; select 1'), 'invalid value for is filter%', 'is with SQL behind it is refused');
select alike(pg_temp.refused('doc', 'like', '%'), 'operator like requires%', 'a pattern on JSON is refused');
create table odd.xmls (id int primary key, x json);
grant select on odd.xmls to authenticated;
select alike(pg_temp.refused('x', 'eq', '{}', 'odd.xmls'), 'operator does not exist%', 'a filter on a type without equality is refused');
select throws_like($$ select tap.subscribe('z', 'odd.things', '{}', 'viewer', '*', '{id,hidden}') $$, 'invalid column for select hidden', 'selecting a column that may not be read is refused');
select throws_like($$ select tap.subscribe('z', 'odd.things', '{}', 'viewer', '*', '{nope}') $$, 'invalid column for select nope', 'selecting an unknown column is refused');
select throws_ok($$ select tap.subscribe('z', 'odd.things', '{}', 'viewer', 'TRUNCATE') $$, '23514', null, 'an unknown event is refused');
select throws_ok($$ insert into realtime.subscription (subscription_id, entity, claims) values (gen_random_uuid(), 'odd.things', '{"role": "nobody at all"}') $$, '42704', null, 'an unknown role is refused');
select throws_ok($$ insert into realtime.subscription (subscription_id, entity, claims) values (gen_random_uuid(), 'odd.things', '{}') $$, '23502', null, 'a subscription without a role is refused');

-- Rights to columns --------------------------------------------------------------------------------------------------------------------
select tap.unsubscribe();
select tap.subscribe('a', 'odd.things', '{}', 'service');
select tap.subscribe('b', 'odd.things', '{}', 'viewer');
select tap.subscribe('c', 'odd.things', '{}', 'viewer', '*', '{body}');
select tap.subscribe('d', 'odd.things', '{}', 'anon');
select tap.subscribe('e', 'odd.keyless', '{}', 'viewer');
select tap.subscribe('f', 'odd.things', '{}', 'outsider', '*', '{body}');
select is((select wal -> 'record' ->> 'hidden' from tap.given('a', tap.inserted())), 'secret', 'a subscriber who may read a column gets it');
select ok((select not wal -> 'record' ? 'hidden' and wal -> 'record' ? 'body' and not wal -> 'columns' @> '[{"name": "hidden"}]' from tap.given('b', tap.inserted())), 'a subscriber who may not read a column does not get it');
select is((select wal -> 'record' from tap.given('c', tap.inserted())), '{"id": 7, "part": "it''s; drop", "body": "Hello World"}', 'a subscriber with select gets the selected columns and the key');
select is((select jsonb_path_query_array(wal, '$.columns[*].name') from tap.given('c', tap.inserted())), '["id", "part", "body"]', 'the list of columns has the selected ones and the key');
select is((select jsonb_build_array(wal, errors[1]) from tap.given('d', tap.inserted())),
  '[{"schema": "odd", "table": "things", "type": "INSERT"}, "Error 401: Unauthorized"]', 'a subscriber who may not read the key gets an error and no data');
select is((select errors[1] from tap.given('e', tap.change('I', 'odd.keyless', row(1, 'x')::odd.keyless)) x), 'Error 400: Bad Request, no primary key', 'a table without a key gives an error');
select is((select count(*)::int from realtime.apply_rls(tap.inserted())), 4, 'there is one answer for each role and list of columns');
select is((select array_length(subscription_ids, 1) from realtime.apply_rls(tap.inserted()) where wal -> 'columns' @> '[{"name": "body"}]' and jsonb_array_length(wal -> 'columns') = 3), 2, 'subscribers with the same role and columns share an answer');

-- Row level security ---------------------------------------------------------------------------------------------------------------------
alter table odd.things enable row level security;
create policy mine on odd.things for select to authenticated using (owner = auth.uid()::text);
select is(tap.told_to(tap.inserted()), 'ad', 'a row without an owner is sent to the service role only');
update odd.things set owner = tap.id('viewer')::text;
select is(tap.told_to(tap.inserted()), 'abcd', 'a row is sent to its owner and nobody else');
select is(tap.told_to(tap.change('U', 'odd.things', t)), 'abcd', 'an update is sent to the owner and nobody else') from odd.things t;
update odd.things set owner = tap.id('outsider')::text;
select is(tap.told_to(tap.inserted()), 'adf', 'a row of another owner is sent to that owner');
select is((select wal -> 'old_record' from tap.given('b', tap.change('D', 'odd.things', null, t)) x), '{"id": 7, "part": "it''s; drop"}', 'a DELETE has only the key under row level security') from odd.things t;
select is(tap.told_to(tap.change('D', 'odd.things', null, t)), 'abcdf', 'a DELETE is sent to every subscriber') from odd.things t;
select is((select is_rls_enabled from tap.given('a', tap.inserted())), true, 'is_rls_enabled is true');
create or replace function tap.raises() returns boolean language plpgsql as $$ begin raise exception 'no'; end; $$;
create policy broken on odd.things for select to authenticated using (tap.raises());
update odd.things set owner = tap.id('outsider')::text;
select is(tap.outcome('viewer', 'select from odd.things'), 'P0001', 'a policy raises an error');
select is(tap.told_to(tap.inserted()), 'adf', 'a policy that raises lets nobody in and others still receive');
select is(current_setting('role') || current_setting('request.jwt.claims'), 'none', 'a policy that raises leaves no role and no claims behind');
drop policy broken on odd.things;
create temp table kept as select tap.inserted() as wal;
delete from odd.things;
select is((select tap.told_to(wal) from kept), 'd', 'a row that was deleted since is sent to no user');

-- Odd keys are found again by their text in the log
create table odd.keys (k1 jsonb, k2 text[], k3 timestamptz, k4 bytea, k5 odd.mood, k6 char(6), k7 numeric, k8 text, primary key (k1, k2, k3, k4, k5, k6, k7, k8));
alter table odd.keys enable row level security;
create policy everybody on odd.keys for select to authenticated using (true);
grant select on odd.keys to authenticated;
insert into odd.keys values ('"a string"', '{"b c",NULL,"''"}', '2026-01-02 03:04:05.678+00', '\xdead', 'happy', 'ab', 1.50, E'quote '' and \\ back'), ('{"a": [1]}', '{}', 'infinity', '', 'sad', '', 'NaN', '');
select tap.unsubscribe();
select tap.subscribe('a', 'odd.keys', '{}', 'viewer');
select is(tap.told_to(tap.change('I', 'odd.keys', k)), 'a', format('a row is found again by the key %s', k::text)) from odd.keys k;

-- Equal rights are asked about once
create sequence odd.asked;
grant usage on sequence odd.asked to authenticated;
create policy counted on odd.keys as restrictive for select to authenticated using (nextval('odd.asked') > 0);
delete from odd.keys where k8 = '';
select tap.subscribe('s' || n, 'odd.keys', array[tap.filter('k7', 'gt', (n % 3)::text)], case when n % 2 = 0 then 'owner' else 'operator' end) from generate_series(1, 20) n;
select is((select sum(array_length(subscription_ids, 1))::int from odd.keys k, realtime.apply_rls(tap.change('I', 'odd.keys', k))), 14, 'of 21 subscribers those whose filter passes receive the change');
select is((select last_value::int from odd.asked), 3, 'the policies are tested once for each person');

-- The hub's own tables
select tap.unsubscribe();
create temp table sent as select (public.hub_send(tap.channel('evals'), 'secret') -> 'message' ->> 'id')::uuid as labs, (public.hub_send(tap.channel('quick'), 'open') -> 'message' ->> 'id')::uuid as open;
select tap.subscribe('a', 'public.hub_channel_messages', array[tap.filter('channel_id', 'eq', tap.channel(c)::text)], who) from (values ('evals', 'viewer')) x (c, who);
select tap.subscribe('b', 'public.hub_channel_messages', array[tap.filter('channel_id', 'eq', tap.channel('evals')::text)], 'outsider');
select tap.subscribe('c', 'public.hub_channel_messages', array[tap.filter('channel_id', 'eq', tap.channel('quick')::text)], 'outsider');
select tap.subscribe('d', 'public.hub_channel_messages', '{}', 'anonymous');
select tap.subscribe('e', 'public.hub_channel_messages', '{}', 'device:tap-all');
select tap.subscribe('f', 'public.hub_channel_messages', '{}', 'service');
select is(tap.told_to(tap.change('I', 'public.hub_channel_messages', m)), 'af', 'a message of a members'' server is sent to its members') from sent join public.hub_channel_messages m on m.id = labs;
select is(tap.told_to(tap.change('I', 'public.hub_channel_messages', m)), 'cf', 'a message of an open server is sent to everybody who is signed in') from sent join public.hub_channel_messages m on m.id = open;
select tap.subscribe('g', 'public.mac_tasks', '{}', 'device:tap-all');
select tap.subscribe('h', 'public.mac_tasks', '{}', 'device:tap-own');
select tap.subscribe('i', 'public.mac_tasks', '{}', 'viewer');
create temp table held as select tap.running('quick') as id;
select is(tap.told_to(tap.change('U', 'public.mac_tasks', t)), 'gi', 'a running task is sent to its device too') from held join public.mac_tasks t using (id);
select is((select (wal -> 'record') - 'seq' from tap.given('i', tap.change('U', 'public.mac_tasks', t)) x), to_jsonb(t) - 'seq', 'a task is sent as its row') from held join public.mac_tasks t using (id);

-- Who may call it
select is(tap.outcome(a, $$select realtime.apply_rls('{}')$$), '42501', format('%s may not call apply_rls', a)) from unnest(array['anon', 'viewer', 'service']) a;
select is(tap.outcome(a, $$select from realtime.subscription$$), '42501', format('%s may not read realtime.subscription', a)) from unnest(array['anon', 'viewer']) a;

select * from finish();
rollback;
