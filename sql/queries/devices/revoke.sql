-- Makes the token of device $1 good for nothing, or ($2 false) takes that back.
select to_jsonb(d) as "row!: Json<Device>"
  from public.hub_revoke_device($1, $2) as d
