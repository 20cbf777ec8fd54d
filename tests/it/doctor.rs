//! `hub doctor` as a program: a healthy deployment, and every fault breaks exactly its line.

use axum::{Router, http::StatusCode, routing::any};
use hub::{
    config::read_env_file,
    db::{Db, KeeperSession},
};
use hub_tests::{World, program};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

const BOUND: Duration = Duration::from_secs(120);

struct Found {
    lines: BTreeMap<String, Value>,
    code: i32,
    said: String,
}

impl Found {
    /// Without the lines about this machine, which say what it is.
    fn of(&self, state: &str) -> BTreeSet<&str> {
        let lines = self.lines.iter().filter(|(what, _)| !["open files", "agents' user"].contains(&what.as_str()));
        lines.filter(|(_, line)| line["state"] == state).map(|(what, _)| what.as_str()).collect()
    }

    fn says(&self, what: &str, text: &str) {
        let line = &self.lines[what];
        let whole = format!("{} {}", line["detail"], line["remedy"]);
        assert!(whole.contains(text), "{what}: {whole}");
    }

    /// Only these lines are wrong, each says what to do, and the program fails.
    fn only_wrong(&self, what: &[&str]) {
        assert_eq!(self.of("wrong"), what.iter().copied().collect(), "{}", self.said);
        assert_eq!(self.code, i32::from(!what.is_empty()), "{}", self.said);
        for line in self.lines.values().filter(|line| line["state"] != "ok") {
            assert!(line["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{line}");
        }
    }
}

/// Nothing but what is given: no environment of this machine, no `hub dev` that happens to run.
async fn doctor(arguments: &[&str], environment: &[(&str, &str)]) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let ended = Command::new(program())
        .args(["doctor", "--json"])
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    for (name, value) in environment.iter().filter(|(name, _)| name.contains("KEY") || name.contains("TOKEN")) {
        assert!(!said.contains(value), "{name} is shown: {said}");
    }
    let lines: Vec<Value> = serde_json::from_slice(&ended.stdout).unwrap_or_else(|_| panic!("{said}"));
    let lines = lines.into_iter().map(|line| (line["what"].as_str().unwrap().to_owned(), line)).collect();
    Found { lines, code: ended.status.code().unwrap(), said }
}

/// Migrated, an owner everywhere, a device that is heard of: all that a look into Postgres asks for, but for a keeper.
async fn deployed() -> World {
    let world = World::new().await;
    world
        .sql(
            "insert into auth.users (id, email, aud, role) values ('00000000-0000-4000-8000-000000000001', 'you@example.com', 'authenticated', 'authenticated');
             select public.hub_set_member(s.id, '00000000-0000-4000-8000-000000000001', 'owner') from public.hub_servers s;
             select public.hub_register_device('mac1', 'macos', '[{\"agent\": \"a\", \"models\": [\"any\"]}]', 1)",
        )
        .await;
    world
}

const OURS: [&str; 12] = [
    "Postgres",
    "connection",
    "migrations",
    "policies",
    "schema",
    "triggers",
    "publication",
    "realtime policies",
    "keeping time",
    "servers",
    "people",
    "devices",
];

