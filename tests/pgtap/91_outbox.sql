-- Bridges and the outbox: whose messages come in, no echo, one message a task, order, leases, backoff, time to live, dead letters.
\ir setup.psql
select no_plan();

create function pg_temp.bridge(p_channel text, p_provider text, p_target text, p_more jsonb default '{}') returns uuid language plpgsql as $$
declare
  v_id uuid;
begin
  insert into public.hub_bridges (server_id, channel_id, provider, target, direction, allow_commands, starts_tasks, secret_name, enabled)
  select c.server_id, c.id, p_provider, p_target, coalesce(p_more ->> 'direction', 'both'), coalesce((p_more ->> 'allow_commands')::boolean, false),
         coalesce(p_more ->> 'starts_tasks', 'everyone'), p_more ->> 'secret_name',
         coalesce((p_more ->> 'enabled')::boolean, true)
    from public.hub_channels c where c.name = p_channel returning id into v_id;
  return v_id;
end;
$$;
create function pg_temp.come(p_target text, p_id text, p_text text, p_reply_to text default null, p_provider text default 'discord', p_author text default 'Larry') returns jsonb language sql as $$
  select public.hub_receive_bridged(p_provider, p_target, p_id, p_author, p_text, p_reply_to)
$$;
create function pg_temp.say(p_channel text, p_text text) returns void language sql as $$
  insert into public.hub_channel_messages (channel_id, content, sender_type, sender_id, sender_label) values (tap.channel(p_channel), p_text, 'human', tap.id('owner')::text, 'Owner')
$$;
-- Claims and sends all there is, one by one; what was sent, in order.
create function pg_temp.deliver() returns table (target text, kind text, edit_of text, reply_to text, text text) language plpgsql as $$
#variable_conflict use_column
declare
  o public.hub_outbox;
begin
  loop
    select * into o from public.hub_claim_outbox(1);
    exit when not found;
    perform public.hub_complete_outbox(o.id, o.attempt, coalesce(o.edit_of, 'e' || o.seq));
    target := o.target; kind := o.kind; edit_of := o.edit_of; reply_to := o.reply_to; text := o.body ->> 'text';
    return next;
  end loop;
end;
$$;
create function pg_temp.waiting() returns bigint language sql as $$ select count(*) from public.hub_outbox where status = 'pending' $$;

-- Making one
select throws_ok(format($$ select pg_temp.bridge('quick', 'discord', %L) $$, x), 'UH001', 'bad input', 'target ' || x)
  from unnest(array['123', '', 'channel:', 'group:1', 'channel:1 2', 'user:1/x', 'https://example.com/', 'channel:1/2/3']) x;
select lives_ok(format($$ select pg_temp.bridge('quick', 'telegram', %L) $$, x), 'target ' || x) from unnest(array['channel:-1001234567890', 'channel:-1001234567890/42', 'user:77', 'channel:@public_name']) x;
select throws_ok(format($$ select pg_temp.bridge('quick', 'webhook', %L, '{"direction":"out","secret_name":"HUB_BRIDGE_X"}') $$, x), 'UH001', 'bad input', 'URL ' || replace(left(x, 60), E'\n', ' '))
  from unnest(array['http://example.com/', 'channel:1', 'https://localhost/', 'https://127.0.0.1/', 'https://2130706433/', 'https://0x7f.1/', 'https://[::1]/', 'https://user@example.com/', 'https://user:pw@example.com/',
                    'https://printer.local/', 'https://db.internal/x', 'https://metadata.google.internal/', 'https://host/', 'https://example.com:999999/', 'https://example.com/a b', E'https://example.com/\nx', 'https://exämple.com/',
                    'https://1.1/', 'https://example.com.', 'https://example.com/' || repeat('x', 2000)]) x;
select lives_ok(format($$ select pg_temp.bridge('quick', 'webhook', %L, '{"direction":"out","secret_name":"HUB_BRIDGE_X"}') $$, x), 'URL ' || x)
  from unnest(array['https://example.com', 'https://hooks.example.com:8443/in?x=1&y=%20', 'https://a-b.example.co/']) x;
select throws_ok($$ select pg_temp.bridge('quick', 'webhook', 'https://example.com/1', '{"direction":"out"}') $$, 'UH001', 'bad input', 'a webhook without a secret is refused');
select throws_ok($$ select pg_temp.bridge('quick', 'webhook', 'https://example.com/2', '{"secret_name":"HUB_BRIDGE_X"}') $$, 'UH001', 'bad input', 'a webhook that comes in is refused');
select throws_ok($$ select pg_temp.bridge('quick', 'github', 'channel:acme/app') $$, 'UH001', 'bad input');
select throws_ok($$ select pg_temp.bridge('quick', 'discord', 'channel:1', '{"secret_name":"DATABASE_URL"}') $$, '23514', null, 'a bridge can not name any variable of the worker');
select throws_ok($$ select pg_temp.bridge('quick', 'slack', 'channel:1') $$, '23514');
select throws_ok($$ select pg_temp.bridge('heartbeat', 'discord', 'channel:1') $$, 'UH001', 'bad input', 'a bridge into a feed is refused');
select lives_ok($$ select pg_temp.bridge('heartbeat', 'discord', 'channel:1', '{"direction":"out"}') $$, 'a bridge out of a feed is allowed');
delete from public.hub_bridges;

-- What a server may reach is said by who runs the deployment; whoever they are, owners see theirs.
delete from public.hub_places where kind <> 'project';
create function pg_temp.own(p_rest text, p_channel text default 'quick') returns text language sql as $$
  select format('insert into public.hub_bridges (server_id, channel_id, provider, target, direction, secret_name) select server_id, id, %s from public.hub_channels where name = %L', p_rest, p_channel)
