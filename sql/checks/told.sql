-- An ending of a task in a channel has been told. (Rows here: hub_recover has not run for a minute.)
select t.id, t.status, t.told
  from public.mac_tasks t
 where t.channel_id is not null and t.status in ('complete', 'failed', 'cancelled')
   and t.told is distinct from t.status || ':' || t.attempt::text and t.finished_at < now() - interval '2 minutes';
