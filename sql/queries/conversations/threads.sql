-- The newest threads: of channel $1 if given, archived ones only if $2.
select to_jsonb(t) as "row!: Json<Thread>"
  from public.hub_task_threads t
 where ($1::uuid is null or t.channel_id = $1)
   and ($2 or t.status <> 'archived')
 order by t.last_activity_at desc
 limit $3
