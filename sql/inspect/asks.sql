-- What waits for people, since when, and who may answer; and what was answered but has not reached its agent.
-- Good: nothing open for longer than people take, and nothing untaken for longer than a minute while its attempt runs. Untaken for long: that
-- machine is silent (devices.sql), or its worker is older than this hub.

select left(a.task_id::text, 8) as task, left(a.id::text, 8) as ask, coalesce('#' || c.name, '-') as channel, a.kind, a.state, t.status as task_is, a.asked_by,
       date_trunc('second', now() - coalesce(a.answered_at, a.created_at)) as since,
       case when a.state = 'open' then hub_internal.answerers(a) else a.answered_label || ' (' || a.answered_door || ')' end as who,
       date_trunc('second', a.expires_at) as until, a.on_expiry as then, hub_internal.shorten(hub_internal.one_line(a.title), 60) as asks
  from public.hub_asks a
  join public.mac_tasks t on t.id = a.task_id
  left join public.hub_channels c on c.id = t.channel_id
 where a.state = 'open'
    or a.taken_at is null and t.status in ('running', 'pending', 'waiting')
 order by a.created_at
 limit 100;
