//! What other processes of this machine may see of this one. It holds the hub's secrets, and on a worker's machine agents run what
//! strangers wrote.

/// Closes what can be closed from within, before the first secret is read.
///
/// On Linux a process that is not dumpable has a `/proc/<pid>` that belongs to root: its environment, memory and open files are closed
/// to other processes of the same user, ptrace too. Programs that it starts are dumpable again, so the marks of agents stay readable to the
/// worker. No core is ever written, by any system.
///
/// What it does not close: root reads all; and so does anybody for the moment between the start of the program and this call, since the
/// environment it was started with stays in its memory until it ends. Handing secrets over in a pipe at a second start of itself would close that
/// moment, and gain little: where they come from (a unit's file, `dev.env`, what `_FILE` names) the same user can read at any time. So
/// who must be kept from them is another user, and `hub doctor` says where that is not so.
///
/// # Errors
/// Which of it could not be done.
#[cfg(unix)]
pub fn raise() -> Result<(), String> {
    use nix::sys::resource::{Resource, setrlimit};
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false).map_err(|error| format!("/proc of this process stays open: {error}"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| format!("core dumps stay on: {error}"))
}

#[cfg(not(unix))]
pub fn raise() -> Result<(), String> {
    Ok(())
}

/// A sentence, if the address given as an argument carries a password: of every process everybody sees the arguments.
pub fn told_by_arguments(url: Option<&str>) -> Option<&'static str> {
    let carries = url
        .and_then(|url| url::Url::parse(url).ok())
        .is_some_and(|url| url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password"));
    carries.then_some(
        "the password in --url can be seen by every user of this machine while this runs: give the address as DATABASE_URL instead",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_arguments_is_warned_about() {
        for url in ["postgres://u:hush@h/db", "postgres://u@h/db?password=hush"] {
            assert!(told_by_arguments(Some(url)).is_some_and(|told| !told.contains("hush")), "{url}");
        }
        for url in ["postgres://u@h/db", "https://abc.supabase.co", "no url"] {
            assert!(told_by_arguments(Some(url)).is_none(), "{url}");
        }
        assert!(told_by_arguments(None).is_none());
    }
}
