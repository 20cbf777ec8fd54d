//! What the benches have their workers run: this same program, as `hub-bench agent WHAT …`.

use anyhow::{Context, Result, bail};
use nix::{
    sys::resource::{UsageWho, getrusage},
    time::{ClockId, clock_gettime},
};
use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// The first argument of a program that is to be an agent.
pub const COMMAND: &str = "agent";
/// As compilers and agents write it, and as long as a line of theirs.
const LINE: &str = "   Compiling a-crate-of-some-length v0.14.2 (42 of 1024), with what it needs and what that needs\n";
/// What is written at once.
const BLOCK: usize = 64 * 1024;

/// `clock FILE`: reads the clock and writes it down. `lines`: says a line a second, for ever. `output BYTES FILE`: says so much, then writes
/// down the processor time that it took itself.
pub fn main(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let begun = now()?;
    let arguments: Vec<String> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["clock", file] => write(file, begun)?,
        ["lines"] => lines()?,
        ["output", bytes, file] => {
            output(bytes.parse()?)?;
            write(file, processor(UsageWho::RUSAGE_SELF)?)?;
        }
        other => bail!("no agent {other:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// A program and its arguments that are this agent.
pub fn command(arguments: &[&str]) -> Result<Vec<String>> {
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let words = [COMMAND].into_iter().chain(arguments.iter().copied()).map(str::to_owned);
    Ok(std::iter::once(program).chain(words).collect())
}

/// The clock that all processes of a machine share and nobody sets.
pub fn now() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

/// Milliseconds from one reading of that clock to another.
pub fn since(begun: Duration, end: Duration) -> f64 {
    end.saturating_sub(begun).as_secs_f64() * 1e3
}

/// Processor time of this process, or of its children that were waited for.
pub fn processor(who: UsageWho) -> Result<Duration> {
    let usage = getrusage(who)?;
    let micros = |time: nix::sys::time::TimeVal| {
        use nix::sys::time::TimeValLike;
        u64::try_from(time.num_microseconds()).map(Duration::from_micros)
    };
    Ok(micros(usage.user_time())? + micros(usage.system_time())?)
}

/// What an agent wrote down, once.
pub fn take(file: &Path) -> Result<Duration> {
    let text = std::fs::read_to_string(file).with_context(|| format!("the agent left no {}", file.display()))?;
    std::fs::remove_file(file)?;
    Ok(Duration::from_nanos(text.parse().context("what the agent wrote down")?))
}

fn write(file: &str, time: Duration) -> Result<()> {
    std::fs::write(PathBuf::from(file), time.as_nanos().to_string())?;
    Ok(())
}

fn lines() -> Result<()> {
    let mut number = 0_u64;
    loop {
        number += 1;
        println!("line {number}: what is done in this second");
        std::io::stdout().flush()?;
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn output(bytes: usize) -> Result<()> {
    let block: Vec<u8> = LINE.bytes().cycle().take(BLOCK / LINE.len() * LINE.len()).collect();
    let mut out = std::io::stdout().lock();
    let mut left = bytes;
    while left > 0 {
        let part = left.min(block.len());
        out.write_all(&block[..part])?;
        left -= part;
    }
    out.flush()?;
    Ok(())
}
