//! Where the cluster's files are and who owns them. Postgres refuses to run as root, so root hands them to another user.

use crate::{
    error::{Attempt, Error, Result},
    files, keys,
};
use nix::unistd::{Gid, Uid, User, geteuid};
use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The unprivileged user that runs Postgres for root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name, for messages.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

/// The directory that holds the cluster and, where needed, its owner.
#[derive(Clone, Debug)]
pub struct Place {
    /// Holds `postgres/` (the cluster) and `cache/` (what was fetched).
    pub dir: PathBuf,
    /// Whom Postgres runs as; `None` is ourselves.
    pub owner: Option<Owner>,
}

/// In the data directory: where the cluster is when it could not be there.
const POINTER: &str = "cluster-dir";
/// There: whose it is.
const BELONGS_TO: &str = "belongs-to";

/// Files in which initdb reads a password begin so.
const PASSWORD: &str = "pw-";
const PASSWORD_LETTERS: usize = 8;

impl Place {
    /// Decides it for a data directory that exists. As root the cluster goes to the data directory only if the unprivileged user
    /// can reach it; a clone under a 0700 home can not be reached, so then it goes to a private directory under the
    /// system's temporary one, noted in the data directory.
    ///
    /// # Errors
    /// [`Error::Machine`] if root has no unprivileged user to use.
    pub fn resolve(data_dir: &Path) -> Result<Self> {
        if !geteuid().is_root() {
            return Ok(Self { dir: data_dir.to_path_buf(), owner: None });
        }
        let owner = unprivileged()?;
        if let Some(dir) = Self::elsewhere(data_dir) {
            return Ok(Self { dir, owner: Some(owner) });
        }
        // Traversable, not readable: what is private in it has mode 0600.
        files::make_dir(data_dir, 0o711)?;
        if data_dir.join("postgres").is_dir() || reachable(data_dir, &owner) {
            return Ok(Self { dir: data_dir.to_path_buf(), owner: Some(owner) });
        }
        sweep(&temporary_root());
        let dir = temporary_root().join(format!("hub-dev-{}", keys::random_text(12)));
        // Not create_dir_all: a directory that somebody else put there must not be taken.
        fs::create_dir(&dir).attempt(|| format!("make {} for Postgres", dir.display()))?;
        files::make_dir(&dir, 0o711)?;
        files::write_private(&dir.join(BELONGS_TO), &format!("{}\n", data_dir.display()))?;
        if !reachable(&dir, &owner) {
            files::remove(&dir)?;
            return Err(Error::Machine(format!(
                "Postgres refuses to run as root, and its user {} can reach neither {} nor {}: choose a directory it can reach with --data-dir",
                owner.name,
                data_dir.display(),
                dir.display()
            )));
        }
        files::write_private(&data_dir.join(POINTER), &format!("{}\n", dir.display()))?;
        Ok(Self { dir, owner: Some(owner) })
    }

