-- Why: the contract on one page: every function that clients call. Each runs as its caller and hands over to
-- the function of hub_internal that has the body; here stand its signature, what it does and returns, its
-- errors, and who may call it. Errors: UH001 bad input, UH002 lease lost, UH003 conflict, UH004 not found,
-- UH005 device not usable, UH006 too many, 42501 no right; the detail names the field, the hint the remedy.
--
-- plpgsql and not a parsed SQL body, which would be inlined: the advisor of Supabase wants a search_path set
-- on each (0011), and that takes it back. Names are unique, so comments and grants need no list of types.

-- Talking ---------------------------------------------------------------------------------------------------

create function public.hub_send(
  p_channel_id uuid, p_content text, p_thread_id uuid default null, p_idempotency_key text default null,
  p_reply_to uuid default null)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin
  return hub_internal.send(p_channel_id, p_content, p_thread_id, p_idempotency_key, p_reply_to);
end $$;
comment on function public.hub_send is
  'Sends a message and does what the channel''s architecture says: {message, task, thread, reply}. p_reply_to '
  'is a message of a task, which it is a follow-up of; where the channel''s thread_replies is steer, and that '
  'task or one of the thread runs, its agent is told, and it is the task. The same key with the same content '
  'gives the first answer. Errors: UH001, UH003 the key was used for something else, or p_reply_to is of no '
  'task, UH004, UH006, 42501.';
revoke all on function public.hub_send from public, anon, authenticated, service_role;
grant execute on function public.hub_send, hub_internal.send to authenticated, service_role;

create function public.hub_send_to(p_channel text, p_content text, p_idempotency_key text default null)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.send_to(p_channel, p_content, p_idempotency_key); end $$;
comment on function public.hub_send_to is
  'hub_send into a channel named by its id or as server/channel, for scripts. Errors: as hub_send.';
revoke all on function public.hub_send_to from public, anon, authenticated, service_role;
grant execute on function public.hub_send_to, hub_internal.send_to to authenticated, service_role;

create function public.hub_execute_command(p_channel_id uuid, p_command text)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.execute_command(p_channel_id, p_command); end $$;
comment on function public.hub_execute_command is
  'Answers a command: {text, chunks (of at most 2000 characters)}; nothing is kept. A mistyped command is '
  'answered, too. Errors: UH001, UH003 not such a channel, UH004, 42501 for commands that write.';
revoke all on function public.hub_execute_command from public, anon, authenticated, service_role;
grant execute on function public.hub_execute_command, hub_internal.execute_command
  to authenticated, service_role;

create function public.hub_messages_since(
  p_channel_id uuid, p_after bigint default 0, p_thread_id uuid default null, p_limit int default 200,
  p_edits_after bigint default null)
  returns setof public.hub_channel_messages
  language plpgsql stable set search_path = ''
as $$ begin
  return query
    select * from hub_internal.messages_since(p_channel_id, p_after, p_thread_id, p_limit, p_edits_after);
end $$;
comment on function public.hub_messages_since is
  'Messages of one conversation (the channel''s flat one, or a thread) with seq > p_after, in order, at most '
  'p_limit (1 to 1000). With p_edits_after, before them those with seq <= p_after and edit_seq > '
  'p_edits_after: what was edited since, at most p_limit. Errors: UH001, UH004.';
revoke all on function public.hub_messages_since from public, anon, authenticated, service_role;
grant execute on function public.hub_messages_since, hub_internal.messages_since
  to authenticated, service_role;

create function public.hub_classify(p_content text, p_channel_id uuid default null)
  returns table (task_type text, model text, platform text, confidence real, reasons text[])
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.classify_readable(p_content, p_channel_id); end $$;
comment on function public.hub_classify is
  'What kind of work a text is, for which model and platform, how sure (0 to 1), and why: one row. Errors: '
  'UH001 over 100,000 characters, UH004.';
revoke all on function public.hub_classify from public, anon, authenticated, service_role;
grant execute on function public.hub_classify, hub_internal.classify_readable to authenticated, service_role;

-- Tasks and threads, by operators ---------------------------------------------------------------------------

create function public.hub_create_task_thread(p_channel_id uuid, p_task_id uuid)
  returns public.hub_task_threads
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.create_task_thread(p_channel_id, p_task_id); end $$;
comment on function public.hub_create_task_thread is
  'The task''s thread in that channel, opened if there is none, with what already happened to the task. '
  'Errors: UH003 not a threaded channel, UH004, 42501.';
