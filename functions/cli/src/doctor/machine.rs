//! What a look at this machine shows: whether the agents of a worker that runs here can read what the worker holds.

use hub::types::Device;
use std::path::{Path, PathBuf};

use super::Report;

const WHAT: &str = "agents' user";
/// Programs that make another user of what they start.
const OTHERS: [&str; 6] = ["setpriv", "sudo", "runuser", "su", "doas", "systemd-run"];

/// A worker's process, as everybody may see it: its environment is closed to us as well.
#[derive(Debug, PartialEq, Eq)]
struct Worker {
    pid: i32,
    user: u32,
    device: String,
    agents: Option<PathBuf>,
}

/// Looks for workers of these devices among the processes. A worker elsewhere is looked at by a doctor there.
pub(super) fn look(devices: &[Device], report: &mut Report) {
    for worker in workers(Path::new("/proc")) {
        let Some(device) = devices.iter().find(|device| device.name == worker.device) else { continue };
        let programs: Vec<&str> =
            device.agents.iter().map(|offer| offer.agent.as_str()).filter(|name| *name != "survey").collect();
        if programs.is_empty() {
            // A survey is the worker itself and runs nothing.
            continue;
        }
        let who = if worker.user == 0 { "root".to_owned() } else { format!("user {}", worker.user) };
        let (name, pid, agents) = (&worker.device, worker.pid, programs.join(", "));
        if worker.agents.as_deref().and_then(|file| std::fs::read_to_string(file).ok()).is_some_and(|text| apart(&text))
        {
            report.ok(WHAT, format!("{name} (process {pid}) is {who}, and its agents are not"));
            continue;
        }
        report.note(
            WHAT,
            format!(
                "worker and agents share a user: {name} (process {pid}) and {agents} are {who}, so an agent can read what the worker holds{}",
                if worker.user == 0 { ", from its memory too" } else { " in files (dev.env, secrets.json, what _FILE names)" }
            ),
            "run the worker as a user of its own with nothing but its device secret, and what keeps time and delivers elsewhere; \
             or, where it is root, let each argv of the agents begin with setpriv --reuid=… --regid=… --clear-groups",
        );
    }
}

/// Whether every program of an agents file is started as somebody else.
fn apart(agents: &str) -> bool {
    let Ok(serde_json::Value::Array(list)) = serde_json::from_str(agents) else { return false };
    let mut programs = list.iter().filter_map(|agent| agent["argv"].as_array());
    programs.all(|argv| {
        let program = argv.first().and_then(|program| program.as_str()).map(Path::new).and_then(Path::file_name);
        program.is_some_and(|name| OTHERS.iter().any(|other| name == *other))
    })
}

/// The workers among the processes; none where there is no /proc.
fn workers(proc: &Path) -> Vec<Worker> {
    let entries = std::fs::read_dir(proc).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<String> =
                line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
            let (device, agents) = of_arguments(&words)?;
            // Not whose /proc/<pid> is: that of a process that is not dumpable is root's.
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let user =
                status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()?;
            Some(Worker { pid, user, device, agents })
        })
        .collect()
}

/// The device of a `hub worker` or `hub dev`, and its agents file.
fn of_arguments(words: &[String]) -> Option<(String, Option<PathBuf>)> {
    let (program, arguments) = words.split_first()?;
    if Path::new(program).file_name()? != "hub" {
        return None;
    }
    let mut rest = arguments.iter();
    let command = loop {
        match rest.next()?.as_str() {
            "--url" | "--data-dir" => drop(rest.next()),
            option if option.starts_with('-') => {}
            command => break command,
        }
    };
    match command {
        "dev" => return Some((hub_local::dev::DEVICE.to_owned(), None)),
        "worker" => {}
        _ => return None,
    }
    let after = |name: &str| {
        let written = arguments.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
        written.or_else(|| arguments.iter().skip_while(|word| *word != name).nth(1).cloned())
    };
    // Where a relative path begins is closed to us, as the environment is.
    Some((after("--device")?, after("--agents").map(PathBuf::from).filter(|path| path.is_absolute())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn workers_are_recognised_by_their_arguments() {
        let of = |line: &str| of_arguments(&words(line));
        assert_eq!(
            of("/usr/bin/hub worker --device mac1 --agents /etc/agents.json"),
            Some(("mac1".into(), Some("/etc/agents.json".into())))
        );
        assert_eq!(of("hub --json worker --device=mac1 --agents agents.json"), Some(("mac1".into(), None)));
        assert_eq!(of("target/release/hub dev --port 1"), Some(("dev".into(), None)));
        assert_eq!(of("hub --data-dir worker dev"), Some(("dev".into(), None)));
        for other in ["hub send a/b dev", "hubble worker --device a", "hub worker", "vim worker --device a", "hub", ""]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn agents_are_separate_only_if_each_runs_as_another_user() {
        assert!(apart(r#"[{"agent":"a","argv":["/usr/bin/setpriv","--reuid=agents","claude"]},{"agent":"survey"}]"#));
        assert!(!apart(r#"[{"agent":"a","argv":["setpriv","x"]},{"agent":"b","argv":["claude"]}]"#));
        assert!(!apart("not json"));
    }
}
