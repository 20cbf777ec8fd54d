-- The thread of task $2 in channel $1, opened if there is none.
select to_jsonb(t) as "row!: Json<Thread>"
  from public.hub_create_task_thread($1, $2) as t
