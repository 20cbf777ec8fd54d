-- Says what became of the steers $3 of attempt $2 of task $1: $4.
select public.hub_report_steer($1, $2, $3, $4)
