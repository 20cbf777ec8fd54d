-- A person by the address they sign in with, $1.
select u.id
  from auth.users u
 where lower(u.email) = lower($1)
