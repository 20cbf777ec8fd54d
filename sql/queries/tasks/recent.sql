-- The newest tasks: of channel $1 if given, in status $2 if given.
select to_jsonb(t) as "row!: Json<Task>"
  from public.mac_tasks t
 where ($1::uuid is null or t.channel_id = $1)
   and ($2::text is null or t.status = $2)
 order by t.created_at desc
 limit $3
