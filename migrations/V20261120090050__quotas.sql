-- Why: strangers share a deployment, and what one of them writes must not be what all others wait for. How
-- much is enough is a row here; whoever wants more is told so (UH006 too many) and for how long: `Try again
-- in 3 s, at 2026-11-26T14:00:03Z.` Programs read the seconds. Trusted callers are not asked.
--
-- A rate is a bucket that leaks: each use fills it by its cost, time empties it, and what would flow over is
-- refused. It is one row for each who uses it, written in the transaction of what it counts: what is refused
-- or rolled back was not used. Order of locks: a person's bucket, then their server's, then everything else;
-- nobody waits for a bucket while holding a channel. A stock is how many there may be at a time, counted
-- where they are.

create table hub_internal.quotas (
  name   text primary key,
  amount bigint not null,
  per    interval,
  about  text not null,
  constraint quotas_amount_check check (amount >= 0),
  constraint quotas_per_check check (per > interval '0')
);
comment on table hub_internal.quotas is
  'How much may be written: change it with UPDATE. With `per` a rate (amount in that time, all of it at '
  'once if nothing was used); without, how many there may be.';

alter table hub_internal.quotas enable row level security;
revoke all on hub_internal.quotas from public, anon, authenticated, service_role;

insert into hub_internal.quotas (name, amount, per, about) values
  ('transaction_messages',              200, null,       'messages of a person in one transaction'),
  ('transaction_stranger_messages',      20, null,
   'messages in one transaction of a person who is no member of the server'),
  ('person_messages',                   600, '1 minute', 'messages of a person'),
  ('person_characters',             4000000, '1 minute', 'characters in the messages of a person'),
  ('stranger_messages',                  60, '1 minute',
   'messages of a person who is no member of the server'),
  ('stranger_characters',            200000, '1 minute',
   'characters in the messages of a person who is no member of the server'),
  ('server_stranger_messages',          300, '1 minute',
   'messages in a server by all who are no members of it'),
  ('server_stranger_characters',    1000000, '1 minute',
   'characters in a server by all who are no members of it'),
  ('person_tasks',                      300, '1 minute', 'tasks made by a person'),
  ('bridge_messages',                   600, '1 minute', 'messages that come in by a bridge'),
  ('bridge_characters',             2000000, '1 minute', 'characters that come in by a bridge'),
  ('hook_messages',                     600, '1 minute', 'messages sent with a hook token'),
  ('hook_characters',               4000000, '1 minute', 'characters sent with a hook token'),
  ('server_hook_messages',             1200, '1 minute', 'messages sent to a server with hook tokens'),
  ('server_hook_characters',        8000000, '1 minute', 'characters sent to a server with hook tokens'),
  ('server_sweeps',                      50, null,       'sweeps of a server that are queued or under way'),
  ('webhook_tasks',                     600, '1 hour',   'tasks of a server that its webhook rules make'),
  ('command_answers',                  1000, '1 day',
   'commands under an idempotency key, whose answers are kept, of one sender'),
  ('direct_messages',                  5000, null,
   'messages kept for a person, of the hooks of one server'),
  ('server_projects',                  1000, null,       'projects of a server'),
  ('server_lanes',                      500, null,
   'kinds of work that wait in a server at a time (project, agent, model, platform)'),
  ('server_invitations',                200, null,       'open invitations of a server'),
  ('server_routing_rules',              500, null,       'routing rules of a server'),
  ('server_routing_examples',           2000, null,
   'corrections of the routing kept for a server: the newest'),
  ('server_webhook_rules',              300, null,       'webhook rules of a server'),
  ('server_bridges',                    200, null,       'bridges of a server'),
  ('server_hook_tokens',                200, null,       'live hook tokens of a server'),
  ('device_agents',                      64, null,       'agents that a device offers'),
  ('open_steers',                        20, null,
   'words to a running task that its agent has not taken yet'),
  ('attempt_says',                       50, null,
   'messages that an agent writes in its conversation in one attempt'),
  ('open_subtasks',                      20, null,
   'subtasks that have not ended, under one task and its subtasks'),
  ('subtask_depth',                       3, null,       'subtasks of subtasks, in depth'),
  ('task_subtasks',                     200, '1 hour',   'subtasks made under one task and its subtasks'),
  ('task_needs',                        100, null,       'tasks that a task needs to have ended'),
  ('device_free_disk',           1000000000, null,
   'bytes that must be free on the disk of a device for it to get work');

create table hub_internal.spent (
  quota       text not null references hub_internal.quotas (name) on delete cascade on update cascade,
  subject     text not null,
  level       double precision not null,
  at          timestamptz not null,
  transaction xid8,
  used        bigint not null default 0,
  primary key (quota, subject)
) with (fillfactor = 50);                         -- always updated in place: no index holds what changes
comment on table hub_internal.spent is
  'How full the bucket of a quota is for whoever uses it. Rows of those who used nothing for a day go.';
comment on column hub_internal.spent.used is 'Uses by the transaction that wrote the row.';

alter table hub_internal.spent enable row level security;
revoke all on hub_internal.spent from public, anon, authenticated, service_role;

