-- Sets thread $1 to status $2 by hand.
select to_jsonb(t) as "row!: Json<Thread>"
  from public.hub_update_thread_status($1, $2) as t
