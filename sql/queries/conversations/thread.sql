-- Thread $1.
select to_jsonb(t) as "row!: Json<Thread>"
  from public.hub_task_threads t
 where t.id = $1
