-- Why: what a request is and for whom: the rules of …routing, applied to a text.

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

create function hub_internal.index_rule()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  delete from hub_internal.routing_words w where w.rule_id = new.id;
  insert into hub_internal.routing_words (word, server_id, rule_id)
  select distinct
         case when querytree(new.compiled) = 'T' or m[2] like '%*%' then ''
              else replace(m[1], '''''', '''') end,
         new.server_id,
         new.id
    from regexp_matches(new.compiled::text, '''((?:[^'']|'''')+)''(:[*A-D]+)?', 'g') as w (m);
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

-- Reading a message -----------------------------------------------------------------------------------------

-- What is quoted or pasted is about something else: code, a log, a title. What is left is what the person
-- says.
create function hub_internal.said_text(p_content text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_text text := left(p_content, 4000);           -- what it is about is said at the start
  v_said text;
begin
  -- The end of a file's name says what is in it; the parser would keep customers.csv as one word.
  v_text := regexp_replace(v_text,
    '([[:alnum:]_])\.(csv|tsv|sql|parquet|xlsx|md|swift|ps1|xcodeproj)\M', '\1 \2', 'gi');
  if v_text ~ '[`"“''>]' then
    v_said := regexp_replace(v_text,
      '```([^`]|`[^`])*(```|$)|`[^`]*`'
      '|"[^"]*"|“[^”]*”|(?<![[:alnum:]])''[^'']*''(?![[:alnum:]])'
      '|(^|\n)>[^\n]*',
      ' ', 'g');
    if v_said ~ '[[:alpha:]]{2}' then
      return v_said;
    end if;
  end if;
  return v_text;
end;
$$;

-- The model that is spoken to, if any: named as the one who is to do it, not as what it is about.
create function hub_internal.addressed_model(p_said text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_match text[];
begin
  if p_said !~* '(claude|codex|gemini)' then
    return null;
  end if;
  v_match := regexp_match(p_said,
    '(?:^|[^[:alnum:]_./-])@(claude|codex|gemini)(?![[:alnum:]_./-])', 'i');
  if v_match is null then
    v_match := regexp_match(p_said,
      '(?:^|[.!?\n]\s*|\m(?:hey|hi|ok|okay|so|please|dear)[\s,]+)'
      '(claude|codex|gemini)(?:\s+(?:code|cli))?\s*'
      '(?:[,:]|-\s|—|\m(?:please|can you|could you|would you|will you)\M)', 'i');
  end if;
  if v_match is null then
    v_match := regexp_match(p_said,
      '\m(?:ask|tell|have|let|get|use|using|via|give|hand|pass|send|assign|route|delegate'
      '|with|by|to|on|through)'
      '\s+(?:(?:this|it|that|these|them)\s+(?:one\s+)?(?:to|over to|off to|on)\s+)?'
      || '(claude|codex|gemini)(?:\s+(?:code|cli))?'
      '(?=\s*$|\s*[.,:;!?)]|\s+(?:to|for|and|please|here|on this|on it'
      '|do|handle|write|fix|review|look|take|run|check|make|implement|add|go|draft|plan|investigate'
      '|summari[sz]e|research|update|refactor|build|create|design|explain|compare|generate|analy[sz]e'
      '|find|test|work)\M)', 'i');
  end if;
  if v_match is null then
    v_match := regexp_match(p_said, '[,;-]\s*(claude|codex|gemini)(?:\s+please)?\s*[.!?]*\s*$', 'i');
  end if;
  return lower(v_match[1]);
end;
$$;

create function hub_internal.request_vector(p_said text)
  returns tsvector
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_vector   tsvector := ''::tsvector;
  v_sentence text;
  v_words    text[];
  v_label    "char" := 'A';
begin
  foreach v_sentence in array regexp_split_to_array(p_said, '[.!?;:]+(?:\s+|$)|\n+|\s+[-–—]+\s+')
  loop
    -- Politeness, ticket numbers and whom it is said to stand before what is asked for.
    v_sentence := regexp_replace(v_sentence,
      '^(?:[^[:alnum:]@]*(?:(?:use|using|via|with)\s+@?(?:claude|codex|gemini)(?:\s+(?:code|cli))?'
      '|please|pls|plz|kindly|hey|hi|hello|there|team|all'
      '|can|could|would|will|you|u|we|i|i''d|i''ll|like|want|need|should|must|have|to|let''s|lets|let|us|me'
      '|go|ahead|and|then|also|next|now|so|ok|okay|just|quickly|quick|help|maybe|first|second|finally'
      '|todo|task|urgent|asap|@?claude|@?codex|@?gemini|ask|tell|get'
      '|[a-z]{2,6}-[0-9]+|#?[0-9]+)(?![[:alnum:]]))+',
      '', 'i');
    v_words := regexp_match(v_sentence, '^[^[:alnum:]]*(\S+)(.*)$');
    if v_words is not null then
      v_vector := v_vector
                  || setweight(to_tsvector('pg_catalog.simple', v_words[1]), v_label)
                  || to_tsvector('pg_catalog.simple', v_words[2]);
      v_label := 'B';
    end if;
  end loop;
  return v_vector;
end;
$$;

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

-- By what the channel's readers may see: its preference, the shipped rules, the rules of its server.
create function hub_internal.classify(p_content text, p_channel_id uuid,
                                      out task_type text, out model text, out platform text,
                                      out confidence real, out reasons text[])
  language plpgsql
  stable
  security definer
  set search_path = ''
  set plan_cache_mode = force_generic_plan        -- one plan fits every message; making one costs more than
                                                  -- the rest
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
  v_vector      tsvector := hub_internal.request_vector(v_said);
  v_addressed   text := hub_internal.addressed_model(v_said);
  v_server_id   uuid;
  v_channel     text;
  v_preferred   text;
  v_hit         record;
  v_type        integer;
  v_model       integer;
  v_platform    integer;
  v_sums        real;
begin
  select c.server_id, c.name, nullif(c.model_preference, 'any')
    into v_server_id, v_channel, v_preferred
    from public.hub_channels c
   where c.id = p_channel_id;

  -- The rules are looked up by their ids, one by one: a join would try the query of each rule there is.
  for v_hit in
    select r.task_type, r.model, r.platform, r.weight, coalesce(c.words, r.query) as words
      from (select w.rule_id, string_agg(nullif(w.word, ''), ' ' order by w.word) as words
              from (select s.rule_id, s.word
                      from hub_internal.routing_words s
                     where s.word = any (tsvector_to_array(v_vector) || ''::text)
                       and s.server_id is null
                    union all
                    select o.rule_id, o.word
                      from hub_internal.routing_words o
                     where o.word = any (tsvector_to_array(v_vector) || ''::text)
                       and o.server_id = v_server_id) w
             group by w.rule_id) c
     cross join lateral (select h.* from public.hub_routing_rules h where h.id = c.rule_id offset 0) r
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

  task_type  := coalesce(hub_internal.strongest(v_types, v_by_type), 'other');
  platform   := coalesce(hub_internal.strongest(v_platforms, v_by_platform), 'any');
  confidence := case when v_sums is null then 0.2
                     else round((0.4 + 0.6 * v_by_type[array_position(v_types, task_type)]
                                             / (v_sums + 2))::numeric, 2) end;
  reasons    := coalesce(reasons, array['nothing said what it is']);
  if v_addressed is not null then
    model := v_addressed;
    reasons := format('%s is asked for', model) || reasons;
  elsif v_preferred is not null then
    model := v_preferred;
    reasons := format('#%s prefers %s', v_channel, model) || reasons;
  else
    model := hub_internal.strongest(v_models, v_by_model);
    if model is null then
      select m.model into model from public.hub_routing_models m where m.task_type = classify.task_type;
      reasons := reasons || format('%s goes to %s', task_type, model);
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
  if p_channel_id is not null then
    perform hub_internal.readable_channel(p_channel_id);
  end if;
  return query select * from hub_internal.classify(p_content, p_channel_id);
end;
$$;
