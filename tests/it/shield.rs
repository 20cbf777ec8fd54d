//! What agents and other processes of the same user can see of a program that holds secrets, and what its own work needs to see.

use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use hub_tests::{World, agent};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, User, chown, geteuid},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const BOUND: Duration = Duration::from_secs(60);

/// `hub` as a user that is not root: root reads everything, whatever a program does.
struct Plain {
    user: Option<User>,
    program: PathBuf,
}

impl Plain {
    fn of(world: &World) -> Self {
        let folder = world.root();
        std::fs::create_dir_all(folder.join("Desktop/homelab")).unwrap();
        if !geteuid().is_root() {
            return Self { user: None, program: hub_tests::program() };
        }
        let user = User::from_name("nobody").unwrap().expect("a user nobody");
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        chown(&folder.join("Desktop/homelab"), Some(user.uid), Some(user.gid)).unwrap();
        // That user can not read the checkout.
        let program = folder.join("hub");
        std::fs::copy(hub_tests::program(), &program).unwrap();
        Self { user: Some(user), program }
    }

    fn run(&self, program: &std::ffi::OsStr) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).current_dir("/");
        command
    }

    fn hub(&self) -> Command {
        self.run(self.program.as_os_str())
    }

    fn worker(&self, world: &World, agents: &[Value]) -> Child {
        start_worker(self.hub(), world, agents)
    }

    /// What this user reads of a process.
    async fn environ(&self, child: &Child) -> String {
        let file = format!("/proc/{}/environ", child.id().unwrap());
        let said =
            self.run("cat".as_ref()).arg(file).stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr))
    }
}

