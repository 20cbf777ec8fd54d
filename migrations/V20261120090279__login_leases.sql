-- Why: several processes of several machines may have one login, whose token rotates: one that is used twice
-- ends the login for all of them. So who refreshes it takes it for a moment, and the others wait.

-- For whoever holds it already, it is longer. A holder that died holds it for at most 300 seconds. Only its
-- row is locked.
create function hub_internal.lease_login(
  p_device text, p_agent text, p_holder text, p_seconds int, p_now timestamptz)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- nobody holds a grant on login_leases
  set search_path = ''
as $$
declare
  v_device  public.mesh_devices;
  v_account text;
  v_party   uuid[];
  v_program text;
  v_until   timestamptz;
begin
  perform hub_internal.require_present(p_now);
  v_device := hub_internal.acting_device(p_device);
  perform hub_internal.require_offered(v_device, p_agent);
  perform hub_internal.require_text(p_holder, 'p_holder', 200);
  if p_seconds is null or p_seconds not between 1 and 300 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_seconds %s', coalesce(p_seconds::text, 'is null')), '1 to 300.');
  end if;
  v_account := hub_internal.account_of(p_device, p_agent);
  v_party := hub_internal.account_party(p_device, v_account);
  v_program := hub_internal.program_of(p_device, p_agent);
  insert into hub_internal.login_leases as l (account, servers, program, device, holder, until)
  values (v_account, v_party, v_program, p_device, p_holder, p_now + make_interval(secs => p_seconds))
  on conflict on constraint login_leases_key do update
    set device = excluded.device,
        holder = excluded.holder,
        until = excluded.until
    where l.until <= p_now
       or l.device = excluded.device and l.holder = excluded.holder
  returning l.until into v_until;
  if found then
    return jsonb_build_object('granted', true, 'until', v_until);
  end if;
  select l.until into v_until
    from hub_internal.login_leases l
   where l.account = v_account
     and l.program = v_program
     and l.servers is not distinct from v_party;
  -- Given back since: then it is there at once.
  return jsonb_build_object('granted', false, 'until', coalesce(v_until, p_now));
end;
$$;

create function hub_internal.return_login(p_device text, p_agent text, p_holder text)
  returns void
  language plpgsql
  volatile
  security definer                                -- nobody holds a grant on login_leases
  set search_path = ''
as $$
declare
  v_device  public.mesh_devices;
  v_account text;
begin
  v_device := hub_internal.acting_device(p_device);
  perform hub_internal.require_offered(v_device, p_agent);
  v_account := hub_internal.account_of(p_device, p_agent);
  delete from hub_internal.login_leases l
   where l.account = v_account
     and l.program = hub_internal.program_of(p_device, p_agent)
     and l.servers is not distinct from hub_internal.account_party(p_device, v_account)
     and l.device = p_device
     and l.holder = p_holder;
end;
$$;
