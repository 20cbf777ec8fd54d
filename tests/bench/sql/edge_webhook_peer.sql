-- The payload goes over the connection each time, as a parameter; it is fetched once by each client.
\if :first
select payload from public.bench_payload \gset
\set first 0
\endif
insert into public.bench_deliveries (provider, delivery_id, event, payload) values ('github', gen_random_uuid()::text, 'push', :payload);
