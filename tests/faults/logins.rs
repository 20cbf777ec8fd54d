//! Accounts that several agents and machines have: a token to refresh a login with is good for one use (openai/codex#10332,
//! anthropics/claude-code#24317), and what one agent tells of a limit holds for all.

use std::path::{Path, PathBuf};

use chrono::{TimeDelta, Utc};
use hub_tests::{World, program, wait, write_program};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::work::{open, told_once};

/// The agent of the codecs' tests under the name of a program whose login is known, of the account `team`.
fn agent(world: &World) -> Value {
    let agent: PathBuf = program().parent().unwrap().join("examples/acp_agent");
    assert!(agent.exists(), "{} is missing: cargo test -p hub-agents builds it", agent.display());
    let named = world.root().join("claude");
    if !named.exists() {
        std::os::unix::fs::symlink(agent, &named).unwrap();
    }
    json!({ "agent": "claude", "models": ["any"], "kind": "acp", "program": named, "account": "team" })
}

/// A login that expires in a minute, in a folder that all machines see.
fn login(world: &World) -> PathBuf {
    let folder = world.root().join(".shared");
    std::fs::create_dir_all(&folder).unwrap();
    let expires = (Utc::now() + TimeDelta::minutes(1)).timestamp_millis();
    let login = json!({"claudeAiOauth": {"accessToken": "a", "refreshToken": "one", "expiresAt": expires}});
    std::fs::write(folder.join("login.json"), login.to_string()).unwrap();
    folder
}

/// A machine's own folder, in which the login is: no lock beside it is seen by another machine.
fn home(world: &World, device: &str, shared: &Path) -> String {
    let home = world.root().join(format!(".home-{device}"));
    std::fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::symlink(shared.join("login.json"), home.join(".credentials.json")).unwrap();
    home.display().to_string()
}

/// What a worker is started with on a machine whose login is in this folder: no key takes its place.
fn environment(home: &str) -> [(&str, &str); 4] {
    let [one, two, three] =
        ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"].map(|key| (key, ""));
    [("CLAUDE_CONFIG_DIR", home), one, two, three]
}

/// The tokens that were used.
fn used(shared: &Path) -> Vec<String> {
    let names = std::fs::read_dir(shared).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("used-")).collect()
}

#[tokio::test]
async fn codex_10332_two_workers_of_one_account_refresh_its_login_exactly_once() {
    let world = World::new().await;
    let shared = login(&world);
    let mut workers = Vec::new();
    for device in ["w1", "w2"] {
        let home = home(&world, device, &shared);
        workers.push(world.worker_with(device, &[agent(&world)], &environment(&home)).await);
    }
    let mut tasks = Vec::new();
    // Two at each: one machine's own wait for each other, too.
    for device in ["w1", "w2", "w1", "w2"] {
        tasks.push(world.send_with("refresh say:done", &format!("requested_device = '{device}'")).await);
    }
    for task in tasks {
        told_once(&world, task, "complete").await;
        let attempts = "select count(*) from public.hub_task_attempts where task_id = $1";
        assert_eq!(world.count(attempts, task).await, 1, "a login was refused");
    }
    assert_eq!(used(&shared), ["used-one"]);
    assert_eq!(world.count_all("select count(*) from hub_internal.login_leases where until > now()").await, 0);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn claude_code_24317_a_machine_that_died_while_it_refreshed_keeps_nobody_waiting_for_longer_than_its_lease() {
    let world = World::new().await;
    let shared = login(&world);
    let home = home(&world, "w1", &shared);
    let worker = world.worker_with("w1", &[agent(&world)], &environment(&home)).await;
    world
        .sql(
            r#"select public.hub_register_device('gone', 'linux', '[{"agent": "claude", "models": ["any"], "account": "team", "program": "claude"}]', 1);
               select public.hub_lease_login('gone', 'claude', 'gone', 4)"#,
        )
        .await;
    let task = world.send_with("refresh say:done", "requested_device = 'w1'").await;
    told_once(&world, task, "complete").await;
    assert_eq!(used(&shared), ["used-one"]);
    let waited = "select (a.agent_started_at - a.started_at > interval '3 seconds')::text from public.hub_task_attempts a where a.task_id = $1";
    assert_eq!(world.text(waited, task).await, "true");
    worker.stop().await;
}

/// A program that speaks as Claude does: most of its account is used, and it works on until the gate is open.
const NEARLY_DRY: &str = r#"#!/bin/sh
read -r asked
echo '{"type":"system","subtype":"init","session_id":"s","model":"m"}'
at=$(($(date +%s) + 3600))
echo '{"type":"rate_limit_event","rate_limit_info":{"status":"allowed_warning","resetsAt":'$at',"rateLimitType":"five_hour","utilization":0.87}}'
until [ -e GATE ]; do sleep 0.02; done
echo '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s","num_turns":1}'
"#;

#[tokio::test]
async fn what_is_kept_of_an_account_for_people_is_kept_while_an_attempt_still_runs() {
    let world = World::new().await;
    let nearly_dry = world.root().join("nearly-dry");
    write_program(&nearly_dry, &NEARLY_DRY.replace("GATE", &world.root().join("gate").display().to_string()));
    let agent = json!({"agent": "dry", "models": ["any"], "kind": "claude", "program": nearly_dry, "account": "team", "reserve": 0.2});
    let worker = world.worker("w1", &[agent]).await;
    let first = world.send("work").await;
    let kept =
        "select count(*) from public.mesh_quota_pools where kept and limited_until > now() and used_share = 0.87";
    let told = wait(|| async { (world.count_all(kept).await == 1).then_some(()) }).await;
    assert!(told.is_some(), "the hub was not told");
    assert_eq!(world.text("select status from public.mac_tasks where id = $1", first).await, "running");

    let second = world.send("more work").await;
    let shown = tokio::process::Command::new(program())
        .args(["limits", "--json", "--url", world.url.expose_secret()])
        .output()
        .await
        .unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (&shown[0]["account"], &shown[0]["used_share"], &shown[0]["kept"], &shown[0]["devices"]),
        (&json!("team"), &json!(0.87), &json!(true), &json!(["w1"])),
        "{shown}"
    );
    open(&world);
    told_once(&world, first, "complete").await;
    assert_eq!(world.text("select status from public.mac_tasks where id = $1", second).await, "pending");
    worker.stop().await;
}
