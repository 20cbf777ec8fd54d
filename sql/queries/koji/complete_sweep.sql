-- Ends a sweep with what its source named.
select to_jsonb(s) as "sweep!: Json<Sweep>" from public.hub_complete_sweep($1, $2, $3, $4) s
