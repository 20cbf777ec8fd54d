-- Lets device $1 take tasks of server $2, or ($3 false) no longer.
select to_jsonb(d) as "row!: Json<Device>"
  from public.hub_enroll_device($1, $2, $3) as d
