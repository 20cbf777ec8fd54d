-- Why: which folders machines hold for lines of work, as they report it, and which of them are to go. Whether
-- work is safe is for the machine to see, by git.

create function hub_internal.report_workspace(
  p_task_id uuid, p_attempt int, p_workspace jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  security definer                                -- devices hold no write grant on hub_workspaces
  set search_path = ''
as $$
declare
  v_task   public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_root   uuid := coalesce(v_task.root_id, v_task.id);
  v_name   text := left(coalesce(v_task.root_id, v_task.id)::text, 8);
  v_kind   text := p_workspace ->> 'kind';
  v_before text;
begin
  perform hub_internal.require_present(p_now);
  if jsonb_typeof(p_workspace) is distinct from 'object'
     or (v_kind in ('git', 'in_place')) is not true
     or p_workspace ->> 'base' !~ '^[0-9a-f]{40,64}$'
     or p_workspace ->> 'head' !~ '^[0-9a-f]{40,64}$'
     or p_workspace ->> 'size_bytes' !~ '^[0-9]{1,18}$'
     or jsonb_typeof(p_workspace -> 'pushed') not in ('boolean', 'null')
     or jsonb_typeof(p_workspace -> 'bundled') not in ('boolean', 'null')
     or not hub_internal.is_link(p_workspace ->> 'pull_request') then
    perform hub_internal.refuse('UH001', 'bad input', 'p_workspace',
      'p_workspace = {kind: "git" or "in_place", base, head, size_bytes, pushed, pull_request, bundled}, all but '
      'kind optional; base and head are commits.');
  end if;
  select w.kind into v_before
    from public.hub_workspaces w
   where w.root_id = v_root
     and w.device = v_task.claimed_by;
  insert into public.hub_workspaces as w
    (root_id, device, server_id, thread_id, project, name, branch, kind,
     base, head, size_bytes,
     pushed_head,
     pull_request, bundled, created_at, updated_at)
  values
    (v_root, v_task.claimed_by, v_task.server_id, v_task.thread_id, v_task.project, v_name, 'hub/' || v_name,
     v_kind,
     p_workspace ->> 'base', p_workspace ->> 'head', (p_workspace ->> 'size_bytes')::bigint,
     case when p_workspace -> 'pushed' = 'true' then p_workspace ->> 'head' end,
     p_workspace ->> 'pull_request', coalesce((p_workspace ->> 'bundled')::boolean, false), p_now, p_now)
  on conflict (root_id, device) do update
    set server_id = excluded.server_id,
        thread_id = excluded.thread_id,
        project = excluded.project,
        kind = excluded.kind,
        base = coalesce(excluded.base, w.base),
        head = coalesce(excluded.head, w.head),
        size_bytes = coalesce(excluded.size_bytes, w.size_bytes),
        pushed_head = coalesce(excluded.pushed_head, w.pushed_head),
        pull_request = coalesce(excluded.pull_request, w.pull_request),
        bundled = excluded.bundled,
        state = 'ready',
        removed_at = null,
        updated_at = p_now;
  -- What the machine found when it looked closely holds for the claims to come.
  if v_task.project is not null then
    update hub_internal.device_projects d
       set kind = case v_kind when 'git' then 'git' else 'plain' end
     where d.device = v_task.claimed_by
       and d.project = v_task.project
       and d.kind is distinct from case v_kind when 'git' then 'git' else 'plain' end;
  end if;
  if v_kind = 'in_place' and v_before is distinct from 'in_place' and v_task.channel_id is not null then
    perform hub_internal.tell('workspace', v_task, v_task.thread_id,
                              p_reason => 'works in place, one task at a time');
  end if;
end;
$$;

-- What a receipt says of the branch. The caller holds the task.
create function hub_internal.note_receipt(p_task public.mac_tasks, p_receipt jsonb, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  update public.hub_workspaces w
     set head = coalesce(p_receipt ->> 'commit', w.head),
         pushed_head = case when p_receipt -> 'pushed' = 'true'
                            then coalesce(p_receipt ->> 'commit', w.pushed_head) else w.pushed_head end,
         pull_request = coalesce(p_receipt ->> 'pull_request', w.pull_request),
         size_bytes = coalesce((p_receipt ->> 'size_bytes')::bigint, w.size_bytes),
         updated_at = p_now
   where w.root_id = coalesce(p_task.root_id, p_task.id)
     and w.device = p_task.claimed_by;
end;
$$;

-- Worktrees of a device that nobody works in any more: the thread of the line is archived or, where there is
-- none, its last task ended long enough ago.
create function hub_internal.workspaces_to_clean(p_device text, p_now timestamptz)
  returns table (root uuid, name text, branch text, project text, merged boolean)
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.acting_device(p_device);
  return query
    select w.root_id, w.name, w.branch, w.project, w.merged_at is not null
      from public.hub_workspaces w
      left join public.hub_task_threads h on h.id = w.thread_id
     where w.device = p_device
       and w.state = 'ready'
       and w.kind = 'git'
       and case when h.id is not null then h.status = 'archived'
                else w.updated_at <= p_now - hub_internal.setting('workspace_retention')
                     and not exists (
                       select from hub_internal.line_tasks(w.root_id) t
                        where t.finished_at > p_now - hub_internal.setting('workspace_retention')) end
       and not exists (select from hub_internal.line_tasks(w.root_id) t
                        where t.status in ('pending', 'running', 'waiting', 'blocked'))
     order by w.updated_at
     limit 100;
end;
$$;

create function hub_internal.workspace_removed(
  p_device text, p_root uuid, p_bundled boolean, p_now timestamptz)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
begin
  perform hub_internal.require_present(p_now);
  perform hub_internal.require_given(p_bundled, 'p_bundled');
  perform hub_internal.acting_device(p_device);
  update public.hub_workspaces w
     set state = 'removed',
         bundled = p_bundled,
         removed_at = p_now,
         updated_at = p_now
   where w.root_id = p_root
     and w.device = p_device
     and w.state = 'ready';
end;
$$;

-- A pull request that was merged, by GitHub's word: its worktree need not be kept for it. Who knows a secret can
-- sign any name of a repository, so it counts for servers that a place ties to it.
create function hub_internal.note_merged(p_delivery public.hub_webhook_deliveries)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_payload    jsonb := p_delivery.payload;
  v_repository text := v_payload #>> '{repository,full_name}';
begin
  if v_payload ->> 'action' is distinct from 'closed'
     or v_payload #>> '{pull_request,merged}' is distinct from 'true'
     or (v_payload #>> '{pull_request,head,ref}' like 'hub/%') is not true then
    return;
  end if;
  update public.hub_workspaces w
     set merged_at = now()
   where w.branch = v_payload #>> '{pull_request,head,ref}'
     and w.merged_at is null
     and exists (select from public.hub_projects p
                  where p.server_id = w.server_id
                    and p.path = w.project
                    and lower(p.repository) = lower(v_repository))
     and hub_internal.may_reach(w.server_id, 'github', v_repository, p_delivery.secret_name);
end;
$$;

-- A line that nobody went on with for long, and whose folder is gone or is nobody's: what is known of it goes. Who
-- goes on with it after that begins anew.
create function hub_internal.reap_lines(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_before timestamptz := p_now - hub_internal.setting('line_retention');
  v_done   integer;
  v_count  integer;
begin
  delete from public.hub_sessions s
   where s.id in (select x.id
                    from public.hub_sessions x
                   where x.used_at < v_before
                     and not exists (select from hub_internal.line_tasks(x.root_id) t
                                      where t.status not in ('complete', 'failed', 'cancelled'))
                   order by x.used_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_done = row_count;
  delete from public.hub_workspaces w
   where (w.root_id, w.device) in (
           select x.root_id, x.device
             from public.hub_workspaces x
            where x.updated_at < v_before
              and (x.state = 'removed'
                   or x.kind = 'in_place'
                   or not exists (select from public.mesh_devices d
                                   where d.name = x.device and d.revoked_at is null))
              and not exists (select from hub_internal.line_tasks(x.root_id) t
                               where t.status not in ('complete', 'failed', 'cancelled'))
            order by x.updated_at
            limit p_limit - v_done
              for update skip locked);
  get diagnostics v_count = row_count;
  return v_done + v_count;
end;
$$;
insert into public.hub_errands (name, about, function, position, counts) values
  ('lines', 'sessions and folders of work that nobody went on with for long go',
   'hub_internal.reap_lines', 818, false);
