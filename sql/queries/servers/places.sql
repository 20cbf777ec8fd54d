-- What servers may name outside themselves, in the order of servers and kinds.
select to_jsonb(p) || jsonb_build_object('server', s.name) as "row!: Json<Place>"
  from public.hub_places p
  join public.hub_servers s on s.id = p.server_id
 order by s.name, p.kind, p.target
