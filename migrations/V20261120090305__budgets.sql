-- Why: who may write a budget, and how what attempts used comes to count against it: by a ledger that each
-- attempt appends to, folded by one at a time.

-- Writing ---------------------------------------------------------------------------------------------------

-- Who may at all the policies say. An operator who is no owner makes a budget of a task, and smaller: what an
-- owner gave stays the most.
create function hub_internal.check_budget()
  returns trigger
  language plpgsql
  security definer                                -- looks whether the subject is of that server
  set search_path = ''
as $$
declare
  v_there boolean;
begin
  if tg_op = 'UPDATE' then
    if not hub_internal.is_trusted() and not hub_internal.may_own(new.server_id)
       and (new.amount > old.amount
            or (new.on_silence, new.silence, new.roles)
               is distinct from (old.on_silence, old.silence, old.roles))
    then
      perform hub_internal.refuse('42501', 'permission denied', 'an operator may only make it smaller',
        'An owner of its server does the rest.');
    end if;
    return new;
  end if;
  new.created_by := hub_internal.person();
  new.raised := 0;
  new.raised_in := null;
  new.raised_by := null;
  new.has_lanes := new.scope not in ('channel', 'person');
  if new.scope in ('channel', 'person', 'task')
     and new.subject !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    v_there := false;
  elsif new.scope = 'channel' then
    v_there := exists (select from public.hub_channels c
                        where c.id = new.subject::uuid and c.server_id = new.server_id);
  elsif new.scope = 'person' then
    v_there := exists (select from public.hub_members m
                        where m.user_id = new.subject::uuid and m.server_id = new.server_id);
  elsif new.scope = 'task' then
    v_there := exists (select from public.mac_tasks t
                        where t.id = new.subject::uuid and t.server_id = new.server_id);
  end if;
  -- Who may write nothing in that server is told so by the policies, and not what there is in it.
  if not v_there and hub_internal.may_operate(new.server_id) then
    perform hub_internal.refuse('UH004', 'not found',
      format('%s %s of that server', new.scope, hub_internal.shorten(new.subject, 100)),
      'Give the id of one that is of the server, in small letters.');
  end if;
  return new;
end;
$$;
create trigger hub_budgets_check
  before insert or update of amount, on_silence, silence, roles on public.hub_budgets
  for each row execute function hub_internal.check_budget();
create trigger hub_budgets_bound
  before insert on public.hub_budgets
  for each row execute function hub_internal.bound_rows('server_budgets');

create function hub_internal.budget_changed()
  returns trigger
  language plpgsql
  security definer                                -- sums are nobody's to write
  set search_path = ''
as $$
begin
  if tg_op = 'DELETE' then
    delete from hub_internal.budget_use u where u.budget_id = old.id;
  end if;
  -- A round is due now, which frees what a larger one holds back no more.
  insert into hub_internal.weigh_requests (server_id) values (coalesce(new.server_id, old.server_id));
  perform hub_internal.wake_errand('spendings');
  return null;
end;
$$;
create trigger hub_budgets_changed
  after insert or delete or update of amount, raised, raised_in on public.hub_budgets
  for each row execute function hub_internal.budget_changed();

