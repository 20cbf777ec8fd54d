-- Why: one request that is several tasks. Its parts run side by side, each routed by itself, in a workspace
-- of its own; the list of them says how they are; when the last has ended the parent gathers what they did.

-- The request -----------------------------------------------------------------------------------------------

-- Whether a message asks for several tasks: it begins with !team (with --join, whose parts' results are
-- only joined; with --merge, whose branches are merged by who gathers), or the line before its list ends in a
-- colon and says in parallel, separately, as separate tasks, or as a team. Bullets alone are one task, and so
-- is a list of one; !team without a list has an agent plan the parts. Request: what the parent is to do,
-- without the word; null where the message is none of this.
create function hub_internal.team_of_message(
  p_text text, out source text, out gather text, out branches text, out request text, out parts text[])
  language plpgsql
  stable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_asked  boolean;
  v_flags  text;
  v_line   text;
  v_item   text;
  v_before text := '';
  v_open   boolean := false;
  v_fence  boolean := false;
begin
  -- Nearly always: it takes a word with ! or several lines.
  if position('!' in p_text) = 0 and position(E'\n' in p_text) = 0 then
    return;
  end if;
  v_asked := coalesce(p_text ~* '^\s*!team\M', false);
  if not v_asked
     and (p_text ~* '(in parallel|separately|as separate tasks|as a team)[^\n]*:\s*\n') is not true then
    return;
  end if;
  v_flags := lower(coalesce(substring(p_text from '(?i)^\s*!team((?:\s+--(?:join|merge)\M)*)'), ''));
  request := btrim(regexp_replace(p_text, '^\s*!team((?:\s+--(?:join|merge)\M)*)[\s:]*', '', 'i'),
                   E' \t\r\n');
  parts := '{}';
  foreach v_line in array string_to_array(replace(request, E'\r', ''), E'\n') loop
    v_item := case when not v_fence
                   then substring(v_line from '^\s{0,3}(?:[-*•]|\d{1,3}[.)])\s+(\S.*)$') end;
    if v_line ~ '^\s*```' then
      v_fence := not v_fence;
    end if;
    if v_item is not null then
      parts := parts || v_item;
      v_open := true;
    elsif v_open and (v_fence or v_line ~ '^(\s{2,}|\t)\S') then
      parts[cardinality(parts)] := parts[cardinality(parts)] || E'\n' || btrim(v_line);
    elsif btrim(v_line) <> '' then
      v_open := false;
      if parts = '{}' then
        v_before := v_line;
      end if;
    end if;
  end loop;
  if not v_asked
     and (cardinality(parts) < 2
          or v_before !~* '\m(in parallel|separately|as separate tasks|as a team)\M.*:\s*$') then
    request := null;
    parts := null;
    return;
  end if;
  if request = '' then
    request := null;
  elsif cardinality(parts) <> 1 then
    perform hub_internal.require_room('open_subtasks', cardinality(parts) - 1,
      'Make some of the parts one, or send them in several messages.');
    source := case when parts = '{}' then 'plan' else 'list' end;
    gather := case when v_flags like '%--join%' then 'join' else 'agent' end;
    branches := case when v_flags like '%--merge%' then 'merge' else 'each' end;
  end if;
end;
$$;

