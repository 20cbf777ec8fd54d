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

create function hub_internal.person_label()
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
  select left(coalesce(nullif(c #>> '{user_metadata,full_name}', ''), nullif(c #>> '{user_metadata,name}', ''),
                       nullif(split_part(c ->> 'email', '@', 1), ''), left(c ->> 'sub', 8)), 80)
    from hub_internal.claims() as c
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
  'Raises. Codes: UH001 bad input, UH002 lease lost, UH003 conflict, UH004 not found, UH005 device not usable, 42501 no right.';

create function hub_internal.require_operate(p_may boolean, p_what text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if not coalesce(p_may, false) then
    perform hub_internal.refuse('42501', 'permission denied', p_what,
      'An operator or owner of the server may do this; an owner lets people in with hub_set_member.');
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

revoke all on all functions in schema hub_internal from public, anon, authenticated, service_role;
grant execute on function hub_internal.caller_role(), hub_internal.claims(), hub_internal.is_trusted(),
                          hub_internal.token_device(), hub_internal.person(), hub_internal.person_label(),
                          hub_internal.refuse(text, text, text, text), hub_internal.require_operate(boolean, text),
                          hub_internal.is_flat_map(jsonb)
  to authenticated, service_role;