revoke all on function public.hub_create_task_thread from public, anon, authenticated, service_role;
grant execute on function public.hub_create_task_thread, hub_internal.create_task_thread
  to authenticated, service_role;

create function public.hub_update_thread_status(p_thread_id uuid, p_status text)
  returns public.hub_task_threads
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.update_thread_status(p_thread_id, p_status); end $$;
comment on function public.hub_update_thread_status is
  'Sets a thread active, idle, decaying or archived by hand, with the message that goes with it. Errors: '
  'UH001, UH004, 42501.';
revoke all on function public.hub_update_thread_status from public, anon, authenticated, service_role;
grant execute on function public.hub_update_thread_status, hub_internal.update_thread_status
  to authenticated, service_role;

create function public.hub_cancel_task(p_task_id uuid)
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.cancel_task(p_task_id, now()); end $$;
comment on function public.hub_cancel_task is
  'Cancels a task, and its subtasks: at once if it is not running, else as soon as its device has stopped it '
  '(cancel_requested_at says since when). Errors: UH003 it has ended, UH004, 42501.';
revoke all on function public.hub_cancel_task from public, anon, authenticated, service_role;
grant execute on function public.hub_cancel_task, hub_internal.cancel_task to authenticated, service_role;

create function public.hub_retry_task(p_task_id uuid)
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.retry_task(p_task_id); end $$;
comment on function public.hub_retry_task is
  'Queues a failed or cancelled task again, with as many attempts as it was made with; they go on counting. '
  'Errors: UH003 in another state, UH004, 42501.';
revoke all on function public.hub_retry_task from public, anon, authenticated, service_role;
grant execute on function public.hub_retry_task, hub_internal.retry_task to authenticated, service_role;

create function public.hub_explain_task(p_task_id uuid)
  returns table (reason text, detail text, until timestamptz)
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.explain_task(p_task_id, now()); end $$;
comment on function public.hub_explain_task is
  'Why a task is, or is not, running: a row a reason, until when if that is known. Errors: UH004.';
revoke all on function public.hub_explain_task from public, anon, authenticated, service_role;
grant execute on function public.hub_explain_task, hub_internal.explain_task to authenticated, service_role;

-- People of a server ----------------------------------------------------------------------------------------

-- The default lets a client whose REST layer can not say null leave the role out.
create function public.hub_invite(p_server_id uuid, p_user_id uuid, p_role text default null)
  returns public.hub_invitations
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.invite(p_server_id, p_user_id, p_role); end $$;
comment on function public.hub_invite is
  'Lets a person become a member of a server as owner, operator or viewer, once they accept; again changes '
  'the role, a null role withdraws it. Errors: UH001 bad role, UH003 a member already, UH004, UH006 too many '
  'open ones, 42501 not an owner.';
revoke all on function public.hub_invite from public, anon, authenticated, service_role;
grant execute on function public.hub_invite, hub_internal.invite to authenticated, service_role;

create function public.hub_accept_invitation(p_server_id uuid)
  returns public.hub_members
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.accept_invitation(p_server_id); end $$;
comment on function public.hub_accept_invitation is
  'Makes the invited a member, as what the invitation says. hub_leave declines one. Errors: UH004 not '
  'invited, 42501 not signed in as a person.';
revoke all on function public.hub_accept_invitation from public, anon, authenticated, service_role;
grant execute on function public.hub_accept_invitation, hub_internal.accept_invitation
  to authenticated, service_role;

create function public.hub_leave(p_server_id uuid)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.leave(p_server_id); end $$;
comment on function public.hub_leave is
  'Ends one''s own membership of a server, or declines an invitation to it. Errors: UH003 the last owner, '
  'UH004 neither member nor invited, 42501 not signed in as a person.';
revoke all on function public.hub_leave from public, anon, authenticated, service_role;
grant execute on function public.hub_leave, hub_internal.leave to authenticated, service_role;

-- The default lets a client whose REST layer can not say null leave the role out.
create function public.hub_set_member(p_server_id uuid, p_user_id uuid, p_role text default null)
  returns public.hub_members
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.set_member(p_server_id, p_user_id, p_role); end $$;
comment on function public.hub_set_member is
  'Changes what a member of a server is (owner, operator, viewer); a null role removes them. Only '
  'service_role and postgres make a stranger a member so; owners invite. Errors: UH001 bad role, UH003 the '
  'last owner, or a stranger, UH004 no such server or member, 42501 not an owner.';
revoke all on function public.hub_set_member from public, anon, authenticated, service_role;
grant execute on function public.hub_set_member, hub_internal.set_member to authenticated, service_role;

