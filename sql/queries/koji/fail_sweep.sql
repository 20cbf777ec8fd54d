-- Says why a sweep came to nothing.
select to_jsonb(s) as "sweep!: Json<Sweep>" from public.hub_fail_sweep($1, $2, $3, $4) s
