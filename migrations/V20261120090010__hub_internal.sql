-- Why: everything after this file leans on three things: a schema no API exposes, one answer to "who is
-- calling", and one way to refuse.

create schema if not exists hub_internal;       -- the migration runner may have made it for its history
comment on schema hub_internal is
  'Function bodies, helpers and bookkeeping of Aura Hub. Never exposed by an API.';

revoke all on schema hub_internal from public;

-- Invoker functions in public call bodies in here, so the API roles need to reach it; each body checks its
-- caller.
grant usage on schema hub_internal to authenticated, service_role;

-- Who is calling --------------------------------------------------------------------------------------------

-- A rule for all files: small helpers are plpgsql. A SQL function with a SET clause is never inlined and is
-- planned anew at each call; plpgsql keeps its plan. Measured on a task's whole life: a third of the time.

-- A SECURITY DEFINER body runs as its owner, so current_user tells nothing there. The setting `role` still
-- holds what PostgREST (or psql) chose with SET ROLE; without it, the session's own user counts.
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
grant execute on function hub_internal.caller_role to authenticated, service_role;

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
  -- Asked by every function: no statement before one is needed.
  if pg_has_role(v_role, 'service_role', 'usage') then
    return true;
  end if;
  return pg_has_role(v_role,
                     (select n.nspowner from pg_catalog.pg_namespace n where n.nspname = 'hub_internal'),
                     'usage');
end;
$$;
comment on function hub_internal.is_trusted() is
  'Whether the caller is service_role, postgres or a superuser, as opposed to a person or a device with a '
  'token.';
grant execute on function hub_internal.is_trusted to authenticated, service_role;

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
grant execute on function hub_internal.claims to authenticated, service_role;

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
  'The device that the caller''s token names, whether or not it is enrolled; null for people and for '
  'trusted callers.';
grant execute on function hub_internal.token_device to authenticated, service_role;

create function hub_internal.person()
  returns uuid
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_claims jsonb;
  v_sub    text;
begin
  -- Every policy asks this once a query: no call of another function, no statement, only expressions.
  if coalesce(nullif(current_setting('role', true), 'none'), session_user::text) <> 'authenticated' then
    return null;
  end if;
  v_claims := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
  v_sub := v_claims ->> 'sub';
  -- Four dashes in their places and hexadecimal digits: one regular expression takes seven times as long.
  if v_claims #>> '{app_metadata,device}' is not null or v_claims ->> 'is_anonymous' = 'true'
     or (v_sub like '________-____-____-____-____________' and v_sub not like '%-%-%-%-%-%'
         and v_sub !~ '[^0-9a-fA-F-]') is not true then
    return null;
  end if;
  return v_sub::uuid;
end;
$$;
comment on function hub_internal.person() is
  'The signed-in person. Null for devices, anonymous sign-ins and trusted callers: they own nothing as '
  'people.';
grant execute on function hub_internal.person to authenticated, service_role;

