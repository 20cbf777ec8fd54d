//! The files of an attempt's folder: what is to be run, what it said, how it ended. The folder outlives its worker, so a later one
//! can read from it what happened.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

const SPEC: &str = "spec.json";
const EXIT: &str = "exit.json";
const LOCK: &str = "lock";
/// What the agent wrote to standard output; `output.1` is what came before it.
pub(crate) const OUTPUT: &str = "output";
/// What it wrote to standard error.
pub(crate) const ERRORS: &str = "errors";
/// What it was answered, which its worker writes.
pub(crate) const ANSWERS: &str = "answers";
/// All that one run leaves in the folder, but for the lock. The prompt is a command's.
pub(crate) const ALL_FILES: [&str; 8] = [SPEC, EXIT, OUTPUT, "output.1", ERRORS, "errors.1", ANSWERS, "prompt"];
/// A file of what was said is put aside at this size, and the one before it goes.
const PART: u64 = 8 * 1024 * 1024;

/// What a host is to run. No secret is in it: the agent's environment is the host's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The program, a whole path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where it starts.
    pub directory: PathBuf,
    /// What it reads.
    pub stdin: Input,
    /// When it has to end though nobody asked.
    pub watch: Watch,
    /// Between TERM and KILL.
    pub grace_seconds: f64,
}

/// What an agent finds at its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Nothing.
    Null,
    /// A file of the attempt's folder, by its name.
    File(String),
    /// What the worker sends.
    Pipe,
}

/// Times after which an agent is ended, in seconds. None is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// From its start until it says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_output_seconds: Option<f64>,
    /// From one thing it says to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_seconds: Option<f64>,
    /// In all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_seconds: Option<f64>,
    /// From its final word to its exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger_seconds: Option<f64>,
}

/// Why an agent is not running any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It exited.
    Exit,
    /// A signal from outside, or a crash, ended it.
    Signal,
    /// The worker asked.
    Stopped,
    /// The worker died, or let go of it.
    WorkerGone,
    /// Its host was killed, or told to go.
    HostGone,
    /// It said nothing after its start.
    NoOutput,
    /// It said nothing any more.
    Silent,
    /// It had its time.
    Timeout,
    /// It said its final word and did not exit.
    Lingered,
    /// It never ran.
    NotStarted,
}

/// How an attempt's agent ended: `exit.json` of its folder, written whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Why.
    pub reason: Reason,
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did; 0 if which one is not known.
    pub signal: Option<i32>,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: Option<i64>,
    /// When the last of its processes was gone.
    pub ended_at_ms: i64,
    /// What it wrote to standard output. After [`Reason::HostGone`] only what was kept.
    pub output_bytes: u64,
    /// What it wrote to standard error.
    pub error_bytes: u64,
    /// The most memory that one of its processes had, or all together where the system counts that. Never less than what the host
    /// itself has, since a process begins as a copy of it.
    pub peak_memory_bytes: Option<u64>,
    /// Processes that could not be ended.
    pub processes_left: usize,
    /// What the worker said when it asked to stop.
    pub stopped_for: Option<String>,
    /// Why it was not started.
    pub failure: Option<Failure>,
}

/// Why a program was not started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The system's number for it.
    pub os_error: Option<i32>,
    /// In words.
    pub message: String,
}

impl Failure {
    /// What kind of error it was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.os_error.map_or(ErrorKind::Other, |number| io::Error::from_raw_os_error(number).kind())
    }
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        Self { os_error: error.raw_os_error(), message: error.to_string() }
    }
}

impl Exit {
    /// A record that says only why, and when.
    #[must_use]
    pub fn of(reason: Reason) -> Self {
        Self {
            reason,
            code: None,
            signal: None,
            started_at_ms: None,
            ended_at_ms: now_ms(),
            output_bytes: 0,
            error_bytes: 0,
            peak_memory_bytes: None,
            processes_left: 0,
            stopped_for: None,
            failure: None,
        }
    }

    /// The record of a folder, if its host came to write one.
    ///
    /// # Errors
    /// It can not be read, or is no record.
    pub fn read(folder: &Path) -> io::Result<Option<Self>> {
        match read_json(&folder.join(EXIT)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Writes it so that it is there whole or not at all, also if the machine loses its power.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let new = folder.join("exit.json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&new, folder.join(EXIT))?;
        File::open(folder)?.sync_all()
    }
}

impl Spec {
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        write_new(&folder.join(SPEC), &serde_json::to_vec(self)?)
    }

    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        read_json(&folder.join(SPEC))
    }

    pub(super) fn grace(&self) -> Duration {
        seconds(self.grace_seconds)
    }
}

