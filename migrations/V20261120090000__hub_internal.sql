-- Why: everything after this file leans on three things: a schema no API exposes, one answer to "who is calling",
-- and one way to refuse. It also looks, before anything is changed, whether a `mac_tasks` that is already here
-- can be adopted; the whole deployment stops at its first file if it can not.

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
  select left(n.name, 80)
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

-- Text -------------------------------------------------------------------------------------------------------------

create function hub_internal.shorten(p_text text, p_length int)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when char_length(p_text) <= p_length then p_text else left(p_text, p_length - 1) || '…' end;
end;
$$;

create function hub_internal.one_line(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return trim(regexp_replace(p_text, '\s+', ' ', 'g'));
end;
$$;

-- A folder below a machine's projects root as everybody writes it: no blank or hidden segment, none that leads elsewhere, no other
-- system's separator. Null for what is none, the bare root among it.
create function hub_internal.normal_path(p_path text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
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
                          hub_internal.is_flat_map(jsonb), hub_internal.poses_as_hub(text), hub_internal.id_is_taken(regclass, uuid)
  to authenticated, service_role;
