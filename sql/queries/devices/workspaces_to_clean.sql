-- Worktrees of device $1 whose work is over.
select to_jsonb(w) as "row!: Json<WorkspaceToClean>"
  from public.hub_workspaces_to_clean($1) as w