#[tokio::test]
async fn each_database_fault_changes_its_own_line_only() {
    let world = deployed().await;
    let url = world.url.expose_secret().to_owned();
    let look = async || doctor(&["--url", &url], &[]).await;

    let healthy = look().await;
    healthy.only_wrong(&[]);
    let mut expected: BTreeSet<&str> = OURS.into_iter().collect();
    expected.remove("keeping time");
    assert_eq!(healthy.of("ok"), expected, "{}", healthy.said);
    assert_eq!(healthy.of("note"), ["keeping time"].into_iter().collect());
    healthy.says("keeping time", "nobody kept time");
    // A keeper that holds no session: its rounds are seen.
    world.sql("select public.hub_post_feeds()").await;
    let kept = look().await;
    assert!(kept.of("note").is_empty(), "{}", kept.said);
    // One machine of two that says nothing any more, and was not put away.
    world
        .sql("select public.hub_register_device('mac2', 'macos', '[]', 1); update public.mesh_devices set last_heartbeat_at = now() - interval '2 minutes' where name = 'mac2'")
        .await;
    let silent = look().await;
    silent.says("silent devices", "mac2");
    silent.says("devices", "online: mac1");
    world.sql("delete from public.mesh_devices where name = 'mac2'").await;
    kept.says("keeping time", "without a session");
    world.sql("delete from hub_internal.kept_time").await;
    assert_eq!(healthy.of("not_checked").len(), 10, "the project's lines: {}", healthy.said);
    healthy.says("function send", "give --url https://");
    assert!(["ok", "note"].contains(&healthy.lines["open files"]["state"].as_str().unwrap()));

    // What breaks it, what mends it, its line, and what the line says.
    for (fault, mend, line, says) in [
        (
            "update hub_internal.refinery_schema_history set checksum = '1' where version = 20261120090100",
            "select 1",
            "migrations",
            "another version",
        ),
        (
            "alter table public.hub_servers disable row level security",
            "alter table public.hub_servers enable row level security",
            "policies",
            "no row level security",
        ),
        (
            "alter table public.hub_outbox disable row level security",
            "alter table public.hub_outbox enable row level security",
            "policies",
            "hub_outbox",
        ),
        (
            "grant truncate on public.mac_tasks to authenticated",
            "revoke truncate on public.mac_tasks from authenticated",
            "policies",
            "mac_tasks",
        ),
        (
            "create policy everything on public.hub_channels for all to authenticated using (true)",
            "drop policy everything on public.hub_channels",
            "policies",
            "everything",
        ),
        (
            "alter function public.hub_send(uuid, text, uuid, text, uuid) security definer",
            "alter function public.hub_send(uuid, text, uuid, text, uuid) security invoker",
            "policies",
            "a definer the API exposes",
        ),
        ("create index odd on public.hub_servers (created_at)", "drop index public.odd", "schema", "odd"),
        (
            "update public.koji_commands set function = 'hub_internal.nothing' where name = 'stats'",
            "update public.koji_commands set function = 'hub_internal.koji_stats' where name = 'stats'",
            "schema",
            "stats",
        ),
        (
            "alter table public.hub_channel_messages disable trigger hub_channel_messages_broadcast",
            "alter table public.hub_channel_messages enable trigger hub_channel_messages_broadcast",
            "triggers",
            "hub_channel_messages_broadcast is off",
        ),
        (
            "alter publication supabase_realtime drop table public.mac_tasks, public.hub_channels",
            "alter publication supabase_realtime add table public.mac_tasks, public.hub_channels",
            "publication",
            "hub_channels is not in supabase_realtime, mac_tasks",
        ),
        (
            "alter policy hub_messages_select_readers on realtime.messages rename to gone",
            "alter policy gone on realtime.messages rename to hub_messages_select_readers",
            "realtime policies",
            "hub_messages_select_readers",
        ),
        (
            "update public.hub_members set role = 'viewer' where server_id = (select id from public.hub_servers where name = 'cloud-hub')",
            "update public.hub_members set role = 'owner'",
            "people",
            "cloud-hub",
        ),
        (
            "update public.mesh_devices set last_heartbeat_at = now() - interval '5 minutes'",
            "update public.mesh_devices set last_heartbeat_at = now()",
            "devices",
            "none of 1 is online",
        ),
        (
            "insert into public.mac_tasks (content) values ('x'); select public.hub_claim_tasks('mac1', 1); update public.mac_tasks set lease_expires_at = now() - interval '5 minutes'",
            "select public.hub_recover()",
            "keeping time",
            "1 tasks or threads are overdue",
        ),
    ] {
        // The checksum is put back as it was; everything else says its own way back.
        let before = world
            .one_text("select checksum from hub_internal.refinery_schema_history where version = 20261120090100")
            .await;
        world.sql(fault).await;
        let found = look().await;
        found.only_wrong(&[line]);
        found.says(line, says);
        world.sql(mend).await;
        world
            .sql(&format!(
                "update hub_internal.refinery_schema_history set checksum = '{before}' where version = 20261120090100"
            ))
            .await;
    }
    let mended = look().await;
    mended.only_wrong(&[]);

    // A function of the contract is gone: which one, and no promise that --repair makes it.
    let made = world.one_text("select pg_get_functiondef('public.hub_explain_task'::regproc)").await;
    let about = world.one_text("select obj_description('public.hub_explain_task'::regproc)").await;
    world.sql("drop function public.hub_explain_task").await;
    let dropped = look().await;
    dropped.only_wrong(&["schema"]);
    dropped.says("schema", "public.hub_explain_task (V20261120090900__api.sql)");
    let repair = hub_migrate::repair(&world.url).await.unwrap_err().to_string();
    assert!(repair.contains("public.hub_explain_task") && repair.contains("`create function`"), "{repair}");
    world.sql(&format!("{made}; comment on function public.hub_explain_task is '{}'", about.replace('\'', "''"))).await;
    let repaired = hub_migrate::repair(&world.url).await.unwrap();
    assert_eq!(repaired.len(), 1, "{repaired:?}");
    look().await.only_wrong(&[]);

    // A newer build was here; Aura's own older tables and another's migrations are nobody's fault.
    world.sql("create table public.hub_threads (id int); insert into supabase_migrations.schema_migrations (version, name) values ('20200101000000', 'theirs')").await;
    look().await.only_wrong(&[]);
    world
        .sql("insert into hub_internal.refinery_schema_history (version, name, applied_on, checksum) values (20990101000000, 'later', '2099-01-01T00:00:00Z', '1')")
        .await;
    let newer = look().await;
    newer.only_wrong(&["migrations"]);
    newer.says("migrations", "V20990101000000__later");

    // Whoever keeps time is named.
    world.sql("delete from hub_internal.refinery_schema_history where version = 20990101000000").await;
    let mut session = KeeperSession::open(&Db::connect(&world.url).await.unwrap()).await.unwrap();
    assert!(session.try_lock().await.unwrap());
    let kept = look().await;
    assert_eq!(kept.lines["keeping time"]["state"], "ok", "{}", kept.said);
    session.close().await;
}

