-- Who waits for whom, and who holds a transaction open?
-- Good: no row with blocked_by for longer than a second, no transaction of more than a minute but a vacuum or a dump. One that sits "idle
-- in transaction" and blocks others: `select pg_terminate_backend(pid)`.

select a.pid, a.usename as role, a.application_name as program, a.state, date_trunc('second', now() - a.xact_start) as transaction_for,
       nullif(pg_blocking_pids(a.pid), '{}') as blocked_by, a.wait_event_type || ': ' || a.wait_event as waits_for,
       (select string_agg(distinct l.relation::regclass::text, ', ') from pg_locks l
         where l.pid = a.pid and l.relation is not null and l.mode like '%Exclusive%' and l.database = (select oid from pg_database where datname = current_database())) as holds,
       left(regexp_replace(a.query, '\s+', ' ', 'g'), 80) as statement
  from pg_stat_activity a
 where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
   and (cardinality(pg_blocking_pids(a.pid)) > 0 or a.xact_start < now() - interval '5 seconds'
        or exists (select from pg_stat_activity b where a.pid = any (pg_blocking_pids(b.pid))))
 order by a.xact_start;