fn start_worker(mut command: Command, world: &World, agents: &[Value]) -> Child {
    let file = world.root().join(format!("{}.json", uuid::Uuid::new_v4()));
    std::fs::write(&file, json!(agents).to_string()).unwrap();
    // Whichever user it runs as may write there; the one it is has no home.
    let state = file.with_extension("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    command
        .args(["worker", "--device", "shield", "--agents"])
        .arg(file)
        .arg("--projects-root")
        .arg(world.root())
        .env("DATABASE_URL", world.url.expose_secret())
        .env("HUB_BRIDGE_SHIELD", "hush-hush")
        .env("HUB_WORKER_DRAIN_SECONDS", "0")
        .env("HUB_WORKER_STATE_DIR", state)
        .spawn()
        .unwrap()
}

async fn result(world: &World, task: uuid::Uuid) -> String {
    world.until(task, "complete").await;
    world.text("select result from public.mac_tasks where id = $1", task).await
}

// Its parent is its host, which has no more than the agent itself; who its worker is its mark says.
const LOOK: &str = r#"worker=${HUB_WORKER##*:}; worker=${worker%.*}
echo "own: $(tr '\0' '\n' </proc/$$/environ | grep -c '^HUB_TASK_ID=')"
echo "its host's: $(tr '\0' '\n' </proc/$PPID/environ | grep -c '^HUB_TASK_ID=')"
echo "its: $(cat /proc/$worker/environ 2>&1 | tr '\0' ' ')"
tr '\0' '\n' </proc/$PPID/environ | grep -E 'hush|DATABASE_URL'
ls /proc/$worker/fd >/dev/null 2>&1 && echo 'its files are open'
dd if=/proc/$worker/mem bs=1 count=0 >/dev/null 2>&1 && echo 'its memory is open'
echo "cores: $(ulimit -c)""#;

#[tokio::test]
async fn an_agent_does_not_read_its_workers_secrets_in_proc() {
    let world = World::new().await;
    let plain = Plain::of(&world);
    let worker = plain.worker(&world, &[agent("sh", LOOK)]);
    let task = world.send("look").await;
    let said = result(&world, task).await;
    // Its own it reads, so it is not the looking that fails.
    for good in ["own: 1", "its host's: 1", "its: cat: ", "ermission denied", "cores: 0"] {
        assert!(said.contains(good), "{good} is missing: {said}");
    }
    for bad in ["hush", "DATABASE_URL", "is open", "are open"] {
        assert!(!said.contains(bad), "{bad}: {said}");
    }
    drop(worker);
}

#[tokio::test]
async fn no_process_of_the_same_user_reads_a_programs_secrets() {
    let world = World::new().await;
    let plain = Plain::of(&world);
    let open = plain.run("sleep".as_ref()).arg("60").env("HUB_BRIDGE_SHIELD", "hush-hush").spawn().unwrap();
    let worker = plain.worker(&world, &[agent("sh", "true")]);
    let serve = plain
        .hub()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", world.url.expose_secret())
        .env("SUPABASE_JWT_SECRET", "hush-hush-hush-hush-hush-hush-hush-hush")
        .spawn()
        .unwrap();
    let begun = Instant::now();
    // Until it has begun, each of them is the program that starts it.
    while !plain.environ(&open).await.contains("hush-hush") {
        assert!(begun.elapsed() < BOUND, "a process that hides nothing is not read, so nothing is shown here");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.until_text("select count(*)::text from public.mesh_devices where name = 'shield'", "1").await;
    for (what, child) in [("worker", &worker), ("serve", &serve)] {
        let begun = Instant::now();
        while !plain.environ(child).await.contains("ermission") {
            assert!(begun.elapsed() < BOUND, "{what} is open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!plain.environ(child).await.contains("hush"), "{what}");
    }
}

#[tokio::test]
async fn a_worker_that_is_not_root_recognises_its_processes_by_their_marks() {
    let world = World::new().await;
    let plain = Plain::of(&world);
    let marker = world.marker();
    // A session of its own, and parents that are gone: only the mark is left.
    let script = format!("setsid sh -c 'sleep {marker} & sleep {marker}' & echo up; sleep {marker}");
    let agents = [agent("sh", &script)];
    let mut first = plain.worker(&world, &agents);
    let task = world.send("leave something").await;
    world.until_note(task, "up").await;
    let pid = i32::try_from(first.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    first.wait().await.unwrap();
    world.sql(&format!("select public.hub_cancel_task('{task}')")).await;
    let next = plain.worker(&world, &agents);
    world.until_no_process(&marker).await;
    drop(next);
}

#[tokio::test]
async fn doctor_reports_where_worker_and_agents_share_a_user() {
    let world = World::new().await;
    let line = async || {
        let ended = Command::new(hub_tests::program())
            .args(["doctor", "--json", "--url", world.url.expose_secret()])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let lines: Vec<Value> = serde_json::from_slice(&ended.stdout).unwrap();
        lines.into_iter().find(|line| line["what"] == "agents' user")
    };
    let registered = "select coalesce(max(agents ->> 0), '') from public.mesh_devices where name = 'shield'";
    let plain = Plain::of(&world);

    let survey = plain.worker(&world, &[json!({"agent": "survey", "models": ["any"], "kind": "survey"})]);
    world.until_text(registered, r#"{"agent": "survey", "models": ["any"]}"#).await;
    assert_eq!(line().await, None, "it starts no program");
    drop(survey);

    let shared = plain.worker(&world, &[agent("sh", "true")]);
    world.until_text(registered, r#"{"agent": "sh", "models": ["any"]}"#).await;
    let told = line().await.expect("a line");
    assert_eq!(told["state"], "note");
    assert!(told["detail"].as_str().unwrap().starts_with("worker and agents share a user"), "{told}");
    assert!(told["remedy"].as_str().unwrap().contains("a user of its own"), "{told}");
    drop(shared);

    if !geteuid().is_root() {
        return;
    }
    // The remedy is one: agents of another user than root's worker.
    let argv = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh", "-c", LOOK, "sh", "{prompt}"];
    let apart = json!({"agent": "apart", "models": ["any"], "kind": "command", "argv": argv});
    let mut command = Command::new(hub_tests::program());
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let worker = start_worker(command, &world, &[apart]);
    world.until_text(registered, r#"{"agent": "apart", "models": ["any"]}"#).await;
    assert_eq!(line().await.expect("a line")["state"], "ok");
    let task = world.send("look").await;
    let said = result(&world, task).await;
    assert!(said.contains("own: 1") && said.contains("its: cat: ") && !said.contains("hush"), "{said}");
    drop(worker);
}
