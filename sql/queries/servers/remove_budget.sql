-- Takes the budget $1 away.
select to_jsonb(b) as "row!: Json<Budget>"
  from public.hub_remove_budget($1) as b
