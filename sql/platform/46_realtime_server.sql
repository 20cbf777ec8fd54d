-- Why: what the Realtime server of a local stack (functions/local) asks of the database in one exchange where Supabase's takes several.

begin;
lock table pg_catalog.pg_authid in share row exclusive mode;       -- see 10_roles.sql: one runner at a time
set local role supabase_admin;
set local search_path = pg_catalog, pg_temp;                       -- postgres makes things in public and pg_temp

-- The rest of a transaction, or of a block that is rolled back, is the caller's.
create or replace function realtime.hub_become(p_topic text, p_claims jsonb)
  returns void
  language plpgsql
  volatile
as $$
begin
  -- A token can not name a role that REST would not take either.
  if not coalesce(pg_catalog.pg_has_role('authenticator', (select r.oid from pg_catalog.pg_roles r where r.rolname = p_claims ->> 'role'), 'member'), false) then
    raise exception using errcode = 'UHNOR', message = 'the token names no role of a caller';
  end if;
  perform set_config('realtime.topic', p_topic, true),
          set_config('request.jwt.claims', p_claims::text, true),
          set_config('request.jwt.claim.sub', coalesce(p_claims ->> 'sub', ''), true),
          set_config('request.jwt.claim.role', p_claims ->> 'role', true),
          set_config('request.headers', '{}', true),
          set_config('search_path', 'public, extensions', true),      -- the caller's; ours has neither
          set_config('role', p_claims ->> 'role', true);
end;
$$;
comment on function realtime.hub_become(text, jsonb) is
  'Takes on the role and claims of a caller on a topic, for policies. UHNOR: the claims name no role of a caller. Only in a local stack.';
revoke all on function realtime.hub_become(text, jsonb) from public;

-- May this caller hear, and say, something on a private topic? The policies on realtime.messages answer, and they can only be asked
-- with rows of that table. To hear: rows of the topic, inserted as the server, are looked for as the caller. To say: the caller
-- inserts. All of it is rolled back by an error of our own, so that no row is ever seen or sent; what PL/pgSQL keeps in
-- variables survives.
create or replace function realtime.hub_authorise(
    p_topic text, p_claims jsonb,
    out hears_broadcast boolean, out hears_presence boolean, out says_broadcast boolean, out says_presence boolean, out fault text)
  language plpgsql
  volatile
as $$
declare
  v_now timestamp := clock_timestamp() at time zone 'utc';
  v_ids uuid[] := array[gen_random_uuid(), gen_random_uuid()];
begin
  hears_broadcast := false;
  hears_presence  := false;
  says_broadcast  := false;
  says_presence   := false;
  begin
    insert into realtime.messages (id, topic, extension, inserted_at, updated_at)
    values (v_ids[1], p_topic, 'broadcast', v_now, v_now), (v_ids[2], p_topic, 'presence', v_now, v_now);
    perform realtime.hub_become(p_topic, p_claims);
    begin
      select coalesce(bool_or(m.extension = 'broadcast'), false), coalesce(bool_or(m.extension = 'presence'), false)
        into hears_broadcast, hears_presence
        from realtime.messages m
       where m.inserted_at = v_now and m.id = any (v_ids);
    exception
      when others then
        fault := sqlerrm;
    end;
    begin
      insert into realtime.messages (topic, extension, inserted_at, updated_at) values (p_topic, 'broadcast', v_now, v_now);
      says_broadcast := true;
    exception
      when insufficient_privilege then null;
      when others then
        fault := coalesce(fault, sqlerrm);
    end;
    begin
      insert into realtime.messages (topic, extension, inserted_at, updated_at) values (p_topic, 'presence', v_now, v_now);
      says_presence := true;
    exception
      when insufficient_privilege then null;
      when others then
        fault := coalesce(fault, sqlerrm);
    end;
    raise exception using errcode = 'UHROL';
  exception
    when sqlstate 'UHROL' then null;
    when sqlstate 'UHNOR' then
      fault := sqlerrm;
  end;
end;
$$;
comment on function realtime.hub_authorise(text, jsonb) is
  'What the bearer of these claims may hear and say on a private topic; fault: a policy''s own error. Only in a local stack.';
revoke all on function realtime.hub_authorise(text, jsonb) from public;

-- May what this caller says there be kept? In the same way; only who wants it kept is asked about.
create or replace function realtime.hub_may_persist(p_topic text, p_claims jsonb, out allowed boolean, out fault text)
  language plpgsql
  volatile
as $$
begin
  allowed := false;
  begin
    perform realtime.hub_become(p_topic, p_claims);
    insert into realtime.messages (topic, extension) values (p_topic, 'persistence');
    allowed := true;
    raise exception using errcode = 'UHROL';
  exception
    when sqlstate 'UHROL' or insufficient_privilege then null;
    when others then
      fault := sqlerrm;
  end;
end;
$$;
comment on function realtime.hub_may_persist(text, jsonb) is
  'Whether a broadcast of the bearer of these claims to a private topic may be kept; fault: a policy''s own error. Only in a local stack.';
revoke all on function realtime.hub_may_persist(text, jsonb) from public;

-- Who may see these changes, each in the shape of realtime.apply_rls without its primary key, in their order.
create or replace function realtime.hub_decide(p_changes jsonb[], p_max_record_bytes integer)
  returns table (wal text, subscription_ids uuid[], errors text[])
  language plpgsql
  volatile
as $$
begin
  return query
    select (a.wal)::text, a.subscription_ids, a.errors
      from unnest(p_changes) with ordinality c (change, n),
           lateral (select coalesce(jsonb_agg(jsonb_build_object('name', k.attname)), '[]') as pk
                      from pg_catalog.pg_index i
                      join pg_catalog.pg_attribute k on k.attrelid = i.indrelid and k.attnum = any (i.indkey)
                     where i.indrelid = (c.change ->> 'oid')::oid and i.indisprimary) k,
           lateral realtime.apply_rls(c.change || jsonb_build_object('pk', k.pk), p_max_record_bytes) a
     order by c.n;
end;
$$;
comment on function realtime.hub_decide(jsonb[], integer) is
  'Which subscriptions may see which of these changes, and what they are sent. Only in a local stack.';
revoke all on function realtime.hub_decide(jsonb[], integer) from public;

grant usage on schema realtime to hub_realtime;
grant select, insert, update, delete on realtime.subscription, realtime.messages to hub_realtime;
grant execute on function realtime.apply_rls(jsonb, integer), realtime.hub_become(text, jsonb),
  realtime.hub_authorise(text, jsonb), realtime.hub_may_persist(text, jsonb), realtime.hub_decide(jsonb[], integer) to hub_realtime;

commit;
