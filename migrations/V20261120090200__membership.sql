-- Why: what a channel may be; and people come into a server by an invitation that they accept, leave when
-- they like, and a server always has an owner.

-- channel_count is counted, never typed in.
create function hub_internal.count_channels()
  returns trigger
  language plpgsql
  security definer                                -- who makes a channel need not have a grant on hub_servers
  set search_path = ''
as $$
begin
  update public.hub_servers s
     set channel_count = s.channel_count + d.n
    from (select coalesce(x.server_id) as server_id, sum(x.n) as n
            from (select new.server_id, 1 as n where tg_op in ('INSERT', 'UPDATE')
                  union all
                  select old.server_id, -1 where tg_op in ('DELETE', 'UPDATE')) x
           group by 1
          having sum(x.n) <> 0
           order by 1) d
   where s.id = d.server_id;
  return null;
end;
$$;
create trigger hub_channels_count
  after insert or delete or update of server_id on public.hub_channels
  for each row execute function hub_internal.count_channels();

create function hub_internal.check_channel()
  returns trigger
  language plpgsql
  security definer                       -- service_role writes channels, and holds no grant on helpers
  set search_path = ''
as $$
begin
  if new.name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    perform hub_internal.refuse('23514', 'bad input', 'name',
      '1 to 63 small letters, digits, dashes and underscores, a letter or a digit first.');
  elsif new.model_preference not in ('claude', 'gemini', 'codex', 'any') then
    perform hub_internal.refuse('23514', 'bad input', format('model_preference %L', new.model_preference),
      'claude, gemini, codex or any.');
  elsif new.feed not in ('heartbeat', 'morning-brief', 'memory-log', 'digest') then
    perform hub_internal.refuse('23514', 'bad input', format('feed %L', new.feed),
      'heartbeat, morning-brief, memory-log or digest.');
  elsif new.thread_replies not in ('queue', 'steer') then
    perform hub_internal.refuse('23514', 'bad input', format('thread_replies %L', new.thread_replies),
      'queue or steer.');
  elsif new.when_limited not in ('wait', 'brief') then
    perform hub_internal.refuse('23514', 'bad input', format('when_limited %L', new.when_limited),
      'wait or brief.');
  elsif new.thread_idle_after <= interval '0' or new.thread_decay_after <= interval '0' then
    perform hub_internal.refuse('23514', 'bad input', 'thread_idle_after or thread_decay_after',
      'A time above nought.');
  elsif new.metadata is not null and not hub_internal.is_flat_map(new.metadata) then
    perform hub_internal.refuse('23514', 'bad input', 'metadata', 'A flat object of strings, or nothing.');
  end if;
  return new;
end;
$$;
-- Not for what counts its messages.
create trigger hub_channels_check
  before insert or update of name, model_preference, feed, thread_idle_after, thread_decay_after,
                             thread_replies, when_limited, metadata
  on public.hub_channels
  for each row execute function hub_internal.check_channel();

create trigger hub_servers_touch
  before update of name, display_name, description, icon, architecture_type, is_default, access, metadata
  on public.hub_servers
  for each row execute function hub_internal.touch();

-- The channel, if the caller may know of it. One that may not be seen and one that does not exist are the
-- same.
create function hub_internal.readable_channel(p_channel_id uuid)
  returns public.hub_channels
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
declare
  v_me      uuid := hub_internal.person();
  v_channel public.hub_channels;
begin
  if p_channel_id is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_channel_id is null', 'Give the id of a channel.');
  end if;
  -- One look: the channel with the right to it, as may_read says.
  if v_me is not null then
    select c.* into v_channel
      from public.hub_channels c
      join public.hub_servers s on s.id = c.server_id
     where c.id = p_channel_id
       and (s.access = 'authenticated'
            or exists (select from public.hub_members m where m.user_id = v_me and m.server_id = s.id));
  elsif hub_internal.is_trusted() then
    select c.* into v_channel from public.hub_channels c where c.id = p_channel_id;
  end if;
  if v_channel.id is null then
    perform hub_internal.refuse('UH004', 'not found', format('channel %s', p_channel_id),
      'Check the id, and that you may read its server.');
  end if;
  return v_channel;
end;
$$;

-- Members ---------------------------------------------------------------------------------------------------

-- The server, locked: of two owners who leave at the same moment, the second sees that it is the last.
create function hub_internal.locked_server(p_server_id uuid)
  returns public.hub_servers
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_server public.hub_servers;
begin
  if p_server_id is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_server_id is null', 'Give the id of a server.');
  end if;
  select * into v_server from public.hub_servers s where s.id = p_server_id for no key update;
  return v_server;
