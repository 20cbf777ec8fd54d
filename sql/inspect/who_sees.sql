-- Who may see this row? Give the id of a server, a channel, a thread, a message or a task:  psql -v id=<uuid> -f sql/inspect/who_sees.sql
-- Without one it answers for the newest message. Good: nobody in the list whom you would not expect; on a server with access "members"
-- only its members, and the machines that hold one of its tasks.

\if :{?id} \else
\set id ''
\endif
with asked as (
  select coalesce(nullif(:'id', '')::uuid, (select m.id from public.hub_channel_messages m order by m.created_at desc limit 1)) as id
), found as (
  select 'server' as kind, s.id as server_id, null::text as device from public.hub_servers s join asked a on a.id = s.id
  union all select 'channel', c.server_id, null from public.hub_channels c join asked a on a.id = c.id
  union all select 'thread', c.server_id, null from public.hub_task_threads t join asked a on a.id = t.id join public.hub_channels c on c.id = t.channel_id
  union all select 'message', c.server_id, null from public.hub_channel_messages m join asked a on a.id = m.id join public.hub_channels c on c.id = m.channel_id
  union all select 'task', c.server_id, case when t.status = 'running' then t.claimed_by end
              from public.mac_tasks t join asked a on a.id = t.id left join public.hub_channels c on c.id = t.channel_id
)
select f.kind, coalesce(s.name, 'no server') as server, w.who, w.because
  from found f
  left join public.hub_servers s on s.id = f.server_id
 cross join lateral (
   select 'whoever is signed in' as who, 'access = authenticated' as because where s.access = 'authenticated'
   union all
   (select m.user_id::text, m.role || ' of the server' from public.hub_members m where m.server_id = f.server_id order by m.role, m.user_id limit 200)
   union all
   select 'device ' || f.device, 'it holds the task' where f.device is not null
   union all
   select 'its maker', 'a task without a channel' where f.kind = 'task' and f.server_id is null
   union all
   select 'service_role and postgres', 'row level security does not hold for them') w;
