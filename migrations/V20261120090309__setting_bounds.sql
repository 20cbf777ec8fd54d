-- Why: people set budgets, shares and fallbacks by names, and are told in words what is wrong with what they
-- gave. The tables may be written, too: their policies and checks say the same, in codes.

-- Which server is meant, and whether the caller may write there: an owner, or whoever runs the deployment.
create function hub_internal.require_own(p_server_id uuid, p_what text)
  returns public.hub_servers
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_server public.hub_servers;
begin
  select s.* into v_server from public.hub_servers s where s.id = p_server_id;
  if v_server.id is null or not hub_internal.may_read(p_server_id) then
    perform hub_internal.refuse('UH004', 'not found',
      format('server %s', coalesce(p_server_id::text, 'null')),
      'Give the id of a server in p_server_id, of one that you may read.');
  elsif not hub_internal.may_own(p_server_id) then
    perform hub_internal.refuse('42501', 'permission denied', format('%s of this server', p_what),
      'An owner of the server writes them.');
  end if;
  return v_server;
end;
$$;

-- The path of a project by that or its name, one of its server or of a channel there. Null: there is none.
create function hub_internal.project_path(p_server_id uuid, p_name text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
    select x.path
      from (select p.path, p.name from public.hub_projects p where p.server_id = p_server_id
            union all
            select c.project_path, null from public.hub_channels c where c.server_id = p_server_id) x
     where p_name in (x.path, x.name)
     order by x.path = p_name desc, x.path
     limit 1);
end;
$$;

