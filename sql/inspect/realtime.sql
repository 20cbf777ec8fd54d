-- What has Realtime to do, and does it keep up: broadcasts of the last hour by kind of topic, the days' partitions, who reads the log
-- and how far behind, who listens to the changes of which table?
-- Good: a partition of today and tomorrow ("no partition" loses every broadcast); a slot that is active, below a few MB behind and with
-- reserved WAL (one that is not active and not temporary keeps the log until the disk is full: drop it); "refetch" a small share of the broadcasts;
-- "groups" (of equal rights and filters), which decide what a change costs, far below the subscriptions.

with topics as (
  select case when m.topic ~ '^(channel|thread|task|device):' then split_part(m.topic, ':', 1) else 'others' end || ' ' || coalesce(m.event, '-') as name,
         count(*) as n, avg(octet_length(m.payload::text))::int as bytes, max(m.inserted_at) as newest,
         count(*) filter (where m.payload ? 'refetch') as refetch, count(*) filter (where m.payload ? 'truncated') as truncated
    from realtime.messages m
   where m.extension = 'broadcast' and m.inserted_at > (now() at time zone 'utc') - interval '1 hour'
   group by 1
), days as (
  select d::date as day, to_char(d, '"messages_"YYYY_MM_DD') as name
    from generate_series((now() at time zone 'utc')::date - 1, (now() at time zone 'utc')::date + 1, interval '1 day') d
), partitions as (
  select c.relname::text as name, greatest(c.reltuples, 0)::bigint as n, pg_total_relation_size(c.oid) as bytes
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'realtime.messages'::regclass
)
select * from (
  select 1 as part, 'broadcasts, last hour' as what, t.name, t.n, pg_size_pretty(t.bytes::bigint) || ' each' as size,
         'newest ' || date_trunc('second', (now() at time zone 'utc') - t.newest) || ' ago'
         || case when t.refetch > 0 then format(', %s refetch', t.refetch) else '' end
         || case when t.truncated > 0 then format(', %s truncated', t.truncated) else '' end as state
    from topics t
  union all
  select 2, 'partition', coalesce(p.name, d.name), p.n, pg_size_pretty(p.bytes),
         case when p.name is null then 'no partition' when d.day = (now() at time zone 'utc')::date then 'today' else '' end
    from partitions p full join days d on d.name = p.name
  union all
  select 3, 'replication slot', s.slot_name::text, s.active_pid, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(s.confirmed_flush_lsn, s.restart_lsn))) || ' behind',
         concat_ws(', ', case when s.active then 'active' else 'NOT active' end, case when s.temporary then 'temporary' end, s.plugin, coalesce(s.wal_status, '-') || ' WAL')
    from pg_replication_slots s
   where s.database = current_database() or s.database is null
  union all
  select 4, 'subscriptions', s.entity::text, count(*), null,
         format('%s groups, oldest %s', count(distinct (s.claims, s.filters)), date_trunc('second', (now() at time zone 'utc') - min(s.created_at)))
    from realtime.subscription s
   group by s.entity
) x
 order by part, name;
