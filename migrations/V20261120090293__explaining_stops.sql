-- Why: a task waits for an agent that is at its limit or not logged in, or for a budget, and a person is told of
-- which, until when, and what would change it. Asked by …explaining.

-- How a person logs an agent in.
create function hub_internal.login_hint(p_agent text, p_device text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return format('log in on %s: %s, then `hub agents check %s` there', p_device,
                case hub_internal.program_of(p_device, p_agent)
                             when 'claude' then '`claude auth login`'
                             when 'codex' then '`codex login`'
                             when 'gemini' then 'start `gemini` and choose how'
                             else 'as ' || p_agent || ' wants it' end,
                p_agent);
end;
$$;

-- Where its tasks go in place of its own model, and until when.
create function hub_internal.explain_way(p_lane hub_internal.lanes, p_now timestamptz)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_dry record;
begin
  if p_lane.runs_as is null then
    return;
  end if;
  v_dry := hub_internal.dry_text(p_lane, p_now);
  return query select
    format('goes to %s', p_lane.runs_as),
    coalesce(v_dry.text || ', on every machine that has it; new tasks return to it then',
             format('%s is to be had again; new tasks return to it within a moment', p_lane.model)),
    v_dry.until;
end;
$$;

-- Of machines that could do it but for their agents' logins and limits: a row for each of the two. Of limits,
-- those of the other ways, too: it takes whichever is free first.
create function hub_internal.explain_stops(p_left hub_internal.device_lanes[], p_lane hub_internal.lanes)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select 'no agent for it is logged in'::text,
           hub_internal.shorten(
             string_agg(format('%s since %s UTC: %s', hub_internal.login_text(x.agent, x.device),
                               to_char(b.since at time zone 'utc', 'YYYY-MM-DD HH24:MI'),
                               hub_internal.login_hint(x.agent, x.device)),
                        '; ' order by x.device), 1000),
           null::timestamptz
      from unnest(p_left) x
      join lateral hub_internal.broken_agents(x.device) b on b.agent = x.agent
     where not x.logged_in
    having count(*) > 0;
  return query
    select 'every agent for it is at its limit'::text,
           hub_internal.shorten(
             string_agg(hub_internal.limit_text(x.agent, x.device,
                                                hub_internal.limit_of(x.device, x.agent, x.as_model)),
                        '; ' order by x.limited_until, x.device)
               || '; then it goes on by itself, or sooner with an agent or an account that has some left'
               || case when p_lane.pinned
                       then format('. It waits because %s was asked for: with the model any, or another '
                                   '(hub_route_task), others take it', p_lane.model)
                       else '' end,
             1000),
           min(x.limited_until)
      from (select distinct on (w.device, w.agent) w.*
              from (select l.agent, l.device, l.as_model, l.limited_until
                      from unnest(p_left) l
                     where l.logged_in
                    union all
                    select o.agent, o.device, o.as_model, o.limited_until
                      from hub_internal.able_offers o
                     where o.lane = p_lane.id
                       and not o.is_current
                       and not o.within_limits
                       and o.offline_at > now()
                       and exists (select from unnest(p_left) l where l.logged_in)) w
             order by w.device, w.agent, w.limited_until) x
    having count(*) > 0;
end;
$$;

-- Of machines that could do it but for budgets and for how many run.
create function hub_internal.explain_budget(
  p_left hub_internal.device_lanes[], p_lane hub_internal.lanes, p_now timestamptz)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    select 'its budget is used up'::text,
           hub_internal.shorten(
             hub_internal.budget_text(b, s.used, s.level)
               || coalesce(
                    (select format('; %s of its server are asked for more: hub task answer %s',
                                   hub_internal.answerers(a), left(a.task_id::text, 4))
                       from public.hub_asks a
                      where a.budget_id = b.id and a.state = 'open' and a.server_id = p_lane.server_id
                      order by a.created_at
                      limit 1), ''), 1000),
           s.until
      from public.hub_budgets b
      join hub_internal.budget_states(p_now) s on s.id = b.id
     where b.id = p_lane.held_by
        or b.scope = 'agent'
           and b.server_id = p_lane.server_id
           and b.subject = any (p_lane.held_agents)
           and s.met
     order by b.id = p_lane.held_by desc nulls last, b.id;
  return query
    select 'as many run as may'::text,
           hub_internal.shorten(string_agg(format('%s of %s in %s', r.running, round(r.amount),
                                                  hub_internal.budget_name(b)), '; ' order by b.id)
                                || '; it waits until one of them ends', 1000),
           null::timestamptz
      from public.hub_budgets b
      join hub_internal.running_under() r on r.id = b.id and r.running >= r.amount
     where b.id in (select unnest(x.bounds) from unnest(p_left) x where x.within_budget)
    having count(*) > 0;
end;
$$;
