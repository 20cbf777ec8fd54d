-- How the budgets stand that the caller may see.
select to_jsonb(b) as "row!: Json<BudgetState>"
  from public.hub_budget_state() as b
