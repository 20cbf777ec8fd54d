-- Queues the failed or cancelled task $1 again.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_retry_task($1) as t
