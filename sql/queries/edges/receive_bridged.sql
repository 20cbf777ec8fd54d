-- Takes in what came from a chat: provider, target, its id there, author, text, the message it answers, whether it is an interaction, its author's
-- account, what it is, and what else the place is.
select public.hub_receive_bridged($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) as "taken!: Json<Value>"
