-- Takes back leases that ran out and tells what was never told.
select public.hub_recover(p_limit => $1) as "done!"
