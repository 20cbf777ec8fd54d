-- What a rule for webhooks looks like: `/hub …` in a comment of one repository becomes a task in #prototypes. Idempotent; it fires for that repository alone.

insert into public.hub_webhook_rules (server_id, event, repository, channel_id, project, template)
select s.id, 'issue_comment', 'aura-labs/homelab', c.id, 'homelab',
       E'Do what is asked for in {repository}, number {number} ({title}, {url}), and say briefly what you did.\n{comment}\nWhat it is about:\n{body}'
  from public.hub_servers s join public.hub_channels c on c.server_id = s.id and c.name = 'prototypes'
 where s.name = 'aura-labs'
   and not exists (select from public.hub_webhook_rules r where r.channel_id = c.id and r.event = 'issue_comment' and r.repository = 'aura-labs/homelab');
