-- Why: how a delivery ends: sent, later, dead, again; and what is kept of it.

-- More for that target: whoever delivered this may be gone already.
create function hub_internal.wake_target(p_row public.hub_outbox, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if exists (select from public.hub_outbox o
              where o.server_id = p_row.server_id
                and o.provider = p_row.provider
                and o.target = p_row.target
                and o.status = 'pending'
                and not o.overtaken
                and o.run_after <= p_now)
     or exists (select from public.hub_outbox o
                 where o.server_id = p_row.server_id
                   and o.provider = p_row.provider
                   and o.target = p_row.target
                   and o.status = 'pending'
                   and o.overtaken
                   and o.run_after <= p_now) then
    perform hub_internal.wake_errand('outbox');
  end if;
end;
$$;

create function hub_internal.held_outbox(p_id uuid, p_attempt int)
  returns public.hub_outbox
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_row public.hub_outbox;
begin
  perform hub_internal.require_trusted('delivering');
  select o.* into v_row
    from public.hub_outbox o
   where o.id = p_id and o.attempt = p_attempt and o.status = 'sending'
     for no key update;
  if not found then
    perform hub_internal.refuse('UH002', 'lease lost',
      format('outbox row %s is not held at attempt %s',
             coalesce(p_id::text, 'null'), coalesce(p_attempt::text, 'null')),
      'Forget it: another worker has it, or it was given up.');
  end if;
  return v_row;
end;
$$;

-- What is there by now of a row: each of its messages is known when it comes back, or is answered.
create function hub_internal.know_parts(p_row public.hub_outbox, p_parts text[])
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_row.bridge_id is not null then
    insert into hub_internal.bridge_messages
      (bridge_id, chat, external_id, message_id, task_id, incoming, part)
    select p_row.bridge_id, hub_internal.chat_of(p_row.target), p.id, p_row.message_id, p_row.task_id, false,
           p.part
      from unnest(p_parts) with ordinality p (id, part)
    on conflict (bridge_id, chat, external_id) do nothing;
  end if;
end;
$$;

create function hub_internal.check_parts(p_parts text[])
  returns void
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  if cardinality(p_parts) > 1000
     or array_position(p_parts, null) is not null
     or exists (select from unnest(p_parts) id where char_length(id) not between 1 and 180) then
    perform hub_internal.refuse('UH001', 'bad input', 'p_parts',
      'The ids of its messages on the other side, in order: at most 1000, each of 1 to 180 characters.');
  end if;
end;
$$;

create function hub_internal.complete_outbox(
  p_id uuid, p_attempt int, p_external_id text, p_parts text[], p_note text)
  returns public.hub_outbox
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_row public.hub_outbox := hub_internal.held_outbox(p_id, p_attempt);
begin
  if char_length(p_external_id) not between 1 and 180 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_external_id',
      'The message''s id on the other side: 1 to 180 characters, or null where there is none.');
  end if;
  perform hub_internal.check_parts(p_parts);
  if char_length(p_note) > 1000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_note',
      'What was odd about it, in at most 1000 characters.');
  end if;
  update public.hub_outbox o
     set status = 'sent',
         -- An edit that became a message, because the one it was to edit is gone: what comes later edits
         -- that.
         kind = case when o.kind = 'edit' and p_external_id <> o.edit_of then 'post' else o.kind end,
         external_id = coalesce(p_external_id, p_parts[1], o.edit_of),
         parts = coalesce(p_parts, o.parts),
         error = null,
         lease_expires_at = null,
         finished_at = clock_timestamp(),
         updated_at = clock_timestamp()
   where o.id = v_row.id
  returning o.* into v_row;
  if v_row.external_id is not null then
    perform hub_internal.know_parts(v_row, array[v_row.external_id] || v_row.parts[2:]);
  end if;
  if v_row.bridge_id is not null then
    perform hub_internal.warn_of_bridge(v_row.bridge_id, v_row.target, nullif(btrim(p_note), ''));
  end if;
  perform hub_internal.wake_target(v_row, now());
  return v_row;
end;
$$;

-- Five seconds, doubling, at most an hour; between half and all of it, so that those who failed together do
-- not come back together.
create function hub_internal.outbox_backoff(p_attempt int)
  returns interval
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  return least(interval '1 hour',
               interval '5 seconds' * power(2, least(greatest(p_attempt, 1), 20) - 1))
         * (0.5 + random() / 2);
end;
$$;

create function hub_internal.fail_outbox(
  p_id uuid, p_attempt int, p_error text, p_retry_after interval, p_permanent boolean, p_parts text[],
  p_now timestamptz)
  returns public.hub_outbox
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_row  public.hub_outbox := hub_internal.held_outbox(p_id, p_attempt);
  v_dead boolean := coalesce(p_permanent, false)
                    or (p_retry_after is null
                        and v_row.kind not in ('webhook', 'github_comment')
                        and v_row.attempt >= v_row.max_attempts);
