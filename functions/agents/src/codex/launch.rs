//! What Codex is started with.

use crate::{Job, Policy};

/// For `codex app-server`. Sandbox and model are said per thread, see [`super::Codex`].
#[must_use]
pub fn app_server_arguments(job: &Job, trusted: bool, extra: &[String]) -> Vec<String> {
    let mut arguments = vec!["app-server".to_owned()];
    arguments.extend(settings(job, trusted));
    arguments.extend_from_slice(extra);
    arguments
}

/// For `codex exec`. The prompt comes by standard input: as an argument it could be read as an option, and is too long at 128 KiB.
#[must_use]
pub fn exec_arguments(job: &Job, trusted: bool, extra: &[String]) -> Vec<String> {
    let mut arguments: Vec<String> = ["exec", "--json", "--skip-git-repo-check"].map(String::from).into();
    arguments.extend(settings(job, trusted));
    // Without this it is read-only, whatever it is asked (and says so only to the model).
    arguments.extend(["-s".into(), sandbox(job.policy).to_owned()]);
    if let Some(model) = &job.model {
        // With `=`: a value that begins with a dash stays a value.
        arguments.push(format!("--model={model}"));
    }
    arguments.extend_from_slice(extra);
    if let Some(session) = &job.resume {
        // Options come before `resume`.
        arguments.extend(["resume".into(), "--".into(), session.clone()]);
    } else {
        arguments.push("--".into());
    }
    arguments.push("-".into());
    arguments
}

/// The sandbox of a policy, by Codex' name.
pub(crate) fn sandbox(policy: Policy) -> &'static str {
    match policy {
        Policy::ReadOnly => "read-only",
        Policy::Edit => "workspace-write",
        Policy::Full => "danger-full-access",
    }
}

/// A folder's own settings (`.codex/config.toml`, hooks, rules) count only where it is trusted. That is said each time: Codex may have
/// been told otherwise of the folder, or of one above it.
///
/// The hub, where there is one, is a server beside those that the owner has.
fn settings(job: &Job, trusted: bool) -> Vec<String> {
    let level = if trusted { "trusted" } else { "untrusted" };
    // A JSON string is a TOML string, but for the delete character, which is in no folder's name that anybody meant.
    let folder = serde_json::Value::from(job.folder.as_str());
    let mut settings = vec!["-c".into(), format!("projects={{{folder}={{trust_level=\"{level}\"}}}}")];
    settings.extend(job.hub.iter().flat_map(|hub| ["-c".into(), hub.codex()]));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codex::tests::job;

    #[test]
    fn nothing_is_read_only_by_surprise() {
        for (policy, sandbox) in
            [(Policy::ReadOnly, "read-only"), (Policy::Edit, "workspace-write"), (Policy::Full, "danger-full-access")]
        {
            let arguments = exec_arguments(&Job { policy, ..job() }, false, &[]);
            assert!(arguments.windows(2).any(|pair| pair[0] == "-s" && pair[1] == sandbox), "{arguments:?}");
        }
    }

    #[test]
    fn arguments_of_exec() {
        let job = Job {
            model: Some("-m".into()),
            resume: Some("01a2".into()),
            folder: "/p/a \"b\"".into(),
            prompt: "--help".into(),
            ..job()
        };
        let arguments = exec_arguments(&job, false, &["--oss".into()]);
        assert_eq!(
            arguments,
            [
                "exec",
                "--json",
                "--skip-git-repo-check",
                "-c",
                "projects={\"/p/a \\\"b\\\"\"={trust_level=\"untrusted\"}}",
                "-s",
                "workspace-write",
                "--model=-m",
                "--oss",
                "resume",
                "--",
                "01a2",
                "-"
            ]
        );
        let arguments = exec_arguments(&Job { resume: None, ..job }, true, &[]);
        assert!(
            arguments[4].contains("\"trusted\"") && arguments.ends_with(&["--".into(), "-".into()]),
            "{arguments:?}"
        );
    }

    #[test]
    fn the_hub_is_one_more_server() {
        let job = Job { hub: Some(crate::testing::hub()), ..job() };
        let told = r#"mcp_servers.hub={command="/opt/a b/hub",args=["mcp"],env={HUB_ATTEMPT_SOCKET="/s/hub.sock"},tool_timeout_sec=86400}"#;
        for arguments in [app_server_arguments(&job, false, &[]), exec_arguments(&job, false, &[])] {
            assert!(arguments.windows(2).any(|pair| pair == ["-c", told]), "{arguments:?}");
        }
    }

    #[test]
    fn arguments_of_the_app_server() {
        let arguments = app_server_arguments(&job(), false, &["-c".into(), "x=1".into()]);
        assert_eq!(
            arguments,
            ["app-server", "-c", "projects={\"/home/dev/project\"={trust_level=\"untrusted\"}}", "-c", "x=1"]
        );
    }
}
