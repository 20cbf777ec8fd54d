-- Takes the login of agent $2 of device $1 for process $3, to refresh it, for $4 seconds.
select public.hub_lease_login($1, $2, $3, $4) as "row!: Json<LoginLease>"
