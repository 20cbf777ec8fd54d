-- Stores delivery $2 of provider $1, an event $3 with all it carries, signed with the secret named $5.
select public.hub_receive_webhook($1, $2, $3, $4, $5) as "delivery!: Json<Value>"
