//! A world that is not the usual one: a real PgBouncer in transaction mode, a restored dump, other encodings, other defaults of the
//! database.

use hub::{Hub, db::Db};
use hub_migrate::repair;
use hub_tests::{Pooler, World, agent, postgres_program, program};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use std::{path::Path, str::FromStr};
use tokio::process::Command;

async fn channel(world: &World) -> uuid::Uuid {
    world.one_text("select id::text from public.hub_channels where name = 'quick'").await.parse().unwrap()
}

/// `hub …`, with this database: what it printed, and whether it went well.
async fn hub(world: &World, arguments: &[&str], url: &str) -> (String, bool) {
    let ended = Command::new(program())
        .args(arguments)
        .env_clear()
        .env("DATABASE_URL", url)
        .current_dir(world.root())
        .output()
        .await
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    (said, ended.status.success())
}

#[tokio::test]
async fn behind_a_pooler_in_transaction_mode_everything_works_by_polling() {
    let world = World::bare().await;
    let pooler = Pooler::start().await;
    let url = pooler.url(world.url.expose_secret());

    let (said, well) = hub(&world, &["migrate"], &url).await;
    assert!(well && said.contains("applied"), "{said}");
    let (said, well) = hub(&world, &["migrate", "--repair"], &url).await;
    assert!(well && said.contains("Nothing to repair"), "{said}");

    // What it is was found out by trying, on whatever port.
    let direct = Db::connect(&world.url).await.unwrap();
    assert!(!direct.is_pooled());
    let pooled = Db::connect(&url.clone().into()).await.unwrap();
    assert!(pooled.is_pooled());
    let (said, _) = hub(&world, &["doctor"], &url).await;
    assert!(said.contains("LISTEN was tried and is not heard"), "{said}");
    assert!(!said.contains("prepared statement") && !said.contains("26000"), "{said}");

    // More callers than servers, different statements under what would be the same names.
    let other = Db::lazy(&url.clone().into(), "other", 5).unwrap();
    let channel = channel(&world).await;
    let calls = (0..60).map(|n| {
        let hub = Hub::Postgres(if n % 2 == 0 { pooled.clone() } else { other.clone() });
        async move {
            match n % 3 {
                0 => drop(hub.send(channel, &format!("work {n}"), None, None).await.unwrap()),
                1 => assert!(!hub.servers().await.unwrap().is_empty()),
                _ => assert!(!hub.channels(None).await.unwrap().is_empty()),
            }
        }
    });
    // Others who find out what they are behind disturb nobody: what they would listen for came into somebody else's call.
    let address = url.clone().into();
    let newcomers = (0..20).map(|_| Db::connect(&address));
    let (_, newcomers) = tokio::join!(futures_util::future::join_all(calls), futures_util::future::join_all(newcomers));
    assert!(newcomers.into_iter().all(|db| db.unwrap().is_pooled()));

    // A worker claims, reports and ends attempts, and keeps time.
    let worker =
        world.worker_with("pooled", &[agent("sh", "echo note; sleep 0.1; echo done")], &[("DATABASE_URL", &url)]).await;
    world.until_text("select count(*)::text from public.mac_tasks where status = 'complete'", "20").await;
    assert_eq!(world.count_all("select count(*) from public.mac_tasks where attempt > 1").await, 0);
    worker.stop().await;
}

/// All that `hub migrate --repair` is about.
async fn seen(url: &str) -> Vec<String> {
    let sql = include_str!("../../sql/queries/repair/seen.sql");
    let mut connection = PgConnectOptions::from_str(url).unwrap().connect().await.unwrap();
    let rows: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    let mut rows: Vec<String> = rows.into_iter().map(|(name, state)| format!("{name}: {state}")).collect();
    rows.sort();
    rows
}

async fn run(program: &Path, arguments: &[&str]) {
    let ended = Command::new(program).args(arguments).output().await.unwrap();
    assert!(ended.status.success(), "{} {arguments:?}: {}", program.display(), String::from_utf8_lossy(&ended.stderr));
}

