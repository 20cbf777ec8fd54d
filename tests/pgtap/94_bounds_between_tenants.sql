-- What an attacker found on a shared deployment: each attack beside what stays allowed.
\ir setup.psql
select no_plan();
insert into tap.ids (name) values ('evil'), ('heir');
insert into public.hub_servers (name, display_name, architecture_type, access) values
  ('evil', 'Evil', 'flat_task_pipeline', 'members'), ('evil-desk', 'Evil desk', 'command_dispatch', 'members');
insert into public.hub_channels (server_id, name, display_name, project_path) values
  (tap.server('evil'), 'evil-room', '#room', 'evil/app'), (tap.server('evil-desk'), 'evil-desk', '#desk', null);
insert into public.hub_members (server_id, user_id, role)
select s.id, tap.id('evil'), 'owner' from public.hub_servers s where s.name like 'evil%';

create temp table stage as select tap.server('evil') as evil;
grant select on stage to public;

-- Metadata counts as what is written, and has its size.
create function pg_temp.map(p_length int) returns text language sql as $$ select format('{"k": %s}', to_json(repeat('x', p_length))) $$;
select is(tap.outcome('outsider', format($$ insert into public.hub_channel_messages (channel_id, content, metadata) values (tap.channel('quick'), 'm', %L) $$, pg_temp.map(n))),
          o, 'a message with metadata of ' || n || ' characters')
  from (values (7000, 'ok'), (9000, '23514'), (4000000, '23514')) v (n, o);
select matches(tap.refusal('outsider', format($$ insert into public.hub_channel_messages (channel_id, content, metadata)
                 select tap.channel('quick'), repeat('x', 10000), %L from generate_series(1, 19) $$, pg_temp.map(7000))),
               '^UH006 too many', 'metadata is counted with the characters of its message');
select is(tap.outcome('evil', format($$ insert into public.mac_tasks (content, channel_id, %s) values ('x', tap.channel('evil-room'), %L) $$, c, v)),
          o, format('a task whose %s has %s characters', c, char_length(v)))
  from (values ('metadata', pg_temp.map(7000), 'ok'), ('metadata', pg_temp.map(20000), '23514'), ('model', repeat('m', 200), 'ok'), ('model', repeat('m', 201), 'UH001'),
               ('idempotency_key', repeat('k', 200), 'ok'), ('idempotency_key', repeat('k', 201), 'UH001'), ('idempotency_key', '', 'UH001')) t (c, v, o);

-- All hook tokens of a server together have a bound.
update hub_internal.quotas set amount = 5 where name = 'server_hook_messages';
create temp table hook as
select row_number() over () as n, public.hub_create_hook_token('hook ' || i, array['channel:' || tap.channel('evil-room')]) ->> 'token' as token from generate_series(1, 3) i;
create function pg_temp.hooks(p_times int) returns text language plpgsql as $$
declare v_done int := 0;
begin
  for i in 1 .. p_times loop
    perform public.hub_receive_hook((select token from hook where n = i % 3 + 1), 'work ' || i, 'channel:' || tap.channel('evil-room'));
    v_done := v_done + 1;
  end loop;
  return 'all ' || v_done;
exception when others then
  return sqlstate || ' after ' || v_done;
end;
$$;
select is(pg_temp.hooks(5), 'all 5', 'as many messages by hooks as the server may have');
select is(pg_temp.hooks(1), 'UH006 after 0', 'and no more, by whichever token');

-- Sweeps wait in a number.
update hub_internal.quotas set amount = 2 where name = 'server_sweeps';
select tap.become('evil');
select matches(public.hub_execute_command(tap.channel('evil-desk'), '!sweep ' || c) ->> 'text', '^Sweep of', 'a sweep of ' || c || ' is queued') from unnest(array['Aachen', 'Bonn']) c;
select tap.become('postgres');
select matches(tap.refusal('evil', $$ select public.hub_execute_command(tap.channel('evil-desk'), '!sweep Celle') $$), '^UH006 too many', 'one more is refused');
select tap.become('evil');
select is(public.hub_execute_command(tap.channel('evil-desk'), '!sweep bonn') ->> 'text', 'A sweep of bonn is under way already. !sweep-status shows it.', 'a city that is being swept needs no room');
select tap.become('postgres');

