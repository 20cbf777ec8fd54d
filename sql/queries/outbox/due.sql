-- When the next row may be claimed; null if nothing waits.
select public.hub_outbox_due() as due
