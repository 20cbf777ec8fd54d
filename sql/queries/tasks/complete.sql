-- Ends attempt $2 of task $1 with the result $3 and what is known about the run, $4.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_complete_task($1, $2, $3, $4) as t
