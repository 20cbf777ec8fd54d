-- Why: the three servers every deployment starts with, as the document lists them. They are found by name, so
-- a name that is already there is left as it is.

with wanted (name, display_name, architecture_type, icon, description) as (values
  ('koji-pipeline', 'Koji Pipeline', 'command_dispatch', 'chart.bar.xaxis',
   'Sales pipeline command center. '
   'Direct query access to leads, accounts, prospects, and market sweeps.'),
  ('buf-barista', 'Buf Barista', 'flat_task_pipeline', 'cup.and.saucer.fill',
   'Development task pipeline with real-time progress streaming. '
   'Tasks execute on mesh devices and report back inline.'),
  ('cloud-hub', 'Cloud Hub', 'threaded_task_isolation', 'cloud.fill',
   'Infrastructure operations with threaded task isolation. '
   'Each task gets its own conversation thread with lifecycle management.')
)
insert into public.hub_servers (name, display_name, description, icon, architecture_type, is_default)
select w.name, w.display_name, w.description, w.icon, w.architecture_type, true
  from wanted w
on conflict (name) do nothing;

insert into public.hub_channels (server_id, name, display_name, category_group, description, project_path,
                                 model_preference, is_read_only, feed)
select s.id, c.name, '#' || c.name, c.category_group, c.description, c.project_path,
       c.model_preference, c.is_read_only,
       case when c.is_read_only or c.name = 'digest' then c.name end
  from (values
    ('koji-pipeline', 'leads',    'Sales', 'Lead queries and enrichment status', null::text, 'any', false),
    ('koji-pipeline', 'accounts', 'Sales', 'Active account lookups',             null, 'any', false),
    ('koji-pipeline', 'sweeps',   'Ops',   'Market sweep commands and status',   null, 'any', false),
    ('koji-pipeline', 'digest',   'Ops',   'Daily pipeline summaries',           null, 'any', false),
    ('buf-barista', 'bridge',       'Hub',       null, 'Desktop/homelab',                    'any',    false),
    ('buf-barista', 'quick',        'Hub',       null, 'Desktop/homelab',                    'any',    false),
    ('buf-barista', 'cc-runtime',   'Comp-Core', null, 'Desktop/Comp-Core/core/runtime',     'claude', false),
    ('buf-barista', 'cc-semantic',  'Comp-Core', null, 'Desktop/Comp-Core/core/semantic',    'claude', false),
    ('buf-barista', 'cc-retrieval', 'Comp-Core', null, 'Desktop/Comp-Core/core/retrieval',   'claude', false),
    ('buf-barista', 'cc-motion',    'Comp-Core', null, 'Desktop/Comp-Core/core/motion',      'claude', false),
    ('buf-barista', 'cc-agents',    'Comp-Core', null, 'Desktop/Comp-Core/core/agents',      'claude', false),
    ('buf-barista', 'cc-media',     'Comp-Core', null, 'Desktop/Comp-Core/core/audio-media', 'claude', false),
    ('buf-barista', 'workshop',     'Creative',  null, 'Desktop/homelab',                    'any',    false),
    ('buf-barista', 'research',     'Creative',  null, 'Desktop/homelab',                    'any',    false),
    ('buf-barista', 'garden',       'Creative',  null, 'Desktop/homelab',                    'any',    false),
    ('cloud-hub', 'dispatch',       'Ops',   null, 'Desktop/homelab', 'claude', false),
    ('cloud-hub', 'pulse-control',  'Ops',   null, 'Desktop/homelab', 'claude', false),
    ('cloud-hub', 'infrastructure', 'Ops',   null, 'Desktop/homelab', 'claude', false),
    ('cloud-hub', 'morning-brief',  'Feeds', null, null, 'any', true),
    ('cloud-hub', 'heartbeat',      'Feeds', null, null, 'any', true),
    ('cloud-hub', 'memory-log',     'Feeds', null, null, 'any', true)
  ) as c (server, name, category_group, description, project_path, model_preference, is_read_only)
  join public.hub_servers s on s.name = c.server
on conflict (server_id, name) do nothing;
