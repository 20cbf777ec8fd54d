-- Sends $2 into channel $1 (thread $3), under the idempotency key $4: what the channel's architecture says.
select public.hub_send($1, $2, $3, $4) as "row!: Json<Sent>"
