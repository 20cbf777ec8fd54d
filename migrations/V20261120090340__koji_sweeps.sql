-- Why: a market sweep takes longer than a command may: it is recorded here, and a worker that keeps time
-- carries it out against its source and brings back what it found. A queue like that of tasks, for one kind
-- of errand:
--
--   queued  -> running           claimed: attempt + 1, a lease
--   running -> complete          found leads become prospects, once each
--   running -> queued | failed   the source failed or the lease ran out: twice again, then for good

-- Errands wake whoever carries them out, on a channel of their own: a worker that only runs tasks is not
-- disturbed.
create function hub_internal.koji_sweep(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_city   text := btrim(array_to_string(p_words, ' '));
  v_server uuid := hub_internal.koji_server(p_channel_id);
  v_swept  boolean;
begin
  if v_city !~ '[[:alpha:]]' or char_length(v_city) > 80 or v_city ~ '[[:cntrl:]]' then
    return hub_internal.koji_usage('sweep') || E'\n<city> is a name of at most 80 characters.';
  end if;
  -- Before room is asked for: what is there already needs none.
  v_swept := exists (select from public.koji_sweeps s
                      where s.server_id = v_server
                        and lower(s.city) = lower(v_city)
                        and s.status in ('queued', 'running'));
  if not v_swept then
    perform hub_internal.require_room('server_sweeps',
      (select count(*)
         from public.koji_sweeps s
        where s.server_id = v_server
          and s.status in ('queued', 'running')));
    insert into public.koji_sweeps (server_id, city, requested_by)
    values (v_server, v_city, auth.uid())
    on conflict (server_id, lower(city)) where status in ('queued', 'running') do nothing;
    v_swept := not found;
  end if;
  if v_swept then
    return format('A sweep of %s is under way already. !sweep-status shows it.', v_city);
  end if;
  perform hub_internal.wake_errand('sweep');
  return format('Sweep of %s queued. !sweep-status shows how it goes.', v_city);
end;
$$;

create function hub_internal.koji_sweep_status(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if cardinality(p_words) > 0 then
    return hub_internal.koji_usage('sweep-status');
  end if;
  return coalesce(
    (select string_agg(
              format('%s - %s', w.city,
                case w.status
                  when 'queued' then
                    case when w.attempt = 0 then 'queued, waiting for a worker'
                         else format('queued again after: %s', w.error) end
                  when 'running' then
                    format('running for %s', hub_internal.duration_text(w.started_at, clock_timestamp()))
                  when 'complete' then
                    format('complete: %s found, %s new (%s, %s)', w.found, w.added, w.source,
                           to_char(w.finished_at at time zone 'utc', 'YYYY-MM-DD'))
                  else format('failed: %s', w.error)
                end),
              E'\n' order by w.created_at desc)
       from (select *
               from public.koji_sweeps s
              where s.server_id = hub_internal.koji_server(p_channel_id)
              order by s.created_at desc
              limit 10) w),
    'No sweeps yet. !sweep <city> starts one.');
end;
$$;

insert into public.koji_commands (name, usage, description, writes, function) values
  ('sweep',        '!sweep <city>', 'Launch market sweep', true,  'hub_internal.koji_sweep'),
  ('sweep-status', '!sweep-status', 'Active sweep status', false, 'hub_internal.koji_sweep_status');

insert into public.hub_errands (name, about, wakes) values
  ('sweep', 'markets that somebody wants searched are searched by a program (hub_claim_sweeps)', true);

create function hub_internal.claim_sweeps(p_limit integer, p_lease interval)
  returns setof public.koji_sweeps
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
begin
  perform hub_internal.require_trusted('claiming sweeps');
  if p_limit is null or p_limit not between 1 and 100 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_limit', 'Claim 1 to 100 sweeps.');
  end if;
  if p_lease is null or p_lease not between interval '1 second' and interval '1 hour' then
    perform hub_internal.refuse('UH001', 'bad input', 'p_lease', 'A lease lasts 1 second to 1 hour.');
  end if;
  update public.koji_sweeps s
     set status = 'failed',
         error = 'the worker that ran it fell silent, three times',
         lease_expires_at = null,
         finished_at = now()
   where s.status = 'running'
     and coalesce(s.lease_expires_at, s.run_after) <= now()
     and s.attempt >= 3;
  return query
    update public.koji_sweeps s
       set status = 'running',
           attempt = s.attempt + 1,
           started_at = clock_timestamp(),
           lease_expires_at = now() + p_lease
      from (select d.id
              from public.koji_sweeps d
             where d.status in ('queued', 'running')
               and coalesce(d.lease_expires_at, d.run_after) <= now()
             order by coalesce(d.lease_expires_at, d.run_after)
             limit p_limit
               for no key update skip locked) due
     where s.id = due.id
    returning s.*;
end;
$$;

-- The sweep that an attempt holds, locked; or UH002.
create function hub_internal.held_sweep(p_sweep_id uuid, p_attempt integer)
  returns public.koji_sweeps
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_sweep public.koji_sweeps;
begin
  perform hub_internal.require_trusted('ending sweeps');
  select s.* into v_sweep
    from public.koji_sweeps s
   where s.id = p_sweep_id and s.attempt = p_attempt and s.status = 'running'
     for no key update;
  if not found then
    perform hub_internal.refuse('UH002', 'lease lost',
      format('sweep %s is not held at attempt %s', p_sweep_id, p_attempt),
      'Discard what was found: another worker holds this sweep.');
  end if;
  return v_sweep;
end;
$$;

create function hub_internal.complete_sweep(p_sweep_id uuid, p_attempt integer, p_found jsonb, p_source text)
  returns public.koji_sweeps
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_sweep public.koji_sweeps := hub_internal.held_sweep(p_sweep_id, p_attempt);
  v_added integer;
begin
  if p_found is null or jsonb_typeof(p_found) <> 'array' or jsonb_array_length(p_found) > 1000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_found',
      'Give a list of at most 1,000 {name, address, contact, rating, notes}.');
  end if;
  -- Numbers are given one by one: two sweeps that end at once wait here for each other.
  perform from public.hub_servers s where s.id = v_sweep.server_id for no key update;
  with leads as (
    select distinct on (lower(l.name))
           hub_internal.shorten(btrim(l.name), 120) as name, l.address, l.contact, l.rating, l.notes
      from jsonb_to_recordset(p_found)
             as l (name text, address text, contact text, rating numeric, notes text)
     where btrim(l.name) <> ''
     order by lower(l.name), l.rating desc nulls last
  )
  insert into public.koji_prospects (server_id, number, name, market, tier, rating, address, contact, notes)
  select v_sweep.server_id,
         coalesce((select max(p.number)
                     from public.koji_prospects p
                    where p.server_id = v_sweep.server_id), 0)
           + row_number() over (order by l.name),
         l.name,
         v_sweep.city,
         'cold',
         case when l.rating between 0 and 5 then l.rating end,
         hub_internal.shorten(l.address, 200),
         hub_internal.shorten(l.contact, 200),
         hub_internal.shorten(l.notes, 500)
    from leads l
   where not exists (select from public.koji_prospects p
                      where p.server_id = v_sweep.server_id
                        and lower(p.market) = lower(v_sweep.city)
                        and lower(p.name) = lower(l.name));
  get diagnostics v_added = row_count;
  update public.koji_sweeps s
     set status = 'complete',
         found = jsonb_array_length(p_found),
         added = v_added,
         source = hub_internal.shorten(coalesce(p_source, 'unknown'), 80),
         error = null,
         lease_expires_at = null,
         finished_at = clock_timestamp()
   where s.id = v_sweep.id
  returning s.* into v_sweep;
  return v_sweep;
end;
$$;

create function hub_internal.fail_sweep(p_sweep_id uuid, p_attempt integer, p_error text, p_retryable boolean)
  returns public.koji_sweeps
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_sweep public.koji_sweeps := hub_internal.held_sweep(p_sweep_id, p_attempt);
begin
  update public.koji_sweeps s
     set status = case when p_retryable and s.attempt < 3 then 'queued' else 'failed' end,
         run_after = now() + s.attempt * interval '30 seconds',
         lease_expires_at = null,
         finished_at = case when p_retryable and s.attempt < 3 then null else clock_timestamp() end,
         error = hub_internal.shorten(coalesce(nullif(btrim(p_error), ''), 'no reason given'), 300)
   where s.id = v_sweep.id
  returning s.* into v_sweep;
  return v_sweep;
end;
$$;
