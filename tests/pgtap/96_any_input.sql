-- Whatever is given to a function of the contract, it refuses with an error of ours: no function trips over what it was given. Each argument in turn is
-- something odd, the others are fine, as a device, an owner and the service. (An argument that is no uuid, or a text with a NUL, never gets here: PostgREST
-- or Postgres says so.)
\ir setup.psql
\ir asks.psql
select no_plan();
set local client_min_messages = warning;
create temp table r as select tap.running('dispatch', 'x') as id, tap.task('prototypes') as threaded;
grant all on r to public;
create temp table fine (name text primary key, value text);
insert into fine select 'p_task_id', id::text from r union all select 'p_ask_id', (pg_temp.ask(id, 1, 'question', 'q', null, '["a"]')).id::text from r;
insert into fine select 'p_needs', tap.task('dispatch', 'needed')::text;
insert into fine select 'p_thread_id', t.thread_id::text from public.mac_tasks t join r on t.id = r.threaded;
insert into fine values ('p_channel_id', tap.channel('dispatch')::text), ('p_channel', tap.channel('dispatch')::text), ('p_server_id', tap.server('cloud-hub')::text), ('p_user_id', tap.id('viewer')::text),
  ('p_targets', format('{channel:%s}', tap.channel('dispatch'))), ('p_attempt', '1'), ('p_device', 'tap-all'), ('p_name', 'tap-all'), ('p_content', 'do it'), ('p_text', 'words'), ('p_kind', 'question'), ('p_title', 't'),
  ('p_agent', 'claude'), ('p_platform', 'linux'), ('p_capacity', '3'), ('p_agents', '[{"agent":"claude","models":["any"]}]'), ('p_provider', 'telegram'), ('p_note', 'n'), ('p_ids', '{1}'), ('p_outcome', 'taken'),
  ('p_workspace', '{"kind":"git"}'), ('p_answer', 'a'), ('p_result', 'x'), ('p_error', 'x'), ('p_command', '!help'), ('p_ok', 'true'), ('p_bundled', 'false'), ('p_found', '[]'), ('p_payload', '{}'), ('p_event', 'ping'),
  ('p_delivery_id', 'd'), ('p_target', 'channel:1'), ('p_message', 'm'), ('p_token', 't'), ('p_external_id', 'e'), ('p_author', 'a'), ('p_author_id', '1'), ('p_from', '2026-01-01'), ('p_to', '2026-01-02'), ('p_by', 'day'), ('p_chat', 'channel:1'), ('p_key', 'k'), ('p_code', 'c'),
  ('p_model', 'claude'), ('p_project', (select project_path from public.hub_channels where id = tap.channel('dispatch'))), ('p_scope', 'server'), ('p_subject', ''), ('p_measure', 'cost'), ('p_amount', '5'), ('p_weight', '2'), ('p_fallbacks', '{wait}'), ('p_holder', 'worker 1'), ('p_replies', 'steer'), ('p_when_limited', 'wait'), ('p_role', 'viewer'), ('p_status', 'active'), ('p_ask_ids', '{}'), ('p_root', gen_random_uuid()::text), ('p_subtask_id', gen_random_uuid()::text), ('p_sweep_id', gen_random_uuid()::text), ('p_id', gen_random_uuid()::text);
