//! The agent `survey`: looks through the project folder and says what it found. It needs nothing installed, changes nothing, runs
//! no code of the project, follows no link, and says what it left out.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use hub::{
    text::clean,
    types::{EndReason, Meta, Resumed},
};
use nix::fcntl::OFlag;
use tokio::{task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Agent, Context, Outcome};
use crate::{host::Exit, output::note, redact::Redactor};

/// Bounds: past them it stops looking, and the report says so.
const ENTRIES: usize = 200_000;
const DEPTH: usize = 64;
const WALK_FOR: Duration = Duration::from_secs(30);
const READ_FOR: Duration = Duration::from_secs(60);
const READ_BYTES: u64 = 512 * 1024 * 1024;
/// A larger file is counted and not read.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
const GIT_WITHIN: Duration = Duration::from_secs(10);
const COMMITS: usize = 8;
const LARGEST: usize = 8;
const MARKS_SHOWN: usize = 20;
const LANGUAGES_SHOWN: usize = 12;
/// Never looked into: history, and what tools make and can make again.
const SKIPPED: [&str; 4] = [".git", "node_modules", "target", ".hub"];

/// Looks through a folder.
#[derive(Debug)]
pub struct Survey;

impl Agent for Survey {
    fn run(&self, context: Context) -> BoxFuture<'_, Outcome> {
        survey(context).boxed()
    }

    fn changes(&self) -> bool {
        false
    }

    fn verdict(&self, _: Exit, _: &Path, _: Option<&Resumed>, _: &Arc<Redactor>) -> io::Result<Option<Outcome>> {
        Ok(None)
    }
}

async fn survey(context: Context) -> Outcome {
    let Context { task, directory, root, progress, cancel, redactor, .. } = context;
    let place = format!("the project `{}`", task.project.as_deref().unwrap_or_default());
    let begun = Instant::now();

    progress.step(&format!("Looking through {place}, without a language model")).await;
    let walked = {
        let (directory, cancel) = (directory.clone(), cancel.clone());
        spawn_blocking(move || walk(&directory, &cancel)).await
    };
    let found = match walked {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            return Outcome::failed(format!("{place} can not be read: {}", error.kind()), false, EndReason::NotStarted);
        }
        Err(_) => return Outcome::failed("the survey failed inside the worker", true, EndReason::Failed),
    };
    if cancel.is_cancelled() {
        return Outcome::stopped();
    }
    progress
        .step(&format!("{} in {}; reading them", count(found.files.len(), "file"), count(found.folders, "folder")))
        .await;
    let (files, cancel_reading) = (found.files.clone(), cancel.clone());
    let (base, knows) = (directory.clone(), Arc::clone(&redactor));
    let Ok(read) = spawn_blocking(move || read_all(&base, &files, &knows, &cancel_reading)).await else {
        return Outcome::failed("the survey failed inside the worker", true, EndReason::Failed);
    };
    if cancel.is_cancelled() {
        return Outcome::stopped();
    }
    let languages = languages(&found.files, &read);
    match languages.first() {
        Some((name, language)) => {
            progress
                .step(&format!(
                    "Languages: mostly {name}, {} in {}",
                    count(language.lines, "line"),
                    count(language.files, "file")
                ))
                .await;
        }
        None => progress.step("No files whose language I know").await,
    }
    let commits = tokio::select! {
        commits = commits(&directory, &root) => commits,
        () = cancel.cancelled() => return Outcome::stopped(),
    };
    match &commits {
        Ok(list) if list.is_empty() => progress.step("A git repository without commits").await,
        Ok(list) => progress.step(&format!("Recent commits: the newest is {}", list[0])).await,
        Err(why) => progress.step(&format!("Recent commits could not be read: {why}")).await,
    }
    match found.largest().first() {
        Some(largest) => {
            progress.step(&format!("Largest files: first {} with {}", note(&largest.name), size(largest.bytes))).await
        }
        None => progress.step("No files, so none is largest").await,
    }
    progress.step(&format!("TODO and FIXME: {}", count(read.marks_total, "line"))).await;
    if cancel.is_cancelled() {
        return Outcome::stopped();
    }
    let result =
        report(&redactor.text(&clean(&task.content)), &place, &found, &languages, &commits, &read, begun.elapsed());
    Outcome::Complete { result, meta: Meta { exit_code: Some(0), ..Meta::default() } }
}

