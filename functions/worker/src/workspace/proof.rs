//! Proof of what was done: the project's own verification, and the receipt.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, time::Duration};

use hub::{
    text::clean,
    types::{Receipt, Verified, WorkspaceKind},
};

use super::{Hosting, Trouble, command, place::Place};

/// So many of the paths that changed are listed.
const CHANGED: usize = 20;

/// What came of asking for one.
#[derive(Debug, Clone, PartialEq)]
pub enum Verification {
    /// It ran.
    Done(Verified),
    /// The attempt was told to stop meanwhile.
    Stopped,
    /// It could not be tried: why.
    NotTried(String),
}

impl Place {
    /// Runs the project's verification, the `round`th of this attempt (from 1), for so many seconds at most.
    pub async fn verify(&self, command: &str, seconds: u64, round: u32, hosting: &Hosting) -> Verification {
        let within = Duration::from_secs(seconds.max(1));
        let ran = match command::run(command, self.directory(), &format!("verify-{round}"), within, hosting).await {
            Ok(ran) => ran,
            Err(error) => return Verification::NotTried(format!("no host for the verification: {}", error.kind())),
        };
        if ran.stopped() {
            return Verification::Stopped;
        }
        if ran.killed() {
            return Verification::NotTried(format!("the verification did not come to its end: {}", ran.how(within)));
        }
        let passed = ran.passed();
        let how = ran.how(within);
        let tail = match (passed, ran.tail.is_empty()) {
            (true, _) => ran.tail,
            (false, true) => how,
            // The tail has room for it: it is told beside the last lines.
            (false, false) => {
                let keep = command::TAIL.saturating_sub(how.chars().count() + 1);
                format!("{}\n{how}", crate::output::ending(&ran.tail, keep, false))
            }
        };
        Verification::Done(Verified {
            command_sha256: command::sha256(command),
            exit: ran.exit.code,
            seconds: (ran.seconds * 1000.0).round() / 1000.0,
            tail,
            log_sha256: ran.log_sha256,
            passed,
            rounds: round,
        })
    }

    /// What has been done here, counted against the base.
    ///
    /// # Errors
    /// The repository does not say.
    pub async fn receipt(&self, verify: Option<Verified>) -> Result<Receipt, Trouble> {
        let mut receipt = Receipt { verify, ..nothing(self.kind()) };
        let Some((_, about)) = &self.held else { return Ok(receipt) };
        let both = self.call().args(["rev-parse", "HEAD^{commit}", "HEAD^{tree}"]).line().await?;
        let (commit, tree) =
            both.split_once('\n').ok_or_else(|| Trouble::passing("git does not say what is checked out"))?;
        let base = self.base_now(commit).await?;
        let status = ["status", "--porcelain", "-z", "--untracked-files=no"];
        receipt.dirty = !self.call().args(status).read().await?.is_empty();
        let diff = ["diff", "--numstat", "-z", "--no-ext-diff", "--no-textconv", "--find-renames", &base, commit];
        count(&self.call().args(diff).read().await?, &mut receipt);
        receipt.branch = Some(about.branch.clone());
        receipt.pushed = about.pushed.as_deref() == Some(commit);
        receipt.pull_request = about.pull_request.clone();
        receipt.size_bytes = self.size_bytes().await;
        (receipt.base, receipt.commit, receipt.tree) = (Some(base), Some(commit.into()), Some(tree.into()));
        Ok(receipt)
    }

    /// Where the work parts from its base branch as that is now: what was merged into either is nobody's change any more.
    pub(super) async fn base_now(&self, commit: &str) -> Result<String, Trouble> {
        let Some((_, about)) = &self.held else { return Ok(commit.to_owned()) };
        if let Some(branch) = &about.base_branch {
            let reference = format!("refs/heads/{branch}");
            if let Some(base) = self.call().args(["merge-base", &reference, commit]).maybe().await?
                && self.call().args(["merge-base", "--is-ancestor", &about.base, &base]).holds().await?
            {
                return Ok(base);
            }
        }
        Ok(about.base.clone())
    }
}

/// A receipt of nothing.
fn nothing(kind: WorkspaceKind) -> Receipt {
    Receipt {
        kind,
        branch: None,
        base: None,
        commit: None,
        tree: None,
        dirty: false,
        files: 0,
        insertions: 0,
        deletions: 0,
        changed: Vec::new(),
        pushed: false,
        pull_request: None,
        size_bytes: None,
        verify: None,
    }
}

/// Reads `git diff --numstat -z`: `added, deleted, path`; of a renamed file no path, and then the old and the new one.
fn count(listed: &[u8], receipt: &mut Receipt) {
    let mut parts = listed.split(|byte| *byte == 0);
    while let Some(part) = parts.next() {
        let mut fields = part.splitn(3, |byte| *byte == b'\t');
        let (Some(added), Some(deleted), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let path = if path.is_empty() { parts.nth(1).unwrap_or_default() } else { path };
        // A file that is no text has a dash.
        let number = |field: &[u8]| std::str::from_utf8(field).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        receipt.files += 1;
        receipt.insertions += number(added);
        receipt.deletions += number(deleted);
        if receipt.changed.len() < CHANGED {
            let path = OsString::from_vec(path.to_vec());
            receipt.changed.push(clean(&path.to_string_lossy()).replace('\n', " "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_counted_with_renames_and_files_that_are_no_text() {
        let mut receipt = nothing(WorkspaceKind::Git);
        count(b"3\t1\ta b\tc\x001\t0\t\0old\0new\0-\t-\tpicture\0", &mut receipt);
        assert_eq!((receipt.files, receipt.insertions, receipt.deletions), (3, 4, 1));
        assert_eq!(receipt.changed, ["a b\tc", "new", "picture"]);
    }
}
