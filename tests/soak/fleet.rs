//! Eight workers, four by `postgres://` and four by a project's URL, that are started again whatever happens to them.

use hub_tests::{Dev, Line, PROJECT, Proxy, World, agent, program};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::File,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

use crate::faults::{Faults, Scope};

const OF_EACH_KIND: usize = 4;
/// A worker that is told to stop and takes longer hangs.
const STOPPING: Duration = Duration::from_secs(60);

/// What goes on with a worker.
pub enum State {
    Running,
    /// It gets SIGCONT then, or SIGKILL.
    Frozen {
        until: Instant,
        killed: bool,
    },
    /// It was told to stop, then.
    Stopping {
        since: Instant,
    },
    /// It is started again then.
    Away {
        until: Instant,
    },
}

pub struct Member {
    pub device: String,
    pub state: State,
    pub line: Proxy,
    /// When what was cut is healed.
    pub healed: Option<Instant>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

pub struct Fleet {
    pub marker: String,
    pub members: Vec<Member>,
    agents: PathBuf,
    root: PathBuf,
    logs: tempfile::TempDir,
    /// Workers that ended though nobody told them to.
    pub deserted: usize,
}

/// Works in steps, and leaves a line, in one write each, when it begins and as the very last thing before it ends.
fn script(world: &World, marker: &str) -> String {
    let runs = world.root().join("runs").display().to_string();
    format!(
        ": {marker}; set -- $1; echo \"began $HUB_ATTEMPT\" >> {runs}; for step in one two three; do echo \"step $step\"; sleep $3; done; \
         echo \"result of $HUB_TASK_ID\"; exec printf 'ended %s\\n' \"$HUB_ATTEMPT\" >> {runs}"
    )
}

/// The folder of a machine's projects: the project is a repository of its own there, with one commit, so that a machine has several tasks at once.
fn projects(world: &World, device: &str) {
    let root = world.root().join("machines").join(device);
    std::fs::create_dir_all(root.join(PROJECT)).expect("a folder");
    let git = |arguments: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(arguments);
        assert!(git.current_dir(root.join(PROJECT)).status().expect("git runs").success(), "git {arguments:?}");
    };
    git(&["init", "-q", "-b", "main"]);
    git(&["commit", "-q", "--allow-empty", "-m", "first"]);
}

impl Fleet {
    pub async fn new(dev: &Dev, world: &World) -> Fleet {
        let marker = world.marker();
        let agents = world.root().join("agents.json");
        let list = serde_json::json!([agent("soak", &script(world, &marker))]);
        std::fs::write(&agents, list.to_string()).expect("writes");
        let mut members = Vec::new();
        for n in 1..=OF_EACH_KIND {
            let line = Proxy::before(dev.database_port()).await;
            let environment = vec![("DATABASE_URL".to_owned(), line.url(dev.get("DATABASE_URL")))];
            members.push(Member::new(format!("near{n}"), line, environment));
        }
        for n in 1..=OF_EACH_KIND {
            let device = format!("far{n}");
            let line = Proxy::before(dev.port()).await;
            let environment = vec![
                ("HUB_URL".to_owned(), line.url(dev.get("SUPABASE_URL"))),
                ("SUPABASE_ANON_KEY".to_owned(), dev.get("SUPABASE_ANON_KEY").to_owned()),
                ("HUB_DEVICE_SECRET".to_owned(), dev.enrol(&device).await),
            ];
            members.push(Member::new(device, line, environment));
        }
        for member in &members {
            projects(world, &member.device);
        }
        let logs = tempfile::tempdir().expect("a folder");
        Fleet { marker, members, agents, root: world.root().to_owned(), logs, deserted: 0 }
    }

    pub fn start_all(&mut self) {
        for at in 0..self.members.len() {
            self.start(at);
        }
    }

    fn start(&mut self, at: usize) {
        let member = &self.members[at];
        let log =
            File::options().create(true).append(true).open(self.logs.path().join(&member.device)).expect("a file");
        let child = Command::new(program())
            .args(["worker", "--device", &member.device, "--capacity", "4", "--drain-seconds", "1", "--agents"])
            .arg(&self.agents)
            .arg("--projects-root")
            .arg(self.root.join("machines").join(&member.device))
            .arg("--state-dir")
            .arg(self.root.join(".state").join(&member.device))
            .env_remove("DATABASE_URL")
            .envs(member.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("hub starts");
        self.members[at].child = Some(child);
        self.members[at].state = State::Running;
    }

    /// What is due: frozen workers go on or are killed, those that ended are started again, cut lines are healed.
    pub fn mend(&mut self, faults: &mut Faults) {
        let now = Instant::now();
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            if member.healed.is_some_and(|healed| healed <= now) {
                member.line.set(Line::Open);
                member.healed = None;
            }
            let ended = member.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            match member.state {
                State::Frozen { until, killed } if until <= now => {
                    if killed {
                        faults.happened(Scope::Device(member.device.clone()), now, now);
                        member.signal(Signal::SIGKILL);
                        member.state = State::Away { until: now };
                    } else {
                        member.signal(Signal::SIGCONT);
                        member.state = State::Running;
                    }
                }
                State::Stopping { since } if ended => {
                    faults.happened(Scope::Device(member.device.clone()), since, now);
                    member.state = State::Away { until: now };
                }
                State::Stopping { since } => {
                    assert!(since.elapsed() < STOPPING, "{} was told to stop and does not", member.device);
                }
                State::Away { until } if ended && until <= now => self.start(at),
                State::Running if ended => {
                    self.deserted += 1;
                    faults.happened(Scope::Device(member.device.clone()), now, now);
                    member.state = State::Away { until: now + Duration::from_secs(1) };
                }
                _ => {}
            }
        }
    }

    /// Until every worker runs and every line is whole.
    pub async fn all_up(&mut self, faults: &mut Faults) {
        for member in &mut self.members {
            match member.state {
                State::Frozen { .. } => member.state = State::Frozen { until: Instant::now(), killed: false },
                State::Away { .. } => member.state = State::Away { until: Instant::now() },
                _ => {}
            }
            member.healed = member.healed.map(|_| Instant::now());
        }
        while !self.members.iter().all(|member| matches!(member.state, State::Running)) {
            self.mend(faults);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn stop_all(&mut self) {
        for member in &mut self.members {
            member.signal(Signal::SIGTERM);
        }
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                tokio::time::timeout(STOPPING, child.wait()).await.expect("the worker ends").expect("waits");
            }
        }
    }

    /// What the workers had to say.
    pub fn logs(&self) -> String {
        let log = |member: &Member| std::fs::read_to_string(self.logs.path().join(&member.device)).unwrap_or_default();
        self.members.iter().map(log).collect()
    }

    pub fn keep_logs(&mut self) {
        self.logs.disable_cleanup(true);
        println!("what the workers said: {}", self.logs.path().display());
    }
}

impl Member {
    fn new(device: String, line: Proxy, environment: Vec<(String, String)>) -> Member {
        Member { device, state: State::Away { until: Instant::now() }, line, healed: None, environment, child: None }
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok()) {
            // It may have ended just now.
            kill(Pid::from_raw(id), signal).ok();
        }
    }
}
