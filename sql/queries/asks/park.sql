-- Ends attempt $2 of task $1, which asks, with what is known about the run, $3: the task waits.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_park_task($1, $2, $3) as t
