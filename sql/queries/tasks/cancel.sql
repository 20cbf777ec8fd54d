-- Cancels task $1, or asks its device to stop it.
select to_jsonb(t) as "row!: Json<Task>"
  from public.hub_cancel_task($1) as t