create function hub_internal.refuse_more(
    p_quota hub_internal.quotas, p_until timestamptz default null, p_alone boolean default false,
    p_remedy text default null)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.refuse('UH006', 'too many',
    format('%s: %s%s', p_quota.about, p_quota.amount, coalesce(' in ' || p_quota.per, '')),
    case when p_until is not null
           then case when p_alone then 'Send them in several requests. ' else '' end
                || format('Try again in %s s, at %s.',
                          ceil(extract(epoch from p_until - clock_timestamp())) + 1,
                          to_char((p_until + interval '1 second') at time zone 'utc',
                                  'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
         when p_quota.name like 'transaction%'
           then 'Send them in several requests.'
         when p_remedy is not null then p_remedy
         else
           'Remove some first; whoever runs the deployment sets how many there may be, '
           'in hub_internal.quotas.'
    end);
end;
$$;

-- Uses so much of a rate. Refused whole, or not at all; a cost above the whole bucket is refused while
-- anything is in it.
create function hub_internal.spend(
    p_quota text, p_subject text, p_cost bigint default 1, p_transaction_quota text default null)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_quota hub_internal.quotas;
  v_spent hub_internal.spent;
  v_now   timestamptz := clock_timestamp();
  v_rate  double precision;                       -- a second
  v_level double precision;
  v_used  bigint;
begin
  select * into v_quota from hub_internal.quotas q where q.name = p_quota;
  if not found then
    return;                                       -- taken away: not bounded
  end if;
  v_rate := v_quota.amount / extract(epoch from v_quota.per);

  select *
    into v_spent
    from hub_internal.spent s
   where s.quota = p_quota
     and s.subject = p_subject
     for no key update;
  if not found then
    insert into hub_internal.spent (quota, subject, level, at)
    values (p_quota, p_subject, 0, v_now)
    on conflict (quota, subject) do nothing;
    select *
      into v_spent
      from hub_internal.spent s
     where s.quota = p_quota
       and s.subject = p_subject
       for no key update;
  end if;

  v_level := greatest(0, v_spent.level - greatest(0, extract(epoch from v_now - v_spent.at)) * v_rate);
  if v_level > 0 and v_level + p_cost > v_quota.amount or v_quota.amount = 0 then
    -- Waiting alone does not help who fills the bucket by one transaction.
    perform hub_internal.refuse_more(v_quota,
      v_now + make_interval(secs => least(86400,
                                          (v_level + p_cost - v_quota.amount) / nullif(v_rate, 0))),
      v_spent.transaction is not distinct from pg_current_xact_id());
  end if;

  v_used := 1;
  if p_transaction_quota is not null then
    if v_spent.transaction = pg_current_xact_id() then
      v_used := v_spent.used + 1;
    end if;
    select * into v_quota from hub_internal.quotas q where q.name = p_transaction_quota;
    if v_used > v_quota.amount then
      perform hub_internal.refuse_more(v_quota);
    end if;
  end if;

  update hub_internal.spent s
     set level = v_level + p_cost,
         at = v_now,
         transaction = pg_current_xact_id(),
         used = v_used
   where s.quota = p_quota
     and s.subject = p_subject;
end;
$$;
comment on function hub_internal.spend(text, text, bigint, text) is
  'Counts a use of a rate, and of how many there may be in one transaction. Errors: UH006 with the time '
  'from which on it may be tried again.';

-- For rows that are counted where they are: refuses what would be one too many. p_there: how many there are;
-- p_remedy: what to do, where that is not to remove some.
create function hub_internal.require_room(p_quota text, p_there bigint, p_remedy text default null)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_quota hub_internal.quotas;
begin
  select * into v_quota from hub_internal.quotas q where q.name = p_quota;
  if p_there >= v_quota.amount then
    perform hub_internal.refuse_more(v_quota, p_remedy => p_remedy);
  end if;
end;
$$;

-- A server's rows of one table: as many as the quota named by the trigger's argument says. Of an insert by
-- the hub's own owner none is asked. Runs before the policies do: who is no owner is told nothing but that.
create function hub_internal.bound_rows()
  returns trigger
  language plpgsql
  security definer                                -- counts what the one who inserts may not see
  set search_path = ''
as $$
declare
  v_there bigint;
begin
  if hub_internal.is_trusted() or not hub_internal.may_own(new.server_id) then
    return new;
  end if;
  -- The server's own lock: of two at once the second counts the first. Not the server's row, which everything
  -- refers to.
  perform pg_advisory_xact_lock(hashtextextended(tg_argv[0] || new.server_id, 0));
  execute format('select count(*) from %s where server_id = $1', tg_relid::regclass)
    into v_there
    using new.server_id;
  perform hub_internal.require_room(tg_argv[0], v_there);
  return new;
end;
$$;

create function hub_internal.keep_quotas(p_now timestamptz, p_limit int)
  returns integer
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_done integer;
begin
  delete from hub_internal.spent s
   where (s.quota, s.subject) in (select o.quota, o.subject
                                    from hub_internal.spent o
                                   where o.at < p_now - interval '1 day'
                                   limit p_limit
                                     for update skip locked);
  get diagnostics v_done = row_count;
  return v_done;
end;
$$;

insert into public.hub_errands (name, about, function, position, counts) values
  ('quotas', 'buckets that nobody used for a day go', 'hub_internal.keep_quotas', 800, false);
