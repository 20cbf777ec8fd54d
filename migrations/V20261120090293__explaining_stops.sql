-- Why: a task waits for an agent that is at its limit or not logged in, and a person is told of which, until
-- when, and what would change it. Asked by …explaining.

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

-- Of machines that could do it but for their agents' logins and limits: a row for each of the two.
create function hub_internal.explain_stops(p_left hub_internal.device_lanes[], p_model text)
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
             string_agg(hub_internal.limit_text(x.agent, x.device, x.limited_until,
                                                (hub_internal.limit_of(x.device, x.agent, p_model)).source),
                        '; ' order by x.limited_until, x.device)
               || '; then it goes on by itself, or sooner with an agent or an account that has some left',
             1000),
           min(x.limited_until)
      from unnest(p_left) x
     where x.logged_in
    having count(*) > 0;
end;
$$;
