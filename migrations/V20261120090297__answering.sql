-- Why: who may answer, and what follows from an answer. The first one wins, whichever door it comes by: the
-- task's row is locked, then the ask is looked at. Who comes second is told who was first, where and when.

-- Who -------------------------------------------------------------------------------------------------------

-- A person, never a device: one who may see the task, may give it to do, and is among those who are asked.
create function hub_internal.may_answer(p_ask public.hub_asks, p_task public.mac_tasks, p_person uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_role text;
begin
  if p_person is null
     or p_task.channel_id is null and p_task.created_by is distinct from p_person
     or not p_ask.self and p_task.created_by is not distinct from p_person then
    return false;
  end if;
  select m.role
    into v_role
    from public.hub_members m
   where m.user_id = p_person
     and m.server_id = p_task.server_id
     and m.role in ('operator', 'owner');
  return found and (v_role = any (p_ask.roles) or p_person = any (p_ask.persons));
end;
$$;

create function hub_internal.has_answerer(p_ask public.hub_asks, p_task public.mac_tasks)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select from public.hub_members m
                  where m.server_id = p_task.server_id
                    and m.role in ('operator', 'owner')
                    and hub_internal.may_answer(p_ask, p_task, m.user_id));
end;
$$;

-- Who a rule names may have left, or never was a member: then owners are asked. That the maker does not
-- answer holds all the same, so that it may wait for an owner who is still to come; it is said that it does.
create function hub_internal.ask_owners(p_ask public.hub_asks, p_task public.mac_tasks)
  returns public.hub_asks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_by text := hub_internal.answerers(p_ask);
begin
  if hub_internal.has_answerer(p_ask, p_task) then
    return p_ask;
  end if;
  p_ask.roles := array(select r from unnest(p_ask.roles || '{owner}') r group by r order by r = 'owner');
  if p_task.channel_id is not null then
    perform hub_internal.tell('ask_owners', p_task, p_task.thread_id, format(
      'what it asks now a rule of this server leaves to %s: there is nobody, so %s', v_by,
      case when hub_internal.has_answerer(p_ask, p_task) then 'owners are asked'
           else 'it waits until there is an owner who may answer (hub_set_member, hub_invite)' end));
  end if;
  return p_ask;
end;
$$;

create function hub_internal.answerers(p_ask public.hub_asks)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return coalesce(
           nullif(concat_ws(
             ' or ',
             nullif(array_to_string(array(select r || 's' from unnest(p_ask.roles) r), ' and '), ''),
             case when p_ask.persons <> '{}' then 'those it names' end), ''),
           'whoever runs the deployment')
         || case when p_ask.self then '' else ', but not who made the task' end;
end;
$$;

-- The ask, if the caller may know of it, and may answer it.
create function hub_internal.answerable_ask(p_ask_id uuid)
  returns public.hub_asks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ask  public.hub_asks;
  v_task public.mac_tasks;
begin
  select a.* into v_ask from public.hub_asks a where a.id = p_ask_id;
  select t.* into v_task from public.mac_tasks t where t.id = v_ask.task_id;
  if v_ask.id is null
     or not (hub_internal.is_trusted()
             or case when v_task.channel_id is null then v_task.created_by = hub_internal.person()
                     else hub_internal.may_read(v_task.server_id) end) is true then
    perform hub_internal.refuse('UH004', 'not found', format('ask %s', coalesce(p_ask_id::text, 'null')),
      'Check the id, and that you may read its server.');
  end if;
  if not hub_internal.is_trusted()
     and not hub_internal.may_answer(v_ask, v_task, hub_internal.person()) then
    perform hub_internal.refuse('42501', 'permission denied', 'answering this ask',
      format('It is answered by %s of its server.', hub_internal.answerers(v_ask)));
  end if;
  return v_ask;
end;
$$;

create function hub_internal.inbox(p_before timestamptz, p_limit int)
  returns setof public.hub_asks
  language plpgsql
  stable
  security definer                                -- looks who is asked
  set search_path = ''
as $$
declare
  v_me      uuid := hub_internal.person();
  v_trusted boolean := hub_internal.is_trusted();
