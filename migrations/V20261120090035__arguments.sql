-- Why: what an argument must be is said once, in the same words for all functions, and so is how a text is
-- known by its hash.

-- What is refused -------------------------------------------------------------------------------------------

-- What is called again and again by whoever keeps time: a moment, and how much one call may do.
create function hub_internal.require_round(p_now timestamptz, p_limit int, p_most int default 100000)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  perform hub_internal.require_moment(p_now);
  if p_limit is null or p_limit not between 1 and p_most then
    perform hub_internal.refuse('UH001', 'bad input',
      format('p_limit %s', coalesce(p_limit::text, 'is null')),
      format('1 to %s.', to_char(p_most, 'FM999,999')));
  end if;
end;
$$;

-- A null is neither yes nor no, and is not what the default says.
create function hub_internal.require_given(p_value boolean, p_name text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  if p_value is null then
    perform hub_internal.refuse('UH001', 'bad input', format('%s is null', p_name),
      'Give true or false, or leave it out.');
  end if;
end;
$$;

-- A text without the blanks at its ends; null: nothing is left.
create function hub_internal.trimmed(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return nullif(btrim(p_text, E' \t\r\n'), '');
end;
$$;

create function hub_internal.require_text(p_text text, p_name text, p_most int default 100000)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if btrim(p_text, E' \t\r\n') <> '' is not true or char_length(p_text) > p_most then
    perform hub_internal.refuse('UH001', 'bad input', p_name,
      format('1 to %s characters, and more than blanks.', to_char(p_most, 'FM999,999')));
  end if;
end;
$$;

create function hub_internal.require_one_of(p_value text, p_name text, p_choices text[])
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if (p_value = any (p_choices)) is not true then
    perform hub_internal.refuse('UH001', 'bad input',
      format('%s %s', p_name, coalesce(quote_literal(left(p_value, 40)), 'is null')),
      format('One of %s and %s.', array_to_string(trim_array(p_choices, 1), ', '),
             p_choices[cardinality(p_choices)]));
  end if;
end;
$$;

-- What a caller names something by, to say it again. Null is none.
create function hub_internal.require_key(p_key text, p_name text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if char_length(p_key) not between 1 and 200 then
    perform hub_internal.refuse('UH001', 'bad input', p_name, 'A key has 1 to 200 characters.');
  end if;
end;
$$;

-- Shapes ----------------------------------------------------------------------------------------------------

-- What Aura decodes metadata as. Null is none.
create function hub_internal.is_flat_map(p_map jsonb)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return jsonb_typeof(p_map) = 'object'
     and not jsonb_path_exists(p_map, 'strict $.* ? (@.type() != "string")');
end;
$$;
grant execute on function hub_internal.is_flat_map to authenticated, service_role;

create function hub_internal.uuid_of(p_text text)
  returns uuid
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case when p_text ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then p_text::uuid end;
end;
$$;

-- Hashes ----------------------------------------------------------------------------------------------------

create function hub_internal.sha256_of(p_text text)
  returns bytea
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return sha256(convert_to(p_text, 'UTF8'));
end;
$$;

-- The same as hexadecimal digits.
create function hub_internal.sha256_text(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return encode(hub_internal.sha256_of(p_text), 'hex');
end;
$$;
