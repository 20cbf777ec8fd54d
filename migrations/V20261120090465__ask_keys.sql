-- Why: a button carries a key, and whoever has the key can press. So keys are made when a row of the outbox is
-- taken, and stand in what is sent alone: the owners of a server read its outbox, and would have other
-- people's. Each attempt has its own; all of them are good, since each may have arrived.
--   ask_keys: provider discord, telegram -> hub_answer_from_chat, with an account that is linked to a person
--             provider ntfy              -> hub_answer_by_token, of the person whose phone it is

create function hub_internal.ask_key()
  returns text
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  -- 122 random bits, 32 characters.
  return replace(gen_random_uuid()::text, '-', '');
end;
$$;

-- Whose phone a topic of ntfy is: it knows no accounts.
create function hub_internal.phone_of(p_bridge public.hub_bridges)
  returns uuid
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_bridge.provider = 'ntfy' and cardinality(p_bridge.starters) = 1
              then hub_internal.uuid_of(p_bridge.starters[1]) end;
end;
$$;

-- The body of a row as it is taken: each option with a new key, of which only the hash stays here.
create function hub_internal.with_keys(p_row public.hub_outbox, p_bridge public.hub_bridges)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_options jsonb := '[]'::jsonb;
  v_option  jsonb;
  v_key     text;
begin
  if p_row.ask_id is null or p_row.kind = 'webhook' then
    return p_row.body;
  elsif not exists (select from public.hub_asks a where a.id = p_row.ask_id) then
    return jsonb_set(p_row.body, '{ask,options}', '[]'::jsonb);
  end if;
  for v_option in
    select o.value
      from jsonb_array_elements(p_row.body #> '{ask,options}') with ordinality o (value, place)
     order by o.place
  loop
    v_key := hub_internal.ask_key();
    insert into hub_internal.ask_keys (hash, ask_id, answer, provider, chat, person)
    values (hub_internal.sha256_of(v_key), p_row.ask_id, v_option ->> 'key', p_row.provider,
            hub_internal.chat_of(p_row.target), hub_internal.phone_of(p_bridge));
    v_options := v_options || jsonb_build_object('key', v_key, 'label', v_option ->> 'label');
  end loop;
  return jsonb_set(p_row.body, '{ask,options}', v_options);
end;
$$;
