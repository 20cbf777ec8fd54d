-- Gives back the login of agent $2 of device $1 that process $3 took.
select public.hub_return_login($1, $2, $3)
