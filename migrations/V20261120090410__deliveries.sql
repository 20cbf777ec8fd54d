-- Why: what the world reports becomes work here. A request is verified by an HTTP function, stored once by
-- the id its sender gave it, and answered; whoever keeps time (or hears NOTIFY hub_errands, payload
-- `webhooks`) turns what is stored into tasks, by rules that are rows. A crash after the answer loses
-- nothing.
--
-- A rule that fails undoes nobody else's tasks: its id and the reason stand in its server's row. Where others
-- made tasks the delivery is done; the rule has missed it. Once mended: update … set status = 'stored', and
-- the tasks that are there stay one.
--
-- GitHub's signature covers the body and not X-GitHub-Delivery: a body that somebody captured with its
-- signature can be sent again under a new id, and is a new delivery here. The id keeps apart what GitHub
-- itself repeats; against a replay stands TLS, and a new secret where one happened.

-- Taking in -------------------------------------------------------------------------------------------------

create function hub_internal.receive_webhook(
  p_provider text, p_delivery_id text, p_event text, p_payload jsonb, p_secret_name text)
  returns jsonb
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_id uuid;
begin
  perform hub_internal.require_trusted('receiving webhooks');
  if (p_provider ~ '^[a-z][a-z0-9_-]{0,30}$') is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_provider', 'A lower case name, as github.');
  elsif (char_length(p_delivery_id) between 1 and 200) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_delivery_id',
      'The id its sender gave it: 1 to 200 characters.');
  elsif (char_length(p_event) between 1 and 200) is not true then
    perform hub_internal.refuse('UH001', 'bad input', 'p_event', 'The kind of event: 1 to 200 characters.');
  elsif p_payload is null then
    perform hub_internal.refuse('UH001', 'bad input', 'p_payload is null', 'Give the body as JSON.');
  elsif p_secret_name !~ '^(GITHUB_WEBHOOK_SECRET|HUB_GITHUB_WEBHOOK_SECRET_[A-Z0-9_]{1,50})$' then
    perform hub_internal.refuse('UH001', 'bad input', 'p_secret_name',
      'The environment variable of the secret: GITHUB_WEBHOOK_SECRET, or HUB_GITHUB_WEBHOOK_SECRET_<NAME>.');
  end if;

  -- NOTIFY takes a lock of the whole database until its commit is on disk: sixty-four senders would wait for
  -- each other's disk, one by one. So of those that are in flight at once one tells for all. Who hears it
  -- waits for the others (process_webhooks): they are in flight by the shared lock, which they hold before
  -- they find that somebody else tells.
  perform pg_advisory_xact_lock_shared(hashtextextended('hub_webhooks in flight', 0));

  -- A replay costs one look at an index. Of two at the same moment the second waits for the first, and then
  -- sees it.
  select d.id into v_id
    from public.hub_webhook_deliveries d
   where d.provider = p_provider and d.delivery_id = p_delivery_id;
  if found then
    return jsonb_build_object('delivery', v_id, 'duplicate', true);
  end if;
  insert into public.hub_webhook_deliveries (provider, delivery_id, event, payload, secret_name)
  values (p_provider, p_delivery_id, p_event, p_payload, coalesce(p_secret_name, 'GITHUB_WEBHOOK_SECRET'))
  on conflict (provider, delivery_id) do nothing
  returning id into v_id;
  if v_id is null then
    select d.id into v_id
      from public.hub_webhook_deliveries d
     where d.provider = p_provider and d.delivery_id = p_delivery_id;
    return jsonb_build_object('delivery', v_id, 'duplicate', true);
  end if;
  if pg_try_advisory_xact_lock(hashtextextended('hub_webhooks told', 0)) then
    perform hub_internal.wake_errand('webhooks');
  end if;
  return jsonb_build_object('delivery', v_id, 'duplicate', false);
end;
$$;

-- Dealing with it -------------------------------------------------------------------------------------------



