-- Asks people in attempt $2 of task $1: kind $3, title $4, body $5, input $6, options $7, under the name $8.
select to_jsonb(a) as "row!: Json<Ask>"
  from public.hub_ask($1, $2, $3, $4, $5, $6, $7, $8) as a