begin
  perform hub_internal.check_parts(p_parts);
  update public.hub_outbox o
     set status = case when v_dead then 'dead' else 'pending' end,
         lease_expires_at = null,
         updated_at = clock_timestamp(),
         finished_at = case when v_dead then clock_timestamp() end,
         overtaken = not v_dead and o.kind = 'webhook' and p_retry_after is null,
         max_attempts = o.max_attempts + case when p_retry_after is not null and not v_dead then 1 else 0 end,
         -- Never before the other side said; a little later, since it told others the same. One that says `at
         -- once` for ever is not believed.
         run_after = case when p_retry_after is null then p_now + hub_internal.outbox_backoff(v_row.attempt)
                          else p_now
                               + greatest(least(p_retry_after, interval '1 day'), interval '0',
                                          case when v_row.attempt > 12
                                               then hub_internal.outbox_backoff(v_row.attempt - 12) end)
                               + random() * interval '1 second' end,
         parts = coalesce(p_parts, o.parts),
         error = hub_internal.shorten(coalesce(nullif(btrim(p_error), ''), 'no reason given'), 500)
   where o.id = v_row.id
  returning o.* into v_row;
  perform hub_internal.know_parts(v_row, p_parts);
  if v_dead and v_row.bridge_id is not null then
    perform hub_internal.warn_of_bridge(v_row.bridge_id, v_row.target,
      'something was not sent, for good: ' || v_row.error);
  end if;
  if v_dead or v_row.overtaken then
    perform hub_internal.wake_target(v_row, p_now);
  end if;
  return v_row;
end;
$$;

create function hub_internal.retry_outbox(p_id uuid, p_now timestamptz)
  returns public.hub_outbox
  language plpgsql
  volatile
  security definer                                -- people hold no write grant on hub_outbox
  set search_path = ''
as $$
declare
  v_row public.hub_outbox;
begin
  perform hub_internal.require_present(p_now);
  select o.* into v_row from public.hub_outbox o where o.id = p_id for no key update;
  if not found or not hub_internal.may_read(v_row.server_id) then
    perform hub_internal.refuse('UH004', 'not found', format('outbox row %s', coalesce(p_id::text, 'null')),
      'Check the id, and that you may read its server.');
  elsif not hub_internal.may_own(v_row.server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'the outbox of this server',
      'Only an owner of the server has something sent again.');
  elsif v_row.status not in ('dead', 'pending') then
    perform hub_internal.refuse('UH003', 'conflict', format('the row is %s', v_row.status),
      'Only what is dead, or waits, is sent again.');
  end if;
  update public.hub_outbox o
     set status = 'pending',
         overtaken = false,
         run_after = p_now,
         finished_at = null,
         max_attempts = o.attempt + 12,
         updated_at = p_now,
         -- A dead one goes to the end: what came after it may be in flight, or sent.
         seq = case when v_row.status = 'dead'
                    then nextval(pg_get_serial_sequence('public.hub_outbox', 'seq'))
                    else o.seq end,
         expires_at = greatest(o.expires_at, p_now + hub_internal.setting(
           case when o.kind in ('webhook', 'github_comment') then 'outbox_webhook_ttl' else 'outbox_ttl' end))
   where o.id = p_id
  returning o.* into v_row;
  perform hub_internal.wake_errand('outbox');
  return v_row;
end;
$$;

create function hub_internal.keep_outbox(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_done integer;
  v_more integer;
begin
  update public.hub_outbox o
     set status = case when o.attempt >= o.max_attempts and o.kind not in ('webhook', 'github_comment')
                       then 'dead' else 'pending' end,
         lease_expires_at = null,
         updated_at = p_now,
         overtaken = o.kind = 'webhook',
         error = 'lease lost: its worker was not heard of',
         -- What ends every worker that has it must not do so all day.
         run_after = p_now + case when o.attempt >= 12 then hub_internal.outbox_backoff(o.attempt)
                                  else interval '0' end,
         finished_at = case when o.attempt >= o.max_attempts and o.kind not in ('webhook', 'github_comment')
                            then p_now end
   where o.id in (select d.id
                    from public.hub_outbox d
                   where d.status = 'sending' and d.lease_expires_at < p_now
                   order by d.lease_expires_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_done = row_count;
  if v_done > 0 then
    perform hub_internal.wake_errand('outbox');
  end if;
  v_done := v_done + hub_internal.expire_outbox(p_now, p_limit);
  delete from public.hub_outbox o
   where o.id in (select d.id
                    from public.hub_outbox d
                   where d.finished_at < p_now - hub_internal.setting('outbox_retention')
                   order by d.finished_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_more = row_count;
  v_done := v_done + v_more;
  delete from hub_internal.bridge_messages m
   where (m.bridge_id, m.chat, m.external_id) in (
           select d.bridge_id, d.chat, d.external_id
             from hub_internal.bridge_messages d
            where d.created_at < p_now - hub_internal.setting('outbox_retention')
            order by d.created_at
            limit p_limit
              for update skip locked);
  get diagnostics v_more = row_count;
  return v_done + v_more;
end;
$$;
insert into public.hub_errands (name, about, wakes, function, position) values
  ('outbox',
   'what is to be said elsewhere is delivered; leases that ran out, lines past their time, what was kept '
   'long enough',
   true, 'hub_internal.keep_outbox', 200);
