-- Why: an attempt from its claim to its end. Each is one transaction; what people see follows by triggers
-- (…telling, …task_triggers). Bodies take the time as an argument; what the API exposes passes now().

-- Claiming --------------------------------------------------------------------------------------------------

create function hub_internal.claim_tasks(p_device text, p_limit int, p_lease interval, p_now timestamptz)
  returns setof public.mac_tasks
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on mac_tasks
  set search_path = ''
  -- Planned anew at each call, its plan took longer than the claim.
  set plan_cache_mode = force_generic_plan
as $$
declare
  v_device public.mesh_devices;
  v_want   integer;
  v_got    integer;
begin
  perform hub_internal.require_present(p_now);
  if p_limit is null or p_limit not between 1 and 1000 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_limit %s', coalesce(p_limit::text, 'is null')), 'Claim 1 to 1000 tasks at once.');
  end if;
  if p_lease is null or p_lease < interval '1 second' or p_lease > interval '1 day' then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_lease %s', coalesce(p_lease::text, 'is null')), 'A lease is 1 second to 1 day.');
  end if;
  v_device := hub_internal.acting_device(p_device);
  if v_device.drained_at is not null then
    return;
  end if;
  -- Two workers of one name claim one after the other, or their capacity would count twice.
  perform pg_advisory_xact_lock(hashtextextended('hub_claim:' || p_device, 0));
  v_want := least(p_limit, v_device.capacity - hub_internal.held_count(p_device));

  -- A few rounds: what a neighbour locked first is skipped, and there may be more behind it.
  for v_round in 1 .. 5 loop
    exit when v_want <= 0;
    -- 1. a short ordered look into each lane this device may take from; 2. the best of them, locked and
    -- looked at again.
    return query
      with lanes as materialized (
        select x.lane as id, x.agent
          from hub_internal.device_lanes x
         where x.device = p_device and x.eligible
      ), heads as materialized (
        select h.id, h.queue_key, lanes.agent
          from lanes
         cross join lateral (
           (select t.id, t.queue_key
              from public.mac_tasks t
             where t.lane = lanes.id
               and t.status = 'pending'
               and t.run_after is null
             order by t.queue_key
             limit v_want + 16)
           union all
           (select t.id, t.queue_key
              from public.mac_tasks t
             where t.lane = lanes.id
               and t.status = 'pending'
               and t.run_after is not null
               and t.run_after <= p_now
             order by t.run_after
             limit v_want + 16)
         ) h
         order by h.queue_key
         limit v_want + 16
      ), locked as materialized (
        select t.id, heads.agent
          from heads
          join public.mac_tasks t on t.id = heads.id
         where t.status = 'pending' and (t.run_after is null or t.run_after <= p_now)
         order by heads.queue_key
         limit v_want
           for update of t skip locked
      ), claimed as (
        update public.mac_tasks t
           set status = 'running',
               attempt = t.attempt + 1,
               claimed_by = p_device,
               agent = locked.agent,
               lease_expires_at = p_now + p_lease,
               claimed_at = p_now,
               run_after = null,
               partial_output = null,
               progress_count = 0
          from locked
         where t.id = locked.id
        returning t.*
      ), recorded as (
        insert into public.hub_task_attempts (task_id, attempt, device, agent, started_at)
        select c.id, c.attempt, p_device, c.agent, p_now from claimed c
      )
      select * from claimed order by queue_key;
    get diagnostics v_got = row_count;
    v_want := v_want - v_got;
    exit when v_got = 0
          and not exists (select from hub_internal.device_lanes x
                           where x.device = p_device
                             and x.eligible
                             and exists (select from public.mac_tasks t
                                          where t.lane = x.lane
                                            and t.status = 'pending'
                                            and t.run_after is null));
    exit when v_got = 0 and v_round >= 2;
  end loop;
end;
$$;

-- Writing to an attempt -------------------------------------------------------------------------------------

-- The device that writes to an attempt; null for a trusted caller, who writes for whoever holds it.
create function hub_internal.writing_device()
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_device text;
begin
  if not hub_internal.is_trusted() then
    v_device := hub_internal.live_device();
    if v_device is null and hub_internal.token_device() is not null then
      perform hub_internal.refuse('UH005', 'device revoked', hub_internal.token_device(),
        'It is revoked or was never enrolled.');
    elsif v_device is null then
      perform hub_internal.refuse('42501', 'permission denied', 'attempts are written by devices',
        'Use the token of the device that holds the task.');
    end if;
  end if;
  return v_device;
