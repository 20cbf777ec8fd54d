-- Takes what is to be delivered, at most $1 rows and one of a target, leased for $2 seconds.
select to_jsonb(o) as "outgoing!: Json<Outgoing>" from public.hub_claim_outbox(p_limit => $1, p_lease => make_interval(secs => $2)) o
