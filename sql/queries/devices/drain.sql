-- Gives device $1 nothing new from now on, or ($2 false) lets it work again.
select to_jsonb(d) as "row!: Json<Device>"
  from public.hub_drain_device($1, $2) as d
