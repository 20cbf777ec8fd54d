//! The folders that the channels name, and a small real project in one of them.

use super::{Database, people};
use crate::{
    error::{Attempt, Result},
    files,
};
use sqlx::{ConnectOptions, Connection};
use std::{
    fs,
    path::{Component, Path},
    process::Stdio,
};
use tokio::process::Command;

/// Where the sample goes; most seeded channels name it.
const SAMPLE: &str = "Desktop/homelab";

/// Makes each folder that is missing, and nothing in one that is there.
///
/// # Errors
/// When the database refuses, or a folder can not be made.
pub async fn prepare(database: &Database, root: &Path, with_sample: bool) -> Result<()> {
    let mut connection = people::owner(database).connect().await?;
    let paths: Vec<String> = sqlx::query_scalar(
        "select c.project_path from public.hub_channels c where c.project_path is not null union select p.path from public.hub_projects p",
    )
    .fetch_all(&mut connection)
    .await?;
    connection.close().await?;

    if with_sample && !root.join(SAMPLE).exists() {
        make_sample(&root.join(SAMPLE)).await?;
    }
    for path in &paths {
        let relative = Path::new(path);
        // What a row names must stay below the root.
        if !relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            continue;
        }
        let folder = root.join(relative);
        if !folder.exists() {
            fs::create_dir_all(&folder).attempt(|| format!("make {}", folder.display()))?;
        }
    }
    Ok(())
}

/// One commit of the sample: when, why, and the files it writes.
struct Commit {
    day: u8,
    message: &'static str,
    files: &'static [(&'static str, &'static str)],
}

const COMMITS: &[Commit] = &[
    Commit {
        day: 2,
        message: "Inventory of the rack",
        files: &[
            ("README.md", include_str!("sample/README.md")),
            ("inventory/hosts.ini", include_str!("sample/hosts.ini")),
            (".gitignore", "*.log\n/backups/\n"),
        ],
    },
    Commit {
        day: 5,
        message: "Nightly backup of the notes server",
        files: &[("scripts/backup.sh", include_str!("sample/backup.sh"))],
    },
    Commit {
        day: 9,
        message: "Check that every service answers",
        files: &[
            ("checks/check.py", include_str!("sample/check.py")),
            ("checks/services.json", include_str!("sample/services.json")),
        ],
    },
    Commit { day: 14, message: "Say how to restore", files: &[("docs/restore.md", include_str!("sample/restore.md"))] },
];

/// A git project if git is there, the same files without it.
async fn make_sample(place: &Path) -> Result<()> {
    let Some(parent) = place.parent() else { return Ok(()) };
    fs::create_dir_all(parent).attempt(|| format!("make {}", parent.display()))?;
    // Made beside its place and renamed: half a project would stay half for good.
    let fresh = place.with_extension("new");
    files::remove(&fresh)?;
    fs::create_dir(&fresh).attempt(|| format!("make {}", fresh.display()))?;
    let with_git = git(&fresh, 1, &["init", "--quiet", "--initial-branch=main"]).await;
    for commit in COMMITS {
        for (name, content) in commit.files {
            let file = fresh.join(name);
            let folder = file.parent().unwrap_or(&fresh);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, content))
                .attempt(|| format!("write {}", file.display()))?;
        }
        if with_git {
            git(&fresh, commit.day, &["add", "--all"]).await;
            git(&fresh, commit.day, &["commit", "--quiet", "--message", commit.message]).await;
        }
    }
    fs::rename(&fresh, place).attempt(|| format!("make {}", place.display()))
}

/// Whether git did it. The person's own settings (signing, hooks, templates) and an enclosing repository are none of its business.
async fn git(folder: &Path, day: u8, arguments: &[&str]) -> bool {
    let date = format!("2026-11-{day:02}T09:00:00Z");
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GIT_")) {
            command.env_remove(name);
        }
    }
    for name in hub::config::secret_names() {
        command.env_remove(name);
    }
    command
        .current_dir(folder)
        .args(["-c", "user.name=Aura Hub", "-c", "user.email=dev@hub.invalid", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", &date)
        .env("GIT_COMMITTER_DATE", &date)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.status().await.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_sample_is_a_whole_project() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("Desktop/homelab");
        make_sample(&place).await.unwrap();
        assert!(place.join("checks/check.py").is_file());
        let log = std::process::Command::new("git").args(["log", "--format=%s"]).current_dir(&place).output().unwrap();
        assert_eq!(String::from_utf8(log.stdout).unwrap().lines().count(), COMMITS.len());
        assert_eq!(fs::read_dir(dir.path().join("Desktop")).unwrap().count(), 1);
    }
}
