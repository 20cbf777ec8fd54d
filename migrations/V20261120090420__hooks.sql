-- Why: other agents and scripts send work here with tokens of their own, each to its own targets.

create function hub_internal.create_hook_token(p_name text, p_targets text[])
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_hook_tokens
  set search_path = ''
as $$
declare
  v_target  text;
  v_targets text[] := '{}'::text[];
  v_servers uuid[] := '{}'::uuid[];
  v_server  uuid;
  v_through uuid[];
  v_channel public.hub_channels;
  -- 366 random bits, folded to 256: Postgres has no function of its own for random bytes.
  v_token   text := 'hubhook_' || encode(
    sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    'hex');
  v_id      uuid;
begin
  if hub_internal.person() is null and not hub_internal.is_trusted() then
    perform hub_internal.refuse('42501', 'permission denied', 'making a hook token',
      'An owner of a server makes them.');
  elsif (p_name ~ '^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9._-])?$') is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_name',
      'A name of 1 to 63 letters, digits, blanks, dots, _ and -: it is shown as the sender.');
  elsif hub_internal.poses_as_hub(p_name) then
    perform hub_internal.refuse('UH001', 'bad input', 'p_name',
      'It is shown as the sender, and this one would be read as the hub itself.');
  elsif p_targets is null or cardinality(p_targets) not between 1 and 50 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_targets',
      'Give 1 to 50 targets, channel:<uuid> or user:<uuid>.');
  end if;
  foreach v_target in array p_targets loop
    v_target := lower(v_target);
    if (v_target ~ '^(channel|user):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') is not true then
      perform hub_internal.refuse('UH001', 'bad input',
        format('p_targets: %s', coalesce(quote_literal(left(v_target, 100)), 'null')),
        'A target is written channel:<uuid> or user:<uuid>, never as a bare id.');
    elsif v_target like 'channel:%' then
      v_channel := hub_internal.readable_channel(substr(v_target, 9)::uuid);
      if not hub_internal.may_own(v_channel.server_id) then
        perform hub_internal.refuse('42501', 'permission denied', format('a hook token for %s', v_target),
          'Only an owner of the channel''s server makes one.');
      end if;
      v_through := array[v_channel.server_id];
    else
      v_through := array(
        select m.server_id
          from public.hub_members m
         where m.user_id = substr(v_target, 6)::uuid
           and m.accepts_hooks
           and (hub_internal.is_trusted() or m.server_id in (select hub_internal.my_owned_server_ids())));
      if cardinality(v_through) = 0 then
        perform hub_internal.refuse('UH004', 'not found', v_target,
          'It must be a member of a server that you own, who lets hooks write to them: '
          'hub_members.accepts_hooks is theirs to set.');
      end if;
    end if;
    if v_target <> all (v_targets) then
      v_targets := v_targets || v_target;
      v_servers := array(select unnest(v_servers) union select unnest(v_through));
    end if;
  end loop;
  if not hub_internal.is_trusted() then
    -- By server, as bound_rows does, and in one order: of two owners at once the second counts the first's.
    foreach v_server in array array(select unnest(v_servers) order by 1) loop
      perform pg_advisory_xact_lock(hashtextextended('server_hook_tokens' || v_server, 0));
      perform hub_internal.require_room('server_hook_tokens',
        (select count(*)
           from public.hub_hook_tokens t
          where v_server = any (t.server_ids) and t.revoked_at is null));
    end loop;
  end if;
  insert into public.hub_hook_tokens (name, token_hash, targets, server_ids, created_by)
  values (p_name, hub_internal.sha256_of(v_token), v_targets, v_servers, hub_internal.person())
  returning id into v_id;
  return jsonb_build_object('id', v_id, 'name', p_name, 'targets', to_jsonb(v_targets), 'token', v_token);
end;
$$;

