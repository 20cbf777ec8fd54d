-- Says that device $1 has removed the worktree of the line of work $2; $3: with commits that are only in a bundle there.
select public.hub_workspace_removed($1, $2, $3)
