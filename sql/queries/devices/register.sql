-- Makes device $1 known: platform $2, agents $3, $4 tasks at once.
select to_jsonb(d) as "row!: Json<Device>"
  from public.hub_register_device($1, $2, $3, $4) as d
