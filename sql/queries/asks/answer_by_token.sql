-- The button with the token $1 was pressed at ntfy, for the answer $2.
select public.hub_answer_by_token($1, $2) as "row!: Json<Value>"
