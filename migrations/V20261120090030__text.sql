-- Why: what is done to texts everywhere: cutting between characters as people see them, one line, names of
-- folders, quoting what strangers wrote.

-- Cutting ---------------------------------------------------------------------------------------------------

-- Characters that belong to the one before them (Unicode 14: Mn, Me, Mc, joiners, tones of skin, tags, the
-- later letters of a Hangul syllable), as the inside of a bracket expression.
create function hub_internal.extenders()
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
begin
  return
    '\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a' ||
    '\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a' ||
    '\u07a6-\u07b0\u07eb-\u07f3\u07fd\u0816-\u0819\u081b-\u0823\u0825-\u0827\u0829-\u082d\u0859-\u085b' ||
    '\u0898-\u089f\u08ca-\u08e1\u08e3-\u0903\u093a-\u093c\u093e-\u094f\u0951-\u0957\u0962\u0963' ||
    '\u0981-\u0983\u09bc\u09be-\u09cd\u09d7\u09e2\u09e3\u09fe-\u0a03\u0a3c-\u0a51\u0a70\u0a71\u0a75' ||
    '\u0a81-\u0a83\u0abc\u0abe-\u0acd\u0ae2\u0ae3\u0afa-\u0b03\u0b3c\u0b3e-\u0b57\u0b62\u0b63\u0b82' ||
    '\u0bbe-\u0bcd\u0bd7\u0c00-\u0c04\u0c3c\u0c3e-\u0c56\u0c62\u0c63\u0c81-\u0c83\u0cbc\u0cbe-\u0cd6' ||
    '\u0ce2\u0ce3\u0d00-\u0d03\u0d3b\u0d3c\u0d3e-\u0d4d\u0d57\u0d62\u0d63\u0d81-\u0d83\u0dca-\u0ddf' ||
    '\u0df2\u0df3\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd\u0f18\u0f19\u0f35' ||
    '\u0f37\u0f39\u0f3e\u0f3f\u0f71-\u0f84\u0f86\u0f87\u0f8d-\u0fbc\u0fc6\u102b-\u103e\u1056-\u1059' ||
    '\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d\u108f\u109a-\u109d\u1160-\u11ff' ||
    '\u135d-\u135f\u1712-\u1715\u1732-\u1734\u1752\u1753\u1772\u1773\u17b4-\u17d3\u17dd\u180b-\u180d' ||
    '\u180f\u1885\u1886\u18a9\u1920-\u193b\u1a17-\u1a1b\u1a55-\u1a7f\u1ab0-\u1b04\u1b34-\u1b44' ||
    '\u1b6b-\u1b73\u1b80-\u1b82\u1ba1-\u1bad\u1be6-\u1bf3\u1c24-\u1c37\u1cd0-\u1cd2\u1cd4-\u1ce8\u1ced' ||
    '\u1cf4\u1cf7-\u1cf9\u1dc0-\u1dff\u200c\u200d\u20d0-\u20f0\u2cef-\u2cf1\u2d7f\u2de0-\u2dff' ||
    '\u302a-\u302f\u3099\u309a\ua66f-\ua672\ua674-\ua67d\ua69e\ua69f\ua6f0\ua6f1\ua802\ua806\ua80b' ||
    '\ua823-\ua827\ua82c\ua880\ua881\ua8b4-\ua8c5\ua8e0-\ua8f1\ua8ff\ua926-\ua92d\ua947-\ua953' ||
    '\ua980-\ua983\ua9b3-\ua9c0\ua9e5\uaa29-\uaa36\uaa43\uaa4c\uaa4d\uaa7b-\uaa7d\uaab0\uaab2-\uaab4' ||
    '\uaab7\uaab8\uaabe\uaabf\uaac1\uaaeb-\uaaef\uaaf5\uaaf6\uabe3-\uabea\uabec\uabed\ud7b0-\ud7ff' ||
    '\ufb1e\ufe00-\ufe0f\ufe20-\ufe2f\uff9e\uff9f\U000101fd\U000102e0\U00010376-\U0001037a' ||
    '\U00010a01-\U00010a0f\U00010a38-\U00010a3f\U00010ae5\U00010ae6\U00010d24-\U00010d27' ||
    '\U00010eab\U00010eac\U00010f46-\U00010f50\U00010f82-\U00010f85\U00011000-\U00011002' ||
    '\U00011038-\U00011046\U00011070\U00011073\U00011074\U0001107f-\U00011082\U000110b0-\U000110ba' ||
    '\U000110c2\U00011100-\U00011102\U00011127-\U00011134\U00011145\U00011146\U00011173' ||
    '\U00011180-\U00011182\U000111b3-\U000111c0\U000111c9-\U000111cc\U000111ce\U000111cf' ||
    '\U0001122c-\U00011237\U0001123e\U000112df-\U000112ea\U00011300-\U00011303\U0001133b\U0001133c' ||
    '\U0001133e-\U0001134d\U00011357\U00011362-\U00011374\U00011435-\U00011446\U0001145e' ||
    '\U000114b0-\U000114c3\U000115af-\U000115c0\U000115dc\U000115dd\U00011630-\U00011640' ||
    '\U000116ab-\U000116b7\U0001171d-\U0001172b\U0001182c-\U0001183a\U00011930-\U0001193e\U00011940' ||
    '\U00011942\U00011943\U000119d1-\U000119e0\U000119e4\U00011a01-\U00011a0a\U00011a33-\U00011a39' ||
    '\U00011a3b-\U00011a3e\U00011a47\U00011a51-\U00011a5b\U00011a8a-\U00011a99\U00011c2f-\U00011c3f' ||
    '\U00011c92-\U00011cb6\U00011d31-\U00011d45\U00011d47\U00011d8a-\U00011d97\U00011ef3-\U00011ef6' ||
    '\U00016af0-\U00016af4\U00016b30-\U00016b36\U00016f4f\U00016f51-\U00016f92\U00016fe4-\U00016ff1' ||
    '\U0001bc9d\U0001bc9e\U0001cf00-\U0001cf46\U0001d165-\U0001d169\U0001d16d-\U0001d172' ||
    '\U0001d17b-\U0001d182\U0001d185-\U0001d18b\U0001d1aa-\U0001d1ad\U0001d242-\U0001d244' ||
    '\U0001da00-\U0001da36\U0001da3b-\U0001da6c\U0001da75\U0001da84\U0001da9b-\U0001daaf' ||
    '\U0001e000-\U0001e02a\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e8d0-\U0001e8d6' ||
    '\U0001e944-\U0001e94a\U0001f3fb-\U0001f3ff\U000e0020-\U000e01ef';
