-- Why: what any writer, old executors included, may and may not do to a task's row, and what follows from it.

-- What a row must be ----------------------------------------------------------------------------------------

-- What CHECK constraints would say. Postgres reads a constraint's expression anew from its text for every
-- statement that writes the table: on the tables of a task's life that was a fifth of all the time. The
-- triggers are called anyway. (The one of hub_channels is not even called when a message is counted.)
create function hub_internal.check_task(p_task public.mac_tasks)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if p_task.content is null or btrim(p_task.content) = '' or char_length(p_task.content) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'content',
      'A task needs a content of 1 to 100,000 characters.');
  elsif p_task.status not in ('pending', 'running', 'waiting', 'blocked', 'complete', 'failed',
                              'cancelled') then
    perform hub_internal.refuse('23514', 'bad input', format('status %L', p_task.status),
      'pending, running, waiting, blocked, complete, failed or cancelled.');
  elsif p_task.model_preference not in ('claude', 'gemini', 'codex', 'any') then
    perform hub_internal.refuse('23514', 'bad input', format('model_preference %L', p_task.model_preference),
      'claude, gemini, codex or any.');
  elsif p_task.task_type not in ('code', 'fix', 'test', 'review', 'research', 'docs', 'ops', 'plan', 'data',
                                 'design', 'other') then
    perform hub_internal.refuse('23514', 'bad input', format('task_type %L', p_task.task_type),
      'code, fix, test, review, research, docs, ops, plan, data, design or other.');
  elsif p_task.platform not in ('any', 'macos', 'linux', 'windows') then
    perform hub_internal.refuse('23514', 'bad input', format('platform %L', p_task.platform),
      'any, macos, linux or windows.');
  elsif p_task.priority not between 0 and 9 then
    perform hub_internal.refuse('23514', 'bad input', format('priority %s', p_task.priority),
      '0 to 9; 9 is most urgent.');
  elsif not isfinite(p_task.run_after) or not isfinite(p_task.created_at) then
    perform hub_internal.refuse('23514', 'bad input', 'run_after or created_at', 'A moment, not infinity.');
  elsif p_task.requested_agent !~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' then
    perform hub_internal.refuse('UH001', 'bad input', 'agent',
      'The name of an agent: 1 to 63 letters, digits, dots, dashes and underscores.');
  elsif p_task.max_attempts not between 1 and 100 + greatest(p_task.attempt, 0) then
    -- More than those it had: an attempt that costs none adds one.
    perform hub_internal.refuse('23514', 'bad input', format('max_attempts %s', p_task.max_attempts),
      '1 to 100.');
  elsif char_length(p_task.model) > 200 then
    perform hub_internal.refuse('UH001', 'bad input', 'model',
      'The name of a model has at most 200 characters.');
  elsif char_length(p_task.idempotency_key) not between 1 and 200 then
    perform hub_internal.refuse('UH001', 'bad input', 'idempotency_key', 'A key has 1 to 200 characters.');
  elsif p_task.metadata is not null
        and (not hub_internal.is_flat_map(p_task.metadata) or char_length(p_task.metadata::text) > 16000) then
    perform hub_internal.refuse('23514', 'bad input', 'metadata',
      'A flat object of strings of at most 16,000 characters in all, or nothing.');
  end if;
end;
$$;

