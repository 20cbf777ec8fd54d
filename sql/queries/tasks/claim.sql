-- Takes up to $2 tasks for device $1, leased for $3 seconds.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_claim_tasks($1, $2, make_interval(secs => $3)) as t
