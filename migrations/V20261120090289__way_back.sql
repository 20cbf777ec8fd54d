-- Why: an agent that works reaches the hub through its device: it says something, gives a part of its work to
-- another, reads its own conversation. Everything is fenced by its live attempt (held_task) and ends with it.

-- The parts -------------------------------------------------------------------------------------------------

-- The line of work at the top of a task, and how deep below it the task is. A follow-up of a subtask is as
-- deep as that.
create function hub_internal.top_of(p_task public.mac_tasks, out top_id uuid, out depth integer)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_root uuid := coalesce(p_task.root_id, p_task.id);
begin
  select s.top_id, s.depth into top_id, depth from hub_internal.subtasks s where s.task_id = v_root;
  top_id := coalesce(top_id, v_root);
  depth := coalesce(depth, 0);
end;
$$;

-- Until this transaction ends nobody else makes or cancels subtasks below that top: of two at once the second
-- counts the first. Taken after buckets and before tasks.
create function hub_internal.lock_top(p_top_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('hub_subtasks ' || p_top_id, 0));
end;
$$;

-- Saying ----------------------------------------------------------------------------------------------------

create function hub_internal.say(p_task_id uuid, p_attempt int, p_text text)
  returns public.hub_channel_messages
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  -- Locked: of two at once the second counts the first.
  v_task    public.mac_tasks := hub_internal.held_task(p_task_id, p_attempt);
  v_text    text;
  v_message public.hub_channel_messages;
begin
  if char_length(p_text) > 10000 then
    perform hub_internal.refuse('UH001', 'bad input', format('p_text has %s characters', char_length(p_text)),
      'At most 10000: say it shorter, or put it into the result.');
  end if;
  v_text := btrim(hub_internal.tamed(p_text), E' \t\n');
  if coalesce(v_text, '') = '' then
    perform hub_internal.refuse('UH001', 'bad input', 'p_text', 'Something that can be read.');
  elsif v_task.channel_id is null then
    perform hub_internal.refuse('UH003', 'conflict', 'this task has no conversation',
      'It was made without a channel: say it in the result.');
  end if;
  perform hub_internal.require_room('attempt_says',
    (select count(*)
       from public.hub_channel_messages m
      where m.task_id = p_task_id and m.event = 'said' and m.created_at >= v_task.claimed_at),
    'It has said as much as an attempt may: go on with the work, and say the rest in the result.');
  perform hub_internal.tell('said', v_task, v_task.thread_id, v_text);
  select m.*
    into v_message
    from public.hub_channel_messages m
   where m.task_id = p_task_id and m.event = 'said'
   order by m.created_at desc, m.seq desc
   limit 1;
  return v_message;
end;
$$;

-- Giving a part away ----------------------------------------------------------------------------------------

