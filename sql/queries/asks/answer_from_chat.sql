-- The button $2 was pressed by the account $3 of provider $1, in the chat $4.
select public.hub_answer_from_chat($1, $2, $3, $4) as "row!: Json<Value>"