create function hub_internal.part_title(p_content text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(nullif(hub_internal.shorten(
           hub_internal.one_line(hub_internal.tamed(left(p_content, 2000))), 120), ''), '—');
end;
$$;

-- Making one ------------------------------------------------------------------------------------------------

-- The parent was made in this transaction, blocked.
create function hub_internal.make_team(
  p_parent public.mac_tasks, p_source text, p_gather text, p_branches text, p_parts text[])
  returns public.mac_tasks
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_team public.hub_teams;
begin
  insert into public.hub_teams (task_id, server_id, source, gather, branches)
  values (p_parent.id, p_parent.server_id, p_source, p_gather, p_branches)
  returning * into v_team;
  update public.mac_tasks t set team_id = v_team.id where t.id = p_parent.id returning t.* into p_parent;
  if p_source = 'plan' then
    perform hub_internal.add_planner(v_team, p_parent);
    return p_parent;
  end if;
  perform hub_internal.add_parts(
    v_team, p_parent,
    (select jsonb_agg(jsonb_build_object(
              'title', hub_internal.part_title(x.part),
              'agent', hub_internal.addressed_agent(x.part, p_parent.server_id),
              'content', x.part) order by x.n)
       from unnest(p_parts) with ordinality x (part, n)));
  return p_parent;
end;
$$;

-- The team of what an agent gives to others while it works.
create function hub_internal.team_of_agent(p_parent public.mac_tasks)
  returns uuid
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_team uuid := (select m.id from public.hub_teams m where m.task_id = p_parent.id);
begin
  if v_team is null then
    insert into public.hub_teams (task_id, server_id, source)
    values (p_parent.id, p_parent.server_id, 'agent')
    returning id into v_team;
    -- One that is a part itself stays in the team it is in.
    if p_parent.team_id is null then
      update public.mac_tasks t set team_id = v_team where t.id = p_parent.id;
    end if;
  end if;
  return v_team;
end;
$$;

-- Parts = [{content, title, model, agent, project, needs: [positions], on_failure}]. Each is routed by its
-- own words, and before other work, since its parent waits. The caller has looked at what may be asked for.
create function hub_internal.add_parts(p_team public.hub_teams, p_parent public.mac_tasks, p_parts jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_ids   uuid[] := array[]::uuid[];
  v_top   uuid;
  v_depth integer;
  v_route record;
  v_part  jsonb;
  v_count constant integer := jsonb_array_length(p_parts);
  v_whole constant text := hub_internal.shorten(p_parent.content, 4000);
begin
  select x.top_id, x.depth into v_top, v_depth from hub_internal.top_of(p_parent) x;
  for i in 1 .. v_count loop
    v_part := p_parts -> (i - 1);
    v_route := hub_internal.classify(v_part ->> 'content', p_parent.channel_id);
    v_ids := v_ids || gen_random_uuid();
    insert into public.mac_tasks
      (id,
       content,
       status,
       project,
       model_preference,
       model_pinned,
       requested_agent,
       priority,
       task_type,
       platform,
       channel_id, thread_id, server_id, parent_id, team_id,
       created_by, created_at)
    values
      (v_ids[i],
       hub_internal.shorten(
         concat(v_part ->> 'content',
                format(E'\n\n(This is part %s of %s of a request. Do this part alone: others do the others, ',
                       i, v_count),
                'and somebody gathers what all did. The whole of it, for you to know where it belongs:)',
                hub_internal.quoted_lines(v_whole, 'request', 4000)), 100000),
       case when jsonb_array_length(coalesce(nullif(v_part -> 'needs', 'null'), '[]')) > 0
            then 'blocked' else 'pending' end,
       hub_internal.subtask_project(p_parent, v_part ->> 'project'),
       coalesce(v_part ->> 'model', case when v_part ->> 'agent' is null then v_route.model else 'any' end),
       case when v_part ->> 'model' is not null then v_part ->> 'model' <> 'any'
            else v_part ->> 'agent' is null and v_route.addressed end,
       v_part ->> 'agent',
       greatest(p_parent.priority, 7),
     v_route.task_type,
       coalesce(nullif(v_route.platform, 'any'), p_parent.platform),
       p_parent.channel_id, p_parent.thread_id, p_parent.server_id, p_parent.id, p_team.id,
       p_parent.created_by, clock_timestamp());
    insert into hub_internal.subtasks (task_id, parent_id, top_id, depth, position, title)
    values (v_ids[i], p_parent.id, v_top, v_depth + 1, i,
            hub_internal.part_title(coalesce(v_part ->> 'title', v_part ->> 'content')));
  end loop;
  insert into public.hub_task_needs (task, needs, on_failure)
  select distinct on (v_ids[p.n], v_ids[x.at::int])
         v_ids[p.n], v_ids[x.at::int], coalesce(p.part ->> 'on_failure', 'fail')
    from jsonb_array_elements(p_parts) with ordinality p (part, n)
   cross join lateral jsonb_array_elements_text(coalesce(nullif(p.part -> 'needs', 'null'), '[]')) x (at)
  union all
  select p_parent.id, m.id, 'continue' from unnest(v_ids) m (id);
  perform hub_internal.show_team(p_team.id);
end;
$$;

-- How it goes -----------------------------------------------------------------------------------------------

create function hub_internal.team_members(p_team_id uuid)
  returns table (place integer, title text, late boolean, task public.mac_tasks)
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    select s.position, s.title, s.late, t
      from public.hub_teams m
      join hub_internal.subtasks s on s.parent_id = m.task_id and s.position > 0
      join public.mac_tasks t on t.id = s.task_id
     where m.id = p_team_id
     order by s.position;
end;
$$;

-- The message that lists the parts, with what became of each: one a team, edited in place. It is of a
-- conversation that the caller holds, or nobody does: where somebody writes in it at this moment, the next
-- change of a part shows this one, too.
create function hub_internal.show_team(p_team_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_team   public.hub_teams;
  v_parent public.mac_tasks;
  v_lines  text;
  v_count  integer;
  v_ended  integer;
  v_failed integer;
  v_values text[];
begin
  select t.* into v_parent
    from public.hub_teams m
    join public.mac_tasks t on t.id = m.task_id
   where m.id = p_team_id;
  if v_parent.channel_id is null or hub_internal.lock_conversations(array[v_parent.id]) is null then
    return;
  end if;
  select m.* into v_team from public.hub_teams m where m.id = p_team_id;
  select count(*),
         count(*) filter (where (x.task).status in ('complete', 'failed', 'cancelled')),
         count(*) filter (where (x.task).status in ('failed', 'cancelled')),
         string_agg(
           format('%s %s %s [%s]%s',
                  case when (x.task).status in ('pending', 'blocked') then '⏳'
                       when (x.task).status = 'waiting' then '🟡'
                       when (x.task).status = 'running' then '▶️'
                       else hub_internal.ending_mark((x.task).status) end,
                  hub_internal.task_short((x.task).id), x.title,
                  case when (x.task).attempt > 0
                       then hub_internal.task_runner((x.task).agent, (x.task).model_preference,
                                                     (x.task).claimed_by)
                       else coalesce((x.task).requested_agent, (x.task).model_preference) end,
                  case when x.late then ' (after the end)' else '' end),
           E'\n' order by x.place)
    into v_count, v_ended, v_failed, v_lines
    from hub_internal.team_members(p_team_id) x;
  if v_count = 0 then
    return;
  end if;
  v_values := hub_internal.named_values(
    'task', hub_internal.task_short(v_parent.id),
    'id', left(v_parent.id::text, 8),
    'note', format(E'%s part%s\n%s', v_count, case v_count when 1 then '' else 's' end, v_lines),
    'asked', v_lines,
    'complete', format('%s of %s', v_ended, v_count),
    'failed', nullif(v_failed, 0)::text);
  if v_team.message_id is null then
    v_team.message_id := gen_random_uuid();
    perform hub_internal.post('decomposed', v_parent.channel_id, v_parent.thread_id, v_parent.id, v_values,
                              v_team.message_id);
  else
    update public.hub_channel_messages m
       set content = hub_internal.shorten(format(e.forms[1], variadic v_values), 100000),
           embed_data = hub_internal.embed(e, v_values)
      from public.hub_message_events e
     where m.id = v_team.message_id
       and e.event = 'decomposed'
       and m.content is distinct from hub_internal.shorten(format(e.forms[1], variadic v_values), 100000);
  end if;
  update public.hub_teams m
     set message_id = v_team.message_id,
         shown_at = clock_timestamp()
   where m.id = p_team_id;
end;
$$;

-- Of the parent, or of a part. What ends is shown at once, the rest at most once a second: what is left out
-- is shown with the next change.
create function hub_internal.team_changed(p_task public.mac_tasks)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_team public.hub_teams;
begin
  -- Its own team as the parent; one that is a part may have one as well.
  update public.hub_teams m
     set ended_at = case when p_task.status in ('complete', 'failed', 'cancelled') then now() end
   where m.task_id = p_task.id
     and (p_task.status in ('complete', 'failed', 'cancelled') or m.ended_at is not null);
  select m.* into v_team from public.hub_teams m where m.id = p_task.team_id;
  if v_team.id is not null
     and v_team.task_id <> p_task.id
     and (p_task.status in ('complete', 'failed', 'cancelled')
          or (v_team.shown_at > clock_timestamp() - interval '1 second') is not true) then
    perform hub_internal.show_team(v_team.id);
  end if;
end;
$$;
