-- Stores delivery $2 of provider $1, an event $3 with all it carries.
select public.hub_receive_webhook($1, $2, $3, $4) as "delivery!: Json<Value>"
