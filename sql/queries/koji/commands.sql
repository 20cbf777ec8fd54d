-- The registry of commands, by name.
select to_jsonb(r) as "row!: Json<Command>"
  from (select k.name, k.usage, k.description, k.writes from public.koji_commands k order by k.name) r
