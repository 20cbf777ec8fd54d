-- Says that device $1 ends.
select public.hub_sign_off($1)
