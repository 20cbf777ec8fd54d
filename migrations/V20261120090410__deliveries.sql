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

-- What a caller may read of an error: of a refusal the detail, too, since it was written to be read; of
-- another error it may hold the row.
create function hub_internal.reason(p_state text, p_message text, p_detail text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.shorten(format('%s %s', p_state, p_message)
    || case when p_state like 'UH%' or p_message = 'permission denied'
            then coalesce(': ' || nullif(p_detail, ''), '') else '' end, 300);
end;
$$;

-- One delivery, in the caller's transaction: the new status, why, and what came of it: [{server, task} or
-- {server, error}], in the order of the rules. The status stored: again later.
create function hub_internal.apply_webhook(
  p_delivery public.hub_webhook_deliveries, out status text, out reason text, out outcomes jsonb)
  language plpgsql
  volatile
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_payload    jsonb;
  v_facts      jsonb;
  v_repository text;
  v_servers    uuid[];
  v_rule       public.hub_webhook_rules;
  v_channel    public.hub_channels;
  v_threaded   boolean;
  v_served     uuid[] := '{}'::uuid[];
  v_asked      text;
  v_text       text;
  v_sent       jsonb;
  v_task       uuid;
  v_failed     text[] := '{}'::text[];
  v_problem    text;
  v_detail     text;
