-- Why: a program that tells how many tokens it used does not always tell what they cost. Prices are rows with
-- an edition and a day from which on they hold: an attempt is reckoned by those of its day, and says by which
-- edition.

create table public.hub_prices (
  version    text not null,
  valid_from date not null,
  model      text not null,
  input      numeric not null,
  cached     numeric,
  output     numeric not null,
  primary key (model, valid_from),
  constraint hub_prices_version_check check (char_length(version) between 1 and 200),
  constraint hub_prices_model_check check (char_length(model) between 1 and 200),
  constraint hub_prices_amounts_check
    check (input between 0 and 100000 and cached between 0 and 100000 and output between 0 and 100000)
);
comment on table public.hub_prices is
  'What models cost, in US dollars a million tokens: standard prices of the vendors'' own APIs, without '
  'discounts and without the higher price of a long request.';
comment on column public.hub_prices.version is 'The edition; an attempt that was reckoned by it says so.';
comment on column public.hub_prices.valid_from is
  'Holds from the beginning of that day (UTC) to the next row of the model.';
comment on column public.hub_prices.model is
  'As its program says it; a date behind it (-20261101 or -2026-11-01) need not be there.';
comment on column public.hub_prices.cached is 'Of tokens that were read before; null: as input.';

alter table public.hub_prices enable row level security;
revoke all on public.hub_prices from public, anon, authenticated, service_role;
grant select on public.hub_prices to authenticated;
grant select, insert, update, delete on public.hub_prices to service_role;
create policy hub_prices_select_people on public.hub_prices for select to authenticated
  using ((select hub_internal.person()) is not null);

-- Edition 1, of 2026-11-29, and the pages that it is from:
--   claude-…   https://platform.claude.com/docs/en/about-claude/pricing (what is written to a cache costs 1.25
--              times or twice the input; requests to Haiku 5.5 of more than 100,000 tokens five times)
--   gpt-6.2-…  https://developers.openai.com/api/docs/models/gpt-6.2-sol (requests of more than 272,000 tokens:
--              input twice, output 1.5 times)
--   gpt-6.1-…  https://developers.openai.com/api/docs/models/gpt-6.1-sol
--   gpt-6-…    https://developers.openai.com/docs/models/gpt-6-sol
--   gpt-5-…    https://developers.openai.com/api/docs/models/gpt-5-codex
--   gemini-…   https://ai.google.dev/gemini-api/docs/pricing, through 2026-12-31, then twice as much; cached:
--              https://docs.apiyi.com/en/models/gemini-3-8-flash.md
insert into public.hub_prices (version, valid_from, model, input, cached, output) values
  ('1', '2026-11-29', 'claude-fable-5-1',  10,   0.25,  50),
  ('1', '2026-11-29', 'claude-opus-5-5',   4,    0.2,   20),
  ('1', '2026-11-29', 'claude-opus-5',     5,    0.5,   25),
  ('1', '2026-11-29', 'claude-sonnet-5-5', 2,    0.1,   10),
  ('1', '2026-11-29', 'claude-sonnet-5',   2,    0.2,   10),
  ('1', '2026-11-29', 'claude-haiku-5-5',  0.1,  0.01,  0.5),
  ('1', '2026-11-29', 'claude-haiku-4-5',  1,    0.1,   5),
  ('1', '2026-11-29', 'gpt-6.2-sol',       2,    0.1,   10),
  ('1', '2026-11-29', 'gpt-6.1-sol',       2,    0.1,   10),
  ('1', '2026-11-29', 'gpt-6-sol',         2,    0.2,   10),
  ('1', '2026-11-29', 'gpt-5-codex',       1.25, 0.125, 10),
  ('1', '2026-11-29', 'gemini-3.8-flash',  0.75, 0.075, 3.75),
  ('1', '2027-01-01', 'gemini-3.8-flash',  1.5,  0.15,  7.5);

-- What tokens of a model cost at a time, and by which edition. Null: no price of it is known for then.
create function hub_internal.price(
    p_model text, p_in bigint, p_cached bigint, p_out bigint, p_at timestamptz,
    out cost numeric, out version text)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_undated text := regexp_replace(p_model, '-([0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$', '');
  v_in      bigint := coalesce(p_in, 0);
  v_cached  bigint := least(coalesce(p_cached, 0), coalesce(p_in, 0));
begin
  select round(((v_in - v_cached) * p.input + v_cached * coalesce(p.cached, p.input)
                + coalesce(p_out, 0) * p.output) / 1000000, 6),
         p.version
    into cost, version
    from public.hub_prices p
   where p.model in (p_model, v_undated)
     and p.valid_from <= (p_at at time zone 'utc')::date
   order by p.model = p_model desc, p.valid_from desc
   limit 1;
end;
$$;

-- What is wrong with a list of tokens by model; null: nothing. As many models as no attempt asks.
create function hub_internal.unpriced_problem(p_unpriced jsonb)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return case
    when p_unpriced is null or p_unpriced = 'null' then null
    when jsonb_typeof(p_unpriced) <> 'array' then 'unpriced is not a list'
    when jsonb_array_length(p_unpriced) > 50 then 'unpriced has more than 50 models'
    when exists (select from jsonb_array_elements(p_unpriced) e (o)
                  where jsonb_typeof(o) <> 'object'
                     or jsonb_typeof(o -> 'model') is distinct from 'string'
                     or char_length(o ->> 'model') not between 1 and 200)
      then 'unpriced: a model is not named with 1 to 200 characters'
    when exists (select from jsonb_array_elements(p_unpriced) e (o)
                  where o ->> 'tokens_in' !~ '^[0-9]{1,12}$'
                     or o ->> 'tokens_out' !~ '^[0-9]{1,12}$'
                     or o ->> 'tokens_cached' !~ '^[0-9]{1,12}$')
      then 'unpriced: a number of tokens is not a whole number of at most 12 digits' end;
end;
$$;

-- What a device said that it cost (p_said = {cost_usd, unpriced: [{model, tokens_in, tokens_cached,
-- tokens_out}], model, tokens_…}), and the price of what it named none of: of the tokens in unpriced, or, where
-- it tells neither, of all. What is reckoned is nobody's bill unless its device says that it is one.
create function hub_internal.priced(
    p_said jsonb, p_now timestamptz, out cost numeric, out notional boolean, out version text)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_unpriced jsonb := nullif(p_said -> 'unpriced', 'null');
  v_sum      numeric;
begin
  cost := round((p_said ->> 'cost_usd')::numeric, 6);
  if v_unpriced is null
     and cost is null
     and coalesce(p_said ->> 'tokens_in', p_said ->> 'tokens_out') is not null then
    v_unpriced := jsonb_build_array(p_said);
  end if;
  if v_unpriced <> '[]' then
    select sum(p.cost), string_agg(distinct p.version, ', ' order by p.version)
      into v_sum, version
      from jsonb_to_recordset(v_unpriced)
           as u (model text, tokens_in bigint, tokens_cached bigint, tokens_out bigint)
     cross join lateral hub_internal.price(u.model, u.tokens_in, u.tokens_cached, u.tokens_out, p_now) p;
    cost := coalesce(cost + v_sum, cost, v_sum);
  end if;
  if cost is not null then
    -- As much as may be told: tokens that nobody can have used are not to fill a budget for ever.
    cost := least(cost, 1000000);
    notional := coalesce((p_said ->> 'cost_notional')::boolean,
                         (p_said ->> 'notional')::boolean,
                         case when v_sum is not null then true end);
  end if;
end;
$$;
