-- Why: the contract of talking to tasks that run, and of what their agents say back. As in …api, each runs as
-- its caller and hands over to the function of hub_internal that has the body.

-- By operators ----------------------------------------------------------------------------------------------

create function public.hub_steer_task(p_task_id uuid, p_text text)
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.steer_task(p_task_id, p_text); end $$;
comment on function public.hub_steer_task is
  'Tells the agent of a running task something: at its next step, else after its turn; the conversation says '
  'which. What it was not told before the task is complete becomes a follow-up. Errors: UH001, UH003 it does '
  'not run, or not by a lease, UH004, UH006 too much that it has not taken yet, 42501.';
revoke all on function public.hub_steer_task from public, anon, authenticated, service_role;
grant execute on function public.hub_steer_task, hub_internal.steer_task to authenticated, service_role;

-- The defaults let a client whose REST layer can not say null leave it out.
create function public.hub_route_task(
  p_task_id uuid, p_agent text default null, p_model text default null, p_device text default null,
  p_type text default null)
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.route_task(p_task_id, p_agent, p_model, p_device, p_type); end $$;
comment on function public.hub_route_task is
  'Says which agent, model or machine a task is for that does not run and is not complete; p_device any is '
  'any machine. p_type says what kind of work it is; the same request of that server is taken for that from '
  'then on. A session that is elsewhere, or another agent''s, no longer holds it. A failed or cancelled '
  'task goes there once it is retried. Errors: UH001, UH003 in another state, UH004, 42501.';
revoke all on function public.hub_route_task from public, anon, authenticated, service_role;
grant execute on function public.hub_route_task, hub_internal.route_task to authenticated, service_role;

create function public.hub_set_thread_replies(p_channel_id uuid, p_replies text)
  returns public.hub_channels
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.set_thread_replies(p_channel_id, p_replies); end $$;
comment on function public.hub_set_thread_replies is
  'What a reply is while the task it is for runs: queue (a follow-up) or steer (words to its agent). Errors: '
  'UH001, UH004, 42501 not an owner.';
revoke all on function public.hub_set_thread_replies from public, anon, authenticated, service_role;
grant execute on function public.hub_set_thread_replies, hub_internal.set_thread_replies
  to authenticated, service_role;

create function public.hub_set_when_limited(p_channel_id uuid, p_when_limited text)
  returns public.hub_channels
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.set_when_limited(p_channel_id, p_when_limited); end $$;
comment on function public.hub_set_when_limited is
  'What a task with a session does while its agent is at its limit: wait for it, or go on elsewhere with a '
  'brief when that is long (brief). Errors: UH001, UH004, 42501 not an owner.';
revoke all on function public.hub_set_when_limited from public, anon, authenticated, service_role;
grant execute on function public.hub_set_when_limited, hub_internal.set_when_limited
  to authenticated, service_role;

-- By the device that holds the attempt ----------------------------------------------------------------------

create function public.hub_report_steer(p_task_id uuid, p_attempt int, p_ids bigint[], p_outcome text)
  returns void
  language plpgsql volatile set search_path = ''
as $$ begin perform hub_internal.report_steer(p_task_id, p_attempt, p_ids, p_outcome); end $$;
comment on function public.hub_report_steer is
  'Says what became of what a heartbeat gave in steer: taken, or next_turn (kept for a further turn of the '
  'same attempt; taken once that begins). Each is told once. Errors: UH001, UH002, UH005, 42501.';
revoke all on function public.hub_report_steer from public, anon, authenticated, service_role;
grant execute on function public.hub_report_steer, hub_internal.report_steer to authenticated, service_role;

create function public.hub_say(p_task_id uuid, p_attempt int, p_text text)
  returns public.hub_channel_messages
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.say(p_task_id, p_attempt, p_text); end $$;
comment on function public.hub_say is
  'What the agent of a live attempt says in its conversation, at once: up to 10,000 characters, 50 times an '
  'attempt. Errors: UH001, UH002, UH003 it has no conversation, UH005, UH006, 42501.';
revoke all on function public.hub_say from public, anon, authenticated, service_role;
grant execute on function public.hub_say, hub_internal.say to authenticated, service_role;

create function public.hub_subtask(
  p_task_id uuid, p_attempt int, p_content text, p_model text default null, p_agent text default null,
  p_project text default null)
  returns public.mac_tasks
  language plpgsql volatile set search_path = ''
as $$ begin
  return hub_internal.subtask(p_task_id, p_attempt, p_content, p_model, p_agent, p_project);
end $$;
comment on function public.hub_subtask is
  'A task that the agent of a live attempt gives to another, in the same conversation, for the same maker. '
  'Its end comes with the heartbeat in subtasks. Errors: UH001, UH002, UH003 the task is being cancelled, '
  'UH005, UH006 too deep, or too many that have not ended, 42501 its maker may not send there any more.';
revoke all on function public.hub_subtask from public, anon, authenticated, service_role;
grant execute on function public.hub_subtask, hub_internal.subtask to authenticated, service_role;

create function public.hub_subtask_result(p_task_id uuid, p_attempt int, p_subtask_id uuid)
  returns jsonb
  language plpgsql volatile set search_path = ''
as $$ begin return hub_internal.subtask_result(p_task_id, p_attempt, p_subtask_id); end $$;
comment on function public.hub_subtask_result is
  'How a subtask of this task is, or how it ended: {id, status, result, error}. After its end heartbeats '
  'name it no more. Errors: UH002, UH004 not one of its own, UH005, 42501.';
revoke all on function public.hub_subtask_result from public, anon, authenticated, service_role;
grant execute on function public.hub_subtask_result, hub_internal.subtask_result
  to authenticated, service_role;

create function public.hub_attempt_thread(
  p_task_id uuid, p_attempt int, p_before bigint default null, p_limit int default 50)
  returns setof public.hub_channel_messages
  language plpgsql stable set search_path = ''
as $$ begin
  return query select * from hub_internal.attempt_thread(p_task_id, p_attempt, p_before, p_limit);
end $$;
comment on function public.hub_attempt_thread is
  'The conversation of a live attempt, its newest p_limit messages (1 to 200) with seq < p_before, newest '
  'last, without progress; what was written by others than those who may start work there is quoted. Errors: '
  'UH001, UH002, UH005, 42501.';
revoke all on function public.hub_attempt_thread from public, anon, authenticated, service_role;
grant execute on function public.hub_attempt_thread, hub_internal.attempt_thread
  to authenticated, service_role;
