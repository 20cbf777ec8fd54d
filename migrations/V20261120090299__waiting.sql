-- Why: what an attempt asks lives and ends with it, unless the task waits: then its slot is free, and the
-- attempt that goes on is told what was answered.

-- Ends ------------------------------------------------------------------------------------------------------

create function hub_internal.put_withdrawn(p_ask public.hub_asks, p_why text, p_door text)
  returns public.hub_asks
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  update public.hub_asks a
     set state = 'withdrawn',
         answer_text = p_why,
         answered_door = p_door,
         answered_at = clock_timestamp(),
         taken_at = clock_timestamp()             -- nobody waits for it
   where a.id = p_ask.id
  returning a.* into p_ask;
  perform hub_internal.show_closed(p_ask);
  return p_ask;
end;
$$;

create function hub_internal.withdraw_ask(p_task_id uuid, p_attempt int, p_ask_id uuid)
  returns public.hub_asks
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on hub_asks
  set search_path = ''
as $$
declare
  v_ask public.hub_asks;
begin
  perform hub_internal.held_task(p_task_id, p_attempt);
  select a.* into v_ask from public.hub_asks a where a.id = p_ask_id and a.task_id = p_task_id;
  if not found then
    perform hub_internal.refuse('UH004', 'not found', format('ask %s of that task',
                                                             coalesce(p_ask_id::text, 'null')),
      'Check the id.');
  end if;
  -- One that was answered is answered: its asker gets to know with this row.
  return case when v_ask.state = 'open'
              then hub_internal.put_withdrawn(v_ask, 'the agent asks no more', 'agent')
              else v_ask end;
end;
$$;

