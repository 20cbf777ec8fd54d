-- Why: everything after this file leans on three things: a schema no API exposes, one answer to "who is calling",
-- and one way to refuse. It also looks, before anything is changed, whether a `mac_tasks` that is already here
-- can be adopted; the whole deployment stops at its first file if it can not.

do $$
begin
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception using
      errcode = 'UH003',
      message = format('the database %s has the encoding %s, in which most texts can not be kept', current_database(), current_setting('server_encoding')),
      hint    = 'Make one in UTF8: create database hub template template0 encoding ''UTF8''';
  end if;
end;
$$;

do $$
declare
  v_problem text;
begin
  if to_regclass('public.mac_tasks') is null then
    return;
  end if;

  -- Every column the hub relies on, with the types it can work with. A column that is missing is added later.
  select string_agg(format('column %s is %s, but must be %s', a.attname, format_type(a.atttypid, a.atttypmod), w.types[1]),
                    '; ' order by a.attnum)
    into v_problem
    from pg_attribute a
    join (values
      ('id',               array['uuid']),
      ('content',          array['text', 'character varying']),
      ('project',          array['text', 'character varying']),
      ('status',           array['text', 'character varying']),
      ('model_preference', array['text', 'character varying']),
      ('model',            array['text', 'character varying']),
      ('agent',            array['text', 'character varying']),
      ('task_type',        array['text', 'character varying']),
      ('platform',         array['text', 'character varying']),
      ('priority',         array['integer', 'smallint', 'bigint']),
      ('claimed_by',       array['text', 'character varying']),
      ('attempt',          array['integer']),
      ('max_attempts',     array['integer']),
      ('lease_expires_at', array['timestamp with time zone']),
      ('run_after',        array['timestamp with time zone']),
      ('partial_output',   array['text', 'character varying']),
      ('result',           array['text', 'character varying']),
      ('error',            array['text', 'character varying']),
      ('channel_id',       array['uuid']),
      ('thread_id',        array['uuid']),
      ('message_id',       array['uuid']),
      ('parent_id',        array['uuid']),
      ('team_id',          array['uuid']),
      ('session_id',       array['text', 'character varying']),
      ('session_device',   array['text', 'character varying']),
      ('idempotency_key',  array['text', 'character varying']),
      ('cancel_requested_at', array['timestamp with time zone']),
      ('metadata',         array['jsonb']),
      ('created_by',       array['uuid']),
      ('server_id',        array['uuid']),
      ('created_at',       array['timestamp with time zone']),
      ('updated_at',       array['timestamp with time zone']),
      ('claimed_at',       array['timestamp with time zone']),
      ('finished_at',      array['timestamp with time zone']),
      ('seq',              array['bigint'])
    ) as w (name, types) on w.name = a.attname
   where a.attrelid = 'public.mac_tasks'::regclass
     and a.attnum > 0
     and not a.attisdropped
     and not (format_type(a.atttypid, null) = any (w.types));

  if v_problem is null and (select c.relkind from pg_class c where c.oid = 'public.mac_tasks'::regclass) not in ('r', 'p') then
    v_problem := 'it is not a table';
  end if;
  if v_problem is null
     and (select count(*) from pg_attribute a
           where a.attrelid = 'public.mac_tasks'::regclass and not a.attisdropped
             and a.attname in ('id', 'content', 'status')) < 3 then
    v_problem := 'it lacks one of the columns id, content and status';
  end if;
  if v_problem is null
     and not exists (
       select from pg_index i
        where i.indrelid = 'public.mac_tasks'::regclass and i.indisunique and i.indpred is null
          and i.indnkeyatts = 1
          and i.indkey[0] = (select attnum from pg_attribute
                              where attrelid = 'public.mac_tasks'::regclass and attname = 'id')) then
    v_problem := 'column id is neither its primary key nor unique';
  end if;
  if v_problem is null
     and not pg_has_role(current_user, (select relowner from pg_class where oid = 'public.mac_tasks'::regclass), 'usage') then
    v_problem := format('it belongs to %s, and %s may not change it',
                        (select relowner::regrole from pg_class where oid = 'public.mac_tasks'::regclass), current_user);
  end if;
  if v_problem is null then
    execute $q$
      select string_agg(format('%s rows have the status %s', n, coalesce(quote_literal(status), 'null')), '; ')
        from (select status::text, count(*) as n from public.mac_tasks
               where status is null
                  or status not in ('pending', 'running', 'waiting', 'blocked', 'complete', 'failed', 'cancelled')
               group by 1) s $q$ into v_problem;
  end if;
  if v_problem is null
     and exists (select from pg_attribute where attrelid = 'public.mac_tasks'::regclass
                    and attname = 'model_preference' and not attisdropped) then
    execute $q$
      select string_agg(format('%s rows have the model_preference %L', n, m), '; ')
        from (select model_preference::text as m, count(*) as n from public.mac_tasks
               where model_preference not in ('claude', 'gemini', 'codex', 'any') group by 1) s $q$ into v_problem;
  end if;
  if v_problem is null and exists (select from pg_attribute where attrelid = 'public.mac_tasks'::regclass
                                      and attname = 'priority' and not attisdropped) then
    execute 'select format(''%s rows have a priority outside 0 to 9'', count(*)) from public.mac_tasks
              where priority not between 0 and 9 having count(*) > 0' into v_problem;
  end if;

  if v_problem is not null then
    raise exception using
      errcode = 'UH003',
      message = 'the existing table public.mac_tasks can not be adopted',
      detail  = v_problem,
      hint    = 'Nothing was changed. Alter the table so that it fits, or rename it; then migrate again.';
  end if;