end;
$$;

create function hub_internal.refuse_lost(p_task_id uuid, p_attempt int)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.refuse('UH002', 'lease lost',
    format('task %s is not held at attempt %s', p_task_id, coalesce(p_attempt::text, 'null')),
    'Discard what this attempt did: another device holds the task, or it ended.');
end;
$$;

-- The live attempt, locked, or UH002.
create function hub_internal.held_task(p_task_id uuid, p_attempt int)
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_device text := hub_internal.writing_device();
  v_task   public.mac_tasks;
begin
  select t.* into v_task
    from public.mac_tasks t
   where t.id = p_task_id
     and t.attempt = p_attempt
     and t.status = 'running'
     and (v_device is null or t.claimed_by = v_device)
     for no key update;
  if not found then
    perform hub_internal.refuse_lost(p_task_id, p_attempt);
  end if;
  return v_task;
end;
$$;

create function hub_internal.report_progress(p_task_id uuid, p_attempt int, p_note text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_device text;
begin
  if p_note is null or btrim(p_note) = '' or char_length(p_note) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_note', 'A note has 1 to 100,000 characters.');
  end if;
  v_device := hub_internal.writing_device();
  -- The fence is in the update itself: a note is the commonest write, and a lock ahead of it would be a
  -- second version of the row.
  update public.mac_tasks t
     set partial_output = p_note
   where t.id = p_task_id
     and t.attempt = p_attempt
     and t.status = 'running'
     and (v_device is null or t.claimed_by = v_device);
  if not found then
    perform hub_internal.refuse_lost(p_task_id, p_attempt);
  end if;
end;
$$;

-- Ending it -------------------------------------------------------------------------------------------------

create function hub_internal.end_attempt(
  p_task public.mac_tasks, p_outcome text, p_error text, p_meta jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
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
  elsif char_length(p_meta ->> 'model') > 200 or char_length(p_meta ->> 'session_id') > 500 then
    v_bad := 'p_meta.model or p_meta.session_id is longer than 200 and 500 characters';
  elsif octet_length((p_meta -> 'receipt')::text) > 100000 then
    v_bad := 'p_meta.receipt is larger than 100 KB';
  elsif p_meta ->> 'exit_code' is not null and p_meta ->> 'exit_code' !~ '^-?[0-9]{1,9}$' then
    v_bad := 'p_meta.exit_code is not a whole number';
  end if;
  if v_bad is not null then
    perform hub_internal.refuse('UH001', 'bad input', v_bad,
      'p_meta = {model, session_id, cost_usd, tokens_in, tokens_out, exit_code, receipt}, each optional.');
  end if;
  insert into public.hub_task_attempts as a
    (task_id, attempt, device, agent,
     started_at, finished_at, outcome, error,
     model, session_id,
     cost_usd, tokens_in, tokens_out,
     exit_code, receipt)
  values
    (p_task.id, p_task.attempt, p_task.claimed_by, p_task.agent,
     coalesce(p_task.claimed_at, p_now), p_now, p_outcome, p_error,
     p_meta ->> 'model', p_meta ->> 'session_id',
     round((p_meta ->> 'cost_usd')::numeric, 6), (p_meta ->> 'tokens_in')::bigint,
     (p_meta ->> 'tokens_out')::bigint,
     (p_meta ->> 'exit_code')::int, nullif(p_meta -> 'receipt', 'null'))
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
        receipt = excluded.receipt;
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

create function hub_internal.fail_task(
  p_task_id uuid, p_attempt int, p_error text, p_retryable boolean, p_meta jsonb, p_now timestamptz)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_task public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_session text := p_meta ->> 'session_id';
begin
  perform hub_internal.require_present(p_now);
  if v_task.cancel_requested_at is not null then
    perform hub_internal.end_attempt(v_task, 'cancelled', p_error, p_meta, p_now);
    update public.mac_tasks t
       set status = 'cancelled',
           error = 'stopped on request',
           finished_at = p_now,
           session_id = coalesce(v_session, t.session_id),
           session_device = case when v_session is not null then t.claimed_by else t.session_device end
     where t.id = p_task_id
    returning t.* into v_task;
  else
    perform hub_internal.end_attempt(v_task, 'failed', p_error, p_meta, p_now);
    if coalesce(p_retryable, true) and v_task.attempt < v_task.max_attempts then
      update public.mac_tasks t
         set status = 'pending',
             error = p_error,
             run_after = p_now + hub_internal.backoff(t.attempt)
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
  end if;
  return v_task;
end;
$$;
