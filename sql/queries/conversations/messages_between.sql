-- Messages of channel $1 and its threads whose id lies between $2 and $3: how the first digits of an id find it.
select to_jsonb(m) as "row!: Json<Message>"
  from public.hub_channel_messages m
 where m.channel_id = $1
   and m.id between $2 and $3
 order by m.created_at desc
 limit 20