create function hub_internal.guard_task_insert()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_architecture text;
begin
  new.model_preference := coalesce(new.model_preference, 'any');
  new.task_type    := coalesce(new.task_type, 'other');
  new.platform     := coalesce(new.platform, 'any');
  new.priority     := coalesce(new.priority, 5);
  new.max_attempts := coalesce(new.max_attempts, 3);
  new.attempt      := coalesce(new.attempt, 0);
  new.status       := coalesce(new.status, 'pending');
  new.created_at   := coalesce(new.created_at, now());
  new.updated_at   := coalesce(new.updated_at, now());
  new.model        := coalesce(new.model, nullif(new.model_preference, 'any'));
  -- Of a row with a session, agent is whose session that is: nobody asked for it.
  if new.session_id is null or new.session_device is null then
    new.requested_agent := coalesce(new.requested_agent, new.agent);
  end if;
  perform hub_internal.check_task(new);

  if new.channel_id is not null then
    select s.id, s.architecture_type
      into new.server_id, v_architecture
      from public.hub_channels c
      join public.hub_servers s on s.id = c.server_id
     where c.id = new.channel_id;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('channel %s', new.channel_id),
        'Check channel_id.');
    end if;
    if v_architecture = 'command_dispatch' then
      perform hub_internal.refuse('UH003', 'conflict', 'this channel answers commands and has no tasks',
        'Use hub_execute_command, or another channel.');
    end if;
    new.project := hub_internal.task_project(new.server_id, new.channel_id, new.project);
  else
    select b.server_id, b.project
      into new.server_id, new.project
      -- Nobody's, from a caller who is not trusted: made inside (a subtask of such a task). A person's own
      -- insert has a maker.
      from hub_internal.bind_task(new.server_id, new.project, new.created_by,
                                  hub_internal.is_trusted() or new.created_by is null) b;
  end if;

  if new.status in ('pending', 'blocked', 'waiting') then
    new.queue_key := hub_internal.queue_key(new.created_at, new.priority);
    new.lane := hub_internal.lane_of(new, not hub_internal.is_trusted());
  end if;
  return new;
end;
$$;

create function hub_internal.guard_task_update()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  new.updated_at := now();
  if new.status = 'waiting' and old.status = 'running' then
    new := hub_internal.parked(old, new);
  end if;
  -- Whatever was changed of a pending row: a claim passes over a row that somebody holds at that moment, so
  -- whoever lets go of one that is still claimable says so. (hub_create_task_thread right after an insert:
  -- without this the task waits for the slow poll.)
  if new.status = 'pending' then
    perform pg_notify('hub_tasks', '');
  end if;
  if (new.content, new.model_preference, new.task_type, new.platform, new.priority, new.max_attempts,
      new.metadata)
     is distinct from
     (old.content, old.model_preference, old.task_type, old.platform, old.priority, old.max_attempts,
      old.metadata) then
    perform hub_internal.check_task(new);
  end if;
  if new.channel_id is distinct from old.channel_id and new.channel_id is not null then
    -- It belongs to that server now, and works in a folder of it; what runs goes on where it runs.
    select c.server_id into new.server_id from public.hub_channels c where c.id = new.channel_id;
    if new.status <> 'running'
       and new.server_id is distinct from old.server_id
       and not hub_internal.may_use_project(new.server_id, new.channel_id, new.project) then
      new.project := hub_internal.task_project(new.server_id, new.channel_id, null);
    end if;
  end if;
  if new.status is distinct from old.status then
    if new.status = 'complete' and new.team_id is not null then
      new := hub_internal.with_pull_requests(hub_internal.planned(new));
    end if;
    if not (case old.status
              when 'pending'   then new.status in ('running', 'complete', 'failed', 'cancelled', 'blocked')
                                    -- Its budget is met, and people were asked for more.
                                    or new.status = 'waiting' and hub_internal.asks_for_budget(new.id)
              when 'running'   then new.status in ('complete', 'failed', 'cancelled', 'pending', 'waiting')
              when 'waiting'   then new.status in ('pending', 'cancelled')
              when 'blocked'   then new.status in ('pending', 'failed', 'cancelled')
                                    or (new.status = 'complete' and hub_internal.is_joined(new.id))
              -- hub_retry_task is the one that clears finished_at
              when 'failed'    then new.status in ('pending', 'blocked') and new.finished_at is null
              when 'cancelled' then new.status in ('pending', 'blocked') and new.finished_at is null
              else false
            end) then
      perform hub_internal.refuse('UH003', 'conflict',
        format('task %s can not go from %s to %s', old.id, old.status, new.status),
        'complete is final; a failed or cancelled task starts again with hub_retry_task.');
    end if;
    if old.status = 'waiting' and new.status = 'pending' and hub_internal.has_open_needs(new.id) then
      new.status := 'blocked';
    end if;

    if new.status in ('complete', 'failed', 'cancelled') then
      new.finished_at := coalesce(new.finished_at, now());
      new.lease_expires_at := null;
      -- What joins the results of others did no work of its own.
      if new.status = 'complete' and old.status <> 'blocked' then
        perform hub_internal.require_proof(new);
      end if;
    elsif new.status = 'running' then
      -- hub_claim_tasks counts the attempt and writes its record itself, for a whole batch at once.
      if new.attempt = old.attempt then
        new.attempt := old.attempt + 1;
        new.claimed_at := now();
        new.progress_count := 0;
        new.quiet := false;
        new.lease_expires_at := null;
        insert into public.hub_task_attempts (task_id, attempt, device, agent)
        values (new.id, new.attempt, new.claimed_by, new.agent)
        on conflict do nothing;
      end if;
    elsif new.status in ('pending', 'blocked') then
      new.lease_expires_at := null;
      new.claimed_by := null;
      new.agent := hub_internal.wanted_agent(new);
      -- What another model stood in for is for its own again.
      if new.model is distinct from nullif(new.model_preference, 'any') then
        new.model := coalesce((select a.fallback_from
                                 from public.hub_task_attempts a
                                where a.task_id = new.id and a.attempt = new.attempt), new.model);
      end if;
      new.lane := hub_internal.lane_of(new);
      new.queue_key := coalesce(new.queue_key, hub_internal.queue_key(new.created_at, new.priority));
    end if;

    -- An executor of the older kind ends its attempt by this update alone.
    if old.status = 'running' and new.status <> 'running' then
      update public.hub_task_attempts a
         set finished_at = now(),
             error = new.error,
             outcome = case when new.status in ('complete', 'failed', 'cancelled') then new.status
                            else 'failed' end,
             reason = case when new.status in ('complete', 'failed', 'cancelled') then new.status
                           else 'failed' end
       where a.task_id = new.id
         and a.attempt = old.attempt
         and a.finished_at is null;
    end if;
  elsif new.status in ('pending', 'blocked')
        and (new.model_preference, new.model_pinned, new.platform, new.requested_agent, new.priority,
             new.server_id, new.project, new.requested_device, new.session_id, new.session_device,
             new.channel_id, new.created_by)
            is distinct from
            (old.model_preference, old.model_pinned, old.platform, old.requested_agent, old.priority,
             old.server_id, old.project, old.requested_device, old.session_id, old.session_device,
             old.channel_id, old.created_by) then
    new.agent := hub_internal.wanted_agent(new);
    new.queue_key := hub_internal.queue_key(new.created_at, new.priority);
    new.lane := hub_internal.lane_of(new);
  end if;
  return new;
