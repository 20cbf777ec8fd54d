-- What task $1 has asked, in order.
select to_jsonb(a) as "row!: Json<Ask>"
  from public.hub_asks a
 where a.task_id = $1
 order by a.created_at
