-- Why: what comes back by a door: a button that was pressed, a reply in a chat, a token of ntfy. Whose it is,
-- is said by the account, which its person has linked with a one-time code.

-- Accounts of chats -----------------------------------------------------------------------------------------

create function hub_internal.link_code()
  returns text
  language plpgsql
  volatile
  security definer                                -- codes are nobody's to read
  set search_path = ''
as $$
declare
  v_me   uuid := hub_internal.person();
  v_code text;
begin
  if v_me is null then
    perform hub_internal.refuse('42501', 'permission denied', 'linking an account of a chat',
      'Only a signed-in person has accounts to link.');
  end if;
  perform hub_internal.spend('person_link_codes', v_me::text);
  -- 48 random bits, in groups that can be typed on a phone: no 0 and O, no 1 and I.
  v_code := upper(translate(left(replace(gen_random_uuid()::text, '-', ''), 12), '0123456789abcdef',
                            'ghjkmnpqrstuvwxy'));
  insert into hub_internal.link_codes as c (user_id, hash, label, expires_at)
  values (v_me, hub_internal.sha256_of(v_code), hub_internal.person_label(),
          now() + hub_internal.setting('link_code_life'))
  on conflict (user_id) do update
    set hash = excluded.hash,
        label = excluded.label,
        expires_at = excluded.expires_at;
  return left(v_code, 4) || '-' || substr(v_code, 5, 4) || '-' || substr(v_code, 9);
end;
$$;

create function hub_internal.check_chat(p_provider text, p_author_id text)
  returns void
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  if (p_provider in ('discord', 'telegram')) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_provider', 'discord or telegram.');
  elsif (char_length(p_author_id) between 1 and 100) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_author_id',
      'The id of the account: 1 to 100 characters.');
  end if;
end;
$$;

create function hub_internal.link_chat(
    p_provider text, p_author_id text, p_author text, p_code text)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_code hub_internal.link_codes;
begin
  perform hub_internal.require_trusted('linking accounts of chats');
  perform hub_internal.check_chat(p_provider, p_author_id);
  perform hub_internal.spend('link_tries', p_provider || ' ' || p_author_id);
  delete from hub_internal.link_codes c
   where c.hash = hub_internal.sha256_of(upper(regexp_replace(p_code, '[^A-Za-z]', '', 'g')))
  returning c.* into v_code;
  if v_code.user_id is null or v_code.expires_at <= now() then
    return jsonb_build_object(
      'linked', false,
      'text', 'This code is not good (any more). `hub link` gives a new one, good for ten minutes, once.');
  end if;
  insert into public.hub_chat_identities as i (provider, author_id, user_id, label, person_label)
  values (p_provider, p_author_id, v_code.user_id, coalesce(hub_internal.shown_name(p_author), 'somebody'),
          v_code.label)
  on conflict (provider, author_id) do update
    set user_id = excluded.user_id,
        label = excluded.label,
        person_label = excluded.person_label,
        created_at = now();
  return jsonb_build_object(
    'linked', true,
    'text', format('This account is linked to %s now: what it answers here counts as theirs.', v_code.label));
end;
$$;

create function hub_internal.unlink_chat(p_provider text, p_author_id text)
  returns void
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_chat_identities
  set search_path = ''
as $$
begin
  delete from public.hub_chat_identities i
   where i.provider = p_provider
     and i.author_id = p_author_id
     and (hub_internal.is_trusted() or i.user_id = hub_internal.person());
  if not found then
    perform hub_internal.refuse('UH004', 'not found', 'that account of yours',
      'hub_chat_identities has those that are linked to you.');
  end if;
end;
$$;

-- In --------------------------------------------------------------------------------------------------------

-- What somebody means who replies in a bridged chat to what asks there: with an account that is linked to one
-- who may answer, to an ask that stood there whole. The task's row is locked, before the conversation is.
-- Null: it is no answer.
create function hub_internal.bridged_answer(
    p_message_id uuid, p_bridge public.hub_bridges, p_author_id text, p_content text,
    out ask_id uuid, out answer text, out person uuid, out person_label text)
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ask  public.hub_asks;
  v_task public.mac_tasks;
  v_whom public.hub_chat_identities;
