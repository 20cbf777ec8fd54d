-- Why: which account an agent of a device uses, and whether that is at a limit: asked by the view that says
-- who may take what (…lanes). What is reported, and what follows, is …limits.

create function hub_internal.account_of(p_device text, p_agent text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce((select a.account
                     from hub_internal.device_accounts a
                    where a.device = p_device and a.agent = p_agent),
                  'device:' || p_device);
end;
$$;

create function hub_internal.program_of(p_device text, p_agent text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce((select a.program
                     from hub_internal.device_accounts a
                    where a.device = p_device and a.agent = p_agent),
                  p_agent);
end;
$$;

-- The agents that a device offers, and the login of each: what keeps one from working keeps all of its login.
create function hub_internal.device_logins(p_device text)
  returns table (agent text, account text, program text)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select distinct o.offer ->> 'agent',
           hub_internal.account_of(d.name, o.offer ->> 'agent'),
           hub_internal.program_of(d.name, o.offer ->> 'agent')
      from public.mesh_devices d
     cross join lateral jsonb_array_elements(d.agents) o (offer)
     where d.name = p_device;
end;
$$;

-- With whom a device shares an account: those that serve the same servers. Null: those that serve all, or
-- nobody, since the account is the device's own.
create function hub_internal.account_party(p_device text, p_account text)
  returns uuid[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select case when not d.serves_all and p_account not like 'device:%'
                      then array(select e.server_id
                                   from public.mesh_device_servers e
                                  where e.device = d.name
                                  order by e.server_id) end
            from public.mesh_devices d
           where d.name = p_device);
end;
$$;

-- How much of each window of a login is kept for people: the most that a device with it says.
create function hub_internal.reserve_of(p_account text, p_servers uuid[], p_program text)
  returns numeric
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce((select max(a.reserve)
                     from hub_internal.device_accounts a
                     join public.mesh_devices d on d.name = a.device
                    where a.reserve > 0
                      and d.revoked_at is null
                      and coalesce(a.account, 'device:' || a.device) = p_account
                      and coalesce(a.program, a.agent) = p_program
                      and hub_internal.account_party(a.device, p_account) is not distinct from p_servers),
                  0);
end;
$$;

-- The pools that an agent of a device draws from and that are at their limit now.
create function hub_internal.limits_of(p_device text, p_account text, p_program text)
  returns setof public.mesh_quota_pools
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select q.*
      from public.mesh_quota_pools q
     where q.limited_until > now()
       and q.account = p_account
       and q.agent = p_program
       and q.servers is not distinct from hub_internal.account_party(p_device, p_account);
end;
$$;

-- What a device's agents are kept from by limits, by the agent and the model: claude/ is all that claude runs,
-- claude/codex what it runs for tasks that name codex.
create function hub_internal.limited_agents(p_device text)
  returns text[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  -- What device_logins and limits_of say, in one: a claim asks it while there is a limit anywhere.
  return (select array_agg((o.offer ->> 'agent') || '/' || coalesce(q.model, ''))
            from public.mesh_devices d
           cross join lateral jsonb_array_elements(d.agents) o (offer)
            left join hub_internal.device_accounts a on a.device = d.name and a.agent = o.offer ->> 'agent'
            join public.mesh_quota_pools q on q.limited_until > now()
           where d.name = p_device
             -- CASE: with whom it is shared is looked up for its own limits alone.
             and case when q.account = coalesce(a.account, 'device:' || d.name)
                           and q.agent = coalesce(a.program, o.offer ->> 'agent')
                      then q.servers is not distinct from hub_internal.account_party(d.name, q.account)
                      else false end);
end;
$$;

-- The limit that ends last of those that keep an agent from a model.
create function hub_internal.limit_of(p_device text, p_agent text, p_model text)
  returns public.mesh_quota_pools
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_pool public.mesh_quota_pools;
begin
  select q.* into v_pool
    from hub_internal.limits_of(p_device, hub_internal.account_of(p_device, p_agent),
                                hub_internal.program_of(p_device, p_agent)) q
   where q.model is null or q.model = p_model
   order by q.limited_until desc
   limit 1;
  return v_pool;
end;
$$;

-- The agents of a device whose login does not hold: that of one is that of all of them that are the same
-- program under the same account. since and reason are of the one that found out first.
create function hub_internal.broken_agents(p_device text)
  returns table (agent text, since timestamptz, reason text)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select distinct on (l.agent) l.agent, b.broken_since, b.reason
      from public.mesh_logins b
      join hub_internal.device_logins(p_device) l
        on l.account = hub_internal.account_of(b.device, b.agent)
       and l.program = hub_internal.program_of(b.device, b.agent)
     where b.device = p_device
     order by l.agent, b.broken_since;
end;
$$;

create function hub_internal.broken_names(p_device text)
  returns text[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select array_agg(b.agent) from hub_internal.broken_agents(p_device) b);
end;
$$;
