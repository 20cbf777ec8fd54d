-- Why: what a request is and for whom: the rules, corrections and weights of …routing, applied to a text.

-- Rules -----------------------------------------------------------------------------------------------------

create function hub_internal.compile_rule()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  begin
    new.compiled := to_tsquery('pg_catalog.simple', new.query);
  exception when syntax_error or invalid_parameter_value then
    new.compiled := '';
  end;
  if char_length(new.query) > 2000 then
    perform hub_internal.refuse('UH001', 'bad input', 'query', 'A rule has at most 2,000 characters.');
  elsif numnode(new.compiled) = 0 then
    perform hub_internal.refuse('UH001', 'bad input', format('query %L', new.query),
      'Words joined by & | ! and <->, for example: terraform & (plan | apply). '
      'A word that must open the request is written fix:A.');
  end if;
  return new;
end;
$$;
create trigger hub_routing_rules_compile
  before insert or update on public.hub_routing_rules
  for each row execute function hub_internal.compile_rule();

-- By which words a rule is found: so few of it that each message that it matches has one of them, long ones
-- first (`on <-> windows` is found by windows). Where it has a negation or a prefix, all there are.
create function hub_internal.rule_words(p_query tsquery)
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_text  text := p_query::text;
  v_words text[];
  v_keys  text[];
  v_bare  tsquery;
  v_word  text;
