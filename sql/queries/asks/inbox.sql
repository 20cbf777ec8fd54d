-- What waits for the caller, asked before $1, newest first, at most $2.
select to_jsonb(a) as "row!: Json<Ask>"
  from public.hub_inbox($1, $2) as a
