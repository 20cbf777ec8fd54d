-- Why: what an attempt leaves behind is proved by its receipt: the commit, how much it changed, and whether the
-- project's verify has passed. Where a project has one, nothing is complete without.
--
-- A receipt (hub_task_attempts.receipt): {kind: git | in_place, branch, base, commit, tree, dirty, files,
-- insertions, deletions, changed: [at most 20 paths], pushed, pull_request, size_bytes, verify: {command_sha256,
-- exit, seconds, tail, log_sha256, passed, rounds}}. One without kind is another program's own, and is only kept.

create function hub_internal.is_link(p_text text)
  returns boolean
  language plpgsql
  immutable
  strict
  set search_path = ''
as $$
begin
  return char_length(p_text) <= 500 and p_text ~ '^https?://[^[:space:][:cntrl:]<>]+$';
end;
$$;

-- What is wrong with a receipt; null: nothing.
create function hub_internal.receipt_problem(p_receipt jsonb)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_verify jsonb := p_receipt -> 'verify';
begin
  if jsonb_typeof(p_receipt) is distinct from 'object' or p_receipt ->> 'kind' is null then
    return null;
  end if;
  return case
    when p_receipt ->> 'kind' not in ('git', 'in_place') then 'kind is neither git nor in_place'
    when char_length(p_receipt ->> 'branch') > 250 or char_length(p_receipt ->> 'base') > 100
         or char_length(p_receipt ->> 'commit') > 100 or char_length(p_receipt ->> 'tree') > 100
      then 'branch, base, commit or tree is too long'
    when jsonb_typeof(p_receipt -> 'dirty') not in ('boolean', 'null')
         or jsonb_typeof(p_receipt -> 'pushed') not in ('boolean', 'null')
      then 'dirty or pushed is neither true nor false'
    when p_receipt ->> 'files' !~ '^[0-9]{1,9}$' or p_receipt ->> 'insertions' !~ '^[0-9]{1,9}$'
         or p_receipt ->> 'deletions' !~ '^[0-9]{1,9}$'
      then 'files, insertions or deletions is not a whole number of at most 9 digits'
    when p_receipt ->> 'size_bytes' !~ '^[0-9]{1,18}$'
      then 'size_bytes is not a whole number of at most 18 digits'
    when jsonb_typeof(p_receipt -> 'changed') not in ('array', 'null') then 'changed is not a list'
    when jsonb_typeof(p_receipt -> 'changed') = 'array' and jsonb_array_length(p_receipt -> 'changed') > 20
      then 'changed has more than 20 paths'
    when not hub_internal.is_link(p_receipt ->> 'pull_request')
      then 'pull_request is not a URL'
    when jsonb_typeof(v_verify) not in ('object', 'null') then 'verify is not an object'
    when jsonb_typeof(v_verify) = 'object'
      then case
        when jsonb_typeof(v_verify -> 'passed') is distinct from 'boolean'
          then 'verify.passed is neither true nor false'
        when (v_verify ->> 'command_sha256' ~ '^[0-9a-f]{64}$') is not true
          then 'verify.command_sha256 is not 64 hexadecimal digits'
        when v_verify ->> 'exit' !~ '^-?[0-9]{1,9}$' or v_verify ->> 'rounds' !~ '^[0-9]{1,3}$'
          then 'verify.exit or verify.rounds is not a whole number'
        when v_verify ->> 'seconds' !~ '^[0-9]{1,9}([.][0-9]{1,9})?$'
          then 'verify.seconds is not a number'
        when char_length(v_verify ->> 'tail') > 4000 then 'verify.tail is longer than 4,000 characters'
      end
  end;
end;
$$;

-- The last line of what verify wrote.
create function hub_internal.last_line(p_text text)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return nullif(hub_internal.shorten(
    hub_internal.one_line(hub_internal.tamed(substring(rtrim(p_text, E' \t\r\n') from E'[^\n\r]*$'))), 300), '');
end;
$$;

-- Called for each row that becomes complete, whoever writes it. The receipt is in the attempt's record already.
create function hub_internal.require_proof(p_task public.mac_tasks)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_verify text;
  v_proof  jsonb;
