-- How each attempt of task $1 went, in order.
select to_jsonb(a) as "row!: Json<Attempt>"
  from public.hub_task_attempts a
 where a.task_id = $1
 order by a.attempt
