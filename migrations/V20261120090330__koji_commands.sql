-- Why: the commands of command dispatch servers, a function each, and their registry.

create function hub_internal.koji_usage(p_name text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select 'Usage: ' || k.usage || E'\n' || k.description
            from public.koji_commands k
           where k.name = p_name);
end;
$$;

create function hub_internal.koji_server(p_channel_id uuid)
  returns uuid
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (select c.server_id from public.hub_channels c where c.id = p_channel_id);
end;
$$;

create function hub_internal.koji_stats(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_server uuid := hub_internal.koji_server(p_channel_id);
begin
  if cardinality(p_words) > 0 then
    return hub_internal.koji_usage('stats');
  end if;
  return (
    select format(E'Pipeline: %s active leads\nHot: %s | Warm: %s | Cold: %s\nRevenue MTD: $%s',
                  count(*),
                  count(*) filter (where p.tier = 'hot'),
                  count(*) filter (where p.tier = 'warm'),
                  count(*) filter (where p.tier = 'cold'),
                  (select trim(to_char(coalesce(sum(o.amount_cents), 0) / 100, 'FM999,999,999,990'))
                     from public.koji_orders o
                    where o.server_id = v_server and o.ordered_at >= date_trunc('month', now())))
      from public.koji_prospects p
     where p.server_id = v_server and p.stage not in ('won', 'lost')
  );
end;
$$;

-- The twenty best of a tier, in a market if one is named.
create function hub_internal.koji_tier(p_channel_id uuid, p_words text[], p_tier text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_market text := nullif(array_to_string(p_words, ' '), '');
begin
  return coalesce(
    (select string_agg(
              format('%s. %s (★%s) - %s', r.n, r.name, coalesce(r.rating::text, '–'), r.stage),
              E'\n' order by r.n)
       from (select p.name, p.rating, p.stage,
                    row_number() over (order by p.rating desc nulls last, p.number) as n
               from public.koji_prospects p
              where p.server_id = hub_internal.koji_server(p_channel_id)
                and p.tier = p_tier
                and p.stage not in ('won', 'lost')
                and (v_market is null or lower(p.market) = lower(v_market))
              order by p.rating desc nulls last, p.number
              limit 20) r),
    format('No %s prospects%s.', p_tier, coalesce(' in ' || hub_internal.shorten(v_market, 60), '')));
end;
$$;

create function hub_internal.koji_hot(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$ begin return hub_internal.koji_tier(p_channel_id, p_words, 'hot'); end; $$;

create function hub_internal.koji_warm(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$ begin return hub_internal.koji_tier(p_channel_id, p_words, 'warm'); end; $$;

create function hub_internal.koji_lead(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_asked text := ltrim(array_to_string(p_words, ' '), '#');
  v_lead  public.koji_prospects;
begin
  if v_asked = '' then
    return hub_internal.koji_usage('lead');
  end if;
  select p.* into v_lead
    from public.koji_prospects p
   where p.server_id = hub_internal.koji_server(p_channel_id)
     and (p.number::text = v_asked or lower(p.name) = lower(v_asked))
   order by p.number::text = v_asked desc, p.number
   limit 1;
  if not found then
    return format('No lead %s. !hot and !warm list some; a lead is asked for by its number or name.',
                  hub_internal.shorten(v_asked, 60));
  end if;
  return format(E'#%s %s (★%s)\nTier: %s | Stage: %s\nMarket: %s',
                v_lead.number, v_lead.name, coalesce(v_lead.rating::text, '–'),
                v_lead.tier, v_lead.stage, v_lead.market)
      || coalesce(E'\nAddress: ' || v_lead.address, '')
      || coalesce(E'\nContact: ' || v_lead.contact, '')
      || coalesce(E'\nLast contact: ' || to_char(v_lead.last_contact_at at time zone 'utc', 'YYYY-MM-DD'), '')
      || (select E'\nSamples sent: ' || count(*) from public.koji_samples s where s.prospect_id = v_lead.id)
      || coalesce((select E'\nFollow up: ' || to_char(min(f.due_at) at time zone 'utc', 'YYYY-MM-DD')
                     from public.koji_followups f
                    where f.prospect_id = v_lead.id and f.done_at is null), '')
      || coalesce(E'\n' || v_lead.notes, '');
end;
$$;

-- RFC 4180: what holds a comma, a quote or a line break stands in quotes, quotes inside are doubled, lines
-- end with CRLF. What a spreadsheet would take for a formula gets an apostrophe in front.
create function hub_internal.csv_field(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_text text := coalesce(
    case when p_text ~ '^[=+@\t\r-]' and p_text !~ '^-?[0-9.]+$' then '''' || p_text else p_text end, '');
begin
  return case when v_text ~ '[",\r\n]' then '"' || replace(v_text, '"', '""') || '"' else v_text end;
end;
$$;

create function hub_internal.koji_export(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_market text := nullif(array_to_string(p_words, ' '), '');
begin
  return 'number,name,market,tier,stage,rating,address,contact'
    || coalesce(
         (select E'\r\n' || string_agg(
                   concat_ws(',', p.number, hub_internal.csv_field(p.name), hub_internal.csv_field(p.market),
                             p.tier, p.stage, coalesce(p.rating::text, ''),
                             hub_internal.csv_field(p.address), hub_internal.csv_field(p.contact)),
                   E'\r\n' order by p.number)
            from public.koji_prospects p
           where p.server_id = hub_internal.koji_server(p_channel_id)
             and (v_market is null or lower(p.market) = lower(v_market))),
         '');
end;
$$;

create function hub_internal.koji_send_samples(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_server uuid := hub_internal.koji_server(p_channel_id);
  v_names  text;
  v_count  bigint;
begin
  if cardinality(p_words) <> 1 or p_words[1] !~ '^[1-9][0-9]?$' or p_words[1]::int > 50 then
    return hub_internal.koji_usage('send-samples') || E'\n<n> is 1 to 50.';
  end if;
  -- The best that have had none yet; two who ask at once do not send to the same.
  with chosen as (
    select p.id, p.name, p.rating, p.number
      from public.koji_prospects p
     where p.server_id = v_server
       and p.tier in ('hot', 'warm')
       and p.stage in ('new', 'outreach')
       and not exists (select from public.koji_samples s where s.prospect_id = p.id)
     order by p.tier, p.rating desc nulls last, p.number
     limit p_words[1]::int
       for no key update of p skip locked
  ), sent as (
    insert into public.koji_samples (server_id, prospect_id)
    select v_server, c.id from chosen c
  ), planned as (
    insert into public.koji_followups (server_id, prospect_id, due_at)
    select v_server, c.id, now() + interval '7 days' from chosen c
  ), moved as (
    update public.koji_prospects p
       set stage = 'sample',
           last_contact_at = now()
      from chosen c
     where p.id = c.id
  )
  select count(*),
         string_agg(format('%s (★%s)', c.name, coalesce(c.rating::text, '–')),
                    E'\n' order by c.rating desc nulls last, c.number)
    into v_count, v_names
    from chosen c;
  return case when v_count = 0 then 'No samples sent: every hot or warm lead has had one.'
              else format(E'Samples sent to %s:\n%s\nA follow-up is due in 7 days.', v_count, v_names) end;
end;
$$;

create function hub_internal.koji_followup(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_server uuid := hub_internal.koji_server(p_channel_id);
  v_names  text;
  v_count  bigint;
begin
  if cardinality(p_words) > 0 then
    return hub_internal.koji_usage('followup');
  end if;
  with due as (
    select f.id, f.prospect_id
      from public.koji_followups f
     where f.server_id = v_server and f.done_at is null and f.due_at <= now()
     order by f.due_at
     limit 50
       for update skip locked
  ), done as (
    update public.koji_followups f set done_at = now() from due where f.id = due.id
  ), moved as (
    update public.koji_prospects p
       set stage = 'follow_up',
           last_contact_at = now()
     where p.id in (select due.prospect_id from due) and p.stage not in ('won', 'lost')
    returning p.name
  )
  select count(*), string_agg(m.name, ', ' order by m.name) into v_count, v_names from moved m;
  return case when v_count = 0 then 'No follow-ups are due.'
              else format('Followed up with %s: %s.', v_count, v_names) end;
end;
$$;

-- A day's pipeline, from midnight to midnight UTC: what !digest answers and the feed of #digest posts.
create function hub_internal.koji_day(p_channel_id uuid, p_day date)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_server uuid := hub_internal.koji_server(p_channel_id);
  v_from   timestamptz := p_day::timestamp at time zone 'utc';
  v_to     timestamptz := v_from + interval '24 hours';
begin
  return format(E'Digest of %s\n%s\nNew leads: %s | Samples sent: %s | Orders: %s\nFollow-ups due: %s',
    to_char(p_day, 'YYYY-MM-DD'),
    hub_internal.koji_stats(p_channel_id, '{}'),
    (select count(*)
       from public.koji_prospects p
      where p.server_id = v_server and p.created_at >= v_from and p.created_at < v_to),
    (select count(*)
       from public.koji_samples s
      where s.server_id = v_server and s.sent_at >= v_from and s.sent_at < v_to),
    (select count(*)
       from public.koji_orders o
      where o.server_id = v_server and o.ordered_at >= v_from and o.ordered_at < v_to),
    (select count(*)
       from public.koji_followups f
      where f.server_id = v_server and f.done_at is null and f.due_at <= now()));
end;
$$;

create function hub_internal.koji_digest(p_channel_id uuid, p_words text[])
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if cardinality(p_words) > 0 then
    return hub_internal.koji_usage('digest');
  end if;
  return hub_internal.koji_day(p_channel_id, (now() at time zone 'utc')::date);
end;
$$;

insert into public.koji_commands (name, usage, description, writes, function) values
  ('stats',        '!stats',            'Pipeline summary',           false, 'hub_internal.koji_stats'),
  ('hot',          '!hot [market]',     'Hot-tier prospects',         false, 'hub_internal.koji_hot'),
  ('warm',         '!warm [market]',    'Warm-tier prospects',        false, 'hub_internal.koji_warm'),
  ('lead',         '!lead <id>',        'Prospect detail',            false, 'hub_internal.koji_lead'),
  ('export',       '!export [market]',  'CSV export',                 false, 'hub_internal.koji_export'),
  ('send-samples', '!send-samples <n>', 'Top prospects for sampling', true, 'hub_internal.koji_send_samples'),
  ('followup',     '!followup',         'Trigger follow-ups',         true, 'hub_internal.koji_followup'),
  ('digest',       '!digest',           'Daily summary',              false, 'hub_internal.koji_digest');
