//! What an agent leaves is committed, in whatever state it leaves it, and on the branch of its work.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use hub::text::clean;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Trouble,
    git::WRITE,
    place::{About, Place},
};

/// A subject has at most this many characters.
const SUBJECT: usize = 72;
/// Another git in the worktree (a person's, who looks at it) has this long to be done. Ours and the agent's are gone by then.
const ANOTHER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// As who it commits where the repository and this machine name nobody.
const NOBODY: [&str; 4] = ["-c", "user.name=Aura Hub", "-c", "user.email=hub@localhost"];

/// What became of what an agent left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The commit that its branch is at.
    pub head: String,
    /// Whether something was left uncommitted, and is committed now.
    pub committed: bool,
    /// What people should know: where else there is work of it, and what could not be committed.
    pub notes: Vec<String>,
}

/// What the worktree has checked out.
struct Stand {
    head: Option<String>,
    on: Option<String>,
    tip: Option<String>,
    rebasing: bool,
}

impl Place {
    /// Commits what is uncommitted, all but what the repository ignores, with the first line of `words` and the task's id, and sees to
    /// it that the branch of the work is checked out and has it. None in place: that folder is its owner's.
    ///
    /// Nothing else may work in the worktree meanwhile: no process of the agent is left. Not for an attempt that is parked: its agent goes
    /// on where it stood.
    ///
    /// # Errors
    /// It could not be committed. Then it is where it was.
    pub async fn keep(&self, words: &str, task: Uuid) -> Result<Option<Kept>, Trouble> {
        self.keep_as(&message(words, task)).await
    }

    pub(super) async fn keep_as(&self, message: &str) -> Result<Option<Kept>, Trouble> {
        let Some((_, about)) = &self.held else { return Ok(None) };
        let mut kept = Kept::default();
        self.unlock().await?;
        let stand = self.stand(about).await?;
        if stand.rebasing {
            self.set_rebase_aside(about, &stand, message, &mut kept).await?;
        } else if stand.on.as_deref() != Some(about.reference().as_str()) {
            self.attach(about, &stand, &mut kept).await?;
        }
        kept.committed |= self.commit(message, &mut kept).await?;
        kept.head = self.call().args(["rev-parse", "--verify", "HEAD^{commit}"]).line().await?;
        Ok(Some(kept))
    }

    /// Removes the locks of a git that was killed in this worktree. Nobody works in it; a person may be looking at it.
    async fn unlock(&self) -> Result<(), Trouble> {
        let own = self.call().args(["rev-parse", "--path-format=absolute", "--git-dir"]).line().await?;
        let begun = Instant::now();
        for name in ["index.lock", "HEAD.lock"] {
            let lock = Path::new(&own).join(name);
            while lock.exists() && begun.elapsed() < ANOTHER {
                sleep(LOOK_AGAIN).await;
            }
            if lock.exists() {
                tracing::warn!(
                    workspace.branch = self.branch(),
                    lock = name,
                    "removing the lock of a git that was killed in a worktree"
                );
                fs::remove_file(&lock).ok();
            }
        }
        if let Some((_, about)) = &self.held {
            // Nobody but this workspace's own gits writes its branch.
            let lock = about.common.join(format!("{}.lock", about.reference()));
            while lock.exists() && begun.elapsed() < ANOTHER {
                sleep(LOOK_AGAIN).await;
            }
            fs::remove_file(lock).ok();
        }
        Ok(())
    }

    async fn stand(&self, about: &About) -> Result<Stand, Trouble> {
        let own = self.call().args(["rev-parse", "--path-format=absolute", "--git-dir"]).line().await?;
        let at = |name: &str| Path::new(&own).join(name).exists();
        Ok(Stand {
            head: self.call().args(["rev-parse", "--quiet", "--verify", "HEAD^{commit}"]).maybe().await?,
            on: self.call().args(["symbolic-ref", "--quiet", "HEAD"]).maybe().await?,
            tip: self.call().args(["rev-parse", "--quiet", "--verify", &about.reference()]).maybe().await?,
            rebasing: at("rebase-merge") || at("rebase-apply"),
        })
    }

    /// Half a rebase is no result: what there is of it goes on a branch of its own, and the work is what it was before.
    async fn set_rebase_aside(
        &self,
        about: &About,
        stand: &Stand,
        message: &str,
        kept: &mut Kept,
    ) -> Result<(), Trouble> {
        self.commit(message, kept).await?;
        let head = self.call().args(["rev-parse", "--verify", "HEAD^{commit}"]).line().await?;
        let tip = match &stand.tip {
            Some(tip) => tip.clone(),
            None => head.clone(),
        };
        let contained = self.call().args(["merge-base", "--is-ancestor", &head, &tip]).holds().await?;
        if !contained {
            let aside = self.aside(about, "rebase", &head).await?;
            kept.notes.push(format!("a rebase was not finished: what there is of it is on {aside}"));
        }
        // What it had set aside by itself stays among the stashes.
        for quit in [["rebase", "--quit"], ["am", "--quit"]] {
            self.call().args(quit).run().await?;
        }
        if stand.tip.is_none() {
            self.call().args(["update-ref", &about.reference(), &tip, ""]).read().await?;
        }
        self.call().args(["checkout", "--quiet", &about.branch]).within(WRITE).read().await?;
        Ok(())
    }

