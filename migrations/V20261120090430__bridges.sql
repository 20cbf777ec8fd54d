-- Why: what a bridge may be tied to, and when it has nothing more to say.

-- The chat that a target is in: topics share their chat's ids.
create function hub_internal.chat_of(p_target text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return split_part(p_target, '/', 1);
end;
$$;

-- The key under which a message of a chat is known to the hub: an id says nothing without its chat. It has at
-- most 200 characters.
create function hub_internal.chat_key(p_chat text, p_external_id text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_key text := p_chat || ' ' || p_external_id;
begin
  return case when char_length(v_key) <= 200 then v_key
              else hub_internal.sha256_text(v_key) end;
end;
$$;

-- An address that a request may go to, as far as its text tells: https, a name with a dot, no user, no number
-- in a private net. What the name means is looked up when it is delivered, by the worker, which refuses
-- private addresses and redirects once more.
create function hub_internal.is_public_url(p_url text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
  set standard_conforming_strings = on
as $$
declare
  v_host text := lower(substring(p_url
                                 from '^https://([A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?(?:[/?][!-~]*)?$'));
begin
  -- An address in numbers is refused whole: decimal, octal and short forms of a private one are many, and
  -- receivers have names.
  return coalesce(
    char_length(p_url) <= 2000
      and v_host ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$'
      and v_host !~ '(^|\.)(localhost|local|internal|localdomain|home|lan|arpa|test|invalid)$',
    false);
end;
$$;

-- A topic of ntfy: whoever knows its name reads what is sent there.
create function hub_internal.is_ntfy_target(p_target text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return hub_internal.is_public_url(p_target) and p_target ~ '^https://[^/]+/[A-Za-z0-9_-]{1,64}$';
end;
$$;

-- A place in a chat as everybody writes it: channel:<id> or user:<id>, with /<topic> for a topic of Telegram.
create function hub_internal.is_chat_target(p_target text)
  returns boolean
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(p_target ~ '^(channel|user):-?[A-Za-z0-9_@.-]{1,64}(/[0-9]{1,20})?$', false);
end;
$$;

-- The name of the secret that a bridge speaks with: its own, or its provider's.
create function hub_internal.bridge_secret(p_bridge public.hub_bridges)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return coalesce(p_bridge.secret_name, hub_internal.default_secret(p_bridge.provider));
end;
$$;

create function hub_internal.bridge_reaches(p_bridge public.hub_bridges)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return hub_internal.may_reach(
    p_bridge.server_id,
    p_bridge.provider,
    case p_bridge.provider when 'github' then substr(p_bridge.target, 9) else p_bridge.target end,
    hub_internal.bridge_secret(p_bridge));
end;
$$;

create function hub_internal.check_bridge()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
declare
  v_read_only boolean;
  v_secret    text := hub_internal.bridge_secret(new);
  v_elsewhere boolean := tg_op = 'INSERT';
begin
  -- Before anything is looked up: this runs before the policy does, and must tell a stranger nothing.
  if not hub_internal.may_own(new.server_id) then
    perform hub_internal.refuse('42501', 'permission denied', 'bridges of this server',
      'An owner of the server makes them.');
  end if;
  select c.is_read_only
    into v_read_only
    from public.hub_channels c
   where c.id = new.channel_id
     and c.server_id = new.server_id;
  if not found then
    perform hub_internal.refuse('UH004', 'not found', format('channel_id %s', new.channel_id),
      'Give a channel of this server.');
  end if;
  if new.provider = 'webhook' then
    if not hub_internal.is_public_url(new.target) then
      perform hub_internal.refuse('UH001', 'bad input', 'target',
        'A webhook''s target is an https URL of a public name: '
        'no user, no private name, no address in numbers.');
    elsif new.secret_name is null then
      perform hub_internal.refuse('UH001', 'bad input', 'secret_name is null',
        'Name the worker''s environment variable that holds the signing secret: HUB_BRIDGE_<NAME>.');
    end if;
  elsif new.provider = 'ntfy' then
    if not hub_internal.is_ntfy_target(new.target) then
      perform hub_internal.refuse('UH001', 'bad input', 'target',
        'A topic is written https://<host>/<topic>, with a public name.');
    elsif new.starters <> '{}'
          and (cardinality(new.starters) > 1 or hub_internal.uuid_of(new.starters[1]) is null) then
      perform hub_internal.refuse('UH001', 'bad input', 'starters',
        'Of ntfy: the id of the one person whose phone it is.');
    elsif new.starters <> '{}' and not hub_internal.is_trusted()
          and hub_internal.uuid_of(new.starters[1]) <> hub_internal.person() then
      perform hub_internal.refuse('42501', 'permission denied', 'starters',
        'What is pressed there counts as that person''s: name yourself, or nobody.');
    end if;
  elsif new.provider = 'github' then
    if (new.target ~ '^channel:[A-Za-z0-9._-]{1,100}/[A-Za-z0-9._*-]{1,100}$') is not true then
      perform hub_internal.refuse('UH001', 'bad input', 'target',
        'A repository is written channel:<owner>/<name>; all of an owner''s are channel:<owner>/*.');
    end if;
  elsif not hub_internal.is_chat_target(new.target) then
    perform hub_internal.refuse('UH001', 'bad input', 'target',
      'A target is written channel:<id> or user:<id>, never as a bare id.');
  end if;
  if new.direction <> 'out' and new.provider in ('webhook', 'github', 'ntfy') then
    perform hub_internal.refuse('UH001', 'bad input', format('direction %L', new.direction),
      'A bridge of this provider goes out only; GitHub comes in by hub_webhook_rules.');
  elsif new.direction <> 'out' and v_read_only then
    perform hub_internal.refuse('UH001', 'bad input', format('direction %L', new.direction),
      'This channel is read only: it can be bridged out.');
  end if;

  if tg_op = 'UPDATE' then
    new.updated_at := now();
    v_elsewhere := (new.server_id, new.provider, new.target, v_secret)
                   is distinct from (old.server_id, old.provider, old.target,
                                     hub_internal.bridge_secret(old));
    if v_elsewhere or new.channel_id <> old.channel_id then
      new.warned := null;
    end if;
  end if;
  if v_elsewhere and not hub_internal.is_trusted() and not hub_internal.bridge_reaches(new) then
    perform hub_internal.refuse('42501', 'permission denied',
      format('this server has no place %s %s with %s',
             new.provider, new.target, coalesce(v_secret, 'no secret')),
      format('Whoever runs the deployment lets it be reached: '
             'insert into public.hub_places (kind, server_id, target, secret_name) values (%L, %L, %L, %L).',
             new.provider, new.server_id, new.target, v_secret));
  end if;
  if new.direction <> 'out' then
    -- Locked, so that of two at once the second is told this and not the index's words, which show what it
    -- may not see.
    perform pg_advisory_xact_lock(hashtextextended('hub_bridges ' || new.provider || ' ' || new.target, 0));
    if exists (select from public.hub_bridges b
                where b.provider = new.provider
                  and b.target = new.target
                  and b.direction in ('in', 'both')
                  and b.id <> new.id
                  and b.channel_id <> new.channel_id) then
      perform hub_internal.refuse('UH003', 'conflict', 'another bridge lets this chat in',
        'A chat comes into one channel. Make this one go out only, or change the other.');
    end if;
  end if;
  return new;
end;
$$;
create trigger hub_bridges_check
  before insert or update of id, server_id, channel_id, provider, target, direction, allow_commands,
                             starts_tasks, starters, mirrors_strangers, secret_name, enabled
  on public.hub_bridges
  for each row execute function hub_internal.check_bridge();

-- After, and not with the check: a row that ON CONFLICT skips gives nothing.
create function hub_internal.give_bridge_place()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
  set standard_conforming_strings = on
as $$
begin
  if hub_internal.is_trusted()
     and (tg_op = 'INSERT'
          or (new.server_id, new.target, new.secret_name)
             is distinct from (old.server_id, old.target, old.secret_name)) then
    perform hub_internal.give_place(
      new.provider,
      new.server_id,
      case when new.provider <> 'github' then new.target
           when new.target ~ '^channel:[A-Za-z0-9._-]+/([A-Za-z0-9._-]+|\*)$' then substr(new.target, 9)
           else split_part(substr(new.target, 9), '/', 1) || '/*' end,
      hub_internal.bridge_secret(new));
  end if;
  return null;
end;
$$;
create trigger hub_bridges_give_place
  after insert or update of server_id, target, secret_name on public.hub_bridges
  for each row execute function hub_internal.give_bridge_place();
create trigger hub_bridges_fresh_id
  before insert on public.hub_bridges
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();
create trigger hub_bridges_bound
  before insert on public.hub_bridges
  for each row execute function hub_internal.bound_rows('server_bridges');

-- A bridge that was switched off or turned away has nothing more to say.
create function hub_internal.silence_bridge()
  returns trigger
  language plpgsql
  security definer
  set search_path = ''
as $$
begin
  update public.hub_outbox o
     set status = 'dead',
         error = 'its bridge was switched off or changed',
         finished_at = now(),
         updated_at = now()
   where o.bridge_id = new.id
     and o.status = 'pending';
  return null;
end;
$$;
create trigger hub_bridges_silence
  after update on public.hub_bridges
  for each row when (old.enabled
                     and (not new.enabled
                          or new.direction = 'in'
                          or new.target <> old.target
                          or new.channel_id <> old.channel_id))
  execute function hub_internal.silence_bridge();

-- Said in the channel of a bridge, once until it is well again: what was done otherwise than asked, or can
-- not be done at all. Its target is its owners' to know.
create function hub_internal.warn_of_bridge(p_bridge_id uuid, p_target text, p_what text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_channel  uuid;
  v_provider text;
  v_what     text := hub_internal.one_line(hub_internal.tamed(hub_internal.shorten(p_what, 300)));
begin
  update public.hub_bridges b
     set warned = v_what
   where b.id = p_bridge_id
     and b.target = p_target
     and b.warned is distinct from v_what
  returning b.channel_id, b.provider into v_channel, v_provider;
  if found and v_what is not null then
    perform hub_internal.post('bridge_warning', v_channel, null, null,
                              hub_internal.named_values('provider', v_provider, 'reason', v_what));
  end if;
end;
$$;
