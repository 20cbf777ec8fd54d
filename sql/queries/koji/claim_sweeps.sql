-- Takes sweeps that are due.
select to_jsonb(s) as "sweep!: Json<Sweep>" from public.hub_claim_sweeps(p_limit => $1, p_lease => make_interval(secs => $2)) s
