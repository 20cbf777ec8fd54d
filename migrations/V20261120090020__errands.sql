-- Why: what is to be done without anybody asking for it, as rows: a new errand is a row and a function, in
-- the file of what it is about. hub_recover (…recovery) calls the functions; NOTIFY hub_errands wakes the
-- programs.

create table public.hub_errands (
  name     text primary key,
  about    text not null,
  wakes    boolean not null default false,
  function text,                       -- a name: pg_upgrade refuses a database with a column of regprocedure
  position integer,
  counts   boolean not null default true,
  constraint hub_errands_name_check check (name ~ '^[a-z][a-z_]{0,30}$'),
  constraint hub_errands_function_check check (function ~ '^hub_internal\.[a-z][a-z0-9_]*$'),
  constraint hub_errands_position_check check ((function is null) = (position is null))
);
comment on table public.hub_errands is
  'What whoever keeps time does: hub_recover calls each function (now, at most so many: how many it did) in '
  'the order of position. Changed by migrations only.';
comment on column public.hub_errands.wakes is
  'Told by NOTIFY hub_errands with the name as payload: a program carries it out at once, and looks from '
  'time to time.';
comment on column public.hub_errands.function is 'What hub_recover calls. Null: a program does all of it.';
comment on column public.hub_errands.counts is
  'Whether hub_recover counts what it did, and skips it where the round is full. What does not count is '
  'housekeeping that nobody waits for.';

alter table public.hub_errands enable row level security;
revoke all on public.hub_errands from public, anon, authenticated, service_role;
grant select on public.hub_errands to authenticated, service_role;

-- Tells whoever carries the errand out. Postgres folds equal ones of a transaction into one.
create function hub_internal.wake_errand(p_name text)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform pg_notify('hub_errands', p_name);
end;
$$;
