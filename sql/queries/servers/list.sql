-- Servers, by name.
select to_jsonb(s) as "row!: Json<Server>"
  from public.hub_servers s
 order by s.name
