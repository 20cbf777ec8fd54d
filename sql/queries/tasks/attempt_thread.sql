-- The conversation of attempt $2 of task $1: at most $4 messages, numbered before $3 if given, newest last.
select to_jsonb(m) as "row!: Json<Message>"
  from public.hub_attempt_thread($1, $2, $3, $4) as m
