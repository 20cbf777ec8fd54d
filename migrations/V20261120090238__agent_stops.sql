-- Why: what keeps agents from working, and how much is used of what they draw from, as people and machines
-- are told of it.

-- The devices of whose agents the caller is told: of those that serve what it operates or owns; and itself.
create function hub_internal.told_of_devices()
  returns setof text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select d.name
      from public.mesh_devices d
     where d.revoked_at is null
       and (hub_internal.is_trusted()
            or d.name in (select hub_internal.my_operated_device_names())
            or d.name = (select hub_internal.live_device()));
end;
$$;

create function hub_internal.agent_stops()
  returns table (device text, agent text, model text, reason text, since timestamptz, until timestamptz,
                 source text, window_name text, detail text)
  language plpgsql
  stable
  security definer                                -- which account is whose is nobody's to read
  set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    with mine as materialized (
      select t as name from hub_internal.told_of_devices() t
    )
    select mine.name, b.agent, null, 'login', b.since, null::timestamptz, null, null, b.reason
      from mine
     cross join lateral hub_internal.broken_agents(mine.name) b
     where exists (select from public.mesh_logins)
    union all
    select mine.name, l.agent, q.model, 'limit', q.limited_since, q.limited_until, q.source, q.window_name,
           q.reason
      from mine
     cross join lateral hub_internal.device_logins(mine.name) l
     cross join lateral hub_internal.limits_of(mine.name, l.account, l.program) q
     where exists (select from public.mesh_quota_pools x where x.limited_until > now())
     order by 1, 2, 4, 3;
end;
$$;

-- What their agents draw from, as far as anybody told of it in the last 8 days, which no limit outlasts. Once a
-- limit is over, or a window began anew, how much was used before says nothing.
create function hub_internal.pool_uses()
  returns table (account text, agent text, model text, window_name text, used_share numeric,
                 limited_until timestamptz, kept boolean, resets_at timestamptz, source text, reason text,
                 reported_at timestamptz, devices text[])
  language plpgsql
  stable
  security definer                                -- which account is whose is nobody's to read
  set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    with logins as materialized (
      select t as device, l.account, l.program, hub_internal.account_party(t, l.account) as servers
        from hub_internal.told_of_devices() t
       cross join lateral (select distinct x.account, x.program from hub_internal.device_logins(t) x) l
    )
    select q.account, q.agent, q.model, q.window_name,
           case when w.limited or q.used_share < 1 and (q.resets_at <= now()) is not true
                then q.used_share end,
           case when w.limited then q.limited_until end,
           w.limited and q.kept,
           case when q.resets_at > now() then q.resets_at end,
           case when w.limited then q.source end,
           case when w.limited then q.reason end,
           q.reported_at,
           array_agg(l.device order by l.device)
      from public.mesh_quota_pools q
     cross join lateral (select coalesce(q.limited_until > now(), false) as limited) w
      join logins l
        on l.account = q.account
       and l.program = q.agent
       and l.servers is not distinct from q.servers
     where q.reported_at > now() - interval '8 days'
     group by q.id, w.limited
     order by q.agent, q.account, q.servers, q.model nulls first, q.window_name;
end;
$$;
