-- Channels of server $1, or of all.
select to_jsonb(c) as "row!: Json<Channel>"
  from public.hub_channels c
 where $1::uuid is null or c.server_id = $1
 order by c.server_id, c.name
