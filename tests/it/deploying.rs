//! Deploying: under older and newer default privileges, beside tables that are there, over an existing queue.

use hub_tests::World;

/// Every grant on ours, as text.
const GRANTS: &str = "select coalesce(string_agg(g, E'\\n' order by g), '') from (
    select format('%s %s %s', c.relname, c.relacl::text, a.attacls) as g
      from pg_class c
      left join lateral (select string_agg(attname || attacl::text, ',' order by attname) as attacls from pg_attribute where attrelid = c.oid and attacl is not null) a on true
     where c.relnamespace in ('public'::regnamespace, 'hub_internal'::regnamespace) and c.relkind in ('r', 'p', 'S')
       and c.relname <> 'refinery_schema_history'
    union all
    select format('%s %s', p.oid::regprocedure, p.proacl::text) from pg_proc p
     where p.pronamespace in ('public'::regnamespace, 'hub_internal'::regnamespace)) x";

async fn migrate(world: &World) {
    hub_migrate::migrate(&world.url, &|_| {}).await.unwrap();
}

#[tokio::test]
async fn the_grants_are_the_same_on_older_and_newer_projects() {
    let older = World::bare().await;
    let newer = World::bare().await;
    for what in ["tables", "functions", "sequences"] {
        newer
            .sql(&format!(
                "alter default privileges for role postgres in schema public revoke all on {what} from anon, authenticated, service_role"
            ))
            .await;
    }
    migrate(&older).await;
    migrate(&newer).await;
    let (a, b) = (older.one_text(GRANTS).await, newer.one_text(GRANTS).await);
    assert!(a.contains("hub_send") && a.contains("mac_tasks"));
    assert_eq!(a, b);
    // The older project keeps its habit for everybody else's tables.
    older.sql("create table public.theirs (id int)").await;
    assert_eq!(older.count_all("select count(*) from information_schema.role_table_grants where table_name = 'theirs' and grantee = 'anon' and privilege_type = 'SELECT'").await, 1);
}

#[tokio::test]
async fn existing_tables_and_rows_are_kept() {
    const LOOK: &str = "select string_agg(format('%s %s %s', a.attrelid::regclass, a.attname, a.atttypid::regtype), ',' order by a.attrelid::regclass::text, a.attnum)
        || (select string_agg(h::text, ',') from public.hub_threads h) || (select string_agg(h::text, ',') from public.hub_messages h)
        || (select string_agg(policyname, ',') from pg_policies where tablename in ('hub_threads', 'hub_messages'))
        from pg_attribute a where a.attrelid in ('public.hub_threads'::regclass, 'public.hub_messages'::regclass) and a.attnum > 0";
    let world = World::bare().await;
    world
        .sql(
            "create table public.hub_threads (id uuid primary key default gen_random_uuid(), title text, category text);
             create table public.hub_messages (id uuid primary key default gen_random_uuid(), thread_id uuid references public.hub_threads, content text);
             alter table public.hub_threads enable row level security; alter table public.hub_messages enable row level security;
             create policy theirs on public.hub_threads for all to authenticated using (true);
             create policy theirs on public.hub_messages for all to authenticated using (true);
             insert into public.hub_threads (title, category) values ('a', 'b');
             insert into public.hub_messages (thread_id, content) select id, 'hello' from public.hub_threads",
        )
        .await;
    let before = world.one_text(LOOK).await;
    migrate(&world).await;
    assert_eq!(world.one_text(LOOK).await, before);
}

