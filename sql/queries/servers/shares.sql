-- What servers and projects weigh, and what they used lately.
select to_jsonb(s) as "row!: Json<ShareState>"
  from public.hub_share_state() as s
