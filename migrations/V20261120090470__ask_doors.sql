-- Why: what is asked goes out to the chats of its channel, with a button for each answer, and comes back by
-- them. A button is a key that means one answer to one ask in one chat; whoever presses it must be an account
-- that was linked to a person by a one-time code, and that person must be among those who may answer. Where
-- the whole input does not fit there is no button: nobody allows what they were not shown.
--
-- body.ask of an outbox row: {"id", "kind", "title", "text", "whole", "options": [{"key","label"}], "state",
-- "hint"}. In the table an option's key is the answer itself, as hub_answer_ask takes it from whoever has a
-- right to; so it goes to a webhook. For a chat it goes out as a key of its own (…ask_keys). A closed ask has
-- no options; its row edits what stands there.

-- Out -------------------------------------------------------------------------------------------------------

-- How many characters of an ask fit into one message, with room for what the marks of a provider add.
create function hub_internal.ask_room(p_provider text)
  returns integer
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case p_provider when 'discord' then 1400
                         when 'telegram' then 3000
                         when 'ntfy' then 1500
                         else 60000 end;
end;
$$;

create function hub_internal.ask_body(p_ask public.hub_asks, p_bridge public.hub_bridges)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_room    integer := hub_internal.ask_room(p_bridge.provider);
  v_text    text := hub_internal.ask_text(p_ask);
  v_title   text := hub_internal.visible(p_ask.title);
  v_whole   boolean;
  v_options jsonb := '[]'::jsonb;
begin
  v_whole := hub_internal.is_shown_whole(p_ask) and char_length(v_title) + char_length(v_text) <= v_room;
  if p_ask.state = 'open' and p_bridge.provider = 'webhook' then
    v_options := p_ask.options;
  elsif p_ask.state = 'open' and v_whole
        and (p_bridge.provider <> 'ntfy' or hub_internal.phone_of(p_bridge) is not null) then
    v_options := p_ask.options;
  end if;
  return jsonb_build_object(
    'id', p_ask.id,
    'kind', p_ask.kind,
    'title', v_title,
    'text', case when v_whole or p_bridge.provider = 'webhook' then v_text
                 else hub_internal.head(v_text, greatest(v_room - char_length(v_title), 200)) end,
    'whole', v_whole,
    'options', v_options,
    'state', p_ask.state,
    'hint', case when p_ask.state <> 'open' then hub_internal.ask_outcome(p_ask)
                 when v_whole then format('hub task answer %s', left(p_ask.task_id::text, 4))
                 else format('Too long to be shown here whole: look at it, and answer it, with '
                             'hub task answer %s', left(p_ask.task_id::text, 4)) end)
    || case when p_bridge.provider = 'webhook' then jsonb_build_object('digest', p_ask.digest)
            else '{}'::jsonb end;
end;
$$;

-- What was not tried yet says that it is closed, and has no buttons; what may be there is edited.
create function hub_internal.close_doors(p_ask public.hub_asks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_row    public.hub_outbox;
  v_bridge public.hub_bridges;
  v_body   jsonb;
  v_said   public.hub_channel_messages;
begin
  if not exists (select from public.hub_outbox o where o.ask_id = p_ask.id) then
    return;
  end if;
  select m.* into v_said from public.hub_channel_messages m where m.id = p_ask.message_id;
  for v_row in
    select o.*
      from public.hub_outbox o
     where o.ask_id = p_ask.id and o.kind <> 'edit' and o.status in ('pending', 'sending', 'sent')
     order by o.seq
       for no key update
  loop
    select b.* into v_bridge from public.hub_bridges b where b.id = v_row.bridge_id;
    continue when v_bridge.id is null;
    if v_row.kind = 'webhook' then
      v_body := jsonb_set(v_row.body, '{data}', v_row.body -> 'data' || jsonb_build_object(
        'text', v_said.content,
        'embed', v_said.embed_data,
        'ask', hub_internal.ask_body(p_ask, v_bridge)));
      v_body := v_body || jsonb_build_object(
        'type', 'ask.closed',
        'timestamp', to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
    else
      v_body := v_row.body || jsonb_build_object(
        'text', v_said.content,
        'embed', v_said.embed_data,
        'ask', hub_internal.ask_body(p_ask, v_bridge));
    end if;
    if v_row.status = 'pending' and v_row.attempt = 0 and v_row.kind <> 'webhook' then
      update public.hub_outbox o
         set body = v_body,
             updated_at = now()
       where o.id = v_row.id;
      continue;
    end if;
    insert into public.hub_outbox
      (server_id, bridge_id, provider, target, secret_name, kind, body, idempotency_key, expires_at,
       message_id, reply_message_id, task_id, ask_id, mirror)
    values
      (v_row.server_id, v_row.bridge_id, v_row.provider, v_row.target, v_row.secret_name,
       case when v_row.kind = 'webhook' then 'webhook' else 'edit' end, v_body,
       v_row.bridge_id || ':' || p_ask.message_id || ':closed',
       now() + hub_internal.setting('outbox_webhook_ttl'), v_row.message_id, v_row.reply_message_id,
       v_row.task_id, p_ask.id, v_row.mirror)
    on conflict (idempotency_key) do nothing;
  end loop;
end;
$$;