end;
$$;

-- What a person may insert ----------------------------------------------------------------------------------

-- What a person gives to do is counted, whichever way it comes.
create function hub_internal.spend_task()
  returns void
  language plpgsql
  volatile
  security definer                                -- buckets are nobody's to write
  set search_path = ''
as $$
begin
  perform hub_internal.spend('person_tasks', hub_internal.person()::text);
end;
$$;
grant execute on function hub_internal.spend_task to authenticated;

-- A person's own INSERT into the queue (Aura's Dispatch tab). As for messages: whole structs are welcome,
-- lies are not.
create function hub_internal.queue_as_oneself()
  returns trigger
  language plpgsql
  set search_path = ''                            -- security invoker: it runs as the one who inserts
as $$
declare
  v_me      uuid;
  v_channel public.hub_channels;
begin
  if current_user <> 'authenticated' then
    return new;
  end if;
  v_me := hub_internal.person();
  if v_me is null or not exists (select hub_internal.my_operated_server_ids()) then
    perform hub_internal.refuse('42501', 'permission denied', 'making a task',
      'An operator or owner of a server makes tasks.');
  end if;
  if new.channel_id is not null then
    select c.* into v_channel from public.hub_channels c where c.id = new.channel_id;
    if not found then
      perform hub_internal.refuse('UH004', 'not found', format('channel %s', new.channel_id),
        'Check channel_id, and that you may read its server.');
    end if;
    if v_channel.server_id not in (select hub_internal.my_operated_server_ids()) then
      perform hub_internal.refuse('42501', 'permission denied', 'making a task in this channel',
        'An operator or owner of its server may.');
    end if;
    if v_channel.is_read_only then
      perform hub_internal.refuse('42501', 'permission denied', 'this channel is read only',
        'It is a feed; use another channel.');
    end if;
  elsif new.thread_id is not null then
    perform hub_internal.refuse('UH001', 'bad input', 'thread_id without channel_id',
      'Give both, or neither.');
  end if;
  if coalesce(new.requested_agent, new.agent) is not null
     and not hub_internal.is_known_agent(
           coalesce(new.requested_agent, new.agent),
           case when coalesce(v_channel.server_id, new.server_id) is not null
                  then array[coalesce(v_channel.server_id, new.server_id)]
                else array(select hub_internal.my_operated_server_ids()) end) then
    perform hub_internal.refuse('UH001', 'bad input',
      format('agent %L', left(coalesce(new.requested_agent, new.agent), 100)),
      'No device offers an agent of this name; leave it out, or see `hub devices` for those there are.');
  end if;
  if new.thread_id is not null
     and not exists (select from public.hub_task_threads t
                      where t.id = new.thread_id
                        and t.channel_id = new.channel_id) then
    perform hub_internal.refuse('UH004', 'not found', format('thread %s in that channel', new.thread_id),
      'Check thread_id.');
  end if;
  if new.message_id is not null
     and not exists (select from public.hub_channel_messages m
                      where m.id = new.message_id
                        and m.channel_id = new.channel_id) then
    perform hub_internal.refuse('UH004', 'not found', format('message %s in that channel', new.message_id),
      'Check message_id.');
  end if;
  if new.parent_id is not null
     and not exists (select from public.mac_tasks t where t.id = new.parent_id) then
    perform hub_internal.refuse('UH004', 'not found', format('task %s', new.parent_id), 'Check parent_id.');
  end if;
  if coalesce(new.status, 'pending') <> 'pending' then
    perform hub_internal.refuse('42501', 'permission denied', format('status %L', new.status),
      'A new task is pending; leave status out.');
  end if;
  if coalesce(new.created_by, v_me) <> v_me then
    perform hub_internal.refuse('42501', 'permission denied', 'created_by is somebody else',
      'Leave it out: it is taken from your token.');
  end if;
  if coalesce(new.claimed_by, new.partial_output, new.result, new.error) is not null then
    perform hub_internal.refuse('42501', 'permission denied', 'claimed_by, partial_output, result or error',
      'They are the executor''s to write: leave them out.');
  end if;
  perform hub_internal.spend_task();
  new.status := 'pending';
  new.created_by := v_me;
  new.attempt := 0;
  new.created_at := now();                        -- an earlier date would jump the queue
  new.updated_at := now();
  new.claimed_at := null;
  new.finished_at := null;
  new.lease_expires_at := null;
  new.cancel_requested_at := null;
  new.session_id := null;                         -- somebody's session is not picked by naming it
  new.session_device := null;
  new.team_id := null;
  return new;