end;
$$;

create schema if not exists hub_internal;       -- the migration runner may have made it for its history
comment on schema hub_internal is 'Function bodies, helpers and bookkeeping of Aura Hub. Never exposed by an API.';
revoke all on schema hub_internal from public;
-- Invoker functions in public call bodies in here, so the API roles need to reach it; each body checks its caller.
grant usage on schema hub_internal to authenticated, service_role;

-- A rule for all files: small helpers are plpgsql. A SQL function with a SET clause is never inlined and is planned anew at
-- each call; plpgsql keeps its plan. Measured on a task's whole life: a third of the time.

-- Who is calling ------------------------------------------------------------------------------------------------
-- A SECURITY DEFINER body runs as its owner, so current_user tells nothing there. The setting `role` still holds what
-- PostgREST (or psql) chose with SET ROLE; without it, the session's own user counts.

create function hub_internal.caller_role()
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce(nullif(current_setting('role', true), 'none'), session_user::text);
end;
$$;

create function hub_internal.is_trusted()
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_role text := coalesce(nullif(current_setting('role', true), 'none'), session_user::text);
begin
  if v_role in ('anon', 'authenticated', 'authenticator') then
    return false;
  end if;
  if pg_has_role(v_role, 'service_role', 'usage') then           -- asked by every function: no statement before it is needed
    return true;
  end if;
  return pg_has_role(v_role, (select n.nspowner from pg_catalog.pg_namespace n where n.nspname = 'hub_internal'), 'usage');
end;
$$;
comment on function hub_internal.is_trusted() is
  'Whether the caller is service_role, postgres or a superuser, as opposed to a person or a device with a token.';

create function hub_internal.claims()
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return nullif(current_setting('request.jwt.claims', true), '')::jsonb;
end;
$$;