#[tokio::test]
async fn an_existing_mac_tasks_is_adopted_with_its_rows() {
    let world = World::bare().await;
    world
        .sql(
            "create table public.mac_tasks (id uuid primary key default gen_random_uuid(), content text not null, project text, status text default 'pending',
                model_preference text, claimed_by text, partial_output text, result text, created_at timestamptz default now());
             alter table public.mac_tasks enable row level security;
             create policy anybody on public.mac_tasks for all to authenticated using (true) with check (true);
             insert into public.mac_tasks (content, status, result, claimed_by) values
                ('waits', 'pending', null, null), ('is done', 'complete', 'result', 'old-mac'), ('runs', 'running', null, 'old-mac'), ('went wrong', 'failed', null, 'old-mac')",
        )
        .await;
    migrate(&world).await;
    let rows = "select string_agg(content || '=' || status || coalesce('/' || result, ''), ', ' order by content) from public.mac_tasks";
    assert_eq!(world.one_text(rows).await, "is done=complete/result, runs=running, waits=pending, went wrong=failed");
    assert_eq!(
        world
            .count_all("select count(*) from pg_policies where tablename = 'mac_tasks' and policyname = 'anybody'")
            .await,
        0
    );

    world.sql(r#"select public.hub_register_device('new', 'linux', '[{"agent": "a", "models": ["any"]}]', 5)"#).await;
    assert_eq!(world.one_text("select string_agg(content, ',') from public.hub_claim_tasks('new', 5)").await, "waits");
    world.sql("select public.hub_complete_task(id, 1, 'done') from public.mac_tasks where content = 'waits'").await;
    // The older executor's task is never taken away, and what it writes still counts.
    world.sql("select public.hub_recover(now() + interval '1 year')").await;
    world.sql("update public.mac_tasks set status = 'complete', result = 'at last' where content = 'runs'").await;
    assert_eq!(
        world
            .count_all(
                "select count(*) from public.mac_tasks where content = 'runs' and status = 'complete' and attempt = 1"
            )
            .await,
        1
    );
    // A new row of the older kind finds its place.
    world.sql("insert into public.mac_tasks (content) values ('another')").await;
    assert_eq!(
        world.one_text("select string_agg(content, ',') from public.hub_claim_tasks('new', 5)").await,
        "another"
    );
}

#[tokio::test]
async fn a_mac_tasks_that_can_not_be_adopted_is_refused_with_the_reason() {
    for (table, why) in [
        ("create table public.mac_tasks (id bigint primary key, content text, status text)", "column id is bigint"),
        ("create table public.mac_tasks (id uuid, content text, status text)", "neither its primary key nor unique"),
        ("create table public.mac_tasks (id uuid primary key, status text)", "lacks one of the columns"),
        (
            "create type st as enum ('pending'); create table public.mac_tasks (id uuid primary key, content text, status st)",
            "column status is st",
        ),
        (
            "create table public.mac_tasks (id uuid primary key default gen_random_uuid(), content text, status text); insert into public.mac_tasks (content, status) values ('x', 'paused')",
            "1 rows have the status 'paused'",
        ),
        (
            "create table public.mac_tasks (id uuid primary key, content text, status text, created_at timestamp)",
            "column created_at is timestamp without time zone",
        ),
        (
            "create view public.mac_tasks as select gen_random_uuid() as id, ''::text as content, ''::text as status",
            "it is not a table",
        ),
    ] {
        let world = World::bare().await;
        world.sql(table).await;
        let error = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap_err().to_string();
        assert!(error.contains(why), "{table}: {error}");
        assert_eq!(
            world
                .count_all(
                    "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relname like 'hub%'"
                )
                .await,
            0
        );
    }
}

#[tokio::test]
async fn applying_twice_does_nothing_more() {
    let world = World::new().await;
    let before = world.one_text(GRANTS).await;
    let report = hub_migrate::migrate(&world.url, &|_| {}).await.unwrap();
    assert!(report.applied.is_empty());
    assert_eq!(world.one_text(GRANTS).await, before);
    for _ in 0..2 {
        hub_migrate::seed(&world.url, &|_| {}).await.unwrap();
    }
    assert_eq!(
        world
            .one_text("select string_agg(name || ' ' || channel_count, ', ' order by name) from public.hub_servers")
            .await,
        "aura-labs 2, buf-barista 11, cloud-hub 6, koji-pipeline 4"
    );
    assert_eq!(
        world.count_all("select count(*) - count(distinct name) from public.hub_channels").await,
        0,
        "channel names are unique over the four"
    );
}
