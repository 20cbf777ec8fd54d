-- Why: a Supabase project has these roles before the first migration, and the migrations, PostgREST and the tests name them.
-- Passwords are never set here: whoever starts the cluster sets those it needs (`hub dev` does), and a role without one can
-- not sign in under scram.

begin;
set local search_path = pg_catalog, pg_temp;                       -- postgres makes things in public and pg_temp

-- Roles belong to the cluster, advisory locks to one database: this lock keeps two runners apart in two databases as well.
-- Signing in only reads the table and does not wait.
lock table pg_catalog.pg_authid in share row exclusive mode;

do $$
begin
  if to_regclass('auth.schema_migrations') is not null then
    raise exception using
      errcode = 'UH003',
      message = 'this database is a Supabase project already',
      detail  = 'The table auth.schema_migrations belongs to Supabase''s own sign-in service.',
      hint    = 'Nothing was changed. Go on with `hub migrate` as the role postgres.';
  end if;
end;
$$;

do $$
declare
  v_role record;
begin
  for v_role in
    select *
      from (values
        -- Owns what Supabase ships. In a cluster of `hub dev` it is the bootstrap superuser.
        ('supabase_admin',          'superuser createdb createrole replication bypassrls login'),
        -- Who migrates and who operators are: much, but no superuser, as on hosted Supabase.
        ('postgres',                'nosuperuser createdb createrole replication bypassrls login inherit'),
        -- The three that PostgREST becomes, and the one it signs in as. Noinherit, so that it has no rights of its own.
        ('anon',                    'nosuperuser nologin noinherit'),
        ('authenticated',           'nosuperuser nologin noinherit'),
        ('service_role',            'nosuperuser nologin noinherit bypassrls'),
        ('authenticator',           'nosuperuser login noinherit'),
        -- Owners of the service schemas.
        ('supabase_auth_admin',     'nosuperuser login noinherit createrole'),
        ('supabase_storage_admin',  'nosuperuser login noinherit createrole'),
        ('supabase_realtime_admin', 'nosuperuser nologin noinherit'),
        -- As which the Realtime server of a local stack signs in, where hosted's is supabase_admin. It takes callers' roles and runs their
        -- policies, which are `postgres`' to write: a superuser there would be postgres' way to all of the machine.
        ('hub_realtime',            'nosuperuser login inherit bypassrls replication'),
        ('dashboard_user',          'nosuperuser nologin createdb createrole replication')
      ) as wanted (name, attributes)
  loop
    if not exists (select from pg_roles where rolname = v_role.name) then
      execute format('create role %I with %s', v_role.name, v_role.attributes);
    elsif v_role.name = 'postgres' and (select rolsuper from pg_roles where rolname = 'postgres') then
      -- The bootstrap superuser can not be demoted, and another one may be somebody's way in.
      raise notice 'the role postgres is a superuser here and stays one; on Supabase it is not';
    else
      execute format('alter role %I with %s', v_role.name, v_role.attributes);
    end if;
  end loop;
end;
$$;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant supabase_realtime_admin to postgres;      -- owns realtime.messages: how postgres may make policies there
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
grant authenticator, pg_read_all_data to hub_realtime;
grant anon, authenticated, service_role to supabase_storage_admin;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';
alter role supabase_storage_admin set search_path = storage;

do $$
begin
  if (select rolsuper from pg_roles where rolname = 'postgres') then
    -- Somebody's own superuser: only in this database.
    execute format('alter role postgres in database %I set search_path = "$user", public, extensions', current_database());
  else
    alter role postgres set search_path = "$user", public, extensions;
  end if;
end;
$$;

commit;