    /// The noted directory outside the data directory, if it is still there and still root's.
    #[must_use]
    pub fn elsewhere(data_dir: &Path) -> Option<PathBuf> {
        let noted = fs::read_to_string(data_dir.join(POINTER)).ok()?;
        let dir = PathBuf::from(noted.trim());
        let ours = dir.is_absolute()
            && dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("hub-dev-"))
            && fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
        ours.then_some(dir)
    }

    /// Removes the cluster and the note of where it is; what was fetched stays.
    ///
    /// # Errors
    /// When something can not be removed.
    pub fn remove_cluster(data_dir: &Path) -> Result<()> {
        if let Some(dir) = Self::elsewhere(data_dir) {
            files::remove(&dir)?;
        }
        files::remove(&data_dir.join(POINTER))?;
        let here = Self { dir: data_dir.to_path_buf(), owner: None };
        here.remove_passwords()?;
        files::remove(&here.cluster())?;
        files::remove(&here.unfinished())
    }

    /// The cluster's directory.
    #[must_use]
    pub fn cluster(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// The directory of a cluster that initdb is making.
    #[must_use]
    pub fn unfinished(&self) -> PathBuf {
        self.dir.join("postgres.new")
    }

    /// A new name for the file in which initdb reads a password.
    #[must_use]
    pub fn new_password(&self) -> PathBuf {
        self.dir.join(format!("{PASSWORD}{}", keys::random_text(PASSWORD_LETTERS)))
    }

    /// Removes all such files.
    ///
    /// # Errors
    /// When one can not be removed.
    pub fn remove_passwords(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_password) {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Where fetched programs are kept.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Gives a file or an empty directory to the owner.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn hand_over(&self, path: &Path) -> Result<()> {
        match &self.owner {
            Some(owner) => chown(path, Some(owner.uid), Some(owner.gid))
                .attempt(|| format!("give {} to {}", path.display(), owner.name)),
            None => Ok(()),
        }
    }
}

/// A name that [`Place::new_password`] gives, or that of the same file while it is written.
fn is_password(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PASSWORD) else { return false };
    let letters = rest.split_once(".new-").map_or(rest, |(letters, _)| letters);
    letters.len() == PASSWORD_LETTERS && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn unprivileged() -> Result<Owner> {
    for name in ["postgres", "nobody"] {
        if let Ok(Some(user)) = User::from_name(name)
            && user.uid != Uid::from_raw(0)
            && user.gid != Gid::from_raw(0)
        {
            return Ok(Owner { name: name.into(), uid: user.uid.as_raw(), gid: user.gid.as_raw() });
        }
    }
    Err(Error::Machine(
        "Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`: run `hub dev` as an ordinary user".into(),
    ))
}

/// `/var/tmp` outlives a restart of the machine, `/tmp` often does not.
fn temporary_root() -> PathBuf {
    let lasting = PathBuf::from("/var/tmp");
    if lasting.is_dir() { lasting } else { std::env::temp_dir() }
}

/// Removes clusters whose data directory somebody removed by hand: nobody else would.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let dir = entry.path();
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with("hub-dev-"))
            && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw());
        if !ours {
            continue;
        }
        let Ok(owner) = fs::read_to_string(dir.join(BELONGS_TO)) else { continue };
        let owner = Path::new(owner.trim());
        // Gone for sure: a directory that can not be looked at may still be there.
        let gone = fs::symlink_metadata(owner).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if owner.is_absolute() && gone && files::remove(&dir).is_err() {
            tracing::debug!(place.dir = %dir.display(), "a cluster without a data directory could not be removed");
        }
    }
}

/// Asked of the system itself, as that user: modes alone do not tell (access lists, mounts).
fn reachable(dir: &Path, owner: &Owner) -> bool {
    use std::os::unix::process::CommandExt;
    Command::new("/bin/sh")
        .args(["-c", "cd -- \"$1\"", "sh"])
        .arg(dir)
        .current_dir("/")
        .env_clear()
        .uid(owner.uid)
        .gid(owner.gid)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_cluster_dir_file_that_names_another_folder_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::create_dir(&precious).unwrap();
        fs::write(dir.path().join(POINTER), precious.display().to_string()).unwrap();
        assert_eq!(Place::elsewhere(dir.path()), None);
        Place::remove_cluster(dir.path()).unwrap();
        assert!(precious.is_dir());
    }

    #[test]
    fn only_our_password_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir: dir.path().to_path_buf(), owner: None };
        fs::write(place.new_password(), "hush").unwrap();
        fs::write(place.new_password().with_extension("new-4711"), "hush").unwrap();
        for mine in ["pw-notes", "pw-12345678.txt", "pw"] {
            fs::write(dir.path().join(mine), "x").unwrap();
        }
        place.remove_passwords().unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["pw", "pw-12345678.txt", "pw-notes"]);
    }

    #[test]
    fn as_root_below_a_closed_home_the_cluster_is_put_elsewhere() {
        if !geteuid().is_root() {
            // Not root: the place is the data directory itself.
            let dir = tempfile::tempdir().unwrap();
            let place = Place::resolve(dir.path()).unwrap();
            assert_eq!((place.dir.as_path(), place.owner), (dir.path(), None));
            return;
        }
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let data = home.path().join("data");
        fs::create_dir(&data).unwrap();
        let place = Place::resolve(&data).unwrap();
        assert!(!place.dir.starts_with(home.path()), "{}", place.dir.display());
        assert_eq!(Place::resolve(&data).unwrap().dir, place.dir, "found again");
        sweep(&temporary_root());
        assert!(place.dir.is_dir(), "its data directory is there");
        fs::rename(&data, home.path().join("moved")).unwrap();
        sweep(&temporary_root());
        assert!(!place.dir.exists(), "and now it is not");
        fs::rename(home.path().join("moved"), &data).unwrap();
        let place = Place::resolve(&data).unwrap();
        Place::remove_cluster(&data).unwrap();
        assert!(!place.dir.exists());

        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(Place::resolve(&data).unwrap().dir, data);
    }
}
