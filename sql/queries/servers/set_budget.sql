-- Makes or changes the budget of a server $1 (null: the deployment): scope $2, subject $3, measure $4, amount $5, period $6, what is done $7
-- after so many seconds of silence $8, who may answer $9, and what it is for $10.
select to_jsonb(b) as "row!: Json<Budget>"
  from public.hub_set_budget($1, $2, $3, $4, $5::float8::numeric, $6, $7, make_interval(secs => $8::float8), $9, $10) as b