begin
  if v_me is null and not v_trusted then
    perform hub_internal.refuse('42501', 'permission denied', 'the inbox',
      'Only a signed-in person has one.');
  end if;
  if p_limit is null or p_limit not between 1 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_limit %s', coalesce(p_limit::text, 'is null')), 'Ask for 1 to 1000.');
  end if;
  return query
    select a.*
      from public.hub_asks a
      join public.mac_tasks t on t.id = a.task_id
     where a.state = 'open'
       and (p_before is null or a.created_at < p_before)
       and (v_trusted
            or t.server_id in (select hub_internal.my_operated_server_ids())
               and hub_internal.may_answer(a, t, v_me))
     order by a.created_at desc, a.id
     limit p_limit;
end;
$$;

-- Closing ---------------------------------------------------------------------------------------------------

create function hub_internal.refuse_closed(p_ask public.hub_asks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.refuse('UH003', 'conflict', format('this ask is %s: %s', p_ask.state,
                                                          hub_internal.ask_outcome(p_ask)),
    'The first answer counts, and there is nothing left to answer.');
end;
$$;

-- At once, whether it listens to Postgres or to Realtime; with its next heartbeat it gets the answer.
create function hub_internal.tell_answer(p_ask public.hub_asks, p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform realtime.send(
    jsonb_build_object('id', p_task.id, 'seq', (extract(epoch from clock_timestamp()) * 1000)::bigint,
                       'attempt', p_task.attempt, 'ask', p_ask.id),
    'answer', 'device:' || p_task.claimed_by, true);
  perform pg_notify('hub_device', p_task.claimed_by);
end;
$$;

-- What follows. The caller holds the task's row and has closed the ask. A task that waits goes on when
-- nothing of it is open any more: its program ended in the midst of all of them.
create function hub_internal.go_on(p_ask public.hub_asks, p_task public.mac_tasks, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.show_closed(p_ask);
  if p_ask.budget_id is not null and p_ask.answer = 'continue' then
    perform hub_internal.raise_budget(p_ask, p_now);
  end if;
  if p_ask.kind = 'stop' and p_ask.answer = 'cancel'
     or p_ask.state = 'expired' and p_ask.on_expiry = 'cancel' then
    if p_task.status in ('running', 'waiting') then
      perform hub_internal.halt_task(p_task, hub_internal.ask_outcome(p_ask), p_now);
    end if;
  elsif p_task.status = 'running' and p_task.attempt = p_ask.attempt and p_task.claimed_by is not null then
    perform hub_internal.tell_answer(p_ask, p_task);
  elsif p_task.status = 'waiting'
        and not exists (select from public.hub_asks a where a.task_id = p_task.id and a.state = 'open') then
    update public.mac_tasks t
       set status = 'pending',
           run_after = null
     where t.id = p_task.id;
  end if;
end;
$$;

-- Answering -------------------------------------------------------------------------------------------------

-- Which answer that is: one of the keys, by itself or by its label, or a text where one may be given. With
-- p_loose a text that is no key is a text.
create function hub_internal.read_answer(
    p_ask public.hub_asks, inout p_answer text, inout p_text text, p_loose boolean default false)
  returns record
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_key text;
begin
  p_answer := hub_internal.trimmed(p_answer);
  p_text := hub_internal.trimmed(p_text);
  if char_length(p_text) > 20000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_text', 'At most 20,000 characters.');
  end if;
  select o.value ->> 'key'
    into v_key
    from jsonb_array_elements(p_ask.options) with ordinality o (value, place)
   where lower(p_answer) in (lower(btrim(o.value ->> 'key')), lower(btrim(o.value ->> 'label')))
   order by o.value ->> 'key' = p_answer desc, lower(btrim(o.value ->> 'key')) = lower(p_answer) desc, o.place
   limit 1;
  if v_key is not null then
    p_answer := v_key;
  elsif p_ask.kind = 'question' and p_answer is null and p_text is not null then
    null;
  elsif p_ask.kind = 'question' and p_answer is not null and p_text is null
        and char_length(p_answer) <= 20000 and (p_loose or p_ask.options = '[]') then
    p_text := p_answer;
    p_answer := null;
  else
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_answer %s', coalesce(quote_literal(left(p_answer, 100)), 'is null')),
      format('Answer with %s%s.', hub_internal.ask_choices(p_ask),
             case when p_ask.kind = 'question' and p_ask.options <> '[]'
                  then ', or leave p_answer null and give p_text' else '' end));
  end if;
end;
$$;

-- Compares and sets. The caller has looked at the rights.
create function hub_internal.put_answer(
    p_ask_id uuid, p_answer text, p_text text, p_digest text, p_person uuid, p_label text, p_door text,
    p_message_id uuid default null, p_loose boolean default false)
  returns public.hub_asks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ask  public.hub_asks;
  v_task public.mac_tasks;
  v_read record;
begin
  select a.* into v_ask from public.hub_asks a where a.id = p_ask_id;
  if v_ask.state = 'open' then
    -- The task of one that is closed may be for a device to claim: it is not locked for nothing.
    select t.* into v_task from public.mac_tasks t where t.id = v_ask.task_id for no key update;
    select a.* into v_ask from public.hub_asks a where a.id = p_ask_id for no key update;
  end if;
  if v_ask.state <> 'open' then
    perform hub_internal.refuse_closed(v_ask);
  elsif p_digest is not null and lower(p_digest) <> v_ask.digest then
    perform hub_internal.refuse('UH003', 'conflict', 'another digest: this is not what was shown',
      'Look at the ask again, and answer what it says.');
  end if;
  v_read := hub_internal.read_answer(v_ask, p_answer, p_text, p_loose);
  update public.hub_asks a
     set state = 'answered',
         answer = v_read.p_answer,
         answer_text = v_read.p_text,
         answered_by = p_person,
         answered_label = p_label,
         answered_door = p_door,
         answered_at = clock_timestamp(),
         answered_digest = lower(p_digest),
         answer_message_id = p_message_id
   where a.id = p_ask_id
  returning a.* into v_ask;
  if v_ask.answer = 'allow_task' and v_ask.kind = 'approval' then
    insert into hub_internal.ask_grants (root_id, digest, ask_id)
    values (coalesce(v_task.root_id, v_task.id), v_ask.digest, v_ask.id)
    on conflict do nothing;
  end if;
  perform hub_internal.go_on(v_ask, v_task, now());
  return v_ask;
end;
$$;

create function hub_internal.answer_ask(
    p_ask_id uuid, p_answer text, p_text text, p_digest text, p_loose boolean default false)
  returns public.hub_asks
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_asks
  set search_path = ''
as $$
declare
  v_ask public.hub_asks := hub_internal.answerable_ask(p_ask_id);
begin
  return hub_internal.put_answer(
    v_ask.id, p_answer, p_text, p_digest, hub_internal.person(),
    coalesce(case when hub_internal.person() is not null then hub_internal.person_label() end,
             hub_internal.caller_role()),
    'hub', null, p_loose);
end;
$$;

create function hub_internal.answer_task(p_task_id uuid, p_answer text)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  -- Not locked: answering does that.
  v_task public.mac_tasks := hub_internal.operated_task(p_task_id, 'answering a task', array[]::text[]);
  v_ids  uuid[];
begin
  v_ids := array(select a.id
                   from public.hub_asks a
                  where a.task_id = p_task_id and a.state = 'open'
                  order by a.created_at
                  limit 20);
  if cardinality(v_ids) <> 1 then
    perform hub_internal.refuse('UH003', 'conflict',
      case cardinality(v_ids)
        when 0 then format('task %s asks nothing', p_task_id)
        else format('task %s asks %s things: %s', p_task_id, cardinality(v_ids),
                    array_to_string(v_ids, ', ')) end,
      case cardinality(v_ids)
        when 0 then 'hub_inbox lists what waits for you.'
        else 'Say which one, with hub_answer_ask.' end);
  end if;
  perform hub_internal.answer_ask(v_ids[1], p_answer, null, null, true);
  select t.* into v_task from public.mac_tasks t where t.id = p_task_id;
  return v_task;
end;
$$;
