-- Says that task $1 is for agent $2, model $3, device $4, and work of type $5; null: as it was.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_route_task($1, $2, $3, $4, $5) as t
