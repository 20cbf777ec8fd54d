-- Why: a machine says that it is alive, how it is, and which of the projects it was asked for it has; and
-- that it ends. Whether it may take work (…lanes) follows from what it said last.
--
--     a task of a project arrives      -> devices that could take it, but for the project, are told to beat
--     a beat                           -> the answer names the projects to look for
--     the next beat, with what it has  -> what became claimable wakes who may take it

create function hub_internal.check_machine(p_machine jsonb)
  returns void
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_bad text;
begin
  if jsonb_typeof(p_machine) <> 'object' then
    v_bad := 'p_machine is not an object';
  elsif p_machine ->> 'disk_free_bytes' !~ '^[0-9]{1,18}$' then
    v_bad := 'p_machine.disk_free_bytes is not a whole number of at most 18 digits';
  elsif p_machine ->> 'memory_free_bytes' !~ '^[0-9]{1,18}$' then
    v_bad := 'p_machine.memory_free_bytes is not a whole number of at most 18 digits';
  elsif jsonb_typeof(p_machine -> 'stopping') not in ('boolean', 'null') then
    v_bad := 'p_machine.stopping is neither true nor false';
  elsif jsonb_typeof(p_machine -> 'projects') not in ('object', 'null') then
    v_bad := 'p_machine.projects is not an object';
  elsif octet_length((p_machine -> 'projects')::text) > 200000 then
    v_bad := 'p_machine.projects is larger than 200 KB';
  elsif jsonb_typeof(p_machine -> 'projects') = 'object'
        and exists (select from jsonb_each(p_machine -> 'projects') e (project, present)
                     where present not in ('true', 'false', '"git"', '"plain"')) then
    v_bad := 'p_machine.projects: a value is none of true, false, "git" and "plain"';
  end if;
  if v_bad is not null then
    perform hub_internal.refuse('UH001', 'bad input', v_bad,
      'p_machine = {disk_free_bytes, memory_free_bytes, projects: {"path": "git"}, stopping}, each optional.');
  end if;
end;
$$;

create function hub_internal.check_running(p_running jsonb)
  returns void
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_bad text;
begin
  if jsonb_typeof(p_running) <> 'array' then
    v_bad := 'p_running';
  elsif jsonb_array_length(p_running) > 1000 then  -- no device has a greater capacity
    v_bad := 'p_running names more than 1000 attempts';
  elsif exists (select from jsonb_array_elements(p_running) e (o)
                 where jsonb_typeof(o) <> 'object'
                    or hub_internal.uuid_of(o ->> 'task') is null
                    or coalesce(o ->> 'attempt', '') !~ '^[0-9]{1,9}$') then
    v_bad := 'p_running';
  -- As of the end of an attempt (check_meta). In a CASE, so that what is no number is not taken for one.
  elsif exists (select from jsonb_array_elements(p_running) e (o)
                 where case when jsonb_typeof(o -> 'cost_usd') not in ('number', 'null') then true
                            else (o ->> 'cost_usd')::numeric not between 0 and 1000000 end) then
    v_bad := 'p_running: a cost_usd is not a number between 0 and 1,000,000';
  elsif exists (select from jsonb_array_elements(p_running) e (o)
                 where o ->> 'tokens_in' !~ '^[0-9]{1,12}$'
                    or o ->> 'tokens_out' !~ '^[0-9]{1,12}$'
                    or o ->> 'tokens_cached' !~ '^[0-9]{1,12}$') then
    v_bad := 'p_running: a number of tokens is not a whole number of at most 12 digits';
  elsif exists (select from jsonb_array_elements(p_running) e (o)
                 where jsonb_typeof(o -> 'notional') not in ('boolean', 'null')
                    or jsonb_typeof(o -> 'cost_notional') not in ('boolean', 'null')) then
    v_bad := 'p_running: notional is neither true nor false';
  else
    v_bad := (select 'p_running: ' || max(hub_internal.unpriced_problem(o -> 'unpriced'))
                from jsonb_array_elements(p_running) e (o));
  end if;
  if v_bad is not null then
    perform hub_internal.refuse('UH001', 'bad input', v_bad,
      'Give a list like [{"task": "<uuid>", "attempt": 1}], each with what it used so far, as far as that is '
      'known: cost_usd, notional, tokens_in, tokens_out, tokens_cached, and in unpriced, by model, the tokens '
      'whose cost is not in cost_usd.');
  end if;
end;
$$;

