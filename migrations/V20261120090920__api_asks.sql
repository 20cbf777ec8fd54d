-- Why: the contract of asking people, as …api has the rest: every function that clients call, with its errors
-- and who may call it.

-- The attempt's ---------------------------------------------------------------------------------------------

create function public.hub_ask(
  p_task_id uuid, p_attempt int, p_kind text, p_title text, p_body text default null,
  p_input jsonb default null, p_options jsonb default null, p_ref text default null)
  returns public.hub_asks
  language plpgsql volatile set search_path = ''
as $$ begin
  return hub_internal.ask(p_task_id, p_attempt, p_kind, p_title, p_body, p_input, p_options, p_ref);
end $$;
comment on function public.hub_ask is
  'Asks people: an approval (p_input = {tool, input}), a question (p_options: texts or {key, label}; '
  'without, any text is an answer) or a stop. The same p_ref of an attempt is the same ask. A rule or a '
  'grant may have answered it already: look at state. Errors: UH001, UH002, UH003 p_ref names another ask, UH005, '
  'UH006, 42501.';
revoke all on function public.hub_ask from public, anon, authenticated, service_role;
grant execute on function public.hub_ask, hub_internal.ask to authenticated, service_role;

create function public.hub_withdraw_ask(p_task_id uuid, p_attempt int, p_ask_id uuid)
  returns public.hub_asks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.withdraw_ask(p_task_id, p_attempt, p_ask_id); end $$;
comment on function public.hub_withdraw_ask is
  'The agent waits for it no more. One that is answered stays so. Errors: UH002, UH004, UH005, 42501.';
revoke all on function public.hub_withdraw_ask from public, anon, authenticated, service_role;
grant execute on function public.hub_withdraw_ask, hub_internal.withdraw_ask to authenticated, service_role;

create function public.hub_take_answers(p_task_id uuid, p_attempt int, p_ask_ids uuid[])
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.take_answers(p_task_id, p_attempt, p_ask_ids); end $$;
comment on function public.hub_take_answers is
  'These answers have reached the agent: heartbeats give them no more. Errors: UH002, UH005, 42501.';
revoke all on function public.hub_take_answers from public, anon, authenticated, service_role;
grant execute on function public.hub_take_answers, hub_internal.take_answers to authenticated, service_role;

create function public.hub_park_task(p_task_id uuid, p_attempt int, p_meta jsonb default '{}')
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.park_task(p_task_id, p_attempt, p_meta, now()); end $$;
comment on function public.hub_park_task is
  'Ends an attempt that asks, at no cost: the task waits, without a slot, until nothing of it is open; then '
  'it is pending, at once if it is answered already. p_meta as of hub_fail_task; its "said" (at most 100,000 '
  'characters) is told in the conversation. Errors: UH001, UH002, UH003 it asks nothing, UH005, 42501.';
revoke all on function public.hub_park_task from public, anon, authenticated, service_role;
grant execute on function public.hub_park_task, hub_internal.park_task to authenticated, service_role;

-- People's --------------------------------------------------------------------------------------------------

create function public.hub_answer_ask(
  p_ask_id uuid, p_answer text default null, p_text text default null, p_digest text default null)
  returns public.hub_asks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.answer_ask(p_ask_id, p_answer, p_text, p_digest); end $$;
comment on function public.hub_answer_ask is
  'Answers an ask: an approval with allow, allow_task (the very same again, for the rest of the line of '
  'work) or deny; a stop with continue or cancel; a question with the key of an option, or with p_text. '
  'p_digest is the digest of what was shown. Errors: UH001, UH003 closed already (detail: by whom, by which '
  'door, when) or another digest, UH004, 42501.';
revoke all on function public.hub_answer_ask from public, anon, authenticated, service_role;
grant execute on function public.hub_answer_ask, hub_internal.answer_ask to authenticated, service_role;

create function public.hub_answer_task(p_task_id uuid, p_answer text)
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.answer_task(p_task_id, p_answer); end $$;
comment on function public.hub_answer_task is
  'Answers the one open ask of a task. Errors: UH001, UH003 there is none, or more than one, UH004, 42501.';
revoke all on function public.hub_answer_task from public, anon, authenticated, service_role;
grant execute on function public.hub_answer_task, hub_internal.answer_task to authenticated, service_role;

create function public.hub_inbox(p_before timestamptz default null, p_limit int default 50)
  returns setof public.hub_asks
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.inbox(p_before, p_limit); end $$;
comment on function public.hub_inbox is
  'What waits for the caller: open asks that they may answer, newest first, created before p_before. Errors: '
  'UH001, 42501.';
revoke all on function public.hub_inbox from public, anon, authenticated, service_role;
grant execute on function public.hub_inbox, hub_internal.inbox to authenticated, service_role;

create function public.hub_link_code()
  returns text
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.link_code(); end $$;
comment on function public.hub_link_code is
  'A one-time code, good for ten minutes, that links an account of a chat to the caller: /link CODE there. A '
  'new one ends the one before. Errors: UH006, 42501.';
revoke all on function public.hub_link_code from public, anon, authenticated, service_role;
grant execute on function public.hub_link_code, hub_internal.link_code to authenticated, service_role;

create function public.hub_unlink_chat(p_provider text, p_author_id text)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.unlink_chat(p_provider, p_author_id); end $$;
comment on function public.hub_unlink_chat is
  'Takes an account of a chat from the caller: it counts as nobody''s. Errors: UH004.';
revoke all on function public.hub_unlink_chat from public, anon, authenticated, service_role;
grant execute on function public.hub_unlink_chat, hub_internal.unlink_chat to authenticated, service_role;

-- The doors' ------------------------------------------------------------------------------------------------

create function public.hub_link_chat(p_provider text, p_author_id text, p_author text, p_code text)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.link_chat(p_provider, p_author_id, p_author, p_code); end $$;
comment on function public.hub_link_chat is
  'Links an account of a chat to whoever the code is of: {linked, text}, text for the chat. Errors: UH001, '
  'UH006, 42501.';
revoke all on function public.hub_link_chat from public, anon, authenticated, service_role;
grant execute on function public.hub_link_chat, hub_internal.link_chat to authenticated, service_role;

create function public.hub_answer_from_chat(p_provider text, p_key text, p_author_id text, p_chat text)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.answer_from_chat(p_provider, p_key, p_author_id, p_chat); end $$;
comment on function public.hub_answer_from_chat is
  'A button was pressed in a chat (p_chat as a bridge''s target): {outcome: answered | already | closed | '
  'unlinked | not_allowed | unknown, text}. Errors: UH001, 42501.';
revoke all on function public.hub_answer_from_chat from public, anon, authenticated, service_role;
grant execute on function public.hub_answer_from_chat, hub_internal.answer_from_chat
  to authenticated, service_role;

create function public.hub_answer_by_token(p_token text, p_answer text default null)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.answer_by_token(p_token, p_answer); end $$;
comment on function public.hub_answer_by_token is
  'A button of ntfy was pressed: {outcome: answered | already | closed | not_allowed | unknown, text}. The '
  'token says which answer; p_answer, where given, must be the same. Errors: 42501.';
revoke all on function public.hub_answer_by_token from public, anon, authenticated, service_role;
grant execute on function public.hub_answer_by_token, hub_internal.answer_by_token
  to authenticated, service_role;