// Walking --------------------------------------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
struct Found {
    /// Relative to the project.
    name: String,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Folder {
    files: Vec<Found>,
    folders: usize,
    links: usize,
    special: usize,
    skipped: BTreeMap<String, usize>,
    ignored: usize,
    unreadable: usize,
    top: Vec<String>,
    bounded: Option<&'static str>,
}

impl Folder {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn largest(&self) -> Vec<&Found> {
        let mut files: Vec<&Found> = self.files.iter().collect();
        files.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        files.truncate(LARGEST);
        files
    }
}

struct Level {
    path: PathBuf,
    name: String,
    depth: usize,
    /// The ignore rules that hold here, the outermost first.
    rules: Vec<Rule>,
}

fn walk(directory: &Path, cancel: &CancellationToken) -> std::io::Result<Folder> {
    let begun = Instant::now();
    let mut found = Folder::default();
    let mut entries = 0;
    let mut levels = vec![Level { path: directory.to_owned(), name: String::new(), depth: 0, rules: Vec::new() }];
    while let Some(mut level) = levels.pop() {
        let listing = match fs::read_dir(&level.path) {
            Ok(listing) => listing,
            // The project itself must be readable; what lies in it need not be.
            Err(error) if level.depth == 0 => return Err(error),
            Err(_) => {
                found.unreadable += 1;
                continue;
            }
        };
        level.rules.extend(read_rules(&level.path.join(".gitignore"), &level.name));
        let mut inner = Vec::new();
        for entry in listing.flatten() {
            entries += 1;
            if entries > ENTRIES || begun.elapsed() > WALK_FOR || cancel.is_cancelled() {
                found.bounded =
                    Some(if entries > ENTRIES { "more than 200,000 entries" } else { "30 seconds of looking" });
                return Ok(found);
            }
            let plain = entry.file_name().to_string_lossy().into_owned();
            let name = if level.name.is_empty() { plain.clone() } else { format!("{}/{plain}", level.name) };
            // Of the entry itself: a link is not followed, wherever it leads.
            let Ok(kind) = entry.file_type() else {
                found.unreadable += 1;
                continue;
            };
            if kind.is_symlink() {
                found.links += 1;
            } else if kind.is_dir() {
                if SKIPPED.contains(&plain.as_str()) {
                    *found.skipped.entry(plain).or_default() += 1;
                } else if ignored(&level.rules, &name, true) {
                    found.ignored += 1;
                } else if level.depth + 1 >= DEPTH {
                    found.bounded = Some("folders nested more than 64 deep");
                } else {
                    found.folders += 1;
                    if level.depth == 0 {
                        found.top.push(format!("{plain}/"));
                    }
                    inner.push(Level { path: entry.path(), name, depth: level.depth + 1, rules: level.rules.clone() });
                }
            } else if !kind.is_file() {
                found.special += 1;
            } else if ignored(&level.rules, &name, false) {
                found.ignored += 1;
            } else {
                if level.depth == 0 {
                    found.top.push(plain);
                }
                match entry.metadata() {
                    Ok(meta) => found.files.push(Found { name, bytes: meta.len() }),
                    Err(_) => found.unreadable += 1,
                }
            }
        }
        inner.sort_by(|a, b| b.name.cmp(&a.name));
        levels.extend(inner);
    }
    found.files.sort_by(|a, b| a.name.cmp(&b.name));
    found.top.sort();
    Ok(found)
}

/// One line of a `.gitignore`.
#[derive(Debug, Clone)]
struct Rule {
    /// The folder it stands in.
    base: String,
    pattern: Vec<char>,
    /// With a slash in it, it means a path below `base`; without, any name.
    anchored: bool,
    folders_only: bool,
    include: bool,
}

fn read_rules(path: &Path, base: &str) -> Vec<Rule> {
    let Some((text, _)) = open(path).and_then(|file| read_text(file, 64 * 1024)) else { return Vec::new() };
    text.lines().take(1000).filter_map(|line| rule(line, base)).collect()
}

fn rule(line: &str, base: &str) -> Option<Rule> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') || line.len() > 200 {
        return None;
    }
    let (include, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
    let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
    let anchored = line.contains('/');
    let pattern: Vec<char> = line.trim_start_matches('/').trim_start_matches('\\').chars().collect();
    (!pattern.is_empty()).then(|| Rule { base: base.to_owned(), pattern, anchored, folders_only, include })
}

