-- Why: what a delivery becomes in the servers that have a place for its repository: rule by rule, each in a
-- block of its own, since rules are written by owners of different servers.

-- What a caller may read of an error: of a refusal the detail, too, since it was written to be read; of
-- another error it may hold the row.
create function hub_internal.reason(p_state text, p_message text, p_detail text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.shorten(format('%s %s', p_state, p_message)
    || case when p_state like 'UH%' or p_message = 'permission denied'
            then coalesce(': ' || nullif(p_detail, ''), '') else '' end, 300);
end;
$$;

-- One delivery, in the caller's transaction: the new status, why, and what came of it: [{server, task} or
-- {server, error}], in the order of the rules. The status stored: again later.
create function hub_internal.apply_webhook(
  p_delivery public.hub_webhook_deliveries, out status text, out reason text, out outcomes jsonb)
  language plpgsql
  volatile
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_payload    jsonb;
  v_facts      jsonb;
  v_repository text;
  v_servers    uuid[];
  v_rule       public.hub_webhook_rules;
  v_channel    public.hub_channels;
  v_threaded   boolean;
  v_served     uuid[] := '{}'::uuid[];
  v_asked      text;
  v_text       text;
  v_sent       jsonb;
  v_task       uuid;
  v_failed     text[] := '{}'::text[];
  v_problem    text;
  v_detail     text;