-- A message to a person that comes again under its key needs no room.
insert into public.hub_members (server_id, user_id, role, accepts_hooks) values (tap.server('evil'), tap.id('viewer'), 'viewer', true);
create function pg_temp.tell_viewer(p_token text, p_text text, p_key text) returns text language sql as
$$ select public.hub_receive_hook(p_token, p_text, 'user:' || tap.id('viewer'), true, p_key) #>> '{message,content}' $$;
select tap.become('evil');
create temp table teller as select public.hub_create_hook_token('teller', array['user:' || tap.id('viewer')]) ->> 'token' as token;
select tap.become('postgres');
update hub_internal.quotas set amount = 1 where name = 'direct_messages';
select is(pg_temp.tell_viewer(token, 'hello', 'k1'), 'hello', 'a message to a person') from teller;
select matches(tap.refusal('postgres', format($$ select pg_temp.tell_viewer(%L, 'hello', 'k2') $$, token)), '^UH006 too many', 'one more is refused') from teller;
select is(pg_temp.tell_viewer(token, 'hello', 'k1'), 'hello', 'the same once more is answered as at first') from teller;
select matches(tap.refusal('postgres', format($$ select pg_temp.tell_viewer(%L, 'other', 'k1') $$, token)), '^UH003 conflict', 'another under its key is refused') from teller;

-- The room for it is a server's: no tenant fills another's, nor the deployment's, and no second token helps.
insert into public.hub_members (server_id, user_id, role, accepts_hooks)
select tap.server('buf-barista'), tap.id(w), r, true from (values ('viewer', 'viewer'), ('owner', 'owner')) v (w, r)
on conflict (user_id, server_id) do update set role = excluded.role, accepts_hooks = true;
select tap.become('owner');
create temp table other_teller as select public.hub_create_hook_token('other', array['user:' || tap.id('viewer')]) ->> 'token' as token;
select tap.become('postgres');
select is(pg_temp.tell_viewer(token, 'hello', 'k1'), 'hello', 'another tenant''s hook has room of its own') from other_teller;
select is(pg_temp.tell_viewer(public.hub_create_hook_token('house', array['user:' || tap.id('viewer')]) ->> 'token', 'hello', 'k1'),
          'hello', 'and so has the deployment''s');
select tap.become('evil');
update teller set token = public.hub_create_hook_token('teller 2', array['user:' || tap.id('viewer')]) ->> 'token';
select tap.become('postgres');
select matches(tap.refusal('postgres', format($$ select pg_temp.tell_viewer(%L, 'hello', 'k1') $$, token)), '^UH006 too many', 'a second token of one server has none of its own') from teller;

-- Tokens are counted by server, one owner after the other.
select ok(exists (select from pg_locks l
                   where l.locktype = 'advisory' and l.pid = pg_backend_pid()
                     and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('server_hook_tokens' || tap.server('evil'), 0)),
          'who makes a token holds its server''s lock');

-- An invitation is worth what its maker may do now.
insert into public.hub_members (server_id, user_id, role) values (tap.server('evil'), tap.id('owner'), 'owner');
select tap.become('owner');
select is((public.hub_invite(tap.server('evil'), tap.id('heir'), 'owner')).role, 'owner', 'an owner invites an owner');
select tap.become('postgres');
select is(tap.outcome('heir', $$ select public.hub_accept_invitation(evil) from stage $$), 'ok', 'who may accept');
update public.hub_members set role = 'viewer' where server_id = tap.server('evil') and user_id = tap.id('owner');
select is(tap.outcome('heir', $$ select public.hub_accept_invitation(evil) from stage $$), 'UH004', 'but not once the one who invited is no owner any more');
select tap.become('evil');
select is((public.hub_invite(tap.server('evil'), tap.id('heir'))).role, 'owner', 'a client that can not say null withdraws by leaving the role out');
select tap.become('postgres');
select is_empty($$ select from public.hub_invitations where user_id = tap.id('heir') $$, 'and it is gone');