-- What nothing runs in would bound nothing, and nobody would be told.
create function hub_internal.project_named(p_server_id uuid, p_name text, p_argument text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_path text := hub_internal.project_path(p_server_id, p_name);
begin
  if v_path is null then
    perform hub_internal.refuse('UH004', 'not found',
      format('%s: project %s', p_argument, coalesce(hub_internal.quoted_line(p_name, 100), 'null')),
      coalesce('The projects of that server are '
               || (select string_agg(p.path, ', ' order by p.path)
                     from (select h.path from public.hub_projects h where h.server_id = p_server_id
                           union
                           select c.project_path from public.hub_channels c
                            where c.server_id = p_server_id and c.project_path is not null
                            limit 20) p)
               || '.', 'That server has no project.'));
  end if;
  return v_path;
end;
$$;

-- What a budget is of, as its row has it, from what people call it.
create function hub_internal.budget_subject(p_server_id uuid, p_scope text, p_subject text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_id    uuid := hub_internal.uuid_of(p_subject);
  v_found text;
begin
  if p_scope in ('deployment', 'server') then
    if coalesce(p_subject, '') <> '' then
      perform hub_internal.refuse('UH001', 'bad input',
        format('p_subject %L of a budget of the %s', left(p_subject, 100), p_scope), 'Leave p_subject out.');
    end if;
    return '';
  elsif p_scope = 'project' then
    return hub_internal.project_named(p_server_id, p_subject, 'p_subject');
  end if;
  perform hub_internal.require_text(p_subject, 'p_subject', 500);
  case p_scope
    when 'agent' then
      return p_subject;
    when 'channel' then
      select c.id::text into v_found
        from public.hub_channels c
       where c.server_id = p_server_id
         and (c.id = v_id or c.name = ltrim(p_subject, '#'));
    when 'person' then
      select m.user_id::text into v_found
        from public.hub_members m
       where m.server_id = p_server_id and m.user_id = v_id;
    else
      select t.id::text into v_found
        from public.mac_tasks t
       where t.server_id = p_server_id and t.id = v_id;
  end case;
  if v_found is null then
    perform hub_internal.refuse('UH004', 'not found',
      format('p_subject: %s %s of that server', p_scope, hub_internal.quoted_line(p_subject, 100)),
      case p_scope when 'channel' then 'Give the name or the id of a channel of that server.'
                   when 'person' then 'Give the id of a member of that server.'
                   else 'Give the id of a task of that server.' end);
  end if;
  return v_found;
end;
$$;

-- The first thing that is wrong with what a budget is to be, named, and what it may be.
create function hub_internal.check_budget_input(
    p_scope text, p_measure text, p_amount numeric, p_per text, p_on_silence text, p_silence interval,
    p_roles text[], p_about text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_bad    text;
  v_remedy text;
begin
  perform hub_internal.require_one_of(p_measure, 'p_measure',
    array['cost', 'notional', 'tokens', 'seconds', 'running']);
  if (p_amount > 0 and p_amount <= 1e15) is not true then
    v_bad := format('p_amount %s', coalesce(p_amount::text, 'is null'));
    v_remedy := 'More than 0 and at most 1,000,000,000,000,000; hub_remove_budget takes a budget away.';
  elsif p_measure = 'running' and p_amount <> trunc(p_amount) then
    v_bad := format('p_amount %s', p_amount);
    v_remedy := 'How many tasks run at once is a whole number.';
  elsif p_per not in ('day', 'week', 'month') then
    v_bad := format('p_per %L', left(p_per, 40));
    v_remedy := 'One of day, week and month; without it the budget is for good.';
  elsif p_measure = 'running' and p_per is not null then
    v_bad := 'p_per with running';
    v_remedy := 'How many run at once is of no period: leave p_per out.';
  elsif p_measure = 'running' and p_scope = 'task' then
    v_bad := 'p_measure running of a task';
    v_remedy := 'A task is one: give it a budget of cost, notional, tokens or seconds.';
  elsif p_on_silence not in ('wait', 'cancel', 'continue') then
    v_bad := format('p_on_silence %L', left(p_on_silence, 40));
    v_remedy := 'One of wait, cancel and continue.';
  elsif p_measure = 'running' and p_on_silence <> 'wait' then
    v_bad := 'p_on_silence with running';
    v_remedy := 'Who waits for room asks nobody: leave p_on_silence out.';
  elsif coalesce(p_on_silence, 'wait') = 'wait' and p_silence is not null then
    v_bad := 'p_silence without an end of it';
    v_remedy := 'Say in p_on_silence what happens then: cancel or continue.';
  elsif p_on_silence <> 'wait'
        and (p_silence between interval '1 minute' and interval '90 days') is not true then
    v_bad := format('p_silence %s', coalesce(p_silence::text, 'is null'));
    v_remedy := format('After how long a task that nobody answered will %s: 1 minute to 90 days.',
                       p_on_silence);
  elsif not (p_roles <@ array['operator', 'owner'] and cardinality(p_roles) > 0) then
    v_bad := 'p_roles';
    v_remedy := 'Who may answer: {owner}, {operator} or both.';
  elsif char_length(p_about) not between 1 and 500 then
    v_bad := 'p_about';
    v_remedy := '1 to 500 characters.';
  end if;
  if v_bad is not null then
    perform hub_internal.refuse('UH001', 'bad input', v_bad, v_remedy);
  end if;
end;
$$;

-- Where there is one of the same subject, measure and period it is changed; what is null then stays.
create function hub_internal.set_budget(
    p_server_id uuid, p_scope text, p_subject text, p_measure text, p_amount numeric, p_per text,
    p_on_silence text, p_silence interval, p_roles text[], p_about text)
  returns public.hub_budgets
  language plpgsql
  volatile
  security definer                                -- finds names that policies hide from no owner, once
  set search_path = ''
as $$
declare
  v_budget public.hub_budgets;
begin
  perform hub_internal.require_one_of(p_scope, 'p_scope',
    array['deployment', 'server', 'project', 'channel', 'agent', 'person', 'task']);
  if p_scope = 'deployment' then
    if p_server_id is not null then
      perform hub_internal.refuse('UH001', 'bad input', 'p_server_id of a budget of the deployment',
        'Leave p_server_id out.');
    end if;
    perform hub_internal.require_trusted('budgets of the deployment');
  elsif p_scope <> 'task' or hub_internal.may_operate(p_server_id) is not true then
    perform hub_internal.require_own(p_server_id, 'budgets');
  end if;
  perform hub_internal.check_budget_input(p_scope, p_measure, p_amount, p_per, p_on_silence, p_silence,
                                          p_roles, p_about);
  insert into public.hub_budgets as b
    (server_id, scope, subject, measure,
     amount, per, on_silence, silence,
     roles, about)
  values
    (p_server_id, p_scope, hub_internal.budget_subject(p_server_id, p_scope, p_subject), p_measure,
     p_amount, p_per, coalesce(p_on_silence, 'wait'), p_silence,
     coalesce(p_roles, '{owner}'), p_about)
  on conflict on constraint hub_budgets_key do update
    set amount = excluded.amount,
        on_silence = case when p_on_silence is null then b.on_silence else excluded.on_silence end,
        silence = case when p_on_silence is null then b.silence else excluded.silence end,
        roles = coalesce(p_roles, b.roles),
        about = coalesce(p_about, b.about)
  returning b.* into v_budget;
  return v_budget;
end;
$$;

create function hub_internal.remove_budget(p_id bigint)
  returns public.hub_budgets
  language plpgsql
  volatile
  security definer                                -- as set_budget
  set search_path = ''
as $$
declare
  v_budget public.hub_budgets;
begin
  select b.* into v_budget from public.hub_budgets b where b.id = p_id;
  if v_budget.id is null or hub_internal.may_operate(v_budget.server_id) is not true then
    perform hub_internal.refuse('UH004', 'not found', format('budget %s', coalesce(p_id::text, 'null')),
      'hub_budget_state shows those of your servers, with their ids.');
  end if;
  if v_budget.server_id is not null then
    perform hub_internal.require_own(v_budget.server_id, 'budgets');
  end if;
  delete from public.hub_budgets b where b.id = p_id;
  return v_budget;
end;
$$;

-- Without a project it is the server's own, which whoever runs the deployment sets; a null weight removes.
create function hub_internal.set_share(p_server_id uuid, p_project text, p_weight numeric)
  returns public.hub_shares
  language plpgsql
  volatile
  security definer                                -- as set_budget
  set search_path = ''
as $$
declare
  v_share   public.hub_shares;
  v_project text;
begin
  perform hub_internal.require_own(p_server_id, 'shares');
  if p_weight not between 0.1 and 100 then
    perform hub_internal.refuse('UH001', 'bad input', format('p_weight %s', p_weight),
      '0.1 to 100; 1 is what all have without a share of their own, and null takes it away.');
  elsif p_project is null then
    perform hub_internal.require_trusted('the share of a server among servers');
  end if;
  if p_weight is null then
    delete from public.hub_shares s
     where s.server_id = p_server_id
       -- One that is no project any more has only its path.
       and s.project is not distinct from
           coalesce(hub_internal.project_path(p_server_id, p_project), p_project)
    returning s.* into v_share;
    if v_share.id is null then
      perform hub_internal.refuse('UH004', 'not found',
        case when p_project is null then 'a share of that server'
             else format('a share of p_project %s', hub_internal.quoted_line(p_project, 100)) end,
        'It has none of its own: its weight is 1.');
    end if;
    return v_share;
  end if;
  v_project := case when p_project is not null
                    then hub_internal.project_named(p_server_id, p_project, 'p_project') end;
  insert into public.hub_shares as s (server_id, project, weight)
  values (p_server_id, v_project, p_weight)
  on conflict on constraint hub_shares_key do update set weight = excluded.weight
  returning s.* into v_share;
  return v_share;
end;
$$;

-- Servers and projects that have a weight of their own, or used something lately.
create function hub_internal.share_overview(p_now timestamptz)
  returns table (server_id uuid, server_name text, project text, weight numeric, used_seconds numeric,
                 stands_back_seconds numeric)
  language plpgsql
  stable
  security definer                                -- what was used is nobody's to read but by this
  set search_path = ''
as $$
declare
  v_servers uuid[] := hub_internal.operated_servers('shares');
begin
  return query
    select coalesce(w.server_id, u.server_id), s.name, coalesce(w.project, nullif(u.project, '')),
           coalesce(w.weight, 1),
           coalesce(round(hub_internal.faded(u.used, u.at, p_now)::numeric), 0),
           coalesce(extract(epoch from u.delay), 0)
      from public.hub_shares w
      full join hub_internal.share_use u
        on u.server_id = w.server_id and coalesce(u.project, '/') = coalesce(w.project, '/')
      join public.hub_servers s on s.id = coalesce(w.server_id, u.server_id)
     where (v_servers is null or s.id = any (v_servers))
       and u.project is distinct from ''
     order by s.name, 3 nulls first;
end;
$$;

-- All fallbacks of a model in a server, in their order; none: those that are shipped hold there. Without a
-- server they are the shipped ones.
create function hub_internal.set_fallbacks(p_server_id uuid, p_model text, p_fallbacks text[])
  returns setof public.hub_model_fallbacks
  language plpgsql
  volatile
  security definer                                -- as set_budget
  set search_path = ''
as $$
declare
  v_fallbacks text[] := coalesce(p_fallbacks, '{}');
begin
  if p_server_id is null then
    perform hub_internal.require_trusted('fallbacks of all servers');
  else
    perform hub_internal.require_own(p_server_id, 'fallbacks');
  end if;
  perform hub_internal.require_one_of(p_model, 'p_model', array['claude', 'codex', 'gemini']);
  if not (v_fallbacks <@ array['claude', 'codex', 'gemini', 'wait']) or p_model = any (v_fallbacks)
        or cardinality(v_fallbacks) > (select count(distinct f) from unnest(v_fallbacks) f)
        or array_position(v_fallbacks, 'wait') < cardinality(v_fallbacks) then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_fallbacks %s', hub_internal.quoted_line(v_fallbacks::text, 100)),
      format('Other models than %s, each once and the first to be tried first; wait only as the last: then '
             'it waits for its own.', p_model));
  end if;
  perform pg_advisory_xact_lock(hashtextextended('hub_fallbacks ' || coalesce(p_server_id::text, ''), 0));
  delete from public.hub_model_fallbacks f
   where f.server_id is not distinct from p_server_id and f.model = p_model;
  return query
    insert into public.hub_model_fallbacks (server_id, model, position, fallback)
    select p_server_id, p_model, f.position, f.fallback
      from unnest(v_fallbacks) with ordinality f (fallback, position)
    returning *;
end;
$$;
