-- Answers the command $2 in channel $1; nothing is kept.
select public.hub_execute_command($1, $2) as "row!: Json<Reply>"
