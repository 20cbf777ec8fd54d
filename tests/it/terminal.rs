//! `hub` as a newcomer types it: what is meant is done, and what can not be done is said with what to do.

use hub_tests::{World, program};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

use crate::doctor::Stack;

/// What a run said, and how it ended.
pub(crate) struct Said {
    out: String,
    error: String,
    code: Option<i32>,
}

impl Said {
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.error);
        self.out
    }

    pub(crate) fn refused(self) -> String {
        assert_ne!(self.code, Some(0), "{}", self.out);
        assert!(!self.error.contains("panicked"), "{}", self.error);
        self.error
    }
}

/// `hub` in an empty folder, with nothing in its environment but this.
fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn type_in(child: &mut Child, text: &[u8]) {
    let mut input = child.stdin.take().unwrap();
    input.write_all(text).await.unwrap();
}

async fn hub_given(arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Said {
    let mut child = command(arguments, environment).spawn().unwrap();
    type_in(&mut child, input).await;
    let ended = child.wait_with_output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&ended.stdout), error: text(&ended.stderr), code: ended.status.code() }
}

pub(crate) async fn hub(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    hub_given(arguments, environment, b"").await
}

#[tokio::test]
async fn a_database_that_is_away_is_named_by_every_command() {
    let away = [("DATABASE_URL", "postgres://x:hush@127.0.0.1:1/x")];
    for arguments in [&["migrate"][..], &["seed"], &["migrate", "--platform"], &["migrate", "--repair"], &["devices"]] {
        let said = hub(arguments, &away).await.refused();
        assert!(said.contains("127.0.0.1:1 ") && said.contains("`hub dev`"), "{arguments:?}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[tokio::test]
async fn a_data_dir_that_is_given_wins_over_database_url() {
    let folder = tempfile::tempdir().unwrap();
    let away = [("DATABASE_URL", "postgres://x@127.0.0.1:1/x")];
    let said = hub(&["migrate", "--data-dir", folder.path().to_str().unwrap()], &away).await.refused();
    assert!(said.contains("dev.env is missing") && !said.contains("127.0.0.1"), "{said}");
}

#[tokio::test]
async fn output_that_nobody_reads_is_no_panic() {
    for arguments in [&["completions", "bash"][..], &["--help"], &["koji", "--help"]] {
        let mut child = command(arguments, &[]).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
    // Nor is an error that nobody reads.
    let mut child = command(&["devices", "--url", "nowhere"], &[]).spawn().unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn usage_does_not_demand_what_the_environment_says() {
    let said = hub(&["tail"], &[("HUB_DEV_DATA_DIR", "/somewhere")]).await.refused();
    assert!(said.contains("Usage: hub tail") && !said.contains("--data-dir"), "{said}");
}

#[tokio::test]
async fn a_device_is_enrolled_where_there_is_only_postgres() {
    let world = World::new().await;
    let environment = [("DATABASE_URL", world.url.expose_secret())];
    let said = hub(&["device", "add", "lab", "--server", "buf-barista"], &environment).await.fine();
    assert!(
        said.contains("hub worker --device lab --url postgres://") && !said.contains("HUB_DEVICE_SECRET"),
        "{said}"
    );
    world
        .until_text(
            "select string_agg(s.name, ' ') from public.mesh_device_servers e join public.hub_servers s on s.id = e.server_id
              where e.device = 'lab'",
            "buf-barista",
        )
        .await;
    // With a project beside it, its address and key are asked for as ever.
    let both = [environment[0], ("SUPABASE_URL", "http://127.0.0.1:1")];
    let said = hub(&["device", "add", "lab2"], &both).await.refused();
    assert!(said.contains("SUPABASE_SERVICE_ROLE_KEY"), "{said}");
}

/// How many tasks a device runs, as `hub devices` says.
fn runs(said: &str, device: &str) -> i64 {
    let devices: Vec<Value> = serde_json::from_str(said).unwrap();
    devices.iter().find(|one| one["name"] == device).unwrap()["running"].as_i64().unwrap()
}

/// An account of the operator's, and one of another's.
const LINKED: &str = "insert into public.hub_chat_identities (provider, author_id, user_id, label, person_label)
    select 'telegram', '4711', u.id, 'ada', 'operator' from auth.users u where u.email = 'operator@hub.local'
    union all
    select 'telegram', '4712', u.id, 'bob', 'viewer' from auth.users u where u.email = 'viewer@hub.local'";

/// Two tasks of the device `older`, one of which it has without a lease.
const OLDER: &str = "select public.hub_register_device('older', 'linux', '[]', 3);
    insert into public.mac_tasks (content, channel_id) select 'of old', c.id
      from public.hub_channels c join public.hub_servers s on s.id = c.server_id, generate_series(1, 2)
     where s.name = 'buf-barista' and c.name = 'research';
    update public.mac_tasks set status = 'running', claimed_by = 'older' where content = 'of old';
    update public.mac_tasks set lease_expires_at = now() + interval '1 hour'
     where id = (select id from public.mac_tasks where content = 'of old' limit 1)";

#[tokio::test]
async fn a_device_runs_what_it_holds_by_a_lease() {
    let world = World::new().await;
    world.sql(OLDER).await;
    let said = hub(&["devices", "--json"], &[("DATABASE_URL", world.url.expose_secret())]).await.fine();
    assert_eq!(runs(&said, "older"), 1, "{said}");
}

#[tokio::test]
async fn a_nul_character_is_named() {
    let world = World::new().await;
    let environment = [("DATABASE_URL", world.url.expose_secret())];
    let said = hub_given(&["send", "buf-barista/quick", "-"], &environment, b"a\0b").await.refused();
    assert!(said.contains("has a NUL character, which can not be kept"), "{said}");
}

#[tokio::test]
async fn a_thread_is_found_by_its_first_digits_within_its_channel() {
    let world = World::new().await;
    let environment = [("DATABASE_URL", world.url.expose_secret())];
    let sent = hub(&["send", "cloud-hub/dispatch", "one", "--json"], &environment).await.fine();
    let sent: Value = serde_json::from_str(&sent).unwrap();
    let id = sent["thread"]["id"].as_str().unwrap();
    for beginning in [id, &id[..8]] {
        let reply = hub(&["send", "cloud-hub/dispatch", "two", "--thread", beginning, "--json"], &environment).await;
        let reply: Value = serde_json::from_str(&reply.fine()).unwrap();
        assert_eq!(reply["thread"]["id"], sent["thread"]["id"]);
    }
    let mut tail = command(&["tail", "cloud-hub/dispatch", "--thread", &id[..8], "--json"], &environment);
    let child = tail.spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    let ended = child.wait_with_output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("two"));

    let said = hub(&["send", "cloud-hub/infrastructure", "three", "--thread", &id[..8]], &environment).await.refused();
    assert!(said.contains("not found: thread in infrastructure"), "{said}");
    let said = hub(&["tail", "cloud-hub/dispatch", "--thread", "x1"], &environment).await.refused();
    assert!(said.contains("\"x1\" is no thread id"), "{said}");
}

#[tokio::test]
async fn a_hub_dev_ends_what_a_killed_one_left() {
    let mut stack = Stack::start(&[]).await;
    let processes = async |stack: &Stack| -> Vec<i32> {
        let pids = stack
            .text(
                "select string_agg(pid::text, ' ') from pg_stat_activity where backend_type in ('checkpointer', 'walwriter')",
            )
            .await;
        pids.split(' ').map(|pid| pid.parse().unwrap()).collect()
    };
    // One that only waits to be counted by whoever adopted it is gone, too.
    let gone =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    // Stopped, they notice neither that their server is told to end nor that it is gone.
    for server_too in [false, true] {
        let stopped = processes(&stack).await;
        assert_eq!(stopped.len(), 2);
        let postmaster = std::fs::read_to_string(format!("{}/postgres/postmaster.pid", stack.data_dir())).unwrap();
        let postmaster = Pid::from_raw(postmaster.lines().next().unwrap().parse().unwrap());
        for pid in &stopped {
            kill(Pid::from_raw(*pid), Signal::SIGSTOP).unwrap();
        }
        stack.kill().await;
        if server_too {
            kill(postmaster, Signal::SIGKILL).unwrap();
        }
        stack = stack.start_again().await;
        assert!(stopped.iter().all(gone), "{stopped:?}: {}", stack.log());
    }
}

#[tokio::test]
async fn beside_a_hub_dev_in_another_folder() {
    let stack = Stack::start(&[]).await;
    let at = stack.data_dir();
    let here = async |arguments: &[&str], environment: &[(&str, &str)]| {
        hub(&[arguments, &["--data-dir", &at]].concat(), environment).await
    };

    // Its own commands work as they are printed.
    let banner = stack.log();
    let printed = format!("hub devices --data-dir {at}");
    assert!(banner.contains(&printed), "{banner}");
    here(&["devices"], &[]).await.fine();
    let away = [("DATABASE_URL", "postgres://x@127.0.0.1:1/x"), ("SUPABASE_SERVICE_ROLE_KEY", "another's")];
    here(&["devices"], &away).await.fine();

    // Over REST a device runs as much as over Postgres.
    stack.sql(OLDER).await;
    let keys = ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_ANON_KEY"].map(|name| (name, stack.get(name)));
    let said = hub(&["devices", "--json", "--url", stack.get("SUPABASE_URL")], &keys).await.fine();
    assert_eq!(runs(&said, "older"), 1, "{said}");

    // Options behind a command of Koji's are options.
    let stats = here(&["koji", "!stats", "--json"], &[]).await.fine();
    assert!(serde_json::from_str::<Value>(&stats).unwrap()["text"].is_string(), "{stats}");

    // Threads, of one channel or of all.
    here(&["send", "cloud-hub/dispatch", "a thread of its own"], &[]).await.fine();
    for threads in [&["threads", "--json"][..], &["threads", "cloud-hub/dispatch", "--json"]] {
        let said = here(threads, &[]).await.fine();
        assert!(said.contains("a thread of its own"), "{said}");
    }

    // A token that is none.
    let said = here(&["threads", "cloud-hub/dispatch"], &[("HUB_TOKEN", "nonsense")]).await.refused();
    assert!(said.contains("not signed in") && said.contains("HUB_TOKEN") && said.contains("`hub token`"), "{said}");

    // NUL over REST, as well.
    let nul = ["send", "buf-barista/quick", "-", "--data-dir", &at];
    let said = hub_given(&nul, &[], b"a\0b").await.refused();
    assert!(said.contains("has a NUL character, which can not be kept"), "{said}");

    // A device: new, again, revoked.
    let first = here(&["device", "add", "mac1"], &[]).await.fine();
    assert!(first.contains("mac1 is enrolled for") && !first.contains("NEW"), "{first}");
    let again = here(&["device", "add", "mac1"], &[]).await.fine();
    assert!(again.contains("NEW secret"), "{again}");
    here(&["device", "revoke", "mac1"], &[]).await.fine();
    let said = here(&["device", "add", "mac1"], &[]).await.refused();
    assert!(said.contains("mac1 is revoked") && said.contains("hub device revoke mac1 --undo"), "{said}");
    let said = here(&["device", "add", "dev"], &[]).await.refused();
    assert!(said.contains("the device of this `hub dev`"), "{said}");

    // A code for a chat, with what to type there; a database has no accounts to link.
    let said = here(&["link"], &[]).await.fine();
    let code = said.lines().next().unwrap();
    assert!(code.len() == 14 && said.contains(&format!("/link {code}")) && said.contains("private chat"), "{said}");
    let said = hub(&["link"], &[("DATABASE_URL", stack.get("DATABASE_URL"))]).await.refused();
    assert!(said.contains("HUB_TOKEN"), "{said}");

    // The accounts that came by such codes: one's own are listed, and given up.
    stack.sql(LINKED).await;
    let said = here(&["link", "list"], &[]).await.fine();
    assert!(said.contains("4711") && said.contains("ada") && !said.contains("4712"), "{said}");
    let said = here(&["link", "remove", "telegram", "4712"], &[]).await.refused();
    assert!(said.contains("that account of yours"), "{said}");
    here(&["link", "remove", "telegram", "4711"], &[]).await.fine();
    let said = here(&["link", "list"], &[]).await.fine();
    assert!(said.contains("No account is linked to you"), "{said}");

    // A person leaves and accepts by the server's name.
    let outsider = [("HUB_TOKEN", stack.get("HUB_OUTSIDER_JWT"))];
    here(&["member", "add", "cloud-hub", "outsider@hub.local", "viewer"], &[]).await.fine();
    here(&["member", "leave", "cloud-hub"], &outsider).await.fine();
    let hidden = stack.text("select name from public.hub_servers where access = 'members'").await;
    let shown = stack.text("select display_name from public.hub_servers where access = 'members'").await;
    assert_ne!(hidden, shown);
    here(&["member", "add", &hidden, "operator@hub.local", "owner"], &[]).await.fine();
    for name in [&hidden, &shown] {
        here(&["member", "invite", &hidden, "outsider@hub.local", "viewer"], &[]).await.fine();
        here(&["member", "accept", name], &outsider).await.fine();
        here(&["member", "leave", name], &outsider).await.fine();
    }
    // An invitation to another server that calls itself the same is not what is left.
    here(&["member", "add", &hidden, "outsider@hub.local", "viewer"], &[]).await.fine();
    stack
        .sql(&format!(
            "with twin as (insert into public.hub_servers (name, display_name, architecture_type, access)
                           values ('twin', '{hidden}', 'flat_task_pipeline', 'members') returning id)
             select public.hub_invite(t.id, u.id, 'viewer') from twin t, auth.users u where u.email = '{}'",
            stack.get("HUB_OUTSIDER_EMAIL")
        ))
        .await;
    here(&["member", "leave", &hidden], &outsider).await.fine();
    here(&["member", "accept", "twin"], &outsider).await.fine();
    let said = here(&["member", "accept", "elsewhere"], &outsider).await.refused();
    assert!(said.contains("not found: an invitation to server elsewhere"), "{said}");
    let said = here(&["member", "leave", "nowhere"], &outsider).await.refused();
    assert!(said.contains("not found: server nowhere"), "{said}");
}