create function hub_internal.revoke_hook_token(p_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
begin
  update public.hub_hook_tokens t set revoked_at = coalesce(t.revoked_at, now())
   where t.id = p_id and (hub_internal.is_trusted() or t.id in (select hub_internal.my_hook_token_ids()));
  if not found then
    perform hub_internal.refuse('UH004', 'not found', format('hook token %s', coalesce(p_id::text, 'null')),
      'Check the id; its maker and the owners of a server it reaches see it.');
  end if;
end;
$$;

-- How many messages a person has whose room a token shares: those of all tokens, revoked ones too, that reach
-- people by one of its servers. Not by token, or an owner had room without end; not by person, or one
-- tenant's hook took the room of another's. What the deployment itself made has room of its own.
create function hub_internal.direct_messages_beside(p_token public.hub_hook_tokens, p_user_id uuid)
  returns bigint
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select count(*)
            from public.hub_direct_messages d
           where d.user_id = p_user_id
             and d.sender_id in (select 'hook:' || t.id
                                   from public.hub_hook_tokens t
                                  where t.server_ids && p_token.server_ids
                                    and (t.created_by is null) = (p_token.created_by is null)));
end;
$$;

create function hub_internal.receive_hook(
  p_token text, p_message text, p_target text, p_deliver boolean, p_idempotency_key text)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_token   public.hub_hook_tokens;
  v_target  text := lower(p_target);
  v_channel public.hub_channels;
  v_server  public.hub_servers;
  v_direct  public.hub_direct_messages;
  v_sender  text;
  v_said    boolean := false;                     -- under this key, in a channel
  v_result  jsonb := jsonb_build_object('delivered', p_deliver, 'target', v_target, 'message', null,
                                        'task', null, 'thread', null, 'reply', null);
