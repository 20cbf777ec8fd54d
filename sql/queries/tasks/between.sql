-- Tasks whose id lies between $1 and $2: how the first digits of an id, as people see them, find it by its index.
select to_jsonb(t) as "row!: Json<Task>"
  from public.mac_tasks t
 where t.id between $1 and $2
 order by t.created_at desc
 limit 20
