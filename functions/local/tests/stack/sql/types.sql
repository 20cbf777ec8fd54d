-- Every type that a column can have, with a plain value, odd ones and none. Names of columns say the type.
create type public.mood as enum ('sad', 'so "so"', 'a,b');
create domain public.percent as numeric(5, 2) check (value between 0 and 100);
create domain public.short as varchar(5);
create domain public.numbers as int[];
create type public.pair as (a int, b text);
create type public.floats as range (subtype = float8);

create table public.every (
  id int primary key,
  c_boolean boolean, c_smallint smallint, c_integer integer, c_bigint bigint, c_numeric numeric, c_numeric_5_2 numeric(5, 2), c_real real,
  c_double double precision, c_money money,
  c_text text, c_varchar character varying, c_varchar_5 character varying(5), c_char character(5), c_bpchar bpchar, c_letter "char", c_name name,
  c_bytea bytea, c_bit bit(3), c_varbit bit varying, c_uuid uuid,
  c_date date, c_time time, c_time_3 time(3), c_timetz timetz, c_timestamp timestamp, c_timestamptz timestamptz, c_timestamptz_0 timestamptz(0),
  c_interval interval,
  c_json json, c_jsonb jsonb, c_jsonpath jsonpath,
  c_inet inet, c_cidr cidr, c_macaddr macaddr, c_macaddr8 macaddr8,
  c_point point, c_line line, c_lseg lseg, c_box box, c_path path, c_polygon polygon, c_circle circle,
  c_int4range int4range, c_int8range int8range, c_numrange numrange, c_tsrange tsrange, c_tstzrange tstzrange, c_daterange daterange,
  c_int4multirange int4multirange, c_int8multirange int8multirange, c_nummultirange nummultirange, c_tsmultirange tsmultirange,
  c_tstzmultirange tstzmultirange, c_datemultirange datemultirange,
  c_tsvector tsvector, c_tsquery tsquery,
  c_oid oid, c_xid xid, c_xid8 xid8, c_cid cid, c_tid tid, c_pg_lsn pg_lsn, c_pg_snapshot pg_snapshot, c_txid_snapshot txid_snapshot,
  c_refcursor refcursor, c_aclitem aclitem, c_int2vector int2vector, c_oidvector oidvector,
  c_regclass regclass, c_regtype regtype, c_regproc regproc, c_regprocedure regprocedure, c_regoper regoper, c_regoperator regoperator,
  c_regrole regrole, c_regnamespace regnamespace, c_regcollation regcollation, c_regconfig regconfig, c_regdictionary regdictionary,
  c_mood public.mood, c_percent public.percent, c_short public.short, c_numbers public.numbers, c_pair public.pair, c_floats public.floats,
  c_integers integer[], c_texts text[], c_table integer[][], c_moods public.mood[], c_pairs public.pair[], c_jsonbs jsonb[], c_byteas bytea[],
  c_timestamptzs timestamptz[], c_ranges int4range[], c_percents public.percent[]
);
grant all on public.every to service_role;

