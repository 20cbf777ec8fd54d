-- Says where attempt $2 of task $1 works: $3.
select public.hub_report_workspace($1, $2, $3)