begin
  status := 'ignored';
  outcomes := '[]';
  if p_delivery.event = 'ping' then
    reason := 'ping';
    return;
  end if;
  if p_delivery.event = 'pull_request' then
    perform hub_internal.note_merged(p_delivery);
  end if;
  if not exists (select from public.hub_webhook_rules r
                     where r.provider = p_delivery.provider and r.event = p_delivery.event and r.enabled) then
    reason := 'no rule for this event';
    return;
  end if;
  v_payload := p_delivery.payload #> '{}';        -- fetched and unpacked once, and not at each look
  v_facts := hub_internal.github_facts(p_delivery.event, v_payload);
  v_payload := null;
  if v_facts ? 'problem' then
    status := 'failed';
    reason := v_facts ->> 'problem';
    return;
  elsif v_facts ? 'idle' then
    reason := v_facts ->> 'idle';
    return;
  end if;
  -- Who knows a secret can sign any name of a repository: it counts for those alone that a place ties to it.
  v_repository := lower(v_facts ->> 'repository');
  v_servers := array(
    select distinct p.server_id
      from public.hub_places p
     where p.kind = p_delivery.provider
       and lower(p.target) in ('*', v_repository, split_part(v_repository, '/', 1) || '/*')
       and coalesce(p.secret_name, 'GITHUB_WEBHOOK_SECRET') = p_delivery.secret_name);
  if cardinality(v_servers) = 0 then
    reason := format('no server has a place for %s with %s',
                     v_facts ->> 'repository', p_delivery.secret_name);
    return;
  end if;

  reason := 'no rule matches';
  for v_rule in
    select r.*
      from public.hub_webhook_rules r
     where r.server_id = any (v_servers)
       and r.provider = p_delivery.provider
       and r.event = p_delivery.event
       and r.enabled
       and (hub_internal.glob_matches(r.action, v_facts ->> 'action', true)
            or hub_internal.glob_matches(r.action, v_facts ->> 'outcome', true))
       and (r.command is null or r.action is not null or v_facts ->> 'action' = 'created')
       and hub_internal.glob_matches(r.repository, v_facts ->> 'repository', true)
       and hub_internal.glob_matches(r.branch, v_facts ->> 'branch', false)
       and hub_internal.glob_matches(r.author, v_facts ->> 'author', true)
       and (r.label is null
            or exists (select from jsonb_array_elements_text(
                           case when jsonb_typeof(v_facts -> 'labels') = 'array' then v_facts -> 'labels'
                                else '[]' end) l (name)
                        where hub_internal.glob_matches(r.label, l.name, true)))
     order by r.position, r.created_at, r.id
  loop
    continue when v_rule.channel_id = any (v_served);
    v_asked := null;
    if v_rule.command is not null then
      v_asked := hub_internal.commanded(v_rule.command, v_facts ->> 'comment');
      if v_asked is null then
        continue;
      elsif (v_facts ->> 'association' in ('OWNER', 'MEMBER', 'COLLABORATOR')) is not true then
        reason := format('%s may not give commands',
                         coalesce(left(v_facts ->> 'association', 40), 'somebody unknown'));
        continue;
      elsif v_asked = '' then
        reason := 'the command asks for nothing';
        continue;
      end if;
    end if;
    v_served := v_served || v_rule.channel_id;
    -- A delivery that was half dealt with does not exist, but one may be stored again by hand.
    select w.task_id into v_task
      from hub_internal.webhook_tasks w
     where w.delivery_id = p_delivery.id and w.channel_id = v_rule.channel_id;
    if found then
      outcomes := outcomes || jsonb_build_object('server', v_rule.server_id, 'task', v_task);
      continue;
    end if;

    v_problem := null;
    if not hub_internal.has_project(v_rule.channel_id, v_rule.server_id, v_rule.project) then
      v_problem := 'its project is no longer the channel''s own or one of its server''s hub_projects';
    else
      -- In a block of its own: rules are written by owners of different servers, and one's mistake is not to
      -- be another's.
      begin
        perform hub_internal.spend('webhook_tasks', v_rule.server_id::text);
        select c.* into v_channel from public.hub_channels c where c.id = v_rule.channel_id;
        select s.architecture_type = 'threaded_task_isolation' into v_threaded
          from public.hub_servers s
         where s.id = v_rule.server_id;
        v_text := hub_internal.render_template(
          v_rule.template,
          case when v_asked is null then v_facts else v_facts || jsonb_build_object('comment', v_asked) end,
          v_rule.command is not null);
        -- Routed by the rule's own words: what was written on GitHub addresses no model and is no kind of
        -- work.
        v_sent := hub_internal.start_work(
          v_channel, v_threaded, null, v_text, regexp_replace(v_rule.template, '\{[^{}]*\}', ' ', 'g'),
          format('webhook:%s:%s', p_delivery.id, v_rule.channel_id), 'system', 'github', 'GitHub', null,
          jsonb_strip_nulls(jsonb_build_object(
            'model', v_rule.model,
            'agent', v_rule.agent,
            'project', v_rule.project,
            'metadata', jsonb_build_object(
              'provider', p_delivery.provider,
              'event', p_delivery.event,
              'repository', v_facts ->> 'repository',
              'number', v_facts ->> 'number',
              'url', v_facts ->> 'url',
              'delivery', p_delivery.delivery_id,
              'rule', v_rule.id))));
        v_task := (v_sent #>> '{task,id}')::uuid;
        insert into hub_internal.webhook_tasks
          (delivery_id, channel_id, task_id, rule_id, provider, repository, number, answer)
        values
          (p_delivery.id, v_rule.channel_id, v_task, v_rule.id, p_delivery.provider,
           v_facts ->> 'repository', (v_facts ->> 'number')::bigint,
           v_rule.answer and v_facts ->> 'number' is not null);
        -- To the minute, so that a rule everything matches is not written each time.
        update public.hub_webhook_rules r
           set last_matched_at = now()
         where r.id = v_rule.id and coalesce(r.last_matched_at < now() - interval '1 minute', true);
        outcomes := outcomes || jsonb_build_object('server', v_rule.server_id, 'task', v_task);
      exception
        when deadlock_detected or serialization_failure or lock_not_available then
          -- Met somebody: no fault of the rule, the whole delivery comes again.
          raise;
        when others then
          get stacked diagnostics v_detail = pg_exception_detail;
          v_problem := hub_internal.reason(sqlstate, sqlerrm, v_detail);
      end;
    end if;
    if v_problem is not null then
      v_failed := v_failed || format('rule %s: %s', v_rule.id, v_problem);
      outcomes := outcomes || jsonb_build_object(
        'server', v_rule.server_id,
        'error', v_failed[cardinality(v_failed)]);
    end if;
  end loop;
  if jsonb_path_exists(outcomes, '$[*].task') then
    status := 'done';
    reason := null;
  elsif cardinality(v_failed) > 0 then
    status := 'stored';
  end if;
  if cardinality(v_failed) > 0 then
    reason := hub_internal.shorten(array_to_string(v_failed, '; '), 2000);
  end if;
end;
$$;
