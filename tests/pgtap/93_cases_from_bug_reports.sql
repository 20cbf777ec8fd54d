-- Cases from bug reports of other projects: chats that move and number their messages anew, edits, messages without text, targets that are
-- gone, grapheme clusters, a database with unusual settings.
\ir setup.psql
select no_plan();

create function pg_temp.bridge(p_channel text, p_provider text, p_target text, p_starts text default 'everyone', p_direction text default 'both') returns uuid language sql as $$
  insert into public.hub_bridges (server_id, channel_id, provider, target, direction, starts_tasks, starters)
  select c.server_id, c.id, p_provider, p_target, p_direction, p_starts, '{-100500}' from public.hub_channels c where c.name = p_channel returning id
$$;
create function pg_temp.come(p_target text, p_id text, p_text text, p_reply_to text default null, p_kind text default 'message', p_elsewhere text[] default null,
                             p_provider text default 'telegram', p_author_id text default '7') returns jsonb language sql as $$
  select public.hub_receive_bridged(p_provider, p_target, p_id, 'Larry', p_text, p_reply_to, false, p_author_id, p_kind, p_elsewhere)
$$;
create function pg_temp.say(p_channel text, p_text text) returns void language sql as $$
  insert into public.hub_channel_messages (channel_id, content, sender_type, sender_id, sender_label) values (tap.channel(p_channel), p_text, 'human', tap.id('owner')::text, 'Owner')
$$;
-- All that waits, sent: each answered with the number of its chat, which counts for itself.
create sequence pg_temp.there;
create function pg_temp.deliver(p_note text default null) returns table (target text, kind text, edit_of text, reply_to text, external_id text) language plpgsql as $$
#variable_conflict use_column
declare
  o public.hub_outbox;
begin
  loop
    select * into o from public.hub_claim_outbox(1);
    exit when not found;
    o := public.hub_complete_outbox(o.id, o.attempt, coalesce(o.edit_of, nextval('pg_temp.there')::text), null, p_note);
    target := o.target; kind := o.kind; edit_of := o.edit_of; reply_to := o.reply_to; external_id := o.external_id;
    return next;
  end loop;
end;
$$;
create function pg_temp.tasks() returns bigint language sql as $$ select count(*) from public.mac_tasks $$;
create function pg_temp.heard(p_channel text default 'quick') returns setof text language sql as $$
  select m.content from public.hub_channel_messages m where m.channel_id = tap.channel(p_channel) and m.sender_id like 'bridge:%' order by m.seq
$$;

