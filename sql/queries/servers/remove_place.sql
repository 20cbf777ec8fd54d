-- Takes every place of kind $1 and target $3 from server $2; how many there were.
with gone as (
  delete from public.hub_places p where p.kind = $1 and p.server_id = $2 and p.target = $3 returning 1
)
select count(*) as "gone!: i64" from gone
