-- Which conversations are large, and which are written most?
-- Good: the busiest flat channel below some 3,000 messages a second (its row is the lock); a thread of thousands of messages is a
-- task that should have been several.

select case when c.thread is null then '#' || ch.name else '#' || ch.name || ' / ' || c.thread end as conversation, s.name as server,
       c.messages, date_trunc('second', now() - c.last_at) as quiet_for
  from (select h.id as channel_id, null::text as thread, h.message_count as messages, h.last_message_at as last_at from public.hub_channels h
        union all
        (select t.channel_id, t.name, t.message_count, t.last_activity_at from public.hub_task_threads t order by t.message_count desc limit 20)) c
  join public.hub_channels ch on ch.id = c.channel_id
  join public.hub_servers s on s.id = ch.server_id
 order by c.messages desc
 limit 20;