begin
  v_verify := (hub_internal.project_of(p_task.server_id, p_task.project)).verify;
  if v_verify is null then
    return;
  end if;
  select a.receipt -> 'verify' into v_proof
    from public.hub_task_attempts a
   where a.task_id = p_task.id
     and a.attempt = p_task.attempt;
  if jsonb_typeof(v_proof) is distinct from 'object' then
    perform hub_internal.refuse('UH003', 'conflict', 'not verified',
      'The project has a verify command (hub_projects.verify): run it on what was done, and report its outcome '
      'as p_meta.receipt.verify.');
  elsif v_proof ->> 'command_sha256' is distinct from hub_internal.sha256_text(v_verify) then
    perform hub_internal.refuse('UH003', 'conflict', 'verified with another command',
      'The project''s verify command (hub_projects.verify) is another now: run that.');
  elsif v_proof -> 'passed' is distinct from 'true' then
    perform hub_internal.refuse('UH003', 'conflict',
      'verification failed' || coalesce(': ' || hub_internal.last_line(v_proof ->> 'tail'), ''),
      'Mend it and verify again, or end the attempt with hub_fail_task and the reason verify.');
  end if;
end;
$$;

-- How verify went, as people read it; null: it was not run.
create function hub_internal.verified_text(p_task public.mac_tasks, p_receipt jsonb)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_proof   jsonb := p_receipt -> 'verify';
  v_command text;
begin
  if jsonb_typeof(v_proof) is distinct from 'object' then
    return null;
  end if;
  v_command := (hub_internal.project_of(p_task.server_id, p_task.project)).verify;
  if hub_internal.sha256_text(v_command) is distinct from v_proof ->> 'command_sha256' then
    v_command := 'verify';
  end if;
  return hub_internal.shorten(hub_internal.one_line(v_command), 60)
    || case when v_proof -> 'passed' = 'true' then ' passed'
            when v_proof ->> 'exit' is null then ' did not end'
            else format(' failed (exit %s)', v_proof ->> 'exit') end
    || coalesce(' in ' || ceil((v_proof ->> 'seconds')::numeric) || ' s', '')
    || case when (v_proof ->> 'rounds')::integer > 1
            then format(', run %s', v_proof ->> 'rounds') else '' end;
end;
$$;

-- What was done, in one line; null: nothing was, or the receipt says nothing of it.
--     Branch hub/a1b2c3d4: 3 files, +10 −2; cargo test passed in 12 s; pushed; PR https://…
create function hub_internal.receipt_line(p_task public.mac_tasks, p_receipt jsonb)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_files integer := coalesce((p_receipt ->> 'files')::integer, 0);
begin
  if p_receipt ->> 'kind' is null or hub_internal.receipt_problem(p_receipt) is not null then
    return null;
  end if;
  return nullif(concat_ws('; ',
    case when v_files > 0
         then format('%s: %s %s, +%s −%s',
                     coalesce('Branch ' || hub_internal.receipt_branch(p_receipt), 'In place'),
                     v_files, case v_files when 1 then 'file' else 'files' end,
                     coalesce(p_receipt ->> 'insertions', '0'),
                     coalesce(p_receipt ->> 'deletions', '0')) end,
    hub_internal.verified_text(p_task, p_receipt),
    case when p_receipt -> 'dirty' = 'true' then 'verify changed files, which are not committed' end,
    case when p_receipt -> 'pushed' = 'true' then 'pushed' end,
    'PR ' || (p_receipt ->> 'pull_request')), '');
end;
$$;

create function hub_internal.receipt_branch(p_receipt jsonb)
  returns text
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  return nullif(hub_internal.one_line(hub_internal.tamed(p_receipt ->> 'branch')), '');
end;
$$;

-- A text that people get as the end of a task, with the receipt's line below it.
create function hub_internal.with_receipt(p_text text, p_task public.mac_tasks, p_receipt jsonb, p_most int)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_line text := hub_internal.receipt_line(p_task, p_receipt);
begin
  return case when v_line is null then p_text
              else concat_ws(E'\n\n', nullif(hub_internal.shorten(p_text, p_most - 1000), ''), v_line) end;
end;
$$;
