-- What attempts that ended from $1 on and before $2 cost, in the servers that the caller operates: a row a $3 (day, project, agent, person
-- or server).
select to_jsonb(c) as "row!: Json<Costs>"
  from public.hub_costs($1, $2, $3) as c
