-- A conversation's count is its highest number, and none is missing.
select c.id, c.message_count, m.highest, m.n
  from public.hub_channels c
  left join lateral (select max(seq) as highest, count(*) as n from public.hub_channel_messages m where m.channel_id = c.id and m.task_thread_id is null) m on true
 where c.message_count <> coalesce(m.highest, 0) or c.message_count <> m.n
union all
select t.id, t.message_count, m.highest, m.n
  from public.hub_task_threads t
  left join lateral (select max(seq) as highest, count(*) as n from public.hub_channel_messages m where m.task_thread_id = t.id) m on true
 where t.message_count <> coalesce(m.highest, 0) or t.message_count <> m.n;
