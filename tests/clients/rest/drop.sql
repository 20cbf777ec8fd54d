-- Takes away what schema.sql made.
drop schema annex, backroom cascade;
drop view public.book_list, public.author_totals, public.quiet;
drop table
  public.authors, public.publishers, public.books, public.genres, public.book_genres, public.prizes, public.prize_books, public.covers,
  public.readers, public.loans, public.reviews, public.stock, public.terms, public.logs, public.keyless,
  public."Odd Names", public.kinds, public.diary, public.vault, public.staff, public.crowd, public.paints
  cascade;
drop function
  public.add_up, public.greet, public.nothing, public.no_value, public.titles, public.counts, public.both, public.some_record, public.plus_one, public.total,
  public.keys_of, public.multiply, public.measure, public.weigh, public.place, public.span (integer), public.span (integer, integer),
  public.twice (integer), public.twice (text), public."Say It", public.note_down, public.forget_quietly, public.whoami, public.decorate, public.fail,
  public.fail_with_headers, public.fail_with_nonsense;
drop type public.mood, public.spot cascade;
drop domain public."text/html", public.colour cascade;
