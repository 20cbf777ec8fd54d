-- Which models follow $2 in a server $1 (null: where a server has none of its own), $3 in order.
select to_jsonb(f) as "row!: Json<Fallback>"
  from public.hub_set_fallbacks($1, $2, $3) as f
