-- A message into channel $2 (an id, or server/channel), under the idempotency key $4, in the name of the bearer of these claims.
select hub_internal.send_to_as($1, $2, $3, $4) as "sent!: Json<Value>"
