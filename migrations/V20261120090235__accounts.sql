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

-- With whom a device shares its accounts: those that serve the same servers. Null: those that serve all.
create function hub_internal.device_party(p_device text)
  returns uuid[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select case when not d.serves_all
                      then array(select e.server_id
                                   from public.mesh_device_servers e
                                  where e.device = d.name
                                  order by e.server_id) end
            from public.mesh_devices d
           where d.name = p_device);
end;
$$;

-- The pools of a device that are at their limit, by the agent and the model: claude/ is all that claude runs,
-- claude/codex what it runs for tasks that name codex.
create function hub_internal.limited_agents(p_device text)
  returns text[]
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_servers uuid[] := hub_internal.device_party(p_device);
begin
  return (select array_agg(q.agent || '/' || coalesce(q.model, ''))
            from public.mesh_quota_pools q
           where q.limited_until > now()
             and q.account = hub_internal.account_of(p_device, q.agent)
             and q.servers is not distinct from v_servers);
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
    from public.mesh_quota_pools q
   where q.limited_until > now()
     and q.agent = p_agent
     and (q.model is null or q.model = p_model)
     and q.account = hub_internal.account_of(p_device, p_agent)
     and q.servers is not distinct from hub_internal.device_party(p_device)
   order by q.limited_until desc
   limit 1;
  return v_pool;
end;
$$;
