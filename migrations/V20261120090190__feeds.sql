-- Why: channels that the hub itself writes in, so that a person opens one and knows how things stand: tables.
-- The keeper calls hub_post_feeds once a minute; everything that is said is made in …posting_feeds.
--
--   heartbeat       the mesh: when a machine comes, goes or drains, and once a day
--   morning-brief   yesterday: how many tasks, what failed, what waits; once a day
--   memory-log      what was finished, a line a task
--   digest          the day's pipeline of a command dispatch server; once a day
--
-- A feed tells only what every reader of its channel may read anyway: tasks of its own server and of servers
-- open to all who are signed in. The days are UTC's.

create table hub_internal.feeds (
  channel_id uuid primary key references public.hub_channels (id) on delete cascade,
  posted_on  date,                                -- the day of the last daily post
  devices    jsonb,                               -- heartbeat: what it last said of each machine
  told_until timestamptz not null                 -- memory-log: tasks finished later are still to be told
);
comment on table hub_internal.feeds is 'What each feed has said.';

alter table hub_internal.feeds enable row level security;
revoke all on hub_internal.feeds from public, anon, authenticated, service_role;

create table hub_internal.feed_told (
  channel_id  uuid not null references public.hub_channels (id) on delete cascade,
  task_id     uuid not null,
  attempt     integer not null,
  finished_at timestamptz not null,
  primary key (channel_id, task_id, attempt)
);
comment on table hub_internal.feed_told is
  'Which of the last minutes'' tasks were told. A task''s finished_at is the start of the transaction that '
  'ended it, so one may appear behind told_until: those minutes are looked at again.';

alter table hub_internal.feed_told enable row level security;
revoke all on hub_internal.feed_told from public, anon, authenticated, service_role;