#[tokio::test]
async fn a_dump_restored_elsewhere_is_repaired() {
    // npm's programs of other versions have none, and another version's dumps nothing.
    let (Some(dump), Some(restore)) = (postgres_program("pg_dump"), postgres_program("pg_restore")) else {
        return eprintln!("no pg_dump beside this Postgres: not tried");
    };
    let from = World::new().await;
    from.send("work that was asked for").await;
    let file = from.root().join("dump");
    let file = file.to_str().unwrap();
    // As `supabase db dump` does: what is Supabase's stays out.
    let schemas = ["--schema=public", "--schema=hub_internal", "--schema=supabase_migrations"];
    let options = [&["--format=custom", "--file", file, from.url.expose_secret()], schemas.as_slice()].concat();
    run(&dump, &options).await;

    let to = World::bare().await;
    let url = to.url.expose_secret();
    to.sql("drop schema if exists supabase_migrations cascade").await;
    // The schema itself is there already, and what Supabase's own role grants.
    let list = Command::new(&restore).args(["--list", file]).output().await.unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let theirs = |line: &&str| {
        line.contains("SCHEMA - public") || line.contains("- SCHEMA public") || line.contains("supabase_admin")
    };
    let kept: Vec<&str> = list.lines().filter(|line| !theirs(line)).collect();
    let chosen = from.root().join("list");
    std::fs::write(&chosen, kept.join("\n")).unwrap();
    run(&restore, &["--dbname", url, "--exit-on-error", "--use-list", chosen.to_str().unwrap(), file]).await;
    to.sql("grant usage on schema public to anon, authenticated, service_role").await;
    let leaks = "select count(*) from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and has_table_privilege('anon', c.oid, 'delete')";
    assert!(to.count_all(leaks).await > 20, "what a new project grants by default");
    assert_ne!(seen(url).await, seen(from.url.expose_secret()).await);

    let (said, well) = hub(&to, &["migrate"], url).await;
    assert!(well && said.contains("nothing to apply"), "{said}");
    let (said, well) = hub(&to, &["migrate", "--repair"], url).await;
    assert!(well, "{said}");
    for name in [
        "rights of hub_bridges",
        "policy hub_messages_select_readers on realtime.messages",
        "public.mac_tasks in the publication",
    ] {
        assert!(said.contains(&format!("put right: {name}")), "{name}: {said}");
    }
    assert_eq!(to.count_all(leaks).await, 0);
    assert_eq!(seen(url).await, seen(from.url.expose_secret()).await);
    let (said, well) = hub(&to, &["migrate", "--repair"], url).await;
    assert!(well && said.contains("Nothing to repair"), "{said}");

    // A trigger that somebody switched off, a right that was taken.
    to.sql("alter table public.mac_tasks disable trigger user").await;
    to.sql("revoke select on public.hub_servers from authenticated; drop policy hub_bridges_select_owners on public.hub_bridges").await;
    assert_eq!(
        repair(&to.url).await.unwrap().into_iter().filter(|name| !name.starts_with("trigger")).collect::<Vec<_>>(),
        ["policy hub_bridges_select_owners on hub_bridges", "rights of hub_servers"]
    );
    assert_eq!(seen(url).await, seen(from.url.expose_secret()).await);
    // And the work goes on.
    let worker = to.worker("w", &[agent("sh", "echo done")]).await;
    to.until_text("select string_agg(status, ',') from public.mac_tasks", "complete").await;
    worker.stop().await;
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_with_what_to_do() {
    let world = World::empty().await;
    let admin = std::env::var("HUB_TEST_ADMIN_URL").unwrap();
    let mut connection = PgConnection::connect(&admin).await.unwrap();
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let name = format!("enc_{}", uuid::Uuid::new_v4().simple());
        let sql =
            format!("create database {name} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let url = format!("{}/{name}", admin.rsplit_once('/').unwrap().0);
        for arguments in [&["migrate"] as &[&str], &["migrate", "--platform"]] {
            let (said, well) = hub(&world, arguments, &url).await;
            let told = said.contains(&format!("the encoding {encoding}")) && said.contains("encoding 'UTF8'");
            assert!(!well && told && said.contains(&name), "{said}");
        }
        sqlx::raw_sql(AssertSqlSafe(format!("drop database {name} with (force)")))
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn restoring_into_another_cluster_needs_the_platform_first() {
    let world = World::new().await;
    let admin = std::env::var("HUB_TEST_ADMIN_URL").unwrap();
    let url = world.url.expose_secret();
    let own = format!("{}/{}", admin.rsplit_once('/').unwrap().0, url.rsplit_once('/').unwrap().1);
    // Rights on a database are no part of its dump.
    let mut connection = PgConnection::connect(&own).await.unwrap();
    sqlx::raw_sql("do $$ begin execute format('revoke all on database %I from postgres, public', current_database()); execute format('grant connect on database %I to public', current_database()); end $$")
        .execute(&mut connection)
        .await
        .unwrap();
    let (said, well) = hub(&world, &["migrate"], url).await;
    assert!(!well && said.contains("hub migrate --platform") && said.contains("restore"), "{said}");
    hub_migrate::platform(&own.into(), &|_| {}).await.unwrap();
    let (said, well) = hub(&world, &["migrate"], url).await;
    assert!(well, "{said}");
}

#[tokio::test]
async fn other_database_defaults_change_nothing() {
    let world = World::new().await;
    let name = world.url.expose_secret().rsplit_once('/').unwrap().1.to_owned();
    let mut admin = PgConnection::connect(&std::env::var("HUB_TEST_ADMIN_URL").unwrap()).await.unwrap();
    for setting in [
        "default_transaction_isolation = 'repeatable read'",
        "standard_conforming_strings = off",
        "datestyle = 'German, DMY'",
        "intervalstyle = 'sql_standard'",
        "row_security = off",
        "idle_in_transaction_session_timeout = '1ms'",
    ] {
        sqlx::raw_sql(AssertSqlSafe(format!("alter database {name} set {setting}"))).execute(&mut admin).await.unwrap();
    }
    let channel = channel(&world).await;
    let pooler = Pooler::start().await;
    let claims = serde_json::json!({"sub": "00000000-0000-4000-8000-000000000001", "role": "authenticated", "email": "you@example.com"});
    world.sql("insert into auth.users (id, email, aud, role) values ('00000000-0000-4000-8000-000000000001', 'you@example.com', 'authenticated', 'authenticated');
               select public.hub_set_member(s.id, '00000000-0000-4000-8000-000000000001', 'owner') from public.hub_servers s").await;
    for url in [world.url.clone(), pooler.url(world.url.expose_secret()).into()] {
        let db = Db::connect(&url).await.unwrap();
        let sends = (0..32).map(|n| {
            let (db, claims) = (db.clone(), &claims);
            async move {
                if n % 2 == 0 {
                    Hub::Postgres(db).send(channel, &format!("work {n}"), None, None).await.map(drop)
                } else {
                    db.send_to_as(claims, "buf-barista/quick", &format!("work {n}"), None).await.map(drop)
                }
            }
        });
        for sent in futures_util::future::join_all(sends).await {
            sent.unwrap();
        }
    }
    assert_eq!(world.count_all("select count(*) from public.mac_tasks").await, 64);
    // And a worker works there, deliveries become tasks.
    world.sql("insert into public.hub_places (kind, server_id, target) select 'github', id, 'acme/app' from public.hub_servers where name = 'buf-barista'").await;
    world.sql("insert into public.hub_webhook_rules (server_id, event, channel_id, template) select server_id, 'issues', id, 'Look at {title} in {repository}' from public.hub_channels where name = 'quick'").await;
    let worker = world.worker("w", &[agent("sh", "echo done")]).await;
    let hub = Db::connect(&world.url).await.unwrap();
    let payload = r#"{"action":"opened","repository":{"full_name":"acme/app"},"sender":{"login":"ada"},"issue":{"number":1,"title":"It breaks","body":"a\\b","html_url":"https://github.com/acme/app/issues/1","user":{"login":"ada"},"labels":[]}}"#;
    let payload = serde_json::value::RawValue::from_string(payload.into()).unwrap();
    hub.receive_webhook("github", "d1", "issues", &payload, "GITHUB_WEBHOOK_SECRET").await.unwrap();
    world.until_text("select string_agg(distinct status, ',') || count(*) from public.mac_tasks", "complete65").await;
    worker.stop().await;
}