-- Keeps what a device answers about projects that its servers ask for; anything else it says is not kept. The
-- rows are written in the order of their names: two beats of a device can not wait in a ring.
create function hub_internal.hear_projects(p_device text, p_projects jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_changed text[];
  v_lane    integer;
begin
  with said as materialized (
    select e.project,
           e.said <> 'false' as present,
           case when jsonb_typeof(e.said) = 'string' then e.said #>> '{}' end as kind
      from jsonb_each(p_projects) e (project, said)
  ), kept as materialized (
    select s.project, s.present, s.kind,
           (s.present, s.kind) is distinct from (p.present, p.kind) as changed
      from said s
      left join hub_internal.device_projects p on p.device = p_device and p.project = s.project
     where p.device is not null
        or exists (select from hub_internal.device_lanes x
                     join hub_internal.lanes l on l.id = x.lane
                    where x.device = p_device
                      and x.serves
                      and x.has_folder
                      and l.project = s.project)
  ), written as (
    insert into hub_internal.device_projects as d (device, project, present, kind, told_at)
    select p_device, k.project, k.present, k.kind, p_now from kept k order by k.project
    -- Present, and was: nothing new. Absent still: asked again later than if it were forgotten when.
    on conflict (device, project) do update
      set present = excluded.present,
          kind = excluded.kind,
          told_at = excluded.told_at
      where not (d.present and excluded.present) or d.kind is distinct from excluded.kind
  )
  select array_agg(k.project) into v_changed from kept k where k.changed;
  if v_changed is null then
    return;
  end if;
  -- Where it has none, another may take what it would have been left to (yields, …lanes).
  perform pg_notify('hub_tasks', '');
  for v_lane in
    select x.lane
      from hub_internal.device_lanes x
      join hub_internal.lanes l on l.id = x.lane
     where x.device = p_device and x.serves and l.project = any (v_changed)
  loop
    perform hub_internal.wake_devices(v_lane);
  end loop;
end;
$$;

-- What a device is to look for: what the work of its servers asks for and it has said nothing of. What it did
-- not have it is asked again, since a person makes the folder meanwhile. Those it was never asked for first.
create function hub_internal.asked_projects(p_device text, p_now timestamptz)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(a.project order by a.project), '[]')
      from (select l.project
              from hub_internal.device_lanes x
              join hub_internal.lanes l on l.id = x.lane
              left join hub_internal.device_projects p on p.device = p_device and p.project = l.project
             where x.device = p_device
               and x.serves
               and x.has_folder
               and x.on_platform
               and x.has_session
               and l.project is not null
               and (p.device is null or not p.present and p.told_at <= p_now - interval '10 seconds')
             group by l.project
             order by min(p.told_at) nulls first
             limit 200) a
  );
end;
$$;

-- One of two workers of a device may stop: it says so once, the other is asked, and says at once that it goes
-- on.
create function hub_internal.heartbeat(
  p_device text, p_running jsonb, p_machine jsonb, p_now timestamptz)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_device   public.mesh_devices;
  v_stopping boolean;
  v_answer   jsonb;
  v_told     boolean;
