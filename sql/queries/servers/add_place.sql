-- Lets server $2 name the target $3 of kind $1, on device $4 alone, with the secret named $5 alone; once.
with added as (
  insert into public.hub_places (kind, server_id, target, device, secret_name) values ($1, $2, $3, $4, $5)
  on conflict on constraint hub_places_key do update set target = excluded.target
  returning *
)
select to_jsonb(a) || jsonb_build_object('server', s.name) as "row!: Json<Place>"
  from added a
  join public.hub_servers s on s.id = a.server_id
