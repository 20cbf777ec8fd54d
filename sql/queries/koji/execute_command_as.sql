-- A command, in the name of the bearer of these claims.
select hub_internal.execute_command_as($1, $2, $3) as "reply!: Json<Reply>"
