-- Why: `supabase db lint` makes the extension plpgsql_check, and `supabase db reset` drops every extension that is not Supabase's own. On
-- Supabase both are `postgres`' to do. Here an extension that is not trusted is made by superusers and dropped by its owner.

begin;
lock table pg_catalog.pg_authid in share row exclusive mode;       -- see 10_roles.sql: one runner at a time
set local role supabase_admin;
set local search_path = pg_catalog, pg_temp;                       -- postgres makes things in public and pg_temp

-- There is no command for it. What the extension made stays ours: who owns an extension drops that with it.
create or replace function extensions.hub_hand_over_lint()
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog, pg_temp
as $$
begin
  update pg_catalog.pg_extension
     set extowner = 'postgres'::regrole
   where extname = 'plpgsql_check'
     and extowner <> 'postgres'::regrole;
  if not found then
    return;
  end if;
  -- Of a superuser that initdb made nothing is written down; of others it is.
  delete from pg_catalog.pg_shdepend d
   where d.dbid = (select b.oid from pg_catalog.pg_database b where b.datname = current_database())
     and d.classid = 'pg_catalog.pg_extension'::regclass
     and d.objid = (select e.oid from pg_catalog.pg_extension e where e.extname = 'plpgsql_check')
     and d.deptype = 'o';
  insert into pg_catalog.pg_shdepend (dbid, classid, objid, objsubid, refclassid, refobjid, deptype)
  select b.oid, 'pg_catalog.pg_extension'::regclass, e.oid, 0, 'pg_catalog.pg_authid'::regclass, e.extowner, 'o'
    from pg_catalog.pg_extension e, pg_catalog.pg_database b
   where e.extname = 'plpgsql_check'
     and b.datname = current_database()
     and not (select r.rolsuper from pg_catalog.pg_roles r where r.oid = e.extowner);
end;
$$;
comment on function extensions.hub_hand_over_lint() is 'Makes postgres the owner of the extension plpgsql_check. Only in a local stack.';
revoke all on function extensions.hub_hand_over_lint() from public;

-- It runs before the statement itself and its look at who runs it. Afterwards the extension is there, which is why the statement has to
-- say `if not exists`. Whoever may make this one extension may still make no other.
create or replace function extensions.hub_offer_lint()
  returns event_trigger
  language plpgsql
  security definer                                -- postgres is no superuser
  set search_path = pg_catalog, pg_temp           -- where it is not named, pg_temp comes first for types
as $$
begin
  if current_setting('hub.makes_lint', true) = 'yes'               -- our own statement below
     or session_user <> 'postgres'
     or (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = session_user)
     or current_query() !~* '\mcreate\s+extension\M.*\mplpgsql_check\M'
     or exists (select from pg_catalog.pg_extension e where e.extname = 'plpgsql_check')
     or not exists (select from pg_catalog.pg_available_extensions a where a.name = 'plpgsql_check')
  then
    return;
  end if;
  perform pg_catalog.set_config('hub.makes_lint', 'yes', true);
  create extension plpgsql_check with schema extensions;
  perform pg_catalog.set_config('hub.makes_lint', '', true);
  perform extensions.hub_hand_over_lint();
end;
$$;
revoke all on function extensions.hub_offer_lint() from public;

do $$
begin
  if not exists (select from pg_event_trigger where evtname = 'hub_offer_lint') then
    create event trigger hub_offer_lint on ddl_command_start when tag in ('CREATE EXTENSION')
      execute function extensions.hub_offer_lint();
  end if;
end;
$$;

-- One of before.
do $$ begin perform extensions.hub_hand_over_lint(); end; $$;

commit;
