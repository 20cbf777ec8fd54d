-- Attempt $2 of task $1 waits for ask $3 no more.
select to_jsonb(a) as "row!: Json<Ask>"
  from public.hub_withdraw_ask($1, $2, $3) as a
