//! The life of `hub dev`: from nothing, again, twice at once, broken, and its end.

use crate::common::{Stack, answer, home, options, read_env};
use hub_local::{DevEvent, Error, run};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

async fn fails(options: hub_local::DevOptions) -> Error {
    run(options, CancellationToken::new(), |_| {}).await.expect_err("it must not start")
}

fn postmaster(dir: &Path) -> Option<Pid> {
    let said = fs::read_to_string(dir.join("postgres/postmaster.pid")).ok()?;
    Some(Pid::from_raw(said.lines().next()?.parse().ok()?))
}

/// A container without an init keeps those that ended as zombies.
/// On the busiest machine what takes longer does not come to its end.
const BUSY: Duration = Duration::from_secs(45);

fn alive(pid: Pid) -> bool {
    let zombie = fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')));
    kill(pid, None).is_ok() && !zombie
}

#[tokio::test]
async fn starts_from_nothing_again_and_after_a_reset() {
    let home = home();
    let dir = home.path().join("hub");
    let began = Instant::now();
    let stack = Stack::start_with(options(&dir)).await;
    println!("ready from nothing in {:.2} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < BUSY);

    let env = dir.join("dev.env");
    assert_eq!(fs::metadata(&env).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(dir.join("secrets.json")).unwrap().permissions().mode() & 0o777, 0o600);
    for name in [
        "SUPABASE_URL",
        "SUPABASE_ANON_KEY",
        "SUPABASE_SERVICE_ROLE_KEY",
        "SUPABASE_JWT_SECRET",
        "DATABASE_URL",
        "DATABASE_ADMIN_URL",
        "HUB_OPERATOR_JWT",
        "HUB_VIEWER_JWT",
        "HUB_OUTSIDER_JWT",
        "HUB_DEVICE_JWT",
        "HUB_OPERATOR_PASSWORD",
        "HUB_DEVICE_SECRET",
    ] {
        let value = stack.var(name);
        assert!(!value.is_empty() && !value.contains('?') && !value.contains(char::is_whitespace), "{name}");
    }
    // As every local Supabase has it, so that its CLI finds the way in; and who that is.
    let database = stack.var("DATABASE_URL");
    assert!(database.starts_with("postgres://postgres:") && database.contains("@127.0.0.1:"), "{database}");
    let mut owner = PgConnection::connect(stack.var("DATABASE_URL")).await.unwrap();
    let (name, superuser): (String, bool) =
        sqlx::query_as("select rolname::text, rolsuper from pg_roles where rolname = current_user")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!((name.as_str(), superuser), ("postgres", false));
    let settings: Vec<String> = sqlx::query_scalar(
        "select setting from pg_settings where name in ('data_checksums', 'fsync', 'listen_addresses', 'server_encoding', 'wal_level') order by name",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    assert_eq!(settings, ["on", "on", "127.0.0.1", "UTF8", "logical"]);
    let mut admin = PgConnection::connect(stack.var("DATABASE_ADMIN_URL")).await.unwrap();
    let superuser: bool = sqlx::query_scalar("select rolsuper from pg_roles where rolname = current_user")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert!(superuser);
    let wrong = stack.var("DATABASE_ADMIN_URL").replace("supabase_admin:", "supabase_admin:x");
    assert!(PgConnection::connect(&wrong).await.is_err(), "the superuser's password is asked for");

    // Who is who.
    for (who, servers) in [("HUB_OPERATOR_JWT", 4), ("HUB_VIEWER_JWT", 4), ("HUB_OUTSIDER_JWT", 3)] {
        let (status, rows) = answer(stack.ask_as(who, Method::GET, "/rest/v1/hub_servers?select=name")).await;
        assert_eq!((status, rows.as_array().map(Vec::len)), (200, Some(servers)), "{who} {rows}");
    }
    let roles: Vec<(String, i64)> =
        sqlx::query_as("select role, count(*) from public.hub_members group by role order by role")
            .fetch_all(&mut owner)
            .await
            .unwrap();
    assert_eq!(roles, [("operator".into(), 4), ("viewer".into(), 4)]);
    let (status, devices) =
        answer(stack.ask_as("HUB_DEVICE_JWT", Method::GET, "/rest/v1/mesh_devices?select=name,serves_all")).await;
    assert_eq!((status, devices), (200, json!([{"name": "dev", "serves_all": true}])));

    // Nobody started its worker: it is enrolled, with what it will offer, and not there.
    let offers = answer(stack.ask_as(
        "HUB_DEVICE_JWT",
        Method::GET,
        "/rest/v1/mesh_devices?select=last_heartbeat_at,capacity,agents->0->>agent",
    ))
    .await;
    assert_eq!(offers, (200, json!([{"last_heartbeat_at": null, "capacity": 4, "agent": "survey"}])));
    let task: String = sqlx::query_scalar(
        "select public.hub_send(c.id, 'look') -> 'task' ->> 'id' from public.hub_channels c where c.name = 'quick'",
    )
    .fetch_one(&mut owner)
    .await
    .unwrap();
    let (reason, detail): (String, String) =
        sqlx::query_as("select e.reason, e.detail from public.hub_explain_task($1::uuid) e")
            .bind(task)
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!((reason.as_str(), detail.contains("hub worker --device dev")), ("no device online", true), "{detail}");

    // The folders that channels name, and a project to try things on.
    let project = dir.join("projects/Desktop/homelab");
    assert!(project.join("README.md").is_file() && project.join(".git").is_dir());
    assert!(dir.join("projects/Desktop/Comp-Core/core/runtime").is_dir());

    let rows: i64 = sqlx::query_scalar("insert into public.mac_tasks (content) values ('kept') returning 1::bigint")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(rows, 1);
    let pid = postmaster(&dir).unwrap();
    let (operator, secret) = (stack.var("HUB_OPERATOR_JWT").to_owned(), stack.var("SUPABASE_JWT_SECRET").to_owned());
    // Open connections do not hold it up.
    let took = stack.stop().await;
    println!("stopped in {:.2} s", took.as_secs_f64());
    assert!(took < BUSY && !alive(pid) && !env.exists());
    drop((owner, admin));

    // Again: everything is kept.
    fs::write(project.join("mine.txt"), "x").unwrap();
    let began = Instant::now();
    let stack = Stack::start_with(options(&dir)).await;
    println!("ready again in {:.2} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < BUSY);
    assert_eq!(stack.var("SUPABASE_JWT_SECRET"), secret);
    let (status, tasks) = answer(stack.ask_as(
        "SUPABASE_SERVICE_ROLE_KEY",
        Method::GET,
        "/rest/v1/mac_tasks?content=eq.kept&select=content",
    ))
    .await;
    assert_eq!((status, tasks), (200, json!([{"content": "kept"}])));
    let (status, _) = answer(stack.ask(Method::GET, "/auth/v1/user").bearer_auth(&operator)).await;
    assert_eq!(status, 200, "tokens given out before are still good");
    stack.stop().await;

    // Anew: the database and the secrets, and nothing else.
    let mut anew = options(&dir);
    anew.reset = true;
    let stack = Stack::start_with(anew).await;
    assert_ne!(stack.var("SUPABASE_JWT_SECRET"), secret);
    let (_, tasks) =
        answer(stack.ask_as("SUPABASE_SERVICE_ROLE_KEY", Method::GET, "/rest/v1/mac_tasks?select=id")).await;
    assert_eq!(tasks, json!([]));
    assert!(project.join("mine.txt").is_file());
    stack.stop().await;
}

/// As somebody who knows no password of this stack: a role of it, and a guess.
async fn opens(stack: &Stack, role: &str, password: &str) -> bool {
    let mut url = url::Url::parse(stack.var("DATABASE_URL")).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(password)).unwrap();
    PgConnection::connect(url.as_str()).await.is_ok()
}

#[tokio::test]
async fn the_password_postgres_is_refused() {
    let home = home();
    let dir = home.path().join("hub");
    let stack = Stack::start_with(options(&dir)).await;
    let password = |stack: &Stack| {
        url::Url::parse(stack.var("DATABASE_URL")).unwrap().password().map(str::to_owned).unwrap_or_default()
    };
    let first = password(&stack);
    assert!(first.len() >= 32);

    // Who may sign in at all, and how.
    let mut admin = PgConnection::connect(stack.var("DATABASE_ADMIN_URL")).await.unwrap();
    let methods: Vec<String> =
        sqlx::query_scalar("select distinct auth_method from pg_hba_file_rules").fetch_all(&mut admin).await.unwrap();
    assert_eq!(methods, ["scram-sha-256"]);
    let roles: Vec<(String, Option<String>)> =
        sqlx::query_as("select rolname::text, rolpassword from pg_authid where rolcanlogin")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    assert!(roles.iter().any(|(name, _)| name == "postgres") && roles.iter().any(|(name, _)| name == "authenticator"));
    for (role, stored) in &roles {
        assert!(stored.as_deref().is_none_or(|stored| stored.starts_with("SCRAM-SHA-256$")), "{role}");
        for guess in
            [role.as_str(), "postgres", "password", "supabase", "supabase_admin", "admin", "root", "secret", "123456"]
        {
            assert!(!opens(&stack, role, guess).await, "{role} signs in with {guess}");
        }
    }
    assert!(opens(&stack, "postgres", &first).await, "and the password of dev.env is the right one");

    // It is where the other secrets are, and nowhere else.
    assert!(fs::read_to_string(dir.join("secrets.json")).unwrap().contains(&first));
    let told = format!("{} {:?}", stack.ready, stack.events.lock().unwrap());
    assert!(!told.contains(&first) && told.contains("postgres://postgres@127.0.0.1:"), "{told}");
    assert!(!fs::read_to_string(dir.join("postgres.log")).unwrap().contains(&first));

    // As the README says it. (No psql, nothing to ask.)
    let line = r#"psql "$(grep ^DATABASE_URL "$0" | cut -d= -f2-)" -XAtc 'select current_user'"#;
    let env = dir.join("dev.env");
    let said = std::process::Command::new("sh").arg("-c").arg(line).arg(&env).output().unwrap();
    if said.status.code() != Some(127) {
        assert_eq!(
            String::from_utf8_lossy(&said.stdout).trim(),
            "postgres",
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
    }

    // A directory of before: no password among the secrets, and the one that everybody knows in the database.
    sqlx::query("alter role postgres password 'postgres'").execute(&mut admin).await.unwrap();
    assert!(opens(&stack, "postgres", "postgres").await, "this is what it was like");
    drop(admin);
    stack.stop().await;
    let secrets = dir.join("secrets.json");
    let mut old: serde_json::Value = serde_json::from_str(&fs::read_to_string(&secrets).unwrap()).unwrap();
    old.as_object_mut().unwrap().remove("postgres_password");
    fs::write(&secrets, old.to_string()).unwrap();

    let stack = Stack::start_with(options(&dir)).await;
    let second = password(&stack);
    assert_ne!(second, first);
    assert!(!opens(&stack, "postgres", "postgres").await && !opens(&stack, "postgres", &first).await);
    assert!(opens(&stack, "postgres", &second).await);
    assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o600);
    stack.stop().await;
    let stack = Stack::start_with(options(&dir)).await;
    assert_eq!(password(&stack), second, "it is kept");
    stack.stop().await;
}

/// What is Supabase's to give and a bare Postgres keeps to superusers.
#[tokio::test]
async fn postgres_makes_and_drops_what_lint_asks_and_sees_what_was_asked() {
    let home = home();
    let dir = home.path().join("hub");
    let stack = Stack::start_with(options(&dir)).await;
    let mut owner = PgConnection::connect(stack.var("DATABASE_URL")).await.unwrap();
    let available: Vec<String> = sqlx::query_scalar(
        "select name::text from pg_available_extensions where name in ('plpgsql_check', 'pg_stat_statements')",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let is_there = |name: &str| available.iter().any(|one| one == name);
    if is_there("plpgsql_check") {
        let owned = "select extowner::regrole::text from pg_extension where extname = 'plpgsql_check'";
        // As `supabase db lint` and `supabase db reset` do, again and again.
        for _ in 0..2 {
            for statement in [
                "begin; create extension if not exists plpgsql_check; select plpgsql_check_function('public.hub_send'::regproc); rollback",
                "create extension if not exists plpgsql_check with schema extensions",
                "select plpgsql_check_function('public.hub_send'::regproc)",
            ] {
                sqlx::raw_sql(statement).execute(&mut owner).await.unwrap();
            }
            assert_eq!(sqlx::query_scalar::<_, String>(owned).fetch_one(&mut owner).await.unwrap(), "postgres");
            sqlx::raw_sql("do $$ begin execute format('drop extension if exists %I cascade', 'plpgsql_check'); end $$")
                .execute(&mut owner)
                .await
                .unwrap();
        }
        // That one, and no other.
        for other in ["create extension if not exists file_fdw -- plpgsql_check", "create extension dblink"] {
            let refused = sqlx::raw_sql(other).execute(&mut owner).await.unwrap_err();
            let code = refused.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
            assert!(matches!(code.as_deref(), Some("42501" | "0A000" | "58P01")), "{other}: {refused}");
        }
    }
    if is_there("pg_stat_statements") {
        let calls = "select coalesce(sum(calls), 0)::bigint from pg_stat_statements where query ilike '%hub_servers%'";
        assert!(sqlx::query_scalar::<_, i64>(calls).fetch_one(&mut owner).await.unwrap() > 0);
        let told = "select count(*) from pg_stat_statements where query ~* 'role \\w+ .*password'";
        assert_eq!(
            sqlx::query_scalar::<_, i64>(told).fetch_one(&mut owner).await.unwrap(),
            0,
            "no password among them"
        );
    }
    owner.close().await.unwrap();

    // Where the library can not be loaded, it goes without.
    let mut admin = PgConnection::connect(stack.var("DATABASE_ADMIN_URL")).await.unwrap();
    sqlx::raw_sql("alter system set dynamic_library_path = '/nowhere'").execute(&mut admin).await.unwrap();
    admin.close().await.unwrap();
    stack.stop().await;
    Stack::start_with(options(&dir)).await.stop().await;
}

/// `supabase db reset` while it runs: the people are there again, with the ids that their tokens name.
#[tokio::test]
async fn people_and_members_are_there_again_after_a_reset_of_the_database() {
    let stack = Stack::start().await;
    let servers = || answer(stack.ask_as("HUB_OPERATOR_JWT", Method::GET, "/rest/v1/hub_servers?select=name"));
    let again = async |count: usize| {
        let looking = async {
            loop {
                let (status, rows) = servers().await;
                if status == 200 && rows.as_array().map(Vec::len) == Some(count) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), looking).await.expect("they are members again");
    };
    again(4).await;
    // What it empties, and what comes later: a server of the seed.
    stack.sql("delete from public.hub_members; truncate auth.users cascade").await;
    again(4).await;
    stack
        .sql("insert into public.hub_servers (name, display_name, architecture_type, access) values ('late', 'Late', 'flat_task_pipeline', 'members')")
        .await;
    again(5).await;
    let (email, password) = (stack.var("HUB_OPERATOR_EMAIL"), stack.var("HUB_OPERATOR_PASSWORD"));
    let grant = stack.ask(Method::POST, "/auth/v1/token?grant_type=password");
    let (status, session) = answer(grant.json(&json!({"email": email, "password": password}))).await;
    assert_eq!(status, 200, "{session}");
    let (status, user) = answer(stack.ask_as("HUB_OPERATOR_JWT", Method::GET, "/auth/v1/user")).await;
    assert_eq!((status, &user["id"]), (200, &session["user"]["id"]));
    let mut owner = PgConnection::connect(stack.var("DATABASE_URL")).await.unwrap();
    let devices: i64 =
        sqlx::query_scalar("select count(*) from mesh_devices where name = 'dev' and user_id is not null")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!(devices, 1);
    owner.close().await.unwrap();
    stack.stop().await;
}

#[tokio::test]
async fn postgres_does_not_inherit_hub_devs_secrets() {
    // Run by itself below, with a secret in its environment.
    if std::env::var_os("HUB_TEST_TOLD").is_some() {
        let stack = Stack::start().await;
        let mut admin = PgConnection::connect(stack.var("DATABASE_ADMIN_URL")).await.unwrap();
        sqlx::raw_sql("create temp table said (line text); copy said from program 'env'")
            .execute(&mut admin)
            .await
            .unwrap();
        let said: Vec<String> = sqlx::query_scalar("select line from said").fetch_all(&mut admin).await.unwrap();
        assert!(said.iter().any(|line| line.starts_with("PATH=")), "{said:?}");
        assert!(!said.iter().any(|line| line.contains("hush")), "{said:?}");
        drop(admin);
        stack.stop().await;
        return;
    }
    let said = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgres_does_not_inherit_hub_devs_secrets"])
        .env("HUB_TEST_TOLD", "hush")
        .env("DISCORD_BOT_TOKEN", "hush")
        .env("ANTHROPIC_API_KEY", "hush")
        .output()
        .await
        .unwrap();
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

#[tokio::test]
async fn a_second_hub_dev_and_ports_in_use_fail_with_what_to_do() {
    let home = home();
    let dir = home.path().join("hub");
    let stack = Stack::start_with(options(&dir)).await;
    let second = fails(options(&dir)).await;
    assert!(matches!(second, Error::AlreadyRunning(_)), "{second}");
    let mut anew = options(&dir);
    anew.reset = true;
    assert!(matches!(fails(anew).await, Error::AlreadyRunning(_)), "not even a reset");
    assert!(dir.join("dev.env").is_file() && stack.dir.join("postgres/postmaster.pid").is_file());

    let port = |url: &str| url::Url::parse(url).unwrap().port().unwrap();
    let mut other = options(&home.path().join("other"));
    other.port = port(&stack.ready.api_url);
    let said = fails(other.clone()).await.to_string();
    assert!(said.contains(&other.port.to_string()) && said.contains("--port"), "{said}");
    other.port = 0;
    other.db_port = port(stack.var("DATABASE_URL"));
    let said = fails(other.clone()).await.to_string();
    assert!(said.contains(&other.db_port.to_string()) && said.contains("--db-port"), "{said}");
    stack.stop().await;
}

#[tokio::test]
async fn broken_data_is_named_and_a_reset_repairs_it() {
    let home = home();
    let dir = home.path().join("hub");
    Stack::start_with(options(&dir)).await.stop().await;
    let version = dir.join("postgres/PG_VERSION");
    let kept = fs::read(&version).unwrap();

    for (damage, says) in [(None, "incomplete"), (Some("9\n"), "Postgres 9"), (Some("rubbish"), "incomplete")] {
        match damage {
            Some(text) => fs::write(&version, text).unwrap(),
            None => fs::remove_file(&version).unwrap(),
        }
        let said = fails(options(&dir)).await.to_string();
        assert!(said.contains("--reset") && said.contains(says), "{said}");
    }
    fs::write(&version, &kept).unwrap();
    let secrets = dir.join("secrets.json");
    let text = fs::read(&secrets).unwrap();
    fs::remove_file(&secrets).unwrap();
    let said = fails(options(&dir)).await.to_string();
    assert!(said.contains("--reset") && said.contains("secrets.json"), "{said}");
    fs::write(&secrets, &text).unwrap();

    // A schema from another version of the program.
    let stack = Stack::start_with(options(&dir)).await;
    stack.sql("update hub_internal.refinery_schema_history set checksum = '1' where version = (select min(version) from hub_internal.refinery_schema_history)").await;
    stack.stop().await;
    let error = fails(options(&dir)).await;
    assert!(matches!(error, Error::Schema(_)) && error.to_string().contains("--reset"), "{error}");
    assert!(!dir.join("dev.env").exists());

    let mut anew = options(&dir);
    anew.reset = true;
    Stack::start_with(anew).await.stop().await;

    // Not ours: not even with --reset.
    let foreign = home.path().join("documents");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("postgres"), "a file of mine").unwrap();
    let mut anew = options(&foreign);
    anew.reset = true;
    assert!(matches!(fails(anew).await, Error::NotOurs(_)));
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);
}

#[tokio::test]
async fn a_postgres_left_by_a_killed_hub_is_stopped_and_one_that_dies_is_started_again() {
    // Run by itself below: the hub that is killed, in a process of its own.
    if let Some(dir) = std::env::var_os("HUB_TEST_LEFT_BEHIND") {
        let _stack = Stack::start_with(options(Path::new(&dir))).await;
        kill(Pid::this(), Signal::SIGKILL).unwrap();
    }

    let home = home();
    let dir = home.path().join("hub");
    let stack = Stack::start_with(options(&dir)).await;

    // Postgres dies: it comes back by itself, and so do those that use it.
    let first = postmaster(&dir).unwrap();
    kill(first, Signal::SIGKILL).unwrap();
    let deadline = Instant::now() + BUSY;
    loop {
        let (status, _) =
            answer(stack.ask_as("HUB_OPERATOR_JWT", Method::GET, "/rest/v1/hub_servers?select=name")).await;
        // A backend outlives its postmaster for a moment, and answers.
        if status == 200 && postmaster(&dir).is_some_and(|now| now != first) {
            break;
        }
        assert!(Instant::now() < deadline, "still {status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let warned = stack.events.lock().unwrap().iter().any(|event| matches!(event, DevEvent::Warning(_)));
    assert!(warned);
    stack.stop().await;

    // The hub dies: its Postgres stays behind.
    let said = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "dev::a_postgres_left_by_a_killed_hub_is_stopped_and_one_that_dies_is_started_again"])
        .env("HUB_TEST_LEFT_BEHIND", &dir)
        .output()
        .await
        .unwrap();
    assert!(!said.status.success(), "it was killed");
    let left = postmaster(&dir).unwrap();
    assert!(alive(left), "{}", String::from_utf8_lossy(&said.stdout));
    let stack = Stack::start_with(options(&dir)).await;
    assert!(!alive(left) && postmaster(&dir) != Some(left));
    let (status, _) = answer(stack.ask(Method::GET, "/health")).await;
    assert_eq!(status, 200);
    stack.stop().await;
}

#[tokio::test]
async fn stopping_during_start_up_ends_it() {
    let home = home();
    for (at, wait) in [0, 50, 200, 500, 700, 900].into_iter().enumerate() {
        let dir = home.path().join(format!("hub{at}"));
        let stop = CancellationToken::new();
        let began = Instant::now();
        let running = tokio::spawn(run(options(&dir), stop.clone(), |_| {}));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        stop.cancel();
        running.await.unwrap().unwrap();
        assert!(began.elapsed() < BUSY);
        assert!(!dir.join("postgres/postmaster.pid").exists() && !dir.join("dev.env").exists());
        assert_eq!(unfinished(&dir), Vec::<String>::new());
        // And what is there is whole.
        let stack = Stack::start_with(options(&dir)).await;
        assert_eq!(read_env(&dir.join("dev.env")).len(), stack.env.len());
        stack.stop().await;
    }
}

/// What an interrupted initdb may leave: half a cluster, a file with a password.
fn unfinished(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name == "postgres.new" || name.starts_with("pw-")).collect()
}

#[tokio::test]
async fn a_stop_during_initdb_leaves_neither_half_a_cluster_nor_its_password() {
    let home = home();
    let dir = home.path().join("hub");
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(options(&dir), stop.clone(), |_| {}));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !dir.join("postgres.new/global").exists() {
        assert!(Instant::now() < deadline && !running.is_finished(), "initdb was not seen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(unfinished(&dir).len(), 2);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(unfinished(&dir), Vec::<String>::new());

    // Where nothing could be removed, as when the machine went off, the next start does.
    fs::create_dir_all(dir.join("postgres.new/base")).unwrap();
    fs::write(dir.join("pw-a1B2c3D4"), "hush").unwrap();
    let stack = Stack::start_with(options(&dir)).await;
    assert_eq!(unfinished(&dir), Vec::<String>::new());
    stack.stop().await;
}

#[tokio::test]
async fn options_that_can_not_be_meant_are_refused_before_anything_is_made() {
    let home = home();
    let dir = home.path().join("hub");
    let mut missing = options(&dir);
    missing.projects_root = Some(home.path().join("nope"));
    let said = fails(missing).await.to_string();
    assert!(said.contains("nope") && said.contains("--projects-root"), "{said}");
    let mut same = options(&dir);
    (same.port, same.db_port) = (54999, 54999);
    let said = fails(same).await.to_string();
    assert!(said.contains("--port and --db-port are both 54999"), "{said}");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn another_projects_root_gets_only_the_missing_folders() {
    let home = home();
    let root = home.path().join("work");
    fs::create_dir_all(root.join("Desktop/homelab")).unwrap();
    let mut elsewhere = options(&home.path().join("hub"));
    elsewhere.projects_root = Some(root.clone());
    let stack = Stack::start_with(elsewhere).await;
    assert_eq!(fs::read_dir(root.join("Desktop/homelab")).unwrap().count(), 0);
    assert!(root.join("Desktop/Comp-Core/core/agents").is_dir());
    assert!(!stack.dir.join("projects").exists());
    stack.stop().await;
}

#[tokio::test]
async fn runs_as_root_below_a_closed_home() {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let dir = home.path().join("hub");
    Stack::start_with(options(&dir)).await.stop().await;
    let stack = Stack::start_with(options(&dir)).await;
    stack.stop().await;
    hub_local::postgres::Place::remove_cluster(&dir).unwrap();
}

#[tokio::test]
async fn a_message_is_run_by_the_worker_in_the_same_process() {
    let home = home();
    let mut with_worker = options(&home.path().join("hub"));
    with_worker.worker = true;
    let stack = Stack::start_with(with_worker).await;
    let operator = "HUB_OPERATOR_JWT";
    let (_, channels) =
        answer(stack.ask_as(operator, Method::GET, "/rest/v1/hub_channels?select=id&name=eq.quick")).await;
    let channel = &channels[0]["id"];
    let (status, sent) = answer(
        stack
            .ask_as(operator, Method::POST, "/rest/v1/rpc/hub_send")
            .json(&json!({"p_channel_id": channel, "p_content": "What is in this folder?"})),
    )
    .await;
    assert_eq!(status, 200, "{sent}");
    let path = format!(
        "/rest/v1/hub_channel_messages?select=seq,content,content_type&channel_id=eq.{}&order=seq.asc",
        channel.as_str().unwrap()
    );
    let deadline = Instant::now() + Duration::from_secs(20);
    let messages = loop {
        let (_, messages) = answer(stack.ask_as(operator, Method::GET, &path)).await;
        let done = |message: &serde_json::Value| matches!(message["content_type"].as_str(), Some("result" | "error"));
        if messages.as_array().unwrap().iter().any(done) {
            break messages;
        }
        assert!(Instant::now() < deadline, "{messages}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let messages = messages.as_array().unwrap();
    let last = messages.last().unwrap()["content"].as_str().unwrap();
    assert!(last.starts_with('✅') && last.contains("complete [survey/dev]"), "{last}");
    assert!(last.contains("README.md") || last.contains("check.py"), "it looked at the real project: {last}");
    let numbers: Vec<_> = messages.iter().map(|message| message["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    let took = stack.stop().await;
    println!("stopped with a worker in {:.2} s", took.as_secs_f64());
    assert!(took < BUSY);
}
