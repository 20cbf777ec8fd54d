-- Why: a program that answers people over HTTP signs in once, as `postgres`, and speaks for many. It verifies
-- a token and hands its claims over together with the call: one exchange with the database, in which
-- everything but the claims is the caller's own doing.

-- Until the transaction ends, this session is the bearer of the claims: their role, their policies, their
-- auth.uid().
create function hub_internal.speak_as(p_claims jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_role text := p_claims ->> 'role';
begin
  if v_role is null or v_role not in ('anon', 'authenticated', 'service_role') then
    perform hub_internal.refuse('42501', 'permission denied', 'the token says no role of the API',
      'Sign in.');
  end if;
  -- Claims first: the role that is taken may set nothing here again.
  perform set_config('request.jwt.claims', p_claims::text, true),
          set_config('role', v_role, true);
end;
$$;
comment on function hub_internal.speak_as(jsonb) is
  'Takes the role and claims of a verified token for the rest of the transaction. Errors: 42501.';

create function hub_internal.execute_command_as(p_claims jsonb, p_channel_id uuid, p_command text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.speak_as(p_claims);
  return public.hub_execute_command(p_channel_id, p_command);
end;
$$;
comment on function hub_internal.execute_command_as(jsonb, uuid, text) is
  'hub_execute_command for the bearer of these claims. Errors: as hub_execute_command.';

create function hub_internal.send_to_as(
    p_claims jsonb, p_channel text, p_content text, p_idempotency_key text)
  returns jsonb
  language plpgsql
  volatile
  set search_path = ''
as $$
begin
  perform hub_internal.speak_as(p_claims);
  return public.hub_send_to(p_channel, p_content, p_idempotency_key);
end;
$$;
comment on function hub_internal.send_to_as(jsonb, text, text, text) is
  'hub_send_to for the bearer of these claims. Errors: as hub_send.';
