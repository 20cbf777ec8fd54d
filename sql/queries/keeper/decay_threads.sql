-- Takes threads that are due one step on.
select public.hub_decay_threads(p_limit => $1) as "done!"
