-- What postgres may set of the REST layer, as on Supabase, and nobody else.
\ir setup.psql
select no_plan();

select lives_ok($$ alter role authenticator set pgrst.db_max_rows = '100' $$, 'postgres says how many rows an answer has');
select lives_ok($$ alter role authenticator set pgrst.db_aggregates_enabled = 'true' $$, 'postgres allows aggregates');
select lives_ok($$ alter role authenticator set pgrst.db_schemas = 'public, api' $$, 'postgres exposes a schema');
select lives_ok(format($$ alter role authenticator in database %I set pgrst.db_pre_request = 'public.x' $$, current_database()),
  'postgres sets one for a database');
select is((select array_agg(s order by s) from pg_db_role_setting d cross join unnest(d.setconfig) s
            where d.setrole = 'authenticator'::regrole and d.setdatabase = 0 and s like 'pgrst.%'),
  array['pgrst.db_aggregates_enabled=true', 'pgrst.db_max_rows=100', 'pgrst.db_schemas=public, api'], 'they are kept');
select lives_ok($$ alter role authenticator reset pgrst.db_max_rows $$, 'postgres takes one back');
select throws_ok($$ alter role authenticator set pgrst.no_such_setting = '1' $$, '42501', null, 'what is no setting is refused');
select is(tap.outcome(actor, $$ alter role authenticator set pgrst.db_max_rows = '1' $$), '42501', actor || ' sets nothing')
  from unnest(array['anon', 'viewer', 'owner', 'service']) actor;

-- The list that the REST layer reads has all of them.
select lives_ok(format('alter role authenticator set pgrst.%I = %L', name, 'x'), name || ' may be set')
  from unnest(array['db_anon_role', 'db_extra_search_path', 'db_hoisted_tx_settings', 'db_plan_enabled', 'db_root_spec', 'db_tx_end',
                    'jwt_aud', 'jwt_role_claim_key', 'openapi_mode', 'openapi_security_active', 'openapi_server_proxy_uri']) name;

select * from finish();
rollback;
