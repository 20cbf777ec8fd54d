-- Says that device $1 lives and extends the leases of the attempts in $2; answers what to stop.
select public.hub_heartbeat($1, $2) as "row!: Json<Heartbeat>"
