-- Sends $2 into channel $1 as an answer to message $3 of a task, under the idempotency key $4.
select public.hub_send($1, $2, null, $4, $3) as "row!: Json<Sent>"
