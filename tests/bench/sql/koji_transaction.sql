-- The transaction that REST makes of a call, with what it tells the database of its caller.
begin;
select set_config('statement_timeout', '8000', true), set_config('search_path', '"public", "extensions"', true), set_config('role', 'authenticated', true), set_config('request.method', 'POST', true), set_config('request.path', '/rpc/hub_execute_command', true), set_config('request.headers', '{"accept":"*/*"}', true), set_config('request.cookies', '{}', true), set_config('request.jwt.claims', :claims, true);
select hub_execute_command(:channel, '!stats');
commit;
