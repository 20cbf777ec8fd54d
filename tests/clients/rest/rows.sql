-- What is in the library when a section of the table begins.
truncate public.authors, public.publishers, public.books, public.genres, public.book_genres, public.prizes, public.prize_books, public.covers,
  public.readers, public.loans, public.reviews, backroom.shelves, public.stock, public.terms, public.logs, public.keyless,
  public."Odd Names", public.kinds, public.diary, public.vault, public.staff, public.crowd,
  public.paints, annex.boxes, annex.authors
  restart identity;
insert into public.authors values
  (1, 'Jane Austen', 1775, '{"city": "Steventon", "land": "England", "rooms": [1, 2]}', 'jane@shelf.example'),
  (2, 'Mary Shelley', 1797, '{"city": "London", "land": "England", "rooms": [3], "fire": true}', 'mary@shelf.example'),
  (3, 'Jules Verne', 1828, '{"city": "Nantes", "land": "France", "rooms": []}', 'jules@shelf.example'),
  (4, 'Karel Čapek', 1890, '{"city": "Prague", "land": "Bohemia", "floor": 2}', null),
  (5, 'Anonymous', null, null, null);
insert into public.publishers values (1, 'Harbour', 'London'), (2, 'Quai', 'Paris'), (3, 'Attic', null);
insert into public.books values
  (1, 'Emma', 1, 1, 1815, 474, 9.50, '{comedy,village}', '[1814,1816)', true),
  (2, 'Persuasion', 1, 1, 1817, 279, 7.00, '{romance}', '[1816,1818)', true),
  (3, 'Frankenstein', 2, 1, 1818, 280, 8.25, '{horror,science}', '[1816,1819)', true),
  (4, 'The Last Man', 2, null, 1826, 479, null, '{science}', null, false),
  (5, 'Around the World in Eighty Days', 3, 2, 1873, 188, 6.00, '{travel,comedy}', '[1872,1874)', true),
  (6, 'The Mysterious Island', 3, 2, 1875, 493, 12.40, '{travel,science}', '[1874,1876)', null),
  (7, 'War with the Newts', 4, null, 1936, 240, 11.00, '{science,comedy}', '[1935,1937)', true),
  (8, 'Beowulf, a Poem', 5, 3, null, 120, 0.99, '{}', null, false);
insert into public.genres values (1, 'novel'), (2, 'science fiction'), (3, 'verse'), (4, 'drama');
insert into public.book_genres values (1, 1, 2), (2, 1, 2), (3, 1, 1), (3, 2, 3), (4, 2, 2), (5, 1, 2), (6, 2, 1), (7, 2, 2), (8, 3, 2);
insert into public.prizes values (1, 'Golden Quill'), (2, 'Silver Nib');
insert into public.prize_books values (70, 'first', 1, 1), (71, 'second', 1, 3);
insert into public.covers values (1, 'green'), (3, 'black'), (5, 'red');
insert into public.readers values (1, 'Ines', '2023-05-01', null), (2, 'Otto', '2023-06-01', 1), (3, 'Pia', '2024-01-01', 1), (4, 'Quinn', '2024-02-01', null);
alter table public.readers alter column id restart with 5;
insert into public.loans values
  (1, 1, 2, 1, '2024-02-01 10:00:00+00', '2024-02-20 09:30:00+00'),
  (2, 3, 3, 1, '2024-03-01 12:00:00.5+00', null),
  (3, 5, 2, 4, '2024-03-05 08:15:00+00', null);
insert into public.reviews (id, book_id, body) values
  (1, 3, 'The creature is kinder than its maker'),
  (2, 3, 'A cold and lonely story'),
  (3, 6, 'Pirates, volcanoes and a dog'),
  (4, 5, 'Les chevaux galopaient');
insert into public.stock values ('east', 1, 5, 'none'), ('east', 3, 0, 'low'), ('west', 1, 2, 'none');
insert into public.terms values ('a', 'alpha', 1), ('b', 'beta', 2), ('c', null, 3);
insert into public.keyless values (1, 'x'), (2, 'y'), (2, 'y');
insert into public."Odd Names" values (1, 'one', 'p.q', 'r', 's', 't'), (2, 'two, too', 'p', '(r)', 'a "word"', 'ü');
insert into public.kinds values
  (1, 9007199254740993, 1.50, 0.9, 0.1, '2024-02-29', '2024-02-29 12:00:00.120+00', '2024-02-29 12:00:00', '12:00:00+01', '1 mon 2 days',
    '\xdeadbeef', '123e4567-e89b-12d3-a456-426614174000', 'calm', '(48.85,2.35)', '{1,NULL,3}', '{"b": 1,  "a": 2}', '10.0.0.1/8'),
  (2, -1, 'NaN', 'Infinity', '-Infinity', 'infinity', '-infinity', '12024-01-01', '00:00:00-12:30', '-1 days', '', null, 'busy', '(,)', '{}', 'null', '::1'),
  (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
insert into public.vault values (1, 'sesame');
insert into public.staff values (1, 'Uma', 100), (2, 'Vic', 200);
insert into public.crowd select generate_series(1, 1200);
insert into public.paints values (1, 'sky', 8900331), (2, 'coal', 0);
insert into annex.boxes values (1, 'maps'), (2, 'coins');
insert into annex.authors values (1, 'Jane');
