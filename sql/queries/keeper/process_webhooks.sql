-- Turns stored deliveries into tasks, at most $1; how many were looked at.
select public.hub_process_webhooks(p_limit => $1) as "count!"
