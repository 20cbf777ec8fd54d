-- Budgets, shares and fallbacks set by names (hub_set_budget, hub_set_share, hub_set_fallbacks): what is wrong is named with what to do, what is there is
-- changed, and an owner writes in their own server alone (who may call what at all: 10_rights_functions, 95_owners).
\ir setup.psql
select no_plan();

create function pg_temp.said(p_sql text, p_who text default 'owner') returns text language plpgsql as $$
declare v_detail text; v_hint text; v_out text;
begin
  perform tap.become(p_who);
  begin
    execute p_sql into v_out;
  exception when others then
    get stacked diagnostics v_detail = pg_exception_detail, v_hint = pg_exception_hint;
    v_out := sqlstate || ' | ' || v_detail || ' | ' || v_hint;
  end;
  perform tap.become('postgres');
  return v_out;
end $$;
create function pg_temp.budget(p_args text, p_who text default 'owner', p_server text default 'buf-barista') returns text language sql as $$
  select pg_temp.said(format('select concat_ws('' '', b.scope, b.subject, b.measure, b.amount, b.per, b.on_silence, b.silence, b.roles, b.about) from public.hub_set_budget(%s, %s) b',
                             case when p_server = '' then 'null' else quote_literal(tap.server(p_server)) end, p_args), p_who) $$;
create function pg_temp.project() returns text language sql as $$ select project_path from public.hub_channels where name = 'quick' $$;
insert into public.hub_places (kind, server_id, target) values ('project', tap.server('buf-barista'), 'team/app');
insert into public.hub_projects (server_id, name, path) values (tap.server('buf-barista'), 'app', 'team/app');
insert into public.mac_tasks (id, content, channel_id, created_by) values ('00000000-0000-4000-8000-00000000000a', 'x', tap.channel('quick'), tap.id('operator'));

-- By names
select is(pg_temp.budget(a), e, 'a budget by ' || a) from (values
  ($$'server', null, 'cost', 5$$, 'server  cost 5 wait {owner}'),
  ($$'project', 'app', 'tokens', 1000, 'day'$$, 'project team/app tokens 1000 day wait {owner}'),
  ($$'project', 'team/app', 'seconds', 60$$, 'project team/app seconds 60 wait {owner}'),
  ($$'channel', '#quick', 'running', 2$$, format('channel %s running 2 wait {owner}', tap.channel('quick'))),
  (format($$'channel', '%s', 'notional', 2$$, upper(tap.channel('quick')::text)), format('channel %s notional 2 wait {owner}', tap.channel('quick'))),
  ($$'agent', 'claude', 'cost', 5, 'week', 'cancel', '2 hours', '{operator,owner}', 'for a trial'$$, 'agent claude cost 5 week cancel 02:00:00 {operator,owner} for a trial'),
  (format($$'person', '%s', 'cost', 5, 'month'$$, tap.id('operator')), format('person %s cost 5 month wait {owner}', tap.id('operator')))) v (a, e);
select is(pg_temp.budget($$'server', '', 'cost', 7, p_on_silence => 'continue', p_silence => '1 hour', p_about => 'all of it'$$), 'server  cost 7 continue 01:00:00 {owner} all of it', 'set again it is changed');
select is(pg_temp.budget($$'server', null, 'cost', 8$$), 'server  cost 8 continue 01:00:00 {owner} all of it', 'and what is not given stays');
select is(pg_temp.budget($$'server', null, 'cost', 8, p_on_silence => 'wait'$$), 'server  cost 8 wait {owner} all of it', 'silence goes with what is done about it');
select is((select count(*)::int from public.hub_budgets b where b.server_id = tap.server('buf-barista') and b.scope = 'server'), 1, 'it is one budget');
select is((select created_by from public.hub_budgets b where b.scope = 'server'), tap.id('owner'), 'with who made it');
select is(pg_temp.budget($$'deployment', null, 'cost', 5$$, 'service', ''), 'deployment  cost 5 wait {owner}', 'whoever runs the deployment has one of all of it');