end;
$$;

-- The same for who may say who belongs to it.
create function hub_internal.owned_server(p_server_id uuid, p_user_id uuid, p_role text)
  returns public.hub_servers
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_server public.hub_servers;
begin
  if p_user_id is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_user_id is null', 'Give the id of a user.');
  end if;
  if p_role is not null and p_role not in ('owner', 'operator', 'viewer') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_role %L', p_role),
      'A role is owner, operator or viewer; null removes the member.');
  end if;
  -- Looked at before it is locked: a stranger holds up nobody.
  if not hub_internal.may_own(p_server_id) then
    if not hub_internal.may_read(p_server_id)
       or not exists (select from public.hub_servers s where s.id = p_server_id) then
      perform hub_internal.refuse('UH004', 'not found',
        format('server %s', coalesce(p_server_id::text, 'null')),
        'Check the id, and that you may read it.');
    end if;
    perform hub_internal.refuse('42501', 'permission denied', 'members of this server',
      'Only an owner of the server changes its members.');
  end if;
  v_server := hub_internal.locked_server(p_server_id);
  if v_server.id is null then
    perform hub_internal.refuse('UH004', 'not found', format('server %s', p_server_id),
      'Check the id, and that you may read it.');
  elsif not hub_internal.may_own(p_server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'members of this server',
      'Only an owner of the server changes its members.');
  end if;
  return v_server;
end;
$$;

create function hub_internal.require_other_owner(p_server_id uuid, p_user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if exists (select from public.hub_members m
              where m.server_id = p_server_id
                and m.user_id = p_user_id
                and m.role = 'owner')
     and not exists (select from public.hub_members m
                      where m.server_id = p_server_id
                        and m.user_id <> p_user_id
                        and m.role = 'owner') then
    perform hub_internal.refuse('UH003', 'conflict', 'this is the last owner of the server',
      'Make somebody else an owner first.');
  end if;
end;
$$;

create function hub_internal.set_member(p_server_id uuid, p_user_id uuid, p_role text)
  returns public.hub_members
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_members
  set search_path = ''
as $$
declare
  v_member public.hub_members;
begin
  perform hub_internal.owned_server(p_server_id, p_user_id, p_role);
  if p_role is distinct from 'owner' and not hub_internal.is_trusted() then
    perform hub_internal.require_other_owner(p_server_id, p_user_id);
  end if;
  if p_role is null then
    delete from public.hub_members m
     where m.server_id = p_server_id
       and m.user_id = p_user_id
    returning m.* into v_member;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('member %s', p_user_id),
        'They are not a member of this server; an invitation is withdrawn by hub_invite with a null role.');
    end if;
  elsif hub_internal.is_trusted() then
    insert into public.hub_members as m (server_id, user_id, role)
    values (p_server_id, p_user_id, p_role)
    on conflict (user_id, server_id) do update set role = excluded.role
    returning m.* into v_member;
    delete from public.hub_invitations i
     where i.server_id = p_server_id
       and i.user_id = p_user_id;
  else
    update public.hub_members m
       set role = p_role
     where m.server_id = p_server_id
       and m.user_id = p_user_id
    returning m.* into v_member;
    if not found then
      perform hub_internal.refuse('UH003', 'conflict', format('%s is no member of this server', p_user_id),
        'Invite them with hub_invite: they become a member when they accept.');
    end if;
  end if;
  return v_member;
end;
$$;

create function hub_internal.invite(p_server_id uuid, p_user_id uuid, p_role text)
  returns public.hub_invitations
  language plpgsql
  volatile
  security definer                                -- invitations are nobody's to write
  set search_path = ''
as $$
declare
  v_server     public.hub_servers := hub_internal.owned_server(p_server_id, p_user_id, p_role);
  v_invitation public.hub_invitations;
