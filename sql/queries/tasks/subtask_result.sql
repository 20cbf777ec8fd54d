-- How subtask $3 of attempt $2 of task $1 is, or how it ended.
select public.hub_subtask_result($1, $2, $3) as "row!: Json<SubtaskResult>"