-- Of a task
select is(pg_temp.budget($$'task', '00000000-0000-4000-8000-00000000000A', 'cost', 5$$, 'operator'), 'task 00000000-0000-4000-8000-00000000000a cost 5 wait {owner}', 'an operator sets that of a task');
select is(pg_temp.budget($$'task', '00000000-0000-4000-8000-00000000000a', 'cost', 3$$, 'operator'), 'task 00000000-0000-4000-8000-00000000000a cost 3 wait {owner}', 'and smaller');
select is(pg_temp.budget($$'task', '00000000-0000-4000-8000-00000000000a', 'cost', 4$$, 'operator'), '42501 | an operator may only make it smaller | An owner of its server does the rest.', 'larger it is made by an owner');
select is(pg_temp.budget($$'task', '00000000-0000-4000-8000-00000000000a', 'cost', 4$$), 'task 00000000-0000-4000-8000-00000000000a cost 4 wait {owner}', 'who may');
select is(pg_temp.budget($$'server', null, 'cost', 1$$, 'operator'), '42501 | budgets of this server | An owner of the server writes them.', 'all others are an owner''s');

-- What is wrong is named, with what to do
select is(pg_temp.budget(a), e, 'no budget: ' || a) from (values
  ($$'planet', null, 'cost', 5$$, 'UH001 | p_scope ''planet'' | One of deployment, server, project, channel, agent, person and task.'),
  ($$null, null, 'cost', 5$$, 'UH001 | p_scope is null | One of deployment, server, project, channel, agent, person and task.'),
  ($$'deployment', null, 'cost', 5$$, 'UH001 | p_server_id of a budget of the deployment | Leave p_server_id out.'),
  ($$'server', 'x', 'cost', 5$$, 'UH001 | p_subject ''x'' of a budget of the server | Leave p_subject out.'),
  ($$'agent', ' ', 'cost', 5$$, 'UH001 | p_subject | 1 to 500 characters, and more than blanks.'),
  ($$'channel', 'nowhere', 'cost', 5$$, 'UH004 | p_subject: channel `nowhere` of that server | Give the name or the id of a channel of that server.'),
  ($$'channel', 'dispatch', 'cost', 5$$, 'UH004 | p_subject: channel `dispatch` of that server | Give the name or the id of a channel of that server.'),
  ($$'person', 'mo@example.com', 'cost', 5$$, 'UH004 | p_subject: person `mo@example.com` of that server | Give the id of a member of that server.'),
  ($$'task', 'a1b2', 'cost', 5$$, 'UH004 | p_subject: task `a1b2` of that server | Give the id of a task of that server.'),
  ($$'server', null, 'miles', 5$$, 'UH001 | p_measure ''miles'' | One of cost, notional, tokens, seconds and running.'),
  ($$'server', null, 'cost', 0$$, 'UH001 | p_amount 0 | More than 0 and at most 1,000,000,000,000,000; hub_remove_budget takes a budget away.'),
  ($$'server', null, 'cost', 'NaN'$$, 'UH001 | p_amount NaN | More than 0 and at most 1,000,000,000,000,000; hub_remove_budget takes a budget away.'),
  ($$'server', null, 'running', 1.5$$, 'UH001 | p_amount 1.5 | How many tasks run at once is a whole number.'),
  ($$'server', null, 'cost', 5, 'year'$$, 'UH001 | p_per ''year'' | One of day, week and month; without it the budget is for good.'),
  ($$'server', null, 'running', 5, 'day'$$, 'UH001 | p_per with running | How many run at once is of no period: leave p_per out.'),
  ($$'task', '00000000-0000-4000-8000-00000000000a', 'running', 5$$, 'UH001 | p_measure running of a task | A task is one: give it a budget of cost, notional, tokens or seconds.'),
  ($$'server', null, 'cost', 5, null, 'shout'$$, 'UH001 | p_on_silence ''shout'' | One of wait, cancel and continue.'),
  ($$'server', null, 'running', 5, null, 'cancel', '1 hour'$$, 'UH001 | p_on_silence with running | Who waits for room asks nobody: leave p_on_silence out.'),
  ($$'server', null, 'cost', 5, null, null, '1 hour'$$, 'UH001 | p_silence without an end of it | Say in p_on_silence what happens then: cancel or continue.'),
  ($$'server', null, 'cost', 5, null, 'cancel'$$, 'UH001 | p_silence is null | After how long a task that nobody answered will cancel: 1 minute to 90 days.'),
  ($$'server', null, 'cost', 5, null, 'continue', '1 year'$$, 'UH001 | p_silence 1 year | After how long a task that nobody answered will continue: 1 minute to 90 days.'),
  ($$'server', null, 'cost', 5, null, null, null, '{viewer}'$$, 'UH001 | p_roles | Who may answer: {owner}, {operator} or both.'),
  ($$'server', null, 'cost', 5, null, null, null, '{}'$$, 'UH001 | p_roles | Who may answer: {owner}, {operator} or both.'),
  ($$'server', null, 'cost', 5, p_about => ''$$, 'UH001 | p_about | 1 to 500 characters.')) v (a, e);