-- Devices ---------------------------------------------------------------------------------------------------

create function public.hub_register_device(p_name text, p_platform text, p_agents jsonb, p_capacity int)
  returns public.mesh_devices
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.register_device(p_name, p_platform, p_agents, p_capacity, now()); end $$;
comment on function public.hub_register_device is
  'Makes a device known, or says anew what it offers; p_agents = [{"agent","models":[…],"memory_bytes",'
  '"account", "program", "reserve"}], the last four optional, p_capacity tasks at once. account names the '
  'login, never its secret, that it shares with machines of the same servers, and program what runs the agent: '
  'one program under one account has one login and one limit. reserve (0 to 0.95) is the share of each of its '
  'windows that is kept for people, the most that any of those machines says. Its agents count as logged in '
  'again. Registered by service_role or postgres it serves every server; by its own token, what it is enrolled '
  'for. Errors: UH001, UH005 revoked, 42501 another device''s name.';
revoke all on function public.hub_register_device from public, anon, authenticated, service_role;
grant execute on function public.hub_register_device, hub_internal.register_device
  to authenticated, service_role;

create function public.hub_claim_tasks(
  p_device text, p_limit int default 1, p_lease interval default '60 seconds')
  returns setof public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return query select * from hub_internal.claim_tasks(p_device, p_limit, p_lease, now()); end $$;
comment on function public.hub_claim_tasks is
  'Takes up to p_limit (1 to 1000) tasks for the device, best first: running now, attempt + 1, leased for '
  'p_lease (1 s to 1 day). Never more than its capacity; nothing while drained. Errors: UH001, UH005, 42501.';
revoke all on function public.hub_claim_tasks from public, anon, authenticated, service_role;
grant execute on function public.hub_claim_tasks, hub_internal.claim_tasks to authenticated, service_role;

create function public.hub_heartbeat(
  p_device text, p_running jsonb default '[]', p_machine jsonb default null)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.heartbeat(p_device, p_running, p_machine, now()); end $$;
comment on function public.hub_heartbeat is
  'Says that the device is alive and extends the leases of p_running = [{"task","attempt"}] by 60 seconds; '
  'each may tell what it used so far, all of it: {cost_usd, notional, tokens_in, tokens_out, tokens_cached, '
  'unpriced}, unpriced as of hub_complete_task. '
  'p_machine = {disk_free_bytes, memory_free_bytes, projects: {"path": false | true | "git" | "plain"}, '
  'stopping}, each optional, is how it is and what it has; a device that ever gave projects gets work only '
  'of those it has, in one that is plain (no git repository) one task at a time, and one with stopping = '
  'true is given none until it says false, claims or registers. Returns {cancel: [task], lost: [task], '
  'steer: [{task,attempt,id,text,by}], answers: [{task,attempt,ask,ref,kind,title,tool,digest,answer,text,'
  'by,state}], subtasks: [{task,attempt,subtask,status}], budget: [{task,attempt,ask}], projects: [path], '
  'hub: uuid}. What is in budget has used it up and is to be parked (hub_park_task). steer comes again '
  'until hub_report_steer, answers until hub_take_answers, subtasks that have ended until '
  'hub_subtask_result; it looks for the projects and says with the next one what it has of them. hub is this '
  'hub, whatever its address. Errors: UH001, UH005, 42501.';
revoke all on function public.hub_heartbeat from public, anon, authenticated, service_role;
grant execute on function public.hub_heartbeat, hub_internal.heartbeat to authenticated, service_role;

create function public.hub_sign_off(p_device text)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.sign_off(p_device, now()); end $$;
comment on function public.hub_sign_off is
  'Says that the device ends: it is offline until it is heard of again. Errors: UH001, UH005, 42501.';
revoke all on function public.hub_sign_off from public, anon, authenticated, service_role;
grant execute on function public.hub_sign_off, hub_internal.sign_off to authenticated, service_role;

-- The defaults let a client whose REST layer can not say null leave it out.
create function public.hub_report_rate_limit(
  p_device text, p_agent text, p_model text default null, p_until timestamptz default null,
  p_reason text default null, p_source text default 'structured', p_window text default null, p_used numeric default null,
  p_resets_at timestamptz default null)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin
  perform hub_internal.report_rate_limit(
    p_device, p_agent, p_model, p_until, p_reason, p_source, p_window, p_used, p_resets_at, now());
