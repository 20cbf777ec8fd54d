-- Posts what the feed channels have to say.
select public.hub_post_feeds() as "posted!"
