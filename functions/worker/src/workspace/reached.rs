//! How far a line of work has got whose branch is not here any more: what the hub says, what the remote has, what was bundled when the
//! workspace was removed.

use std::{ffi::OsString, time::Duration};

use super::{Trouble, clean::bundles, place::Making};

/// What the remote has gained since it was last seen is worth so long a wait: without it, what was last seen has to do.
const FETCH: Duration = Duration::from_secs(30);

/// Where a line of work goes on.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// None: it begins at the base.
    pub(super) at: Option<String>,
    /// What of it came from the remote: there it may be replaced.
    pub(super) pushed: Option<String>,
}

impl Making<'_> {
    /// `tip` is that of its branch, if that is here.
    pub(super) async fn reached(&self, tip: Option<&str>) -> Result<Reached, Trouble> {
        if tip.is_some() {
            return Ok(Reached { at: self.start().await?, pushed: None });
        }
        // First: the start may be in it.
        let bundled = self.bundled().await?;
        let start = self.start().await?;
        let seen = self.seen().await?;
        let mut at = start.clone();
        for found in [&seen, &bundled].into_iter().flatten() {
            let further = match &at {
                None => true,
                Some(at) if self.is_ancestor(at, found).await? => true,
                // It was rewritten, and the hub does not say which it is.
                Some(at) if start.is_none() && !self.is_ancestor(found, at).await? => {
                    self.committed_at(found).await? >= self.committed_at(at).await?
                }
                Some(_) => false,
            };
            if further {
                at = Some(found.clone());
            }
        }
        let pushed = match (seen, &at) {
            // Commits of others that are not in it stay theirs.
            (Some(seen), Some(at)) if self.is_ancestor(&seen, at).await? => Some(seen),
            _ => None,
        };
        if let Some(reached) = &at
            && start.is_none()
            && self.is_ancestor(reached, &self.base().await?.1).await?
        {
            // The base has all of it, and goes further.
            at = None;
        }
        Ok(Reached { at, pushed })
    }

    async fn committed_at(&self, commit: &str) -> Result<i64, Trouble> {
        let seconds = self.call().args(["show", "--no-patch", "--format=%ct", commit]).line().await?;
        Ok(seconds.parse().unwrap_or_default())
    }

    /// What the remote has of the branch, if it was ever seen to have it: of work that begins it is not asked.
    async fn seen(&self) -> Result<Option<String>, Trouble> {
        let Some(remote) = super::out::remote(self.call()).await? else { return Ok(None) };
        let there = format!("refs/remotes/{remote}/{}", self.plan.branch);
        let Some(known) = self.commit(&there).await? else { return Ok(None) };
        let shared = self.repository.lock().await?;
        let refspec = format!("+refs/heads/{}:{there}", self.plan.branch);
        let fetch = ["fetch", "--no-tags", "--no-write-fetch-head", &remote, &refspec];
        let said = self.call().asking().await?.within(FETCH).args(fetch).holding(&shared).run().await;
        if !said.is_ok_and(|said| said.status.success()) {
            tracing::warn!(workspace.branch = %self.plan.branch, "what the remote has of a branch now is not known: it goes on with what was last seen there");
        }
        Ok(Some(self.commit(&there).await?.unwrap_or(known)))
    }

    /// What the newest bundle of it has, brought here. One that can not be used is left out.
    async fn bundled(&self) -> Result<Option<String>, Trouble> {
        let reference = format!("refs/heads/{}", self.plan.branch);
        for file in bundles(self.all, self.repository, &self.plan.name) {
            let with = |words: &[&str]| {
                words
                    .iter()
                    .map(OsString::from)
                    .chain([file.clone().into(), OsString::from(&reference)])
                    .collect::<Vec<_>>()
            };
            let Some(head) = self.call().args(with(&["bundle", "list-heads"])).maybe().await? else { continue };
            let Some(tip) = head.split_whitespace().next() else { continue };
            let shared = self.repository.lock().await?;
            let fetch = with(&["fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]);
            self.call().args(fetch).holding(&shared).within(super::git::WRITE).run().await?;
            if let Some(tip) = self.commit(tip).await? {
                return Ok(Some(tip));
            }
            tracing::warn!(workspace.branch = %self.plan.branch, "a bundle of a workspace can not be read: it goes on without");
        }
        Ok(None)
    }
}
