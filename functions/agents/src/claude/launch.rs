//! How Claude is called.

use crate::{HubServer, Job, Policy};

/// What it may use where it only reads. No shell, for a shell command can not be told from a harmless one by its looks; the web is not
/// its folder. Its helpers have no other tools than it has.
const READING: &str = "Read,Grep,Glob,Task,AskUserQuestion,TodoWrite,TaskCreate,TaskUpdate,TaskList";

/// What runs without a question where it works. Files in its folder are let by the mode `acceptEdits`.
const WORKING: &str = "Bash,Read,WebFetch,WebSearch,NotebookEdit,Skill";

/// What makes no sense where nobody sits in front of it: a plan that waits for a nod, another worktree than the one it was given, and
/// work at another time, when this run is long over.
const NOT_HERE: &str =
    "EnterPlanMode,ExitPlanMode,EnterWorktree,ExitWorktree,CronCreate,CronDelete,CronList,ScheduleWakeup";

/// The arguments for a job. The prompt is not among them: it goes to standard input, where it may be long and begin as it likes.
///
/// `trusted` is whether the owner of the machine trusts the folder. Where not, its settings, hooks, servers (`.mcp.json`) and helpers
/// are not loaded: Claude runs the hooks and servers of any folder where it has no terminal.
///
/// `extra` are the owner's own, last, so that they win. What detaches it from us is taken out of them.
#[must_use]
pub fn arguments(job: &Job, trusted: bool, extra: &[String]) -> Vec<String> {
    let mut all = vec!["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"];
    all.extend(["--replay-user-messages", "--permission-prompt-tool", "stdio"]);
    match job.policy {
        // The owner's own servers could change something, and so none is started.
        Policy::ReadOnly => all.extend(["--tools", READING, "--strict-mcp-config", "--permission-mode", "default"]),
        Policy::Edit => all.extend(["--disallowedTools", NOT_HERE, "--permission-mode", "acceptEdits"]),
        Policy::Full => all.extend(["--disallowedTools", NOT_HERE, "--permission-mode", "bypassPermissions"]),
    }
    if !trusted {
        all.extend(["--setting-sources", "user"]);
    }
    let mut all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let working = (job.policy == Policy::Edit).then(|| WORKING.to_owned());
    let hub = job.hub.is_some().then(|| format!("mcp__{}", HubServer::NAME));
    let allowed: Vec<String> = working.into_iter().chain(hub).collect();
    if !allowed.is_empty() {
        all.extend(["--allowedTools".to_owned(), allowed.join(",")]);
    }
    // In one word: the option takes any number, and would take what follows.
    all.extend(job.hub.iter().map(|hub| format!("--mcp-config={}", hub.claude())));
    // In one word, so that a name that begins with a dash is no option.
    all.extend(job.model.iter().map(|model| format!("--model={model}")));
    all.extend(job.resume.iter().map(|session| format!("--resume={session}")));
    all.extend(extra.iter().filter(|word| !matches!(word.as_str(), "--bg" | "--background")).cloned());
    all
}

/// What must be in its environment, unless the owner says otherwise.
///
/// As root, `Policy::Full` needs `IS_SANDBOX=1` as well: without it Claude does not start (exit 1, before its first word). That this
/// machine is a sandbox is the owner's to say, and so it is not here.
#[must_use]
pub fn environment(_policy: Policy) -> Vec<(&'static str, &'static str)> {
    vec![
        // Ten hidden tries take minutes. These take 10 s, and the first is told at once.
        ("CLAUDE_CODE_MAX_RETRIES", "4"),
        // What still runs in the background at the last word would die with the run, or hold it: so nothing is put there.
        ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
        // Newer versions keep no plan without this, and people would not see one.
        ("CLAUDE_CODE_ENABLE_TODO_TOOLS", "1"),
        // A run does not replace the program that the next one starts.
        ("DISABLE_AUTOUPDATER", "1"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::tests::job;

    fn has(all: &[String], words: &[&str]) -> bool {
        all.windows(words.len()).any(|part| part == words)
    }

    #[test]
    fn a_policy_is_a_set_of_flags() {
        let with = |policy| arguments(&Job { policy, ..job() }, true, &[]);
        let (read, edit, full) = (with(Policy::ReadOnly), with(Policy::Edit), with(Policy::Full));
        for all in [&read, &edit, &full] {
            assert!(has(all, &["--permission-prompt-tool", "stdio"]) && has(all, &["--verbose"]));
            assert!(!all.iter().any(|word| word == "--setting-sources" || word.contains(&job().prompt)));
        }
        assert!(has(&read, &["--tools", READING]) && has(&read, &["--strict-mcp-config"]));
        for tool in ["Bash", "Write", "Edit", "NotebookEdit", "WebFetch", "Skill"] {
            assert!(!READING.split(',').any(|name| name == tool), "{tool}");
        }
        assert!(has(&edit, &["--permission-mode", "acceptEdits"]) && has(&edit, &["--allowedTools", WORKING]));
        assert!(has(&full, &["--permission-mode", "bypassPermissions"]));
    }

    #[test]
    fn the_hub_is_one_more_server_whose_tools_need_no_leave() {
        let told = serde_json::json!({"mcpServers": {"hub": {
            "type": "stdio", "command": "/opt/a b/hub", "args": ["mcp"], "env": {"HUB_ATTEMPT_SOCKET": "/s/hub.sock"},
            "timeout": 86_400_000
        }}});
        for (policy, allowed) in [
            (Policy::ReadOnly, "mcp__hub".to_owned()),
            (Policy::Edit, format!("{WORKING},mcp__hub")),
            (Policy::Full, "mcp__hub".to_owned()),
        ] {
            let all = arguments(&Job { policy, hub: Some(crate::testing::hub()), ..job() }, true, &[]);
            let config = all.iter().find_map(|word| word.strip_prefix("--mcp-config=")).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(config).unwrap(), told);
            assert!(has(&all, &["--allowedTools", &allowed]), "{all:?}");
            // The owner's own servers stay, but where nothing may be changed.
            assert_eq!(has(&all, &["--strict-mcp-config"]), policy == Policy::ReadOnly);
            let without = arguments(&Job { policy, ..job() }, true, &[]);
            assert!(!without.iter().any(|word| word.contains("mcp__") || word.contains("--mcp-config")));
        }
    }

    #[test]
    fn an_untrusted_folder_says_nothing() {
        for policy in [Policy::ReadOnly, Policy::Edit, Policy::Full] {
            assert!(has(&arguments(&Job { policy, ..job() }, false, &[]), &["--setting-sources", "user"]));
        }
    }

    #[test]
    fn what_is_asked_for_is_passed_on_and_nothing_detaches_it() {
        let job = Job { model: Some("opus".to_owned()), resume: Some("-s".to_owned()), ..job() };
        let extra = ["--bg", "--max-turns", "5", "--background"].map(str::to_owned);
        let all = arguments(&job, true, &extra);
        assert!(all.ends_with(&["--model=opus", "--resume=-s", "--max-turns", "5"].map(str::to_owned)), "{all:?}");
        assert!(!arguments(&super::tests::job(), true, &[]).iter().any(|word| word.starts_with("--resume")));
    }
}