-- What was pending in a channel, or of a person, before there was a budget of it, comes into lanes of its
-- own. Looked for once more a minute after: what was written at that moment may not have seen the budget.
create function hub_internal.lane_bounded(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_budget public.hub_budgets;
  v_count  integer;
  v_done   integer := 0;
begin
  for v_budget in
    select b.* from public.hub_budgets b where not b.has_lanes order by b.id for no key update skip locked
  loop
    exit when v_done >= p_limit;
    update public.mac_tasks t
       set lane = hub_internal.lane_of(t)
     where t.id in (select x.id
                      from hub_internal.lanes l
                      join public.mac_tasks x on x.lane = l.id
                     where l.server_id = v_budget.server_id
                       and x.status = 'pending'
                       and case v_budget.scope
                             when 'channel'
                               then l.channel_id is null and x.channel_id = v_budget.subject::uuid
                             else l.person is null and x.created_by = v_budget.subject::uuid end
                     limit p_limit - v_done
                       for no key update of x skip locked);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    if v_count = 0 and v_budget.created_at < p_now - interval '1 minute' then
      update public.hub_budgets b set has_lanes = true where b.id = v_budget.id;
    end if;
  end loop;
  return v_done;
end;
$$;

-- Counting --------------------------------------------------------------------------------------------------

-- Whoever writes to the record of an attempt, by heartbeat or at its end or an executor of the older kind:
-- what it used more than before is in the ledger. Nothing is summed up here, so that ends never wait for each
-- other.
create function hub_internal.count_use()
  returns trigger
  language plpgsql
  security definer                                -- the ledger is nobody's to write
  set search_path = ''
as $$
declare
  v_cost     numeric := case when new.cost_notional is not true then coalesce(new.cost_usd, 0) else 0 end
                        - case when old.cost_notional is not true then coalesce(old.cost_usd, 0) else 0 end;
  v_notional numeric := case when new.cost_notional then coalesce(new.cost_usd, 0) else 0 end
                        - case when old.cost_notional then coalesce(old.cost_usd, 0) else 0 end;
  v_tokens   bigint  := coalesce(new.tokens_in, 0) + coalesce(new.tokens_out, 0)
                        - coalesce(old.tokens_in, 0) - coalesce(old.tokens_out, 0);
  v_seconds  numeric := coalesce(extract(epoch from coalesce(new.finished_at, new.used_at)
                                                    - new.started_at), 0)
                        - coalesce(extract(epoch from coalesce(old.finished_at, old.used_at)
                                                      - old.started_at), 0);
  v_counts   boolean;                             -- there is a budget
  v_last     timestamptz;
begin
  if v_cost = 0 and v_notional = 0 and v_tokens = 0 and v_seconds = 0 then
    return null;
  end if;
  v_counts := exists (select from public.hub_budgets b where b.measure <> 'running');
  if v_counts then
    select s.at into v_last from hub_internal.spendings s order by s.id desc limit 1;
  end if;
  insert into hub_internal.spendings
    (server_id, project, channel_id, agent, person,
     tasks, shared,
     cost, notional, tokens, seconds, at)
  select t.server_id, t.project, t.channel_id, new.agent, t.created_by,
         case when exists (select from public.hub_budgets b where b.scope = 'task')
              then hub_internal.tasks_over(t.id, t.root_id) end,
         exists (select from public.mesh_devices d where d.name = new.device and d.serves_all),
         v_cost, v_notional, v_tokens, v_seconds, coalesce(new.finished_at, new.used_at, now())
    from public.mac_tasks t
   where t.id = new.task_id;
  -- The first of a second tells for all that are not folded yet: commits with a NOTIFY wait for each other,
  -- and after a round whoever keeps time looks whether there is more (lanes_to_weigh).
  if v_counts and date_trunc('second', v_last) is distinct from date_trunc('second', clock_timestamp()) then
    perform hub_internal.wake_errand('spendings');
  end if;
  return null;
end;
$$;
-- Not of what is written when an attempt begins.
create trigger hub_task_attempts_count_use
  after update of cost_usd, cost_notional, tokens_in, tokens_out, used_at, finished_at
  on public.hub_task_attempts
  for each row execute function hub_internal.count_use();

-- One at a time: two who add to the same sums would wait for each other.
create function hub_internal.fold_spendings(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_count integer;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('hub_budgets', 0)) then
    return 0;
  end if;
  with taken as (
    delete from hub_internal.spendings s
     where s.id in (select x.id from hub_internal.spendings x order by x.id limit p_limit)
    returning s.*
  ), counted as (
    select b.id, hub_internal.period_begin(b.per, t.at) as since,
           sum(case b.measure when 'cost' then t.cost
                              when 'notional' then t.notional
                              when 'tokens' then t.tokens
                              else t.seconds end) as used
      from taken t
      join public.hub_budgets b
        on (b.server_id = t.server_id or b.server_id is null)
       and b.measure <> 'running'
       and b.created_at <= t.at
       and (b.scope <> 'deployment' or t.shared)
       and hub_internal.covers(b, t.server_id, t.project, t.channel_id, t.agent, t.person, t.tasks)
     group by 1, 2
  ), kept as (
    insert into hub_internal.budget_use as u (budget_id, since, used)
    select c.id, c.since, c.used from counted c
    on conflict (budget_id, since) do update set used = u.used + excluded.used
  ), shared as (
    insert into hub_internal.share_use as u (server_id, project, used, at)
    select t.server_id, p.project, sum(t.seconds), p_now
      from taken t
     cross join lateral (values (null), (coalesce(t.project, ''))) p (project)
     group by 1, 2
    on conflict (server_id, project) do update
      set used = hub_internal.faded(u.used, u.at, excluded.at) + excluded.used,
          at = excluded.at
  )
  select count(*) into v_count from taken;
  if v_count = p_limit then
    perform hub_internal.wake_errand('spendings');
  end if;
  return v_count;
end;
$$;

insert into public.hub_errands (name, about, function, position) values
  ('bounded_lanes', 'what was pending before there was a budget of its channel or person is held by it, too',
   'hub_internal.lane_bounded', 132);
insert into public.hub_errands (name, about, wakes, function, position, counts) values
  ('spendings', 'what attempts used is added to budgets and shares', true,
   'hub_internal.fold_spendings', 136, false);

-- What runs no more makes room for what other lanes are held back by: they may be where so little room is
-- left that a claim came alone, or found none (lock_bounds).
create function hub_internal.free_room(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids   bigint[];
  v_lanes integer[];
begin
  if not exists (select from public.hub_budgets b
                  where b.measure = 'running'
                    and (b.server_id = p_task.server_id or b.server_id is null)
                    and b.amount < 50 + hub_internal.running_count()) then
    return;
  end if;
  v_ids := array(select b.id
                   from public.hub_budgets b
                  where b.measure = 'running'
                    and (b.server_id = p_task.server_id or b.server_id is null)
                    and hub_internal.covers(b, p_task.server_id, p_task.project, p_task.channel_id,
                                            p_task.agent, p_task.created_by, null));
  if v_ids = '{}' then
    return;
  end if;
  v_lanes := array(select l.id
                     from hub_internal.lanes l
                    where (l.bounds && v_ids
                           or exists (select from jsonb_each_text(l.agent_bounds) a
                                       where a.value::bigint = any (v_ids)))
                      and exists (select from public.mac_tasks t
                                   where t.lane = l.id and t.status = 'pending' and t.run_after is null));
  if v_lanes <> '{}'
     and exists (select from hub_internal.running_under(v_ids) r where r.amount - r.running < 50) then
    perform pg_notify('hub_tasks', '');
    perform hub_internal.wake_lanes(v_lanes);
  end if;
end;
$$;

-- Showing ---------------------------------------------------------------------------------------------------

-- project app; this server.
create function hub_internal.budget_name(p_budget public.hub_budgets)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return case p_budget.scope
    when 'deployment' then 'this hub'
    when 'server' then 'this server'
    when 'channel' then '#' || coalesce((select c.name from public.hub_channels c
                                         where c.id = p_budget.subject::uuid),
                                        left(p_budget.subject, 8))
    when 'person' then coalesce((select i.person_label from public.hub_chat_identities i
                                  where i.user_id = p_budget.subject::uuid
                                  order by i.created_at desc
                                  limit 1), 'person ' || left(p_budget.subject, 8))
    when 'task' then 'task ' || left(p_budget.subject, 4)
    else format('%s %s', p_budget.scope, hub_internal.visible_line(p_budget.subject)) end;
end;
$$;

-- 5.02 of 5.00 USD today. What the whole deployment used is nobody's to know who has a server in it.
create function hub_internal.budget_amounts(p_budget public.hub_budgets, p_used numeric, p_level numeric)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_budget.scope = 'deployment' then null
              when p_budget.measure in ('cost', 'notional')
                then format('%s of %s USD', round(p_used, 2), round(p_level, 2))
                     || case p_budget.measure when 'notional' then ' (not billed)' else '' end
              when p_budget.measure = 'running' then format('%s of %s at once', p_used, round(p_level))
              when p_budget.measure = 'tokens' then format('%s of %s tokens', p_used, round(p_level))
              else format('%s of %s of time',
                          hub_internal.duration_text(timestamptz 'epoch', to_timestamp(p_used)),
                          hub_internal.duration_text(timestamptz 'epoch', to_timestamp(p_level)))
              end
         || case p_budget.per when 'day' then ' today'
                              when 'week' then ' this week'
                              when 'month' then ' this month'
                              else '' end;
end;
$$;

create function hub_internal.budget_text(p_budget public.hub_budgets, p_used numeric, p_level numeric)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return format('The budget of %s is used up', hub_internal.budget_name(p_budget))
         || coalesce(': ' || hub_internal.budget_amounts(p_budget, p_used, p_level), '');
end;
$$;

create function hub_internal.budget_state(p_now timestamptz)
  returns table (id bigint, server_id uuid, scope text, subject text, measure text, per text, amount numeric,
                 level numeric, used numeric, since timestamptz, until timestamptz, met boolean,
                 server_name text, name text, remaining numeric, on_silence text, silence_seconds numeric,
                 roles text[], about text)
  language plpgsql
  stable
  security definer                                -- sums are nobody's to read but by this
  set search_path = ''
as $$
declare
  v_servers uuid[] := hub_internal.operated_servers('budgets');
begin
  return query
    select b.id, b.server_id, b.scope, b.subject, b.measure, b.per, b.amount,
           s.level, s.used, nullif(s.since, timestamptz 'epoch'), s.until, s.met,
           v.name, hub_internal.budget_name(b), greatest(s.level - s.used, 0), b.on_silence,
           extract(epoch from b.silence), b.roles, b.about
      from public.hub_budgets b
      left join public.hub_servers v on v.id = b.server_id
      join (select x.* from hub_internal.budget_states(p_now) x
            union all
            select r.id, 'epoch', null, r.running, r.amount, r.running >= r.amount
              from hub_internal.running_under() r) s on s.id = b.id
     where v_servers is null or b.server_id = any (v_servers)
     order by b.server_id, hub_internal.scope_rank(b.scope) desc, b.subject, b.measure, b.per;
end;
$$;

-- Budgets of servers of which more than four fifths are used, for the brief.
create function hub_internal.budget_lines(p_servers uuid[], p_now timestamptz)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
    select string_agg(format(E'\n%s Budget of %s: %s', case when x.met then '🔴' else '🟡' end,
                             hub_internal.budget_name(x.b),
                             hub_internal.budget_amounts(x.b, x.used, x.level)), ''
                      order by x.used / x.level desc, (x.b).id)
      from (select b, s.used, s.level, s.met
              from public.hub_budgets b
              join hub_internal.budget_states(p_now) s on s.id = b.id
             where b.server_id = any (p_servers)
               and s.used > 0.8 * s.level
             order by s.used / s.level desc, b.id
             limit 10) x);
end;
$$;