begin
  status := 'ignored';
  outcomes := '[]';
  if p_delivery.event = 'ping' then
    reason := 'ping';
    return;
  elsif not exists (select from public.hub_webhook_rules r
                     where r.provider = p_delivery.provider and r.event = p_delivery.event and r.enabled) then
    reason := 'no rule for this event';
    return;
  end if;
  v_payload := p_delivery.payload #> '{}';        -- fetched and unpacked once, and not at each look
  v_facts := hub_internal.github_facts(p_delivery.event, v_payload);
  v_payload := null;
  if v_facts ? 'problem' then
    status := 'failed';
    reason := v_facts ->> 'problem';
    return;
  elsif v_facts ? 'idle' then
    reason := v_facts ->> 'idle';
    return;
  end if;
  -- Who knows a secret can sign any name of a repository: it counts for those alone that a place ties to it.
  v_repository := lower(v_facts ->> 'repository');
  v_servers := array(
    select distinct p.server_id
      from public.hub_places p
     where p.kind = p_delivery.provider
       and lower(p.target) in ('*', v_repository, split_part(v_repository, '/', 1) || '/*')
       and coalesce(p.secret_name, 'GITHUB_WEBHOOK_SECRET') = p_delivery.secret_name);
  if cardinality(v_servers) = 0 then
    reason := format('no server has a place for %s with %s',
                     v_facts ->> 'repository', p_delivery.secret_name);
    return;
  end if;

  reason := 'no rule matches';
  for v_rule in
    select r.*
      from public.hub_webhook_rules r
     where r.server_id = any (v_servers)
       and r.provider = p_delivery.provider
       and r.event = p_delivery.event
       and r.enabled
       and (hub_internal.glob_matches(r.action, v_facts ->> 'action', true)
            or hub_internal.glob_matches(r.action, v_facts ->> 'outcome', true))
       and (r.command is null or r.action is not null or v_facts ->> 'action' = 'created')
       and hub_internal.glob_matches(r.repository, v_facts ->> 'repository', true)
       and hub_internal.glob_matches(r.branch, v_facts ->> 'branch', false)
       and hub_internal.glob_matches(r.author, v_facts ->> 'author', true)
       and (r.label is null
            or exists (select from jsonb_array_elements_text(
                           case when jsonb_typeof(v_facts -> 'labels') = 'array' then v_facts -> 'labels'
                                else '[]' end) l (name)
                        where hub_internal.glob_matches(r.label, l.name, true)))
     order by r.position, r.created_at, r.id
  loop
    continue when v_rule.channel_id = any (v_served);
    v_asked := null;
    if v_rule.command is not null then
      v_asked := hub_internal.commanded(v_rule.command, v_facts ->> 'comment');
      if v_asked is null then
        continue;
      elsif (v_facts ->> 'association' in ('OWNER', 'MEMBER', 'COLLABORATOR')) is not true then
        reason := format('%s may not give commands',
                         coalesce(left(v_facts ->> 'association', 40), 'somebody unknown'));
        continue;
      elsif v_asked = '' then
        reason := 'the command asks for nothing';
        continue;
      end if;
    end if;
    v_served := v_served || v_rule.channel_id;
    -- A delivery that was half dealt with does not exist, but one may be stored again by hand.
    select w.task_id into v_task
      from hub_internal.webhook_tasks w
     where w.delivery_id = p_delivery.id and w.channel_id = v_rule.channel_id;
    if found then
      outcomes := outcomes || jsonb_build_object('server', v_rule.server_id, 'task', v_task);
      continue;
    end if;

    v_problem := null;
    if not hub_internal.has_project(v_rule.channel_id, v_rule.server_id, v_rule.project) then
      v_problem := 'its project is no longer the channel''s own or one of its server''s hub_projects';
    else
      -- In a block of its own: rules are written by owners of different servers, and one's mistake is not to
      -- be another's.
      begin
        perform hub_internal.spend('webhook_tasks', v_rule.server_id::text);
        select c.* into v_channel from public.hub_channels c where c.id = v_rule.channel_id;
        select s.architecture_type = 'threaded_task_isolation' into v_threaded
          from public.hub_servers s
         where s.id = v_rule.server_id;
        v_text := hub_internal.render_template(
          v_rule.template,
          case when v_asked is null then v_facts else v_facts || jsonb_build_object('comment', v_asked) end,
          v_rule.command is not null);
        -- Routed by the rule's own words: what was written on GitHub addresses no model and is no kind of
        -- work.
        v_sent := hub_internal.place(
          v_channel, v_threaded, null, v_text, regexp_replace(v_rule.template, '\{[^{}]*\}', ' ', 'g'),
          format('webhook:%s:%s', p_delivery.id, v_rule.channel_id), 'system', 'github', 'GitHub', null,
          jsonb_strip_nulls(jsonb_build_object(
            'model', v_rule.model,
            'agent', v_rule.agent,
            'project', v_rule.project,
            'metadata', jsonb_build_object(
              'provider', p_delivery.provider,
              'event', p_delivery.event,
              'repository', v_facts ->> 'repository',
              'number', v_facts ->> 'number',
              'url', v_facts ->> 'url',
              'delivery', p_delivery.delivery_id,
              'rule', v_rule.id))));
        v_task := (v_sent #>> '{task,id}')::uuid;
        insert into hub_internal.webhook_tasks
          (delivery_id, channel_id, task_id, rule_id, provider, repository, number, answer)
        values
          (p_delivery.id, v_rule.channel_id, v_task, v_rule.id, p_delivery.provider,
           v_facts ->> 'repository', (v_facts ->> 'number')::bigint,
           v_rule.answer and v_facts ->> 'number' is not null);
        -- To the minute, so that a rule everything matches is not written each time.
        update public.hub_webhook_rules r
           set last_matched_at = now()
         where r.id = v_rule.id and coalesce(r.last_matched_at < now() - interval '1 minute', true);
        outcomes := outcomes || jsonb_build_object('server', v_rule.server_id, 'task', v_task);
      exception
        when deadlock_detected or serialization_failure or lock_not_available then
          -- Met somebody: no fault of the rule, the whole delivery comes again.
          raise;
        when others then
          get stacked diagnostics v_detail = pg_exception_detail;
          v_problem := hub_internal.reason(sqlstate, sqlerrm, v_detail);
      end;
    end if;
    if v_problem is not null then
      v_failed := v_failed || format('rule %s: %s', v_rule.id, v_problem);
      outcomes := outcomes || jsonb_build_object(
        'server', v_rule.server_id,
        'error', v_failed[cardinality(v_failed)]);
    end if;
  end loop;
  if jsonb_path_exists(outcomes, '$[*].task') then
    status := 'done';
    reason := null;
  elsif cardinality(v_failed) > 0 then
    status := 'stored';
  end if;
  if cardinality(v_failed) > 0 then
    reason := hub_internal.shorten(array_to_string(v_failed, '; '), 2000);
  end if;
end;
$$;

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

create function hub_internal.keep_webhooks(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_done integer;
  v_more integer;
begin
  delete from public.hub_webhook_deliveries d
   where d.id in (select o.id
                    from public.hub_webhook_deliveries o
                   where o.finished_at < p_now - hub_internal.setting('webhook_retention')
                   order by o.finished_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_done = row_count;
  delete from public.hub_direct_messages m
   where m.id in (select o.id
                    from public.hub_direct_messages o
                   where o.created_at < p_now - hub_internal.setting('direct_message_retention')
                   order by o.created_at
                   limit p_limit - v_done
                     for update skip locked);
  get diagnostics v_more = row_count;
  v_done := v_done + v_more;
  delete from hub_internal.command_answers a
   where (a.sender_id, a.idempotency_key) in (
           select o.sender_id, o.idempotency_key
             from hub_internal.command_answers o
            where o.created_at < p_now - hub_internal.setting('command_answer_retention')
            order by o.created_at
            limit p_limit - v_done
              for update skip locked);
  get diagnostics v_more = row_count;
  return v_done + v_more;
end;
$$;
insert into public.hub_errands (name, about, wakes, function, position) values
  ('webhooks',
   'what was reported becomes tasks (hub_process_webhooks); deliveries, direct messages and answers of '
   'commands past their time go',
   true, 'hub_internal.keep_webhooks', 210);