$$;
create function pg_temp.outcomes(p_sql text) returns text language sql as $$ select tap.outcome('owner', p_sql) || ' ' || tap.outcome('service', p_sql) || ' ' || tap.outcome('postgres', p_sql) $$;
select is(pg_temp.outcomes(pg_temp.own(x)), '42501 ok ok', 'without a place an owner is refused and others are not: ' || x) from unnest(array['''discord'', ''channel:100'', ''out'', null', '''discord'', ''user:4242'', ''in'', null',
  '''webhook'', ''https://evil.example.com/'', ''out'', ''HUB_BRIDGE_ACME''', '''discord'', ''channel:1'', ''out'', ''HUB_BRIDGE_ACME''', '''github'', ''channel:acme/app'', ''out'', null']) x;
select matches(tap.refusal('owner', pg_temp.own('''discord'', ''channel:100'', ''out'', null')), 'insert into public.hub_places .* values \(''discord'', ''.{36}'', ''channel:100'', ''DISCORD_BOT_TOKEN''\)', 'a refused bridge names the missing place');
select pg_temp.bridge('quick', 'discord', 'channel:100');
select results_eq($$ select server_id, kind, target, secret_name from public.hub_places where kind <> 'project' $$, $$ select server_id, 'discord', 'channel:100', 'DISCORD_BOT_TOKEN' from public.hub_channels where name = 'quick' $$, 'a bridge that postgres makes adds its place');
select is(tap.outcome('owner', $$ update public.hub_bridges set direction = 'out', allow_commands = true, enabled = false $$), 'ok', 'an owner may change a bridge''s direction, commands and state');
select is(tap.outcome('owner', format('update public.hub_bridges set %s', x)), '42501', 'an owner can not set ' || x || ', which is another place') from unnest(array['target = ''channel:101''', 'secret_name = ''HUB_BRIDGE_ACME''']) x;
delete from public.hub_bridges;
select is(tap.outcome('owner', pg_temp.own('''discord'', ''channel:100'', ''both'', null')), 'ok', 'a place stays when its bridge is deleted');
select is(tap.outcome('owner', pg_temp.own('''discord'', ''channel:100'', ''both'', ''DISCORD_BOT_TOKEN''')), 'ok', 'the default secret may also be named');
select is(tap.outcome('owner', pg_temp.own('''discord'', ''channel:100'', ''both'', null', 'prototypes')), '42501', 'a place of one server does not count for another');
insert into public.hub_places (server_id, kind, target, secret_name) select tap.server('buf-barista'), * from (values ('webhook', '*', 'HUB_BRIDGE_OWN'), ('github', 'channel:acme/*', 'HUB_GITHUB_TOKEN')) p;
select is(tap.outcome('owner', pg_temp.own(x)), o, x) from (values ('''webhook'', ''https://example.com/any'', ''out'', ''HUB_BRIDGE_OWN''', 'ok'), ('''webhook'', ''https://example.com/any'', ''out'', ''HUB_BRIDGE_ACME''', '42501'),
  ('''discord'', ''channel:5'', ''out'', ''HUB_BRIDGE_OWN''', '42501'), ('''github'', ''channel:acme/app'', ''out'', null', 'ok'), ('''github'', ''channel:Acme/*'', ''out'', null', 'ok'), ('''github'', ''channel:acme2/app'', ''out'', null', '42501')) t (x, o);
-- Of two that let one chat in the second is told so, not whose the first is; the same again is the index's to refuse.
select pg_temp.bridge('quick', 'discord', 'channel:100');
select is(tap.outcome('postgres', pg_temp.own('''discord'', ''channel:100'', ''in'', null', 'prototypes')), 'UH003', 'a chat can come into one channel only');
insert into public.hub_places (server_id, kind, target, secret_name) values (tap.server('aura-labs'), 'discord', '*', 'DISCORD_BOT_TOKEN');
select is(tap.refusal('owner', pg_temp.own('''discord'', ''channel:100'', ''in'', null', 'prototypes')), 'UH003 conflict A chat comes into one channel. Make this one go out only, or change the other.', 'the error does not tell an owner who has the other bridge');
select is(tap.outcome('postgres', pg_temp.own('''discord'', ''channel:100'', ''in'', null')), '23505');
select is(tap.outcome('postgres', pg_temp.own('''discord'', ''channel:100'', ''in'', null') || ' on conflict do nothing'), 'ok', 'inserting the same bridge again with ON CONFLICT is allowed');
select is(pg_temp.come('channel:100', 'p1', 'hello') ->> 'duplicate', 'false');
delete from public.hub_places where target = 'channel:100';
select throws_ok($$ select pg_temp.come('channel:100', 'p2', 'hello') $$, 'UH004', 'not found', 'a message from a place that was taken away is refused');
update public.hub_bridges set enabled = false;
select is_empty($$ select from public.hub_places where target = 'channel:100' $$, 'changing a bridge does not bring its place back');
delete from public.hub_bridges;
delete from public.hub_places where kind <> 'project';
delete from public.mac_tasks;

-- Coming in
create temp table b as select pg_temp.bridge('quick', 'discord', 'channel:1') as quick, pg_temp.bridge('dispatch', 'telegram', 'channel:-5/7') as dispatch, pg_temp.bridge('leads', 'discord', 'channel:3') as leads,
  pg_temp.bridge('quick', 'telegram', 'channel:9', '{"direction":"out"}') as second;
grant select on b to public;
select throws_ok($$ select pg_temp.come('channel:2', 'm', 'x') $$, 'UH004', 'not found', 'a message from a chat without a bridge is refused');
select throws_ok($$ select pg_temp.come('channel:9', 'm', 'x', null, 'telegram') $$, 'UH004', 'not found', 'a message to a bridge that only goes out is refused');
select throws_ok($$ select pg_temp.come('1', 'm', 'x') $$, 'UH001', 'bad input', 'a target without its kind is refused');
select throws_ok($$ select pg_temp.come('channel:1', '', 'x') $$, 'UH001', 'bad input');
select throws_ok($$ select pg_temp.come('channel:1', null, 'x') $$, 'UH001', 'bad input');
select throws_ok($$ select pg_temp.come('channel:1', 'm', ' ') $$, 'UH001', 'bad input');
select throws_ok($$ select pg_temp.come('channel:1', 'm', repeat('x', 100001)) $$, 'UH001', 'bad input');
select throws_ok($$ select pg_temp.come('channel:1', 'm', 'x', null, 'irc') $$, 'UH001', 'bad input');
create temp table i as select pg_temp.come('channel:1', 'm1', 'Fix the login', null, 'discord', E'Lar\u202ery\nAura Hub') as r;
select results_eq($$ select r ->> 'duplicate', r ->> 'echo', r #>> '{message,sender_type}', r #>> '{message,sender_label}', r #>> '{task,status}', r #>> '{task,created_by}', r #>> '{task,project}' from i $$,
  $$ values ('false', 'false', 'human', 'Larry Aura Hub (Discord)', 'pending', null::text, 'Desktop/homelab') $$, 'text from a chat becomes a task, and its author''s name has the provider');
select is((select pg_temp.come('channel:1', 'm1', 'Fix the login') - 'duplicate'), (select r - 'duplicate' from i), 'the same message again gets the same answer');
select is((pg_temp.come('channel:1', 'm1', 'edited meanwhile')) ->> 'duplicate', 'true', 'the same id with other text is a duplicate');
select is((select count(*)::int from public.mac_tasks where message_id = (select (r #>> '{message,id}')::uuid from i)), 1);
select is((pg_temp.come('channel:-5/7', 'm1', 'Other chat, same id', null, 'telegram')) ->> 'duplicate', 'false', 'the same id in another chat is another message');
select is(tap.outcome('operator', $$ insert into public.hub_channel_messages (channel_id, content, sender_id) select tap.channel('quick'), 'x', 'bridge:' || quick from b $$), '42501', 'a person can not send as a bridge');

-- ! and @model
select results_eq($$ select r #>> '{message,content}', r ->> 'task' from pg_temp.come('channel:1', 'm2', ' !stats') r $$, $$ values (' !stats', null::text) $$, 'a command without allow_commands is a message in a channel of tasks');
select results_eq($$ select r #>> '{message,content}', r ->> 'task' from pg_temp.come('channel:1', 'm3', E'\u200b!stats') r $$, $$ select U&'\200B!stats', null::text $$, 'a command behind an invisible character is a message');
select is((select count(*)::int from unnest(array['@codex fix the tests', 'ask gemini to write docs', 'Claude, review it', 'with codex']) with ordinality t (x, n), hub_internal.classify(x, tap.channel('quick')) c, pg_temp.come('channel:1', 'a' || n, x) r
            where r #>> '{task,model_preference}' <> (select model from hub_internal.classify(regexp_replace(x, '(claude|codex|gemini)', 'agent', 'gi'), tap.channel('quick')))), 0, 'without allow_commands an addressed model has no effect');
select results_eq($$ select r #>> '{message,content}', r ->> 'task', r ->> 'reply' from pg_temp.come('channel:3', 'l1', '!stats') r $$, $$ values ('!stats', null::text, null::text) $$, 'a command without allow_commands is a message in a channel of commands');
select results_eq($$ select r #>> '{message,content}', r ->> 'reply' from pg_temp.come('channel:3', 'l2', 'stats') r $$, $$ values ('stats', null::text) $$, 'a command without ! is a message too');
update public.hub_bridges set allow_commands = true;
select matches((pg_temp.come('channel:3', 'l3', '!help')) #>> '{reply,text}', '^Commands:', 'with allow_commands a command is carried out');
select results_eq($$ select kind, reply_to, left(body ->> 'text', 9) from public.hub_outbox o where o.bridge_id = (select leads from b) $$, $$ values ('reply', 'l3', 'Commands:') $$, 'the answer to a command is a reply');
select results_eq($$ select r ->> 'duplicate', r ->> 'reply' from pg_temp.come('channel:3', 'l3', '!help') r $$, $$ values ('true', null::text) $$, 'a repeated command is not answered again');
select is((pg_temp.come('channel:1', 'c1', '@codex fix the tests')) #>> '{task,model_preference}', 'codex', 'with allow_commands an addressed model is used');
-- Slash commands are answered by what is returned, and nowhere else; their ids are no messages.
create function pg_temp.slash(p_target text, p_id text, p_text text) returns jsonb language sql as $$
  select public.hub_receive_bridged(p_provider => 'discord', p_target => p_target, p_external_id => p_id, p_author => 'Larry', p_content => p_text, p_interaction => true)
$$;
create temp table before as select count(*) as n from public.hub_outbox;
select results_eq($$ select left(r #>> '{reply,text}', 9), r ->> 'outgoing', r ->> 'message' from pg_temp.slash('channel:3', 's1', '!help') r $$, $$ values ('Commands:', 'false', null::text) $$, 'a slash command returns its answer');
select results_eq($$ select r ->> 'duplicate', r ->> 'reply', r ->> 'outgoing' from pg_temp.slash('channel:3', 's1', '!help') r $$, $$ values ('true', null::text, 'false') $$, 'a repeated slash command returns no answer');
select is((select count(*) from public.hub_outbox), (select n from before), 'the answer to a slash command is not in the outbox');
select results_eq($$ select r ->> 'outgoing', r -> 'reply' is not null from pg_temp.come('channel:3', 'l5', '!help') r $$, $$ values ('true', true) $$, 'the answer to a written command is in the outbox');
select is((pg_temp.come('channel:3', 'l5', '!help')) ->> 'outgoing', 'true');
create temp table st as select pg_temp.slash('channel:1', 's2', '!write a poem') as r;
select results_eq($$ select r #>> '{task,status}', r ->> 'outgoing' from st $$, $$ values ('pending', 'true') $$, 'a slash command that makes a task is reported in the chat');
select is((select pg_temp.slash('channel:1', 's2', '!write a poem') - 'duplicate'), (select r - 'duplicate' from st), 'the same slash command again gets the same answer');
select public.hub_claim_tasks('tap-all', 50);
select from st, public.hub_complete_task((r #>> '{task,id}')::uuid, 1, 'Roses');
select is_empty($$ select * from pg_temp.deliver() where reply_to like 's%' $$, 'the result of a slash command''s task is a post, not a reply');
select isnt_empty($$ select * from public.hub_outbox, st where task_id = (r #>> '{task,id}')::uuid and status = 'sent' and kind = 'reply' and reply_to is null and target = 'channel:1' $$);
update public.hub_bridges set direction = 'in' where id = (select quick from b);
select is((pg_temp.come('channel:1', 'in1', 'Write prose')) ->> 'outgoing', 'false', 'a bridge that only comes in reports nothing');
update public.hub_bridges set direction = 'both' where id = (select quick from b);
update public.hub_bridges set allow_commands = false;
create temp table n as select (select count(*) from public.hub_channel_messages) as messages, (select count(*) from public.mac_tasks) as tasks, (select count(*) from hub_internal.bridge_messages) as known;
select results_eq(format($$ select r ->> 'ignored', r ->> 'outgoing', r ->> 'message', r ->> 'task', r ->> 'reply', r ->> 'duplicate' from pg_temp.slash(%L, 's3', '!help') r $$, x),
  $$ values ('commands are not allowed in this bridge', 'false', null::text, null::text, null::text, 'false') $$, 'a slash command where none is allowed, in ' || x) from unnest(array['channel:1', 'channel:3', 'channel:3']) x;
select results_eq($$ select (select count(*) from public.hub_channel_messages), (select count(*) from public.mac_tasks), (select count(*) from hub_internal.bridge_messages) $$, $$ select * from n $$, 'a slash command that is not allowed stores nothing');
select is((pg_temp.come('channel:3', 'l6', '!help')) -> 'ignored', null, 'a written command that is not allowed is stored as text');
select pg_temp.say('leads', 'unsent');
update public.hub_bridges set enabled = false where id = (select leads from b);
select throws_ok($$ select pg_temp.come('channel:3', 'l4', 'x') $$, 'UH004', 'not found', 'a message to a bridge that is switched off is refused');
select is((select status from public.hub_outbox o where o.bridge_id = (select leads from b) and body ->> 'text' = 'unsent'), 'dead', 'rows of a bridge that is switched off are dead');
delete from public.hub_outbox;
delete from public.mac_tasks;

-- Going out, and no echo
select pg_temp.say('quick', 'hello');
select results_eq($$ select provider, target, kind, secret_name, body ->> 'text', body ->> 'sender', char_length(nonce) from public.hub_outbox order by provider $$,
  $$ values ('discord', 'channel:1', 'post', 'DISCORD_BOT_TOKEN', 'hello', 'Owner', 25), ('telegram', 'channel:9', 'post', 'TELEGRAM_BOT_TOKEN', 'hello', 'Owner', 25) $$, 'a message goes to every bridge of its channel');
select pg_temp.say('bridge', 'elsewhere');
select is(pg_temp.waiting(), 2::bigint, 'a message of another channel does not go to these bridges');
select is((select count(*)::int from pg_temp.deliver()), 2);
select pg_temp.come('channel:1', 'm10', '!nothing to do');
select results_eq($$ select target, kind, text from pg_temp.deliver() $$, $$ values ('channel:9', 'post', '!nothing to do') $$, 'a message that came by one bridge goes only to the other');
select results_eq($$ select r ->> 'echo', r ->> 'message' from pg_temp.come('channel:1', (select external_id from public.hub_outbox where target = 'channel:1'), 'hello') r $$, $$ values ('true', null::text) $$, 'our own message that comes back is an echo');

-- Who writes is named as the database knows them, whatever a client sends; nobody here looks like somebody there.
create function pg_temp.named(p_claims jsonb) returns text language plpgsql as $$
begin
  perform tap.become('operator');
  perform set_config('request.jwt.claims', (current_setting('request.jwt.claims')::jsonb || p_claims)::text, true);
  insert into public.hub_channel_messages (channel_id, content, sender_label) values (tap.channel('quick'), 'run the payout', 'GitHub');
  perform tap.become('postgres');
  return (select max(body ->> 'sender') from public.hub_outbox where body ->> 'text' = 'run the payout' and status = 'pending');
end;
$$;
select is(pg_temp.named('{}'), 'operator', 'a sender_label sent with a message is not used outside');
select is(count(*)::int, 2, 'the message goes to both bridges') from pg_temp.deliver();
select is(pg_temp.named(jsonb_build_object('user_metadata', jsonb_build_object('full_name', x))), y, 'the name ' || replace(x, E'\n', ' ')) from (values (E'Ada\nAura Hub:', 'Ada Aura Hub:')) t (x, y);
select from pg_temp.deliver();
select is(pg_temp.named('{"user_metadata":{"full_name":"@alice (Discord)"}}'), '@alice', 'a name can not end like one from a chat');
select from pg_temp.deliver();
select is((select sender_label from public.hub_channel_messages where content = 'run the payout' order by seq limit 1), 'GitHub', 'the sender_label is kept in the channel');

-- A task: one message, edited; the result a reply
create temp table t as select (pg_temp.come('channel:1', 'm11', 'Write a poem') #>> '{task,id}')::uuid as id;
select results_eq($$ select kind, body ->> 'text' like '⏳ Task % queued%' from public.hub_outbox where status = 'pending' and target = 'channel:1' $$, $$ values ('post', true) $$, 'a queued task is one post');
select public.hub_claim_tasks('tap-all', 50);
select from t, public.hub_report_progress(t.id, 1, 'first line');
select results_eq($$ select kind, body ->> 'text' from public.hub_outbox where status = 'pending' and target = 'channel:1' $$, $$ select 'post', format('📋 %s: first line', left(id::text, 4)) from t $$, 'progress replaces the text of a post that was not sent yet');
create temp table held as select * from public.hub_claim_outbox(10);
select is((select count(*)::int from held), 2, 'one row of each target is in flight');
select from t, public.hub_report_progress(t.id, 1, 'second line');
select from t, public.hub_report_progress(t.id, 1, 'third line');
select results_eq($$ select kind, body ->> 'text' from public.hub_outbox where status = 'pending' and target = 'channel:1' $$, $$ select 'edit', format('📋 %s: third line', left(id::text, 4)) from t $$, 'while a post is in flight, progress waits as one edit');
select is_empty($$ select * from public.hub_claim_outbox(10) where target = 'channel:1' $$, 'an edit is not claimed while its post is in flight');
select public.hub_complete_outbox(id, attempt, 'there-' || target) from held;
select results_eq($$ select kind, edit_of from pg_temp.deliver() where target = 'channel:1' $$, $$ values ('edit', 'there-channel:1') $$, 'an edit names the message that was sent');
select from t, public.hub_report_progress(t.id, 1, 'fourth line');
select from t, public.hub_complete_task(t.id, 1, 'Roses are red');
select results_eq($$ select kind, edit_of, reply_to, text from pg_temp.deliver() where target = 'channel:1' $$,
  $$ select 'edit', 'there-channel:1', null, format('📋 %s: fourth line', left(id::text, 4)) from t union all select 'reply', null, 'm11', format(E'✅ %s complete [claude/tap-all]\nRoses are red', left(id::text, 4)) from t $$, 'the result is a reply to the message that asked');
select is((select count(*)::int from public.hub_outbox where task_id = (select id from t) and kind = 'post' and target = 'channel:1'), 1, 'a task has one post in each chat');
select is((select reply_to from public.hub_outbox where task_id = (select id from t) and kind = 'reply' and target = 'channel:9'), 'there-channel:9', 'on the other bridge the result is a reply to its copy of the message');

-- A text that takes several messages: each is known, a reply names the first, what arrived is not sent again
create temp table long as select m.id from public.hub_channel_messages m where false;
with said as (insert into public.hub_channel_messages (channel_id, content, sender_type, sender_id, sender_label) select tap.channel('quick'), 'long', 'human', tap.id('owner')::text, 'Owner' returning id)
insert into long select id from said;
create temp table part as select o.* from public.hub_claim_outbox(10) o where o.target = 'channel:1';
select is((select parts from part), '{}'::text[], 'a new row has no parts');
select throws_ok(format($$ select public.hub_fail_outbox(id, attempt, 'no', null, false, %L) from part $$, x), 'UH001', 'bad input', 'parts ' || x) from unnest(array['{""}', '{a,NULL}']) x;
select throws_ok($$ select public.hub_complete_outbox(id, attempt, null, array[repeat('x', 181)]) from part $$, 'UH001', 'bad input');
select is((select f.parts from part, public.hub_fail_outbox(id, attempt, '429', '0 seconds', false, '{p1,p2}') f), '{p1,p2}'::text[], 'a failure keeps the parts that arrived');
select is((pg_temp.come('channel:1', 'p2', 'long')) ->> 'echo', 'true', 'a part that comes back is an echo');
update public.hub_outbox set run_after = now() where id = (select id from part);
create temp table part2 as select o.* from public.hub_claim_outbox(10) o where o.id = (select id from part);
select is((select parts from part2), '{p1,p2}'::text[], 'the next attempt gets the parts that arrived');
select results_eq($$ select c.status, c.external_id, c.parts from part2, public.hub_complete_outbox(id, attempt, null, '{p1,p2,p3}') c $$, $$ values ('sent', 'p1', '{p1,p2,p3}'::text[]) $$, 'the first part is the external id');
select is((select count(*)::int from generate_series(1, 3) n, pg_temp.come('channel:1', 'p' || n, 'long') r where (r ->> 'echo')::boolean), 3, 'all three parts that come back are echoes');
insert into public.hub_channel_messages (channel_id, content, sender_type, sender_id, sender_label, reply_to) select tap.channel('quick'), 'an answer', 'human', tap.id('owner')::text, 'Owner', id from long;
select results_eq($$ select kind, reply_to from pg_temp.deliver() where target = 'channel:1' $$, $$ values ('reply', 'p1') $$, 'a reply to a long message refers to its first part');
select is((pg_temp.come('channel:1', 'm12', 'and this to the last', 'p3')) #>> '{message,reply_to}', (select id::text from long), 'a reply to any part is a reply to the message');
delete from public.hub_outbox where status = 'pending';
delete from public.mac_tasks where content = 'and this to the last';

-- Threads: the reply to a result goes on in its thread
delete from public.hub_bridges where id = (select second from b);
create temp table th as select pg_temp.come('channel:-5/7', '100', 'Build it', null, 'telegram') as r;
select public.hub_claim_tasks('tap-all', 50);
select from th, public.hub_complete_task((r #>> '{task,id}')::uuid, 1, 'Built');
select results_eq($$ select d.kind, d.reply_to, left(d.text, 1) from th, pg_temp.deliver() d where d.text ~ left(r #>> '{task,id}', 4) $$, $$ values ('post', null, '▶'), ('reply', '100', '✅') $$, 'a new thread posts its newest line (queued, then started) and its result, not the copied message');
create temp table th2 as select pg_temp.come('channel:-5/7', '101', 'And test it', (select external_id from public.hub_outbox o where o.kind = 'reply' and o.task_id = (r #>> '{task,id}')::uuid), 'telegram') as r from th;
select is((select th2.r #>> '{thread,id}' from th2), (select r #>> '{thread,id}' from th), 'a reply to a result continues its thread');
select is((select th2.r #>> '{task,parent_id}' from th2), (select r #>> '{task,id}' from th));
-- The bridge gets another channel, and somebody replies to what came before.
create temp table moved as select channel_id as id from public.hub_bridges where id = (select dispatch from b);
update public.hub_bridges set channel_id = (select id from public.hub_channels c where c.server_id = hub_bridges.server_id and c.id <> hub_bridges.channel_id and not c.is_read_only order by c.name limit 1) where id = (select dispatch from b);
select results_eq(format($$ select r #>> '{message,channel_id}', r #>> '{message,reply_to}', r #>> '{task,parent_id}', r ->> 'task' is not null from pg_temp.come('channel:-5/7', 'n' || %L, 'And this', %L, 'telegram') r $$, x, x),
  $$ select channel_id::text, null::text, null::text, true from public.hub_bridges where id = (select dispatch from b) $$, 'a reply to ' || x || ' of the former channel is a new message of the present one') from unnest(array['100', (select external_id from public.hub_outbox o, th where o.kind = 'reply' and o.task_id = (r #>> '{task,id}')::uuid)]) x;
update public.hub_bridges set channel_id = (select id from moved) where id = (select dispatch from b);
create function pg_temp.detail(p_sql text) returns text language plpgsql as $$
declare
  v_detail text;
begin
  execute p_sql;
  return null;
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return sqlstate || ' ' || v_detail;
end;
$$;
select is(pg_temp.detail($$ select pg_temp.come('channel:404', 'm', 'x') $$), 'UH004 no bridge from discord channel:404', 'the error for an unknown bridge names provider and target');
select isnt((pg_temp.come('channel:-5/7', '102', 'Something new', 'unknown', 'telegram')) #>> '{thread,id}', (select r #>> '{thread,id}' from th), 'a reply to an unknown message is a new task');
delete from public.hub_outbox;

-- Webhooks out
select pg_temp.bridge('garden', 'webhook', 'https://example.com/in', '{"direction":"out","secret_name":"HUB_BRIDGE_GARDEN"}');
select pg_temp.say('garden', 'hello');
create temp table w as select tap.running('garden', 'Plant it') as id;
select from w, public.hub_report_progress(w.id, 1, 'digging');
select from w, public.hub_complete_task(w.id, 1, 'planted');
select from pg_temp.deliver();
select results_eq($$ select kind, secret_name, body ->> 'type', body #>> '{data,task}' = (select id::text from w) from public.hub_outbox where status = 'sent' and provider = 'webhook' order by seq $$,
  $$ values ('webhook', 'HUB_BRIDGE_GARDEN', 'message.posted', null), ('webhook', 'HUB_BRIDGE_GARDEN', 'message.posted', null), ('webhook', 'HUB_BRIDGE_GARDEN', 'task.progress', true), ('webhook', 'HUB_BRIDGE_GARDEN', 'task.complete', true) $$, 'a webhook gets its events in order, and of progress the newest');
delete from public.hub_outbox;
delete from public.mac_tasks;

-- Order, leases, backoff
select pg_temp.say('quick', x) from unnest(array['one', 'two', 'three']) x;
create temp table o as select * from public.hub_claim_outbox();
select results_eq($$ select body ->> 'text', attempt, status, lease_expires_at - now() from o $$, $$ values ('one', 1, 'sending', interval '60 seconds') $$, 'one row of a target is claimed, the first');
select is_empty($$ select * from public.hub_claim_outbox() $$, 'no other row of the target is claimed while one is in flight');
select throws_ok($$ insert into public.hub_outbox (server_id, provider, target, secret_name, kind, body, idempotency_key, expires_at, status) select server_id, provider, target, secret_name, kind, body, 'x', expires_at, 'sending' from o $$,
  '23505', null, 'a unique index allows one row in flight a target');
select throws_ok($$ select public.hub_complete_outbox(id, 2, 'x') from o $$, 'UH002', 'lease lost', 'a row is not completed by another attempt');
select throws_ok($$ select public.hub_complete_outbox(gen_random_uuid(), 1) $$, 'UH002', 'lease lost');
select throws_ok($$ select public.hub_complete_outbox(null, null) $$, 'UH002', 'lease lost');
select throws_ok($$ select * from public.hub_claim_outbox(0) $$, 'UH001', 'bad input');
select throws_ok($$ select * from public.hub_claim_outbox(1, '0 seconds') $$, 'UH001', 'bad input');
select public.hub_recover(now() + interval '59 seconds');
select is((select status from public.hub_outbox where id = (select id from o)), 'sending', 'a row stays in flight during its lease');
select public.hub_recover(now() + interval '61 seconds');
select is((select status from public.hub_outbox where id = (select id from o)), 'pending', 'a row is pending after its lease');
select throws_ok($$ select public.hub_complete_outbox(id, 1, 'late') from o $$, 'UH002', 'lease lost', 'an attempt whose lease ran out is refused');
update public.hub_outbox set run_after = now() where status = 'pending';
create temp table o2 as select * from public.hub_claim_outbox();
select is((select body ->> 'text' || attempt || (nonce = (select nonce from o)) from o2), 'one2true', 'the same row is claimed again with the same nonce');
create temp table failed as select f.* from o2, public.hub_fail_outbox(o2.id, 2, '  502 Bad Gateway ') f;
select is((select status || ' ' || error from failed), 'pending 502 Bad Gateway');
select is((select run_after - now() between interval '5 seconds' and interval '10 seconds' from failed), true, 'a failed second attempt waits 5 to 10 seconds');
select is_empty($$ select * from public.hub_claim_outbox() $$, 'rows behind a waiting row are not claimed');
select is(public.hub_outbox_due(), (select run_after from failed), 'hub_outbox_due is the time of the waiting row');
update public.hub_outbox set run_after = now() where id = (select id from o);
select is((select f.run_after - now() between interval '90 seconds' and interval '91 seconds' from public.hub_claim_outbox() c, public.hub_fail_outbox(c.id, c.attempt, '429', '90 seconds') f), true, 'Retry-After is obeyed');
select is((select min(hub_internal.outbox_backoff(n)) >= interval '2.5 seconds' and max(hub_internal.outbox_backoff(n)) <= interval '1 hour' from generate_series(-1, 40) n), true, 'backoffs are between 2.5 seconds and an hour');
select isnt(hub_internal.outbox_backoff(5), hub_internal.outbox_backoff(5), 'backoffs have jitter');
update public.hub_outbox set run_after = now(), attempt = max_attempts - 1 where id = (select id from o);
select is((select f.status from public.hub_claim_outbox() c, public.hub_fail_outbox(c.id, c.attempt, 'no')f), 'dead', 'a row is dead after twelve attempts, not counting a wait that was asked for');
select is((select c.body ->> 'text' from public.hub_claim_outbox() c), 'two', 'rows behind a dead letter are claimed');
select is(public.hub_outbox_due(), null, 'rows behind one in flight are not due');
select throws_ok($$ select public.hub_retry_outbox(id) from public.hub_outbox where status = 'sending' $$, 'UH003', 'conflict', 'a row in flight can not be retried');
select throws_ok($$ select public.hub_retry_outbox(gen_random_uuid()) $$, 'UH004', 'not found');
select results_eq($$ select status, attempt, max_attempts, run_after, finished_at is null from public.hub_retry_outbox((select id from o)) $$, $$ values ('pending', 13, 25, now(), true) $$, 'hub_retry_outbox makes a dead letter pending');
select public.hub_complete_outbox(id, attempt, 'e2') from public.hub_outbox where status = 'sending';
select results_eq($$ select text from pg_temp.deliver() $$, $$ values ('three'), ('one') $$, 'a retried dead letter is sent after the rows that came since');
select throws_ok($$ select public.hub_retry_outbox(id) from public.hub_outbox where status = 'sent' limit 1 $$, 'UH003', 'conflict', 'a sent row can not be retried');
select pg_temp.say('quick', 'bad');
select results_eq($$ select f.status, f.attempt from public.hub_claim_outbox() c, public.hub_fail_outbox(c.id, c.attempt, '403', null, true) f $$, $$ values ('dead', 1) $$, 'a permanent failure is dead at once');
-- An edit of what was never sent is a message.
select tap.running('quick', 'never told');
update public.hub_outbox set kind = 'post' where status = 'pending' and kind = 'post';
select is((select count(*)::int from public.hub_claim_outbox() c where c.body ->> 'text' = 'never told'), 1);
select public.hub_fail_outbox(id, attempt, 'no', null, true) from public.hub_outbox where status = 'sending';
create temp table lost as select c.* from public.hub_claim_outbox() c;
select public.hub_report_progress((select task_id from lost), 1, 'on my way');
select public.hub_fail_outbox(id, attempt, 'no', null, true) from lost;
select results_eq($$ select kind, edit_of from public.hub_claim_outbox() $$, $$ values ('post', null::text) $$, 'an edit whose message was never sent is posted');
delete from public.hub_outbox;
delete from public.mac_tasks;

-- An edit whose message was deleted there became a new message; that is what is edited next.
select tap.running('quick', 'seen and deleted');
select from pg_temp.deliver();
select public.hub_report_progress(t.id, 1, 'once more') from public.mac_tasks t where t.content = 'seen and deleted';
select is((select c.kind from public.hub_claim_outbox() o, public.hub_complete_outbox(o.id, o.attempt, 'new one') c), 'post');
select public.hub_report_progress(t.id, 1, 'and again') from public.mac_tasks t where t.content = 'seen and deleted';
select results_eq($$ select kind, edit_of from public.hub_claim_outbox() $$, $$ values ('edit', 'new one') $$, 'after an edit became a new message the next edit is of that one');
delete from public.hub_outbox;
delete from public.mac_tasks;

-- Time to live
select pg_temp.say('quick', 'late ' || n) from generate_series(1, 12) n;
select is((select count(*)::int from hub_internal.claim_outbox(1, '60 seconds', now() + interval '59 minutes')), 1);
select public.hub_fail_outbox(id, 1, 'timeout', '1 hour') from public.hub_outbox where status = 'sending';
select public.hub_recover(now() + interval '61 minutes');
select results_eq($$ select status, count(*) from public.hub_outbox group by 1 order by 1 $$, $$ values ('pending', 1::bigint), ('summarised', 12) $$, 'twelve messages past their time become one summary');
select results_eq($$ select kind, summarises, body ->> 'text' ~ '^⏱️ 12 messages were not sent while this chat could not be reached \(....-..-.. ..:.. to ....-..-.. ..:.. UTC\)\.$', run_after >= now() + interval '1 hour' from public.hub_outbox where status = 'pending' $$,
  $$ values ('post', 12, true, true) $$, 'the summary counts them and waits for the target''s backoff');
update public.hub_outbox set run_after = now() + interval '3 hours' where status = 'pending';
select pg_temp.say('quick', 'later');
select results_eq($$ select summarises from hub_internal.claim_outbox(5, '60 seconds', now() + interval '4 hours') $$, $$ values (13) $$, 'claiming merges an unsent summary into the next');
select is((select count(*)::int from public.hub_outbox where status in ('pending', 'sending')), 1);
select throws_ok($$ select public.hub_retry_outbox(id) from public.hub_outbox where status = 'summarised' limit 1 $$, 'UH003', 'conflict');
delete from public.hub_outbox;
select tap.running('quick', 'silent');
delete from public.hub_outbox where kind <> 'post' or not is_progress;
update public.hub_outbox set kind = 'edit';
select public.hub_recover(now() + interval '2 hours');
select results_eq($$ select status from public.hub_outbox where is_progress $$, $$ values ('summarised') $$, 'an edit past its time is dropped without a summary');
select is_empty($$ select from public.hub_outbox where summarises > 0 and body ->> 'text' like '⏱️ 0%' $$);
delete from public.hub_outbox;
select pg_temp.say('garden', 'for the URL');
select public.hub_recover(now() + interval '2 hours');
select is((select status from public.hub_outbox), 'pending', 'a webhook is still pending after two hours');
select public.hub_recover(now() + interval '73 hours');
select results_eq($$ select status, error from public.hub_outbox $$, $$ values ('dead', 'past its time to live') $$, 'a webhook is a dead letter after 73 hours');
select is((select r.status from public.hub_outbox o, public.hub_retry_outbox(o.id) r where r.expires_at > now() + interval '2 days'), 'pending', 'a webhook that is a dead letter can be retried');
update public.hub_outbox set status = 'sent', finished_at = now();
select public.hub_recover(now() + interval '29 days');
select is((select count(*)::int from public.hub_outbox), 1, 'sent rows are kept for 29 days');
select public.hub_recover(now() + interval '31 days', 100000);
select is((select count(*)::int from public.hub_outbox) + (select count(*)::int from hub_internal.bridge_messages), 0, 'sent rows are deleted after 31 days');

-- A webhook is tried until its time is over, the later the rarer; a chat's waits that were asked for are no attempts.
delete from public.hub_outbox;
select pg_temp.say('garden', 'for the URL');
create temp table tries (at interval);
do $$
declare
  v_at  timestamptz := now();
  v_row public.hub_outbox;
begin
  loop
    select * into v_row from hub_internal.claim_outbox(1, '60 seconds', v_at);
    exit when not found;
    insert into tries values (v_at - now());
    select * into v_row from hub_internal.fail_outbox(v_row.id, v_row.attempt, '500', null, false, null, v_at);
    v_at := v_row.run_after;
  end loop;
end;
$$;
select is((select max(at) between interval '70 hours' and interval '72 hours' and count(*) between 70 and 160 from tries), true, 'a failing webhook is tried 70 to 160 times in three days');
select results_eq($$ select status, error from public.hub_outbox $$, $$ values ('dead', 'past its time to live; 500') $$);
delete from public.hub_outbox;
update public.hub_bridges set direction = 'both', enabled = true where id = (select quick from b);
select pg_temp.say('quick', 'asked to wait');
create temp table waits as select null::timestamptz as due, null::text as status where false;
do $$
declare
  v_row public.hub_outbox;
begin
  for n in 1 .. 30 loop
    select * into v_row from public.hub_claim_outbox(1);
    select * into v_row from public.hub_fail_outbox(v_row.id, v_row.attempt, '429', '0 seconds');
    insert into waits values (v_row.run_after, v_row.status);
    update public.hub_outbox set run_after = now();
  end loop;
end;
$$;
select results_eq($$ select count(*), max(due) > now() + interval '20 minutes', (select count(*) from waits where due <= now() + interval '1 second') from waits where status = 'pending' $$, $$ values (30::bigint, true, 12::bigint) $$,
  'waits that were asked for are not counted, but of zero seconds only twelve');
update public.hub_outbox set attempt = max_attempts - 1;
select is((select f.status from public.hub_claim_outbox(1) c, public.hub_fail_outbox(c.id, c.attempt, '429', '1 second') f), 'pending', 'a wait that was asked for at the last attempt does not end it');
delete from public.hub_outbox;
-- One that a receiver refuses lets the others go before, and comes again by itself; a receiver that asks to wait has all wait.
select pg_temp.say('garden', x) from unnest(array['bad', 'good', 'better']) x;
create function pg_temp.claimed() returns text language sql as $$ select string_agg(body #>> '{data,text}', ',') from public.hub_claim_outbox(10) $$;
select is(pg_temp.claimed(), 'bad', 'a webhook''s rows are claimed in order');
select results_eq($$ select f.overtaken, f.status from public.hub_outbox o, public.hub_fail_outbox(o.id, o.attempt, '400') f where o.status = 'sending' $$, $$ values (true, 'pending') $$);
select is(public.hub_outbox_due(), now(), 'the row behind a refused webhook is due');
select is(pg_temp.claimed(), 'good', 'the row behind a refused webhook is sent before it');
update public.hub_outbox set run_after = now() where status = 'pending';
select is(pg_temp.claimed(), null, 'a webhook has one row in flight');
select is(public.hub_outbox_due(), null, 'nothing is due while a webhook''s row is in flight');
select public.hub_complete_outbox(id, attempt) from public.hub_outbox where status = 'sending';
select is(pg_temp.claimed(), 'bad', 'the refused row is tried again in its turn');
select results_eq($$ select f.overtaken, f.attempt from public.hub_outbox o, public.hub_fail_outbox(o.id, o.attempt, '400') f where o.status = 'sending' $$, $$ values (true, 2) $$);
select is(pg_temp.claimed(), 'better');
select results_eq($$ select f.overtaken from public.hub_outbox o, public.hub_fail_outbox(o.id, o.attempt, '429', '1 minute') f where o.status = 'sending' $$, $$ values (false) $$);
update public.hub_outbox set run_after = now() where overtaken;
select pg_temp.say('garden', 'last');
select is(pg_temp.claimed(), null, 'all rows wait if the receiver asked to wait');
select is(public.hub_outbox_due() between now() + interval '60 seconds' and now() + interval '61 seconds', true, 'hub_outbox_due is the end of the wait');
update public.hub_outbox set run_after = now() where not overtaken and status = 'pending';
select is(pg_temp.claimed() in ('bad', 'better'), true, 'rows are claimed again after the wait');
select public.hub_recover(now() + interval '61 seconds');
select is((select bool_or(overtaken and status = 'pending') from public.hub_outbox where error like 'lease lost%'), true, 'a row whose worker was lost is overtaken too');
delete from public.hub_outbox;

-- Two servers and one chat: neither waits for the other, nor speaks with its secret. Two bridges of one server are summed up each for itself.
delete from public.hub_outbox;
delete from public.hub_bridges;
select pg_temp.bridge('quick', 'discord', 'channel:1', '{"direction":"out"}'), pg_temp.bridge('bridge', 'discord', 'channel:1', '{"direction":"out"}'),
  pg_temp.bridge('prototypes', 'discord', 'channel:1', '{"direction":"out","secret_name":"HUB_BRIDGE_NOT_SET"}');
select pg_temp.say('prototypes', 'theirs');
select pg_temp.say('quick', 'ours');
select results_eq($$ select body ->> 'text', secret_name from public.hub_claim_outbox(10) order by seq $$, $$ values ('theirs', 'HUB_BRIDGE_NOT_SET'), ('ours', 'DISCORD_BOT_TOKEN') $$, 'rows of two servers to one chat are in flight at once');
select public.hub_complete_outbox(id, attempt, 'ours') from public.hub_outbox where body ->> 'text' = 'ours';
select public.hub_fail_outbox(id, attempt, 'HUB_BRIDGE_NOT_SET is not set') from public.hub_outbox where body ->> 'text' = 'theirs';
select pg_temp.say('quick', 'ours again');
select is(public.hub_outbox_due(), (select run_after from public.hub_outbox where body ->> 'text' = 'ours again'), 'a row is due although another server''s row to the same chat waits');
select results_eq($$ select text from pg_temp.deliver() $$, $$ values ('ours again') $$, 'a row does not wait behind another server''s backoff');
select pg_temp.say('quick', 'late'), pg_temp.say('bridge', 'late too'), pg_temp.say('quick', 'later');
select public.hub_recover(now() + interval '2 hours');
select results_eq($$ select c.name, o.secret_name, o.summarises from public.hub_outbox o join public.hub_bridges b on b.id = o.bridge_id join public.hub_channels c on c.id = b.channel_id
    where o.status = 'pending' and o.server_id = c.server_id order by 1 $$,
  $$ values ('bridge', 'DISCORD_BOT_TOKEN', 1), ('prototypes', 'HUB_BRIDGE_NOT_SET', 1), ('quick', 'DISCORD_BOT_TOKEN', 2) $$, 'each bridge gets a summary of its own rows with its own secret');
delete from public.hub_outbox;
delete from public.hub_bridges;
select pg_temp.bridge('garden', 'webhook', 'https://example.com/in', '{"direction":"out","secret_name":"HUB_BRIDGE_GARDEN"}');

-- What was in flight, or came after, when the bridge was switched off or changed. Each claim looks: what waits behind the dead goes out.
create function pg_temp.in_flight(p_text text) returns uuid language plpgsql as $$
declare
  v_row public.hub_outbox;
begin
  delete from public.hub_outbox;
  update public.hub_bridges b set enabled = true, direction = 'both', target = 'channel:1', secret_name = null, channel_id = tap.channel('quick') where b.provider = 'discord';
  perform pg_temp.say('quick', p_text);
  select * into v_row from public.hub_claim_outbox(1) where target = 'channel:1';
  return v_row.id;
end;
$$;
create function pg_temp.and_then(p_id uuid) returns text language plpgsql as $$
declare
  v_row public.hub_outbox;
begin
  select f.* into v_row from public.hub_outbox o, public.hub_fail_outbox(o.id, o.attempt, '503', '0 seconds') f where o.id = p_id;
  perform from hub_internal.claim_outbox(10, '60 seconds', now() + interval '1 minute');
  return (select o.status || coalesce(' ' || o.error, '') from public.hub_outbox o where o.id = p_id);
end;
$$;
select pg_temp.bridge('quick', 'discord', 'channel:1');
insert into public.hub_places (server_id, kind, target, secret_name) values (tap.server('buf-barista'), 'discord', '*', 'HUB_BRIDGE_HOOK') on conflict do nothing;
create temp table off as select pg_temp.in_flight('x') as id;
select is(pg_temp.and_then(id), 'sending 503', 'a row of an unchanged bridge is tried again') from off;
create temp table changes as select * from (values ('enabled = false'), ('direction = ''in'''), ('target = ''channel:2'''), ('channel_id = tap.channel(''bridge'')')) c (change);
create function pg_temp.change(p_set text) returns void language plpgsql as $$ begin execute 'update public.hub_bridges set ' || p_set || ' where provider = ''discord'''; end; $$;
create function pg_temp.changed(p_set text) returns text language plpgsql as $$
declare
  v_id uuid := pg_temp.in_flight('x');
begin
  perform pg_temp.change(p_set);
  return pg_temp.and_then(v_id);
end;
$$;
select is(pg_temp.changed(change), 'dead its bridge was switched off or changed', change) from changes;
select matches(pg_temp.changed('secret_name = ''HUB_BRIDGE_HOOK'''), '^sending 503');
select is((select secret_name from public.hub_outbox where status = 'sending'), 'HUB_BRIDGE_HOOK', 'a row uses the bridge''s present secret');
create temp table away as select pg_temp.in_flight('stopped') as id;
create temp table places as select * from public.hub_places where kind = 'discord' and secret_name = 'DISCORD_BOT_TOKEN';
delete from public.hub_places p using places where p = places;
select matches(pg_temp.and_then(id), '^dead the place of its bridge was taken away: .* hub_places$', 'rows of a bridge whose place was taken away are dead') from away;
insert into public.hub_places select * from places;
select public.hub_retry_outbox(id) from away;
select results_eq($$ select text from pg_temp.deliver() $$, $$ values ('stopped') $$, 'rows can be retried when the place is given back');
-- A row of a transaction that did not see the switch-off, at the head of others.
select pg_temp.in_flight('kept');
update public.hub_outbox set status = 'pending', target = 'channel:2', seq = seq + 1000000;
insert into public.hub_outbox (server_id, bridge_id, provider, target, secret_name, kind, body, idempotency_key, expires_at)
select server_id, bridge_id, provider, 'channel:2', secret_name, kind, '{"text":"stale"}', 'stale' || n, expires_at from public.hub_outbox, generate_series(1, 3) n;
select pg_temp.change('target = ''channel:2''');
update public.hub_outbox set status = 'pending', finished_at = null, run_after = now();
update public.hub_outbox set message_id = (select id from public.hub_channel_messages where channel_id = tap.channel('bridge') limit 1) where idempotency_key like 'stale%';
select results_eq($$ select text from pg_temp.deliver() $$, $$ values ('kept') $$, 'one claim passes over dead rows at the head of a target');
select is((select count(*)::int from public.hub_outbox where status = 'dead'), 3);
select ok((select pg_get_functiondef('hub_internal.claim_outbox'::regproc) ~ 'for no key update skip locked'), 'claiming skips locked rows');
delete from public.hub_outbox;
delete from public.hub_bridges where provider = 'discord';
select pg_temp.say('garden', 'nothing');

-- Answers on GitHub: the nearest bridge of the repository decides, and one that is switched off says nothing, by no token.
create function pg_temp.answered(p_text text) returns text language plpgsql as $$
declare
  v_id uuid := tap.running('garden', p_text);
begin
  insert into hub_internal.webhook_tasks (delivery_id, channel_id, task_id, provider, repository, number, answer)
  values (gen_random_uuid(), tap.channel('garden'), v_id, 'github', 'acme/app', 7, true);
  perform public.hub_complete_task(v_id, 1, 'Fixed');
  return (select string_agg(o.secret_name, ',') from public.hub_outbox o where o.task_id = v_id and o.kind = 'github_comment');
end;
$$;
select is(pg_temp.answered('no place'), null, 'without a place for the repository no answer is sent');
insert into public.hub_places (server_id, kind, target) values (tap.server('buf-barista'), 'github', 'acme/*');
select is(pg_temp.answered('no bridge'), 'HUB_GITHUB_TOKEN', 'without a bridge the answer uses HUB_GITHUB_TOKEN');
select pg_temp.bridge('garden', 'github', 'channel:acme/*', '{"direction":"out","secret_name":"HUB_BRIDGE_ACME"}');
select is(pg_temp.answered('all of them'), 'HUB_BRIDGE_ACME');
select pg_temp.bridge('garden', 'github', 'channel:Acme/App', '{"direction":"out","enabled":false}');
select is(pg_temp.answered('but not this'), null, 'no answer is sent if the nearest bridge is switched off');
delete from public.hub_bridges where target = 'channel:Acme/App';
delete from public.hub_outbox where kind <> 'github_comment' or status <> 'pending' or bridge_id is null;
select results_eq($$ select kind, secret_name from public.hub_claim_outbox(10) $$, $$ values ('github_comment', 'HUB_BRIDGE_ACME') $$, 'a bridge of acme/* carries the answer for acme/app');
update public.hub_bridges set enabled = false where provider = 'github';
select is(pg_temp.answered('none of them'), null, 'no answer is sent if all bridges are switched off');
delete from public.hub_outbox;
delete from public.hub_bridges where provider = 'github';
select pg_temp.say('garden', 'nothing');

-- A bridge that is changed or goes
delete from public.hub_outbox;
select pg_temp.say('garden', 'x');
update public.hub_bridges set target = 'https://example.org/in' where provider = 'webhook';
select is((select status from public.hub_outbox), 'dead', 'rows for a bridge''s former address are dead');
delete from public.hub_bridges;
select is((select count(*)::int from public.hub_outbox), 0, 'deleting a bridge deletes its rows');

-- The list of a team's parts is a message of its own, and edited with the one here, in chats.
delete from public.hub_bridges;
delete from public.hub_outbox;
select pg_temp.bridge('quick', 'discord', 'channel:61'), pg_temp.bridge('quick', 'telegram', 'channel:62'), pg_temp.bridge('quick', 'webhook', 'https://example.com/team', '{"direction":"out","secret_name":"HUB_BRIDGE_X"}');
create temp table team as select (public.hub_send(tap.channel('quick'), E'!team Tidy up\n- Count the lines\n- Sort the words') #>> '{task,id}')::uuid as id;
create function pg_temp.part(p_words text) returns uuid language sql as $$ select t.id from public.mac_tasks t where t.content like p_words || '%' and t.team_id is not null $$;
create function pg_temp.lists() returns table (target text, kind text, status text, marks text) language sql as $$
  select o.target, o.kind, o.status, regexp_replace(coalesce(o.body ->> 'text', o.body #>> '{data,text}'), '[^⏳🚫]', '', 'g') from public.hub_outbox o
   where coalesce(o.body ->> 'text', o.body #>> '{data,text}') like '🧩 %' order by o.target, o.seq $$;
select results_eq('select * from pg_temp.lists()', $$ values ('channel:61', 'post', 'pending', '⏳⏳'), ('channel:62', 'post', 'pending', '⏳⏳'), ('https://example.com/team', 'webhook', 'pending', '⏳⏳') $$, 'the list of parts is told once in each chat');
select is((select bool_and((o.body ->> 'in_place')::boolean) from public.hub_outbox o where o.body ->> 'text' like '🧩 %'), true, 'as one message, however long');
select from (select public.hub_cancel_task(pg_temp.part('Count the lines'))) x;
select results_eq('select * from pg_temp.lists()', $$ values ('channel:61', 'post', 'pending', '🚫⏳'), ('channel:62', 'post', 'pending', '🚫⏳'), ('https://example.com/team', 'webhook', 'pending', '⏳⏳') $$, 'what was not tried yet says the newest');
create temp table sent as select * from pg_temp.deliver();
select is((select count(*)::int from sent where text like '🧩 %'), 2, 'both are sent');
update public.hub_channel_messages set content = replace(content, '🚫', '⏳') where event = 'decomposed' and task_id = (select id from team);
select results_eq($$ select target, kind, marks from pg_temp.lists() where status = 'pending' $$, $$ values ('channel:61', 'edit', '⏳⏳'), ('channel:62', 'edit', '⏳⏳') $$, 'what is there is edited');
select from (select public.hub_cancel_task(pg_temp.part('Sort the words'))) x;
select results_eq($$ select target, kind, marks from pg_temp.lists() where status = 'pending' $$, $$ values ('channel:61', 'edit', '🚫🚫'), ('channel:62', 'edit', '🚫🚫') $$, 'by one edit, that says the newest');
select results_eq($$ select d.kind, d.edit_of = (select o.external_id from public.hub_outbox o where o.kind = 'post' and o.target = d.target and o.body ->> 'text' like '🧩 %') from pg_temp.deliver() d where d.text like '🧩 %' order by d.target $$,
  $$ values ('edit', true), ('edit', true) $$, 'of the message that is there');
update public.hub_outbox set status = 'dead', external_id = null where kind = 'post' and body ->> 'text' like '🧩 %' and target = 'channel:61';
update public.hub_channel_messages set content = replace(content, '🚫', '⏳') where event = 'decomposed' and task_id = (select id from team);
select results_eq($$ select target, kind from pg_temp.lists() where status = 'pending' $$, $$ values ('channel:62', 'edit') $$, 'where it never arrived nothing is edited');
update public.hub_outbox set status = 'dead', external_id = null where kind = 'post' and body ->> 'text' like '🧩 %' and target = 'channel:62';
select is_empty($$ select from pg_temp.deliver() d where d.text like '🧩 %' $$, 'nor posted in its place');
select is((select o.error from public.hub_outbox o where o.kind = 'edit' and o.status = 'dead'), 'what it would edit was never sent', 'and says why');

select * from finish();
rollback;