end;
$$;
grant execute on function hub_internal.extenders to authenticated, service_role;

-- The first characters of a text, p_length at most, and no grapheme cluster in two (Unicode's annex 29,
-- without its rules for scripts whose letters join by themselves): not a family from its children, not a
-- letter from its accent. A heap of more than 32 marks is cut nevertheless.
create function hub_internal.head(p_text text, p_length int)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_at    integer := p_length;
  v_least integer := greatest(p_length - 32, 0);
  v_next  text;
  v_last  text;
begin
  if char_length(p_text) <= p_length then
    return p_text;
  end if;
  while v_at > v_least loop
    v_last := substr(p_text, v_at, 1);
    v_next := substr(p_text, v_at + 1, 1);
    exit when not (
      v_next ~ ('[' || hub_internal.extenders() || ']')
      or v_last = E'\u200d' and ascii(v_next) > 168
      or v_last = E'\r' and v_next = E'\n'
      -- Flags are pairs: cut between the second and the third.
      or v_next ~ '[\U0001f1e6-\U0001f1ff]'
         and char_length(substring(left(p_text, v_at) from '[\U0001f1e6-\U0001f1ff]+$')) % 2 = 1);
    v_at := v_at - 1;
  end loop;
  return left(p_text, case when v_at > v_least then v_at else greatest(p_length, 0) end);
