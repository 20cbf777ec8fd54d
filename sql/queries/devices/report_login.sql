-- Says whether ($3) agent $2 of device $1 is logged in there, and if not, what it said ($4).
select public.hub_report_login($1, $2, $3, $4)
