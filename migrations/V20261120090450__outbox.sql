-- Why: what is to be delivered, in order for each target, with leases: taken here. How a delivery ends is
-- …outbox_ends.

-- Past their time: the lines of a bridge become one that says how many there were, in the place of the first
-- of them; a summary that was not sent yet goes into the new one. Whatever else is late is a dead letter.
create function hub_internal.expire_outbox(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_target record;
  v_gone   record;
  v_done   integer := 0;
begin
  update public.hub_outbox o
     set status = 'dead',
         error = concat_ws('; ', 'past its time to live', o.error),
         finished_at = p_now,
         updated_at = p_now
   where o.id in (select d.id
                    from public.hub_outbox d
                   where d.status = 'pending'
                     and d.expires_at <= p_now
                     and (d.kind in ('webhook', 'github_comment') or d.summarises > 0)
                   order by d.expires_at
                   limit p_limit
                     for update skip locked);
  get diagnostics v_done = row_count;

  for v_target in
    select distinct o.server_id, o.provider, o.target, o.bridge_id
      from public.hub_outbox o
     where o.status = 'pending'
       and o.expires_at <= p_now
       and o.kind in ('post', 'edit', 'reply')
       and o.summarises = 0
     limit p_limit
  loop
    with gone as (
      update public.hub_outbox o
         set status = 'summarised',
             error = concat_ws('; ', 'past its time to live', o.error),
             finished_at = p_now,
             updated_at = p_now
       where o.id in (select d.id
                        from public.hub_outbox d
                       where d.server_id = v_target.server_id
                         and d.provider = v_target.provider
                         and d.target = v_target.target
                         and d.bridge_id is not distinct from v_target.bridge_id
                         and d.status = 'pending'
                         and d.kind in ('post', 'edit', 'reply')
                         and (d.expires_at <= p_now or d.summarises > 0)
                         for update skip locked)
      returning o.*
    )
    select count(*) as rows,
           -- A stale edit is nothing that anybody misses.
           sum(case when g.summarises > 0 then g.summarises
                    when g.kind = 'edit' then 0
                    else 1 end) as messages,
           min(g.seq) as seq,
           max(g.run_after) as run_after,
           min(coalesce((g.body ->> 'since')::timestamptz, g.created_at)) as since,
           (array_agg(g.secret_name order by g.seq desc))[1] as secret_name,
           bool_and(g.mirror) as mirror
      into v_gone
      from gone g;
    v_done := v_done + v_gone.rows;
    continue when coalesce(v_gone.messages, 0) = 0;
    insert into public.hub_outbox
      (seq, server_id, bridge_id, provider, target, secret_name, kind,
       body,
       idempotency_key, run_after, expires_at, summarises, mirror)
    values
      (v_gone.seq, v_target.server_id, v_target.bridge_id, v_target.provider, v_target.target,
       v_gone.secret_name, 'post',
       jsonb_build_object(
         'text', format('⏱️ %s not sent while this chat could not be reached (%s to %s UTC).',
                        case v_gone.messages when 1 then '1 message was'
                                             else v_gone.messages || ' messages were' end,
                        to_char(v_gone.since at time zone 'utc', 'YYYY-MM-DD HH24:MI'),
                        to_char(p_now at time zone 'utc', 'YYYY-MM-DD HH24:MI')),
         'sender', 'Aura Hub',
         'sender_type', 'system',
         'content_type', 'notice',
         'embed', null,
         'message', null,
         'task', null,
         'since', v_gone.since),
       'summary:' || gen_random_uuid(), greatest(p_now, v_gone.run_after), p_now + interval '7 days',
       v_gone.messages, v_gone.mirror);
  end loop;
  return v_done;
end;
$$;

-- The message out there that an edit of one here is of; of an ask, of a task's progress: as below.
create function hub_internal.told_there(p_row public.hub_outbox)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
    select p.external_id
      from public.hub_outbox p
     where p.idempotency_key = p_row.bridge_id || ':' || p_row.message_id
       and p.target = p_row.target
       and p.kind in ('post', 'reply')
       and p.status = 'sent');
end;
$$;

-- The message out there that an edit of an ask is of.
create function hub_internal.asked_there(p_row public.hub_outbox)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
    select p.external_id
      from public.hub_outbox p
     where p.ask_id = p_row.ask_id
       and p.bridge_id = p_row.bridge_id
       and p.target = p_row.target
       and p.kind in ('post', 'reply')
       and p.status = 'sent'
     order by p.seq desc
     limit 1);
end;
$$;

