-- Why: a model whose accounts are all at their limits is replaced by another, in an order that the deployment
-- ships and owners of a server change. Which lane goes which way is worked out in …weighing, by …fallbacks.

create table public.hub_model_fallbacks (
  id        uuid primary key default gen_random_uuid(),
  server_id uuid references public.hub_servers (id) on delete cascade,
  model     text not null,
  position  integer not null,
  fallback  text not null,
  constraint hub_model_fallbacks_key unique nulls not distinct (server_id, model, position),
  constraint hub_model_fallbacks_fallback_key unique nulls not distinct (server_id, model, fallback),
  constraint hub_model_fallbacks_model_check check (model in ('claude', 'codex', 'gemini')),
  constraint hub_model_fallbacks_position_check check (position between 1 and 10),
  constraint hub_model_fallbacks_fallback_check
    check (fallback in ('claude', 'codex', 'gemini', 'wait') and fallback <> model)
);
comment on table public.hub_model_fallbacks is
  'What runs a task whose model is at its limit on every machine: the first in the order of position that '
  'is not. A server with rows of its own for a model has these alone; its owners'' to write.';
comment on column public.hub_model_fallbacks.server_id is
  'Null: shipped, for servers without rows of their own.';
comment on column public.hub_model_fallbacks.fallback is
  'wait: nothing after it is tried; alone it means that such tasks wait for their model.';

alter table public.hub_model_fallbacks enable row level security;
revoke all on public.hub_model_fallbacks from public, anon, authenticated, service_role;
grant select, insert (id, server_id, model, position, fallback), update (position, fallback), delete
  on public.hub_model_fallbacks to authenticated, service_role;
create policy hub_model_fallbacks_select_readers on public.hub_model_fallbacks for select to authenticated
  using (server_id in (select hub_internal.my_server_ids())
         or server_id is null and exists (select hub_internal.my_server_ids()));
create policy hub_model_fallbacks_insert_owners on public.hub_model_fallbacks for insert to authenticated
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_model_fallbacks_update_owners on public.hub_model_fallbacks for update to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()))
  with check (server_id in (select hub_internal.my_owned_server_ids()));
create policy hub_model_fallbacks_delete_owners on public.hub_model_fallbacks for delete to authenticated
  using (server_id in (select hub_internal.my_owned_server_ids()));

create trigger hub_model_fallbacks_fresh_id
  before insert on public.hub_model_fallbacks
  for each row when (current_user = 'authenticated')
  execute function hub_internal.fresh_id();
create trigger hub_model_fallbacks_bound
  before insert on public.hub_model_fallbacks
  for each row execute function hub_internal.bound_rows('server_fallbacks');

insert into hub_internal.quotas (name, amount, per, about) values
  ('server_fallbacks', 30, null, 'fallbacks of models of a server');

insert into public.hub_model_fallbacks (model, position, fallback) values
  ('claude', 1, 'codex'),
  ('claude', 2, 'gemini'),
  ('codex',  1, 'claude'),
  ('codex',  2, 'gemini'),
  ('gemini', 1, 'claude'),
  ('gemini', 2, 'codex');
