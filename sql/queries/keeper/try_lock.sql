-- Whether this session keeps time from now on. Session level: it is given up when the connection ends, however it ends.
select pg_try_advisory_lock($1) as "held!"
