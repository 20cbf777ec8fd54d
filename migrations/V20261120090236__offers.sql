-- Why: what a device offers to run, and which agent of it fits a task. Asked by the view that says who may
-- take what (…lanes).

-- Survey is no model, and takes the place of none that is only limited or not logged in.
create function hub_internal.offer(
  p_agents jsonb, p_agent text, p_model text, p_stopped text[] default null)
  returns jsonb
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_offer jsonb;
  v_agent text;
  v_rank  integer;
  v_best  jsonb;
  v_least integer;
begin
  for v_at in 0 .. jsonb_array_length(p_agents) - 1 loop
    v_offer := p_agents -> v_at;
    v_agent := v_offer ->> 'agent';
    continue when p_agent <> v_agent
                  or (p_model = 'any' or v_offer -> 'models' ? p_model or v_offer -> 'models' ? 'any')
                     is not true;
    v_rank := case when v_agent = 'survey' then 2 else 0 end
              + case when p_stopped && array[v_agent || '/', v_agent || '/' || p_model] then 1 else 0 end;
    if v_best is null or v_rank < v_least then
      v_best := v_offer;
      v_least := v_rank;
      exit when v_rank = 0;
    end if;
  end loop;
  return v_best;
end;
$$;
comment on function hub_internal.offer(jsonb, text, text, text[]) is
  'What a device offers that fits: the agent asked for, if any, with the model asked for; else the first of '
  'those that do, those that are stopped after the others, survey last of all. Null: nothing does.';

-- What is not to be chosen where there is another: claude/ is an agent, claude/codex one for that model.
-- p_limited is so already (limited_agents); of p_bounds, by agent, those that are full count.
create function hub_internal.stopped_agents(
    p_limited text[], p_broken text[], p_held text[], p_bounds jsonb, p_full bigint[])
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  for v_at in 1 .. coalesce(cardinality(p_broken || p_held), 0) loop
    p_limited := p_limited || ((p_broken || p_held)[v_at] || '/');
  end loop;
  if p_bounds is not null and p_full <> '{}' then
    p_limited := p_limited || array(select a.key || '/'
                                      from jsonb_each_text(p_bounds) a
                                     where a.value::bigint = any (p_full));
  end if;
  return p_limited;
end;
$$;

-- A project without worktrees is a place for one at a time. Survey changes nothing: it is in nobody's way.
create function hub_internal.place_is_free(p_device text, p_project text)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return not exists (select from public.mac_tasks t
                      where t.claimed_by = p_device
                        and t.status = 'running'
                        and t.lease_expires_at is not null
                        and t.project = p_project
                        and t.agent <> 'survey');
end;
$$;

-- Whether a machine that serves one of these servers offers an agent of this name.
create function hub_internal.offers_agent(p_agent text, p_server_ids uuid[])
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return exists (select from public.mesh_devices d
                  where d.revoked_at is null
                    and d.agents @> jsonb_build_array(jsonb_build_object('agent', p_agent))
                    and (d.serves_all
                         or exists (select from public.mesh_device_servers e
                                     where e.device = d.name
                                       and e.server_id = any (p_server_ids))));
end;
$$;

-- An agent is a name that somebody means: one that is shipped, or that a machine of these servers offers.
-- Else anybody could make lanes without end, or find out what others' machines run.
create function hub_internal.is_offered_agent(p_agent text, p_server_ids uuid[])
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return p_agent in ('claude', 'codex', 'gemini', 'survey')
      or hub_internal.offers_agent(p_agent, p_server_ids);
end;
$$;

-- The same for a person, who could ask for any server: of those that they may read.
create function hub_internal.is_known_agent(p_agent text, p_server_ids uuid[])
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  return hub_internal.is_offered_agent(
    p_agent, array(select s.id from hub_internal.my_server_ids() s (id) where s.id = any (p_server_ids)));
end;
$$;
grant execute on function hub_internal.is_known_agent to authenticated;

-- What an agent runs a task as that goes on in a session with it: the model that is named, unless it came to
-- the agent in place of another, which has that.
create function hub_internal.model_offered(p_agents jsonb, p_agent text, p_model text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_agent is null or hub_internal.offer(p_agents, p_agent, p_model) is not null then p_model
              else 'any' end;
end;
$$;
