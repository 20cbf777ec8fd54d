-- Which tables are large, bloated or never vacuumed?
-- Good: dead_share below 20 % for all above a few MB, last_vacuum within a day for those that are written. A dead share that grows while
-- vacuum runs: somebody holds an old snapshot (see oldest_snapshot; locks.sql names who).

select s.schemaname || '.' || s.relname as "table",
       pg_size_pretty(pg_total_relation_size(s.relid)) as size, s.n_live_tup as live, s.n_dead_tup as dead,
       round(100.0 * s.n_dead_tup / nullif(s.n_live_tup + s.n_dead_tup, 0), 1) as dead_share,
       round(100.0 * s.n_tup_hot_upd / nullif(s.n_tup_upd, 0), 1) as hot_updates,
       case when s.seq_scan > 0 then round(s.seq_tup_read::numeric / s.seq_scan) end as rows_a_seq_scan, s.seq_scan as seq_scans,
       date_trunc('second', now() - greatest(s.last_vacuum, s.last_autovacuum)) as last_vacuum,
       (select date_trunc('second', max(now() - a.xact_start)) from pg_stat_activity a where a.backend_xmin is not null) as oldest_snapshot
  from pg_stat_user_tables s
 where s.schemaname in ('public', 'hub_internal', 'realtime')
 order by pg_total_relation_size(s.relid) desc
 limit 30;
