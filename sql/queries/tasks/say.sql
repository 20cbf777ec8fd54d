-- What the agent of attempt $2 of task $1 says in its conversation: $3.
select to_jsonb(m) as "row!: Json<Message>"
  from public.hub_say($1, $2, $3) as m