/// Seconds as a duration: what is negative or no number is none, and what is too long is a year.
pub(super) fn seconds(seconds: f64) -> Duration {
    const YEAR: f64 = 365.0 * 86_400.0;
    Duration::from_secs_f64(if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, YEAR) })
}

/// A file of an attempt's folder that was not there before, for its owner alone.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&std::fs::read(path)?).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Says that a host lives in this folder, for as long as the file is open.
///
/// # Errors
/// Somebody else has the folder.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(folder.join(LOCK))?;
    file.try_lock_shared()?;
    Ok(file)
}

/// What an agent says, kept in a file that is bounded: the newest 8 to 16 MB.
pub(super) struct Spool {
    path: PathBuf,
    file: Option<File>,
    written: u64,
    broken: bool,
}

impl Spool {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self { path: folder.join(name), file: None, written: 0, broken: false }
    }

    /// # Errors
    /// It can not be written; that is said once, and nothing more is tried.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.broken {
            return Ok(());
        }
        let written = self.put(bytes);
        self.broken = written.is_err();
        written
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.file.is_some() && self.written + length > PART {
            // Renamed over another file it would be written to the disk at once by some file systems; so it most often never is.
            self.forget_earlier();
            std::fs::rename(&self.path, earlier(&self.path))?;
            self.file = None;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
            self.file = Some(file);
            self.written = 0;
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        self.written += length;
        Ok(())
    }

    /// What was written is on the disk afterwards.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Gives the older half back to a disk that is full.
    pub(super) fn forget_earlier(&self) {
        // Not there: nothing to give back.
        std::fs::remove_file(earlier(&self.path)).ok();
    }
}

fn earlier(path: &Path) -> PathBuf {
    path.with_extension("1")
}

/// How much of a stream was kept in a folder.
pub(super) fn kept(folder: &Path, name: &str) -> u64 {
    let path = folder.join(name);
    [earlier(&path), path].iter().filter_map(|path| path.metadata().ok()).map(|meta| meta.len()).sum()
}

/// The last bytes of a stream that were kept in a folder, at most so many.
pub(crate) fn tail(folder: &Path, name: &str, limit: usize) -> io::Result<Vec<u8>> {
    let path = folder.join(name);
    let mut newest = end_of(&path, limit)?;
    if newest.len() < limit {
        let mut whole = end_of(&earlier(&path), limit - newest.len())?;
        whole.append(&mut newest);
        newest = whole;
    }
    Ok(newest)
}

fn end_of(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit as u64)))?;
    let mut bytes = Vec::new();
    file.take(limit as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_its_end_is_read_across_the_parts() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path(), OUTPUT);
        let chunk: Vec<u8> = (0..256 * 1024).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for _ in 0..100 {
            spool.write(&chunk).unwrap();
        }
        spool.write(b"the end").unwrap();
        spool.sync().unwrap();
        let kept = kept(folder.path(), OUTPUT);
        assert!((PART..=2 * PART).contains(&kept), "{kept}");
        let limit = 8 * 1024 * 1024 + 1;
        let end = tail(folder.path(), OUTPUT, limit).unwrap();
        assert!(end.len() == limit && kept > PART, "the end lies in both parts");
        assert!(end.ends_with(b"the end"));
        let before = &end[..end.len() - 7];
        assert!(before.rchunks(chunk.len()).all(|part| chunk.ends_with(part)));
        assert_eq!(tail(folder.path(), ERRORS, 100).unwrap(), b"");
    }

    #[test]
    fn a_record_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Exit::read(folder.path()).unwrap(), None);
        let exit = Exit { code: Some(3), ..Exit::of(Reason::Exit) };
        exit.write(folder.path()).unwrap();
        assert_eq!(Exit::read(folder.path()).unwrap(), Some(exit));
        std::fs::write(folder.path().join(EXIT), "{\"reason\":").unwrap();
        assert_eq!(Exit::read(folder.path()).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_folder_that_is_taken_starts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (lock(folder.path()).unwrap(), lock(folder.path()).unwrap());
        drop((first, second));
        let taken = File::open(folder.path().join(LOCK)).unwrap();
        taken.lock().unwrap();
        assert_eq!(lock(folder.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn odd_numbers_of_seconds_are_times_all_the_same() {
        assert_eq!(seconds(0.25), Duration::from_millis(250));
        assert_eq!((seconds(-1.0), seconds(f64::NAN)), (Duration::ZERO, Duration::ZERO));
        assert!(seconds(f64::INFINITY) > Duration::from_secs(86_400));
    }
}