-- What each server is told of it, in the delivery's own transaction.
create function hub_internal.note_outcomes(p_delivery_id uuid, p_status text, p_outcomes jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  insert into public.hub_webhook_outcomes as o (delivery_id, server_id, status, error, task_ids, updated_at)
  select p_delivery_id, (e ->> 'server')::uuid,
         case when count(e ->> 'task') > 0 then 'done'
              when p_status = 'stored' then 'stored'
              else 'failed' end,
         hub_internal.shorten(string_agg(e ->> 'error', '; ' order by n), 2000),
         coalesce(array_agg((e ->> 'task')::uuid order by n) filter (where e ? 'task'), '{}'), now()
    from jsonb_array_elements(p_outcomes) with ordinality as x (e, n)
   group by 2
  on conflict (server_id, delivery_id) do update
    set status = excluded.status,
        error = excluded.error,
        task_ids = excluded.task_ids,
        updated_at = excluded.updated_at;
end;
$$;

-- One that failed: once more, later each time, and five times in all.
create function hub_internal.postpone_webhook(
  p_id uuid, p_now timestamptz, p_reason text, p_outcomes jsonb default '[]')
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_status text;
begin
  update public.hub_webhook_deliveries d
     set status = case when d.attempt >= 4 then 'failed' else 'stored' end,
         attempt = d.attempt + 1,
         run_after = p_now + interval '10 seconds' * 4 ^ d.attempt,
         finished_at = case when d.attempt >= 4 then p_now end,
         error = p_reason
   where d.id = p_id
  returning d.status into v_status;
  perform hub_internal.note_outcomes(p_id, v_status, p_outcomes);
end;
$$;

create function hub_internal.process_webhooks(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_delivery public.hub_webhook_deliveries;
  v_result   record;
  v_detail   text;
  v_done     integer := 0;
  v_timeout  text := current_setting('lock_timeout');
  v_end      timestamptz := clock_timestamp() + hub_internal.setting('webhook_round');
  v_cut_off  bigint;
begin
  perform hub_internal.require_trusted('processing webhooks');
  perform hub_internal.require_round(p_now, p_limit, 10000);
  -- One keeper at a time: each holds the channels it has posted in until it is done, and two would take them
  -- in different orders. The second waits and does not leave: what it was told of may have come after the
  -- first looked.
  perform pg_advisory_xact_lock(hashtextextended('hub_webhooks processed', 0));
  -- Those in flight when we were told, who told nobody themselves. Not for long: somebody may have left a
  -- transaction open, and newcomers wait behind us. Who is missed then is found by the next round.
  begin
    set local lock_timeout = '2s';
    perform pg_advisory_lock(hashtextextended('hub_webhooks in flight', 0)),
            pg_advisory_unlock(hashtextextended('hub_webhooks in flight', 0));
    execute format('set local lock_timeout = %L', v_timeout);
  exception when lock_not_available then null;    -- goes back to the timeout before, too
  end;
  -- Counted here and not before its work: a statement that is cut off undoes the counting, too.
  select a.last_value into v_cut_off from hub_internal.webhook_at_work a where a.is_called;
  if found then
    perform hub_internal.postpone_webhook(d.id, p_now,
              'the statement was cut off while it was dealt with: statement_timeout, or the connection ended')
       from public.hub_webhook_deliveries d
      where d.seq = v_cut_off and d.status = 'stored';
  end if;
  -- A channel that somebody holds in an open transaction costs this much of the round, and not the rest of
  -- it.
  set local lock_timeout = '1s';
  while v_done < p_limit loop
    if v_done > 0 and clock_timestamp() >= v_end then
      v_done := p_limit;
      exit;
    end if;
    -- SKIP LOCKED: somebody may look at one in a transaction of their own.
    select d.* into v_delivery
      from public.hub_webhook_deliveries d
     where d.status = 'stored' and d.run_after <= p_now
     order by d.run_after, d.seq
     limit 1
       for no key update skip locked;
    exit when not found;
    v_done := v_done + 1;
    perform setval('hub_internal.webhook_at_work', v_delivery.seq);
    begin
      select * into v_result from hub_internal.apply_webhook(v_delivery);
      if v_result.status = 'stored' then
        perform hub_internal.postpone_webhook(v_delivery.id, p_now, v_result.reason, v_result.outcomes);
      else
        update public.hub_webhook_deliveries d
           set status = v_result.status,
               error = v_result.reason,
               attempt = d.attempt + 1,
               finished_at = p_now
         where d.id = v_delivery.id;
        perform hub_internal.note_outcomes(v_delivery.id, v_result.status, v_result.outcomes);
      end if;
    exception
      when deadlock_detected or serialization_failure or lock_not_available then
        -- Met somebody: no fault of its own. The older, the later: what is held for long does not stand
        -- before the others again and again.
        update public.hub_webhook_deliveries d
           set run_after = p_now
                 + least(greatest((p_now - d.received_at) / 4, interval '1 second'), interval '1 minute')
         where d.id = v_delivery.id;
      when others then                            -- what it did is undone, the others go on
        get stacked diagnostics v_detail = pg_exception_detail;
        perform hub_internal.postpone_webhook(v_delivery.id, p_now,
          hub_internal.reason(sqlstate, sqlerrm, v_detail));
    end;
  end loop;
  perform setval('hub_internal.webhook_at_work', 1, false);
  execute format('set local lock_timeout = %L', v_timeout);
  return v_done;
end;
$$;

-- What was dealt with long enough ago.
create function hub_internal.keep_webhooks(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_done integer;
begin
  delete from public.hub_webhook_deliveries d
   where d.id in (select o.id
                    from public.hub_webhook_deliveries o
                   where o.finished_at < p_now - hub_internal.setting('webhook_retention')
                   order by o.finished_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_done = row_count;
  return v_done;
end;
$$;
insert into public.hub_errands (name, about, wakes, function, position) values
  ('webhooks', 'what was reported becomes tasks (hub_process_webhooks); deliveries past their time go',
   true, 'hub_internal.keep_webhooks', 210);
