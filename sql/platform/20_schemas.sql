-- Why: the schemas, extensions, grants and default privileges that migrations find on Supabase.

begin;
lock table pg_catalog.pg_authid in share row exclusive mode;       -- see 10_roles.sql: one runner at a time
set local role supabase_admin;
set local search_path = pg_catalog, pg_temp;                       -- postgres makes things in public and pg_temp

create schema if not exists auth;
create schema if not exists extensions;
create schema if not exists graphql_public;
create schema if not exists realtime;
create schema if not exists storage;
create schema if not exists vault;

do $$
declare
  v_name text;
begin
  foreach v_name in array array['pgcrypto', 'uuid-ossp', 'pg_stat_statements'] loop
    if exists (select from pg_extension where extname = v_name) then
      continue;                                 -- wherever it is: moving it would break what uses it
    end if;
    begin
      execute format('create extension %I with schema extensions', v_name);
    exception
      when others then                          -- each build of Postgres lacks it in its own way: no file, no library, no symbol
        raise notice 'the extension % is not available here, and the hub does not need it: %', v_name, sqlerrm;
    end;
  end loop;
end;
$$;

grant usage on schema auth, extensions, graphql_public, realtime, storage to postgres, anon, authenticated, service_role;
grant usage on schema auth, extensions, realtime, storage to supabase_auth_admin, supabase_storage_admin, dashboard_user;
grant create on schema extensions to postgres, dashboard_user;
grant create on schema auth to supabase_auth_admin;
grant create on schema storage to supabase_storage_admin;

-- postgres deploys: it makes schemas, and owns what it makes in public.
do $$
begin
  execute format('grant all on database %I to postgres', current_database());
end;
$$;
grant all on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;

-- What older Supabase projects grant on everything new in public. The stricter default of new projects hides a forgotten
-- revoke; this one shows it.
alter default privileges for role postgres, supabase_admin in schema public
  grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres, supabase_admin in schema public
  grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres, supabase_admin in schema public
  grant all on sequences to postgres, anon, authenticated, service_role;

do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
end;
$$;
alter publication supabase_realtime owner to postgres;

commit;