#[tokio::test]
async fn without_migrations_or_postgres_the_other_checks_are_skipped() {
    let world = World::bare().await;
    let bare = doctor(&["--url", world.url.expose_secret()], &[]).await;
    bare.only_wrong(&["migrations"]);
    bare.says("migrations", "hub migrate");
    assert_eq!(bare.of("ok"), ["Postgres", "connection"].into_iter().collect());

    let nowhere = doctor(&["--url", "postgres://postgres:hunter2@127.0.0.1:1/postgres"], &[]).await;
    nowhere.only_wrong(&["Postgres"]);
    assert!(!nowhere.said.contains("hunter2"));
}

#[tokio::test]
async fn port_6543_alone_is_not_taken_for_a_pooler() {
    let world = deployed().await;
    let url = world.url.expose_secret();
    let to = url.split(['@', '/']).nth(3).unwrap().to_owned();
    let pooled = url.replace(&to, "127.0.0.1:6543");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:6543").await.expect("port 6543 is free");
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut to = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    let found = doctor(&["--url", &pooled], &[]).await;
    found.only_wrong(&[]);
    found.says("connection", "LISTEN was tried and is heard");
}

/// A running `hub dev`.
pub(crate) struct Stack {
    child: Child,
    env: BTreeMap<String, String>,
    folder: tempfile::TempDir,
}

impl Stack {
    pub(crate) async fn start(environment: &[(&str, &str)]) -> Stack {
        let folder = tempfile::tempdir().unwrap();
        // As root, the database in it belongs to another user.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Self::start_in(folder, environment).await
    }

