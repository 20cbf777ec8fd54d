-- The same statements, as a role that no policy concerns.
\set channel random(1, 50)
begin;
set local role service_role;
select set_config('request.jwt.claims', '{"sub":"22222222-2222-4222-8222-222222222222","role":"service_role","email":"mo@example.com"}', true);
select * from hub_channel_messages where channel_id = ('00000000-0000-4000-8000-' || lpad(:channel::text, 12, '0'))::uuid and task_thread_id is null order by seq desc limit 50;
commit;
