-- Takes in an agent's message: its token, text, target, whether to deliver, idempotency key.
select public.hub_receive_hook($1, $2, $3, $4, $5) as "taken!: Json<Value>"
