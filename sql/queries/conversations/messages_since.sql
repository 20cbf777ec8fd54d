-- Messages of one conversation (channel $1's flat one, or thread $3) numbered after $2, in order, at most $4.
select to_jsonb(m) as "row!: Json<Message>"
  from public.hub_messages_since($1, $2, $3, $4) as m
