-- What attempt $2 of task $1 is to be done with: the words for the agent, its session, branch and project.
select public.hub_begin_attempt($1, $2) as "row!: Json<Begun>"