create function hub_internal.take_answers(p_task_id uuid, p_attempt int, p_ask_ids uuid[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
begin
  perform hub_internal.held_task(p_task_id, p_attempt);
  update public.hub_asks a
     set taken_at = clock_timestamp()
   where a.id = any (p_ask_ids)
     and a.task_id = p_task_id
     and a.attempt <= p_attempt
     and a.state <> 'open'
     and a.taken_at is null;
end;
$$;

-- An attempt has ended, or a task that waited: what is open asks nobody any more, unless the task waits for
-- it. What was answered and had not arrived goes to the next attempt.
create function hub_internal.settle_asks(p_was public.mac_tasks, p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ask public.hub_asks;
begin
  if p_task.status <> 'waiting' then
    for v_ask in
      select a.*
        from public.hub_asks a
       where a.task_id = p_task.id and a.state = 'open'
       order by a.created_at
    loop
      perform hub_internal.put_withdrawn(
        v_ask,
        case when p_task.status = 'cancelled' then 'its task was cancelled'
             when p_task.status = 'pending'
               then format('its attempt ended (%s); the next one asks again if it must',
                           rtrim(hub_internal.shorten(hub_internal.task_reason(p_task), 200), '.'))
             else format('its task is %s', p_task.status)
                  || coalesce(' (' || nullif(hub_internal.shorten(hub_internal.one_line(p_task.error), 200),
                                             '') || ')', '') end,
        'end');
    end loop;
  end if;
  if p_was.status = 'running' and p_task.status in ('waiting', 'pending') then
    update public.hub_asks a
       set parked = true
     where a.task_id = p_task.id
       and a.attempt = p_was.attempt
       and a.state in ('open', 'answered', 'expired')
       and a.taken_at is null;
  end if;
end;
$$;

-- Waiting without a slot ------------------------------------------------------------------------------------

-- The row of a task that runs and is to wait, whoever writes that (guard_task_update): nobody has it, and the
-- attempt it had costs none. Where all it asked was answered meanwhile it goes on at once.
create function hub_internal.parked(p_old public.mac_tasks, p_new public.mac_tasks)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_asks integer;
  v_open integer;
begin
  select count(*), count(*) filter (where a.state = 'open')
    into v_asks, v_open
    from public.hub_asks a
   where a.task_id = p_old.id
     and a.attempt = p_old.attempt
     and a.answered_door is distinct from 'rule';
  if v_asks = 0 then
    perform hub_internal.refuse('UH003', 'conflict',
      format('attempt %s of task %s asks nothing', p_old.attempt, p_old.id),
      'Ask first (hub_ask), or end the attempt: nobody could end its waiting.');
  elsif p_new.cancel_requested_at is not null then
    perform hub_internal.refuse('UH003', 'conflict', format('task %s is being cancelled', p_old.id),
      'End it: cancelled.');
  end if;
  perform hub_internal.keep_allowance(p_old);
  update public.hub_task_attempts a
     set finished_at = now(),
         outcome = 'parked',
         reason = 'parked'
   where a.task_id = p_old.id
     and a.attempt = p_old.attempt
     and a.finished_at is null;
  p_new.status := case when v_open > 0 then 'waiting' else 'pending' end;
  p_new.claimed_by := null;
  p_new.lease_expires_at := null;
  p_new.run_after := null;
  p_new.error := null;
  p_new.max_attempts := p_new.max_attempts + 1;
  return p_new;
end;
$$;

-- What never ran is told by what it asks.
create function hub_internal.tell_parked(p_task public.mac_tasks, p_thread_id uuid, p_from text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_from = 'running' then
    perform hub_internal.tell('parked', p_task, p_thread_id,
                              p_reason => case when hub_internal.asks_for_budget(p_task.id)
                                               then 'more of its budget' else 'an answer' end);
  end if;
end;
$$;

create function hub_internal.park_task(p_task_id uuid, p_attempt int, p_meta jsonb, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task    public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_said    text;
  v_session record;
begin
  perform hub_internal.require_present(p_now);
  p_meta := coalesce(nullif(p_meta, 'null'), '{}') || '{"reason": "parked"}';
  perform hub_internal.check_meta(p_meta, false);
  perform hub_internal.check_said(p_meta ->> 'said', 'p_meta.said', 100000);
  -- With the end, or a worker that dies between the two would lose it, and one that tries again say it twice.
  v_said := btrim(hub_internal.tamed(p_meta ->> 'said'), E' \t\n');
  if v_said <> '' and v_task.channel_id is not null then
    perform hub_internal.tell('said', v_task, v_task.thread_id, v_said);
  end if;
  if v_task.cancel_requested_at is not null then
    return hub_internal.stop_attempt(v_task, null, p_meta, p_now);
  end if;
  perform hub_internal.end_attempt(v_task, 'parked', null, p_meta, p_now);
  v_session := hub_internal.session_after(v_task, 'parked', p_meta, false);
  update public.mac_tasks t
     set status = 'waiting',
         session_id = v_session.session_id,
         session_device = v_session.session_device
   where t.id = p_task_id
  returning t.* into v_task;
  return v_task;
end;
$$;

-- What is told of an answer ---------------------------------------------------------------------------------

create function hub_internal.answer_of(p_ask public.hub_asks)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return jsonb_build_object(
    'ask', p_ask.id,
    'ref', p_ask.ref,
    'kind', p_ask.kind,
    'title', p_ask.title,
    'tool', p_ask.tool,
    'digest', p_ask.digest,
    'answer', p_ask.answer,
    'text', p_ask.answer_text,
    'by', p_ask.answered_label,
    'state', p_ask.state);
end;
$$;

-- With each heartbeat until hub_take_answers: the answers to what the named attempts asked.
create function hub_internal.due_answers(p_device text, p_running jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(hub_internal.answer_of(a)
                              || jsonb_build_object('task', a.task_id, 'attempt', a.attempt)
                              order by a.answered_at, a.id), '[]')
      from jsonb_array_elements(p_running) e (o)
      join public.hub_asks a
        on a.task_id = (o ->> 'task')::uuid
       and a.attempt = (o ->> 'attempt')::int
       and a.state <> 'open'
       and a.taken_at is null
       and a.budget_id is null
      join public.mac_tasks t
        on t.id = a.task_id
       and t.attempt = a.attempt
       and t.status = 'running'
       and t.claimed_by = p_device);
end;
$$;

-- What was answered while no attempt was there to hear it, for hub_begin_attempt: until hub_take_answers. In
-- words, too, for the prompt of the attempt that goes on; null: there is nothing to tell.
create function hub_internal.parked_answers(p_task_id uuid, out answers jsonb, out words text)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  select coalesce(jsonb_agg(hub_internal.answer_of(a) order by a.answered_at, a.id), '[]'),
         string_agg(
           format(E'You asked: %s%s\n%s%s', hub_internal.shorten(a.title, 300),
                  coalesce(' (' || a.tool || ')', ''),
                  hub_internal.answer_words(a),
                  case when a.state = 'expired'
                         then ' That is no refusal: nobody has looked at it. Go on without it.'
                       when a.kind = 'approval' and a.answer <> 'deny' then ' Do it exactly as you asked.'
                       else '' end),
           E'\n\n' order by a.answered_at, a.id)
    into answers, words
    from public.hub_asks a
   where a.task_id = p_task_id
     and a.parked
     and a.budget_id is null
     and a.state in ('answered', 'expired')
     and a.taken_at is null;
end;
$$;

-- Why it waits ----------------------------------------------------------------------------------------------

create function hub_internal.explain_asks(p_task_id uuid)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    select 'waiting for an answer'::text,
           format('%s of attempt %s: %s; to be answered by %s: hub task answer %s', a.kind, a.attempt,
                  hub_internal.visible(hub_internal.shorten(a.title, 300)),
                  hub_internal.answerers(a)
                  || case when hub_internal.has_answerer(a, t) then ''
                       else ' (nobody is one now: whoever runs the hub answers)' end,
                  left(p_task_id::text, 4)),
           a.expires_at
      from public.hub_asks a
      join public.mac_tasks t on t.id = a.task_id
     where a.task_id = p_task_id and a.state = 'open'
     order by a.created_at;
end;
$$;