begin
  select a.* into v_ask from public.hub_asks a where a.message_id = p_message_id and a.state = 'open';
  select i.* into v_whom
    from public.hub_chat_identities i
   where i.provider = p_bridge.provider and i.author_id = p_author_id;
  answer := hub_internal.meant_answer(v_ask, p_content);
  if answer is null or v_whom.user_id is null
     or v_ask.kind = 'approval'
        and not exists (select from hub_internal.ask_keys k
                         where k.ask_id = v_ask.id
                           and k.provider = p_bridge.provider
                           and k.chat = hub_internal.chat_of(p_bridge.target)) then
    return;
  end if;
  select t.* into v_task from public.mac_tasks t where t.id = v_ask.task_id for no key update;
  select a.* into v_ask from public.hub_asks a where a.id = v_ask.id;
  if v_ask.state = 'open' and hub_internal.may_answer(v_ask, v_task, v_whom.user_id) then
    ask_id := v_ask.id;
    person := v_whom.user_id;
    person_label := v_whom.person_label;
  end if;
end;
$$;

-- What comes of a press: each outcome with a sentence for who pressed.
create function hub_internal.press(
    p_key hub_internal.ask_keys, p_person uuid, p_label text, p_door text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ask    public.hub_asks;
  v_task   public.mac_tasks;
  v_before text;
begin
  -- Looked at without a lock: who may not answer holds up nobody.
  select a.* into v_ask from public.hub_asks a where a.id = p_key.ask_id;
  select t.* into v_task from public.mac_tasks t where t.id = v_ask.task_id;
  if not hub_internal.may_answer(v_ask, v_task, p_person) then
    return jsonb_build_object(
      'outcome', 'not_allowed',
      'text', format('Not yours to answer: this is for %s of its server.', hub_internal.answerers(v_ask)));
  end if;
  v_before := v_ask.state;
  if v_before = 'open' then
    begin
      v_ask := hub_internal.put_answer(v_ask.id, p_key.answer, null, v_ask.digest, p_person, p_label, p_door);
    exception
      when sqlstate 'UH003' then                  -- somebody was quicker
        select a.* into v_ask from public.hub_asks a where a.id = p_key.ask_id;
        v_before := v_ask.state;
    end;
  end if;
  return jsonb_build_object(
    'outcome', case v_before when 'open' then 'answered' when 'answered' then 'already' else 'closed' end,
    'text', case v_before when 'answered' then 'Already answered. ' else '' end
            || hub_internal.ask_outcome(v_ask));
end;
$$;

create function hub_internal.answer_from_chat(p_provider text, p_key text, p_author_id text, p_chat text)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_key  hub_internal.ask_keys;
  v_whom public.hub_chat_identities;
begin
  perform hub_internal.require_trusted('answering for accounts of chats');
  perform hub_internal.check_chat(p_provider, p_author_id);
  select k.* into v_key
    from hub_internal.ask_keys k
   where k.hash = hub_internal.sha256_of(p_key)
     and k.provider = p_provider
     -- A chat is the same, whether it is said to be a channel's or a user's; a thread of Discord is a channel
     -- of its own, and its channel's too: whichever the bridge names.
     and split_part(k.chat, ':', 2) = any (string_to_array(split_part(p_chat, ':', 2), '/'));
  if not found then
    return '{"outcome": "unknown", "text": "This button is not known any more."}'::jsonb;
  end if;
  select i.* into v_whom
    from public.hub_chat_identities i
   where i.provider = p_provider and i.author_id = p_author_id;
  if not found then
    return jsonb_build_object(
      'outcome', 'unlinked',
      'text', 'This account is linked to nobody: `hub link` gives a code; send `/link CODE` to this bot.');
  end if;
  return hub_internal.press(v_key, v_whom.user_id, v_whom.person_label, p_provider);
end;
$$;

create function hub_internal.label_of(p_person uuid)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce(
    (select i.person_label
       from public.hub_chat_identities i
      where i.user_id = p_person
      order by i.created_at desc
      limit 1),
    left(p_person::text, 8));
end;
$$;

create function hub_internal.answer_by_token(p_token text, p_answer text)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_key hub_internal.ask_keys;
begin
  perform hub_internal.require_trusted('answering with a token');
  select k.* into v_key
    from hub_internal.ask_keys k
   where k.hash = hub_internal.sha256_of(p_token)
     and k.provider = 'ntfy'
     and k.person is not null;
  -- A token is of one answer; whoever says one says that.
  if not found or p_answer is not null and lower(btrim(p_answer)) not in (lower(v_key.answer), p_token) then
    return '{"outcome": "unknown", "text": "This button is not known any more."}'::jsonb;
  end if;
  return hub_internal.press(v_key, v_key.person, hub_internal.label_of(v_key.person), 'ntfy');
end;
$$;