begin
  if p_role is null then
    delete from public.hub_invitations i
     where i.server_id = p_server_id
       and i.user_id = p_user_id
    returning i.* into v_invitation;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('an invitation of %s', p_user_id),
        'They are not invited, or have answered; members are removed by hub_set_member.');
    end if;
    return v_invitation;
  end if;

  if exists (select from public.hub_members m where m.server_id = p_server_id and m.user_id = p_user_id) then
    perform hub_internal.refuse('UH003', 'conflict', format('%s is a member of this server', p_user_id),
      'hub_set_member changes what a member is.');
  end if;
  if not hub_internal.is_trusted()
     and not exists (select from public.hub_invitations i
                      where i.server_id = p_server_id
                        and i.user_id = p_user_id) then
    perform hub_internal.require_room('server_invitations',
      (select count(*) from public.hub_invitations i where i.server_id = p_server_id));
  end if;

  insert into public.hub_invitations as i
    (server_id, user_id, role, server_name, server_display_name, invited_by)
  values
    (p_server_id, p_user_id, p_role, v_server.name, v_server.display_name, hub_internal.person())
  on conflict (user_id, server_id) do update
    set role = excluded.role,
        invited_by = excluded.invited_by,
        server_name = excluded.server_name,
        server_display_name = excluded.server_display_name
  returning i.* into v_invitation;
  return v_invitation;
end;
$$;

create function hub_internal.accept_invitation(p_server_id uuid)
  returns public.hub_members
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_members
  set search_path = ''
as $$
declare
  v_me         uuid := hub_internal.person();
  v_invitation public.hub_invitations;
  v_member     public.hub_members;
begin
  if v_me is null then
    perform hub_internal.refuse('42501', 'permission denied', 'accepting an invitation',
      'The invited accepts it with their own sign-in.');
  end if;
  -- Looked at before the server is locked: a stranger holds up nobody. Locked, so that an owner who is
  -- removed at this moment is none.
  if exists (select from public.hub_invitations i where i.server_id = p_server_id and i.user_id = v_me) then
    perform hub_internal.locked_server(p_server_id);
  end if;
  -- An invitation is worth what its maker may do now.
  delete from public.hub_invitations i
   where i.server_id = p_server_id
     and i.user_id = v_me
     and (i.invited_by is null
          or exists (select from public.hub_members m
                      where m.server_id = i.server_id
                        and m.user_id = i.invited_by
                        and m.role = 'owner'))
  returning i.* into v_invitation;
  if not found then
    perform hub_internal.refuse('UH004', 'not found',
      format('an invitation to server %s', coalesce(p_server_id::text, 'null')),
      'It was withdrawn or answered, or whoever made it owns the server no more; '
      'hub_invitations shows yours.');
  end if;
  insert into public.hub_members as m (server_id, user_id, role)
  values (p_server_id, v_me, v_invitation.role)
  on conflict (user_id, server_id) do nothing
  returning m.* into v_member;
  if not found then                               -- placed meanwhile: that counts
    select *
      into v_member
      from public.hub_members m
     where m.server_id = p_server_id
       and m.user_id = v_me;
  end if;
  return v_member;
end;
$$;

create function hub_internal.leave(p_server_id uuid)
  returns void
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_members
  set search_path = ''
as $$
declare
  v_me uuid := hub_internal.person();
begin
  if v_me is null then
    perform hub_internal.refuse('42501', 'permission denied', 'leaving a server',
      'A person leaves with their own sign-in.');
  end if;
  -- Looked at before the server is locked: a stranger holds up nobody.
  if exists (select from public.hub_members m where m.server_id = p_server_id and m.user_id = v_me) then
    perform hub_internal.locked_server(p_server_id);
    perform hub_internal.require_other_owner(p_server_id, v_me);
    delete from public.hub_members m
     where m.server_id = p_server_id
       and m.user_id = v_me;
  else
    delete from public.hub_invitations i
     where i.server_id = p_server_id
       and i.user_id = v_me;
  end if;
  if not found then
    perform hub_internal.refuse('UH004', 'not found',
      format('your membership of server %s', coalesce(p_server_id::text, 'null')),
      'You are neither a member nor invited.');
  end if;
end;
$$;

-- An account that is deleted belongs to nothing any more, as little as whoever holds its last token. (People of a
-- third-party sign-in have no row in auth.users.) A server may lose its last owner so: service_role names another.
create function hub_internal.person_gone()
  returns trigger
  language plpgsql
  security definer                                -- who deletes accounts holds no grant on these tables
  set search_path = ''
as $$
begin
  delete from public.hub_members m where m.user_id = old.id;
  delete from public.hub_invitations i where i.user_id = old.id;
  return null;
end;
$$;

create or replace trigger hub_person_gone
  after delete on auth.users
  for each row execute function hub_internal.person_gone();
create or replace trigger hub_person_gone_softly
  after update of deleted_at on auth.users
  for each row when (new.deleted_at is not null) execute function hub_internal.person_gone();