insert into public.every values
  (1, true, 1, 2, 3, 1.50, 1.5, 0.9, 0.1, 12.34,
   'text', 'varying', 'five', 'ab', 'ab', 'c', 'name',
   '\xdeadbeef', b'101', b'1', '0188cd5e-9c7e-7d0a-8000-000000000001',
   '2026-11-29', '23:59:59.1', '12:00:00.120', '12:00:00.5+02', '2026-11-29 21:00:00.1', '2026-11-29 21:00:00.120000+02', '2026-11-29 21:00:00+00',
   '1 year 2 mons 3 days 04:05:06.7',
   '{"b": 1,  "a": [1.50, null]}', '{"b": 1, "a": [1.50, null]}', '$.a[*] ? (@ > 1)',
   '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
   '(1,2)', '{1,2,3}', '[(1,2),(3,4)]', '(3,4),(1,2)', '((1,2),(3,4))', '((1,2),(3,4),(5,6))', '<(1,2),3>',
   '[1,5)', '[1,5)', '[1.0,2.50)', '[2026-01-01 00:00,2026-01-02 00:00)', '[2026-01-01 00:00+00,2026-01-02 00:00+00)', '[2026-01-01,2026-01-02)',
   '{[1,2),[5,6)}', '{[1,2)}', '{[1.0,2.0)}', '{[2026-01-01 00:00,2026-01-02 00:00)}', '{[2026-01-01 00:00+00,)}', '{[2026-01-01,2026-01-02)}',
   'a fat cat', 'fat & (cat | !rat)',
   1, '7', '8', '9', '(0,1)', '16/B374D848', '10:20:10,14,15', '10:20:10,14,15', 'cursor', 'postgres=r/postgres', '1 2', '3 4',
   'public.every', 'integer', 'now', 'abs(integer)', '||/', '=(integer,integer)', 'postgres', 'public', '"C"', 'english', 'simple',
   'sad', 12.5, 'short', '{1,2}', '(1,x)', '[0.5,1.5)',
   '{1,2}', '{a,b}', '{{1,2},{3,4}}', '{sad}', array['(1,x)'::public.pair], array['{"a": 1}'::jsonb], '{"\\xff"}', '{2026-11-29 21:00:00+00}',
   '{"[1,2)"}', '{1.5}'),
  -- The largest, or beyond all.
  (2, false, 32767, 2147483647, 9223372036854775807, 'Infinity', 'NaN', 'Infinity', 'Infinity', 92233720368547758.07,
   e'"quoted", comma, \\ back\\slash\nnext line\ttab', e'\u00e9\u4e2d\U0001F600', '''"\,;', '"', '  a ', '\', e'a "b"\n',
   '\x', b'111', b'', 'ffffffff-ffff-ffff-ffff-ffffffffffff',
   'infinity', '24:00:00', '23:59:59.999', '00:00:00+15:59', 'infinity', 'infinity', 'infinity',
   '178000000 years',
   '"a \"text\""', '"\u00e9\n"', 'lax $."a b".c',
   '::1', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff',
   '(Infinity,NaN)', '{0,-1,0.1}', '[(0,0),(0,0)]', '(Infinity,Infinity),(-Infinity,-Infinity)', '[(1,2),(3,4)]', '((0,0))', '<(0,0),Infinity>',
   'empty', '(,)', '(,1.5]', '[-infinity,infinity]', '["2026-01-01 00:00+00",infinity)', '[-infinity,)',
   '{}', '{(,)}', '{(,1.5]}', '{}', '{[-infinity,infinity]}', '{[-infinity,)}',
   e'''it''''s'':1A,2B ''a\\\\b'' ''"q"''', '''a b'':*A <-> c',
   4294967295, '4294967295', '18446744073709551615', '4294967295', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '1:1:', '1:1:', 'a "b"', '=Tc/postgres', '', '',
   'pg_catalog.pg_class', 'numeric', '-', '-', '0', '0', 'pg_monitor', 'pg_catalog', '"POSIX"', 'simple', 'english_stem',
   'so "so"', 100, '', '{}', '(,"a ""b"", c")', '(,)',
   '{NULL,-2147483648}', '{"",NULL,"NULL","a,b","\"","\\","{}"}', '{{1,NULL},{NULL,2}}', '{"so \"so\"","a,b",NULL}',
   array['(,)'::public.pair, null, '(1,"x,y")'::public.pair], array['null'::jsonb, '"x"', null], '{"",NULL}', '{infinity,-infinity}', '{empty,"(,)"}', '{0,100}'),
  -- The smallest, and the far ends of time.
  (3, null, -32768, -2147483648, -9223372036854775808, '-Infinity', -999.99, '-Infinity', '-Infinity', -92233720368547758.08,
   '', '', '', '', '', '', '',
   '\x00ff', b'000', b'0000000000000000000000000000000000000000000000000000000000000000000', '00000000-0000-0000-0000-000000000000',
   '-infinity', '00:00:00', '00:00:00', '24:00:00-15:59', '-infinity', '-infinity', '-infinity',
   '-178000000 years -11 mons',
   'null', 'null', '$',
   '0.0.0.0/0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00',
   '(-0,0)', '{1,0,0}', '[(-1.5,1e300),(1e-300,0)]', '(0,0),(0,0)', '((0,0))', '((0,0),(1,1))', '<(0,0),0>',
   '(,5)', '[5,)', 'empty', 'empty', '(,)', 'empty',
   '{(,1),[5,)}', '{}', '{}', '{(,)}', '{}', '{}',
   '', '',
   0, '0', '0', '0', '(0,0)', '0/0', '1:1:', '1:1:', '', 'postgres=arwdDxt*/postgres', '-1', '0',
   null, null, null, null, null, null, null, null, null, null, null,
   'a,b', 0, e'\\', '{NULL}', '(-5,)', 'empty',
   '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
  (5, true, 0, 0, 9007199254740993, 123456789012345678901234567890.123456789012345678901234567890, 0, 1e-45, 5e-324, 0,
   repeat('x', 10000), 'NULL', 'null', '{}', '[]', 'n', 'null',
   decode(repeat('ab', 1000), 'hex'), b'010', b'01', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
   '0001-01-01 BC', '00:00:00.000001', '00:00:00.001', '12:00+00', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999+00', '1970-01-01 00:00:00+00',
   '-1 days +00:00:00.000001',
   '[1e300, 0.10, 12345678901234567890123]', '[1e300, 0.10, 12345678901234567890123]', '$.a.type()',
   '::ffff:1.2.3.4/128', '::/0', '01:23:45:67:89:ab', '01:23:45:67:89:ab:cd:ef',
   '(1e-5,123456789.123456789)', '{1,1,1}', '[(1,1),(2,2)]', '(2,2),(1,1)', '[(0,0)]', '((1,1))', '<(1.5,2.5),0.1>',
   '[1,1]', '[1,1]', '[1,1]', '[,2026-01-01 00:00)', '[2026-01-01 00:00+02,2026-01-01 00:00+00]', '[0001-01-01 BC,5874897-12-31)',
   '{[1,1],[2,2]}', '{[1,1]}', '{[1,1]}', '{[2026-01-01 00:00,2026-01-01 00:00]}', '{[2026-01-01 00:00+02,2026-01-01 00:00+00]}', '{[0001-01-01 BC,5874897-12-31)}',
   'word:1,2,3', 'a | b', 16384, '100', '100', '100', '(1,1)', '0/1', '1:2:1', '1:2:1', 'null', 'postgres=*/postgres', '1', '1',
   'public.every', 'text[]', 'now', 'now()', null, '+(integer,integer)', 'service_role', 'extensions', '"default"', 'german', 'simple',
   'sad', 0.01, 'null', '{{1,2},{3,4}}', '(2147483647,"(1,x)")', '[-Infinity,Infinity]',
   '[5:6]={1,2}', '{"line\nbreak","tab	"}', '{{{1},{2}}}', '{sad,sad}', array['(,"null")'::public.pair], array['{"a": [1, null]}'::jsonb], '{"\\x00"}',
   '{"0001-01-01 00:00:00+00 BC"}', '{"[,5)",NULL}', '{NULL}');

insert into public.every (id) values (4);

-- Some builds of Postgres have no XML.
do $$
begin
  alter table public.every add column c_xml xml;
  update public.every set c_xml = case id when 1 then '<a b="c">d &amp; e</a>' when 2 then e'text, "only"\n' when 3 then '' when 5 then '<?xml version="1.0"?><a/>' end::xml;
exception
  when feature_not_supported then null;
end;
$$;

create table public.again (like public.every including all);
grant all on public.again to service_role;