    /// The agent has left its branch: another is checked out, or none. The work is what is checked out.
    async fn attach(&self, about: &About, stand: &Stand, kept: &mut Kept) -> Result<(), Trouble> {
        let reference = about.reference();
        let is_ancestor =
            async |old: &str, new: &str| self.call().args(["merge-base", "--is-ancestor", old, new]).holds().await;
        match (&stand.head, &stand.tip) {
            // A branch without a commit yet: its files go on top of the work.
            (None, _) => {}
            (Some(head), None) => {
                self.call().args(["update-ref", &reference, head, ""]).read().await?;
            }
            (Some(head), Some(tip)) if head == tip => {}
            (Some(head), Some(tip)) => {
                let behind = is_ancestor(head, tip).await?;
                if behind && self.uncommitted().await?.is_empty() {
                    // It only looked at something older.
                    self.call().args(["checkout", "--quiet", &about.branch]).within(WRITE).read().await?;
                    return Ok(());
                }
                if !is_ancestor(tip, head).await? && *tip != about.base {
                    let aside = self.aside(about, "before", tip).await?;
                    kept.notes
                        .push(format!("{} was left for other commits: what was on it is on {aside}", about.branch));
                }
                self.call()
                    .args(["update-ref", "-m", "hub: what the agent had checked out", &reference, head, tip])
                    .read()
                    .await?;
            }
        }
        if let Some(other) = stand.on.as_deref().and_then(|on| on.strip_prefix("refs/heads/")) {
            kept.notes
                .push(format!("the agent worked on the branch {other}: its commits are on {} as well", about.branch));
        }
        // Files and index stay as they are.
        self.call().args(["symbolic-ref", "HEAD", &reference]).read().await?;
        Ok(())
    }

    /// A second branch of the workspace, for a commit that would be on none.
    async fn aside(&self, about: &About, what: &str, commit: &str) -> Result<String, Trouble> {
        let branch = format!("{}-{what}-{}", about.branch, commit.get(..8).unwrap_or(commit));
        self.call().args(["update-ref", &format!("refs/heads/{branch}"), commit]).read().await?;
        Ok(branch)
    }

    /// What `git status` has to say, without what is ignored.
    pub(super) async fn uncommitted(&self) -> Result<Vec<u8>, Trouble> {
        let status = ["status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=none"];
        self.call().args(status).read().await
    }

    async fn commit(&self, message: &str, kept: &mut Kept) -> Result<bool, Trouble> {
        let own = self.call().args(["rev-parse", "--path-format=absolute", "--git-dir"]).line().await?;
        let merging =
            ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"].iter().any(|name| Path::new(&own).join(name).exists());
        if self.uncommitted().await?.is_empty() && !merging {
            return Ok(false);
        }
        let nested = self.nested().await?;
        let mut add: Vec<OsString> = ["add", "--all", "--ignore-errors", "--", "."].map(Into::into).into();
        for path in &nested {
            // As it is, git would keep only the number of a commit that nobody has.
            let mut left_out = OsString::from(":(exclude,top,literal)");
            left_out.push(path);
            add.push(left_out);
        }
        if !nested.is_empty() {
            let names: Vec<String> = nested.iter().map(|path| clean(&path.to_string_lossy())).collect();
            kept.notes.push(format!("not committed, since it is a repository of its own: {}", names.join(", ")));
        }
        let added = self.call().args(add).within(WRITE).run().await?;
        if !added.status.success() {
            if added.err.contains("No space left") {
                return Err(Trouble::NoRoom(
                    "what the agent left can not be committed: the device's disk is full".into(),
                ));
            }
            kept.notes.push(format!("not all could be committed: {}", added.complaint()));
        }
        if !merging && self.call().args(["diff", "--cached", "--quiet"]).holds().await? {
            return Ok(false);
        }
        let mut commit: Vec<OsString> = Vec::new();
        for key in ["user.name", "user.email"] {
            if self.call().args(["config", "--get", key]).maybe().await?.is_none() {
                commit = NOBODY.map(Into::into).into();
            }
        }
        // Its own commits were its hooks' business. Nobody is there to unlock a key.
        commit.extend(["-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false"].map(OsString::from));
        commit.extend(
            ["commit", "--quiet", "--no-verify", "--allow-empty", "--cleanup=whitespace", "-m", message]
                .map(OsString::from),
        );
        let said = self.call().args(commit).within(WRITE).run().await?;
        if !said.status.success() {
            return Err(Trouble::passing(format!("what the agent left can not be committed: {}", said.complaint())));
        }
        Ok(true)
    }

    /// Repositories that the agent has made, or got, in the worktree, and that are no submodules.
    pub(super) async fn nested(&self) -> Result<Vec<std::path::PathBuf>, Trouble> {
        use std::os::unix::ffi::OsStringExt;
        let call = self.call().args(["ls-files", "--others", "--exclude-standard", "-z", "--full-name", ":/"]);
        let listed = call.read().await?;
        let folders = listed.split(|byte| *byte == 0).filter(|path| path.ends_with(b"/"));
        Ok(folders.map(|path| OsString::from_vec(path[..path.len() - 1].to_vec()).into()).collect())
    }
}

/// The task's first line, and its id.
fn message(words: &str, task: Uuid) -> String {
    let words = clean(words);
    let line = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("Work");
    let subject = match line.char_indices().nth(SUBJECT) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None => line.to_owned(),
    };
    format!("{subject}\n\nTask {task}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_tasks_first_line_and_its_id() {
        let id = Uuid::nil();
        assert_eq!(message("\n  Mend the parser \nand more", id), format!("Mend the parser\n\nTask {id}"));
        assert_eq!(message("", id), format!("Work\n\nTask {id}"));
        assert_eq!(message(&"ä".repeat(100), id), format!("{}…\n\nTask {id}", "ä".repeat(72)));
    }
}
