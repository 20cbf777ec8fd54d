//! The directory of one stack: ours, held by one `hub dev` at a time.

use crate::{
    error::{Attempt, Error, Result},
    files,
    postgres::Place,
};
use nix::unistd::geteuid;
use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Marks the directory as ours, and is locked while a `hub dev` runs.
const MARK: &str = "hub-dev.lock";
/// How long one that has ended may still be held, and how often that is looked at: nobody tells when it is over.
const HELD_FOR: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Holds the directory until dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes a directory: one of ours, an empty one, or one that is made now.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::AlreadyRunning`], or what the file system says.
    pub fn take(path: &Path) -> Result<Self> {
        let mark = path.join(MARK);
        if !mark.is_file() {
            let foreign = match fs::read_dir(path) {
                Ok(mut entries) => entries.next().is_some(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                    return Err(Error::Machine(format!(
                        "--data-dir {} is a file, or below one: give the name of a folder, which is made if it is missing",
                        path.display()
                    )));
                }
                Err(error) => return Err(error).attempt(|| format!("read {}", path.display())),
            };
            if foreign {
                return Err(Error::NotOurs(path.to_path_buf()));
            }
            // Root's cluster may be in it, run by another user, who must get through.
            files::make_dir(path, if geteuid().is_root() { 0o711 } else { 0o700 })?;
        }
        let path = fs::canonicalize(path).attempt(|| format!("find {}", path.display()))?;
        let mark = path.join(MARK);
        let opened = File::options().create(true).truncate(false).write(true).open(&mark);
        let mut lock = opened.attempt(|| format!("open {}", mark.display()))?;
        // One that has just ended may be held a moment longer: a program that was being started then has a copy of the file until it is
        // itself.
        let given_up = Instant::now() + HELD_FOR;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < given_up => std::thread::sleep(LOOK_AGAIN),
                Err(TryLockError::WouldBlock) => return Err(Error::AlreadyRunning(path)),
                Err(TryLockError::Error(error)) => return Err(error).attempt(|| format!("lock {}", mark.display())),
            }
        }
        let _ = lock.set_len(0);
        let _ = writeln!(
            lock,
            "This directory was made by `hub dev`; process {} uses it or was the last to.",
            std::process::id()
        );
        Ok(Self { path, _lock: lock })
    }

    /// The directory, absolute and without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes the database and the secrets of a directory that is held. Projects stay (people work in them), and so does a fetched
/// Postgres.
///
/// # Errors
/// When something can not be removed.
pub fn reset(path: &Path) -> Result<()> {
    files::remove(&path.join("dev.env"))?;
    Place::remove_cluster(path)?;
    for name in ["secrets.json", "postgres.log", "postgres.log.1"] {
        files::remove(&path.join(name))?;
    }
    // The journal of attempts at tasks that are gone with the database. Not the worktrees beside it: people's work may be in them.
    match fs::remove_dir_all(path.join("worker/attempts")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.attempt(|| "remove the worker's journal".into()),
    }?;
    // What is not empty stays.
    fs::remove_dir(path.join("worker")).ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_is_locked_by_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("hub");
        let first = DataDir::take(&data).unwrap();
        let second = DataDir::take(&data).unwrap_err().to_string();
        assert!(second.contains("--data-dir"), "{second}");
        drop(first);
        DataDir::take(&data).unwrap();
    }

    #[test]
    fn a_directory_without_the_mark_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        assert!(matches!(DataDir::take(dir.path()), Err(Error::NotOurs(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_refused_with_the_option_that_named_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("package.json");
        fs::write(&file, "{}").unwrap();
        for path in [file.clone(), file.join("below")] {
            let said = DataDir::take(&path).unwrap_err().to_string();
            assert!(said.contains("--data-dir") && said.contains("package.json") && said.contains("folder"), "{said}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "{}");
    }

    #[test]
    fn a_reset_leaves_what_people_put_there() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("hub");
        let held = DataDir::take(&data).unwrap();
        for name in ["secrets.json", "dev.env", "mine.txt", "pw-a1B2c3D4"] {
            fs::write(data.join(name), "x").unwrap();
        }
        fs::create_dir_all(data.join("postgres/base")).unwrap();
        fs::create_dir_all(data.join("postgres.new")).unwrap();
        fs::create_dir_all(data.join("worker/attempts")).unwrap();
        fs::create_dir_all(data.join("projects/Desktop")).unwrap();
        reset(held.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["hub-dev.lock", "mine.txt", "projects"]);
        fs::create_dir_all(data.join("worker/attempts")).unwrap();
        fs::create_dir_all(data.join("worker/workspaces/app/a1b2c3d4")).unwrap();
        reset(held.path()).unwrap();
        assert!(data.join("worker/workspaces/app/a1b2c3d4").exists() && !data.join("worker/attempts").exists());
    }
}
