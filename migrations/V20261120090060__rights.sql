-- Why: who may see and do what, asked by every policy and every function. What is mine comes as a set, so
-- that a query pays for it once and not once a row. The functions are SECURITY DEFINER, because the policies
-- of the tables they read use them: a policy that reads its own table would recurse. This file stands before
-- those tables, so that each of them states its policies itself.

-- What is mine ----------------------------------------------------------------------------------------------

-- What may be read is said four times, because each of these is asked so often that a call of another would
-- be felt: of all servers, of all channels, of one server (may_read), of one channel (readable_channel).
-- tests/pgtap/11_rights_tables.sql compares them.

create function hub_internal.my_server_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  rows 20
  set search_path = ''
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is not null then
    return query
      select s.id from public.hub_servers s where s.access = 'authenticated'
      union
      select m.server_id from public.hub_members m where m.user_id = v_me;
  end if;
end;
$$;
comment on function hub_internal.my_server_ids() is
  'Servers whose rows the signed-in person may read. Empty for devices and anonymous sign-ins.';
grant execute on function hub_internal.my_server_ids to authenticated, service_role;

create function hub_internal.my_channel_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  rows 200
  set search_path = ''
  set random_page_cost = 1.1                      -- these pages are always in memory: few servers, by index,
                                                  -- not all channels
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is not null then
    -- Two joins and not one over a union: each goes by an index from few servers to their channels. One may
    -- come twice.
    return query
      select c.id
        from public.hub_servers s
        join public.hub_channels c on c.server_id = s.id
       where s.access = 'authenticated';
    return query
      select c.id
        from public.hub_members m
        join public.hub_channels c on c.server_id = m.server_id
       where m.user_id = v_me;
  end if;
end;
$$;
grant execute on function hub_internal.my_channel_ids to authenticated, service_role;

-- What tells of machines (their folders, the sessions of their logins) is not for everybody who may read.
create function hub_internal.my_member_server_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  rows 20
  set search_path = ''
as $$
begin
  return query
    select m.server_id from public.hub_members m where m.user_id = hub_internal.person();
end;
$$;
grant execute on function hub_internal.my_member_server_ids to authenticated, service_role;

create function hub_internal.my_operated_server_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return query
    select m.server_id
      from public.hub_members m
     where m.user_id = hub_internal.person()
       and m.role in ('operator', 'owner');
end;
$$;
grant execute on function hub_internal.my_operated_server_ids to authenticated, service_role;

-- The same, for whoever is shown what is of several servers. Null: all of them, since the caller is trusted.
create function hub_internal.operated_servers(p_what text)
  returns uuid[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if hub_internal.is_trusted() then
    return null;
  elsif hub_internal.person() is null then
    perform hub_internal.refuse('42501', 'permission denied', p_what, 'Sign in as a person.');
  end if;
  return array(select hub_internal.my_operated_server_ids());
end;
$$;

create function hub_internal.my_owned_server_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return query
    select m.server_id
      from public.hub_members m
     where m.user_id = hub_internal.person()
       and m.role = 'owner';
end;
$$;
grant execute on function hub_internal.my_owned_server_ids to authenticated, service_role;

create function hub_internal.devices_serving(p_server_ids uuid[])
  returns setof text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select d.name
      from public.mesh_devices d
     where p_server_ids <> '{}'
       and (d.serves_all
            or exists (select from public.mesh_device_servers e
                        where e.device = d.name
                          and e.server_id = any (p_server_ids)));
end;
$$;

-- People see the machines that serve what they may read.
create function hub_internal.my_device_names()
  returns setof text
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return query
    select n from hub_internal.devices_serving(array(select hub_internal.my_server_ids())) n;
end;
$$;
grant execute on function hub_internal.my_device_names to authenticated, service_role;

-- Those of what I operate or own: who is responsible for them learns more of them.
create function hub_internal.my_operated_device_names()
  returns setof text
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return query
    select n from hub_internal.devices_serving(array(select hub_internal.my_operated_server_ids())) n;
end;
$$;
grant execute on function hub_internal.my_operated_device_names to authenticated, service_role;

-- The tokens that reach one of my servers, or its people by its right: its owners see and revoke them,
-- whoever made them.
create function hub_internal.my_hook_token_ids()
  returns setof uuid
  language plpgsql
  stable
  security definer
  rows 20
  set search_path = ''
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is not null then
    return query
      select t.id
        from public.hub_hook_tokens t
       where t.created_by = v_me
          or t.server_ids && array(select hub_internal.my_owned_server_ids())
          or t.targets && array(select 'channel:' || c.id
                                  from public.hub_channels c
                                 where c.server_id in (select hub_internal.my_owned_server_ids()));
  end if;
end;
$$;
grant execute on function hub_internal.my_hook_token_ids to authenticated, service_role;

-- The device that calls, if it is enrolled and not revoked: asked by every function a device may call.
create function hub_internal.live_device()
  returns text
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return (select d.name
            from public.mesh_devices d
           where d.name = hub_internal.token_device()
             and d.revoked_at is null);
end;
$$;
grant execute on function hub_internal.live_device to authenticated, service_role;

-- What the caller may ---------------------------------------------------------------------------------------

create function hub_internal.may_read(p_server_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is null then
    return hub_internal.is_trusted();
  end if;
  return exists (select from public.hub_servers s
                  where s.id = p_server_id
                    and (s.access = 'authenticated'
                         or exists (select from public.hub_members m
                                     where m.user_id = v_me and m.server_id = s.id)));
end;
$$;
comment on function hub_internal.may_read is
  'Whether the caller may read that server: what my_server_ids says of all, asked of one.';

create function hub_internal.may_operate(p_server_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return hub_internal.is_trusted() or p_server_id in (select hub_internal.my_operated_server_ids());
end;
$$;

create function hub_internal.may_own(p_server_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return hub_internal.is_trusted() or p_server_id in (select hub_internal.my_owned_server_ids());
end;
$$;
