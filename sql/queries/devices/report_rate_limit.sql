-- Says that agent $2 of device $1 is at its limit, for model $3, until $4, in its words $5, as source $6, of window $7, with the share $8
-- used, a window that begins anew at $9.
select public.hub_report_rate_limit($1, $2, $3, $4, $5, $6::jsonb #>> '{}', $7::jsonb #>> '{}', $8::float8::numeric, $9)