create temp table odd (type text, value text);
insert into odd select 'text', v from unnest(array[null, '', ' ', E'\u0001\u202e', repeat('x', 150000), '00000000-0000-0000-0000-000000000000', 'channel:x', 'user:x', '(', '%s', '\', '[', '{', '*']) v
  union all select 'jsonb', v from unnest(array[null, 'null', '[]', '{}', '[[]]', '"x"', '1', '[null]', '{"a":{"b":[1]}}', '[{"task":"x","attempt":1}]', '[{"task":1,"attempt":[]}]']) v
  union all select 'integer', v from unnest(array[null, '-2147483648', '2147483647', '0']) v union all select 'bigint', v from unnest(array[null, '-9223372036854775808', '9223372036854775807']) v
  union all select 'numeric', v from unnest(array[null, 'NaN', 'Infinity', '1e300', '-1']) v union all select 'interval', v from unnest(array[null, '0', '-1 day', '178000000 years', '-170000000 years']) v
  union all select 'timestamp with time zone', v from unnest(array[null, 'infinity', '-infinity', '294276-12-31', '4713-01-01 BC']) v union all select 'boolean', null
  union all select 'uuid', v from unnest(array[null, '00000000-0000-0000-0000-000000000000']) v union all select 'text[]', v from unnest(array[null, '{}', '{NULL}', '{{a,b},{c,d}}', '{""}']) v
  union all select 'uuid[]', v from unnest(array[null, '{NULL}']) v union all select 'bigint[]', v from unnest(array[null, '{NULL}', '{{1}}']) v;
create temp table came (who text, what text, state text);
do $$
declare
  v_call record;
  v_who  text;
  v_code text;
begin
  for v_call in
    select p.proname || '.' || p.proargnames[i] || ' = ' || coalesce(quote_literal(left(o.value, 60)), 'null') as what,
           format('select * from public.%I(%s)', p.proname,
                  (select string_agg(format('%I => %L', p.proargnames[j], case when j = i then o.value else f.value end), ', ')
                     from generate_series(1, p.pronargs) j left join fine f on f.name = p.proargnames[j]
                    where j = i or f.value is not null and j <= p.pronargs - p.pronargdefaults)) as sql
      from pg_proc p
     cross join generate_series(1, p.pronargs) i
      join odd o on o.type = format_type(p.proargtypes[i - 1], null)
     where p.pronamespace = 'public'::regnamespace and p.proname like 'hub\_%'
  loop
    foreach v_who in array array['device:tap-all', 'owner', 'service'] loop
      v_code := tap.outcome(v_who, v_call.sql);
      insert into came values (v_who, v_call.what, v_code);
    end loop;
  end loop;
end $$;
-- The same in the midst of what is JSON.
create temp table inside (call text, around jsonb, fields text[]);
insert into inside values
  ($$ select public.hub_fail_task(id, 1, 'x', true, %L) from r $$, '{}', '{model,session_id,session_state,cost_usd,tokens_in,tokens_out,exit_code,receipt,reason,signal,stderr,output_bytes,peak_memory_bytes,agent_started_at,agent_ended_at,tokens_cached,unpriced,turns,tool_calls,cost_notional,agent_version,limit}'),
  ($$ select public.hub_fail_task(id, 1, 'x', true, jsonb_build_object('reason', 'limit', 'limit', %L::jsonb)) from r $$, '{"source": "text"}', '{until,source,model,window}'),
  ($$ select public.hub_complete_task(id, 1, 'x', jsonb_build_object('receipt', %L::jsonb)) from r $$, '{"kind": "git", "files": 1}', '{kind,branch,base,commit,tree,dirty,pushed,files,insertions,deletions,size_bytes,changed,pull_request,verify}'),
  ($$ select public.hub_complete_task(id, 1, 'x', jsonb_build_object('receipt', jsonb_build_object('kind', 'git', 'verify', %L::jsonb))) from r $$, jsonb_build_object('passed', true, 'command_sha256', repeat('a', 64)), '{command_sha256,exit,seconds,tail,log_sha256,passed,rounds}'),
  ($$ select public.hub_heartbeat('tap-all', jsonb_build_array(%L::jsonb)) $$, '{"task": "00000000-0000-0000-0000-000000000000", "attempt": 1}', '{task,attempt,cost_usd,notional,tokens_in,tokens_cached,tokens_out,unpriced}'),
  ($$ select public.hub_heartbeat('tap-all', jsonb_build_array(jsonb_build_object('task', gen_random_uuid(), 'attempt', 1, 'unpriced', jsonb_build_array(%L::jsonb)))) $$, '{"model": "x"}', '{model,tokens_in,tokens_cached,tokens_out}'),
  ($$ select public.hub_complete_task(id, 1, 'x', jsonb_build_object('unpriced', jsonb_build_array(%L::jsonb))) from r $$, '{"model": "x"}', '{model,tokens_in,tokens_cached,tokens_out}'),
  ($$ select public.hub_heartbeat('tap-all', null, %L) $$, '{}', '{disk_free_bytes,memory_free_bytes,projects,stopping}'),
  ($$ select public.hub_register_device('tap-all', 'linux', jsonb_build_array(%L::jsonb), 1) $$, '{"agent": "claude", "models": ["any"]}', '{agent,models,account,memory_bytes,program,reserve}'),
  ($$ select public.hub_report_workspace(id, 1, %L) from r $$, '{"kind": "git"}', '{kind,base,head,size_bytes,pushed,pull_request,bundled}'),
  ($$ select public.hub_ask(id, 1, 'approval', 'x', null, %L) from r $$, '{"tool": "x", "input": 1}', '{tool,input}'),
  ($$ select public.hub_ask(id, 1, 'question', 'x', null, null, jsonb_build_array(%L::jsonb)) from r $$, '{"key": "x"}', '{key,label}');
insert into came
select 'device:tap-all', 'within.' || field || ' = ' || v, tap.outcome('device:tap-all', format(call, around || jsonb_build_object(field, v::jsonb)))
  from inside, unnest(fields) field, unnest(array['null', 'true', '""', '-1', '1.5', '1e400', '99999999999999999999', '[]', '{}', '[null]', '[{}]', '{"a": 1}', '"x"', '"-1"', '"1e5"', '"9999999999999"', '"\u0001"', '"infinity"',
    '"2026-02-30T00:00:00Z"', '"2026-11-29T12:00:00+99:00"', '"2026-11-29 12:00 Foo/Bar"', '"2026-"', '"294277-01-01"', '"2026-11-29T12:00:00Z\n"', '"00000000-0000-0000-0000-00000000000g"']) v;
select is_empty($$ select who, what, state from came where state !~ '^(ok|UH...|42501|23514)$' $$, 'every refusal is one of ours');
select ok(count(distinct split_part(what, '.', 1)) > 60 and count(*) filter (where state = 'ok') > 300 and count(*) filter (where state = 'UH001') > 500, 'and much was tried') from came;
select is_empty($$ select distinct format_type(t, null) from pg_proc p, unnest(p.proargtypes) t where p.pronamespace = 'public'::regnamespace and p.proname like 'hub\_%' except select type from odd $$, 'of each type there is');

select * from finish();
rollback;
