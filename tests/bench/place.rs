//! How long a task waits for its place: a worktree of a repository with many files, made as a worker makes it.

use crate::tools::{Aim, Bench, Figure};
use anyhow::{Context, Result, ensure};
use hub::types::Begun;
use hub_worker::workspace::{Kind, Workspaces};
use std::{path::Path, process::Command, time::Instant};

const FILES: usize = 20_000;
const SMOKE_FILES: usize = 500;
const AIM: f64 = 1.3;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let place = tempfile::tempdir()?;
    let (root, state) = (place.path().join("projects"), place.path().join("state"));
    let app = root.join("app");
    [&app, &state].into_iter().try_for_each(std::fs::create_dir_all)?;
    let files = if bench.scale < 0.1 { SMOKE_FILES } else { FILES };
    for n in 0..files {
        let folder = app.join(format!("folder{}", n / 100));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("file{n}")), format!("{n}\n").repeat(100))?;
    }
    git(&app, &["init", "--quiet"])?;
    git(&app, &["add", "."])?;
    git(&app, &["commit", "--quiet", "--message", "all"])?;
    let all = Workspaces::new(&state, &root)?;
    let directory = app.canonicalize()?;
    let (mut made, mut found, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let name = format!("{round:08x}");
        let begun: Begun = serde_json::from_value(serde_json::json!({
            "prompt": "", "root": uuid::Uuid::nil(), "name": name, "branch": format!("hub/{name}")
        }))?;
        let at = Instant::now();
        let ours = all.open(&begun, &directory).await?;
        made.push(milliseconds(at));
        ensure!(ours.kind() == Kind::Git && ours.directory().join("folder0/file1").exists(), "there is no worktree");
        drop(ours);
        let at = Instant::now();
        ensure!(!all.open(&begun, &directory).await?.is_new(), "the worktree was not found again");
        found.push(milliseconds(at));

        let (branch, tree) = (format!("peer{round}"), place.path().join(format!("peer{round}")));
        let at = Instant::now();
        git(&app, &["worktree", "add", "--quiet", "--no-track", "-b", &branch, &tree.to_string_lossy()])?;
        peer.push(milliseconds(at));
        // A disk takes its time to give so many files back, and has no room for all rounds.
        ensure!(all.clean(&name).await.removed, "the worktree could not be removed");
        git(&app, &["worktree", "remove", "--force", &tree.to_string_lossy()])?;
    }
    let title = |what: &str| format!("{what} of {files} files, against git worktree add");
    Ok(vec![
        Figure::of_rounds(title("a worktree"), "ms", &made, &peer, Some(Aim::AtMost(AIM))),
        Figure::of_rounds(title("the same worktree again"), "ms", &found, &peer, None),
    ])
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Runs git there, as somebody.
pub fn git(directory: &Path, arguments: &[&str]) -> Result<()> {
    let identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"];
    let status = Command::new("git").args(identity).args(arguments).current_dir(directory).status();
    ensure!(status.context("git can not be started")?.success(), "git {arguments:?} failed");
    Ok(())
}