end $$;
comment on function public.hub_report_rate_limit is
  'The account of an agent that the device offers is at its limit until p_until (in a minute to 8 days; null '
  'is a guess, of 5 minutes at first), for p_model or null for all: nobody with that account takes such '
  'tasks before. p_source structured, text or guess; p_window five_hour, seven_day, day, minute or null; '
  'with p_used below 1 and no p_until it only says how much is used of a window that begins anew at '
  'p_resets_at: where no more is left than the reserve of the account (hub_register_device), nobody takes from '
  'it before that. Errors: UH001, UH005, 42501.';
revoke all on function public.hub_report_rate_limit from public, anon, authenticated, service_role;
grant execute on function public.hub_report_rate_limit, hub_internal.report_rate_limit
  to authenticated, service_role;

create function public.hub_report_login(
  p_device text, p_agent text, p_ok boolean, p_reason text default null)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.report_login(p_device, p_agent, p_ok, p_reason, now()); end $$;
comment on function public.hub_report_login is
  'Whether an agent that the device offers is logged in there. One that is not gets no tasks until it is, or '
  'the device registers anew. Errors: UH001, UH005, 42501.';
revoke all on function public.hub_report_login from public, anon, authenticated, service_role;
grant execute on function public.hub_report_login, hub_internal.report_login to authenticated, service_role;

create function public.hub_agent_stops()
  returns table (device text, agent text, model text, reason text, since timestamptz, until timestamptz,
                 source text, window_name text, detail text)
  language plpgsql stable set search_path = ''
as $$ begin return query select * from hub_internal.agent_stops(); end $$;
comment on function public.hub_agent_stops is
  'Which agents of which devices get no tasks, as reason limit or login: of devices that serve what the '
  'caller operates, or of the device that calls. Nothing for others.';
revoke all on function public.hub_agent_stops from public, anon, authenticated, service_role;
grant execute on function public.hub_agent_stops, hub_internal.agent_stops to authenticated, service_role;

create function public.hub_report_progress(
  p_task_id uuid, p_attempt int, p_note text, p_quiet boolean default false)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.report_progress(p_task_id, p_attempt, p_note, p_quiet); end $$;
comment on function public.hub_report_progress is
  'What the live attempt is doing now. The first 15 notes of an attempt appear in the conversation, but for '
  'quiet ones; the newest is always in partial_output. Errors: UH001, UH002 lease lost, UH005, 42501.';
revoke all on function public.hub_report_progress from public, anon, authenticated, service_role;
grant execute on function public.hub_report_progress, hub_internal.report_progress
  to authenticated, service_role;

create function public.hub_complete_task(
  p_task_id uuid, p_attempt int, p_result text, p_meta jsonb default '{}')
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.complete_task(p_task_id, p_attempt, p_result, p_meta, now()); end $$;
comment on function public.hub_complete_task is
  'Ends the live attempt well. p_meta = {model, session_id, session_state, cost_usd, tokens_in, tokens_out, '
  'exit_code, receipt, reason, signal, stderr, output_bytes, peak_memory_bytes, agent_started_at, '
  'agent_ended_at, tokens_cached, turns, tool_calls, cost_notional, unpriced: [{model, tokens_in, '
  'tokens_cached, tokens_out}], agent_version, limit: {until, source, model, window}}, each optional: columns '
  'of hub_task_attempts; unpriced is what is not in cost_usd, and is reckoned by hub_prices, as without both '
  'the tokens of model are; reason is complete or left out; session_state '
  'ok or poisoned: whether the session can be gone on with; receipt as in the file of receipts. p_result: at '
  'most 1,000,000 characters. Errors: UH001, UH002 lease lost, UH003 the project''s verify has not passed, '
  'UH005, 42501.';
revoke all on function public.hub_complete_task from public, anon, authenticated, service_role;
grant execute on function public.hub_complete_task, hub_internal.complete_task to authenticated, service_role;

create function public.hub_fail_task(
  p_task_id uuid, p_attempt int, p_error text, p_retryable boolean default true, p_meta jsonb default '{}')
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.fail_task(p_task_id, p_attempt, p_error, p_retryable, p_meta, now()); end $$;
comment on function public.hub_fail_task is
  'Ends the live attempt badly: pending again with a backoff if p_retryable and attempts are left, failed '
  'otherwise, cancelled if that was asked for. p_error: at most 100,000 characters. p_meta as of '
  'hub_complete_task, its reason anything but complete; with p_retryable its reason '
  'may hand the task back: pending again at once, worker_gone and host_gone if attempts are left, '
  'worker_stopped, no_project, no_room, session_lost and limit at no cost of attempts, limit whatever '
  'p_retryable says, once it is over or somebody else, or another model, can take it. From the second '
  'worker_gone or host_gone in a row on, and the fourth of the '
  'free ones, with a backoff. auth hands back if somebody else can take it now, else it has failed; verify '
  'has failed. Errors: UH001, UH002 lease lost, UH005, 42501.';
