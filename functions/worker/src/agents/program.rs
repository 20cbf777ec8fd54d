//! The programs of agents: where they are, and why one can not be started.

use std::{
    ffi::{OsStr, OsString},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use hub::types::{EndReason, Meta};
use tokio::time::timeout;

use super::{Context, Outcome, command::PROMPT};
use crate::host::{Exit, Failure, Reason, Watch};

/// Where a program is: a path that begins at the root of the file system, or a name that is looked up in `PATH` now, so that a project
/// folder can not put another one in its place.
pub(crate) fn find(program: &str) -> Result<PathBuf, String> {
    look_for(program, std::env::var_os("PATH").as_deref())
}

fn look_for(program: &str, path: Option<&OsStr>) -> Result<PathBuf, String> {
    let executable = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let given = Path::new(program);
    if given.is_absolute() {
        return if executable(given) {
            Ok(given.into())
        } else {
            Err(format!("{program} is not there, or is no program"))
        };
    }
    if program.contains('/') {
        return Err(format!("{program}: give the whole path, or a name that is in PATH"));
    }
    std::env::split_paths(path.unwrap_or_default())
        // A relative entry would mean the project folder.
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| executable(path))
        .ok_or_else(|| format!("{program} is not in PATH: install it, or give its whole path"))
}

/// Out of memory or processes may pass; a program that is not there will not appear by itself.
pub(crate) fn passes(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::OutOfMemory | ErrorKind::ResourceBusy)
}

/// What is wrong with a program and its arguments as they are written under a key.
pub(crate) fn problems(key: &str, program: &str, arguments: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    if program.is_empty() {
        problems.push(format!("{key} is empty"));
    }
    if program.contains(PROMPT) {
        problems.push("the program itself can not come from the prompt".into());
    }
    if program.contains('\0') || arguments.iter().any(|argument| argument.contains('\0')) {
        problems.push(format!("{key} has a NUL character"));
    }
    problems
}

/// What a program is to answer a worker within, when it is asked about itself. Nobody waits for it.
const ANSWER: Duration = Duration::from_secs(15);

/// What a program says of itself: whether it exited well, and what it printed. `TimedOut` if it does not do so in time.
pub(crate) async fn answer(
    program: &Path,
    arguments: &[&str],
    environment: &[(OsString, OsString)],
    within: Duration,
) -> io::Result<(bool, String)> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env_clear().envs(environment.iter().cloned());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(within, command.output()).await.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Whether a program exits well with these arguments.
pub(crate) async fn succeeds(program: &Path, arguments: &[&str], environment: &[(OsString, OsString)]) -> bool {
    answer(program, arguments, environment, ANSWER).await.is_ok_and(|(well, _)| well)
}

/// What to tell where no host could be started.
pub(crate) fn no_host(context: &Context, error: &io::Error) -> Outcome {
    tracing::error!(task.id = %context.task.id, error = %error, "no host for an agent");
    let why = format!("no host for the agent: {}", error.kind());
    Outcome::failed(why, passes(error.kind()), EndReason::NotStarted)
}

pub(crate) fn left_behind(context: &Context, exit: &Exit) {
    if exit.processes_left > 0 {
        tracing::error!(task.id = %context.task.id, processes = exit.processes_left, "processes of an agent could not be ended");
    }
}

/// What to tell of a program that could not be started.
pub(crate) fn not_started(program: &Path, failure: Option<&Failure>, meta: Meta) -> Outcome {
    let kind = failure.map_or(ErrorKind::Other, Failure::kind);
    let why = match (kind, failure) {
        (ErrorKind::ArgumentListTooLong, _) => {
            "the prompt and the environment are longer than this system takes: leave {prompt} out of argv, and the agent finds the \
             prompt at its standard input"
                .to_owned()
        }
        (ErrorKind::Other, Some(failure)) => failure.message.clone(),
        (kind, _) => format!("{} can not be started: {kind}", program.display()),
    };
    Outcome::Failed { error: why, retryable: passes(kind), meta }
}

/// Whose death took the program along.
pub(crate) fn gone(reason: Reason) -> &'static str {
    if reason == Reason::WorkerGone { "its worker ended without warning" } else { "its host was killed" }
}

/// Which watchdog ended it, and whether trying again makes sense.
pub(crate) fn watched(reason: Reason, watch: &Watch) -> (String, bool) {
    let seconds = |limit: Option<f64>| limit.unwrap_or_default();
    match reason {
        Reason::NoOutput => {
            (format!("it said nothing within {} s of its start", seconds(watch.first_output_seconds)), true)
        }
        Reason::Silent => (format!("it said nothing for {} s", seconds(watch.silence_seconds)), true),
        _ => (format!("timed out after {} s", seconds(watch.total_seconds)), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_path_and_never_in_the_project() {
        let path = Some(std::ffi::OsStr::new("/bin:/usr/bin"));
        assert!(look_for("sh", path).unwrap().is_absolute());
        assert!(look_for("./sh", path).unwrap_err().contains("whole path"));
        assert!(look_for("no-such-program", path).unwrap_err().contains("PATH"));
        assert!(look_for("sh", Some(std::ffi::OsStr::new(".:bin"))).is_err());
    }
}
