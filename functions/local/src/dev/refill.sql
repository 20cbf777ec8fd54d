-- What tells `hub dev` that its people are gone: `supabase db reset` truncates auth.users, makes the hub's tables anew, and fills them last.
-- None of it is in `public`, which the reset empties; the trigger there comes with the table.
begin;

create or replace function extensions.hub_dev_tell()
  returns trigger
  language plpgsql
  security definer                                -- whoever changes the table need not be able to look these up
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_catalog.pg_notify('hub_dev', tg_table_name);
  return null;
end;
$$;
revoke all on function extensions.hub_dev_tell() from public;

create or replace trigger users_tell_dev after truncate on auth.users
  for each statement execute function extensions.hub_dev_tell();

create or replace function extensions.hub_dev_watch()
  returns event_trigger
  language plpgsql
  security definer                                -- the trigger's function is nobody else's to execute
  set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from pg_catalog.pg_event_trigger_ddl_commands() c where c.object_identity = 'public.hub_servers') then
    create or replace trigger hub_servers_tell_dev after insert on public.hub_servers
      for each statement execute function extensions.hub_dev_tell();
  end if;
end;
$$;
revoke all on function extensions.hub_dev_watch() from public;

create or replace trigger hub_servers_tell_dev after insert on public.hub_servers
  for each statement execute function extensions.hub_dev_tell();

do $$
begin
  if not exists (select from pg_catalog.pg_event_trigger where evtname = 'hub_dev_watch') then
    create event trigger hub_dev_watch on ddl_command_end when tag in ('CREATE TABLE')
      execute function extensions.hub_dev_watch();
  end if;
end;
$$;

commit;