end;
$$;

-- What ends, what wakes -------------------------------------------------------------------------------------

-- A server that goes takes its work with it: nothing of it is to run under nobody's name. Channel, thread and
-- message, which are deleted next, the task lets go of in this update, by itself: a row that this transaction
-- has written is checked against its message while that is already gone.
create function hub_internal.end_tasks_of_server()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  update public.mac_tasks t
     set status = case when t.status = 'running' then t.status else 'cancelled' end,
         cancel_requested_at = coalesce(t.cancel_requested_at, now()),
         error = 'its server was deleted',
         channel_id = null,
         thread_id = null,
         message_id = null
   where t.status in ('pending', 'blocked', 'waiting', 'running')
     and (t.channel_id in (select c.id from public.hub_channels c where c.server_id = old.id)
          or t.channel_id is null and t.server_id = old.id);
  return old;
end;
$$;
create trigger hub_servers_end_tasks
  before delete on public.hub_servers
  for each row execute function hub_internal.end_tasks_of_server();

-- Waking: NOTIFY that there are tasks to claim. The payload says nothing; Postgres folds equal ones of a
-- transaction into one. For updates guard_task_update does it.
create function hub_internal.wake_on_insert()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  if new.status = 'pending' then
    perform pg_notify('hub_tasks', '');
  end if;
  return null;
end;
$$;
