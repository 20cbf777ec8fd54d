-- Says that a row was delivered, under which id, and the ids of its messages if it took several.
select from public.hub_complete_outbox($1, $2, $3, $4)
