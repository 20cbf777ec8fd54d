-- Lets person $2 into server $1 as $3; a null role removes them.
select to_jsonb(m) as "row!: Json<Member>"
  from public.hub_set_member($1, $2, $3) as m
