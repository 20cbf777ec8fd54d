-- Why: what a message says, apart from what that means: what of it is the person's own, who is spoken to,
-- what is asked for, and by which words the kind of work is known (…classifying).

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

-- The agent that is asked for by its name, if any: `@dual-max …`, `ask dual-max to …`, `use dual-max for …`.
-- A name is what a machine of this server offers; those of models are no agents here (addressed_model).
create function hub_internal.addressed_agent(p_said text, p_server_id uuid)
  returns text
  language plpgsql
  stable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_name constant text := '([[:alnum:]](?:[[:alnum:]._-]{0,61}[[:alnum:]])?)';
  v_end  constant text := '(?=\s*$|\s*[.,:;!?)]|\s+(?:to|for|and|please|here|on this|on it)\M)';
  v_names text[];
  v_found text;
begin
  -- Nearly nobody is asked for: this is all that costs them.
  if left(p_said, 4000) !~* '(^|[^[:alnum:]_./-])@[[:alnum:]]'
                            '|\m(ask|tell|have|let|get|use|using|via|(this|it|that|these|them)\s+to)\s' then
    return null;
  end if;
  for v_names in
    select m
      from regexp_matches(
             hub_internal.said_text(p_said),
             '(?:^|[^[:alnum:]_./-])@' || v_name || '(?![[:alnum:]_@/-])'
             '|\m(?:ask|tell|have|let|get|(?:give|hand|pass|send|assign|delegate)'
                   '\s+(?:this|it|that|these|them)\s+to)\s+' || v_name || v_end
             || '|\m(?:use|using|via)\s+' || v_name || v_end,
             'gi') r (m)
     limit 8
  loop
    foreach v_found in array array[coalesce(v_names[1], v_names[2], v_names[3]),
                                   lower(coalesce(v_names[1], v_names[2], v_names[3]))]
    loop
      if v_found not in ('claude', 'codex', 'gemini')
         -- A survey is also what people make: to use one is not to ask that agent.
         and not (v_found = 'survey' and v_names[3] is not null)
         and hub_internal.offers_agent(v_found, array[p_server_id]) then
        return v_found;
      end if;
    end loop;
  end loop;
  return null;
end;
$$;

-- What is asked for in each sentence, and all of it with marks: | where what is asked for begins, a new line
-- where a sentence ends. Politeness, ticket numbers and whom it is said to stand before what is asked for.
create function hub_internal.request_sentences(p_said text, out asked text[], out marked text)
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_sentence text;
  v_asked    text;
