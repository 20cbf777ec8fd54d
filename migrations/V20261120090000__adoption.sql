-- Why: a database may have a mac_tasks of its own already. Before anything is changed, this looks whether the
-- hub can live with it, and the whole deployment stops here, with the reason, if it can not. Then it gives
-- that table the columns and defaults that the hub's own has (…tasks), rows and names kept. Where there is
-- none, nothing happens here.

do $$
begin
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception using
      errcode = 'UH003',
      message = format('the database %s has the encoding %s, in which most texts can not be kept',
                       current_database(), current_setting('server_encoding')),
      hint    = 'Make one in UTF8: create database hub template template0 encoding ''UTF8''';
  end if;
end;
$$;

-- Whether an older table can be adopted.
do $$
declare
  v_problem text;
begin
  if to_regclass('public.mac_tasks') is null then
    return;
  end if;

  -- Every column the hub relies on, with the types it can work with. A column that is missing is added later.
  select string_agg(format('column %s is %s, but must be %s',
                           a.attname, format_type(a.atttypid, a.atttypmod), w.types[1]),
                    '; ' order by a.attnum)
    into v_problem
    from pg_attribute a
    join (values
      ('id',                  array['uuid']),
      ('content',             array['text', 'character varying']),
      ('project',             array['text', 'character varying']),
      ('status',              array['text', 'character varying']),
      ('model_preference',    array['text', 'character varying']),
      ('model',               array['text', 'character varying']),
      ('agent',               array['text', 'character varying']),
      ('task_type',           array['text', 'character varying']),
      ('platform',            array['text', 'character varying']),
      ('priority',            array['integer', 'smallint', 'bigint']),
      ('claimed_by',          array['text', 'character varying']),
      ('attempt',             array['integer']),
      ('max_attempts',        array['integer']),
      ('lease_expires_at',    array['timestamp with time zone']),
      ('run_after',           array['timestamp with time zone']),
      ('partial_output',      array['text', 'character varying']),
      ('result',              array['text', 'character varying']),
      ('error',               array['text', 'character varying']),
      ('channel_id',          array['uuid']),
      ('thread_id',           array['uuid']),
      ('message_id',          array['uuid']),
      ('parent_id',           array['uuid']),
      ('team_id',             array['uuid']),
      ('session_id',          array['text', 'character varying']),
      ('session_device',      array['text', 'character varying']),
      ('idempotency_key',     array['text', 'character varying']),
      ('cancel_requested_at', array['timestamp with time zone']),
      ('metadata',            array['jsonb']),
      ('created_by',          array['uuid']),
      ('server_id',           array['uuid']),
      ('created_at',          array['timestamp with time zone']),
      ('updated_at',          array['timestamp with time zone']),
      ('claimed_at',          array['timestamp with time zone']),
      ('finished_at',         array['timestamp with time zone']),
      ('seq',                 array['bigint'])
    ) as w (name, types) on w.name = a.attname
   where a.attrelid = 'public.mac_tasks'::regclass
     and a.attnum > 0
     and not a.attisdropped
     and not (format_type(a.atttypid, null) = any (w.types));

  if v_problem is null
     and (select c.relkind from pg_class c where c.oid = 'public.mac_tasks'::regclass) not in ('r', 'p') then
    v_problem := 'it is not a table';
  end if;

  if v_problem is null
     and (select count(*)
            from pg_attribute a
           where a.attrelid = 'public.mac_tasks'::regclass
             and not a.attisdropped
             and a.attname in ('id', 'content', 'status')) < 3 then
    v_problem := 'it lacks one of the columns id, content and status';
  end if;

  if v_problem is null
     and not exists (
       select from pg_index i
        where i.indrelid = 'public.mac_tasks'::regclass
          and i.indisunique
          and i.indpred is null
          and i.indnkeyatts = 1
          and i.indkey[0] = (select attnum
                               from pg_attribute
                              where attrelid = 'public.mac_tasks'::regclass
                                and attname = 'id')) then
    v_problem := 'column id is neither its primary key nor unique';
  end if;

  if v_problem is null
     and not pg_has_role(current_user,
                         (select relowner from pg_class where oid = 'public.mac_tasks'::regclass),
                         'usage') then
    v_problem := format('it belongs to %s, and %s may not change it',
                        (select relowner::regrole from pg_class where oid = 'public.mac_tasks'::regclass),
                        current_user);
  end if;

  if v_problem is null then
    execute $q$
      select string_agg(format('%s rows have the status %s', n, coalesce(quote_literal(status), 'null')),
                        '; ')
        from (select status::text, count(*) as n
                from public.mac_tasks
               where status is null
                  or status not in ('pending', 'running', 'waiting', 'blocked',
                                    'complete', 'failed', 'cancelled')
               group by 1) s $q$ into v_problem;
  end if;

  if v_problem is null
     and exists (select from pg_attribute
                  where attrelid = 'public.mac_tasks'::regclass
                    and attname = 'model_preference'
                    and not attisdropped) then
    execute $q$
      select string_agg(format('%s rows have the model_preference %L', n, m), '; ')
        from (select model_preference::text as m, count(*) as n
                from public.mac_tasks
               where model_preference not in ('claude', 'gemini', 'codex', 'any')
               group by 1) s $q$ into v_problem;
  end if;

  if v_problem is null
     and exists (select from pg_attribute
                  where attrelid = 'public.mac_tasks'::regclass
                    and attname = 'priority'
                    and not attisdropped) then
    execute $q$
      select format('%s rows have a priority outside 0 to 9', count(*))
        from public.mac_tasks
       where priority not between 0 and 9
      having count(*) > 0 $q$ into v_problem;
  end if;

  if v_problem is not null then
    raise exception using
      errcode = 'UH003',
      message = 'the existing table public.mac_tasks can not be adopted',
      detail  = v_problem,
      hint    = 'Nothing was changed. Alter the table so that it fits, or rename it; then migrate again.';
  end if;
