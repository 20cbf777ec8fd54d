-- A subtask of attempt $2 of task $1 with the content $3, for model $4, agent $5, in project $6.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_subtask($1, $2, $3, $4, $5, $6) as t
