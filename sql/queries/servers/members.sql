-- Who belongs to server $1, as what.
select to_jsonb(m) as "row!: Json<Member>"
  from public.hub_members m
 where m.server_id = $1
 order by m.role, m.user_id
