-- Why: the contract of accounts: how much of them is used, and who refreshes their logins.

create function public.hub_limits()
  returns table (account text, agent text, model text, window_name text, used_share numeric,
                 limited_until timestamptz, kept boolean, resets_at timestamptz, source text, reason text,
                 reported_at timestamptz, devices text[])
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.pool_uses(); end $$;
comment on function public.hub_limits is
  'What agents draw from, as reported in the last 8 days: the share used of a window that lasts until '
  'resets_at, and, while it is at a limit, until when, how that is known (source) and why; kept: what is left '
  'is kept for people. Of devices that serve what the caller operates, or of the device that calls. Nothing '
  'for others.';
revoke all on function public.hub_limits from public, anon, authenticated, service_role;
grant execute on function public.hub_limits, hub_internal.pool_uses to authenticated, service_role;

create function public.hub_lease_login(p_device text, p_agent text, p_holder text, p_seconds int default 60)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.lease_login(p_device, p_agent, p_holder, p_seconds, now()); end $$;
comment on function public.hub_lease_login is
  'Takes the login of an agent that the device offers, to refresh it, for p_seconds (1 to 300); again by the '
  'same p_holder (a process of the device): for longer. {granted, until}: where another holds it, until when. '
  'Errors: UH001, UH005, 42501.';
revoke all on function public.hub_lease_login from public, anon, authenticated, service_role;
grant execute on function public.hub_lease_login, hub_internal.lease_login to authenticated, service_role;

create function public.hub_return_login(p_device text, p_agent text, p_holder text)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.return_login(p_device, p_agent, p_holder); end $$;
comment on function public.hub_return_login is
  'Gives back what hub_lease_login gave; nothing happens where that is over. Errors: UH001, UH005, 42501.';
revoke all on function public.hub_return_login from public, anon, authenticated, service_role;
grant execute on function public.hub_return_login, hub_internal.return_login to authenticated, service_role;