begin
  perform hub_internal.require_trusted('receiving hooks');
  -- Found by its hash: how long that takes tells nothing of the token.
  select t.* into v_token
    from public.hub_hook_tokens t
   where t.token_hash = hub_internal.sha256_of(p_token) and t.revoked_at is null;
  if not found then
    perform hub_internal.refuse('42501', 'token not valid', 'the hook token is unknown or was revoked',
      'An owner makes one with hub_create_hook_token.');
  elsif (v_target ~ '^(channel|user):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_target',
      'A target is written channel:<uuid> or user:<uuid>, never as a bare id.');
  elsif v_target <> all (v_token.targets) then
    perform hub_internal.refuse('42501', 'permission denied',
      format('%s is not a target of this token', v_target),
      'An owner makes a token for it with hub_create_hook_token.');
  elsif p_deliver is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_deliver is null',
      'true delivers, false only checks.');
  end if;
  perform hub_internal.require_text(p_message, 'p_message');
  perform hub_internal.require_key(p_idempotency_key, 'p_idempotency_key');

  if v_target like 'channel:%' then
    select c.* into v_channel from public.hub_channels c where c.id = substr(v_target, 9)::uuid;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', v_target, 'The channel is gone.');
    elsif v_channel.is_read_only then
      perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only',
        'It is a feed; use another channel.');
    end if;
    select s.* into v_server from public.hub_servers s where s.id = v_channel.server_id;
    -- A token is worth what its maker may do now.
    if v_token.created_by is not null
       and not exists (select from public.hub_members m
                        where m.server_id = v_server.id
                          and m.user_id = v_token.created_by
                          and m.role = 'owner') then
      perform hub_internal.refuse('42501', 'permission denied',
        format('whoever made this token owns the server of %s no more', v_target),
        'An owner of today makes a token for it with hub_create_hook_token.');
    end if;
  elsif not exists (select from public.hub_members m
                     where m.user_id = substr(v_target, 6)::uuid
                       and m.server_id = any (v_token.server_ids)
                       and m.accepts_hooks
                       and (v_token.created_by is null
                            or exists (select from public.hub_members o
                                        where o.server_id = m.server_id
                                          and o.user_id = v_token.created_by
                                          and o.role = 'owner'))) then
    perform hub_internal.refuse('42501', 'permission denied',
      format('%s is no longer a member where this token was made for them, or takes no messages of hooks',
             v_target),
      'An owner of a server of theirs makes a token for them with hub_create_hook_token; '
      'hub_members.accepts_hooks is theirs to set.');
  end if;
  if not p_deliver then
    return v_result;
  end if;
  v_sender := 'hook:' || v_token.id;
  -- The same again under its key is nothing new. start_work and answer_command each refuse a key that the
  -- other has used, and count their own; neither knows of direct messages, so those are compared here.
  if p_idempotency_key is not null then
    select d.* into v_direct
      from public.hub_direct_messages d
     where d.sender_id = v_sender and d.idempotency_key = p_idempotency_key;
    v_said := exists (select from public.hub_channel_messages m
                       where m.sender_id = v_sender and m.idempotency_key = p_idempotency_key)
              or exists (select from hub_internal.command_answers a
                          where a.sender_id = v_sender and a.idempotency_key = p_idempotency_key);
  end if;
  if (case when v_channel.id is null then v_said else v_direct.id is not null end) then
    perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message',
      'Use a new key for a new message.');
  end if;
  if not v_said and v_direct.id is null then
    perform hub_internal.spend('hook_messages', v_token.id::text);
    perform hub_internal.spend('hook_characters', v_token.id::text, char_length(p_message));
    if v_server.id is not null then
      perform hub_internal.spend('server_hook_messages', v_server.id::text);
      perform hub_internal.spend('server_hook_characters', v_server.id::text, char_length(p_message));
    end if;
  end if;
  update public.hub_hook_tokens t
     set last_used_at = now()
   where t.id = v_token.id and coalesce(t.last_used_at < now() - interval '1 minute', true);

  if v_channel.id is null then
    if v_direct.id is null then
      perform hub_internal.require_room('direct_messages',
        hub_internal.direct_messages_beside(v_token, substr(v_target, 6)::uuid));
      insert into public.hub_direct_messages (user_id, sender_id, sender_label, content, idempotency_key)
      values (substr(v_target, 6)::uuid, v_sender, v_token.name, p_message, p_idempotency_key)
      on conflict (sender_id, idempotency_key) where idempotency_key is not null do nothing
      returning * into v_direct;
      if v_direct.id is null then                 -- it came twice at once: the other's counts
        select d.* into v_direct
          from public.hub_direct_messages d
         where d.sender_id = v_sender and d.idempotency_key = p_idempotency_key;
      end if;
    end if;
    if (v_direct.user_id::text, v_direct.content) is distinct from (substr(v_target, 6), p_message) then
      perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message',
        'Use a new key for a new message.');
    end if;
    return v_result || jsonb_build_object('message', to_jsonb(v_direct));
  elsif v_server.architecture_type = 'command_dispatch' then
    return v_result || jsonb_build_object('reply',
      case when p_idempotency_key is null then hub_internal.execute_command(v_channel.id, p_message)
           else hub_internal.answer_command(v_sender, p_idempotency_key, v_channel.id, p_message) end);
  end if;
  -- Assignments between agents go before other work (an agent waits for the answer), and behind what is
  -- urgent.
  return v_result || hub_internal.start_work(
    v_channel, v_server.architecture_type = 'threaded_task_isolation', null, p_message, p_message,
    p_idempotency_key, 'agent', v_sender, v_token.name, null, '{"priority": 7}');
end;
$$;

create function hub_internal.keep_direct_messages(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_done integer;
begin
  delete from public.hub_direct_messages m
   where m.id in (select o.id
                    from public.hub_direct_messages o
                   where o.created_at < p_now - hub_internal.setting('direct_message_retention')
                   order by o.created_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_done = row_count;
  return v_done;
end;
$$;
insert into public.hub_errands (name, about, function, position) values
  ('direct_messages', 'messages to persons past their time go', 'hub_internal.keep_direct_messages', 220);
