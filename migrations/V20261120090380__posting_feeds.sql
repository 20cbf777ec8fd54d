-- Why: what the feed channels say (…feeds), a function a feed.

create function hub_internal.feed_servers(p_channel_id uuid)
  returns uuid[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return array(select s.id
                 from public.hub_servers s
                where s.access = 'authenticated'
                   or s.id = (select c.server_id from public.hub_channels c where c.id = p_channel_id));
end;
$$;

create function hub_internal.post_feed(p_channel_id uuid, p_text text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.post('feed', p_channel_id, null, null, hub_internal.named_values('note', p_text));
end;
$$;

-- Heartbeat -------------------------------------------------------------------------------------------------

create function hub_internal.feed_heartbeat(p_feed hub_internal.feeds, p_now timestamptz, p_daily boolean)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_servers uuid[] := hub_internal.feed_servers(p_feed.channel_id);
  v_offline timestamptz := p_now - hub_internal.setting('device_offline_after');
  v_now     jsonb;
  v_online  integer;
  v_lines   text;
begin
  select coalesce(jsonb_object_agg(d.name,
                                   case when coalesce(d.last_heartbeat_at < v_offline, true)
                                             or d.signed_off_at <= p_now then 'offline'
                                        when d.drained_at is not null then 'draining'
                                        else 'online' end),
                  '{}')
    into v_now
    from public.mesh_devices d
   where d.revoked_at is null
     and (d.serves_all
          or exists (select from public.mesh_device_servers e
                      where e.device = d.name
                        and e.server_id = any (v_servers)));
  select count(*) into v_online from jsonb_each_text(v_now) e (name, state) where e.state <> 'offline';

  -- On the first round nothing has changed yet: it tells what there is, and later rounds start from that.
  if p_daily or p_feed.devices is null then
    select string_agg(format('%s %s: %s',
                             case e.state when 'online' then '🟢'
                                          when 'draining' then '🟡'
                                          else '🔴' end,
                             e.name,
                             e.state),
                      E'\n' order by e.name)
      into v_lines
      from (select * from jsonb_each_text(v_now) e (name, state) order by e.name limit 50) e;
  elsif v_now is distinct from p_feed.devices then
    select string_agg(case when e.state is null then format('⚪ %s has left the mesh', e.name)
                           when e.state = 'offline' then format('🔴 %s went offline', e.name)
                           when e.state = 'draining' then format('🟡 %s is draining', e.name)
                           else format('🟢 %s is online', e.name) end, E'\n' order by e.name)
      into v_lines
      from (select coalesce(n.name, o.name) as name, n.state
              from jsonb_each_text(v_now) n (name, state)
              full join jsonb_each_text(p_feed.devices) o (name, state) on o.name = n.name
             where n.state is distinct from o.state
             order by 1
             limit 50) e;
  else
    return 0;
  end if;
  update hub_internal.feeds f set devices = v_now where f.channel_id = p_feed.channel_id;
  if v_lines is null and not p_daily then
    return 0;
  end if;
  perform hub_internal.post_feed(p_feed.channel_id,
    format('💓 Mesh: %s of %s devices online',
           v_online, (select count(*) from jsonb_object_keys(v_now)))
    || coalesce(E'\n' || v_lines, ''));
  return 1;
end;
$$;

-- Morning brief ---------------------------------------------------------------------------------------------

create function hub_internal.feed_brief(p_feed hub_internal.feeds, p_now timestamptz)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_channels uuid[] := array(select c.id
                               from public.hub_channels c
                              where c.server_id = any (hub_internal.feed_servers(p_feed.channel_id)));
  v_day      date := (p_now at time zone 'utc')::date - 1;
  v_from     timestamptz := v_day::timestamp at time zone 'utc';
  v_text     text;
  v_failed   text;
  v_waits    text;
begin
  select format(E'☀️ Morning brief of %s\nFinished: %s (%s complete, %s failed, %s cancelled)',
                to_char(v_day, 'YYYY-MM-DD'),
                count(*),
                count(*) filter (where t.status = 'complete'),
                count(*) filter (where t.status = 'failed'),
                count(*) filter (where t.status = 'cancelled'))
         || coalesce(', half of them within '
                     || hub_internal.duration_text(v_from,
                          v_from + percentile_cont(0.5) within group (order by t.finished_at - t.claimed_at)
                                     filter (where t.claimed_at is not null)),
                     '')
         || coalesce(E'\n' || hub_internal.cost_lines(v_channels, v_from, v_from + interval '24 hours'), '')
    into v_text
    from public.mac_tasks t
   where t.finished_at >= v_from
     and t.finished_at < v_from + interval '24 hours'
     and t.channel_id = any (v_channels);

  select string_agg(format(E'\n❌ %s #%s: %s: %s', f.short, f.channel, f.content, f.error), ''
                    order by f.finished_at)
    into v_failed
    from (select hub_internal.task_short(t.id) as short,
                 c.name as channel,
                 hub_internal.shorten(hub_internal.one_line(t.content), 80) as content,
                 hub_internal.shorten(
                   hub_internal.one_line(coalesce(nullif(t.error, ''), 'no reason given')), 120) as error,
                 t.finished_at
            from public.mac_tasks t
            join public.hub_channels c on c.id = t.channel_id
           where t.finished_at >= v_from
             and t.finished_at < v_from + interval '24 hours'
             and t.channel_id = any (v_channels)
             and t.status = 'failed'
           order by t.finished_at desc
           limit 10) f;

  -- Each count by the index that holds exactly these rows.
  select format(E'\nNow: %s', concat_ws(', ',
           nullif(p.n, 0) || format(' pending (the oldest for %s)',
                                    hub_internal.duration_text(p.oldest, p_now)),
           nullif(r.n, 0) || ' running',
           nullif(w.n, 0) || ' waiting for an answer',
           nullif(b.n, 0) || ' blocked'))
    into v_waits
    from (select count(*) as n, min(t.created_at) as oldest
            from hub_internal.lanes l
            join public.mac_tasks t on t.lane = l.id and t.status = 'pending'
           where l.server_id = any (hub_internal.feed_servers(p_feed.channel_id))) p,
         (select count(*) as n
            from public.mac_tasks t
           where t.status = 'running' and t.channel_id = any (v_channels)) r,
         (select count(*) as n
            from public.mac_tasks t
           where t.status = 'waiting' and t.channel_id = any (v_channels)) w,
         (select count(*) as n
            from public.mac_tasks t
           where t.status = 'blocked' and t.channel_id = any (v_channels)) b
   where p.n + r.n + w.n + b.n > 0;

  perform hub_internal.post_feed(p_feed.channel_id,
    v_text || coalesce(v_failed, '')
      || coalesce(hub_internal.budget_lines(hub_internal.feed_servers(p_feed.channel_id), p_now), '') || coalesce(v_waits, E'\nNothing waits.'));
  return 1;
end;
$$;

-- Memory log ------------------------------------------------------------------------------------------------

create function hub_internal.feed_log(p_feed hub_internal.feeds, p_now timestamptz)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_channels uuid[] := array(select c.id
                               from public.hub_channels c
                              where c.server_id = any (hub_internal.feed_servers(p_feed.channel_id)));
  v_posted   integer := 0;
  v_until    timestamptz;
  v_lines    text;
begin
  loop
    with found as materialized (
      select t.id, t.attempt, t.finished_at, c.name as channel, t.status, t.content,
             hub_internal.task_runner(t.agent, t.model_preference, t.claimed_by) as runner,
             coalesce(t.claimed_at, t.created_at) as begun_at
        from public.mac_tasks t
        join public.hub_channels c on c.id = t.channel_id
       where t.finished_at > p_feed.told_until - interval '10 minutes'
         and t.finished_at <= p_now
         and t.channel_id = any (v_channels)
         and t.status in ('complete', 'failed', 'cancelled')
         and not exists (select from hub_internal.feed_told d
                          where d.channel_id = p_feed.channel_id
                            and d.task_id = t.id
                            and d.attempt = t.attempt)
       order by t.finished_at
       limit 100
    ), marked as (
      insert into hub_internal.feed_told (channel_id, task_id, attempt, finished_at)
      select p_feed.channel_id, f.id, f.attempt, f.finished_at from found f
    )
    select string_agg(format('%s %s #%s [%s] %s (%s)',
                             hub_internal.ending_mark(f.status),
                             hub_internal.task_short(f.id),
                             f.channel,
                             f.runner,
                             hub_internal.shorten(hub_internal.one_line(f.content), 100),
                             hub_internal.duration_text(f.begun_at, f.finished_at)),
                      E'\n' order by f.finished_at)
      into v_lines
      from found f;
    exit when v_lines is null;
    perform hub_internal.post_feed(p_feed.channel_id, v_lines);
    v_posted := v_posted + 1;
    exit when v_posted >= 10;                     -- a flood is told in rounds, not in one transaction
  end loop;
  -- Never ahead of the clock, whatever p_now says: what ends from now on is still to be told.
  v_until := case when v_posted < 10 then greatest(p_feed.told_until, least(p_now, now()))
                  else (select max(d.finished_at)
                          from hub_internal.feed_told d
                         where d.channel_id = p_feed.channel_id) end;
  update hub_internal.feeds f set told_until = v_until where f.channel_id = p_feed.channel_id;
  delete from hub_internal.feed_told d
   where d.channel_id = p_feed.channel_id
     and d.finished_at < v_until - interval '10 minutes';
  return v_posted;
end;
$$;

-- The round -------------------------------------------------------------------------------------------------

-- The end of a keeper's round. One that holds no session, by the service key or through a pooler in
-- transaction mode, leaves no other trace of keeping time; `hub doctor` looks here.
create table hub_internal.kept_time (
  one boolean primary key default true,
  at  timestamptz not null,
  constraint kept_time_one_check check (one)
);
comment on table hub_internal.kept_time is 'When somebody last kept time: one row.';
alter table hub_internal.kept_time enable row level security;
revoke all on hub_internal.kept_time from public, anon, authenticated, service_role;

create function hub_internal.post_feeds(p_now timestamptz)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_feed   hub_internal.feeds;
  v_kind   text;
  v_today  date := (p_now at time zone 'utc')::date;
  v_daily  boolean;
  v_posted integer := 0;
begin
  perform hub_internal.require_trusted('posting feeds');
  perform hub_internal.require_moment(p_now);
  -- A new feed starts now: it has no yesterday, and what was finished before is not its to tell.
  insert into hub_internal.feeds (channel_id, posted_on, told_until)
  select c.id,
         case when p_now < (v_today::timestamp at time zone 'utc') + hub_internal.setting('daily_feeds_at')
                then v_today - 1
              else v_today end,
         p_now
    from public.hub_channels c
   where c.feed is not null
  on conflict do nothing;

  -- SKIP LOCKED: of two keepers, each feed is one's.
  for v_feed in
    select f.*
      from hub_internal.feeds f
      join public.hub_channels c on c.id = f.channel_id
     where c.feed is not null
     order by f.channel_id
       for update of f skip locked
  loop
    select c.feed into v_kind from public.hub_channels c where c.id = v_feed.channel_id;
    v_daily := v_feed.posted_on < v_today
               and p_now >= (v_today::timestamp at time zone 'utc') + hub_internal.setting('daily_feeds_at');
    if v_kind = 'heartbeat' then
      v_posted := v_posted + hub_internal.feed_heartbeat(v_feed, p_now, v_daily);
    elsif v_kind = 'memory-log' then
      v_posted := v_posted + hub_internal.feed_log(v_feed, p_now);
    elsif v_daily and v_kind = 'morning-brief' then
      v_posted := v_posted + hub_internal.feed_brief(v_feed, p_now);
    elsif v_daily and v_kind = 'digest' then
      perform hub_internal.post_feed(v_feed.channel_id,
        hub_internal.koji_day(v_feed.channel_id, v_today - 1));
      v_posted := v_posted + 1;
    end if;
    if v_daily then
      update hub_internal.feeds f set posted_on = v_today where f.channel_id = v_feed.channel_id;
    end if;
  end loop;
  insert into hub_internal.kept_time as k (at) values (clock_timestamp())
  on conflict (one) do update set at = excluded.at;
  return v_posted;
end;
$$;