-- Why a row may not go out by the bridge that it was made for, or null. Switching a bridge off reaches what
-- waits; this, what was in flight, or was written by a transaction that began before.
create function hub_internal.why_not(p_row public.hub_outbox, p_bridge public.hub_bridges)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if p_row.bridge_id is null then
    return case when p_row.kind = 'github_comment'
                 and not hub_internal.may_reach(p_row.server_id, 'github', p_row.body ->> 'repository',
                                                p_row.secret_name)
                then 'its server has no place for the repository any more (hub_places)' end;
  elsif p_bridge.enabled is not true
     or p_bridge.direction = 'in'
     or (p_bridge.server_id, p_bridge.provider) <> (p_row.server_id, p_row.provider)
     or (case p_row.provider
           when 'github'
           then not hub_internal.glob_matches(substr(p_bridge.target, 9), p_row.body ->> 'repository', true)
           else p_bridge.target <> p_row.target end)
     or exists (select from public.hub_channel_messages m
                 where m.id = p_row.message_id and m.channel_id <> p_bridge.channel_id) then
    return 'its bridge was switched off or changed';
  elsif p_row.kind = 'edit'
        and not p_row.is_progress
        and (case when p_row.ask_id is null then hub_internal.told_there(p_row)
                  else hub_internal.asked_there(p_row) end) is null then
    return 'what it would edit was never sent';
  elsif not hub_internal.bridge_reaches(p_bridge) then
    return 'the place of its bridge was taken away: whoever runs the deployment gives it back in hub_places';
  end if;
  return null;
end;
$$;

-- The first row of each target, of what is said here and of what strangers wrote (mirror), from target to
-- target by the index: what is behind it is not read. Beside them the webhooks that failed (overtaken), of
-- each target the one that is due first.
create view hub_internal.outbox_heads as
with recursive heads as (
  (select o.id, o.server_id, o.provider, o.target, o.mirror, o.status, o.run_after, o.expires_at, o.seq
     from public.hub_outbox o
    where o.status in ('pending', 'sending') and not o.overtaken
    order by o.server_id, o.provider, o.target, o.mirror, o.seq
    limit 1)
  union all
  select n.*
    from heads h
   cross join lateral (
     select o.id, o.server_id, o.provider, o.target, o.mirror, o.status, o.run_after, o.expires_at, o.seq
       from public.hub_outbox o
      where o.status in ('pending', 'sending') and not o.overtaken
        and (o.server_id, o.provider, o.target, o.mirror) > (h.server_id, h.provider, h.target, h.mirror)
      order by o.server_id, o.provider, o.target, o.mirror, o.seq
      limit 1) n
), overtaken as (
  (select o.id, o.server_id, o.provider, o.target, o.mirror, o.status, o.run_after, o.expires_at, o.seq
     from public.hub_outbox o
    where o.status = 'pending' and o.overtaken
    order by o.server_id, o.provider, o.target, o.run_after
    limit 1)
  union all
  select n.*
    from overtaken h
   cross join lateral (
     select o.id, o.server_id, o.provider, o.target, o.mirror, o.status, o.run_after, o.expires_at, o.seq
       from public.hub_outbox o
      where o.status = 'pending' and o.overtaken
        and (o.server_id, o.provider, o.target) > (h.server_id, h.provider, h.target)
      order by o.server_id, o.provider, o.target, o.run_after
      limit 1) n
)
select h.*, false as overtaken from heads h
union all
select v.*, true from overtaken v;
comment on view hub_internal.outbox_heads is
  'What stands first in each line of the outbox: what hub_claim_outbox takes from, and hub_outbox_due waits '
  'for.';

create function hub_internal.claim_outbox(p_limit int, p_lease interval, p_now timestamptz)
  returns setof public.hub_outbox
  language plpgsql
  volatile
  security definer                                -- only the service and the database come this far
  set search_path = ''
as $$
declare
  v_id     uuid;
  v_lock   bigint;
  v_row    public.hub_outbox;
  v_bridge public.hub_bridges;
  v_why    text;
  v_count  integer := 0;
  v_dead   integer := 0;
