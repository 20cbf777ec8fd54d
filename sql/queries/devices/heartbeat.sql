-- Says that device $1 lives, that it has the room and the projects in $3, and extends the leases of the attempts in $2; answers what to
-- stop, and which projects to look for.
select public.hub_heartbeat($1, $2, $3) as "row!: Json<Heartbeat>"
