-- Why: command dispatch. One command, one answer, nothing kept but, under an idempotency key, the answer.

-- Words, where quotes keep blanks together: !lead "Bakeri Berlin". An unclosed quote reaches to the end.
create function hub_internal.command_words(p_text text)
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  -- Nearly all have no quotes: cut at blanks, which only of plain ASCII are surely these six.
  if position('"' in p_text) = 0 and position('''' in p_text) = 0
     and octet_length(p_text) = char_length(p_text) then
    return array_remove(string_to_array(translate(p_text, E'\t\n\u000b\f\r', '     '), ' '), '');
  end if;
  return (
    select coalesce(array_agg(coalesce(m[1], m[2], m[3]) order by n), '{}')
      from regexp_matches(p_text, E'"([^"]*)(?:"|$)|''([^'']*)(?:''|$)|([^\\s"'']\\S*)', 'g')
           with ordinality as r (m, n));
end;
$$;

-- How many letters must be changed, added or taken away to make one word of the other: which command was
-- meant.
create function hub_internal.edit_distance(p_a text, p_b text)
  returns integer
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_row  integer[] := array(select generate_series(0, char_length(p_b)));
  v_next integer[];
begin
  for i in 1 .. char_length(p_a) loop
    v_next := array[i];
    for j in 1 .. char_length(p_b) loop
      v_next[j + 1] := least(v_row[j + 1] + 1,
                             v_next[j] + 1,
                             v_row[j] + (substr(p_a, i, 1) <> substr(p_b, j, 1))::int);
    end loop;
    v_row := v_next;
  end loop;
  return v_row[char_length(p_b) + 1];
end;
$$;

create function hub_internal.execute_command(p_channel_id uuid, p_command text)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- commands read tables that people reach by commands alone
  set search_path = ''
as $$
declare
  v_channel      public.hub_channels := hub_internal.readable_channel(p_channel_id);
  v_words        text[] := hub_internal.command_words(left(p_command, 4000));
  v_name         text := lower(ltrim(coalesce(v_words[1], ''), '!'));
  v_architecture text;
  v_function     text;
  v_writes       boolean;
  v_nearest      text;
  v_text         text;
begin
  select s.architecture_type, k.function, k.writes
    into v_architecture, v_function, v_writes
    from public.hub_servers s
    left join public.koji_commands k on k.name = v_name
   where s.id = v_channel.server_id;
  if v_architecture <> 'command_dispatch' then
    perform hub_internal.refuse('UH003', 'conflict', 'this channel takes tasks, not commands',
      'Use hub_send, or a channel of a command dispatch server.');
  end if;
  if p_command is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_command is null',
      'Give a command; !help lists them.');
  end if;
  if char_length(p_command) > 4000 then
    v_text := 'A command has at most 4,000 characters.';
    return jsonb_build_object('text', v_text, 'chunks', jsonb_build_array(v_text));
  end if;

  if v_function is not null then
    if v_writes then
      perform hub_internal.require_operate(hub_internal.may_operate(v_channel.server_id),
        format('the command !%s', v_name));
    end if;
    -- The name comes from the registry, which only migrations change; the arguments are passed as values.
    execute format('select %s($1, $2)', v_function) into v_text using p_channel_id, v_words[2:];
  elsif v_name in ('', 'help') then
    select 'Commands:'
           || coalesce(string_agg(E'\n' || k.usage || ' - ' || k.description, '' order by k.name),
                       E'\n(none yet)')
      into v_text
      from (select name, usage, description from public.koji_commands
            union all
            select 'help', '!help', 'This list') k;
  else
    v_name := left(v_name, 40);
    select k.name
      into v_nearest
      from public.koji_commands k
     where hub_internal.edit_distance(v_name, k.name) <= greatest(1, char_length(k.name) / 2)
     order by hub_internal.edit_distance(v_name, k.name), k.name
     limit 1;
    v_text := format('Unknown command: !%s.%s !help lists the commands there are.',
                     v_name, coalesce(' Did you mean !' || v_nearest || '?', ''));
  end if;
  return jsonb_build_object('text', v_text, 'chunks', to_jsonb(hub_internal.chunks(v_text)));
end;
$$;

-- A command under a key of its sender. The caller has looked whether the sender may read the channel; without
-- a key it calls execute_command.
create function hub_internal.answer_command(p_sender text, p_idempotency_key text, p_channel_id uuid,
                                            p_command text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_digest bytea := sha256(uuid_send(p_channel_id) || convert_to(p_command, 'UTF8'));
  v_kept   hub_internal.command_answers;
  v_answer jsonb;
begin
  loop
    -- Of two senders of one key at the same moment the second waits here until the first has answered, or has
    -- failed and left nothing.
    insert into hub_internal.command_answers (sender_id, idempotency_key, digest)
    values (p_sender, p_idempotency_key, v_digest)
    on conflict do nothing;
    exit when found;
    select * into v_kept
      from hub_internal.command_answers a
     where a.sender_id = p_sender
       and a.idempotency_key = p_idempotency_key;
    if found then
      if v_kept.digest <> v_digest then
        perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message',
          'Use a new key for a new message.');
      end if;
      -- As execute_command does: who may no longer carry it out is told nothing of it.
      perform hub_internal.require_operate(hub_internal.may_operate(c.server_id),
                                           format('the command !%s', k.name))
         from public.hub_channels c, public.koji_commands k
        where c.id = p_channel_id
          and k.writes
          and k.name = lower(ltrim((hub_internal.command_words(p_command))[1], '!'));
      return v_kept.answer;
    end if;
  end loop;                                       -- it went away in between: its time was over
  if exists (select from public.hub_channel_messages m
              where m.sender_id = p_sender
                and m.idempotency_key = p_idempotency_key) then
    perform hub_internal.refuse('UH003', 'conflict', 'p_idempotency_key was used for another message',
      'Use a new key for a new message.');
  end if;
  if not hub_internal.is_trusted() or p_sender like 'hook:%' then
    perform hub_internal.spend('command_answers', p_sender);
  end if;
  v_answer := hub_internal.execute_command(p_channel_id, p_command);
  update hub_internal.command_answers a
     set answer = v_answer
   where a.sender_id = p_sender
     and a.idempotency_key = p_idempotency_key;
  return v_answer;
end;
$$;
comment on function hub_internal.answer_command(text, text, uuid, text) is
  'Answers a command once for a sender''s idempotency key: again with the same content, the first answer. '
  'Errors: UH003 the key was used for something else, and those of hub_execute_command.';

create function hub_internal.keep_answers(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_done integer;
begin
  delete from hub_internal.command_answers a
   where (a.sender_id, a.idempotency_key) in (
           select o.sender_id, o.idempotency_key
             from hub_internal.command_answers o
            where o.created_at < p_now - hub_internal.setting('command_answer_retention')
            order by o.created_at
            limit p_limit
              for update skip locked);
  get diagnostics v_done = row_count;
  return v_done;
end;
$$;
insert into public.hub_errands (name, about, function, position) values
  ('answers', 'answers of commands past their time go', 'hub_internal.keep_answers', 230);
