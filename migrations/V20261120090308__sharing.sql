-- Why: who has used more than others stands back while they wait: its tasks count as made later, by as many
-- seconds as it used more for its weight than the one that used least. A claim adds what stands in the lane's
-- row to where a task stands in the queue.
--
-- Nothing starves: a task is passed only by such as were made less than twice share_most later, once for its
-- server and once for its project.

-- What each has used by now, what runs included, of those that have work waiting.
create function hub_internal.share_state(p_now timestamptz)
  returns table (server_id uuid, project text, value double precision)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return query
    with waiting as materialized (
      select distinct l.server_id, coalesce(l.project, '') as project
        from hub_internal.lanes l
       where exists (select from public.mac_tasks t
                      where t.lane = l.id and t.status = 'pending' and t.run_after is null)
    ), parties as (
      select w.server_id, w.project from waiting w
      union
      select w.server_id, null from waiting w
    ), running as materialized (
      select t.server_id, coalesce(t.project, '') as project,
             sum(greatest(0, extract(epoch from p_now - coalesce(a.used_at, t.claimed_at)))) as seconds
        from public.mac_tasks t
        join public.hub_task_attempts a on a.task_id = t.id and a.attempt = t.attempt
       where t.status = 'running' and t.lease_expires_at is not null
       group by 1, 2
    )
    select p.server_id, p.project,
           (coalesce(hub_internal.faded(u.used, u.at, p_now), 0)
              + coalesce((select sum(r.seconds)
                            from running r
                           where r.server_id is not distinct from p.server_id
                             and (p.project is null or r.project = p.project)), 0))
             / coalesce(w.weight, 1)::double precision
      from parties p
      left join hub_internal.share_use u
        on u.server_id is not distinct from p.server_id and u.project is not distinct from p.project
      left join public.hub_shares w
        on w.server_id = p.server_id and w.project is not distinct from nullif(p.project, '')
           and (p.project is null) = (w.project is null);
end;
$$;

-- Who stands back, and how far, in whole minutes, so that little is written; once a minute. One that stands
-- back less than before goes before others at once; nobody is woken, since who has room takes what there is.
create function hub_internal.share_out(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_most  double precision := extract(epoch from hub_internal.setting('share_most'));
  v_count integer;
begin
  update hub_internal.shared s
     set at = p_now
   where s.one in (select x.one from hub_internal.shared x
                    where x.at <= p_now - interval '50 seconds' or x.at > p_now
                      for no key update skip locked);
  if not found then
    return 0;
  end if;
  delete from hub_internal.share_use u
   where u.at < p_now - interval '1 day' and hub_internal.faded(u.used, u.at, p_now) < 1;
  with state as materialized (
    select s.server_id, s.project,
           make_interval(mins => (least(v_most, s.value - min(s.value) over (
             partition by s.project is null,
                          case when s.project is not null then s.server_id end)) / 60)::integer) as delay
      from hub_internal.share_state(p_now) s
  ), idle as (
    update hub_internal.share_use u
       set delay = '0'
     where u.delay <> interval '0'
       and not exists (select from state s
                        where s.server_id is not distinct from u.server_id
                          and s.project is not distinct from u.project)
  )
  insert into hub_internal.share_use as u (server_id, project, at, delay)
  select s.server_id, s.project, p_now, s.delay from state s
  on conflict (server_id, project) do update set delay = excluded.delay where u.delay <> excluded.delay;
  update hub_internal.lanes l
     set delay = hub_internal.delay_of(l.server_id, l.project)
   where l.id in (select x.id
                    from hub_internal.lanes x
                   where x.delay <> hub_internal.delay_of(x.server_id, x.project)
                   limit p_limit
                     for no key update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end;
$$;
insert into public.hub_errands (name, about, function, position, counts) values
  ('shares', 'servers and projects that used more than others stand back',
   'hub_internal.share_out', 144, false);