create function hub_internal.token_device()
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return case when hub_internal.caller_role() = 'authenticated'
              then nullif(hub_internal.claims() #>> '{app_metadata,device}', '') end;
end;
$$;
comment on function hub_internal.token_device() is
  'The device that the caller''s token names, whether or not it is enrolled; null for people and for trusted callers.';

create function hub_internal.person()
  returns uuid
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_claims jsonb;
begin
  -- Every policy asks this once a query: no call of another function, no statement, only expressions.
  if coalesce(nullif(current_setting('role', true), 'none'), session_user::text) <> 'authenticated' then
    return null;
  end if;
  v_claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
  if v_claims #>> '{app_metadata,device}' is not null or v_claims ->> 'is_anonymous' = 'true'
     or (v_claims ->> 'sub' ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$') is not true then
    return null;
  end if;
  return (v_claims ->> 'sub')::uuid;
end;
$$;
comment on function hub_internal.person() is
  'The signed-in person. Null for devices, anonymous sign-ins and trusted callers: they own nothing as people.';

-- A name that reads as the hub's own is nobody's to take: not in other letters, with signs between or invisible ones, either. The letters are those of Cyrillic and Greek that look like its own (of both
-- cases: lower() knows those of the database's locale alone).
create function hub_internal.poses_as_hub(p_name text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return regexp_replace(translate(lower(normalize(p_name, nfkc)), 'аαАΑһнʜНΗьВΒυսᴜгʀтτеεіιοоѕсԁɡᴀʙ0134', 'aaaahhhhhbbbuuurrtteeiiooscdgaboiea'), '[^a-z]', '', 'g')
         in ('aurahub', 'hub', 'thehub', 'theaurahub', 'aurahubbot');
end;
$$;
comment on function hub_internal.poses_as_hub(text) is 'Whether a name would be read as the hub itself.';

-- Who a person is for others, by their token. A token's names are its bearer's to write, so none of them may be the hub's.
create function hub_internal.person_label()
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_claims jsonb := hub_internal.claims();
begin
  return (
  select hub_internal.head(n.name, 80)
    from unnest(array[v_claims #>> '{user_metadata,full_name}', v_claims #>> '{user_metadata,name}',
                      split_part(v_claims ->> 'email', '@', 1), left(v_claims ->> 'sub', 8)]) with ordinality as n (name, place)
   where btrim(n.name) <> '' and not hub_internal.poses_as_hub(n.name)
   order by n.place limit 1
  );
end;
$$;

-- Refusing --------------------------------------------------------------------------------------------------------

create function hub_internal.refuse(p_code text, p_message text, p_detail text default null, p_hint text default null)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  raise exception using errcode = p_code, message = p_message, detail = coalesce(p_detail, ''), hint = coalesce(p_hint, '');
end;
$$;
comment on function hub_internal.refuse(text, text, text, text) is
  'Raises. Codes: UH001 bad input, UH002 lease lost, UH003 conflict, UH004 not found, UH005 device not usable, UH006 too many, 42501 no right.';

create function hub_internal.require_operate(p_may boolean, p_what text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if not coalesce(p_may, false) then
    perform hub_internal.refuse('42501', 'permission denied', p_what,
      'An operator or owner of the server may do this; an owner lets people in with hub_invite.');
  end if;
end;
$$;

-- What keeps time, delivers and takes in is for the service and the database alone.
create function hub_internal.require_trusted(p_what text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if not hub_internal.is_trusted() then
    perform hub_internal.refuse('42501', 'permission denied', p_what, 'Only service_role and postgres do this.');
  end if;
end;
$$;

-- What is called again and again by whoever keeps time: a moment, and how much one call may do.
create function hub_internal.require_round(p_now timestamptz, p_limit int, p_most int default 100000)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if p_now is null or p_limit is null or p_limit not between 1 and p_most then
    perform hub_internal.refuse('UH001', 'bad input', 'p_now or p_limit', format('p_limit is 1 to %s.', to_char(p_most, 'FM999,999')));
  end if;
end;
$$;

-- Settings ---------------------------------------------------------------------------------------------------------

create table hub_internal.settings (
  name       text primary key,
  value      interval not null,
  about      text not null,
  constraint settings_value_check check (value > interval '0')
);
comment on table hub_internal.settings is
  'Times for the whole deployment; change them with UPDATE. A channel may have its own: hub_channels.thread_idle_after and thread_decay_after.';

insert into hub_internal.settings (name, value, about) values
  ('thread_idle_after',  '2 hours',    'an active thread without activity for this long becomes idle'),
  ('thread_decay_after', '1 hour',     'an idle thread becomes decaying this long after it became idle'),
  ('device_offline_after', '90 seconds', 'a device that was silent for this long counts as offline'),
  ('daily_feeds_at',       '7 hours',    'when after midnight UTC the daily feeds are posted');

create function hub_internal.setting(p_name text)
  returns interval
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select s.value from hub_internal.settings s where s.name = p_name);
end;
$$;

-- Errands --------------------------------------------------------------------------------------------------------
-- What is to be done without anybody asking for it. A new one is a row and a function, in the file of what it is about.

create table public.hub_errands (
  name     text primary key,
  about    text not null,
  wakes    boolean not null default false,
  function text,                       -- a name, since pg_upgrade refuses a database with a column of regprocedure
  position integer,
  counts   boolean not null default true,
  constraint hub_errands_name_check check (name ~ '^[a-z][a-z_]{0,30}$'),
  constraint hub_errands_function_check check (function ~ '^hub_internal\.[a-z][a-z0-9_]*$'),
  constraint hub_errands_position_check check ((function is null) = (position is null))
);
comment on table public.hub_errands is
  'What whoever keeps time does: hub_recover calls each function (now, at most so many: how many it did) in the order of position. Changed by migrations only.';
comment on column public.hub_errands.wakes is 'Told by NOTIFY hub_errands with the name as payload: a program carries it out at once, and looks from time to time.';
comment on column public.hub_errands.function is 'What hub_recover calls. Null: a program does all of it.';
comment on column public.hub_errands.counts is
  'Whether hub_recover counts what it did, and skips it where the round is full. What does not count is housekeeping that nobody waits for.';
alter table public.hub_errands enable row level security;
revoke all on public.hub_errands from public, anon, authenticated, service_role;
grant select on public.hub_errands to authenticated, service_role;

-- Tells whoever carries the errand out. Postgres folds equal ones of a transaction into one.
create function hub_internal.wake_errand(p_name text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform pg_notify('hub_errands', p_name);
end;
$$;

-- Text -------------------------------------------------------------------------------------------------------------

-- Characters that belong to the one before them (Unicode 14: Mn, Me, Mc, joiners, tones of skin, tags, the later letters of a Hangul
-- syllable), as the inside of a bracket expression.
create function hub_internal.extenders()
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
begin
  return
    '\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a' ||
    '\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a' ||
    '\u07a6-\u07b0\u07eb-\u07f3\u07fd\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b' ||
    '\u0898-\u089f\u08ca-\u08e1\u08e3-\u0903\u093a-\u093c\u093e-\u094f\u0951-\u0957\u0962\u0963' ||
    '\u0981-\u0983\u09bc\u09be-\u09cd\u09d7\u09e2\u09e3\u09fe-\u0a03\u0a3c-\u0a51\u0a70\u0a71\u0a75' ||
    '\u0a81-\u0a83\u0abc\u0abe-\u0acd\u0ae2\u0ae3\u0afa-\u0b03\u0b3c\u0b3e-\u0b57\u0b62\u0b63\u0b82' ||
    '\u0bbe-\u0bcd\u0bd7\u0c00-\u0c04\u0c3c\u0c3e-\u0c56\u0c62\u0c63\u0c81-\u0c83\u0cbc\u0cbe-\u0cd6' ||
    '\u0ce2\u0ce3\u0d00-\u0d03\u0d3b\u0d3c\u0d3e-\u0d4d\u0d57\u0d62\u0d63\u0d81-\u0d83\u0dca-\u0ddf' ||
    '\u0df2\u0df3\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u0f18\u0f19\u0f35' ||
    '\u0f37\u0f39\u0f3e\u0f3f\u0f71-\u0f84\u0f86\u0f87\u0f8d-\u0fbc\u0fc6\u102b-\u103e\u1056-\u1059' ||
    '\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d\u1160-\u11ff' ||
    '\u135d-\u135f\u1712-\u1715\u1732-\u1734\u1752\u1753\u1772\u1773\u17b4-\u17d3\u17dd\u180b-\u180d' ||
    '\u180f\u1885\u1886\u18a9\u1920-\u193b\u1a17-\u1a1b\u1a55-\u1a7f\u1ab0-\u1b04\u1b34-\u1b44' ||
    '\u1b6b-\u1b73\u1b80-\u1b82\u1ba1-\u1bad\u1be6-\u1bf3\u1c24-\u1c37\u1cd0-\u1cd2\u1cd4-\u1ce8\u1ced' ||
    '\u1cf4\u1cf7-\u1cf9\u1dc0-\u1dff\u200c\u200d\u20d0-\u20f0\u2cef-\u2cf1\u2d7f\u2de0-\u2dff' ||
    '\u302a-\u302f\u3099\u309a\ua66f-\ua672\ua674-\ua67d\ua69e\ua69f\ua6f0\ua6f1\ua802\ua806\ua80b' ||
    '\ua823-\ua827\ua82c\ua880\ua881\ua8b4-\ua8c5\ua8e0-\ua8f1\ua8ff\ua926-\ua92d\ua947-\ua953' ||
    '\ua980-\ua983\ua9b3-\ua9c0\ua9e5\uaa29-\uaa36\uaa43\uaa4c\uaa4d\uaa7b-\uaa7d\uaab0\uaab2-\uaab4' ||
    '\uaab7\uaab8\uaabe\uaabf\uaac1\uaaeb-\uaaef\uaaf5\uaaf6\uabe3-\uabea\uabec\uabed\ud7b0-\ud7ff' ||
    '\ufb1e\ufe00-\ufe0f\ufe20-\ufe2f\uff9e\uff9f\U000101fd\U000102e0\U00010376-\U0001037a' ||
    '\U00010a01-\U00010a0f\U00010a38-\U00010a3f\U00010ae5\U00010ae6\U00010d24-\U00010d27' ||
    '\U00010eab\U00010eac\U00010f46-\U00010f50\U00010f82-\U00010f85\U00011000-\U00011002' ||
    '\U00011038-\U00011046\U00011070\U00011073\U00011074\U0001107f-\U00011082\U000110b0-\U000110ba' ||
    '\U000110c2\U00011100-\U00011102\U00011127-\U00011134\U00011145\U00011146\U00011173' ||
    '\U00011180-\U00011182\U000111b3-\U000111c0\U000111c9-\U000111cc\U000111ce\U000111cf' ||
    '\U0001122c-\U00011237\U0001123e\U000112df-\U000112ea\U00011300-\U00011303\U0001133b\U0001133c' ||
    '\U0001133e-\U0001134d\U00011357\U00011362-\U00011374\U00011435-\U00011446\U0001145e' ||
    '\U000114b0-\U000114c3\U000115af-\U000115c0\U000115dc\U000115dd\U00011630-\U00011640' ||
    '\U000116ab-\U000116b7\U0001171d-\U0001172b\U0001182c-\U0001183a\U00011930-\U0001193e\U00011940' ||
    '\U00011942\U00011943\U000119d1-\U000119e0\U000119e4\U00011a01-\U00011a0a\U00011a33-\U00011a39' ||
    '\U00011a3b-\U00011a3e\U00011a47\U00011a51-\U00011a5b\U00011a8a-\U00011a99\U00011c2f-\U00011c3f' ||
    '\U00011c92-\U00011cb6\U00011d31-\U00011d45\U00011d47\U00011d8a-\U00011d97\U00011ef3-\U00011ef6' ||
    '\U00016af0-\U00016af4\U00016b30-\U00016b36\U00016f4f\U00016f51-\U00016f92\U00016fe4-\U00016ff1' ||
    '\U0001bc9d\U0001bc9e\U0001cf00-\U0001cf46\U0001d165-\U0001d169\U0001d16d-\U0001d172' ||
    '\U0001d17b-\U0001d182\U0001d185-\U0001d18b\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244' ||
    '\U0001da00-\U0001da36\U0001da3b-\U0001da6c\U0001da75\U0001da84\U0001da9b-\U0001daaf' ||
    '\U0001e000-\U0001e02a\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e8d0-\U0001e8d6' ||
    '\U0001e944-\U0001e94a\U0001f3fb-\U0001f3ff\U000e0020-\U000e01ef';
end;
$$;

-- The first characters of a text, p_length at most, and no grapheme cluster in two (Unicode's annex 29, without its rules for scripts whose
-- letters join by themselves): not a family from its children, not a letter from its accent. A heap of more than 32 marks is cut nevertheless.
create function hub_internal.head(p_text text, p_length int)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_at    integer := p_length;
  v_least integer := greatest(p_length - 32, 0);
  v_next  text;
  v_last  text;
begin
  if char_length(p_text) <= p_length then
    return p_text;
  end if;
  while v_at > v_least loop
    v_last := substr(p_text, v_at, 1);
    v_next := substr(p_text, v_at + 1, 1);
    exit when not (v_next ~ ('[' || hub_internal.extenders() || ']')
                   or v_last = E'\u200d' and ascii(v_next) > 168
                   or v_last = E'\r' and v_next = E'\n'
                   -- Flags are pairs: cut between the second and the third.
                   or v_next ~ '[\U0001f1e6-\U0001f1ff]'
                      and char_length(substring(left(p_text, v_at) from '[\U0001f1e6-\U0001f1ff]+$')) % 2 = 1);
    v_at := v_at - 1;
  end loop;
  return left(p_text, case when v_at > v_least then v_at else greatest(p_length, 0) end);
end;
$$;

create function hub_internal.shorten(p_text text, p_length int)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when char_length(p_text) <= p_length then p_text else hub_internal.head(p_text, p_length - 1) || '…' end;
end;
$$;

create function hub_internal.one_line(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return trim(regexp_replace(p_text, E'\\s+', ' ', 'g'));
end;
$$;

-- A folder below a machine's projects root as everybody writes it: no blank or hidden segment, none that leads elsewhere, no other
-- system's separator. Null for what is none, the bare root among it.
create function hub_internal.normal_path(p_path text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_segments text[] := array_remove(string_to_array(normalize(btrim(p_path), nfc), '/'), '');
begin
  if p_path is null or p_path like '/%' or char_length(p_path) > 1000 or cardinality(v_segments) = 0
     or exists (select from unnest(v_segments) s where s ~ '^\.|^\s|\s$|[[:cntrl:]\\:]' or char_length(s) > 255) then
    return null;
  end if;
  return array_to_string(v_segments, '/');
end;
$$;

create function hub_internal.require_path(p_path text, p_what text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_path text := hub_internal.normal_path(p_path);
begin
  if v_path is null then
    perform hub_internal.refuse('23514', 'bad input', format('%s %L', p_what, hub_internal.shorten(p_path, 200)),
      'A folder below the root that each machine has for projects, as team/app: no segment that begins with a dot, no backslash or colon, never the root itself.');
  end if;
  return v_path;
end;
$$;

-- What Aura decodes metadata as. Null is none.
create function hub_internal.is_flat_map(p_map jsonb)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return jsonb_typeof(p_map) = 'object' and not jsonb_path_exists(p_map, 'strict $.* ? (@.type() != "string")');
end;
$$;

create function hub_internal.touch()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end;
$$;

-- An id that somebody chose and that is taken where they may not look is replaced: a conflict would tell them of the row. One that is taken
-- where they may look conflicts as ever. Runs as the one who inserts, so that the first look is under row level security.
create function hub_internal.id_is_taken(p_table regclass, p_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer                                -- looks past the policies, and tells no more than it is asked
  set search_path = ''
as $$
declare
  v_taken boolean;
begin
  execute format('select exists (select from %s where id = $1)', p_table) into v_taken using p_id;
  return v_taken;
end;
$$;

create function hub_internal.fresh_id()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
declare
  v_seen boolean;
begin
  if new.id is null then
    new.id := gen_random_uuid();
    return new;
  end if;
  -- Of two at once with the same id, the second finds the first: else it would be skipped or refused after it has taken a number.
  perform pg_advisory_xact_lock(hashtextextended('hub_id ' || new.id, 0));
  if hub_internal.id_is_taken(tg_relid, new.id) then
    execute format('select exists (select from %s where id = $1)', tg_relid::regclass) into v_seen using new.id;
    if not v_seen then
      new.id := gen_random_uuid();
    end if;
  end if;
  return new;
end;
$$;

revoke all on all functions in schema hub_internal from public, anon, authenticated, service_role;
grant execute on function hub_internal.caller_role(), hub_internal.claims(), hub_internal.is_trusted(),
                          hub_internal.token_device(), hub_internal.person(), hub_internal.person_label(),
                          hub_internal.refuse(text, text, text, text), hub_internal.require_operate(boolean, text),
                          hub_internal.is_flat_map(jsonb), hub_internal.poses_as_hub(text), hub_internal.head(text, int), hub_internal.extenders(),
                          hub_internal.id_is_taken(regclass, uuid)
  to authenticated, service_role;
