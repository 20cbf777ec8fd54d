-- Takes in a message of a chat: provider, target, its id there, author, text, the message it answers, whether it is an interaction, its author's account.
select public.hub_receive_bridged($1, $2, $3, $4, $5, $6, $7, $8) as "taken!: Json<Value>"