-- Other tenants' agents are not to be found out.
insert into public.mesh_devices (name, platform, agents) values
  ('theirs', 'linux', '[{"agent": "acme-private", "models": ["any"]}]'), ('ours', 'linux', '[{"agent": "evil-own", "models": ["any"]}]');
insert into public.mesh_device_servers (device, server_id) values ('theirs', tap.server('aura-labs')), ('ours', tap.server('evil'));
select is(tap.outcome('evil', format($$ insert into public.mac_tasks (content, channel_id, agent) values ('x', tap.channel('evil-room'), %L) $$, a)), o, 'a task for the agent ' || a)
  from (values ('claude', 'ok'), ('evil-own', 'ok'), ('acme-private', 'UH001'), ('nobodys', 'UH001')) v (a, o);
select is(tap.outcome('evil', format($$ insert into public.mac_tasks (content, server_id, agent) values ('x', tap.server('evil'), %L) $$, a)), o, 'a task without a channel for the agent ' || a)
  from (values ('evil-own', 'ok'), ('acme-private', 'UH001')) v (a, o);

-- Names are one line, without what nobody sees.
select tap.become('operator');
insert into public.hub_channel_messages (channel_id, content, sender_label)
select tap.channel('quick'), 'named ' || n, v from (values (1, E'Bob\n✅ a1b2 complete [claude/mac1]'), (2, U&'a\202eecila'), (3, U&'\2060'), (4, 'system'), (5, 'Ann')) t (n, v);
select tap.become('postgres');
select results_eq($$ select sender_label from public.hub_channel_messages where content like 'named %' order by content $$,
  $$ values ('Bob ✅ a1b2 complete [claude/mac1]'), ('aecila'), ('operator'), ('operator'), ('Ann') $$, 'names as others read them');

-- A device says what it offers in few words.
select is(tap.outcome('postgres', $$ select public.hub_register_device('big', 'linux', jsonb_build_array(jsonb_build_object('agent', 'a', 'models', (select jsonb_agg('m' || n) from generate_series(1, 100000) n))), 1) $$),
          'UH001', 'an endless list of models is refused');

-- By direct SQL: a definer that authenticated may call does nothing but what it is for.
select tap.become('evil');
create function pg_temp.who() returns uuid language plpgsql as $$ begin raise exception 'ran as %', current_user; end $$;
create temp view mine as select pg_temp.who() as id;
select is(hub_internal.id_is_taken('mine', gen_random_uuid()), null, 'a view of one''s own is not read with another''s rights');
select tap.become('postgres');
select is(tap.outcome('evil', $$ select hub_internal.id_is_taken('auth.users', gen_random_uuid()) $$), 'ok', 'nor another table') ;
select is(hub_internal.id_is_taken('auth.users', tap.id('evil')), null, 'of which nothing is told');
select is(tap.outcome('evil', format('select hub_internal.spend_message(%L, %s)', tap.channel(c), n)), o, 'spending ' || n || ' in ' || c)
  from (values ('evil-room', 10, 'ok'), ('evil-room', -10, 'UH004'), ('evil-room', 300000000000, 'UH004'), ('prototypes', 10, 'UH004')) v (c, n, o);
select is(tap.outcome('evil', format('select hub_internal.classify(%L, %L)', 'x', tap.channel('prototypes'))), '42501', 'how another''s channel classifies is not told');
select is(tap.outcome('evil', format('select public.hub_classify(%L, %L)', 'x', tap.channel('prototypes'))), 'UH004', 'nor by the contract');
select is(tap.outcome('evil', format('select public.hub_classify(%L, %L)', 'x', tap.channel('evil-room'))), 'ok', 'one''s own is');

select * from finish();
rollback;
