-- Invites person $2 into server $1 as $3; a null role withdraws it.
select to_jsonb(i) as "row!: Json<Invitation>"
  from public.hub_invite($1, $2, $3) as i
