-- Why: how an attempt ends, well or badly, and the record that stays of it. What is handed back is
-- …handing_back.

-- The record ------------------------------------------------------------------------------------------------

-- Why an attempt may have ended. Null is not known.
create function hub_internal.is_reason(p_reason text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return p_reason in (
    'complete', 'failed', 'cancelled', 'exit', 'signal', 'timeout', 'no_output', 'silent', 'lingered',
    'out_of_memory', 'not_started', 'no_project', 'worker_stopped', 'worker_gone', 'host_gone',
    'lease_lost', 'revoked', 'not_stored', 'auth', 'limit', 'overloaded', 'context_full', 'denied',
    'refused', 'crashed', 'bad_config', 'session_lost', 'verify', 'parked', 'no_room', 'no_workspace');
end;
$$;

-- What CHECK constraints would say, for the reason given at check_task (…task_rules).
create function hub_internal.check_attempt()
  returns trigger
  language plpgsql
  security definer                                -- whoever writes attempts need not call is_reason
  set search_path = ''
as $$
begin
  if new.outcome not in ('complete', 'failed', 'cancelled', 'lost', 'parked', 'limited') then
    perform hub_internal.refuse('23514', 'bad input', format('outcome %L', left(new.outcome, 40)),
      'complete, failed, cancelled, lost, parked or limited.');
  elsif new.reason is not null and not hub_internal.is_reason(new.reason) then
    perform hub_internal.refuse('23514', 'bad input', format('reason %L', left(new.reason, 40)),
      'One of those that hub_fail_task takes.');
  elsif new.limit_source not in ('structured', 'text', 'guess') then
    perform hub_internal.refuse('23514', 'bad input', format('limit_source %L', left(new.limit_source, 40)),
      'structured, text or guess.');
  end if;
  return new;
end;
$$;
create trigger hub_task_attempts_check
  before insert or update of outcome, reason, limit_source on public.hub_task_attempts
  for each row execute function hub_internal.check_attempt();

-- Whether a text is a moment, and no infinity. Null is neither. Postgres 16 has a function that says so; here
-- the conversion is tried.
create function hub_internal.is_moment(p_text text)
  returns boolean
  language plpgsql
  stable
  strict
  set search_path = ''
as $$
begin
  return p_text ~ '^[0-9]{4}-' and isfinite(p_text::timestamptz);
exception
  when data_exception then
    return false;
end;
$$;

create function hub_internal.check_meta(p_meta jsonb, p_complete boolean)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_bad text;
begin
  if p_meta = '{}' then
    null;                                         -- nothing was reported
  elsif p_meta is not null and jsonb_typeof(p_meta) not in ('object', 'null') then
    v_bad := 'p_meta is not an object';
  -- What a device reports is added up by others: bounds that no attempt comes near.
  elsif p_meta ->> 'cost_usd' is not null and jsonb_typeof(p_meta -> 'cost_usd') <> 'number' then
    v_bad := 'p_meta.cost_usd is not a number';
  elsif (p_meta ->> 'cost_usd')::numeric not between 0 and 1000000 then
    v_bad := 'p_meta.cost_usd is not between 0 and 1,000,000';
  elsif p_meta ->> 'tokens_in' is not null and p_meta ->> 'tokens_in' !~ '^[0-9]{1,12}$' then
    v_bad := 'p_meta.tokens_in is not a whole number of at most 12 digits';
  elsif p_meta ->> 'tokens_out' is not null and p_meta ->> 'tokens_out' !~ '^[0-9]{1,12}$' then
    v_bad := 'p_meta.tokens_out is not a whole number of at most 12 digits';
  elsif p_meta ->> 'tokens_cached' !~ '^[0-9]{1,12}$' then
    v_bad := 'p_meta.tokens_cached is not a whole number of at most 12 digits';
  elsif p_meta ->> 'turns' !~ '^[0-9]{1,9}$' or p_meta ->> 'tool_calls' !~ '^[0-9]{1,9}$' then
    v_bad := 'p_meta.turns or p_meta.tool_calls is not a whole number of at most 9 digits';
  elsif jsonb_typeof(p_meta -> 'cost_notional') not in ('boolean', 'null') then
    v_bad := 'p_meta.cost_notional is neither true nor false';
  elsif char_length(p_meta ->> 'agent_version') > 200 then
    v_bad := 'p_meta.agent_version is longer than 200 characters';
  elsif jsonb_typeof(p_meta -> 'limit') not in ('object', 'null') then
    v_bad := 'p_meta.limit is not an object';
  elsif not hub_internal.is_moment(p_meta #>> '{limit,until}') then
    v_bad := 'p_meta.limit.until is not a moment like 2026-11-29T12:00:00Z';
  elsif p_meta #>> '{limit,source}' not in ('structured', 'text', 'guess') then
    v_bad := 'p_meta.limit.source is not structured, text or guess';
  elsif p_meta #>> '{limit,window}' not in ('five_hour', 'seven_day', 'day', 'minute') then
    v_bad := 'p_meta.limit.window is not five_hour, seven_day, day or minute';
  elsif char_length(p_meta #>> '{limit,model}') not between 1 and 200
        or hub_internal.said_line(p_meta #>> '{limit,model}') is distinct from p_meta #>> '{limit,model}' then
    v_bad := 'p_meta.limit.model has not 1 to 200 characters that are seen';
  elsif char_length(p_meta ->> 'model') > 200 or char_length(p_meta ->> 'session_id') > 500 then
    v_bad := 'p_meta.model or p_meta.session_id is longer than 200 and 500 characters';
  elsif octet_length((p_meta -> 'plan')::text) > 1000000 then
    v_bad := 'p_meta.plan is larger than 1 MB';
  elsif octet_length((p_meta -> 'receipt')::text) > 100000 then
    v_bad := 'p_meta.receipt is larger than 100 KB';
  elsif p_meta ->> 'session_state' not in ('ok', 'poisoned') then
    v_bad := 'p_meta.session_state is neither ok nor poisoned';
  elsif jsonb_typeof(p_meta -> 'said') not in ('string', 'null') then
    v_bad := 'p_meta.said is not a text';
  elsif p_meta ->> 'exit_code' !~ '^-?[0-9]{1,9}$' then
    v_bad := 'p_meta.exit_code is not a whole number';
  elsif p_meta ->> 'signal' !~ '^[0-9]{1,3}$' then
    v_bad := 'p_meta.signal is not the number of a signal';
  elsif char_length(p_meta ->> 'stderr') > 8000 then
    v_bad := 'p_meta.stderr is longer than 8,000 characters';
  elsif p_meta ->> 'output_bytes' !~ '^[0-9]{1,18}$' or p_meta ->> 'peak_memory_bytes' !~ '^[0-9]{1,18}$' then
    v_bad := 'p_meta.output_bytes or p_meta.peak_memory_bytes is not a whole number of at most 18 digits';
  elsif not hub_internal.is_moment(p_meta ->> 'agent_started_at')
        or not hub_internal.is_moment(p_meta ->> 'agent_ended_at') then
    v_bad := 'p_meta.agent_started_at or p_meta.agent_ended_at is not a moment like 2026-11-29T12:00:00Z';
  elsif not hub_internal.is_reason(p_meta ->> 'reason') then
    v_bad := format('p_meta.reason %L is none that an attempt ends for', left(p_meta ->> 'reason', 40));
  elsif (p_meta ->> 'reason' = 'complete') <> p_complete then
    v_bad := format('p_meta.reason %L of an attempt that is %s', p_meta ->> 'reason',
                    case when p_complete then 'complete' else 'not complete' end);
  elsif (p_meta ->> 'agent_ended_at')::timestamptz < (p_meta ->> 'agent_started_at')::timestamptz then
    v_bad := 'p_meta.agent_ended_at is before p_meta.agent_started_at';
  elsif hub_internal.unpriced_problem(p_meta -> 'unpriced') is not null then
    v_bad := 'p_meta.' || hub_internal.unpriced_problem(p_meta -> 'unpriced');
  else
    v_bad := 'p_meta.receipt: ' || hub_internal.receipt_problem(p_meta -> 'receipt');
  end if;
  if v_bad is not null then
    perform hub_internal.refuse('UH001', 'bad input', v_bad,
      'p_meta = {model, session_id, session_state, cost_usd, tokens_in, tokens_out, exit_code, receipt, '
      'reason, signal, stderr, output_bytes, peak_memory_bytes, agent_started_at, agent_ended_at, '
      'tokens_cached, turns, '
      'tool_calls, cost_notional, unpriced: [{model, tokens_in, tokens_cached, tokens_out}], agent_version, '
      'limit: {until, source, model, window}, plan}, each optional.');
  end if;
end;
$$;

-- What a device says goes into rows and records whole, and people are shown the first 100,000 characters.
-- Refused and not cut: its device has it whole, and can say it shorter.
create function hub_internal.check_said(p_text text, p_name text, p_most int)
  returns void
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  if char_length(p_text) > p_most then
    perform hub_internal.refuse('UH001', 'bad input',
      format('%s has %s characters', p_name, char_length(p_text)),
      format('At most %s: say it shorter; the attempt goes on until it has an end.', p_most));
  end if;
end;
$$;

-- p_meta has been looked at (check_meta), or is ours. Of a poisoned session no id is kept. What heartbeats told
-- of its use stays where its end does not tell.
create function hub_internal.end_attempt(
  p_task public.mac_tasks, p_outcome text, p_error text, p_meta jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_session text := hub_internal.session_state(p_meta, p_outcome);
  v_priced  record := hub_internal.priced(p_meta, p_now);
begin
  loop
    update public.hub_task_attempts a
       set finished_at = p_now,
           outcome = p_outcome,
           error = p_error,
           model = p_meta ->> 'model',
           session_id = case when v_session is distinct from 'poisoned' then p_meta ->> 'session_id' end,
           cost_usd = coalesce(v_priced.cost, a.cost_usd),
           tokens_in = coalesce((p_meta ->> 'tokens_in')::bigint, a.tokens_in),
           tokens_out = coalesce((p_meta ->> 'tokens_out')::bigint, a.tokens_out),
           exit_code = (p_meta ->> 'exit_code')::int,
           receipt = nullif(p_meta -> 'receipt', 'null'),
           reason = coalesce(p_meta ->> 'reason',
                             case p_outcome when 'lost' then 'lease_lost' else p_outcome end),
           signal = (p_meta ->> 'signal')::int,
           stderr = nullif(p_meta ->> 'stderr', ''),
           output_bytes = (p_meta ->> 'output_bytes')::bigint,
           peak_memory_bytes = (p_meta ->> 'peak_memory_bytes')::bigint,
           agent_started_at = (p_meta ->> 'agent_started_at')::timestamptz,
           agent_ended_at = (p_meta ->> 'agent_ended_at')::timestamptz,
           tokens_cached = coalesce((p_meta ->> 'tokens_cached')::bigint, a.tokens_cached),
           turns = (p_meta ->> 'turns')::int,
           tool_calls = (p_meta ->> 'tool_calls')::int,
           cost_notional = coalesce(v_priced.notional, a.cost_notional),
           price_version = case when v_priced.cost is null then a.price_version else v_priced.version end,
           agent_version = hub_internal.said_line(p_meta ->> 'agent_version'),
           limited_until = (p_meta #>> '{limit,until}')::timestamptz,
           limit_source = p_meta #>> '{limit,source}'
     where a.task_id = p_task.id and a.attempt = p_task.attempt;
    exit when found;
    -- It was claimed while the hub was not there, or its record is gone.
    insert into public.hub_task_attempts (task_id, attempt, device, agent, started_at)
    values (p_task.id, p_task.attempt, p_task.claimed_by, p_task.agent, coalesce(p_task.claimed_at, p_now))
    on conflict do nothing;
  end loop;
  if v_session is not null then
    perform hub_internal.note_session(p_task, v_session, p_error, p_meta, p_now);
  end if;
  if p_meta #>> '{receipt,kind}' is not null then
    perform hub_internal.note_receipt(p_task, p_meta -> 'receipt', p_now);
  end if;
end;
$$;

-- An attempt that somebody wanted cancelled has ended, however it says so.
create function hub_internal.stop_attempt(
  p_task public.mac_tasks, p_error text, p_meta jsonb, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_session record;
begin
  perform hub_internal.end_attempt(p_task, 'cancelled', p_error, p_meta, p_now);
  v_session := hub_internal.session_after(p_task, 'cancelled', p_meta, false);
  update public.mac_tasks t
     set status = 'cancelled',
         error = 'stopped on request',
         finished_at = p_now,
         session_id = v_session.session_id,
         session_device = v_session.session_device
   where t.id = p_task.id
  returning t.* into p_task;
  return p_task;
end;
$$;

create function hub_internal.complete_task(
  p_task_id uuid, p_attempt int, p_result text, p_meta jsonb, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task    public.mac_tasks := hub_internal.completing_task(p_task_id, p_attempt);
  v_session record;
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.check_meta(p_meta, true);
  perform hub_internal.check_said(p_result, 'p_result', 1000000);
  perform hub_internal.end_attempt(v_task, 'complete', null, p_meta, p_now);
  if v_task.task_type = 'plan' and v_task.team_id is not null then
    perform hub_internal.keep_plan(v_task, p_result, nullif(p_meta -> 'plan', 'null'));
  end if;
  v_session := hub_internal.session_after(v_task, 'complete', p_meta, false);
  update public.mac_tasks t
     set status = 'complete',
         result = p_result,
         error = null,
         finished_at = p_now,
         model = coalesce(p_meta ->> 'model', t.model),
         session_id = v_session.session_id,
         session_device = v_session.session_device
   where t.id = p_task_id
  returning t.* into v_task;
  return v_task;
end;
$$;

-- Ends an attempt badly; one that met a limit has not failed: it is limited. What is handed back waits for a
-- machine at once, as long as that does not happen again and again.
--
-- An agent that is at its limit or not logged in says so for all tasks that it would get, so that is kept
-- first. What waits for a limit waits any number of times. A login does not mend itself: the task goes to
-- whoever can take it now, or it has failed. Whether that makes sense is known here, whatever p_retryable
-- says. What did not pass verify is not tried again by itself: the agent was sent back as often as it may.
create function hub_internal.fail_task(
  p_task_id uuid, p_attempt int, p_error text, p_retryable boolean, p_meta jsonb, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task    public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_session record;
  v_limited boolean := coalesce(p_meta ->> 'reason' = 'limit', false);
  v_reason  text := case when p_retryable is not false then p_meta ->> 'reason' end;
  v_back    text := hub_internal.hand_back(v_reason);
  v_unbegun boolean := v_back is not distinct from 'counted'
                       and hub_internal.never_begun(p_task_id, p_attempt);
  v_most    integer := case when v_back = 'free' or v_unbegun
                              then greatest(v_task.max_attempts, v_task.attempt) + 1
                            when p_meta ->> 'reason' = 'verify' then 0
                            else v_task.max_attempts end;
  v_meta    jsonb := p_meta;
  v_pool    public.mesh_quota_pools;
  v_lane    integer;
  v_waits   text;
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.check_meta(p_meta, false);
  perform hub_internal.check_said(p_error, 'p_error', 100000);
  if v_limited then
    v_pool := hub_internal.note_attempt_limit(v_task, p_error, nullif(p_meta -> 'limit', 'null'), p_now);
    v_meta := p_meta || jsonb_build_object('limit', jsonb_build_object('until', v_pool.limited_until,
                                                                       'source', v_pool.source));
    v_waits := hub_internal.limit_text(coalesce(v_task.agent, v_task.model_preference), v_task.claimed_by,
                                       v_pool);
  elsif p_meta ->> 'reason' = 'auth' and v_task.agent is not null
        and exists (select from public.mesh_devices d where d.name = v_task.claimed_by) then
    perform hub_internal.note_login(v_task.claimed_by, v_task.agent, false, p_error, p_now);
    v_lane := hub_internal.lane_of(v_task);
    if exists (select from hub_internal.device_lanes x
                where x.lane = v_lane
                  and x.eligible
                  and x.accepts
                  and x.capacity > 0
                  and x.offline_at > p_now) then
      v_waits := hub_internal.login_text(v_task.agent, v_task.claimed_by);
    else
      v_most := 0;
    end if;
  end if;
  if v_task.cancel_requested_at is not null then
    return hub_internal.stop_attempt(v_task, p_error, v_meta, p_now);
  end if;
  perform hub_internal.end_attempt(v_task, case when v_limited then 'limited' else 'failed' end, p_error,
                                   v_meta, p_now);
  if p_meta ->> 'reason' = 'no_project' and v_task.project is not null then
    insert into hub_internal.device_projects (device, project, present, told_at)
    select d.name, v_task.project, false, p_now from public.mesh_devices d where d.name = v_task.claimed_by
    on conflict (device, project) do update set present = false, told_at = excluded.told_at;
  end if;
  if v_waits is not null or v_back = 'free' or v_unbegun then
    perform hub_internal.keep_allowance(v_task);
  end if;
  if v_limited then
    v_session := hub_internal.session_after(v_task, 'limited', p_meta, false);
    if v_pool.id is null or not hub_internal.waits_in_session(v_task, v_pool.limited_until, p_now) then
      v_session.session_device := null;
    end if;
  else
    v_session := hub_internal.session_after(
      v_task, 'failed', p_meta,
      v_waits is not null or p_retryable is not false and v_task.attempt < v_most);
  end if;
  if v_waits is not null then
    update public.mac_tasks t
       set status = 'pending',
           error = v_waits,
           session_id = v_session.session_id,
           session_device = v_session.session_device,
           max_attempts = t.max_attempts + 1,
           -- A machine that is none of ours has no pool to wait for.
           run_after = case when v_pool.limited_until is not null and v_pool.id is null
                            then v_pool.limited_until end
     where t.id = p_task_id
    returning t.* into v_task;
    perform hub_internal.wake_devices(v_task.lane);
  elsif p_retryable is not false and v_task.attempt < v_most then
    update public.mac_tasks t
       set status = 'pending',
           error = p_error,
           session_id = v_session.session_id,
           session_device = v_session.session_device,
           max_attempts = v_most,
           run_after = p_now + case when v_back is null then hub_internal.backoff(t.attempt)
                                    else hub_internal.hand_back_rest(t.id, t.attempt, v_reason) end
     where t.id = p_task_id
    returning t.* into v_task;
  else
    update public.mac_tasks t
       set status = 'failed',
           error = p_error,
           finished_at = p_now,
           session_id = v_session.session_id,
           session_device = v_session.session_device
     where t.id = p_task_id
    returning t.* into v_task;
  end if;
  return v_task;
end;
$$;
