-- Why task $1 is, or is not, running: a row a reason.
select to_jsonb(e) as "row!: Json<Explanation>"
  from public.hub_explain_task($1) as e
