-- Why: the contract, where a line of work is done: what a device asks for and reports. Bodies are …beginning and
-- …workspaces.

-- Returned: {prompt, session: null or {id, tokens_in, tokens_out, tokens_cached, cost_usd}: what it used so far,
-- root, name, branch, start: the commit to begin at where this device lacks the worktree, base: the project's
-- branch, null for what its folder has checked out, project: null or {setup, setup_inputs, verify,
-- verify_seconds, verify_rounds, push, pull_request, repository, secret_name}, answers: [{ask, ref, kind, title,
-- tool, digest, answer, text, by, state}], ask_hold_seconds}.
create function public.hub_begin_attempt(p_task_id uuid, p_attempt int)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.begin_attempt(p_task_id, p_attempt, now()); end $$;
comment on function public.hub_begin_attempt is
  'What the live attempt is to be done with: the words for the agent, its session, branch and project. Asked '
  'again it gives the same. Errors: UH002 lease lost, UH005, 42501.';
revoke all on function public.hub_begin_attempt from public, anon, authenticated, service_role;
grant execute on function public.hub_begin_attempt, hub_internal.begin_attempt to authenticated, service_role;

create function public.hub_report_workspace(p_task_id uuid, p_attempt int, p_workspace jsonb)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.report_workspace(p_task_id, p_attempt, p_workspace, now()); end $$;
comment on function public.hub_report_workspace is
  'Says where the live attempt works: p_workspace = {kind: git or in_place, base, head, size_bytes, pushed, '
  'pull_request, bundled}. Errors: UH001, UH002 lease lost, UH005, 42501.';
revoke all on function public.hub_report_workspace from public, anon, authenticated, service_role;
grant execute on function public.hub_report_workspace, hub_internal.report_workspace
  to authenticated, service_role;

create function public.hub_workspaces_to_clean(p_device text)
  returns table (root uuid, name text, branch text, project text, merged boolean)
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.workspaces_to_clean(p_device, now()); end $$;
comment on function public.hub_workspaces_to_clean is
  'Worktrees of a device whose work is over: it removes those whose commits are safe, or bundles them first. '
  'merged: GitHub says so of the pull request. At most 100. Errors: UH001, UH005, 42501.';
revoke all on function public.hub_workspaces_to_clean from public, anon, authenticated, service_role;
grant execute on function public.hub_workspaces_to_clean, hub_internal.workspaces_to_clean
  to authenticated, service_role;

create function public.hub_workspace_removed(p_device text, p_root uuid, p_bundled boolean)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.workspace_removed(p_device, p_root, p_bundled, now()); end $$;
comment on function public.hub_workspace_removed is
  'Says that a device has removed a worktree; p_bundled: with commits that are only in a bundle there. '
  'Errors: UH001, UH005, 42501.';
revoke all on function public.hub_workspace_removed from public, anon, authenticated, service_role;
grant execute on function public.hub_workspace_removed, hub_internal.workspace_removed
  to authenticated, service_role;
