-- Ends attempt $2 of task $1 with the error $3; $4 says whether trying again makes sense.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_fail_task($1, $2, $3, $4, $5) as t
