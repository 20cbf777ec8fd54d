-- Which indexes are never read, and what do they cost?
-- Good: after a week of real use no large row here. Unique ones are left out (they are read by writing). Counts start anew with
-- pg_stat_reset and after a crash; `since` says when.

select s.schemaname || '.' || s.relname as "table", s.indexrelname as "index", pg_size_pretty(pg_relation_size(s.indexrelid)) as size, s.idx_scan as scans,
       (select date_trunc('second', d.stats_reset) from pg_stat_database d where d.datname = current_database()) as since
  from pg_stat_user_indexes s
  join pg_index i on i.indexrelid = s.indexrelid
 where s.schemaname in ('public', 'hub_internal') and s.idx_scan = 0 and not i.indisunique
 order by pg_relation_size(s.indexrelid) desc;
