-- Koji's commands: text, arguments, rights, and what is typed to break them.
\ir setup.psql
select no_plan();
create function tap.said(p_command text) returns text language sql volatile as $$ select public.hub_execute_command(tap.channel('leads'), p_command) ->> 'text' $$;
grant execute on function tap.said(text) to public;

select is(tap.said('!stats'), E'Pipeline: 23 active leads\nHot: 8 | Warm: 12 | Cold: 3\nRevenue MTD: $4,200', '!stats answers as in the document''s picture');
select is(tap.said('!hot brooklyn'), E'1. Bakeri (★4.8) - sample\n2. Laurel (★4.6) - outreach\n3. ACRE (★4.5) - follow_up', '!hot brooklyn answers as in the document''s picture');
select is(tap.said(c), tap.said('!stats'), format('%L is !stats', c)) from unnest(array['stats', '  !STATS  ', '!!stats', '"!stats"']) c;
select is(tap.said('!warm atlantis'), 'No warm prospects in atlantis.');
select is(tap.said('!warm'), tap.said('!warm'), '!warm without a market covers all markets');
select matches(tap.said('!lead 1'), E'^#1 Bakeri \\(★4.8\\)\nTier: hot', '!lead finds a prospect by number');
select is(tap.said('!lead bakeri'), tap.said('!lead 1'), '!lead finds a prospect by name');
select is(tap.said('!lead "La Cabra"'), tap.said('!lead la cabra'), '!lead takes a name with or without quotes');
select matches(tap.said('!export brooklyn'), E'^number,name,market,tier,stage,rating,address,contact\r\n1,Bakeri,', '!export begins with a header and ends lines with CRLF');
select matches(tap.said('!export'), '24,"Cafe ""Regular""",Brooklyn,cold,lost,4.4,"318 11th St, Apt 2",', '!export quotes fields as RFC 4180 says');
select is(hub_internal.csv_field(f), w, 'a spreadsheet runs nothing: ' || f) from (values ('=1+1', '''=1+1'), ('@x', '''@x'), ('-2+3', '''-2+3'), ('-4.5', '-4.5'), ('plain', 'plain')) x (f, w);

-- A mistyped command is answered, with 200 and what to type.
select is(tap.said('!statz'), 'Unknown command: !statz. Did you mean !stats? !help lists the commands there are.');
select is(tap.said('!xyzzy'), 'Unknown command: !xyzzy. !help lists the commands there are.');
select matches(tap.said(c), '^Usage: !', c || ' is answered with the usage') from unnest(array['!stats now', '!lead', '!send-samples', '!send-samples 0', '!send-samples 51', '!send-samples 1 2', '!send-samples x', '!followup all', '!digest 1']) c;
select matches(tap.said(c), '^Commands:', 'a command that asks for help lists the commands') from unnest(array['!help', 'help', '', '   ', '!']) c;

-- Hostile arguments: each is answered, and nothing changes.
create temp table before as select (select count(*) from public.koji_prospects) as prospects, (select count(*) from public.koji_samples) as samples;
select isnt(tap.said(format(c, a)), null, 'answered: ' || translate(format(c, a), E'\n', ' '))
  from unnest(array['!hot %s', '!warm %s', '!lead %s', '!export %s', '!send-samples %s', '!sweep-status %s', '!%s']) c,
       unnest(array[$$'; drop table koji_prospects; --$$, $$" or 1=1$$, '%s %I %L $1', '\', E'a\nb', '$$', '🦀', repeat('x', 3000)]) a;
select results_eq($$ select (select count(*) from public.koji_prospects), (select count(*) from public.koji_samples) $$, $$ select * from before $$, 'hostile arguments change nothing');
select is(tap.said(repeat('x', 4001)), 'A command has at most 4,000 characters.', 'a command that is too long is answered');
select throws_ok($$ select public.hub_execute_command(tap.channel('leads'), null) $$, 'UH001', 'bad input');

-- Commands that write are an operator's, and say what they changed.
select is(tap.outcome(a, $$ select tap.said('!send-samples 1') $$), e, a || ' sends samples')
  from (values ('outsider', '42501'), ('viewer', '42501'), ('operator', 'ok'), ('owner', 'ok'), ('service', 'ok')) x (a, e);
select is(tap.outcome(a, $$ select tap.said('!stats') $$), e, a || ' reads stats')
  from (values ('outsider', 'ok'), ('viewer', 'ok'), ('anonymous', 'UH004'), ('device:tap-all', 'UH004')) x (a, e);
select is(tap.said('!send-samples 2'), E'Samples sent to 2:\nLa Cabra (★4.7)\nLaurel (★4.6)\nA follow-up is due in 7 days.');
select is((select string_agg(name, ', ' order by name) from public.koji_prospects where number in (2, 6) and stage = 'sample'), 'La Cabra, Laurel', 'the prospects that got samples are in the stage sample');
select matches(tap.said('!send-samples 50'), '^Samples sent to \d+:', '!send-samples 50 sends to all that are left');
select is(tap.said('!send-samples 1'), 'No samples sent: every hot or warm lead has had one.');
select is(tap.said('!followup'), 'Followed up with 2: ACRE, Abraco.');
select is(tap.said('!followup'), 'No follow-ups are due.');
select matches(tap.said('!digest'), E'^Digest of \\d{4}-\\d\\d-\\d\\d\nPipeline: 23 active leads\n', '!digest begins with the day and the pipeline');

-- A sweep is recorded, carried out by whoever claims it, and its finds are told apart from what was known.
select is(tap.said(c), E'Usage: !sweep <city>\nLaunch market sweep\n<city> is a name of at most 80 characters.', translate(c, E'\n', ' ') || ' names no city')
  from unnest(array['!sweep', '!sweep 123', '!sweep ' || repeat('x', 81), E'!sweep "a\nb"']) c;
select is(tap.said('!sweep-status'), 'No sweeps yet. !sweep <city> starts one.');
select is(tap.outcome(a, $$ select tap.said('!sweep Hudson') $$), e, a || ' sweeps')
  from (values ('outsider', '42501'), ('viewer', '42501'), ('operator', 'ok'), ('owner', 'ok')) x (a, e);
select is(tap.said('!sweep Hudson'), 'Sweep of Hudson queued. !sweep-status shows how it goes.');
select is(tap.said('!sweep hudson'), 'A sweep of hudson is under way already. !sweep-status shows it.', 'a city that is being swept is not swept again');
select is(tap.said('!sweep-status'), 'Hudson - queued, waiting for a worker');
create temp table held as select * from public.hub_claim_sweeps();
select is((select count(*) from held), 1::bigint, 'a queued sweep is claimed');
select is((select count(*) from public.hub_claim_sweeps()), 0::bigint, 'a claimed sweep is not claimed again');
select matches(tap.said('!sweep-status'), '^Hudson - running for \d+s$');
select throws_ok(format('select public.hub_complete_sweep(%L, 2, ''[]'')', id), 'UH002', 'lease lost') from held;
select throws_ok(format('select public.hub_complete_sweep(%L, 1, ''{}'')', id), 'UH001', 'bad input') from held;
select is((public.hub_complete_sweep(id, 1, '[{"name": "Lil Deb''s", "rating": 4.7, "address": "747 Columbia St"}, {"name": "LIL DEB''S"}, {"name": ""}, {}]', 'a list')).added, 1, 'a sweep adds each new prospect once') from held;
select matches(tap.said('!sweep-status'), '^Hudson - complete: 4 found, 1 new \(a list, ');
select matches(tap.said('!lead lil deb''s'), E'^#25 Lil Deb''s \\(★4.7\\)\nTier: cold \\| Stage: new\nMarket: Hudson\nAddress: 747 Columbia St');
select throws_ok(format('select public.hub_fail_sweep(%L, 1, ''x'')', id), 'UH002', 'lease lost', 'a complete sweep can not fail') from held;

select is(tap.sees(a, 'public.koji_prospects'), e, a || ' reads prospects')
  from (values ('anon', '42501'), ('anonymous', '0'), ('outsider', '25'), ('viewer', '25'), ('device:tap-all', '0'), ('service', '25')) x (a, e);
select is(tap.outcome('owner', w), '42501', 'an owner may not write but by commands: ' || w)
  from unnest(array['update public.koji_prospects set tier = ''hot''', 'delete from public.koji_orders', 'insert into public.koji_samples (server_id, prospect_id) select server_id, id from public.koji_prospects']) w;
select policies_are('public', t, array[t || '_select_readers']) from unnest(array['koji_prospects', 'koji_accounts', 'koji_orders', 'koji_samples', 'koji_followups', 'koji_sweeps']) t;

select * from finish();
rollback;
