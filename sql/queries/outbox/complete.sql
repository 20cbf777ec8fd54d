-- Says that a row was delivered, under which id, the ids of its messages if it took several, and what was odd about it.
select from public.hub_complete_outbox($1, $2, $3, $4, $5)