-- B: a group becomes another chat, and ids begin again at 1.
select pg_temp.bridge('dispatch', 'telegram', 'channel:-5') as bridge \gset
select is(pg_temp.come('channel:-5', '1', 'Survey the docs') #>> '{task,status}', 'pending', 'a message of the old group becomes a task');
select is((select count(*) from pg_temp.deliver()), 1::bigint, 'its queued line is sent to the old group');
update public.hub_bridges set target = 'channel:-100500' where id = :'bridge';
select is(pg_temp.come('channel:-100500', '1', 'Count the files') ->> 'duplicate', 'false', 'message 1 of the new chat is not a duplicate');
create function pg_temp.thread_of(p_text text) returns uuid language sql as $$
  select t.thread_id from public.mac_tasks t join public.hub_channel_messages m on m.id = t.message_id where m.content = p_text
$$;
select isnt(pg_temp.thread_of('Survey the docs'), pg_temp.thread_of('Count the files'), 'message 1 of the new chat becomes a task of its own');
select is(pg_temp.come('channel:-100500', '1', 'Count the files') ->> 'duplicate', 'true', 'message 1 of the new chat sent again is a duplicate');
select is(pg_temp.thread_of('Count the files'), (pg_temp.come('channel:-100500', '2', 'and the folders', '1') #>> '{message,task_thread_id}')::uuid,
          'a reply to message 1 of the new chat goes to that message''s thread');
alter sequence pg_temp.there restart 1000;
select is((select count(*) from pg_temp.deliver() where target = 'channel:-100500' and edit_of is null), 2::bigint, 'progress in the new chat edits no message of the old chat');
update public.hub_bridges set target = 'channel:-100500/42' where id = :'bridge';
select is(pg_temp.come('channel:-100500/42', '2', 'and the folders', '1') ->> 'duplicate', 'true', 'a message of a topic is a duplicate by the chat''s ids');
update public.hub_bridges set target = 'channel:-5' where id = :'bridge';
select is(pg_temp.come('channel:-5', '1', 'Survey the docs') ->> 'duplicate', 'true', 'back in the old chat its message ids are known');
select is(pg_temp.come('channel:-5', repeat('9', 180), 'a long id') #>> '{message,content}', 'a long id', 'a message id of 180 characters is accepted');
select is(pg_temp.come('channel:-5', repeat('9', 180), 'a long id') ->> 'duplicate', 'true');
delete from public.hub_bridges;

-- D: what else a place is.
select pg_temp.bridge('quick', 'discord', 'channel:10');
select pg_temp.bridge('dispatch', 'discord', 'user:77');
select is(pg_temp.come('channel:11', 'a1', 'list the files', p_elsewhere => array['channel:10'], p_provider => 'discord') #>> '{message,channel_id}', tap.channel('quick')::text, 'a message of a thread without a bridge comes by its channel''s bridge');
select is(pg_temp.come('user:77', 'a2', 'list the files', p_elsewhere => array['channel:99'], p_provider => 'discord') #>> '{message,channel_id}', tap.channel('dispatch')::text, 'a private message comes by the person''s bridge');
select is(pg_temp.come('channel:10', 'a3', 'x', p_elsewhere => array['user:77'], p_provider => 'discord') #>> '{message,channel_id}', tap.channel('quick')::text, 'of several bridges the first one given is used');
select throws_ok($$ select pg_temp.come('channel:11', 'a4', 'x', p_elsewhere => array['channel:12'], p_provider => 'discord') $$, 'UH004', 'not found');
select throws_ok($$ select pg_temp.come('channel:11', 'a4', 'x', p_elsewhere => array['10'], p_provider => 'discord') $$, 'UH001', 'bad input');
select throws_ok($$ select pg_temp.come('channel:11', 'a4', 'x', p_elsewhere => array[null], p_provider => 'discord') $$, 'UH001', 'bad input');
delete from public.hub_bridges;

-- E, L: who is no person, what is no words.
select pg_temp.bridge('quick', 'telegram', 'channel:-100500', 'listed') as bridge \gset
select is(pg_temp.come('channel:-100500', '1', 'list the files', p_author_id => '-100600') ->> 'task', null, 'an author who writes as a chat that is not listed starts no work');
select isnt(pg_temp.come('channel:-100500', '2', 'list the files', p_author_id => '-100500') ->> 'task', null, 'an author who writes as a listed chat starts work');
update public.hub_bridges set starts_tasks = 'everyone' where id = :'bridge';
select is(pg_temp.come('channel:-100500', '3', '[photo]', p_kind => 'note') ->> 'task', null, 'a note starts no work');
select is(pg_temp.come('channel:-100500', '3', '[photo]', p_kind => 'note') ->> 'duplicate', 'true');
select throws_ok($$ select pg_temp.come('channel:-100500', '4', 'x', p_kind => 'sticker') $$, 'UH001', 'bad input');
select throws_ok($$ select pg_temp.come('channel:-100500', '4', 'x', p_kind => null) $$, 'UH001', 'bad input');
select is(pg_temp.come('channel:-100500', '4', '!stats', p_kind => 'note') #>> '{message,content}', '!stats', 'a note is not read as a command');

-- Edits: what was meant is said, and nothing starts again.
select pg_temp.tasks() as before \gset
select is(pg_temp.come('channel:-100500', '2', 'list the files', p_kind => 'edit') ->> 'duplicate', 'true', 'an edit with the same words is a duplicate');
select is(pg_temp.come('channel:-100500', '2', 'list the folders', p_kind => 'edit') #>> '{message,content}', '✏️ list the folders', 'an edit with new words is a message');
select is((select m.reply_to from public.hub_channel_messages m where m.content = '✏️ list the folders'),
          (select m.id from public.hub_channel_messages m where m.content = 'list the files' and m.idempotency_key = 'channel:-100500 2'), 'an edit answers the old message');
select is(pg_temp.come('channel:-100500', '2', 'list the folders', p_kind => 'edit') ->> 'duplicate', 'true', 'the same edit again is a duplicate');
select is(pg_temp.come('channel:-100500', '99', 'from before the bridge', p_kind => 'edit') #>> '{message,content}', '✏️ from before the bridge', 'an edit of an unknown message is a message');
select is(pg_temp.tasks(), :before::bigint, 'edits start no task');
select is((select count(*) from pg_temp.deliver()) > 0, true);
select is(pg_temp.come('channel:-100500', (select m.external_id from hub_internal.bridge_messages m where not m.incoming limit 1), 'another text', p_kind => 'edit') ->> 'echo', 'true', 'an edit of our own message is an echo');
delete from public.hub_bridges;

-- M: a place that is gone is said in the channel, once, without its address.
select pg_temp.bridge('quick', 'telegram', 'channel:-100500/42') as bridge \gset
create function pg_temp.warnings() returns bigint language sql as $$ select count(*) from public.hub_channel_messages m where m.channel_id = tap.channel('quick') and m.content_type = 'warning' $$;
select pg_temp.say('quick', 'one'), pg_temp.say('quick', 'two');
select is((select count(*) from pg_temp.deliver('its topic is gone: said in the chat itself')), 2::bigint);
select is(pg_temp.warnings(), 1::bigint, 'two failures of a bridge make one warning');
select is((select content from public.hub_channel_messages where content_type = 'warning' and channel_id = tap.channel('quick')), '⚠️ A bridge of this channel (telegram): its topic is gone: said in the chat itself');
select pg_temp.say('quick', 'three'); select pg_temp.deliver();
select pg_temp.say('quick', 'four'); select pg_temp.deliver('its topic is gone: said in the chat itself');
select is(pg_temp.warnings(), 2::bigint, 'a bridge that failed again after it worked makes another warning');
select pg_temp.say('quick', 'five'); select pg_temp.say('quick', 'six');
create function pg_temp.fail_all(p_why text) returns void language plpgsql as $$
declare
  o public.hub_outbox;
begin
  loop
    select * into o from public.hub_claim_outbox(1);
    exit when not found;
    perform public.hub_fail_outbox(o.id, o.attempt, p_why, null, true);
  end loop;
end;
$$;
select pg_temp.fail_all('Telegram answered 403: the bot was blocked by the user');
select is(pg_temp.warnings(), 3::bigint, 'dead letters make a warning');
select is((select count(*) from public.hub_outbox o where o.bridge_id = :'bridge' and o.status = 'pending'), 0::bigint, 'a warning does not go out by the bridge');
select is(tap.outcome('owner', $$ update public.hub_bridges set warned = 'x' $$), '42501', 'an owner can not write a bridge''s warning');

-- K: whole clusters.
select is(hub_internal.head(x, n), y, format('%s of %s', n, x)) from (values
  ('ab', 5, 'ab'), ('abc', 2, 'ab'), ('abc', 0, ''),
  ('a👨‍👩‍👧‍👦b', 3, 'a'), ('a👨‍👩‍👧‍👦b', 7, 'a'), ('a👨‍👩‍👧‍👦b', 8, 'a👨‍👩‍👧‍👦'),
  (E'e\u0301e\u0301', 3, E'e\u0301'), ('👍🏽👍🏽', 3, '👍🏽'), ('🇩🇪🇫🇷x', 3, '🇩🇪'), ('🇩🇪🇫🇷x', 4, '🇩🇪🇫🇷'), ('❤️❤️', 3, '❤️'), ('1️⃣2️⃣', 5, '1️⃣'),
  ('नमस्ते', 5, 'नमस्'), (E'a\r\nb', 2, 'a'), (E'\u1112\u1161\u11ab\u1112', 2, E'\u1112\u1161'), (E'a' || repeat(E'\u0301', 100), 50, E'a' || repeat(E'\u0301', 49))) v (x, n, y)
 where x not like E'\u1112%';
select is(hub_internal.shorten('a👨‍👩‍👧‍👦👨‍👩‍👧‍👦', 10), 'a👨‍👩‍👧‍👦…', 'a text is shortened between grapheme clusters');
select is(array_to_string(hub_internal.chunks(repeat('👨‍👩‍👧‍👦', 500)), ''), repeat('👨‍👩‍👧‍👦', 500), 'chunks together are the whole text');
select is((select bool_and(c like '%👦' and char_length(c) <= 2000) from unnest(hub_internal.chunks(repeat('👨‍👩‍👧‍👦', 500))) c), true, 'chunks end between grapheme clusters');
select is(hub_internal.tamed('👩‍💻 क्‍ष می‌خواهم'), '👩‍💻 क्‍ष می‌خواهم', 'joiners inside words and emoji are kept');
select is(hub_internal.tamed(E'@cl\u200daude \u200dx \u200b\u200d@co\u200cdex'), '(at)claude x (at)codex', 'joiners that hide a name are removed');
select matches((select pg_temp.come('channel:-100500/42', 'k1', 'hello') -> 'message' ->> 'sender_label'), 'Larry');
select is((public.hub_receive_bridged('telegram', 'channel:-100500/42', 'k2', '👩‍💻 Ada', 'hello') #>> '{message,sender_label}'), '👩‍💻 Ada (Telegram)', 'an author''s name keeps its joiners');

-- Numbers that a device reports have bounds.
select public.hub_register_device('meter', 'linux', '[{"agent": "sh", "models": ["any"]}]', 1);
select (public.hub_send(tap.channel('quick'), 'count it') #>> '{task,id}') as task \gset
update public.mac_tasks set status = 'running', claimed_by = 'meter', attempt = 1, lease_expires_at = now() + interval '1 minute', agent = 'sh' where id = :'task';
select throws_ok(format($$ select public.hub_complete_task(%L, 1, 'done', %L) $$, :'task', m), 'UH001', 'bad input', 'p_meta ' || left(m, 60))
  from unnest(array['{"cost_usd": -1}', '{"cost_usd": 1e7}', '{"cost_usd": "1"}', '{"tokens_in": 1e13}', '{"tokens_in": -1}', '{"tokens_out": 1.5}', '{"tokens_out": 10000000000000}',
                    '{"exit_code": 10000000000}', jsonb_build_object('model', repeat('m', 201))::text, jsonb_build_object('session_id', repeat('s', 501))::text,
                    jsonb_build_object('receipt', repeat('r', 100001))::text]) m;
select lives_ok(format($$ select public.hub_complete_task(%L, 1, 'done', '{"cost_usd": 0.1234567, "tokens_in": 999999999999, "tokens_out": 0}') $$, :'task'));
select is((select cost_usd from public.hub_task_attempts where task_id = :'task'), 0.123457, 'a cost is rounded to six decimals');

-- Work that waits for other work. hatchet#4554: parts that failed make no success. argo#1864: a plan without parts hangs nothing.
-- agent-swarm#1572: recovery ends nothing that still runs, whoever waits for it.
select public.hub_claim_tasks('tap-all', 1000);
create function pg_temp.all_end(p_parent uuid, p_well boolean, p_words text default 'no') returns text language plpgsql as $$
begin
  perform public.hub_claim_tasks('tap-all', 1000);
  if p_well then perform public.hub_complete_task(s.task_id, 1, p_words) from hub_internal.subtasks s where s.parent_id = p_parent;
  else perform public.hub_fail_task(s.task_id, 1, p_words, false) from hub_internal.subtasks s where s.parent_id = p_parent; end if;
  return (select status from public.mac_tasks where id = p_parent);
end;
$$;
select is(pg_temp.all_end((public.hub_send(tap.channel('quick'), E'!team --join Do\n- one\n- two') #>> '{task,id}')::uuid, false), 'failed', 'parts that all failed are no success of the whole, joined');
select is(pg_temp.all_end((public.hub_send(tap.channel('quick'), E'!team Do\n- one\n- two') #>> '{task,id}')::uuid, false), 'failed', 'nor gathered');
select is(pg_temp.all_end((public.hub_send(tap.channel('quick'), '!team Do nothing much') #>> '{task,id}')::uuid, true, '[]'), 'pending', 'a plan without parts leaves the request to be done as one');
select (public.hub_send(tap.channel('quick'), E'!team Do\n- one\n- two') #>> '{task,id}')::uuid as whole \gset
select public.hub_claim_tasks('tap-all', 1000);
select public.hub_recover(), public.hub_recover();
select is((select string_agg(t.status, ' ' order by t.created_at) from public.mac_tasks t where t.id = :'whole' or t.parent_id = :'whole'), 'blocked running running', 'a round ends neither what runs nor what waits for it');

-- P: other settings of the database.
set datestyle = 'German, DMY'; set intervalstyle = 'sql_standard'; set timezone = 'Asia/Kathmandu'; set bytea_output = 'escape'; set extra_float_digits = -5;
select matches(hub_internal.koji_day(tap.channel('brooklyn'), '2026-11-20'), '^Digest of 2026-11-20', 'the digest has its day in ISO format whatever DateStyle says')
 where tap.channel('brooklyn') is not null;
select hub_internal.feed_brief(f, '2026-11-20 08:00+00') from hub_internal.feeds f join public.hub_channels c on c.id = f.channel_id where c.name like '%brief%';
select is((select count(*) from public.hub_channel_messages where content ~ 'Morning brief of' and content !~ 'brief of 2026-11-19'), 0::bigint, 'the morning brief has its day in ISO format whatever DateStyle says');
set escape_string_warning = off; set standard_conforming_strings = off;
select is(hub_internal.one_line(E' a \n b '), 'a b', 'standard_conforming_strings off: one_line');
select is(hub_internal.normal_path('a/../b'), null, 'standard_conforming_strings off: normal_path');
select is(hub_internal.is_public_url('https://example.com/x'), true, 'standard_conforming_strings off: is_public_url');
select is(hub_internal.commanded('/hub', E'/hub do it'), 'do it', 'standard_conforming_strings off: commanded');
select is(hub_internal.glob_matches('acme/*_x', 'acme/a_x', true), true, 'standard_conforming_strings off: glob_matches') ;
select is(hub_internal.glob_matches('acme/a_x', 'acme/abx', true), false, 'standard_conforming_strings off: glob_matches takes _ as a letter');
select is(hub_internal.command_words('!hot "new york"'), array['!hot', 'new york'], 'standard_conforming_strings off: command_words');
select is(hub_internal.addressed_model('@claude fix it'), 'claude', 'standard_conforming_strings off: addressed_model');
select is(hub_internal.csv_field('a"b'), '"a""b"', 'standard_conforming_strings off: csv_field');
select is((hub_internal.github_facts('issues', '{"action":"opened","repository":{"full_name":"acme/app"},"issue":{"number":1,"title":"x","html_url":"https://github.com/x","user":{"login":"a"}},"sender":{"login":"a"}}') ->> 'url'),
          'https://github.com/x', 'standard_conforming_strings off: github_facts');
select is(array(select m.parts from hub_internal.team_of_message(E'!team x\n- a\n1. b') m)::text, '{{a,b}}', 'standard_conforming_strings off: team_of_message');
select is(hub_internal.plan_in(E'```json\n[]\n```'), '[]', 'standard_conforming_strings off: plan_in');
set standard_conforming_strings = on;
reset all;
select * from finish();
rollback;
