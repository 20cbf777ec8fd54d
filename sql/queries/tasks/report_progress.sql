-- Says what attempt $2 of task $1 is doing now: $3; with $4 in the task's row alone.
select public.hub_report_progress($1, $2, $3, $4)
