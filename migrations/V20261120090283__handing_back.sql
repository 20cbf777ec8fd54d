-- Why: a machine that can not go on hands a task back. Others take it at once, as long as that does not
-- happen again and again. How an attempt ends so is …endings.

-- Ten seconds, doubling, at most ten minutes.
create function hub_internal.backoff(p_attempt int)
  returns interval
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return least(interval '10 minutes',
               interval '10 seconds' * power(2, least(greatest(p_attempt, 1), 20) - 1));
end;
$$;

-- A device that could not go on, through no fault of the task, hands it back. It costs no attempt where the
-- device is there to say why (it stops, has no such project or no room for it, can not resume a session);
-- who was killed over a task may be killed by it again, so that counts. Null: no hand-back.
create function hub_internal.hand_back(p_reason text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_reason in ('worker_stopped', 'no_project', 'no_room', 'session_lost') then 'free'
              when p_reason in ('worker_gone', 'host_gone') then 'counted' end;
end;
$$;

-- Whether an attempt ended before anything of it ran: its worker was killed between the claim and its first
-- step. That costs none, three times: a task that kills whoever claims it comes to an end, too. The same
-- before its end is written and after.
create function hub_internal.never_begun(p_task_id uuid, p_attempt int)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select
                   from public.hub_task_attempts a
                   join hub_internal.beginners b on b.device = a.device
                  where a.task_id = p_task_id
                    and a.attempt = p_attempt
                    and a.begun_at is null)
     and (select count(*)
            from public.hub_task_attempts a
           where a.task_id = p_task_id
             and a.attempt < p_attempt
             and a.attempt > coalesce((select w.since
                                         from hub_internal.task_allowances w
                                        where w.task_id = p_task_id), 0)
             and a.begun_at is null
             and (a.outcome = 'lost' or hub_internal.hand_back(a.reason) = 'counted')) < 3;
end;
$$;

-- How many attempts in a row, the given one the last, were handed back in the same way. What was before
-- somebody queued the task again does not count.
create function hub_internal.hand_backs(p_task_id uuid, p_attempt int, p_reason text)
  returns integer
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_kind text := hub_internal.hand_back(p_reason);
  v_last integer;
begin
  select a.attempt
    into v_last
    from public.hub_task_attempts a
   where a.task_id = p_task_id
     and a.attempt <= p_attempt
     and hub_internal.hand_back(a.reason) is distinct from v_kind
   order by a.attempt desc
   limit 1;
  return p_attempt - greatest(coalesce(v_last, 0), (select w.since
                                                      from hub_internal.task_allowances w
                                                     where w.task_id = p_task_id));
end;
$$;

-- How long a task that was handed back is left alone: a machine that is out of order would take it and hand
-- it back as fast as it can, or be killed over it as often as it may. The attempt is written already.
create function hub_internal.hand_back_rest(p_task_id uuid, p_attempt int, p_reason text)
  returns interval
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_slow integer := hub_internal.hand_backs(p_task_id, p_attempt, p_reason)
                    - case hub_internal.hand_back(p_reason) when 'free' then 3 else 1 end;
begin
  return case when v_slow > 0 then hub_internal.backoff(v_slow) end;
end;
$$;

-- What is said of a hand-back after its reason. Null: nothing is told at all. Of those that are slowed the
-- first says so for all that follow in the row.
create function hub_internal.hand_back_text(p_task public.mac_tasks, p_reason text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_rest text := case when p_task.run_after is null then ''
                      else '; rests ' || hub_internal.duration_text(now(), p_task.run_after) end;
begin
  return case
    when hub_internal.hand_back(p_reason) = 'counted'
      then case when hub_internal.never_begun(p_task.id, p_task.attempt) then ' before it had begun'
                else format('; attempt %s of %s is used up', p_task.attempt, p_task.max_attempts) end
           || v_rest
    when p_task.run_after is null then ''
    when hub_internal.hand_backs(p_task.id, p_task.attempt, p_reason) = 4
      then v_rest || ', and longer each time it is handed back again'
  end;
end;
$$;

-- Before a task is given an attempt more than it was made with.
create function hub_internal.keep_allowance(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  insert into hub_internal.task_allowances (task_id, attempts)
  values (p_task.id, p_task.max_attempts)
  on conflict do nothing;
end;
$$;
