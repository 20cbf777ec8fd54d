-- Tells the agent that runs task $1 something: $2.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_steer_task($1, $2) as t
