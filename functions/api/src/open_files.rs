//! How many files may be open: each socket is one, and what a shell allows at first is soon used up.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Below this a person is told.
const ENOUGH: u64 = 4096;
/// Three times what Realtime lets in. More is of no use, and programs that are started inherit it.
const MOST: u64 = 65_536;
/// What macOS takes when it says that there is no limit.
const MACOS: u64 = 10_240;

/// Raises the soft limit as far as the hard one allows. A sentence, if that is not far: each connection is a file.
pub fn raise() -> Option<String> {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return Some(format!("the limit of open files is not known: {error}")),
    };
    let wanted = [hard.min(MOST), hard.min(MACOS)];
    let raised = wanted
        .into_iter()
        .filter(|wanted| *wanted > soft)
        .find(|wanted| setrlimit(Resource::RLIMIT_NOFILE, *wanted, hard).is_ok());
    let now = raised.unwrap_or(soft);
    (now < ENOUGH).then(|| {
        format!("only {now} files may be open, and each Realtime socket is one: raise the hard limit (ulimit -Hn) to serve more")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_goes_up_and_never_down() {
        let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let told = raise();
        let (after, still) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(after >= before && after >= hard.min(MACOS) && still == hard);
        assert_eq!(told.is_some(), after < ENOUGH);
    }
}
