-- Threads of channel $1 whose id lies between $2 and $3: how the first digits of an id find it.
select to_jsonb(t) as "row!: Json<Thread>"
  from public.hub_task_threads t
 where t.channel_id = $1
   and t.id between $2 and $3
 order by t.last_activity_at desc
 limit 20
