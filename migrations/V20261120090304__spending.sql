-- Why: what attempts used. Devices say it with each heartbeat, as totals of the attempt, and once more at its
-- end, with a cost where the program tells one, else by model (…prices); what is billed and what is not are two
-- sums that are never added to one.

-- What a heartbeat says of the attempts of its device that are live, whose rows it has locked. Less than was
-- said before changes nothing: of two workers of a device the slower one may come last. Where somebody has a
-- budget of time, that it is still at it is news enough.
create function hub_internal.note_use(p_device text, p_running jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  update public.hub_task_attempts a
     set cost_usd = u.cost_usd,
         cost_notional = u.notional,
         price_version = u.version,
         tokens_in = u.tokens_in,
         tokens_out = u.tokens_out,
         tokens_cached = u.tokens_cached,
         used_at = p_now
    from (select b.task_id, b.attempt,
                 greatest(b.cost_usd, max(p.cost)) as cost_usd,
                 coalesce(bool_or(p.notional), b.cost_notional) as notional,
                 case when b.cost_usd > max(p.cost) or max(p.cost) is null then b.price_version
                      else (array_agg(p.version order by p.cost desc nulls last))[1] end as version,
                 greatest(b.tokens_in, max((s.o ->> 'tokens_in')::bigint)) as tokens_in,
                 greatest(b.tokens_out, max((s.o ->> 'tokens_out')::bigint)) as tokens_out,
                 greatest(b.tokens_cached, max((s.o ->> 'tokens_cached')::bigint)) as tokens_cached
            from jsonb_array_elements(p_running) s (o)
            join public.mac_tasks t on t.id = (s.o ->> 'task')::uuid and t.attempt = (s.o ->> 'attempt')::int
            join public.hub_task_attempts b on b.task_id = t.id and b.attempt = t.attempt
           cross join lateral hub_internal.priced(s.o, p_now) p
           where t.status = 'running' and t.claimed_by = p_device
           group by b.task_id, b.attempt) u
   where a.task_id = u.task_id
     and a.attempt = u.attempt
     and a.finished_at is null
     and ((u.cost_usd, u.tokens_in, u.tokens_out, u.tokens_cached)
          is distinct from (a.cost_usd, a.tokens_in, a.tokens_out, a.tokens_cached)
          or exists (select from public.hub_budgets b where b.measure = 'seconds'));
end;
$$;

-- Showing ---------------------------------------------------------------------------------------------------

create function hub_internal.money_text(p_billed numeric, p_notional numeric)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return '$' || round(coalesce(p_billed, 0), 2)
         || case when p_notional > 0 then format(' (and $%s not billed)', round(p_notional, 2)) else '' end;
end;
$$;

-- Behind the result of an attempt: Cost: $0.08 (41200 tokens in, 1830 out). Null: nobody knows, or nothing.
create function hub_internal.cost_text(p_attempt public.hub_task_attempts)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_attempt.cost_usd > 0 then
    format('%s: $%s%s',
           case when p_attempt.cost_notional then 'Worth' else 'Cost' end,
           round(p_attempt.cost_usd, case when p_attempt.cost_usd >= 0.1 then 2 else 4 end),
           ' (' || p_attempt.tokens_in || ' tokens in, ' || p_attempt.tokens_out || ' out)') end;
end;
$$;

-- As much of a text as a message takes with what it cost.
create function hub_internal.with_cost(p_text text, p_cost text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_cost is null then p_text
              else concat_ws(E'\n\n', nullif(hub_internal.shorten(p_text, 99500), ''), p_cost) end;
end;
$$;

-- What attempts cost that ended in a time, in channels: a line for all, one a project where there are
-- several. Null: nobody told of any cost.
create function hub_internal.cost_lines(p_channels uuid[], p_from timestamptz, p_to timestamptz)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_text     text;
  v_projects text;
begin
  with used as materialized (
    select t.project,
           sum(a.cost_usd) filter (where a.cost_notional is not true) as billed,
           sum(a.cost_usd) filter (where a.cost_notional) as notional
      from public.hub_task_attempts a
      join public.mac_tasks t on t.id = a.task_id
     where a.finished_at >= p_from
       and a.finished_at < p_to
       and t.channel_id = any (p_channels)
     group by t.project
    having sum(a.cost_usd) > 0
  )
  select 'Cost: ' || hub_internal.money_text(sum(u.billed), sum(u.notional)),
         case when count(*) > 1
              then (select string_agg(format(E'\n· %s: %s', coalesce(x.project, 'no project'),
                                             hub_internal.money_text(x.billed, x.notional)), ''
                                      order by x.sum desc, x.project)
                      from (select y.*, coalesce(y.billed, 0) + coalesce(y.notional, 0) as sum
                              from used y
                             order by sum desc, y.project
                             limit 5) x)
              end
    into v_text, v_projects
    from used u
  having count(*) > 0;
  return v_text || coalesce(v_projects, '');
end;
$$;

-- What attempts cost that ended in a time, in servers that the caller operates; all of them for a trusted
-- caller. A person is called what they were called last among these.
create function hub_internal.costs(p_from timestamptz, p_to timestamptz, p_by text)
  returns table (name text, attempts bigint, cost_usd numeric, notional_usd numeric, tokens_in bigint,
                 tokens_out bigint, seconds numeric)
  language plpgsql
  stable
  security definer                                -- asks once which servers, and not for each attempt
  set search_path = ''
as $$
declare
  v_servers uuid[] := hub_internal.operated_servers('costs');
begin
  perform hub_internal.require_moment(p_from);
  perform hub_internal.require_moment(p_to);
  if p_from >= p_to then
    perform hub_internal.refuse('UH001', 'bad input', 'p_from is not before p_to',
      'Give the earlier one first.');
  end if;
  perform hub_internal.require_one_of(p_by, 'p_by', array['day', 'project', 'agent', 'person', 'server']);
  return query
    with ended as (
      select case p_by when 'day' then to_char(a.finished_at at time zone 'utc', 'YYYY-MM-DD')
                       when 'project' then t.project
                       when 'agent' then a.agent
                       when 'person' then t.created_by::text
                       else t.server_id::text end as subject,
             case when p_by = 'person'
                  then (select hub_internal.shown_name(m.sender_label)
                          from public.hub_channel_messages m
                         where m.id = t.message_id and m.sender_id = t.created_by::text) end as label,
             a.*
        from public.hub_task_attempts a
        join public.mac_tasks t on t.id = a.task_id
       where a.finished_at >= p_from
         and a.finished_at < p_to
         and (v_servers is null or t.server_id = any (v_servers))
    )
    select case when p_by = 'server'
                then (select s.name from public.hub_servers s where s.id = e.subject::uuid)
                else coalesce((array_agg(e.label order by e.finished_at desc)
                                 filter (where e.label is not null))[1], e.subject) end,
           count(*),
           coalesce(sum(e.cost_usd) filter (where e.cost_notional is not true), 0),
           coalesce(sum(e.cost_usd) filter (where e.cost_notional), 0),
           coalesce(sum(e.tokens_in), 0)::bigint,
           coalesce(sum(e.tokens_out), 0)::bigint,
           round(extract(epoch from sum(e.finished_at - e.started_at)), 3)
      from ended e
     group by e.subject
     order by case when p_by = 'day' then e.subject end,
              coalesce(sum(e.cost_usd), 0) desc,
              extract(epoch from sum(e.finished_at - e.started_at)) desc,
              e.subject;
end;
$$;
