-- What the agents of machines draw from, and how much of it is used.
select to_jsonb(q) as "row!: Json<QuotaPool>"
  from public.hub_limits() as q