begin
  perform hub_internal.require_trusted('delivering');
  if p_limit is null or p_limit not between 1 and 100 then
    perform hub_internal.refuse('UH001', 'bad input', 'p_limit', 'Claim 1 to 100 rows.');
  elsif p_lease is null or p_lease not between interval '1 second' and interval '1 hour' then
    perform hub_internal.refuse('UH001', 'bad input', 'p_lease', 'A lease lasts 1 second to 1 hour.');
  end if;
  if exists (select from public.hub_outbox o where o.status = 'pending' and o.expires_at <= p_now) then
    perform hub_internal.expire_outbox(p_now, 1000);
  end if;

  -- A mirrored row goes when no other may, and a target where one of the two has to wait waits whole: it is
  -- the receiver who could not be reached. What was overtaken goes likewise, but not while its receiver has
  -- all of them wait.
  for v_id, v_lock in
    with firsts as materialized (
      select * from hub_internal.outbox_heads
    )
    select d.id, hashtextextended('hub_outbox ' || d.server_id || ' ' || d.provider || ' ' || d.target, 0)
      from firsts d
     where d.status = 'pending'
       and d.run_after <= p_now
       and not exists (select from firsts o
                        where (o.server_id, o.provider, o.target) = (d.server_id, d.provider, d.target)
                          and not o.overtaken
                          and (o.status = 'sending'
                               or o.run_after > p_now
                               or d.mirror and not d.overtaken and not o.mirror))
     order by d.run_after, d.seq
  loop
    exit when v_count >= p_limit or v_dead >= 1000;
    -- Of two workers one has the target. Rows alone would not do: theirs and ours may be two, when an earlier
    -- one was committed late.
    continue when not pg_try_advisory_xact_lock(v_lock);
    loop
      -- Looked at again, now that nobody else takes from this target. A row that somebody writes just now (a
      -- note of progress whose transaction goes on) is left for the next look: waiting would hold up all
      -- targets, and whoever waits holding rows can end in a deadlock.
      select o.* into v_row
        from public.hub_outbox o
       where o.id = v_id
         and o.status = 'pending'
         and o.run_after <= p_now
         and o.expires_at > p_now
         and not exists (select from public.hub_outbox f
                          where f.server_id = o.server_id
                            and f.provider = o.provider
                            and f.target = o.target
                            and f.status = 'sending')
         for no key update skip locked;
      exit when not found;
      -- The bridge as it is now, not as it was when the row was made: its word is the last one on whether,
      -- where and as whom.
      select b.* into v_bridge from public.hub_bridges b where b.id = v_row.bridge_id;
      v_why := hub_internal.why_not(v_row, v_bridge);
      if v_why is null then
        update public.hub_outbox o
           set status = 'sending',
               overtaken = false,
               attempt = o.attempt + 1,
               lease_expires_at = p_now + p_lease,
               updated_at = p_now,
               secret_name = case when o.bridge_id is null then o.secret_name
                                  else hub_internal.bridge_secret(v_bridge) end,
               edit_of = case
                 when o.kind = 'edit' and o.ask_id is not null then hub_internal.asked_there(o)
                 when o.kind = 'edit' and not o.is_progress then hub_internal.told_there(o)
                 when o.kind = 'edit' then
                 (select p.external_id
                    from public.hub_outbox p
                   where p.task_id = o.task_id
                     and p.bridge_id = o.bridge_id
                     and p.is_progress
                     and p.kind = 'post'
                     and p.status = 'sent'
                     and p.external_id is not null
                     and hub_internal.chat_of(p.target) = hub_internal.chat_of(o.target)
                   order by p.seq desc
                   limit 1) end,
               reply_to = case when o.reply_message_id is null then o.reply_to else
                 (select m.external_id
                    from hub_internal.bridge_messages m
                   where m.message_id = o.reply_message_id
                     and m.bridge_id = o.bridge_id
                     and m.chat = hub_internal.chat_of(o.target)
                     and not m.interaction
                   order by m.incoming desc, m.part
                   limit 1) end
         where o.id = v_id
        returning o.* into v_row;
        if v_row.kind = 'edit' and v_row.edit_of is null then
          update public.hub_outbox o set kind = 'post' where o.id = v_id returning o.* into v_row;
        end if;
        v_row.body := hub_internal.with_keys(v_row, v_bridge);
        v_count := v_count + 1;
        return next v_row;
        exit;
      end if;
      update public.hub_outbox o
         set status = 'dead',
             overtaken = false,
             error = v_why,
             finished_at = p_now,
             updated_at = p_now
       where o.id = v_id;
      v_dead := v_dead + 1;
      exit when v_dead >= 1000;
      select o.id into v_id
        from public.hub_outbox o
       where o.server_id = v_row.server_id
         and o.provider = v_row.provider
         and o.target = v_row.target
         and o.status in ('pending', 'sending')
         and not o.overtaken
       order by o.mirror, o.seq
       limit 1;
      exit when not found;
    end loop;
  end loop;
  if v_dead >= 1000 then
    perform hub_internal.wake_errand('outbox');
  end if;
end;
$$;

create function hub_internal.outbox_due()
  returns timestamptz
  language plpgsql
  stable
  security definer
  set search_path = ''
as $$
begin
  perform hub_internal.require_trusted('delivering');
  return (
    with firsts as materialized (
      select * from hub_internal.outbox_heads
    ), lines as (
      select f.server_id, f.provider, f.target, bool_or(f.status = 'sending') as in_flight,
             least(max(f.run_after), min(f.expires_at)) as due
        from firsts f
       where not f.overtaken
       group by f.server_id, f.provider, f.target
    ), waiting as (
      select l.server_id, l.provider, l.target, l.due from lines l where not l.in_flight
      union all
      -- Not before the line that its receiver has wait.
      select v.server_id, v.provider, v.target, greatest(least(v.run_after, v.expires_at), l.due)
        from firsts v
        left join lines l using (server_id, provider, target)
       where v.overtaken
    )
    select min(w.due)
      from waiting w
     where not exists (select from public.hub_outbox f
                        where f.status = 'sending'
                          and (f.server_id, f.provider, f.target) = (w.server_id, w.provider, w.target)));
end;
$$;
