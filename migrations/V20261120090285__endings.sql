-- Why: how an attempt ends, well or badly, and the record that stays of it. What is handed back is
-- …handing_back.

-- The record ------------------------------------------------------------------------------------------------

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
  elsif octet_length((p_meta -> 'receipt')::text) > 100000 then
    v_bad := 'p_meta.receipt is larger than 100 KB';
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
  elsif p_meta ->> 'reason' not in
          ('complete', 'failed', 'cancelled', 'exit', 'signal', 'timeout', 'no_output', 'silent', 'lingered',
           'out_of_memory', 'not_started', 'no_project', 'worker_stopped', 'worker_gone', 'host_gone',
           'lease_lost', 'revoked', 'not_stored', 'auth', 'limit', 'overloaded', 'context_full', 'denied',
           'refused', 'crashed', 'bad_config') then
    v_bad := format('p_meta.reason %L is none of hub_task_attempts_reason_check',
                    left(p_meta ->> 'reason', 40));
  elsif (p_meta ->> 'reason' = 'complete') <> p_complete then
    v_bad := format('p_meta.reason %L of an attempt that is %s', p_meta ->> 'reason',
                    case when p_complete then 'complete' else 'not complete' end);
  elsif (p_meta ->> 'agent_ended_at')::timestamptz < (p_meta ->> 'agent_started_at')::timestamptz then
    v_bad := 'p_meta.agent_ended_at is before p_meta.agent_started_at';
  end if;
  if v_bad is not null then
    perform hub_internal.refuse('UH001', 'bad input', v_bad,
      'p_meta = {model, session_id, cost_usd, tokens_in, tokens_out, exit_code, receipt, reason, signal, '
      'stderr, output_bytes, peak_memory_bytes, agent_started_at, agent_ended_at, tokens_cached, turns, '
      'tool_calls, cost_notional, agent_version, limit: {until, source, model, window}}, each optional.');
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