end;
$$;

-- It gets the columns and defaults of the hub's own, and its rows what new ones would have got.
do $$
begin
  if to_regclass('public.mac_tasks') is null then
    return;
  end if;
  alter table public.mac_tasks
    add column if not exists project             text,
    add column if not exists model_preference    text,
    add column if not exists model               text,
    add column if not exists agent               text,
    add column if not exists task_type           text,
    add column if not exists platform            text,
    add column if not exists priority            integer,
    add column if not exists claimed_by          text,
    add column if not exists attempt             integer,
    add column if not exists max_attempts        integer,
    add column if not exists lease_expires_at    timestamptz,
    add column if not exists run_after           timestamptz,
    add column if not exists partial_output      text,
    add column if not exists result              text,
    add column if not exists error               text,
    add column if not exists channel_id          uuid,
    add column if not exists thread_id           uuid,
    add column if not exists message_id          uuid,
    add column if not exists parent_id           uuid,
    add column if not exists team_id             uuid,
    add column if not exists session_id          text,
    add column if not exists session_device      text,
    add column if not exists idempotency_key     text,
    add column if not exists cancel_requested_at timestamptz,
    add column if not exists metadata            jsonb,
    add column if not exists created_by          uuid,
    add column if not exists server_id           uuid,
    add column if not exists created_at          timestamptz,
    add column if not exists updated_at          timestamptz,
    add column if not exists claimed_at          timestamptz,
    add column if not exists finished_at         timestamptz,
    add column if not exists requested_agent     text,
    add column if not exists requested_device    text,
    add column if not exists progress_count      integer not null default 0,
    add column if not exists quiet               boolean not null default false,
    add column if not exists told                text,
    add column if not exists lane                integer,
    add column if not exists queue_key           timestamptz,
    add column if not exists seq                 bigint not null default 0,
    add column if not exists root_id             uuid,
    add column if not exists model_pinned        boolean not null default false;

  update public.mac_tasks
     set model_preference = coalesce(model_preference, 'any'),
         task_type        = coalesce(task_type, 'other'),
         platform         = coalesce(platform, 'any'),
         priority         = coalesce(priority, 5),
         attempt          = coalesce(attempt, case when status in ('pending', 'blocked') then 0 else 1 end),
         max_attempts     = coalesce(max_attempts, 3),
         created_at       = coalesce(created_at, now()),
         updated_at       = coalesce(updated_at, created_at, now());

  alter table public.mac_tasks
    alter column id               set default gen_random_uuid(),
    alter column status           set default 'pending',
    alter column model_preference set default 'any',
    alter column task_type        set default 'other',
    alter column platform         set default 'any',
    alter column priority         set default 5,
    alter column attempt          set default 0,
    alter column max_attempts     set default 3,
    alter column created_at       set default now(),
    alter column updated_at       set default now(),
    alter column content          set not null,
    alter column status           set not null,
    alter column model_preference set not null,
    alter column task_type        set not null,
    alter column platform         set not null,
    alter column priority         set not null,
    alter column attempt          set not null,
    alter column max_attempts     set not null,
    alter column created_at       set not null,
    alter column updated_at       set not null;

  alter table public.mac_tasks
    drop constraint if exists mac_tasks_status_check,
    drop constraint if exists mac_tasks_model_preference_check,
    drop constraint if exists mac_tasks_priority_check;

  -- Who was asked for, in rows that wait: agent is chosen anew by each claim.
  update public.mac_tasks t
     set requested_agent = t.agent
   where t.status in ('pending', 'blocked', 'waiting')
     and (t.session_id is null or t.session_device is null);
end;
$$;

-- It may carry policies that let every signed-in user write to the queue, which is running code on somebody's
-- machine. They go; the hub's (…tasks) take their place.
do $$
declare
  v_policy text;
begin
  for v_policy in select polname from pg_policy where polrelid = to_regclass('public.mac_tasks') loop
    execute format('drop policy %I on public.mac_tasks', v_policy);
    raise notice 'dropped the policy % of the adopted table mac_tasks', v_policy;
  end loop;
end;
$$;