select matches(pg_temp.budget($$'project', 'nowhere', 'cost', 5$$), '^UH004 \| p_subject: project `nowhere` \| The projects of that server are .*team/app', 'a project that is none is told with those there are');
select is(pg_temp.said($$ select public.hub_set_budget(gen_random_uuid(), 'server', null, 'cost', 5) $$) ~ '^UH004 \| server .* \| Give the id of a server in p_server_id', true, 'a server that is none');
select is(pg_temp.budget($$'server', null, 'cost', 5$$, 'outsider', 'aura-labs') ~ '^UH004 ', true, 'one that is not seen is none');

-- How they stand, and away with one
create temp table b as select id from public.hub_budgets where scope = 'agent';
grant select on b to public;
select is(pg_temp.said(format($$ select concat_ws(' ', s.server_name, s.name, s.measure, s.level, s.used, s.remaining, s.per, s.on_silence, round(s.silence_seconds), s.roles, s.about) from public.hub_budget_state() s where s.id = %s $$, id)),
          'buf-barista agent claude cost 5 0 5 week cancel 7200 {operator,owner} for a trial', 'a budget tells its policy and what is left') from b;
insert into hub_internal.budget_use select id, date_trunc('week', now() at time zone 'utc') at time zone 'utc', 6 from b;
select is(pg_temp.said(format($$ select concat_ws(' ', s.used, s.remaining, s.met) from public.hub_budget_state() s where s.id = %s $$, id)), '6 0 t', 'no less than nothing') from b;
select is(pg_temp.said(format('select public.hub_remove_budget(%s)', id), 'operator'), '42501 | budgets of this server | An owner of the server writes them.', 'an operator takes none away') from b;
select is(pg_temp.said(format('select (public.hub_remove_budget(%s)).subject', id)), 'claude', 'an owner does') from b;
select is(pg_temp.said(format('select (public.hub_remove_budget(%s)).subject', id)), format('UH004 | budget %s | hub_budget_state shows those of your servers, with their ids.', id), 'once') from b;
select is((select count(*)::int from hub_internal.budget_use u join b on b.id = u.budget_id), 0, 'with what was counted');
select is(pg_temp.said('select (public.hub_remove_budget(null)).subject'), 'UH004 | budget null | hub_budget_state shows those of your servers, with their ids.', 'none is none');

-- Shares
create function pg_temp.share(p_args text, p_who text default 'owner') returns text language sql as $$
  select pg_temp.said(format('select concat_ws('' '', coalesce(s.project, ''all''), s.weight) from public.hub_set_share(%L, %s) s', tap.server('buf-barista'), p_args), p_who) $$;
select is(pg_temp.share(a, w), e, format('%s, a share: %s', w, a)) from (values
  ($$'app', 2$$, 'owner', 'team/app 2'), ($$'team/app', 3.5$$, 'owner', 'team/app 3.5'),
  ($$'team/app', 0$$, 'owner', 'UH001 | p_weight 0 | 0.1 to 100; 1 is what all have without a share of their own, and null takes it away.'),
  ($$'team/app', 101$$, 'owner', 'UH001 | p_weight 101 | 0.1 to 100; 1 is what all have without a share of their own, and null takes it away.'),
  ($$'team/app', 2$$, 'operator', '42501 | shares of this server | An owner of the server writes them.'),
  ($$null, 2$$, 'owner', '42501 | the share of a server among servers | Only service_role and postgres do this.'),
  ($$null, 2$$, 'service', 'all 2')) v (a, w, e);
