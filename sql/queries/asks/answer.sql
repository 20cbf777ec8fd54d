-- Answers ask $1 with $2 and the text $3, as its digest $4 was shown.
select to_jsonb(a) as "row!: Json<Ask>"
  from public.hub_answer_ask($1, $2, $3, $4) as a