revoke all on function public.hub_fail_task from public, anon, authenticated, service_role;
grant execute on function public.hub_fail_task, hub_internal.fail_task to authenticated, service_role;

create function public.hub_drain_device(p_name text, p_drained boolean default true)
  returns public.mesh_devices
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.drain_device(p_name, p_drained); end $$;
comment on function public.hub_drain_device is
  'A drained device finishes what it runs and gets nothing new; false lets it take work again. Errors: '
  'UH004, 42501.';
revoke all on function public.hub_drain_device from public, anon, authenticated, service_role;
grant execute on function public.hub_drain_device, hub_internal.drain_device to authenticated, service_role;

create function public.hub_revoke_device(p_name text, p_revoked boolean default true)
  returns public.mesh_devices
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.revoke_device(p_name, p_revoked); end $$;
comment on function public.hub_revoke_device is
  'From now on the device''s token is good for nothing here, and what it runs is taken back; false takes '
  'that back. Errors: UH004, 42501.';
revoke all on function public.hub_revoke_device from public, anon, authenticated, service_role;
grant execute on function public.hub_revoke_device, hub_internal.revoke_device to authenticated, service_role;

create function public.hub_enroll_device(p_name text, p_server_id uuid, p_enrolled boolean default true)
  returns public.mesh_devices
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.enroll_device(p_name, p_server_id, p_enrolled); end $$;
comment on function public.hub_enroll_device is
  'Lets a device take a server''s tasks, or no longer. An owner may do so with devices that serve only '
  'servers of theirs; service_role and postgres with any, also before it has registered. Errors: UH001, '
  'UH004, 42501.';
revoke all on function public.hub_enroll_device from public, anon, authenticated, service_role;
grant execute on function public.hub_enroll_device, hub_internal.enroll_device to authenticated, service_role;

-- Keeping time ----------------------------------------------------------------------------------------------

create function public.hub_decay_threads(p_now timestamptz default now(), p_limit int default 1000)
  returns integer
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.decay_threads(p_now, p_limit); end $$;
comment on function public.hub_decay_threads is
  'Takes each thread that is due one step on: idle, decaying, archived. Returns how many; call again while '
  'it returns p_limit. Errors: UH001, 42501.';
revoke all on function public.hub_decay_threads from public, anon, authenticated, service_role;
grant execute on function public.hub_decay_threads, hub_internal.decay_threads to service_role;

create function public.hub_recover(p_now timestamptz default now(), p_limit int default 1000)
  returns integer
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.recover(p_now, p_limit); end $$;
comment on function public.hub_recover is
  'Takes back expired leases, of deliveries too, tells endings that were never told, frees what waits for '
  'nothing, drops what was kept long enough. Returns how many; call again while it returns p_limit. Errors: '
  'UH001, 42501.';
revoke all on function public.hub_recover from public, anon, authenticated, service_role;
grant execute on function public.hub_recover, hub_internal.recover to service_role;

create function public.hub_post_feeds(p_now timestamptz default now())
  returns integer
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.post_feeds(p_now); end $$;
comment on function public.hub_post_feeds is
  'Posts what the feed channels (hub_channels.feed) have to say since the last call; how many messages. '
  'Called by the keeper once a minute. Errors: UH001, 42501.';
revoke all on function public.hub_post_feeds from public, anon, authenticated, service_role;
grant execute on function public.hub_post_feeds, hub_internal.post_feeds to service_role;

-- Coming in -------------------------------------------------------------------------------------------------

-- p_provider: lower case (github); p_delivery_id, p_event: 1 to 200 characters. Signature, length and JSON
-- are the caller's to check; \u0000 can not be stored in jsonb (22P05): replace it. p_secret_name: the name
-- of the environment variable whose secret it was signed with, null for GITHUB_WEBHOOK_SECRET: whoever knows
-- a secret can sign anything, so it speaks only for the repositories of the places that name it.
create function public.hub_receive_webhook(
  p_provider text, p_delivery_id text, p_event text, p_payload jsonb, p_secret_name text default null)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin
  return hub_internal.receive_webhook(p_provider, p_delivery_id, p_event, p_payload, p_secret_name);
end $$;
comment on function public.hub_receive_webhook is
  'Stores what was reported, once for the id its sender gave it: {delivery, duplicate}. For callers that '
  'have checked its signature, with the secret of that name. Errors: UH001, 42501.';