/// The last rule that matches decides.
fn ignored(rules: &[Rule], name: &str, folder: bool) -> bool {
    rules
        .iter()
        .rev()
        .filter(|rule| folder || !rule.folders_only)
        .find(|rule| {
            let below = if rule.base.is_empty() {
                name
            } else {
                name.strip_prefix(rule.base.as_str()).unwrap_or(name).trim_start_matches('/')
            };
            let subject = if rule.anchored { below } else { below.rsplit('/').next().unwrap_or(below) };
            matches(&rule.pattern, &subject.chars().collect::<Vec<_>>())
        })
        .is_some_and(|rule| !rule.include)
}

/// `*`, `?` and `**`, as in `.gitignore`; sets in brackets are taken as they stand. Iterative over two bookmarks, so that no
/// pattern takes more than quadratic time.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows a star does not fit: behind the star, and how much it takes.
    let mut star: Option<(usize, usize)> = None;
    let mut star_star: Option<(usize, usize)> = None;
    loop {
        if p + 1 < pattern.len() && pattern[p] == '*' && pattern[p + 1] == '*' {
            p += 2;
            if p < pattern.len() && pattern[p] == '/' {
                // `**/x` means `x` as well.
                p += 1;
            }
            star_star = Some((p, t));
            star = None;
        } else if p < pattern.len() && pattern[p] == '*' {
            p += 1;
            star = Some((p, t));
        } else if p == pattern.len() && t == text.len() {
            return true;
        } else if p < pattern.len()
            && t < text.len()
            && (pattern[p] == text[t] || (pattern[p] == '?' && text[t] != '/'))
        {
            p += 1;
            t += 1;
        } else if let Some((behind, taken)) = star.filter(|(_, taken)| *taken < text.len() && text[*taken] != '/') {
            star = Some((behind, taken + 1));
            (p, t) = (behind, taken + 1);
        } else if let Some((behind, taken)) = star_star.filter(|(_, taken)| *taken < text.len()) {
            star_star = Some((behind, taken + 1));
            star = None;
            (p, t) = (behind, taken + 1);
        } else {
            return false;
        }
    }
}

// Reading --------------------------------------------------------------------------------------------------------------------

#[derive(Debug, Default)]
struct Contents {
    /// Lines of each text file, by its place in the list.
    lines: BTreeMap<usize, usize>,
    binary: usize,
    large: usize,
    unreadable: usize,
    marks: Vec<String>,
    marks_total: usize,
    bounded: bool,
}

/// Opens a plain file. Not a link that was put in its place since, and without waiting for the writer of a pipe.
fn open(path: &Path) -> Option<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().ok().filter(fs::Metadata::is_file)?;
    Some(file)
}

/// The text of a file of at most `limit` bytes, and whether it is text at all.
fn read_text(file: File, limit: u64) -> Option<(String, bool)> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).ok()?;
    let text = !bytes.contains(&0);
    Some((String::from_utf8_lossy(&bytes).into_owned(), text))
}