select matches(pg_temp.share($$'nowhere', 2$$), '^UH004 \| p_project: project `nowhere` \| The projects of that server are ', 'of a project that is none');
insert into hub_internal.share_use (server_id, project, used, at, delay) values (tap.server('buf-barista'), 'team/app', 90, now(), '5 minutes'), (tap.server('buf-barista'), null, 120, now(), '0'), (tap.server('aura-labs'), null, 7, now(), '0'), (tap.server('buf-barista'), 'other', 30, now(), '0');
select is(pg_temp.said($$ select string_agg(concat_ws(' ', s.server_name, coalesce(s.project, 'all'), s.weight, s.used_seconds, round(s.stands_back_seconds)), ', ') from public.hub_share_state() s $$, 'service'),
          'aura-labs all 1 7 0, buf-barista all 2 120 0, buf-barista other 1 30 0, buf-barista team/app 3.5 90 300', 'what they weigh and have used');
update public.hub_members set role = 'viewer' where server_id = tap.server('aura-labs') and user_id = tap.id('operator');
select is(pg_temp.said($$ select count(*)::text from public.hub_share_state() s $$, 'operator'), '3', 'operators are told of theirs');
select is(pg_temp.share($$'team/app', null$$), 'team/app 3.5', 'a share is taken away');
select is(pg_temp.share($$'team/app', null$$), 'UH004 | a share of p_project `team/app` | It has none of its own: its weight is 1.', 'once');
select is(pg_temp.share(a), e, 'a share: ' || a) from (values ($$'app', 2$$, 'team/app 2'), ($$'app', null$$, 'team/app 2')) v (a, e);
insert into public.hub_shares (server_id, project, weight) values (tap.server('buf-barista'), 'team/gone', 2);
select is(pg_temp.share($$'team/gone', null$$), 'team/gone 2', 'of what is no project any more, by its path');

select is(pg_temp.share('null, null', 'service'), 'all 2', 'of a server, too');
select is(pg_temp.share('null, null', 'service'), 'UH004 | a share of that server | It has none of its own: its weight is 1.', 'once, too');

-- Fallbacks
create function pg_temp.fall(p_args text, p_who text default 'owner', p_server text default 'buf-barista') returns text language sql as $$
  select pg_temp.said(format('select string_agg(f.model || '' '' || f.position || '' '' || f.fallback, '', '' order by f.position) from public.hub_set_fallbacks(%s, %s) f', case when p_server = '' then 'null' else quote_literal(tap.server(p_server)) end, p_args), p_who) $$;
select is(pg_temp.fall($$'claude', '{gemini,wait}'$$), 'claude 1 gemini, claude 2 wait', 'an owner sets the fallbacks of a model');
select is(pg_temp.fall($$'claude', '{codex}'$$), 'claude 1 codex', 'and others in their place');
select is((select string_agg(f.fallback, ' ') from public.hub_model_fallbacks f where f.server_id = tap.server('buf-barista') and f.model = 'claude'), 'codex', 'which are all there are');
select is(pg_temp.fall(a, w, s), e, format('%s, fallbacks: %s', w, a)) from (values
  ($$'any', '{codex}'$$, 'owner', 'buf-barista', 'UH001 | p_model ''any'' | One of claude, codex and gemini.'),
  ($$'claude', '{claude}'$$, 'owner', 'buf-barista', 'UH001 | p_fallbacks `{claude}` | Other models than claude, each once and the first to be tried first; wait only as the last: then it waits for its own.'),
  ($$'claude', '{wait,codex}'$$, 'owner', 'buf-barista', 'UH001 | p_fallbacks `{wait,codex}` | Other models than claude, each once and the first to be tried first; wait only as the last: then it waits for its own.'),
  ($$'claude', '{codex,codex}'$$, 'owner', 'buf-barista', 'UH001 | p_fallbacks `{codex,codex}` | Other models than claude, each once and the first to be tried first; wait only as the last: then it waits for its own.'),
  ($$'claude', '{mine}'$$, 'owner', 'buf-barista', 'UH001 | p_fallbacks `{mine}` | Other models than claude, each once and the first to be tried first; wait only as the last: then it waits for its own.'),
  ($$'claude', '{codex}'$$, 'operator', 'buf-barista', '42501 | fallbacks of this server | An owner of the server writes them.'),
  ($$'claude', '{codex}'$$, 'owner', '', '42501 | fallbacks of all servers | Only service_role and postgres do this.'),
  ($$'claude', '{gemini}'$$, 'service', '', 'claude 1 gemini')) v (a, w, s, e);
select is(pg_temp.fall($$'claude', '{}'$$), null, 'without any');
select is((select count(*)::int from public.hub_model_fallbacks f where f.server_id = tap.server('buf-barista')), 0, 'the shipped ones hold again');

select * from finish();
rollback;
