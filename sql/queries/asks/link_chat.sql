-- Links the account $2 of provider $1, called $3, to whoever the code $4 is of.
select public.hub_link_chat($1, $2, $3, $4) as "row!: Json<Value>"