begin
  select array_agg(distinct case when querytree(p_query) = 'T' or m[2] like '%*%' then ''
                                 else replace(m[1], '''''', '''') end)
    into v_words
    from regexp_matches(v_text, '''((?:[^'']|'''')+)''(:[*A-D]+)?', 'g') as w (m);
  if '' = any (v_words) or v_text like '%!%' then
    return v_words;
  end if;
  v_bare := regexp_replace(regexp_replace(v_text, ''':[A-D]+', '''', 'g'),
                           '<(?:-|[0-9]+)>', '&', 'g')::tsquery;
  v_keys := v_words;
  foreach v_word in array array(select w from unnest(v_words) w order by char_length(w), w) loop
    -- Without it nothing is missed if the words that it is not found by do not make a match.
    if not array_to_tsvector(array(select w from unnest(v_words) w where w = v_word or w <> all (v_keys)))
           @@ v_bare then
      v_keys := array_remove(v_keys, v_word);
    end if;
  end loop;
  return v_keys;
end;
$$;

create function hub_internal.index_rule()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  delete from hub_internal.routing_words w where w.rule_id = new.id;
  insert into hub_internal.routing_words (word, server_id, rule_id)
  select w, new.server_id, new.id from unnest(hub_internal.rule_words(new.compiled)) w;
  return null;
end;
$$;
create trigger hub_routing_rules_index
  after insert or update of query, compiled, server_id on public.hub_routing_rules
  for each row execute function hub_internal.index_rule();
create trigger hub_routing_rules_fresh_id before insert on public.hub_routing_rules
  for each row when (current_user = 'authenticated') execute function hub_internal.fresh_id();
create trigger hub_routing_rules_bound before insert on public.hub_routing_rules
  for each row execute function hub_internal.bound_rows('server_routing_rules');

-- Corrections -----------------------------------------------------------------------------------------------

-- What two requests have in common that ask for the same: their words, whatever the order, the endings, the
-- little ones and the politeness.
create function hub_internal.request_words(p_said text)
  returns uuid
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_asked text := array_to_string((hub_internal.request_sentences(p_said)).asked, ' ');
  v_words text[] := tsvector_to_array(ts_delete(to_tsvector('pg_catalog.english', v_asked),
                                                '{pleas,pls,thank,thx,asap}'::text[]));
begin
  return md5(case when v_words = '{}' then lower(btrim(p_said)) else array_to_string(v_words, ' ') end)::uuid;
end;
$$;

-- What an operator says a request is, for the next time: the newest word on it counts. Of more than the quota
-- the oldest go, since who corrects one task shall not be stopped by what was said of others.
create function hub_internal.keep_example(p_server_id uuid, p_content text, p_task_type text, p_model text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_most bigint;
begin
  insert into public.hub_routing_examples as e (server_id, words, content, task_type, model, created_by)
  values (p_server_id,
          hub_internal.request_words(hub_internal.said_text(p_content)),
          left(p_content, 4000),
          p_task_type,
          p_model,
          hub_internal.person())
  on conflict (server_id, words) do update
     set content = excluded.content,
         task_type = excluded.task_type,
         model = excluded.model,
         created_by = excluded.created_by,
         created_at = clock_timestamp();
  select q.amount into v_most from hub_internal.quotas q where q.name = 'server_routing_examples';
  if found then
    delete from public.hub_routing_examples e
     where e.id in (select o.id
                      from public.hub_routing_examples o
                     where o.server_id = p_server_id
                     order by o.created_at desc, o.id
                    offset v_most);
  end if;
end;
$$;

-- Deciding --------------------------------------------------------------------------------------------------

-- The name with the largest sum, the first of equals; null if all are nought.
create function hub_internal.strongest(p_names text[], p_sums real[])
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_best integer := 1;
begin
  for i in 2 .. array_length(p_sums, 1) loop
    if p_sums[i] > p_sums[v_best] then
      v_best := i;
    end if;
  end loop;
  return case when p_sums[v_best] > 0 then p_names[v_best] end;
end;
$$;

-- The kind of work by the weights of the words (of request_sentences, marked), how sure that is, and which
-- words made the difference to the next best.
create function hub_internal.weigh(p_marked text, out kind text, out confidence real, out reasons text[])
  language plpgsql
  stable
  set search_path = ''
  set plan_cache_mode = force_generic_plan        -- one plan fits every message; making one costs more than
                                                  -- the rest
as $$
declare
  -- The order of routing_weights.weights; of equal sums the first.
  v_kinds   constant text[] := array['code', 'data', 'design', 'docs', 'edit', 'fix', 'ops', 'other', 'plan',
                                     'research', 'review', 'test'];
  v_said    record := hub_internal.request_features(p_marked);
  v_words   text[];
  v_weights real[];
  v_sums    real[];
  v_share   double precision := 0;
  v_best    integer := 1;
  v_next    integer := 2;
begin
  select array_agg(v_said.words[f.at]), array_agg(w.weights),
         array[sum(w.weights[1]), sum(w.weights[2]), sum(w.weights[3]), sum(w.weights[4]), sum(w.weights[5]),
               sum(w.weights[6]), sum(w.weights[7]), sum(w.weights[8]), sum(w.weights[9]), sum(w.weights[10]),
               sum(w.weights[11]), sum(w.weights[12])]
    into v_words, v_weights, v_sums
    from (select u.feature, min(u.at) as at
            from unnest(v_said.features || ''::text) with ordinality u (feature, at)
           group by 1) f
    join hub_internal.routing_weights w on w.feature = f.feature;
  for v_at in 1 .. 12 loop
    v_share := v_share + exp(v_sums[v_at]);
    if v_at > 1 and v_sums[v_at] > v_sums[v_best] then
      v_next := v_best;
      v_best := v_at;
    elsif v_at > 2 and v_sums[v_at] > v_sums[v_next] then
      v_next := v_at;
    end if;
  end loop;
  kind := v_kinds[v_best];
  confidence := round((exp(v_sums[v_best]) / v_share)::numeric, 2)::real;
  reasons := array(
    select g.words
      from (select v_words[h.at] as words,
                   sum(v_weights[h.at][v_best] - v_weights[h.at][v_next]) as gain
              from generate_subscripts(v_words, 1) h (at)
             where v_weights[h.at][v_best] <> v_weights[h.at][v_next]
             group by 1) g
     where g.words is not null and g.gain > 0.1
     order by g.gain desc, g.words
     limit 4);
  if reasons = '{}' then
    kind := 'other';
    confidence := 0.2;
  end if;
end;
$$;

-- By what the channel's readers may see: its preference, the shipped rules and weights, the rules of its
-- server, what was corrected there.
create function hub_internal.classify(p_content text, p_channel_id uuid,
                                      out task_type text, out model text, out platform text,
                                      out confidence real, out reasons text[], out addressed boolean)
  language plpgsql
  stable
  security definer
  set search_path = ''
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off                        -- a few hundred rules are read faster by their words, too
as $$
#variable_conflict use_column
declare
  -- Of equal sums the first: from the narrow kinds to the wide ones.
  v_types       constant text[] := array['test', 'review', 'docs', 'plan', 'data', 'design', 'ops', 'fix',
                                         'research', 'code', 'other'];
  v_models      constant text[] := array['claude', 'codex', 'gemini', 'any'];
  v_platforms   constant text[] := array['macos', 'linux', 'windows', 'any'];
  v_by_type     real[] := array_fill(0, array[11]);
  v_by_model    real[] := array_fill(0, array[4]);
  v_by_platform real[] := array_fill(0, array[4]);
  v_said        text := hub_internal.said_text(coalesce(p_content, ''));
  v_asked       record := hub_internal.request_sentences(v_said);
  v_words       text[];
  v_rules       uuid[];
  v_vector      tsvector;
  v_addressed   text := hub_internal.addressed_model(v_said);
  v_example     public.hub_routing_examples;
  v_weighed     record;
  v_server_id   uuid;
  v_channel     text;
  v_preferred   text;
  v_hit         record;
  v_type        integer;
  v_model       integer;
  v_platform    integer;
  v_sums        real;
  v_kind        text;
begin
  select c.server_id, c.name, nullif(c.model_preference, 'any')
    into v_server_id, v_channel, v_preferred
    from public.hub_channels c
   where c.id = p_channel_id;
  addressed := v_addressed is not null;

  -- Nearly always no rule has a word of it.
  v_words := tsvector_to_array(to_tsvector('pg_catalog.simple', array_to_string(v_asked.asked, E'\n')))
             || ''::text;
  v_rules := array(select s.rule_id
                     from hub_internal.routing_words s
                    where s.word = any (v_words) and s.server_id is null
                   union all
                   select o.rule_id
                     from hub_internal.routing_words o
                    where o.word = any (v_words) and o.server_id = v_server_id);
  if v_rules <> '{}' then
    v_vector := hub_internal.request_vector(v_asked.asked);
    -- The rules are looked up by their ids, one by one: a join would try the query of each rule there is.
    for v_hit in
      select r.task_type, r.model, r.platform, r.weight,
             coalesce((select string_agg(w, ' ' order by w)
                         from unnest(v_words) w
                        where position(quote_literal(w) in r.compiled::text) > 0), r.query) as words
        from (select distinct u.id from unnest(v_rules) u (id)) c
       cross join lateral (select h.* from public.hub_routing_rules h where h.id = c.id offset 0) r
       where v_vector @@ r.compiled
       order by r.weight desc, words
    loop
      v_type := array_position(v_types, v_hit.task_type);
      v_model := array_position(v_models, v_hit.model);
      v_platform := array_position(v_platforms, v_hit.platform);
      if v_type is not null then
        v_by_type[v_type] := v_by_type[v_type] + v_hit.weight;
        v_sums := coalesce(v_sums, 0) + v_hit.weight;
      end if;
      if v_model is not null then
        v_by_model[v_model] := v_by_model[v_model] + v_hit.weight;
      end if;
      if v_platform is not null then
        v_by_platform[v_platform] := v_by_platform[v_platform] + v_hit.weight;
      end if;
      reasons := reasons
                 || (concat_ws(' ', v_hit.task_type, v_hit.model, v_hit.platform) || ': ' || v_hit.words);
    end loop;
    v_kind := hub_internal.strongest(v_types, v_by_type);
    platform := hub_internal.strongest(v_platforms, v_by_platform);
    model := hub_internal.strongest(v_models, v_by_model);
  end if;
  if exists (select from public.hub_routing_examples o where o.server_id = v_server_id) then
    select e.*
      into v_example
      from public.hub_routing_examples e
     where e.server_id = v_server_id
       and e.words = hub_internal.request_words(v_said);
  end if;

  if v_kind is not null then
    confidence := round((0.4 + 0.6 * v_by_type[array_position(v_types, v_kind)] / (v_sums + 2))::numeric, 2);
  elsif v_example.id is not null then
    v_kind := v_example.task_type;
    confidence := 1;
    reasons := reasons || format('%s: as corrected before', v_kind);
  else
    v_weighed := hub_internal.weigh(v_asked.marked);
    v_kind := v_weighed.kind;
    confidence := v_weighed.confidence;
    reasons := reasons || case when v_weighed.reasons = '{}' then 'nothing said what it is'
                               else v_kind || ': ' || array_to_string(v_weighed.reasons, ', ') end;
  end if;
  task_type := case v_kind when 'edit' then 'code' else v_kind end;
  platform := coalesce(platform, 'any');
  if v_addressed is not null then
    model := v_addressed;
    reasons := format('%s is asked for', model) || reasons;
  elsif v_preferred is not null then
    model := v_preferred;
    reasons := format('#%s prefers %s', v_channel, model) || reasons;
  else
    model := coalesce(model, v_example.model);
    if model is null then
      select m.model into model from public.hub_routing_models m where m.task_type = v_kind;
      reasons := reasons || format('%s goes to %s', v_kind, model);
    end if;
  end if;
end;
$$;

create function hub_internal.classify_readable(p_content text, p_channel_id uuid)
  returns table (task_type text, model text, platform text, confidence real, reasons text[])
  language plpgsql
  stable
  security definer                                -- classify itself does not ask who is calling
  set search_path = ''
as $$
begin
  if char_length(p_content) > 100000 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_content', 'A text has at most 100,000 characters.');
  end if;
  if p_channel_id is not null then
    perform hub_internal.readable_channel(p_channel_id);
  end if;
  return query
    select c.task_type, c.model, c.platform, c.confidence, c.reasons
      from hub_internal.classify(p_content, p_channel_id) c;
end;
$$;
