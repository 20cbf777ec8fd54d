-- Why: who may join which topic: whoever may read the rows it tells of, as policies on realtime.messages, and
-- asked again when a right ends.

-- Who may listen --------------------------------------------------------------------------------------------

-- Topics that are ours whoever else makes policies: the four kinds with a well formed name. Others' topics
-- are others' business.
create function hub_internal.is_hub_topic(p_topic text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(p_topic ~* '^(channel|thread|task):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                  or p_topic ~ '^device:',
                  false);
end;
$$;
grant execute on function hub_internal.is_hub_topic to authenticated, service_role;

create function hub_internal.may_listen(p_topic text)
  returns boolean
  language plpgsql
  stable
  security definer              -- asks by id what the tables' policies say: one lookup, not a policy a table
  set search_path = ''
as $$
declare
  v_kind    text := split_part(p_topic, ':', 1);
  v_name    text := substr(p_topic, char_length(v_kind) + 2);
  v_id      uuid;
  v_channel uuid;
  v_task    public.mac_tasks;
begin
  if v_kind = 'device' then
    return coalesce(v_name = hub_internal.live_device(), false);
  end if;
  -- Lower case as it is sent: another spelling is another topic, where nothing is ever said.
  if (v_kind in ('channel', 'thread', 'task')
      and v_name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') is not true then
    return false;
  end if;

  v_id := v_name::uuid;
  if v_kind = 'channel' then
    v_channel := v_id;
  elsif v_kind = 'thread' then
    select t.channel_id into v_channel from public.hub_task_threads t where t.id = v_id;
  else
    select t.* into v_task from public.mac_tasks t where t.id = v_id;
    if v_task.id is null then
      return false;
    elsif v_task.status = 'running' and v_task.claimed_by = hub_internal.live_device() then
      return true;
    elsif v_task.channel_id is null then
      return coalesce(v_task.created_by = hub_internal.person(), false);
    end if;
    v_channel := v_task.channel_id;
  end if;
  return exists (select from public.hub_channels c
                  where c.id = v_channel
                    and c.server_id in (select hub_internal.my_server_ids()));
end;
$$;
comment on function hub_internal.may_listen(text) is
  'Whether the caller may read the rows that a topic of the hub tells of. False for any other topic, and '
  'for what does not exist.';
grant execute on function hub_internal.may_listen to authenticated, service_role;

-- On Supabase the table is Realtime's, and policies are all that we may make there. Realtime asks with a row
-- of its own and the setting realtime.topic; both must name the topic. The permissive policies let in; the
-- restrictive ones keep a project's own policies, however wide, from opening our topics, and say nothing
-- about any other.
create policy hub_messages_select_readers on realtime.messages for select to authenticated
  using (extension in ('broadcast', 'presence')
         and topic = (select realtime.topic())
         and (select hub_internal.may_listen(realtime.topic())));
-- Presence is a reader's to show. A broadcast comes from the database alone.
create policy hub_messages_insert_presence on realtime.messages for insert to authenticated
  with check (extension = 'presence'
              and topic = (select realtime.topic())
              and starts_with(topic, 'channel:')
              and (select hub_internal.may_listen(realtime.topic())));

create policy hub_messages_select_only_readers on realtime.messages
  as restrictive for select to authenticated
  using (not hub_internal.is_hub_topic(topic)
         or (topic = (select realtime.topic())
             and (select hub_internal.may_listen(realtime.topic()))));

create policy hub_messages_insert_only_presence on realtime.messages
  as restrictive for insert to authenticated
  with check (not hub_internal.is_hub_topic(topic)
              or (extension = 'presence'
                  and starts_with(topic, 'channel:')
                  and topic = (select realtime.topic())
                  and (select hub_internal.may_listen(realtime.topic()))));

create policy hub_messages_update_nobody on realtime.messages
  as restrictive for update to authenticated
  using (not hub_internal.is_hub_topic(topic))
  with check (not hub_internal.is_hub_topic(topic));

-- Spelled out, since anon may call nothing of ours.
create policy hub_messages_all_not_anon on realtime.messages
  as restrictive for all to anon
  using (topic !~* '^(channel|thread|task):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         and topic !~ '^device:')
  with check (topic !~* '^(channel|thread|task):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
              and topic !~ '^device:');

-- A right that ends -----------------------------------------------------------------------------------------

-- Realtime asks policies when a channel is joined and at a new token. Supabase's goes on to tell a former
-- member until then; ours reads these messages in the log, between the broadcasts, and asks again before it
-- tells anything that was committed later. The log of a Supabase project takes them as well, and nobody reads
-- them. No row, no lock: twenty bytes of log.
create function hub_internal.recheck_listeners(p_user_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = ''
as $$
begin
  perform pg_catalog.pg_logical_emit_message(true, 'realtime.recheck', coalesce(p_user_id::text, ''));
end;
$$;
comment on function hub_internal.recheck_listeners(uuid) is
  'Has Realtime ask again, when this commits, what a user may hear; null: what anybody may hear.';

create function hub_internal.recheck_on_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  -- A column that a table has not: to_jsonb, and not old.user_id.
  perform hub_internal.recheck_listeners((to_jsonb(old) ->> 'user_id')::uuid);
  return null;
end;
$$;

create trigger hub_members_recheck
  after delete or update of user_id, server_id on public.hub_members
  for each row execute function hub_internal.recheck_on_change();
create trigger hub_servers_recheck
  after delete or update of access on public.hub_servers
  for each row execute function hub_internal.recheck_on_change();
create trigger mesh_devices_recheck
  after delete or update of revoked_at, user_id, name on public.mesh_devices
  for each row execute function hub_internal.recheck_on_change();