-- p_meta has been looked at (check_meta), or is ours.
create function hub_internal.end_attempt(
  p_task public.mac_tasks, p_outcome text, p_error text, p_meta jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  insert into public.hub_task_attempts as a
    (task_id, attempt, device, agent,
     started_at, finished_at, outcome, error,
     model, session_id,
     cost_usd, tokens_in, tokens_out,
     exit_code, receipt,
     reason, signal, stderr,
     output_bytes, peak_memory_bytes,
     agent_started_at, agent_ended_at,
     tokens_cached, turns, tool_calls,
     cost_notional, agent_version,
     limited_until, limit_source)
  values
    (p_task.id, p_task.attempt, p_task.claimed_by, p_task.agent,
     coalesce(p_task.claimed_at, p_now), p_now, p_outcome, p_error,
     p_meta ->> 'model', p_meta ->> 'session_id',
     round((p_meta ->> 'cost_usd')::numeric, 6), (p_meta ->> 'tokens_in')::bigint,
     (p_meta ->> 'tokens_out')::bigint,
     (p_meta ->> 'exit_code')::int, nullif(p_meta -> 'receipt', 'null'),
     coalesce(p_meta ->> 'reason', case p_outcome when 'lost' then 'lease_lost' else p_outcome end),
     (p_meta ->> 'signal')::int, nullif(p_meta ->> 'stderr', ''),
     (p_meta ->> 'output_bytes')::bigint, (p_meta ->> 'peak_memory_bytes')::bigint,
     (p_meta ->> 'agent_started_at')::timestamptz, (p_meta ->> 'agent_ended_at')::timestamptz,
     (p_meta ->> 'tokens_cached')::bigint, (p_meta ->> 'turns')::int, (p_meta ->> 'tool_calls')::int,
     (p_meta ->> 'cost_notional')::boolean, hub_internal.said_line(p_meta ->> 'agent_version'),
     (p_meta #>> '{limit,until}')::timestamptz, p_meta #>> '{limit,source}')
  on conflict (task_id, attempt) do update
    set finished_at = excluded.finished_at,
        outcome = excluded.outcome,
        error = excluded.error,
        model = excluded.model,
        session_id = excluded.session_id,
        cost_usd = excluded.cost_usd,
        tokens_in = excluded.tokens_in,
        tokens_out = excluded.tokens_out,
        exit_code = excluded.exit_code,
        receipt = excluded.receipt,
        reason = excluded.reason,
        signal = excluded.signal,
        stderr = excluded.stderr,
        output_bytes = excluded.output_bytes,
        peak_memory_bytes = excluded.peak_memory_bytes,
        agent_started_at = excluded.agent_started_at,
        agent_ended_at = excluded.agent_ended_at,
        tokens_cached = excluded.tokens_cached,
        turns = excluded.turns,
        tool_calls = excluded.tool_calls,
        cost_notional = excluded.cost_notional,
        agent_version = excluded.agent_version,
        limited_until = excluded.limited_until,
        limit_source = excluded.limit_source;
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
  v_task public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.check_meta(p_meta, true);
  perform hub_internal.check_said(p_result, 'p_result', 1000000);
  perform hub_internal.end_attempt(v_task, 'complete', null, p_meta, p_now);
  update public.mac_tasks t
     set status = 'complete',
         result = p_result,
         error = null,
         finished_at = p_now,
         model = coalesce(p_meta ->> 'model', t.model),
         session_id = coalesce(p_meta ->> 'session_id', t.session_id),
         session_device = case when p_meta ->> 'session_id' is not null then t.claimed_by
                               else t.session_device end
   where t.id = p_task_id
  returning t.* into v_task;
  return v_task;
end;
$$;

-- Ends an attempt badly. What is handed back waits for a machine at once, as long as that does not happen
-- again and again.
--
-- An agent that is at its limit or not logged in says so for all tasks that it would get, so that is kept
-- first. What waits for a limit waits any number of times. A login does not mend itself: the task goes to
-- whoever can take it now, or it has failed. Whether that makes sense is known here, whatever p_retryable
-- says.
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
  v_session text := p_meta ->> 'session_id';
  v_reason  text := case when p_retryable is not false then p_meta ->> 'reason' end;
  v_back    text := hub_internal.hand_back(v_reason);
  v_most    integer := case when v_back = 'free' then greatest(v_task.max_attempts, v_task.attempt) + 1
                            else v_task.max_attempts end;
  v_meta    jsonb := p_meta;
  v_pool    public.mesh_quota_pools;
  v_lane    integer;
  v_waits   text;
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.check_meta(p_meta, false);
  perform hub_internal.check_said(p_error, 'p_error', 100000);
  if p_meta ->> 'reason' = 'limit' then
    v_pool := hub_internal.note_attempt_limit(v_task, p_error, nullif(p_meta -> 'limit', 'null'), p_now);
    v_meta := p_meta || jsonb_build_object('limit', jsonb_build_object('until', v_pool.limited_until,
                                                                       'source', v_pool.source));
    if v_reason = 'limit' then
      v_waits := hub_internal.limit_text(coalesce(v_task.agent, v_task.model_preference), v_task.claimed_by,
                                         v_pool.limited_until, v_pool.source);
    end if;
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
    perform hub_internal.end_attempt(v_task, 'cancelled', p_error, v_meta, p_now);
    update public.mac_tasks t
       set status = 'cancelled',
           error = 'stopped on request',
           finished_at = p_now,
           session_id = coalesce(v_session, t.session_id),
           session_device = case when v_session is not null then t.claimed_by else t.session_device end
     where t.id = p_task_id
    returning t.* into v_task;
    return v_task;
  end if;
  perform hub_internal.end_attempt(v_task, 'failed', p_error, v_meta, p_now);
  if p_meta ->> 'reason' = 'no_project' and v_task.project is not null then
    insert into hub_internal.device_projects (device, project, present, told_at)
    select d.name, v_task.project, false, p_now from public.mesh_devices d where d.name = v_task.claimed_by
    on conflict (device, project) do update set present = false, told_at = excluded.told_at;
  end if;
  if v_waits is not null or v_back = 'free' then
    perform hub_internal.keep_allowance(v_task);
  end if;
  if v_waits is not null then
    update public.mac_tasks t
       set status = 'pending',
           error = v_waits,
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
           session_id = coalesce(v_session, t.session_id),
           session_device = case when v_session is not null then t.claimed_by else t.session_device end
     where t.id = p_task_id
    returning t.* into v_task;
  end if;
  return v_task;
end;
$$;