fn read_all(directory: &Path, files: &[Found], redactor: &Redactor, cancel: &CancellationToken) -> Contents {
    let begun = Instant::now();
    let mut contents = Contents::default();
    let mut bytes = 0;
    for (at, file) in files.iter().enumerate() {
        if begun.elapsed() > READ_FOR || bytes > READ_BYTES || cancel.is_cancelled() {
            contents.bounded = true;
            break;
        }
        if file.bytes > FILE_BYTES {
            contents.large += 1;
            continue;
        }
        let Some((text, is_text)) = open(&directory.join(&file.name)).and_then(|open| read_text(open, FILE_BYTES))
        else {
            contents.unreadable += 1;
            continue;
        };
        bytes += file.bytes;
        if !is_text {
            contents.binary += 1;
            continue;
        }
        contents.lines.insert(at, text.lines().count());
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_marked(line)) {
            contents.marks_total += 1;
            if contents.marks.len() < MARKS_SHOWN {
                let shown: String = note(&redactor.text(&clean(line))).chars().take(120).collect();
                contents.marks.push(format!("{}:{}: {shown}", note(&file.name), number + 1));
            }
        }
    }
    contents
}

/// TODO or FIXME as a word of its own.
fn is_marked(line: &str) -> bool {
    ["TODO", "FIXME"].iter().any(|mark| {
        line.match_indices(mark).any(|(at, _)| {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            !line[..at].chars().next_back().is_some_and(word)
                && !line[at + mark.len()..].chars().next().is_some_and(word)
        })
    })
}

#[derive(Debug, Default, Clone)]
struct Language {
    files: usize,
    lines: usize,
}

/// Languages by extension, the one with the most lines first.
fn languages(files: &[Found], read: &Contents) -> Vec<(String, Language)> {
    let mut by_name: BTreeMap<String, Language> = BTreeMap::new();
    for (at, lines) in &read.lines {
        let Some(name) = files.get(*at).and_then(|file| language(&file.name)) else { continue };
        let entry = by_name.entry(name.to_owned()).or_default();
        entry.files += 1;
        entry.lines += lines;
    }
    let mut list: Vec<_> = by_name.into_iter().collect();
    list.sort_by(|(a_name, a), (b_name, b)| b.lines.cmp(&a.lines).then_with(|| a_name.cmp(b_name)));
    list
}

fn language(name: &str) -> Option<&'static str> {
    let plain = name.rsplit('/').next().unwrap_or(name);
    match plain {
        "Dockerfile" => return Some("Dockerfile"),
        "Makefile" | "GNUmakefile" => return Some("Make"),
        _ => {}
    }
    let (_, extension) = plain.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "rs" => "Rust",
        "swift" => "Swift",
        "m" | "mm" => "Objective-C",
        "ts" | "tsx" | "mts" | "cts" => "TypeScript",
        "js" | "jsx" | "mjs" | "cjs" => "JavaScript",
        "py" => "Python",
        "go" => "Go",
        "java" => "Java",
        "kt" | "kts" => "Kotlin",
        "c" | "h" => "C",
        "cc" | "cpp" | "cxx" | "hpp" | "hh" => "C++",
        "cs" => "C#",
        "rb" => "Ruby",
        "php" => "PHP",
        "sql" => "SQL",
        "sh" | "bash" | "zsh" => "Shell",
        "ps1" => "PowerShell",
        "html" | "htm" => "HTML",
        "css" | "scss" | "less" => "CSS",
        "md" | "markdown" => "Markdown",
        "txt" | "rst" => "Text",
        "json" | "jsonc" => "JSON",
        "yaml" | "yml" => "YAML",
        "toml" => "TOML",
        "xml" | "plist" => "XML",
        "lua" => "Lua",
        "zig" => "Zig",
        "ex" | "exs" => "Elixir",
        "hs" => "Haskell",
        "scala" => "Scala",
        "dart" => "Dart",
        "vue" => "Vue",
        "svelte" => "Svelte",
        "tf" => "Terraform",
        "proto" => "Protocol Buffers",
        "csv" => "CSV",
        _ => return None,
    })
}

// History --------------------------------------------------------------------------------------------------------------------

