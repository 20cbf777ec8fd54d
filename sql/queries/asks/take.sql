-- The answers $3 have reached the agent of attempt $2 of task $1.
select public.hub_take_answers($1, $2, $3)
