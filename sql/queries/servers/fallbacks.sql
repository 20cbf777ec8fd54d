-- Which model follows which in which server; null: where a server has none of its own.
select to_jsonb(f) as "row!: Json<Fallback>"
  from public.hub_model_fallbacks as f
 order by f.server_id nulls first, f.model, f.position
