-- Has task $1 wait until $2 has ended; where that fails it does $3: fail or continue.
select from public.hub_need_task($1, $2, $3)
