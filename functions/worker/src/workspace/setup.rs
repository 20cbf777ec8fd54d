//! A project's setup: run once a worktree, and again when the command, or a file that it depends on, has changed.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Hosting, Trouble, command, place::Place, repository::hex};
use crate::journal::write_whole;

const MARK: &str = "setup.json";
/// Fetching and building what a project needs.
const WITHIN: Duration = Duration::from_secs(45 * 60);

/// What has run.
#[derive(Serialize, Deserialize)]
struct Mark {
    sha256: String,
}

impl Place {
    /// Runs the setup command in a worktree, unless it has, with the same content of the files `inputs` (paths below the project's folder).
    /// Whether it ran.
    ///
    /// # Errors
    /// It failed; the text has the end of what it said. Or the attempt was told to stop.
    pub async fn setup(&self, command: &str, inputs: &[String], hosting: &Hosting) -> Result<bool, Trouble> {
        let Some(folder) = self.folder() else { return Ok(false) };
        let sha256 = digest(command, self.directory(), inputs);
        let mark = folder.join(MARK);
        let done = fs::read(&mark).ok().and_then(|bytes| serde_json::from_slice::<Mark>(&bytes).ok());
        if done.is_some_and(|done| done.sha256 == sha256) {
            return Ok(false);
        }
        let failed = |why: String| Trouble::lasting(format!("the project's setup failed: {why}"));
        let ran = command::run(command, self.directory(), "setup", WITHIN, hosting).await;
        let ran =
            ran.map_err(|error| Trouble::passing(format!("no host for the project's setup: {}", error.kind())))?;
        if ran.stopped() {
            return Err(Trouble::Stopped);
        }
        if !ran.passed() {
            let tail = if ran.tail.is_empty() { String::new() } else { format!("\n{}", ran.tail) };
            return Err(failed(format!("{}{tail}", ran.how(WITHIN))));
        }
        // As they were before: a setup that changes its own inputs would run each time.
        let written = serde_json::to_vec(&Mark { sha256: digest(command, self.directory(), inputs) })
            .map_err(io::Error::other)
            .and_then(|bytes| write_whole(&mark, &bytes));
        if let Err(error) = written {
            tracing::warn!(error = %error.kind(), "that a setup has run can not be written down: it will run again");
        }
        Ok(true)
    }
}

fn digest(command: &str, directory: &Path, inputs: &[String]) -> String {
    let mut all = Sha256::new();
    all.update(Sha256::digest(command.as_bytes()));
    for input in inputs {
        all.update(Sha256::digest(input.as_bytes()));
        all.update(content(directory, input).unwrap_or_default());
    }
    hex(&all.finalize())
}

/// The digest of a file. One that is not there, or not in the folder, is like an empty one.
fn content(directory: &Path, input: &str) -> io::Result<[u8; 32]> {
    let plain = Path::new(input).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let path = directory.join(input).canonicalize()?;
    if !plain || !path.starts_with(directory.canonicalize()?) || !path.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (mut file, mut digest) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            count => digest.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_known_by_its_command_and_the_content_of_its_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        let all = ["lock".to_owned()];
        let none = digest("npm ci", folder.path(), &all);
        fs::write(folder.path().join("lock"), "1").unwrap();
        let one = digest("npm ci", folder.path(), &all);
        fs::write(folder.path().join("lock"), "2").unwrap();
        let two = digest("npm ci", folder.path(), &all);
        assert!(none != one && one != two && two != digest("npm install", folder.path(), &all));
        assert_eq!(two, digest("npm ci", folder.path(), &all));
        std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).unwrap();
        for out in ["out", "../x", "/etc/passwd"] {
            assert!(content(folder.path(), out).is_err(), "{out}");
        }
    }
}
