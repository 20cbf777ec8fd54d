-- What attacks are tried on. Whoever gets a statement of their own to run can pull the wire, which stays pulled whatever is rolled back; nobody gets
-- there by asking.
create schema hidden;
grant usage on schema hidden to public;
create sequence hidden.wire;
grant all on hidden.wire to public;
create function hidden.trip() returns text language sql as $$ select nextval('hidden.wire')::text $$;
grant execute on function hidden.trip() to public;
create table hidden.secrets (word text);
insert into hidden.secrets values ('xyzzy-hidden');
create table public.closed (id int primary key, word text);
insert into public.closed values (1, 'xyzzy-closed');
revoke all on public.closed from anon, authenticated;

create table public.films (id int primary key, title text, tags text[], data jsonb, shown timestamptz, rating real, span int4range, words tsvector,
                           "Mixed ""Case" text, sequel_of int references public.films);
create table public.actors (id int primary key, name text);
create table public.roles (film int references public.films, actor int references public.actors, part text, primary key (film, actor));
create table public.posters (film int primary key references public.films, url text);
insert into public.films select n, 'film ' || n, array['a', 'b' || n], jsonb_build_object('n', n, 'list', jsonb_build_array(n, 'x')), now(), n / 2.0,
                                int4range(n, n + 5), to_tsvector('simple', 'film ' || n), 'm' || n, nullif(n - 1, 0) from generate_series(1, 5) n;
insert into public.actors select n, 'actor ' || n from generate_series(1, 3) n;
insert into public.roles select f, a, 'part' from generate_series(1, 5) f cross join generate_series(1, 3) a where (f + a) % 2 = 0;
insert into public.posters select n, 'http://x/' || n from generate_series(1, 3) n;
create view public.seen as select id, title from public.films;
create function public.age(public.films) returns int language sql stable as $$ select $1.id $$;
create function public.add(a int, b int default 1) returns int language sql immutable as $$ select a + b $$;
create function public.listed(variadic words text[]) returns text[] language sql immutable as $$ select words $$;
create function public.found(p_title text default '') returns setof public.films language sql stable as $$ select * from public.films where title like p_title || '%' $$;
create function public.lines() returns table (n int, word text) language sql stable as $$ select 1, 'a' union all select 2, 'b' $$;
create function public.taken(jsonb) returns jsonb language sql immutable as $$ select $1 $$;