revoke all on function public.hub_receive_webhook from public, anon, authenticated, service_role;
grant execute on function public.hub_receive_webhook, hub_internal.receive_webhook to service_role;

-- Called again while it equals p_limit. After the setting webhook_round (3 s) it begins no other and returns
-- p_limit, however many those were: a call ends before the statement_timeout of its caller (8 s behind
-- PostgREST), and one delivery has the rest of that. If a call is cut off all the same, all that it did is
-- undone; the next one finds which delivery it was at, counts that as an attempt and puts it off, so that it
-- stops nobody, five times at most.
create function public.hub_process_webhooks(p_now timestamptz default now(), p_limit int default 100)
  returns integer
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.process_webhooks(p_now, p_limit); end $$;
comment on function public.hub_process_webhooks is
  'Turns what was stored by hub_receive_webhook into tasks, by hub_webhook_rules; how many deliveries it '
  'looked at, p_limit if its time ended before: call again while it is p_limit. Errors: UH001, 42501.';
revoke all on function public.hub_process_webhooks from public, anon, authenticated, service_role;
grant execute on function public.hub_process_webhooks, hub_internal.process_webhooks to service_role;

-- For owners of the servers of all targets (channel:<uuid> of theirs, user:<uuid> of a member of theirs who
-- allows it). The token is `hubhook_` and 64 hex digits. It reaches a target as long as its maker owns the
-- server by which it does, and a person as long as they are a member there with accepts_hooks. Nobody's name
-- for it may be the hub's.
create function public.hub_create_hook_token(p_name text, p_targets text[])
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.create_hook_token(p_name, p_targets); end $$;
comment on function public.hub_create_hook_token is
  'A token with which another agent sends to these targets (channel:<uuid>, user:<uuid>): {id, name, '
  'targets, token}. The token is told this once. Errors: UH001, UH004, 42501 not an owner.';
revoke all on function public.hub_create_hook_token from public, anon, authenticated, service_role;
grant execute on function public.hub_create_hook_token, hub_internal.create_hook_token
  to authenticated, service_role;

-- For its maker and the owners of a server it reaches, or by whose right it reaches a person.
create function public.hub_revoke_hook_token(p_id uuid)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.revoke_hook_token(p_id); end $$;
comment on function public.hub_revoke_hook_token is
  'Makes a hook token worthless from now on. Errors: UH004.';
revoke all on function public.hub_revoke_hook_token from public, anon, authenticated, service_role;
grant execute on function public.hub_revoke_hook_token, hub_internal.revoke_hook_token
  to authenticated, service_role;

-- As hub_send does in that channel, with the token's name as the sender; for user:<uuid> a row of
-- hub_direct_messages, which that user reads. The same key with the same content in the same place gives the
-- first answer; a command's for the setting command_answer_retention. p_deliver false checks everything and
-- keeps nothing. `token not valid` (unknown or revoked) is HTTP 401, `permission denied` (a target it was not
-- given, or a person who left) 403.
create function public.hub_receive_hook(
  p_token text, p_message text, p_target text, p_deliver boolean default true,
  p_idempotency_key text default null)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin
  return hub_internal.receive_hook(p_token, p_message, p_target, p_deliver, p_idempotency_key);
end $$;
comment on function public.hub_receive_hook is
  'What another agent sends with its token: {delivered, target, message, task, thread, reply}. Without '
  'p_deliver it is only checked. Errors: UH001, UH003, UH004, 42501 token not valid, 42501 not a target of '
  'it.';
revoke all on function public.hub_receive_hook from public, anon, authenticated, service_role;
grant execute on function public.hub_receive_hook, hub_internal.receive_hook to service_role;