begin
  perform hub_internal.require_present(p_now);
  v_device := hub_internal.acting_device(p_device);
  p_running := coalesce(p_running, '[]');
  perform hub_internal.check_running(p_running);
  p_machine := coalesce(nullif(p_machine, 'null'), '{}');
  perform hub_internal.check_machine(p_machine);
  v_stopping := (p_machine ->> 'stopping')::boolean;

  with said as (
    select distinct (o ->> 'task')::uuid as task, (o ->> 'attempt')::int as attempt
      from jsonb_array_elements(p_running) e (o)
  ), held as (
    -- In the order of ids: two heartbeats never wait for each other in a ring.
    select t.id
      from public.mac_tasks t
      join said s on s.task = t.id and s.attempt = t.attempt
     where t.status = 'running' and t.claimed_by = p_device
     order by t.id
       for no key update of t
  ), extended as (
    update public.mac_tasks t
       set lease_expires_at = greatest(t.lease_expires_at, p_now + interval '60 seconds')
      from held where t.id = held.id
    returning t.id, t.attempt, t.cancel_requested_at
  ), steers as (
    -- About so much at once; the rest comes when these have been taken.
    select x.*
      from (select s.*, sum(char_length(s.text)) over (order by s.id) - char_length(s.text) as before
              from extended e
              join hub_internal.steers s on s.task_id = e.id and s.attempt = e.attempt
             where s.outcome is null) x
     where x.before < 400000
  )
  select jsonb_build_object(
           'cancel', coalesce(
             (select jsonb_agg(e.id order by e.id) from extended e where e.cancel_requested_at is not null),
             '[]'),
           'steer', coalesce(
             (select jsonb_agg(jsonb_build_object('task', s.task_id, 'attempt', s.attempt, 'id', s.id,
                                                  'text', s.text, 'by', s.by) order by s.id)
                from steers s),
             '[]'),
           'subtasks', coalesce(
             (select jsonb_agg(jsonb_build_object('task', e.id, 'attempt', e.attempt, 'subtask', t.id,
                                                  'status', t.status) order by t.finished_at, t.id)
                from extended e
                join hub_internal.subtasks s on s.parent_id = e.id
                join public.mac_tasks t on t.id = s.task_id
               where t.status in ('complete', 'failed', 'cancelled')
                 and s.attempt is not null
                 and s.told is distinct from t.status || ':' || t.attempt),
             '[]'),
           'answers', hub_internal.due_answers(p_device, p_running),
           'budget', coalesce(
             (select jsonb_agg(jsonb_build_object('task', e.id, 'attempt', e.attempt, 'ask', a.id)
                              order by a.created_at)
                from extended e
                join public.hub_asks a on a.task_id = e.id and a.attempt = e.attempt
               where a.state = 'open' and a.budget_id is not null),
             '[]'),
           'lost', coalesce(
             (select jsonb_agg(s.task order by s.task)
                from said s
               where s.task not in (select e.id from extended e)),
             '[]'))
    into v_answer;
  if p_running @? '$[*] ? (exists (@.cost_usd) || exists (@.tokens_in) || exists (@.tokens_out)
                         || exists (@.unpriced))'
     or exists (select from public.hub_budgets b where b.measure = 'seconds') then
    perform hub_internal.note_use(p_device, p_running, p_now);
  end if;
  if v_answer -> 'budget' <> '[]' then
    update public.hub_asks a
       set told_at = p_now
      from jsonb_array_elements(v_answer -> 'budget') o (over)
     where a.id = (o.over ->> 'ask')::uuid and a.told_at is null;
  end if;
  if v_answer -> 'steer' <> '[]' then
    update hub_internal.steers s
       set given_at = p_now
      from jsonb_array_elements(v_answer -> 'steer') g (steer)
     where s.id = (g.steer ->> 'id')::bigint and s.given_at is null;
  end if;
  if v_answer -> 'lost' <> '[]' then
    -- One that was handed back while its row was waited for is locked until this commits: a claim that came in
    -- between passed it by.
    perform pg_notify('hub_tasks', '');
  end if;

  update public.mesh_devices d
     set last_heartbeat_at = greatest(d.last_heartbeat_at, p_now),
         signed_off_at = null,
         stopping_at = case v_stopping when true then coalesce(d.stopping_at, p_now)
                                       when false then null
                                       else d.stopping_at end,
         disk_free_bytes = coalesce((p_machine ->> 'disk_free_bytes')::bigint, d.disk_free_bytes),
         memory_free_bytes = coalesce((p_machine ->> 'memory_free_bytes')::bigint, d.memory_free_bytes),
         projects_told = d.projects_told
                         or jsonb_typeof(p_machine -> 'projects') is not distinct from 'object'
   where d.name = p_device
  returning d.projects_told into v_told;
  if v_stopping and v_device.stopping_at is null then
    -- What was left to it others may take now.
    perform pg_notify('hub_tasks', '');
    perform hub_internal.wake_device(p_device, true);
  elsif not v_stopping and v_device.stopping_at is not null then
    -- It was not told of work meanwhile.
    perform pg_notify('hub_tasks', '');
    perform hub_internal.wake_device(p_device);
  end if;
  v_answer := v_answer || jsonb_build_object('hub', (select h.id from hub_internal.hub h));
  if not v_told then
    return v_answer || '{"projects": []}';
  end if;
  if p_machine -> 'projects' <> '{}' then
    perform hub_internal.hear_projects(p_device, nullif(p_machine -> 'projects', 'null'), p_now);
  end if;
  return v_answer || jsonb_build_object('projects', hub_internal.asked_projects(p_device, p_now));
end;
$$;

create function hub_internal.sign_off(p_device text, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.acting_device(p_device);
  update public.mesh_devices d
     set signed_off_at = p_now,
         stopping_at = null
   where d.name = p_device;
  -- What was left to it others may take now.
  perform pg_notify('hub_tasks', '');
  perform hub_internal.reweigh(p_device);
end;
$$;

-- What nobody asks for any more is forgotten; it is asked again when it is needed.
create function hub_internal.reap_device_projects(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_count integer;
begin
  delete from hub_internal.device_projects d
   where (d.device, d.project) in (select p.device, p.project
                                     from hub_internal.device_projects p
                                    where p.project not in (select l.project
                                                              from hub_internal.lanes l
                                                             where l.project is not null
                                                            union all
                                                            select h.path from public.hub_projects h)
                                    order by p.device, p.project
                                    limit p_limit
                                      for update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;
insert into public.hub_errands (name, about, function, position, counts) values
  ('projects', 'what devices said of projects that nobody asks for any more goes',
   'hub_internal.reap_device_projects', 815, false);
