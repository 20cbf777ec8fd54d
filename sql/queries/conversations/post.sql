-- Posts $3 into channel $1 (thread $2) as the role at the database; no task comes of it. The key $4 makes sending again the
-- same as having sent: the conflict clause skips the row, and the message that is there is returned.
with posted as (
  insert into public.hub_channel_messages (channel_id, task_thread_id, sender_type, sender_id, sender_label, content, content_type, idempotency_key)
  values ($1, $2, 'human', session_user, session_user, $3, 'text', $4)
  on conflict (sender_id, idempotency_key) where idempotency_key is not null do nothing
  returning *
)
select to_jsonb(m) as "row!: Json<Message>"
  from (select * from posted
        union all
        select * from public.hub_channel_messages h
         where h.sender_id = session_user and h.idempotency_key = $4
         limit 1) as m
