-- What kind of task the text $1 in channel $2 is, and for whom.
select to_jsonb(c) as "row!: Json<Classification>"
  from public.hub_classify($1, $2) as c
