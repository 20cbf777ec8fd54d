-- Gives the project $2 of a server $1 (null: the server) the weight $3; null: none of its own.
select to_jsonb(s) as "row!: Json<Share>"
  from public.hub_set_share($1, $2, $3::float8::numeric) as s