    /// Kills `hub dev` where it stands; its Postgres stays.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
        std::fs::remove_file(self.folder.path().join("hub/dev.env")).unwrap();
    }

    /// Another one in its folder.
    pub(crate) async fn start_again(mut self) -> Stack {
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        Self::start_in(folder, &[]).await
    }

    async fn start_in(folder: tempfile::TempDir, environment: &[(&str, &str)]) -> Stack {
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let free =
            || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap().port().to_string();
        let mut child = Command::new(program())
            .args(["dev", "--port", &free(), "--db-port", &free(), "--data-dir"])
            .arg(folder.path().join("hub"))
            .envs(environment.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let file = folder.path().join("hub/dev.env");
        let begun = Instant::now();
        while !file.is_file() {
            assert!(
                child.try_wait().unwrap().is_none() && begun.elapsed() < BOUND,
                "hub dev: {}",
                std::fs::read_to_string(folder.path().join("log")).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Stack { child, env: read_env_file(&file).unwrap(), folder }
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        &self.env[name]
    }

    pub(crate) fn data_dir(&self) -> String {
        self.folder.path().join("hub").display().to_string()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) async fn text(&self, sql: &'static str) -> String {
        let pool = sqlx::PgPool::connect(self.get("DATABASE_URL")).await.unwrap();
        let text = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
        pool.close().await;
        text
    }

    pub(crate) async fn sql(&self, sql: &str) {
        let pool = sqlx::PgPool::connect(self.get("DATABASE_URL")).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&pool).await.unwrap();
        pool.close().await;
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
            let begun = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < BOUND {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

const PROJECT: [&str; 10] = [
    "project",
    "keys",
    "realtime",
    "function answer",
    "function github-webhook",
    "function hooks-agent",
    "function koji-discord-bot",
    "function send",
    "function telegram-webhook",
    "secrets",
];

#[tokio::test]
async fn a_healthy_deployment_passes_with_each_credential() {
    let public = "00".repeat(32);
    let stack = Stack::start(&[
        ("GITHUB_WEBHOOK_SECRET", "github"),
        ("TELEGRAM_WEBHOOK_SECRET", "telegram"),
        ("DISCORD_PUBLIC_KEY", &public),
    ])
    .await;
    let url = stack.get("SUPABASE_URL");
    let (service, anon, database) =
        (stack.get("SUPABASE_SERVICE_ROLE_KEY"), stack.get("SUPABASE_ANON_KEY"), stack.get("DATABASE_URL"));

    // All of it: as somebody beside the running `hub dev` asks, and as somebody with the addresses.
    let everything: BTreeSet<&str> = OURS.into_iter().chain(PROJECT).collect();
    let here = doctor(&["--data-dir", stack.folder.path().join("hub").to_str().unwrap()], &[]).await;
    here.only_wrong(&[]);
    assert_eq!(here.of("ok"), everything, "{}", here.said);
    let named = doctor(
        &["--url", url],
        &[("SUPABASE_SERVICE_ROLE_KEY", service), ("SUPABASE_ANON_KEY", anon), ("DATABASE_URL", database)],
    )
    .await;
    named.only_wrong(&[]);
    assert_eq!(named.of("ok"), everything, "{}", named.said);

    // Without any key: what anybody on the net sees.
    let stranger = doctor(&["--url", url], &[]).await;
    stranger.only_wrong(&[]);
    assert_eq!(stranger.of("ok"), PROJECT.into_iter().filter(|what| !["keys", "realtime"].contains(what)).collect());
    stranger.says("keys", "SUPABASE_SERVICE_ROLE_KEY");
    stranger.says("policies", "DATABASE_URL");

    let keeper = doctor(&["--url", url], &[("SUPABASE_SERVICE_ROLE_KEY", service)]).await;
    keeper.only_wrong(&[]);
    assert_eq!(
        keeper.of("not_checked"),
        OURS.into_iter().filter(|what| !["servers", "people", "devices"].contains(what)).collect()
    );

    let person = [("HUB_TOKEN", stack.get("HUB_VIEWER_JWT")), ("SUPABASE_ANON_KEY", anon)];
    let viewer = doctor(&["--url", url], &person).await;
    viewer.only_wrong(&[]);
    assert_eq!(viewer.of("ok"), PROJECT.into_iter().collect(), "{}", viewer.said);

    // Keys.
    let forged = format!("{}x", &service[..service.len() - 1]);
    let bad = doctor(&["--url", url], &[("SUPABASE_SERVICE_ROLE_KEY", &forged)]).await;
    bad.only_wrong(&["keys"]);
    bad.says("keys", "SUPABASE_SERVICE_ROLE_KEY is refused");
    let mistaken = doctor(&["--url", url], &[("SUPABASE_SERVICE_ROLE_KEY", anon)]).await;
    mistaken.only_wrong(&["keys"]);

    // A person hears by the policies; the service key would not notice.
    stack.sql("alter policy hub_messages_select_readers on realtime.messages to service_role").await;
    let deaf = doctor(&["--url", url], &person).await;
    deaf.only_wrong(&["realtime"]);
    stack.sql("alter policy hub_messages_select_readers on realtime.messages to authenticated").await;

    let away = doctor(&["--url", "http://127.0.0.1:1"], &[]).await;
    away.only_wrong(&["project"]);
}

#[tokio::test]
async fn missing_provider_secrets_are_noted_and_are_no_fault() {
    let stack = Stack::start(&[("TELEGRAM_WEBHOOK_SECRET", "telegram")]).await;
    let found = doctor(&["--url", stack.get("SUPABASE_URL")], &[]).await;
    found.only_wrong(&[]);
    assert_eq!(found.of("note"), ["secrets"].into_iter().collect(), "{}", found.said);
    found.says("secrets", "not set: GITHUB_WEBHOOK_SECRET, DISCORD_PUBLIC_KEY");
}

/// What Supabase's gateway says of a function that is not there, that wants a token first, that does not start, or is another's.
#[tokio::test]
async fn each_way_a_function_is_deployed_wrongly_is_named() {
    let answer = |status: u16, body: &'static str| {
        any(
            move || async move { (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], body) },
        )
    };
    let good =
        || any(|| async { (StatusCode::METHOD_NOT_ALLOWED, [("content-type", "application/problem+json")], "{}") });
    let router = Router::new()
        .route("/functions/v1/answer", good())
        .route(
            "/functions/v1/github-webhook",
            answer(404, r#"{"code":"NOT_FOUND","message":"Requested function was not found"}"#),
        )
        .route("/functions/v1/hooks-agent", answer(401, r#"{"code":401,"message":"Missing authorization header"}"#))
        .route(
            "/functions/v1/koji-discord-bot",
            answer(503, r#"{"code":"BOOT_ERROR","message":"Function failed to start (please check logs)"}"#),
        )
        .route("/functions/v1/send", answer(200, "{}"))
        .route("/functions/v1/telegram-webhook", good());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let found = doctor(&["--url", &url], &[]).await;
    found.only_wrong(&[
        "function github-webhook",
        "function hooks-agent",
        "function koji-discord-bot",
        "function send",
    ]);
    found.says("function github-webhook", "functions deploy github-webhook");
    found.says("function hooks-agent", "verify_jwt");
    found.says("function koji-discord-bot", "WebAssembly");
    assert_eq!(found.lines["function telegram-webhook"]["state"], "ok");
}

/// A list that was given before buttons were known is kept by Telegram until another one is given.
#[tokio::test]
async fn a_telegram_webhook_that_sends_no_presses_is_named() {
    use axum::{Json, routing::get};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ours = format!("{url}/functions/v1/telegram-webhook");
    let info = move |place: String, updates: serde_json::Value| {
        get(move || async move {
            Json(serde_json::json!({"ok": true, "result": {"url": place, "allowed_updates": updates}}))
        })
    };
    let router = Router::new()
        .route("/bot1:all/getWebhookInfo", info(ours.clone(), serde_json::Value::Null))
        .route("/bot1:listed/getWebhookInfo", info(ours.clone(), serde_json::json!(["message", "callback_query"])))
        .route("/bot1:old/getWebhookInfo", info(ours, serde_json::json!(["message", "edited_message"])))
        .route("/bot1:none/getWebhookInfo", info(String::new(), serde_json::json!([])))
        .fallback(|| async { Json(serde_json::json!({"ok": false, "error_code": 404, "description": "Not Found"})) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let look = async |token: &str| {
        let found = doctor(&["--url", &url], &[("TELEGRAM_BOT_TOKEN", token), ("HUB_TELEGRAM_API_URL", &url)]).await;
        assert!(!found.said.contains(token), "{}", found.said);
        found
    };
    for (token, state, says) in [
        ("1:all", "ok", "what is pressed"),
        ("1:listed", "ok", "what is pressed"),
        ("1:old", "wrong", "lack callback_query"),
        ("1:none", "note", "not set"),
        ("1:forged", "wrong", "TELEGRAM_BOT_TOKEN"),
    ] {
        let found = look(token).await;
        assert_eq!(found.lines["telegram webhook"]["state"], state, "{}", found.said);
        found.says("telegram webhook", says);
    }
    assert!(!doctor(&["--url", &url], &[]).await.lines.contains_key("telegram webhook"));
}