end;
$$;
grant execute on function hub_internal.head to authenticated, service_role;

create function hub_internal.shorten(p_text text, p_length int)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when char_length(p_text) <= p_length then p_text
              else hub_internal.head(p_text, p_length - 1) || '…' end;
end;
$$;

create function hub_internal.one_line(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return trim(regexp_replace(p_text, E'\\s+', ' ', 'g'));
end;
$$;

-- Pieces of at most 2000 characters, cut between lines where a line is not longer itself.
create function hub_internal.chunks(p_text text, p_length int default 2000)
  returns text[]
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_chunks text[] := '{}'::text[];
  v_chunk  text;
  v_line   text;
  v_head   text;
begin
  if char_length(p_text) <= p_length then
    return array[p_text];
  end if;
  foreach v_line in array string_to_array(p_text, E'\n') loop
    while char_length(v_line) > p_length loop
      if v_chunk is not null then
        v_chunks := v_chunks || v_chunk;
        v_chunk := null;
      end if;
      v_head := hub_internal.head(v_line, p_length);
      v_chunks := v_chunks || v_head;
      v_line := substr(v_line, char_length(v_head) + 1);
    end loop;
    if v_chunk is null then
      v_chunk := v_line;
    elsif char_length(v_chunk) + 1 + char_length(v_line) <= p_length then
      v_chunk := v_chunk || E'\n' || v_line;
    else
      v_chunks := v_chunks || v_chunk;
      v_chunk := v_line;
    end if;
  end loop;
  return v_chunks || v_chunk;
end;
$$;

create function hub_internal.duration_text(p_from timestamptz, p_to timestamptz)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  s bigint := greatest(0, round(extract(epoch from p_to - p_from)));
begin
  return case when p_from is null or p_to is null then '—'
              when s < 60   then format('%ss', s)
              when s < 3600 then format('%sm %ss', s / 60, s % 60)
              else format('%sh %sm', s / 3600, s % 3600 / 60) end;
end;
$$;

-- As people read it: 0.4 GB. Rounded up: who frees so much has freed enough.
create function hub_internal.size_text(p_bytes numeric)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return to_char(ceil(p_bytes / 100000000) / 10, 'FM999999990.0') || ' GB';
end;
$$;

create function hub_internal.moment_text(p_at timestamptz)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return to_char(p_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS"Z"');
end;
$$;

-- Names of folders and repositories -------------------------------------------------------------------------

-- What a branch that work begins at may be called: what git check-ref-format takes, of plain characters, and
-- nothing that git reads as an option, as HEAD or as a commit. Below hub/ are the branches of the work, and a
-- branch hub would leave no room for them.
create function hub_internal.is_base_branch(p_name text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return p_name ~ '^[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}$'
     and p_name !~ '[.][.]|//|/[.]|/-|[/.]$|[.]lock(/|$)|^[A-Z_]*HEAD$'
     and p_name !~* '^(hub(/.*)?|(refs|heads|remotes|tags)/.*|head|[0-9a-f]{40}|[0-9a-f]{64})$';
end;
$$;
grant execute on function hub_internal.is_base_branch to authenticated, service_role;

-- Whether a place of the kind github (owner/name, owner/*, or * for all) holds a repository. GitHub's names
-- have no case.
create function hub_internal.holds_repository(p_place text, p_repository text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return p_place = '*'
      or lower(p_place) = lower(p_repository)
      or right(p_place, 2) = '/*'
         and lower(left(p_place, -1)) = lower(left(p_repository, char_length(p_place) - 1));
end;
$$;

-- A folder below a machine's projects root as everybody writes it: no blank or hidden segment, none that
-- leads elsewhere, no other system's separator. Null for what is none, the bare root among it.
create function hub_internal.normal_path(p_path text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_segments text[];
begin
  -- Nearly all are so already: plain segments, none empty or hidden.
  if p_path !~ '[^A-Za-z0-9_./-]|^$|^[/.]|/[/.]|/$' and char_length(p_path) <= 255 then
    return p_path;
  end if;
  v_segments := array_remove(string_to_array(normalize(btrim(p_path), nfc), '/'), '');
  if p_path is null or p_path like '/%' or char_length(p_path) > 1000 or cardinality(v_segments) = 0
     or exists (select from unnest(v_segments) s
                 where s ~ '^\.|^\s|\s$|[[:cntrl:]\\:]'
                    or char_length(s) > 255) then
    return null;
  end if;
  return array_to_string(v_segments, '/');
end;
$$;

create function hub_internal.require_path(p_path text, p_what text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_path text := hub_internal.normal_path(p_path);
begin
  if v_path is null then
    perform hub_internal.refuse('23514', 'bad input',
      format('%s %L', p_what, hub_internal.shorten(p_path, 200)),
      'A folder below the root that each machine has for projects, as team/app: no segment that begins '
      'with a dot, no backslash or colon, never the root itself.');
  end if;
  return v_path;
end;
$$;

-- Others' words ---------------------------------------------------------------------------------------------

-- Without what a reader does not see and a model does (control and format characters, tags, changes of
-- direction), one kind of line end, and nobody addressed: @codex is (at)codex. Joiners stay where they join
-- (families, Indic and Arabic letters), which is never behind ASCII.
create function hub_internal.tamed(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
begin
  return regexp_replace(
    regexp_replace(
      regexp_replace(
        regexp_replace(p_text, '\r\n|[\r\u000b\u000c\u0085\u2028\u2029]', E'\n', 'g'),
        '[\u0001-\u0008\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f'
        '\ufeff\U000e0000-\U000e0fff]', '', 'g'),
      '(^|[\u0001-\u007f])[\u200c\u200d]+', '\1', 'g'),
    '[@＠](?=\s*(claude|codex|gemini))', '(at)', 'gi');
end;
$$;
comment on function hub_internal.tamed(text) is
  'Text from outside without invisible characters, with \n for line ends, and with no model addressed.';

-- A name as others read it: one line of at most 80 characters, without what nobody sees. Null: nothing is
-- left.
create function hub_internal.shown_name(p_name text)
  returns text
  language plpgsql
  immutable
  security definer                                -- what it calls is nobody's to call
  set search_path = ''
as $$
begin
  return nullif(hub_internal.head(hub_internal.one_line(hub_internal.tamed(left(p_name, 1000))), 80), '');
end;
$$;
grant execute on function hub_internal.shown_name to authenticated, service_role;

-- One line, as a quotation inside a sentence.
create function hub_internal.quoted_line(p_text text, p_length int)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(
    '`' || nullif(
      hub_internal.shorten(
        replace(hub_internal.one_line(hub_internal.tamed(hub_internal.head(p_text, 4 * p_length))),
                '`', ''''),
        p_length),
      '') || '`',
    '(none)');
end;
$$;

-- Lines, each marked as quoted: nothing that is written in them can end the quotation, begin a line with a
-- command, or stand for a line of ours.
create function hub_internal.quoted_lines(p_text text, p_what text, p_length int)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_text text := btrim(hub_internal.tamed(left(p_text, p_length + 1)), E' \t\n');
begin
  if coalesce(v_text, '') = '' then
    return format('(no %s)', p_what);
  end if;
  return format(E'\n--- %s, quoted ---\n> %s\n--- end of %s ---\n', p_what,
                replace(hub_internal.head(v_text, p_length), E'\n', E'\n> ')
                || case when char_length(p_text) > p_length
                        then format(E'\n> … (cut at %s characters)', p_length)
                        else '' end,
                p_what);
end;
$$;