-- p_provider      discord or telegram.
-- p_target        channel:<id> or user:<id>, where the id may be followed by /<topic> (Telegram's
--                 message_thread_id).
-- p_elsewhere     what else that place is, in this order, where no bridge is from p_target: a thread is of a
--                 channel, a private chat is a person's.
-- p_external_id,  the message's id in that chat, as hub_complete_outbox names it; exactly once for a bridge
-- p_reply_to      and chat (a target without its topic: ids are the chat's that they came from, and another
--                 chat begins again at 1). A reply to something of a thread goes on in it.
-- p_kind          message. note: a line on what is no words (a picture, a bot's); it never starts work. edit:
--                 the new words of the message of that id; a message of its own that answers it, or a
--                 duplicate where nothing changed.
-- p_author_id     the account that wrote it, as the provider numbers it; the name is only shown. What the
--                 bridge does not let its author start work with is a message, without a task.
-- p_interaction   it is a slash command, which is answered by what this returns and whose id is no message's.
--                 The answer of a command is not told by the outbox; a task that it starts is, by posts that
--                 reply to nothing. In a bridge without allow_commands nothing is kept or done, and the
--                 object has one field more, `ignored`: "commands are not allowed in this bridge".
-- Returned: echo, it is our own, come back; message is null and nothing was kept. reply: {text, chunks} of a
-- command. outgoing: the outbox tells the chat (the command's answer, or how the task goes), since the bridge
-- goes both ways: do not send it as well. UH004 `no bridge from …`: answer the provider 200.
create function public.hub_receive_bridged(
  p_provider text, p_target text, p_external_id text, p_author text, p_content text,
  p_reply_to text default null, p_interaction boolean default false, p_author_id text default null,
  p_kind text default 'message', p_elsewhere text[] default null)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin
  return hub_internal.receive_bridged(
    p_provider, p_target, p_external_id, p_author, p_content, p_reply_to, p_interaction, p_author_id, p_kind,
    p_elsewhere);
end $$;
comment on function public.hub_receive_bridged is
  'What was written in a bridged chat, once for its id there: {duplicate, echo, outgoing, bridge, message, '
  'task, thread, reply}, and ignored for a slash command that the bridge does not allow. What its author may '
  'not start work with is a message, without a task. Errors: UH001, UH004 no bridge, UH006 too many, 42501.';
revoke all on function public.hub_receive_bridged from public, anon, authenticated, service_role;
grant execute on function public.hub_receive_bridged, hub_internal.receive_bridged to service_role;

-- Going out -------------------------------------------------------------------------------------------------

-- A row as claimed:
--   id              uuid; webhook-id is this id, too
--   seq, server_id, idempotency_key
--   bridge_id       null for an answer without a bridge
--   provider        discord | telegram | github | webhook
--   target          channel:<id>, user:<id>; for webhook the https URL; for github
--                   channel:<owner>/<name>#<number>
--   secret_name     name of the worker's environment variable, the bridge's at the claim: DISCORD_BOT_TOKEN,
--                   TELEGRAM_BOT_TOKEN, HUB_GITHUB_TOKEN or HUB_BRIDGE_<NAME>. For discord its value may be a
--                   webhook URL instead of a bot's token; for webhook it is the signing secret.
--   kind            post | edit | reply | webhook | github_comment. An edit whose message was never sent is
--                   handed out as a post.
--   edit_of         edit: the external id to edit
--   reply_to        the external id to reply to, or null: then post it
--   nonce           25 characters, the same at each attempt: Discord's nonce
--   body            by kind, see what follows
--   parts           ids of its messages that arrived at an earlier attempt, in order: do not send these again
--   attempt         the fence
--   lease_expires_at, expires_at, run_after
--   summarises      how many messages a summary stands for, else 0
-- Its body:
--   chat            {text, sender, sender_type, content_type, embed (or null), message, task}: ids; text is
--                   not split, not escaped
--   webhook         {type: message.posted | task.progress | task.complete | task.failed | task.cancelled,
--                   timestamp, data: {server, channel, thread, message, task, sender, sender_type,
--                   content_type, text, embed}}
--   github_comment  {repository, number, text, task, mentions}: text is Markdown of at most 60,000 characters
--                   with our marker at its end; without mentions nobody that it names is to be called
create function public.hub_claim_outbox(p_limit int default 10, p_lease interval default '60 seconds')
  returns setof public.hub_outbox
  language plpgsql volatile set search_path = ''
as $$ begin return query select * from hub_internal.claim_outbox(p_limit, p_lease, now()); end $$;
comment on function public.hub_claim_outbox is
  'Takes what is to be delivered, at most one row of a target; they are in flight now, for as long as the '
  'lease. A NOTIFY on hub_errands says when to look. Errors: UH001, 42501.';
revoke all on function public.hub_claim_outbox from public, anon, authenticated, service_role;
grant execute on function public.hub_claim_outbox, hub_internal.claim_outbox to service_role;

-- p_parts: of a text that took several messages, the ids of all of them in order; the first is its
-- external_id. p_note: what was odd about it (it went to the chat, since its topic is gone); said in the
-- channel once, as a warning.
create function public.hub_complete_outbox(
  p_id uuid, p_attempt int, p_external_id text default null, p_parts text[] default null,
  p_note text default null)
  returns public.hub_outbox
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.complete_outbox(p_id, p_attempt, p_external_id, p_parts, p_note); end $$;
comment on function public.hub_complete_outbox is
  'Says that a row was delivered, and which id it has there (p_parts: all of them, where it took several): '
  'later edits and replies name the first. Errors: UH001, UH002, 42501.';
revoke all on function public.hub_complete_outbox from public, anon, authenticated, service_role;
grant execute on function public.hub_complete_outbox, hub_internal.complete_outbox to service_role;

-- p_retry_after: the other side asked to wait, or nothing was sent. p_parts: what arrived of it; the next
-- attempt goes on behind.
create function public.hub_fail_outbox(
  p_id uuid, p_attempt int, p_error text, p_retry_after interval default null,
  p_permanent boolean default false, p_parts text[] default null)
  returns public.hub_outbox
  language plpgsql volatile set search_path = ''
as $$ begin
  return hub_internal.fail_outbox(p_id, p_attempt, p_error, p_retry_after, p_permanent, p_parts, now());
end $$;
comment on function public.hub_fail_outbox is
  'Says why a row was not delivered, and what of it was: pending again after p_retry_after (which is no '
  'attempt) or a backoff, or dead (p_permanent; 12 attempts in a chat). Errors: UH001, UH002, 42501.';
revoke all on function public.hub_fail_outbox from public, anon, authenticated, service_role;
grant execute on function public.hub_fail_outbox, hub_internal.fail_outbox to service_role;

create function public.hub_outbox_due()
  returns timestamptz
  language plpgsql stable set search_path = ''
as $$ begin return hub_internal.outbox_due(); end $$;
comment on function public.hub_outbox_due is
  'When hub_claim_outbox has something next; null: nothing waits but what is in flight. Errors: 42501.';
revoke all on function public.hub_outbox_due from public, anon, authenticated, service_role;
grant execute on function public.hub_outbox_due, hub_internal.outbox_due to service_role;

create function public.hub_retry_outbox(p_id uuid)
  returns public.hub_outbox
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.retry_outbox(p_id, now()); end $$;
comment on function public.hub_retry_outbox is
  'Has a dead letter, or one that waits for its next attempt, sent now; in a chat it gets twelve more '
  'attempts. Errors: UH003 sent or in flight, UH004, 42501 not an owner.';
revoke all on function public.hub_retry_outbox from public, anon, authenticated, service_role;
grant execute on function public.hub_retry_outbox, hub_internal.retry_outbox to authenticated, service_role;

-- Sweeps ----------------------------------------------------------------------------------------------------

create function public.hub_claim_sweeps(p_limit integer default 1, p_lease interval default '2 minutes')
  returns setof public.koji_sweeps
  language plpgsql volatile set search_path = ''
as $$ begin return query select * from hub_internal.claim_sweeps(p_limit, p_lease); end $$;
comment on function public.hub_claim_sweeps is
  'Takes sweeps that are due; they are running now, for as long as the lease. A NOTIFY on hub_errands says '
  'when to look. Errors: UH001, 42501.';
revoke all on function public.hub_claim_sweeps from public, anon, authenticated, service_role;
grant execute on function public.hub_claim_sweeps, hub_internal.claim_sweeps to service_role;

create function public.hub_complete_sweep(
  p_sweep_id uuid, p_attempt integer, p_found jsonb, p_source text default null)
  returns public.koji_sweeps
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.complete_sweep(p_sweep_id, p_attempt, p_found, p_source); end $$;
comment on function public.hub_complete_sweep is
  'Ends a sweep with what its source named, [{name, address, contact, rating, notes}]: what is new in that '
  'market becomes a cold prospect. Errors: UH001, UH002, 42501.';
revoke all on function public.hub_complete_sweep from public, anon, authenticated, service_role;
grant execute on function public.hub_complete_sweep, hub_internal.complete_sweep to service_role;

create function public.hub_fail_sweep(
  p_sweep_id uuid, p_attempt integer, p_error text, p_retryable boolean default true)
  returns public.koji_sweeps
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.fail_sweep(p_sweep_id, p_attempt, p_error, p_retryable); end $$;
comment on function public.hub_fail_sweep is
  'Says why a sweep came to nothing. A retryable one is tried three times in all. Errors: UH002, 42501.';
revoke all on function public.hub_fail_sweep from public, anon, authenticated, service_role;
grant execute on function public.hub_fail_sweep, hub_internal.fail_sweep to service_role;

-- Everything else is nobody's to call but by what calls it.
revoke all on all functions in schema hub_internal from public;
