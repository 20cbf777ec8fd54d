-- Why: the contract of work that waits for other work. As in …api, each runs as its caller and hands over to the
-- function of hub_internal that has the body.

create function public.hub_need_task(p_task_id uuid, p_needs uuid, p_on_failure text default 'fail')
  returns public.hub_task_needs
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.need_task(p_task_id, p_needs, p_on_failure); end $$;
comment on function public.hub_need_task is
  'Has a task that does not run wait until another of its server has ended; where that fails or is cancelled '
  'it fails, too, or goes on all the same (p_on_failure: fail or continue). Said again it changes that. '
  'Errors: UH001, UH003 another state, another server, a cycle, or one that has failed already, UH004, UH006 '
  'it needs too many, 42501.';
revoke all on function public.hub_need_task from public, anon, authenticated, service_role;
grant execute on function public.hub_need_task, hub_internal.need_task to authenticated, service_role;
