-- Says what attempt $2 of task $1 is doing now: $3.
select public.hub_report_progress($1, $2, $3)