/// The newest commits, by the program `git`. The repository's own settings can name programs to run: those are switched off, and
/// so is the network.
async fn commits(directory: &Path, root: &Path) -> Result<Vec<String>, String> {
    let mut git = tokio::process::Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("GIT_")) {
            git.env_remove(name);
        }
    }
    for name in hub::config::secret_names() {
        git.env_remove(name);
    }
    git.args(["--no-pager", "--no-optional-locks", "--no-replace-objects"])
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false"])
        .args(["-c", "core.pager=cat", "-c", "protocol.allow=never", "-c", "log.mailmap=false"])
        .args([
            "log",
            &format!("--max-count={COMMITS}"),
            "--no-show-signature",
            "--no-color",
            "--no-decorate",
            "--format=%h %cs %an: %s",
            "--",
            ".",
        ])
        .current_dir(directory)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        // A repository further up, outside of the projects, is none of this project's.
        .env("GIT_CEILING_DIRECTORIES", root.parent().unwrap_or(root))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let output = match timeout(GIT_WITHIN, git.output()).await {
        Err(_) => return Err("git did not answer within 10 s".into()),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("the program git is not installed here".into());
        }
        Ok(Err(error)) => return Err(format!("git can not be started: {}", error.kind())),
        Ok(Ok(output)) => output,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).lines().map(note).filter(|line| !line.is_empty()).collect());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(if errors.contains("not a git repository") {
        "this is not a git repository".into()
    } else if errors.contains("does not have any commits") {
        return Ok(Vec::new());
    } else if errors.contains("dubious ownership") {
        "the repository belongs to another user of the machine, so git refuses it".into()
    } else {
        // Git's own words may name paths of the machine.
        "git refused to read the repository".into()
    })
}

// Reporting ------------------------------------------------------------------------------------------------------------------