begin
  marked := '';
  foreach v_sentence in array
    regexp_split_to_array(replace(lower(p_said), '’', ''''), '[.!?;:]+(?:\s+|$)|\n+|\s+[-–—]+\s+')
  loop
    v_asked := regexp_replace(v_sentence,
      '^(?:[^[:alnum:]@]*(?:(?:use|using|via|with)\s+@?(?:claude|codex|gemini)(?:\s+(?:code|cli))?'
      '|please|pls|plz|kindly|hey|hi|hello|there|team|all'
      '|can|could|would|will|you|u|we|i|i''d|i''ll|like|want|need|should|must|have|to|let''s|lets|let|us|me'
      '|go|ahead|and|then|also|next|now|so|ok|okay|just|quickly|quick|help|maybe|first|second|finally'
      '|todo|task|urgent|asap|@?claude|@?codex|@?gemini|ask|tell|get'
      '|[a-z]{2,6}-[0-9]+|#?[0-9]+)(?![[:alnum:]]))+',
      '');
    asked := asked || v_asked;
    marked := marked || left(v_sentence, length(v_sentence) - length(v_asked)) || ' | ' || v_asked || E'\n';
  end loop;
  if p_said like '%?%' then
    marked := marked || '?';
  end if;
end;
$$;

-- For rules: the word that opens the request has the weight A, one that opens a later sentence B.
create function hub_internal.request_vector(p_asked text[])
  returns tsvector
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_vector tsvector := ''::tsvector;
  v_asked  text;
  v_words  text[];
  v_label  "char" := 'A';
begin
  foreach v_asked in array p_asked loop
    v_words := regexp_match(v_asked, '^[^[:alnum:]]*(\S+)(.*)$');
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

-- For weights: what of a message counts (of request_sentences, marked), and the words of it that this is.
--   crash      a word, as its stem, and as it stands where that is another
--   look over  two words next to each other
--   ^look      the word that opens the request; ;check: of a later sentence; ^look over: with the next one
--   >post      the head of what the verb is about: "write a blog post about the launch" is about a post
--   ?          there is a question mark
-- Names of models say for whom, never what. 60 words are enough to know. What can be done with all words at
-- once is: a step of a loop for each word is what this costs.
create function hub_internal.request_features(p_marked text, out features text[], out words text[])
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_most   integer := 700;                        -- as far as 60 words nearly always go
  v_tokens text[];
  v_stems  text[];
  v_words  text[];                                -- the same without marks; then numbers as 0; then stems
  v_bare   text[];
  v_bases  text[];
  v_kinds  integer[];
  v_kind   integer;
  v_token  text;
  v_word   text;
  v_last   text;
  v_said   text;                                  -- the last word, as it stands
  v_head   text;
  v_noun   text;
  v_mark   text := '^';
  v_place  integer := 0;                          -- of a word among those that are asked
  v_open   boolean := true;                       -- the object goes on
  v_count  integer := 0;
begin
  loop
    -- 1: a word, 2: one that ends the object of a verb, 3: one that belongs to it and is not its head,
    -- 4: a number; 0: of no meaning, below: marks.
    select array_agg(k.token), array_agg(k.word), array_agg(k.kind),
           array_agg(k.token) filter (where k.kind > 0),
           array_agg(case k.kind when 4 then k.word else k.token end) filter (where k.kind > 0),
           array_agg(k.word) filter (where k.kind > 0)
      into v_tokens, v_stems, v_kinds, v_words, v_bare, v_bases
      from (select w.token,
                   case when w.kind <= 0 then w.token
                        when w.kind < 4
                          then coalesce((ts_lexize('pg_catalog.english_stem', w.token))[1], w.token)
                        when w.token ~ '^[45][0-9][0-9]$' then w.token
                        else '0' end as word,
                   w.kind
              from (select t.m[1] as token,
                           case when t.m[1] collate "C" < '0'
                                  then case t.m[1] when E'\n' then -4 when '/' then -2 else -1 end
                                when t.m[1] = '|' then -3
                                when t.m[1] collate "C" < ':' and t.m[1] ~ '^[0-9]+$' then 4
                                when t.m[1] in ('claude', 'codex', 'gemini') then 0
                                when t.m[1] in (
                                  'of', 'for', 'in', 'on', 'to', 'from', 'with', 'by', 'at', 'as', 'and',
                                  'or', 'that', 'which', 'so', 'because', 'into', 'about', 'via', 'per',
                                  'using', 'when', 'where', 'if', 'while', 'but', 'before', 'after',
                                  'since', 'without', 'against', 'between', 'during', 'until', 'than',
                                  'whether', 'how', 'why', 'what', 'who', 'like', 'under', 'across',
                                  'inside', 'within', 'around', 'along', 'onto', 'here', 'is', 'isn''t',
                                  'are', 'was', 'were', 'has', 'have', 'had', 'does', 'doesn''t', 'do',
                                  'don''t', 'can', 'can''t', 'should', 'not', 'please', 'pls') then 2
                                when t.m[1] in (
                                  'a', 'an', 'the', 'our', 'my', 'your', 'his', 'her', 'their', 'its',
                                  'this', 'these', 'those', 'some', 'all', 'any', 'each', 'every', 'both',
                                  'few', 'more', 'new', 'me', 'us', 'it', 'them', 'up', 'out', 'off',
                                  'down', 'back', 'over', 'through') then 3
                                else 1 end as kind
                      from regexp_matches(left(p_marked, v_most),
                                          '[[:alnum:]]+(?:''[[:alpha:]]+)?|[|,()/\n]', 'g') t (m)
                    offset 0) w
            offset 0) k;
    exit when cardinality(v_words) > 60 or length(p_marked) <= v_most;
    v_most := length(p_marked);
  end loop;
  features := coalesce(v_bases[1:60] || v_bare[1:60], '{}');
  words := v_words[1:60] || v_words[1:60];
  if right(p_marked, 1) = '?' then
    features := features || '?'::text;
    words := words || '?'::text;
  end if;
  for v_at in 1 .. coalesce(cardinality(v_tokens), 0) loop
    v_kind := v_kinds[v_at];
    if v_kind > 0 then
      v_count := v_count + 1;
      exit when v_count > 60;
      v_token := v_tokens[v_at];
      v_word := v_stems[v_at];
      if v_last is not null then
        features := features || (v_last || ' ' || v_word);
        words := words || (v_said || ' ' || v_token);
      end if;
      if v_place > 0 then
        if v_place = 1 then
          features := features || (v_mark || v_word);
          words := words || v_token;
          v_head := v_word;
          v_noun := v_token;
        else
          if v_place = 2 and v_last is not null then
            features := features || (v_mark || v_last || ' ' || v_word);
            words := words || (v_said || ' ' || v_token);
          end if;
          if v_open and v_kind <> 3 then
            if v_kind = 2 then
              v_open := false;
            elsif v_kind = 1 or v_word <> '0' then
              v_head := v_word;
              v_noun := v_token;
            end if;
          end if;
        end if;
        v_place := v_place + 1;
      end if;
      v_last := v_word;
      v_said := v_token;
    elsif v_kind = -3 then
      v_place := 1;
    elsif v_kind = -4 then
      if v_head is not null then
        features := features || ('>' || v_head);
        words := words || v_noun;
        v_mark := ';';
      end if;
      v_last := null;
      v_head := null;
      v_open := true;
      v_place := 0;
    elsif v_kind < 0 then
      v_open := v_open and v_kind = -2;
      v_last := null;
    end if;
  end loop;
  if v_head is not null then
    features := features || ('>' || v_head);
    words := words || v_noun;
  end if;
  if p_marked like '%n''t%' then
    foreach v_token in array v_words[1:60] loop
      if v_token like '%n''t' then
        features := features || 'not'::text;
        words := words || v_token;
      end if;
    end loop;
  end if;
end;
$$;
