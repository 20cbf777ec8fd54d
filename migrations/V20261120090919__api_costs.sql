-- Why: the contract of what work costs, and of what bounds it. As in …api, each runs as its caller and
-- hands over to the function of hub_internal that has the body.

create function public.hub_costs(p_from timestamptz, p_to timestamptz, p_by text)
  returns table (name text, attempts bigint, cost_usd numeric, notional_usd numeric, tokens_in bigint,
                 tokens_out bigint, seconds numeric)
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.costs(p_from, p_to, p_by); end $$;
comment on function public.hub_costs is
  'What attempts used that ended from p_from on and before p_to, in the servers that the caller operates: '
  'a row a day (UTC), project, agent, person or server, as p_by says; nobody''s and none''s has no name. '
  'What is not billed (notional_usd) is not in cost_usd. What nobody told counts as nothing. Errors: '
  'UH001, 42501.';
revoke all on function public.hub_costs from public, anon, authenticated, service_role;
grant execute on function public.hub_costs, hub_internal.costs to authenticated, service_role;

create function public.hub_budget_state()
  returns table (id bigint, server_id uuid, scope text, subject text, measure text, per text, amount numeric,
                 level numeric, used numeric, since timestamptz, until timestamptz, met boolean,
                 server_name text, name text, remaining numeric, on_silence text, silence_seconds numeric,
                 roles text[], about text)
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.budget_state(now()); end $$;
comment on function public.hub_budget_state is
  'How the budgets stand of the servers that the caller operates: used of level, and what remains, in the '
  'period from since to until; level is amount and what people gave more in it. name is what people call '
  'subject. Errors: 42501.';
revoke all on function public.hub_budget_state from public, anon, authenticated, service_role;
grant execute on function public.hub_budget_state, hub_internal.budget_state to authenticated, service_role;

-- Clients leave out what is null, so that all of these have a default.
create function public.hub_set_budget(
  p_server_id uuid default null, p_scope text default null, p_subject text default null,
  p_measure text default null, p_amount numeric default null, p_per text default null,
  p_on_silence text default null, p_silence interval default null,
  p_roles text[] default null, p_about text default null)
  returns public.hub_budgets
  language plpgsql volatile set search_path = ''
as $$
begin
  return hub_internal.set_budget(p_server_id, p_scope, p_subject, p_measure, p_amount, p_per, p_on_silence,
                                 p_silence, p_roles, p_about);
end
$$;
comment on function public.hub_set_budget is
  'Makes a budget, or changes that of the same subject, measure and period; columns as of hub_budgets. '
  'p_subject: the path or name of a project, the name or id of a channel, the name of an agent, the id of a '
  'person or a task; null of a server or the deployment (which has no p_server_id). An owner of the server; '
  'of a task its operators, who only make it smaller; of the deployment service_role and postgres. Errors: '
  'UH001, UH004, UH006, 42501.';
revoke all on function public.hub_set_budget from public, anon, authenticated, service_role;
grant execute on function public.hub_set_budget, hub_internal.set_budget to authenticated, service_role;

create function public.hub_remove_budget(p_id bigint)
  returns public.hub_budgets
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.remove_budget(p_id); end $$;
comment on function public.hub_remove_budget is
  'Takes a budget away: what it held back goes on. An owner of its server; of the deployment service_role '
  'and postgres. Errors: UH004, 42501.';
revoke all on function public.hub_remove_budget from public, anon, authenticated, service_role;
grant execute on function public.hub_remove_budget, hub_internal.remove_budget to authenticated, service_role;

create function public.hub_share_state()
  returns table (server_id uuid, server_name text, project text, weight numeric, used_seconds numeric,
                 stands_back_seconds numeric)
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.share_overview(now()); end $$;
comment on function public.hub_share_state is
  'Weights of servers that the caller operates and of their projects, how long agents worked for each lately '
  '(the older, the less it counts), and how far its tasks stand back for others. Errors: 42501.';
revoke all on function public.hub_share_state from public, anon, authenticated, service_role;
grant execute on function public.hub_share_state, hub_internal.share_overview to authenticated, service_role;

create function public.hub_set_share(
  p_server_id uuid, p_project text default null, p_weight numeric default null)
  returns public.hub_shares
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.set_share(p_server_id, p_project, p_weight); end $$;
comment on function public.hub_set_share is
  'What a project (its path or name) weighs among those of its server, 0.1 to 100; a null weight takes that '
  'away. An owner of the server; without a project it is the server among servers, by service_role and '
  'postgres. Errors: UH001, UH004, UH006, 42501.';
revoke all on function public.hub_set_share from public, anon, authenticated, service_role;
grant execute on function public.hub_set_share, hub_internal.set_share to authenticated, service_role;

create function public.hub_set_fallbacks(
  p_server_id uuid default null, p_model text default null, p_fallbacks text[] default null)
  returns setof public.hub_model_fallbacks
  language plpgsql volatile set search_path = ''
as $$ begin return query select * from hub_internal.set_fallbacks(p_server_id, p_model, p_fallbacks); end $$;
comment on function public.hub_set_fallbacks is
  'Which models run tasks of p_model while it is at its limit, in this order; none: the shipped ones hold '
  'again. An owner of the server; without a server these are the shipped ones, by service_role and postgres. '
  'Errors: UH001, UH004, UH006, 42501.';
revoke all on function public.hub_set_fallbacks from public, anon, authenticated, service_role;
grant execute on function public.hub_set_fallbacks, hub_internal.set_fallbacks to authenticated, service_role;