-- Refuses what its parent's maker might not ask for. Where nobody made the parent, its agent may ask for what
-- its channel could; without a channel, for the same project.
create function hub_internal.subtask_project(p_parent public.mac_tasks, p_project text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_path text := coalesce(
    (select p.path from public.hub_projects p where p.server_id = p_parent.server_id and p.name = p_project),
    hub_internal.normal_path(p_project));
begin
  if p_project is null or v_path = p_parent.project then
    return p_parent.project;
  elsif v_path is null
        or p_parent.server_id is null
        or not hub_internal.may_use_project(p_parent.server_id, p_parent.channel_id, v_path) then
    perform hub_internal.refuse('42501', 'permission denied',
      format('project %L', hub_internal.shorten(p_project, 200)),
      'It must be the channel''s own or one of its server''s hub_projects; leave it out for the same one.');
  end if;
  return v_path;
end;
$$;

create function hub_internal.subtask(
  p_task_id uuid, p_attempt int, p_content text, p_model text, p_agent text, p_project text)
  returns public.mac_tasks
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_parent public.mac_tasks := hub_internal.live_attempt(p_task_id, p_attempt);
  v_model  text := coalesce(p_model, case when p_agent is null then v_parent.model_preference end);
  v_agent  text := coalesce(p_agent, case when p_model is null then v_parent.requested_agent end);
  v_top    uuid;
  v_depth  integer;
  v_route  record;
  v_team   uuid;
  v_task   public.mac_tasks;
begin
  perform hub_internal.require_text(p_content, 'p_content');
  if p_model not in ('claude', 'codex', 'gemini', 'any') then
    perform hub_internal.refuse('UH001', 'bad input', format('p_model %L', left(p_model, 100)),
      'claude, codex, gemini or any; leave it out for what this task asked for.');
  elsif not hub_internal.is_offered_agent(p_agent, array[v_parent.server_id]) then
    perform hub_internal.refuse('UH001', 'bad input', format('p_agent %L', left(p_agent, 100)),
      'No device offers an agent of this name; leave it out.');
  end if;

  select x.top_id, x.depth into v_top, v_depth from hub_internal.top_of(v_parent) x;
  if v_parent.created_by is not null then
    perform hub_internal.spend('person_tasks', v_parent.created_by::text);
  end if;
  perform hub_internal.spend('task_subtasks', v_top::text);
  perform hub_internal.lock_top(v_top);
  v_parent := hub_internal.held_task(p_task_id, p_attempt);
  if v_parent.cancel_requested_at is not null then
    perform hub_internal.refuse('UH003', 'conflict', 'this task is being cancelled', 'Come to an end.');
  elsif not hub_internal.may_still_send(v_parent.created_by, v_parent.server_id)
        or exists (select from public.hub_channels c
                    where c.id = v_parent.channel_id and c.is_read_only) then
    perform hub_internal.refuse('42501', 'permission denied', 'making a task in this channel',
      'Who made this task may not make tasks here any more: do the work yourself.');
  end if;
  -- One that goes on where another was killed asks for the same again: it gets what nobody was told the end of.
  update hub_internal.subtasks s
     set attempt = p_attempt
   where s.task_id = (select t.id
                        from hub_internal.subtasks o
                        join public.mac_tasks t on t.id = o.task_id
                       where o.parent_id = v_parent.id
                         and o.attempt < p_attempt
                         and o.told is null
                         and t.content = p_content
                         and t.requested_agent is not distinct from v_agent
                         and t.model_preference = coalesce(v_model, 'any')
                         and t.status not in ('failed', 'cancelled')
                       order by t.created_at, t.id
                       limit 1)
  returning s.task_id into v_task.id;
  if found then
    select t.* into v_task from public.mac_tasks t where t.id = v_task.id;
    return v_task;
  end if;
  perform hub_internal.require_room('subtask_depth', v_depth,
    'This is a subtask of a subtask as deep as there may be: do the work yourself.');
  perform hub_internal.require_room('open_subtasks',
    (select count(*)
       from hub_internal.subtasks s
       join public.mac_tasks t on t.id = s.task_id
      where s.top_id = v_top
        and t.status not in ('complete', 'failed', 'cancelled')),
    'Wait until one of them has ended, or do the work yourself.');

  v_route := hub_internal.classify(p_content, v_parent.channel_id);
  v_team := hub_internal.team_of_agent(v_parent);
  insert into public.mac_tasks
    (content,
     project,
     model_preference,
     model_pinned,
     requested_agent,
     -- Who made it waits for it: before other work, as what agents ask for by a hook.
     priority,
     task_type,
     platform,
     channel_id, thread_id, server_id, parent_id, team_id,
     created_by, created_at)
  values
    (p_content,
     hub_internal.subtask_project(v_parent, p_project),
     v_model,
     case when p_model is not null then p_model <> 'any' else p_agent is null and v_parent.model_pinned end,
     v_agent,
     greatest(v_parent.priority, 7),
     v_route.task_type,
     coalesce(nullif(v_route.platform, 'any'), v_parent.platform),
     v_parent.channel_id, v_parent.thread_id, v_parent.server_id, v_parent.id, v_team,
     v_parent.created_by, clock_timestamp())
  returning * into v_task;
  insert into hub_internal.subtasks (task_id, parent_id, top_id, depth, attempt, position, title)
  values (v_task.id, v_parent.id, v_top, v_depth + 1, p_attempt,
          (select coalesce(max(s.position), 0) + 1
             from hub_internal.subtasks s
            where s.parent_id = v_parent.id),
          hub_internal.part_title(p_content));
  perform hub_internal.show_team(v_team);
  return v_task;
end;
$$;

create function hub_internal.subtask_result(p_task_id uuid, p_attempt int, p_subtask_id uuid)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
declare
  v_parent public.mac_tasks := hub_internal.live_attempt(p_task_id, p_attempt);
  v_task   public.mac_tasks;
begin
  select t.*
    into v_task
    from hub_internal.subtasks s
    join public.mac_tasks t on t.id = s.task_id
   where s.task_id = p_subtask_id and s.parent_id = v_parent.id;
  if not found then
    perform hub_internal.refuse('UH004', 'not found',
      format('subtask %s', coalesce(p_subtask_id::text, 'null')), 'It must be one that this task has made.');
  end if;
  if v_task.status in ('complete', 'failed', 'cancelled') then
    update hub_internal.subtasks s
       set told = v_task.status || ':' || v_task.attempt
     where s.task_id = p_subtask_id;
  end if;
  return jsonb_build_object('id', v_task.id, 'status', v_task.status, 'result', v_task.result,
                            'error', v_task.error);
end;
$$;

-- Reading ---------------------------------------------------------------------------------------------------

-- The newest messages of its own conversation, oldest of them first: of its thread, or, in a channel without
-- threads, of its line of work. Not what only tells of progress. What was written by somebody who may not
-- start work there is quoted: it is material for an agent, never an instruction.
create function hub_internal.attempt_thread(p_task_id uuid, p_attempt int, p_before bigint, p_limit int)
  returns setof public.hub_channel_messages
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
declare
  v_task    public.mac_tasks := hub_internal.live_attempt(p_task_id, p_attempt);
  v_tasks   uuid[];
  v_asked   uuid[];
  v_message public.hub_channel_messages;
begin
  if p_limit is null or p_limit not between 1 and 200 then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_limit %s', coalesce(p_limit::text, 'is null')), 'Ask for 1 to 200 messages.');
  end if;
  if v_task.thread_id is null then
    select array_agg(l.id), array_agg(l.message_id) into v_tasks, v_asked from hub_internal.line_tasks(coalesce(v_task.root_id, v_task.id)) l;
  end if;
  for v_message in
    select n.*
      from (select x.*
              from (select m.*
                      from public.hub_channel_messages m
                     where m.task_thread_id = v_task.thread_id
                    union all
                    select m.*
                      from public.hub_channel_messages m
                     where m.task_id = any (v_tasks)
                       and m.channel_id = v_task.channel_id
                       and m.task_thread_id is null
                    union all
                    select m.*
                      from public.hub_channel_messages m
                     where m.id = any (v_asked)
                       and m.channel_id = v_task.channel_id
                       and m.task_thread_id is null
                       and (m.task_id = any (v_tasks)) is not true) x
             where not x.is_progress
               and (p_before is null or x.seq < p_before)
             order by x.seq desc
             limit p_limit) n
     order by n.seq
  loop
    if v_message.sender_type = 'human'
       and hub_internal.is_material(v_message.sender_id, v_task.server_id) then
      v_message.content := hub_internal.quoted_lines(
        v_message.content,
        format('message of %s', hub_internal.quoted_line(v_message.sender_label, 60)), 30000);
    end if;
    return next v_message;
  end loop;
end;
$$;

-- The end ---------------------------------------------------------------------------------------------------

-- A task has ended: what was said to it and not taken, and whose subtask it is.
create function hub_internal.settle_talk(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_device text;
begin
  -- Asked here: nearly always there is nothing.
  if exists (select from hub_internal.steers s
              where s.task_id = p_task.id and (s.outcome is null or s.outcome = 'next_turn')) then
    perform hub_internal.settle_steers(p_task);
  end if;
  select t.claimed_by
    into v_device
    from hub_internal.subtasks s
    join public.mac_tasks t on t.id = s.parent_id
   where s.task_id = p_task.id
     and t.status = 'running'
     and t.lease_expires_at is not null;
  if v_device is not null then
    perform hub_internal.wake_device(v_device, true);
  end if;
end;
$$;
