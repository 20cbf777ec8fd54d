-- Why: people use the accounts of agents, too. What a machine's configuration keeps of one for them, as a share
-- of each of its windows, no task takes.

-- A pool whose used share is known, against what is kept of it for people. Where no more than that is left it
-- is as if it were at its limit, until its window begins anew; where more is, that ends at once. One that is at
-- a limit stays so.
create function hub_internal.weigh_reserve(p_pool public.mesh_quota_pools, p_now timestamptz)
  returns public.mesh_quota_pools
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_pool    public.mesh_quota_pools := p_pool;
  v_limited boolean := coalesce(p_pool.limited_until > p_now, false);
  v_reserve numeric;
  v_reason  text;
begin
  if v_limited and not p_pool.kept then
    return p_pool;
  end if;
  v_reserve := hub_internal.reserve_of(p_pool.account, p_pool.servers, p_pool.agent);
  if v_reserve > 0 and p_pool.used_share >= 1 - v_reserve and p_pool.resets_at > p_now then
    v_reason := format('kept for people: %s %% of it is used', round(p_pool.used_share * 100));
    if v_limited and p_pool.limited_until = p_pool.resets_at and p_pool.reason = v_reason then
      return p_pool;
    end if;
    update public.mesh_quota_pools q
       set limited_since = case when v_limited then q.limited_since else p_now end,
           limited_until = q.resets_at,
           source = 'structured',
           reason = v_reason,
           lifted_at = null,
           kept = true
     where q.id = p_pool.id
    returning * into v_pool;
  elsif v_limited then
    update public.mesh_quota_pools q
       set limited_until = p_now
     where q.id = p_pool.id
    returning * into v_pool;
    perform hub_internal.lift_limits(p_now, 1000);
  end if;
  return v_pool;
end;
$$;

-- When what a device keeps may have changed: its pools, and whatever is kept, since it may have been of another
-- account before. One that is being reported is passed by: its report weighs it, and a device's row is locked
-- here, which comes after a pool's.
create function hub_internal.weigh_reserves(p_device text, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_pool public.mesh_quota_pools;
begin
  for v_pool in
    select q.*
      from public.mesh_quota_pools q
     where q.resets_at > p_now
       and q.used_share is not null
       and (q.kept and q.limited_until > p_now
            or exists (select
                         from hub_internal.device_logins(p_device) l
                        where l.account = q.account
                          and l.program = q.agent
                          and hub_internal.account_party(p_device, l.account) is not distinct from q.servers))
       for no key update skip locked
  loop
    perform hub_internal.weigh_reserve(v_pool, p_now);
  end loop;
end;
$$;