fn report(
    question: &str,
    place: &str,
    found: &Folder,
    languages: &[(String, Language)],
    commits: &Result<Vec<String>, String>,
    read: &Contents,
    took: Duration,
) -> String {
    let mut out = String::new();
    // Writing to a String can not fail.
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    line("I am no model: I only looked through the files, and asked no language model.".into());
    line(format!("Asked: {}", note(question)));
    line(format!(
        "Found: {place} has {} in {}, {}.",
        count(found.files.len(), "file"),
        count(found.folders, "folder"),
        size(found.bytes())
    ));
    if !found.top.is_empty() {
        let shown: Vec<String> = found.top.iter().take(30).map(|name| note(name)).collect();
        let more = found.top.len().saturating_sub(shown.len());
        line(format!(
            "\nAt the top: {}{}",
            shown.join(", "),
            if more > 0 { format!(" and {more} more") } else { String::new() }
        ));
    }

    line("\nLanguages".into());
    for (name, language) in languages.iter().take(LANGUAGES_SHOWN) {
        line(format!("- {name}: {}, {}", count(language.files, "file"), count(language.lines, "line")));
    }
    if languages.is_empty() {
        line("- none that I know by its extension".into());
    } else if languages.len() > LANGUAGES_SHOWN {
        line(format!("- and {} more", languages.len() - LANGUAGES_SHOWN));
    }

    line("\nRecent commits".into());
    match commits {
        Ok(list) if list.is_empty() => line("- none yet".into()),
        Ok(list) => list.iter().for_each(|commit| line(format!("- {commit}"))),
        Err(why) => line(format!("- could not be read: {why}")),
    }

    line("\nLargest files".into());
    let largest = found.largest();
    for file in &largest {
        line(format!("- {} ({})", note(&file.name), size(file.bytes)));
    }
    if largest.is_empty() {
        line("- there are none".into());
    }

    line(format!("\nTODO and FIXME: {}", count(read.marks_total, "line")));
    for mark in &read.marks {
        line(format!("- {mark}"));
    }
    if read.marks_total > read.marks.len() {
        line(format!("- and {} more", read.marks_total - read.marks.len()));
    }

    let mut left_out = Vec::new();
    for (name, times) in &found.skipped {
        left_out.push(if *times == 1 { format!("`{name}`") } else { format!("`{name}` ({times} times)") });
    }
    for (number, what) in [
        (found.ignored, "entry that .gitignore names"),
        (found.links, "symbolic link (not followed)"),
        (found.special, "special file"),
        (found.unreadable + read.unreadable, "unreadable entry"),
        (read.large, "file over 4 MiB (counted, not read)"),
        (read.binary, "binary file (counted, not read as text)"),
    ] {
        if number > 0 {
            left_out.push(format!("{number} × {what}"));
        }
    }
    if !left_out.is_empty() {
        line(format!("\nLeft out: {}", left_out.join(", ")));
    }
    if let Some(bound) = found.bounded {
        line(format!("I stopped looking after {bound}: the numbers above are of what I saw."));
    }
    if read.bounded {
        line(
            "I stopped reading when the time or the amount for it was used up: lines and TODOs are of what I read."
                .into(),
        );
    }
    line(format!("\nTook {:.1} s.", took.as_secs_f64()));
    out.trim_end().to_owned()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn size(bytes: u64) -> String {
    // Loses nothing that is shown: one digit after the point.
    #[allow(clippy::cast_precision_loss, reason = "for showing only")]
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.1} GiB", value / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{line::Line, progress, spent::Spent};
    use std::process::Command;

    fn matched(line: &str, name: &str) -> bool {
        ignored(&[rule(line, "").unwrap()], name, name.ends_with('/'))
    }

    #[test]
    fn gitignore_patterns_match_as_in_git() {
        for (line, name) in [
            ("*.log", "a/b/x.log"),
            ("/build", "build"),
            ("docs/*.html", "docs/a.html"),
            ("**/gen", "a/b/gen"),
            ("**/gen", "gen"),
            ("a/**/z", "a/b/c/z"),
            ("a/**", "a/b/c"),
            ("?.txt", "a.txt"),
        ] {
            assert!(matched(line, name), "{line} {name}");
        }
        for (line, name) in
            [("/build", "x/build"), ("docs/*.html", "docs/a/b.html"), ("*.log", "x.logs"), ("out/", "out")]
        {
            assert!(!matched(line, name), "{line} {name}");
        }
        let rules: Vec<Rule> = ["*.log", "!keep.log"].iter().filter_map(|line| rule(line, "")).collect();
        assert!(!ignored(&rules, "keep.log", false));
        assert!(ignored(&[rule("x", "sub").unwrap()], "sub/x", false));
        let slow: Vec<char> = "*a".repeat(60).chars().collect();
        let begun = Instant::now();
        assert!(!matches(&slow, &"a".repeat(5000).chars().chain("b".chars()).collect::<Vec<_>>()));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn todo_counts_only_as_a_whole_word() {
        assert!(is_marked("// TODO: x") && is_marked("FIXME") && is_marked("# todo TODO(me)"));
        assert!(!is_marked("TODOS") && !is_marked("MY_TODO") && !is_marked("todo"));
    }

    async fn run(root: &Path, project: Option<&str>) -> Outcome {
        run_knowing(Redactor::default(), root, project).await
    }

    async fn run_knowing(redactor: Redactor, root: &Path, project: Option<&str>) -> Outcome {
        let task = serde_json::json!({"id": uuid::Uuid::new_v4(), "content": "What is in this folder?", "status": "running", "attempt": 1, "project": project});
        let (progress, reporter) = progress::channel();
        drop(reporter);
        let root = root.canonicalize().unwrap();
        Survey
            .run(Context {
                task: serde_json::from_value(task).unwrap(),
                prompt: String::new(),
                session: None,
                directory: root.join(project.unwrap_or("")),
                root,
                progress,
                spent: Spent::default(),
                cancel: CancellationToken::new(),
                marks: Vec::new(),
                host: PathBuf::new(),
                folder: PathBuf::new(),
                grace: Duration::from_secs(1),
                redactor: Arc::new(redactor),
                line: Line::dead(),
                carries: Vec::new(),
                further: false,
                limits: None,
                leases: None,
            })
            .await
    }

    #[tokio::test]
    async fn a_survey_reports_a_folder_and_what_it_left_out() {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("p");
        for folder in ["src", "node_modules/x", "out"] {
            fs::create_dir_all(project.join(folder)).unwrap();
        }
        fs::write(project.join("src/main.rs"), "fn main() {}\n// TODO: more\n").unwrap();
        fs::write(project.join("README.md"), "# hello\n").unwrap();
        fs::write(project.join("node_modules/x/a.js"), "TODO").unwrap();
        fs::write(project.join("out/b.txt"), "TODO").unwrap();
        fs::write(project.join("data.bin"), [0; 5000]).unwrap();
        fs::write(project.join(".gitignore"), "out/\n").unwrap();
        fs::write(root.path().join("secret"), "FIXME\n").unwrap();
        std::os::unix::fs::symlink("../secret", project.join("link")).unwrap();
        std::os::unix::fs::symlink("..", project.join("up")).unwrap();
        nix::unistd::mkfifo(&project.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let git = |arguments: &[&str]| {
            Command::new("git")
                .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
                .args(arguments)
                .current_dir(&project)
                .output()
                .is_ok_and(|output| output.status.success())
        };
        let with_git = git(&["init", "-q"]) && git(&["add", "README.md"]) && git(&["commit", "-qm", "First words"]);
        // A repository that wants to run a program.
        git(&["config", "core.fsmonitor", "touch run; false"]);
        git(&["config", "log.showSignature", "true"]);

        let Outcome::Complete { result, .. } = run(root.path(), Some("p")).await else { panic!("not complete") };
        assert_eq!(
            result.lines().next(),
            Some("I am no model: I only looked through the files, and asked no language model.")
        );
        for part in [
            "Asked: What is in this folder?",
            "4 files in 1 folder",
            "- Rust: 1 file, 2 lines",
            "src/main.rs:2: // TODO: more",
            "data.bin (4.9 KiB)",
            "TODO and FIXME: 1 line",
            "`node_modules`",
            "2 × symbolic link",
            "1 × special file",
            "1 × binary",
            "1 × entry that .gitignore names",
        ] {
            assert!(result.contains(part), "{part} is missing in:\n{result}");
        }
        assert!(!result.contains("FIXME: ") || !result.contains("secret:"), "{result}");
        assert!(!result.contains(root.path().to_str().unwrap()), "{result}");
        if with_git {
            assert!(result.contains("Ada: First words"), "{result}");
        }
        assert!(!project.join("run").exists());
    }

    #[tokio::test]
    async fn a_survey_reports_a_missing_repository_and_an_empty_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("empty")).unwrap();
        let Outcome::Complete { result, .. } = run(root.path(), Some("empty")).await else { panic!("not complete") };
        assert!(
            result.contains("could not be read: ")
                && result.contains("0 files")
                && result.contains("the project `empty`"),
            "{result}"
        );
        assert!(matches!(run(root.path(), Some("missing")).await, Outcome::Failed { retryable: false, .. }));
    }

    #[tokio::test]
    async fn a_secret_where_a_line_is_cut_is_not_shown_by_halves() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("p")).unwrap();
        let line = format!("// TODO: {} 0a1b2c3d4e5f60718293\n", "x".repeat(100));
        fs::write(root.path().join("p/main.rs"), line).unwrap();
        let redactor = Redactor::new([("A_KEY".into(), "0a1b2c3d4e5f60718293".into())].into_iter(), &[]).unwrap();
        let Outcome::Complete { result, .. } = run_knowing(redactor, root.path(), Some("p")).await else { panic!() };
        assert!(result.contains("TODO: xxx") && !result.contains("0a1b"), "{result}");
    }

    #[tokio::test]
    async fn a_survey_stops_when_cancelled() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let root = tempfile::tempdir().unwrap();
        let (progress, reporter) = progress::channel();
        drop(reporter);
        let task = serde_json::json!({"id": uuid::Uuid::new_v4(), "content": "x", "status": "running"});
        let (root, cancel_now) = (root.path().to_owned(), cancel.clone());
        let context = Context {
            task: serde_json::from_value(task).unwrap(),
            prompt: String::new(),
            session: None,
            directory: root.clone(),
            root,
            progress,
            spent: Spent::default(),
            cancel: cancel_now,
            marks: Vec::new(),
            host: PathBuf::new(),
            folder: PathBuf::new(),
            grace: Duration::from_secs(1),
            redactor: Arc::default(),
            line: Line::dead(),
            carries: Vec::new(),
            further: false,
            limits: None,
            leases: None,
        };
        fs::create_dir_all(&context.directory).unwrap();
        assert_eq!(Survey.run(context).await, Outcome::stopped());
    }
}
