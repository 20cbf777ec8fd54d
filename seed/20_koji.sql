-- A sales pipeline in which every command has something to say. Idempotent: rows are found by number and name; this month's orders stay in this month.

with koji as (select id from public.hub_servers where name = 'koji-pipeline')
insert into public.koji_prospects (server_id, number, name, market, tier, stage, rating, address, contact, notes, last_contact_at)
select koji.id, p.number, p.name, p.market, p.tier, p.stage, p.rating, p.address, p.contact, p.notes, now() - p.days * interval '1 day'
  from koji, (values
    (1,  'Bakeri',            'Brooklyn',  'hot',  'sample',    4.8, '150 Wythe Ave',        'Nina',   'Wants the dark roast for the counter.', 2),
    (2,  'Laurel',            'Brooklyn',  'hot',  'outreach',  4.6, '115 Berry St',         'Jonas',  null, 4),
    (3,  'ACRE',              'Brooklyn',  'hot',  'follow_up', 4.5, '64 Meserole Ave',      'Ito',    'Asked for wholesale prices.', 9),
    (4,  'Maman',             'Manhattan', 'hot',  'sample',    4.4, '239 Centre St',        'Elise',  null, 3),
    (5,  'Daily Provisions',  'Manhattan', 'hot',  'outreach',  4.5, '103 E 19th St',        'Ruth',   null, 6),
    (6,  'La Cabra',          'Manhattan', 'hot',  'new',       4.7, '152 2nd Ave',          null,     null, 1),
    (7,  'Sey',               'Queens',    'hot',  'new',       4.6, '18 Grattan St',        'Tobin',  'Roasts their own; try the decaf.', 5),
    (8,  'Partners',          'Queens',    'hot',  'outreach',  4.3, '21-10 44th Dr',        null,     null, 7),
    (9,  'Variety',           'Brooklyn',  'warm', 'outreach',  4.3, '368 Graham Ave',       'Gavin',  null, 12),
    (10, 'Sweetleaf',         'Queens',    'warm', 'new',       4.4, '10-93 Jackson Ave',    null,     null, 14),
    (11, 'Black Fox',         'Manhattan', 'warm', 'outreach',  4.5, '70 Pine St',           'Daniel', null, 20),
    (12, 'Devocion',          'Brooklyn',  'warm', 'new',       4.6, '69 Grand St',          null,     null, 18),
    (13, 'Butler',            'Brooklyn',  'warm', 'new',       4.2, '95 S 5th St',          null,     null, 25),
    (14, 'Abraco',            'Manhattan', 'warm', 'follow_up', 4.6, '81 E 7th St',          'Jamie',  null, 30),
    (15, 'Little Collins',    'Manhattan', 'warm', 'new',       4.3, '667 Lexington Ave',    null,     null, 22),
    (16, 'Kinship',           'Queens',    'warm', 'outreach',  4.7, '30-5 Steinway St',     null,     null, 11),
    (17, 'Suited',            'Manhattan', 'warm', 'new',       4.4, '45 John St',           null,     null, 28),
    (18, 'Mighty Oak',        'Queens',    'warm', 'new',       4.5, '28-1 24th Ave',        null,     null, 33),
    (19, 'Hungry Ghost',      'Brooklyn',  'warm', 'new',       4.2, '781 Fulton St',        null,     null, 40),
    (20, 'Oslo',              'Brooklyn',  'warm', 'outreach',  4.3, '133 Roebling St',      null,     null, 16),
    (21, 'Gumption',          'Brooklyn',  'cold', 'new',       4.1, '68 Jay St',            null,     null, 90),
    (22, 'Birch',             'Manhattan', 'cold', 'new',       4.0, '21 E 27th St',         null,     null, 120),
    (23, 'Coffeed',           'Queens',    'cold', 'outreach',  3.9, '37-18 Northern Blvd',  null,     null, 75),
    (24, 'Cafe "Regular"',    'Brooklyn',  'cold', 'lost',      4.4, '318 11th St, Apt 2',   null,     'Closed, says the sign.', 200)
  ) as p (number, name, market, tier, stage, rating, address, contact, notes, days)
on conflict (server_id, number) do nothing;

insert into public.koji_accounts (server_id, name, market)
select s.id, a.name, a.market from public.hub_servers s, (values ('Marlow & Sons', 'Brooklyn'), ('Joe', 'Manhattan')) as a (name, market)
 where s.name = 'koji-pipeline'
on conflict (server_id, name) do nothing;

insert into public.koji_orders (id, server_id, account_id, amount_cents, ordered_at)
select o.id::uuid, a.server_id, a.id, o.cents, greatest(date_trunc('month', now()), now() - o.days * interval '1 day')
  from (values ('00000000-0000-4000-8000-000000000001', 'Marlow & Sons', 180000, 12), ('00000000-0000-4000-8000-000000000002', 'Joe', 165000, 6),
               ('00000000-0000-4000-8000-000000000003', 'Marlow & Sons', 75000, 1)) as o (id, account, cents, days)
  join public.koji_accounts a on a.name = o.account
on conflict (id) do update set ordered_at = excluded.ordered_at;

insert into public.koji_samples (id, server_id, prospect_id, sent_at)
select format('00000000-0000-4000-8001-%s', lpad(p.number::text, 12, '0'))::uuid, p.server_id, p.id, now() - interval '2 days'
  from public.koji_prospects p join public.hub_servers s on s.id = p.server_id
 where s.name = 'koji-pipeline' and p.number in (1, 3, 4)
on conflict (id) do nothing;

insert into public.koji_followups (id, server_id, prospect_id, due_at)
select format('00000000-0000-4000-8002-%s', lpad(p.number::text, 12, '0'))::uuid, p.server_id, p.id, now() - interval '1 day'
  from public.koji_prospects p join public.hub_servers s on s.id = p.server_id
 where s.name = 'koji-pipeline' and p.number in (3, 14)
on conflict (id) do nothing;
