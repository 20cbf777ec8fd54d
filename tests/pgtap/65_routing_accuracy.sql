-- How often the routing as shipped is right, on requests it has learned from (seen) and on requests that nobody looked at while teaching it
-- (unseen, and elsewhere: other domains, told in other ways; keep it so: add to `seen` what you tune by). The figures are printed; below what
-- holds on the latter two this fails.
\ir setup.psql
select no_plan();

create temp table requests (half text not null default 'seen', content text, channel_preference text, task_type text, model text, platform text);
\copy requests (content, channel_preference, task_type, model, platform) from '../routing/seen.tsv' with (format csv, delimiter E'\t', header, quote E'\b', force_not_null (channel_preference))
alter table requests alter half set default 'unseen';
\copy requests (content, channel_preference, task_type, model, platform) from '../routing/unseen.tsv' with (format csv, delimiter E'\t', header, quote E'\b', force_not_null (channel_preference))
alter table requests alter half set default 'elsewhere';
\copy requests (content, channel_preference, task_type, model, platform) from '../routing/elsewhere.tsv' with (format csv, delimiter E'\t', header, quote E'\b', force_not_null (channel_preference))

-- One channel for each preference.
create temp table channels as
  select p.preference, c.id from unnest(array['any', 'claude', 'codex', 'gemini']) with ordinality p (preference, n)
    join (select id, row_number() over (order by name) as n from public.hub_channels where server_id = tap.server('buf-barista')) c using (n);
update public.hub_channels c set model_preference = t.preference from channels t where c.id = t.id;

create temp table answers as
  select r.*, k.task_type as said_type, k.model as said_model, k.platform as said_platform
    from requests r join channels c on c.preference = coalesce(nullif(r.channel_preference, ''), 'any'),
         public.hub_classify(r.content, c.id) k;
create temp table accuracy as
  select half, count(*) as requests, round(100.0 * avg((said_type = task_type)::int), 1) as type,
         round(100.0 * avg((said_model = model)::int), 1) as model, round(100.0 * avg((said_platform = platform)::int), 1) as platform
    from answers group by half;
select diag(format('%s: %s requests, right: type %s %%, model %s %%, platform %s %%', half, requests, type, model, platform)) from accuracy order by half;

select cmp_ok(requests, '>=', 100::bigint, half || ' has at least 100 requests') from accuracy;
select cmp_ok(w.found, '>=', w.wanted, format('the %s is right for at least %s %% of %s', w.name, w.wanted, a.half))
  from accuracy a cross join lateral (values
         ('unseen', 'type', a.type, 94.0), ('unseen', 'model', a.model, 97.0), ('unseen', 'platform', a.platform, 98.0),
         ('elsewhere', 'type', a.type, 86.0), ('elsewhere', 'model', a.model, 90.0), ('elsewhere', 'platform', a.platform, 99.0)
       ) w (half, name, found, wanted)
 where w.half = a.half;
select is_empty($$ select content from requests group by content having count(*) > 1 $$, 'no request is there twice');

-- 500 rules of a server's own beside the shipped ones: how long a message takes to classify is printed, never judged.
insert into public.hub_routing_rules (server_id, query, task_type, weight)
select tap.server('buf-barista'), format('word%s | other%s & more%s', n, n, n), 'ops', 1 from generate_series(1, 500) n;
select tap.become('postgres');
do $$
declare
  v_began timestamptz;
  v_id    uuid := (select id from channels where preference = 'any');
begin
  perform k.task_type from answers a, public.hub_classify(a.content, v_id) k;     -- plans and caches are warm after this
  v_began := clock_timestamp();
  perform k.task_type from answers a, public.hub_classify(a.content, v_id) k;
  create temp table spent as select round((extract(epoch from clock_timestamp() - v_began) * 1000 / (select count(*) from answers))::numeric, 3) as ms;
end;
$$;
select diag(format('a message is classified in %s ms with %s rules', ms, (select count(*) from public.hub_routing_rules))) from spent;
select is((select task_type from channels c, public.hub_classify('please word77 it', c.id) where c.preference = 'any'), 'ops', 'a rule among five hundred matches');

select * from finish();
rollback;
