-- Why: what triggers call to tell people what happened, and the table whose policies say who may listen. The Realtime
-- server itself is elsewhere (functions/local); on Supabase this file is never run.

begin;
lock table pg_catalog.pg_authid in share row exclusive mode;       -- see 10_roles.sql: one runner at a time
set local role supabase_admin;
set local search_path = pg_catalog, pg_temp;                       -- postgres makes things in public and pg_temp

create table if not exists realtime.messages (
  topic          text not null,
  extension      text not null,
  payload        jsonb,
  event          text,
  private        boolean default false,
  updated_at     timestamp not null,
  inserted_at    timestamp not null,
  id             uuid not null default gen_random_uuid(),
  binary_payload bytea,
  skip_broadcast boolean not null default false,
  expires_at     timestamp,
  primary key (id, inserted_at)
) partition by range (inserted_at);
-- Of what a client said and wanted kept: it was heard when it was said, and is replayed until then.
alter table realtime.messages
  add column if not exists skip_broadcast boolean not null default false,
  add column if not exists expires_at timestamp;
-- No time zone, as on Supabase, whose servers run in UTC; the defaults say UTC, so a laptop's zone does not matter. The clock and not the
-- transaction's time, so that replays of one topic come in the order of sending.
alter table realtime.messages
  alter column updated_at set default (now() at time zone 'utc'),
  alter column inserted_at set default (clock_timestamp() at time zone 'utc');
alter table realtime.messages owner to supabase_realtime_admin;
alter table realtime.messages enable row level security;

-- What a replay reads.
create index if not exists messages_inserted_at_topic_index on realtime.messages (inserted_at desc, topic)
  where extension = 'broadcast' and private is true;

-- The Realtime server keeps the partitions on Supabase. Here it is this function, run by this file, by `hub dev` and by the hub's keeper:
-- without today's partition realtime.send would lose every message with no more than a warning. A partition is made apart and then
-- attached, which no writer waits for. Dropping one locks out writers: it is tried for a moment, and again at the next call.
create or replace function realtime.hub_keep_partitions(p_now timestamptz default now())
  returns int
  language plpgsql
  volatile
  security definer                                -- the keeper is `postgres`, who makes no tables here; the owner is no superuser
  set search_path = pg_catalog, pg_temp           -- where it is not named, pg_temp comes first for types
  set lock_timeout = '100ms'
as $$
declare
  v_today   date := (p_now at time zone 'utc')::date;
  v_day     date;
  v_name    text;
  v_changed int := 0;
begin
  for v_day in select v_today + i from generate_series(-1, 3) as i loop
    v_name := 'messages_' || to_char(v_day, 'YYYY_MM_DD');
    continue when exists (select from pg_catalog.pg_inherits i
                           where i.inhparent = 'realtime.messages'::regclass and i.inhrelid = to_regclass('realtime.' || quote_ident(v_name)));
    begin
      execute format('create table if not exists realtime.%I (like realtime.messages including all)', v_name);
      execute format('alter table realtime.%I enable row level security', v_name);
      execute format('alter table realtime.messages attach partition realtime.%I for values from (%L) to (%L)', v_name, v_day, v_day + 1);
      v_changed := v_changed + 1;
    exception
      when lock_not_available or duplicate_table or unique_violation then
        null;                                     -- somebody else is at it
      when others then
        raise warning 'the partition % of realtime.messages can not be made: %', v_name, sqlerrm;
    end;
  end loop;
  for v_name in
    select c.relname
      from pg_catalog.pg_inherits i
      join pg_catalog.pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'realtime.messages'::regclass
       and c.relname ~ '^messages_\d{4}_\d{2}_\d{2}$'
       and to_date(right(c.relname, 10), 'YYYY_MM_DD') < v_today - 3
  loop
    begin
      execute format('drop table realtime.%I', v_name);
      v_changed := v_changed + 1;
    exception
      when lock_not_available then
        null;
      when others then
        raise warning 'the partition % of realtime.messages can not be dropped: %', v_name, sqlerrm;
    end;
  end loop;
  return v_changed;
end;
$$;
comment on function realtime.hub_keep_partitions(timestamptz) is
  'Makes the partitions of realtime.messages from yesterday to three days ahead and drops those past 72 hours; how many it changed. Only in a local stack.';
-- Partitions copy the checks of realtime.messages, which are `postgres`' to write, and so run them.
grant usage, create on schema realtime to supabase_realtime_admin;
alter function realtime.hub_keep_partitions(timestamptz) owner to supabase_realtime_admin;
revoke all on function realtime.hub_keep_partitions(timestamptz) from public;
grant execute on function realtime.hub_keep_partitions(timestamptz) to postgres;
do $$ begin perform realtime.hub_keep_partitions(); end; $$;

create or replace function realtime.topic() returns text language sql stable as $$
  select nullif(current_setting('realtime.topic', true), '')::text
$$;
comment on function realtime.topic() is 'The topic that a policy on realtime.messages is asked about.';

-- Errors become warnings, as on Supabase: a caller that may not insert loses the message. Triggers that send must
-- therefore be SECURITY DEFINER. The setting realtime.topic is set in the row's own expression: one statement less.
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true)
  returns void
  language plpgsql
as $$
declare
  generated_id uuid := gen_random_uuid();
begin
  insert into realtime.messages (id, payload, event, topic, private, extension)
  values (generated_id,
          case when payload ? 'id' then payload else jsonb_set(payload, '{id}', to_jsonb(generated_id)) end,
          event, set_config('realtime.topic', topic, true), private, 'broadcast');
exception
  when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end;
$$;
comment on function realtime.send(jsonb, text, text, boolean) is
  'Broadcasts an object to a topic when the transaction commits. An error is a warning, and the message is lost.';

create or replace function realtime.send_binary(payload bytea, event text, topic text, private boolean default true)
  returns void
  language plpgsql
as $$
begin
  insert into realtime.messages (binary_payload, event, topic, private, extension)
  values (payload, event, set_config('realtime.topic', topic, true), private, 'broadcast');
exception
  when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end;
$$;
comment on function realtime.send_binary(bytea, text, text, boolean) is
  'Broadcasts bytes to a topic when the transaction commits. An error is a warning, and the message is lost.';

create or replace function realtime.broadcast_changes(
    topic_name text, event_name text, operation text, table_name text, table_schema text,
    new record, old record, level text default 'ROW')
  returns void
  language plpgsql
as $$
declare
  row_data jsonb := '{}'::jsonb;
begin
  if level = 'STATEMENT' then
    raise exception 'function can only be triggered for each row, not for each statement';
  end if;
  if operation = 'INSERT' or operation = 'UPDATE' or operation = 'DELETE' then
    row_data := jsonb_build_object('old_record', old, 'record', new, 'operation', operation, 'table', table_name, 'schema', table_schema);
    perform realtime.send(row_data, event_name, topic_name);
  else
    raise exception 'Unexpected operation type: %', operation;
  end if;
exception
  when others then
    raise exception 'Failed to process the row: %', sqlerrm;
end;
$$;
comment on function realtime.broadcast_changes(text, text, text, text, text, record, record, text) is
  'Broadcasts a row change {old_record, record, operation, table, schema} to a private topic.';

-- What the Realtime server reads: each broadcast once, when it commits, under the name of the whole table, not of the day's part.
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime_messages_publication') then
    create publication supabase_realtime_messages_publication for table realtime.messages
      with (publish = 'insert', publish_via_partition_root = true);
  end if;
end;
$$;

-- Policies decide which rows; `postgres` makes them, as a member of the owner.
grant select, insert, update on realtime.messages to postgres, anon, authenticated, service_role;

commit;