-- A name that reads as the hub's own, or as one of its agents at work (claude/mac1), is nobody's to take: not
-- in other letters, with accents, signs or invisible ones between, either. normalize() takes off accents and
-- makes letters of other shapes plain ones; the rest is folded here, for the letters of the names below: what
-- looks like them in Latin, Cyrillic, Greek, Armenian, Cherokee and Lisu, digits, boxed letters, flags. Both
-- cases, because lower() knows those of the database's locale alone.
create function hub_internal.poses_as_hub(p_name text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_plain text := normalize(p_name, nfkd);
begin
  if translate(v_plain, '⁄∕╱⧸⟋', '/////')
     ~ '^[[:space:]]*[^[:space:]/]+[[:space:]]*/[[:space:]]*[^[:space:]/]+[[:space:]]*$' then
    return true;
  end if;
  v_plain := translate(
    v_plain,
    'аАαΑɑᴀꓮᎪ∀@4🅐🅰🇦' ||
    'ьЬвВβΒʙƅƄƀɃɓꓐᏴ8🅑🅱🇧' ||
    'еЕєЄεΕᴇɛəҽ℮ꓰᎬ3🅔🅴🇪' ||
    'һҺнНʜΗհћħĦɦꓧᎻᏂ🅗🅷🇭' ||
    'мМΜᴍɱꓟᎷ🅜🅼🇲' ||
    'оОοΟσᴏօՕøØꓳⲟ0🅞🅾🇴' ||
    'гГʀᴦɾяЯⲅꓣᎡ🅡🆁🇷' ||
    'ѕЅꜱʂտꓢᏚƽ5$🅢🆂🇸' ||
    'тТτΤᴛŧŦꓔᎢ7🅣🆃🇹' ||
    'υսՍᴜʊʋμцЦџꓴ∪🅤🆄🇺' ||
    'уУүҮγʏꓬᎩ¥🅨🆈🇾',
    repeat('a', 14) || repeat('b', 18) || repeat('e', 17) || repeat('h', 17)
    || repeat('m', 10) || repeat('o', 16) || repeat('r', 13) || repeat('s', 13)
    || repeat('t', 13) || repeat('u', 15) || repeat('y', 12));
  return regexp_replace(lower(v_plain), '[^a-z]', '', 'g')
         in ('aurahub', 'hub', 'thehub', 'theaurahub', 'aurahubbot', 'system');
end;
$$;
comment on function hub_internal.poses_as_hub(text) is
  'Whether a name would be read as the hub itself, or as an agent of it.';
grant execute on function hub_internal.poses_as_hub to authenticated, service_role;

-- Who a person is for others, by their token. A token's names are its bearer's to write, so none of them may
-- be the hub's.
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
    select n.name
      from (values (1, hub_internal.shown_name(v_claims #>> '{user_metadata,full_name}')),
                   (2, hub_internal.shown_name(v_claims #>> '{user_metadata,name}')),
                   (3, hub_internal.shown_name(split_part(v_claims ->> 'email', '@', 1))),
                   (4, left(v_claims ->> 'sub', 8))) as n (preference, name)
     where n.name is not null
       and not hub_internal.poses_as_hub(n.name)
     order by n.preference limit 1);
end;
$$;
grant execute on function hub_internal.person_label to authenticated, service_role;

-- Refusing --------------------------------------------------------------------------------------------------

create function hub_internal.refuse(
    p_code text, p_message text, p_detail text default null, p_hint text default null)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  raise exception using
    errcode = p_code,
    message = p_message,
    detail  = coalesce(p_detail, ''),
    hint    = coalesce(p_hint, '');
end;
$$;
comment on function hub_internal.refuse(text, text, text, text) is
  'Raises. Codes: UH001 bad input, UH002 lease lost, UH003 conflict, UH004 not found, UH005 device not '
  'usable, UH006 too many, 42501 no right.';
grant execute on function hub_internal.refuse to authenticated, service_role;

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
grant execute on function hub_internal.require_operate to authenticated, service_role;

-- What keeps time, delivers and takes in is for the service and the database alone.
create function hub_internal.require_trusted(p_what text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if not hub_internal.is_trusted() then
    perform hub_internal.refuse('42501', 'permission denied', p_what,
      'Only service_role and postgres do this.');
  end if;
end;
$$;

-- A time that functions reckon with is one of a calendar: infinity would be written into rows that clients
-- read.
create function hub_internal.require_moment(p_now timestamptz)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if (p_now between '2000-01-01Z' and '9999-01-01Z') is not true then
    perform hub_internal.refuse('UH001', 'bad input', format('p_now %s', coalesce(p_now::text, 'is null')),
      'Give a time between the years 2000 and 9999, or leave it out.');
  end if;
end;
$$;

-- Bodies that a person or a device may call take the time as an argument, for tests and the keeper; theirs is
-- the present alone, or a lease would last for years.
create function hub_internal.require_present(p_now timestamptz)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if p_now is distinct from now() and not hub_internal.is_trusted() then
    perform hub_internal.refuse('42501', 'permission denied', 'p_now',
      'Only service_role and postgres choose the time.');
  end if;
end;
$$;

-- Which hub this is -----------------------------------------------------------------------------------------

-- A machine that works for several hubs keeps what it owes each of them by this: addresses change, and one hub
-- has several (a pooler, a project's URL). It goes with the data, into a dump and out of it.
create table hub_internal.hub (
  id  uuid primary key default gen_random_uuid(),
  one boolean not null default true,
  constraint hub_one_key unique (one),
  constraint hub_one_check check (one)
);
comment on table hub_internal.hub is 'One row: which hub this is, whatever its address. Devices are told.';

alter table hub_internal.hub enable row level security;

insert into hub_internal.hub default values;

-- Settings --------------------------------------------------------------------------------------------------

create table hub_internal.settings (
  name  text primary key,
  value interval not null,
  about text not null,
  constraint settings_value_check check (value > interval '0')
);
comment on table hub_internal.settings is
  'Times for the whole deployment; change them with UPDATE. A channel may have its own: '
  'hub_channels.thread_idle_after and thread_decay_after.';

alter table hub_internal.settings enable row level security;

insert into hub_internal.settings (name, value, about) values
  ('thread_idle_after',    '2 hours',    'an active thread without activity for this long becomes idle'),
  ('thread_decay_after',   '1 hour',     'an idle thread becomes decaying this long after it became idle'),
  ('device_offline_after', '90 seconds', 'a device that was silent for this long counts as offline'),
  ('outage_grace',         '30 seconds',
   'for this long after the database was away or nobody kept time, attempts that could not be renewed are '
   'not taken back'),
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

-- Rows ------------------------------------------------------------------------------------------------------

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

-- An id that somebody chose and that is taken where they may not look is replaced: a conflict would tell them
-- of the row. One that is taken where they may look conflicts as ever. Runs as the one who inserts, so that
-- the first look is under row level security.
create function hub_internal.id_is_taken(p_table regclass, p_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer                                -- looks past the policies, tells no more than it is asked
  set search_path = ''
as $$
begin
  -- Each table by its own words: whoever may call this could name a view of theirs, whose functions would run
  -- as the owner of this one.
  return case p_table::oid
    when 'public.mac_tasks'::regclass then exists (select from public.mac_tasks x where x.id = p_id)
    when 'public.hub_channel_messages'::regclass
      then exists (select from public.hub_channel_messages x where x.id = p_id)
    when 'public.hub_projects'::regclass then exists (select from public.hub_projects x where x.id = p_id)
    when 'public.hub_routing_rules'::regclass
      then exists (select from public.hub_routing_rules x where x.id = p_id)
    when 'public.hub_webhook_rules'::regclass
      then exists (select from public.hub_webhook_rules x where x.id = p_id)
    when 'public.hub_ask_rules'::regclass then exists (select from public.hub_ask_rules x where x.id = p_id)
    when 'public.hub_model_fallbacks'::regclass
      then exists (select from public.hub_model_fallbacks x where x.id = p_id)
    when 'public.hub_shares'::regclass then exists (select from public.hub_shares x where x.id = p_id)
    when 'public.hub_bridges'::regclass then exists (select from public.hub_bridges x where x.id = p_id)
  end;
end;
$$;
grant execute on function hub_internal.id_is_taken to authenticated, service_role;

create function hub_internal.fresh_id()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
declare
  v_seen boolean;
begin
  if current_user <> 'authenticated' then
    return new;
  elsif new.id is null then
    new.id := gen_random_uuid();
    return new;
  end if;
  -- Of two at once with the same id, the second finds the first: else it would be skipped or refused after it
  -- has taken a number.
  perform pg_advisory_xact_lock(hashtextextended('hub_id ' || new.id, 0));
  if hub_internal.id_is_taken(tg_relid, new.id) then
    execute format('select exists (select from %s where id = $1)', tg_relid::regclass)
      into v_seen
      using new.id;
    if not v_seen then
      new.id := gen_random_uuid();
    end if;
  end if;
  return new;
end;
$$;
