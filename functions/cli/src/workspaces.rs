//! `hub workspaces`: the worktrees that this machine's workers made for tasks. It asks no hub.

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use chrono::Utc;
use hub_worker::workspace::{self, Listed, State};
use serde::Serialize;

use crate::{
    args::Workspaces,
    attempts::duration,
    output::{Output, size},
};

/// What became of one, or would.
#[derive(Serialize)]
struct Told {
    name: String,
    project: String,
    removed: bool,
    bundle: Option<PathBuf>,
    why: Option<String>,
}

/// Lists them, or removes those whose work is safe.
pub async fn workspaces(command: Option<Workspaces>, states: &[PathBuf], out: Output) -> Result<ExitCode> {
    let mut listed = Vec::new();
    for state in states {
        let found = workspace::list(state).await;
        let found = found.with_context(|| format!("the folder {} can not be read", state.display()))?;
        listed.extend(found.into_iter().map(|one| (state, one)));
    }
    let Some(Workspaces::Clean { name, dry_run }) = command else {
        let listed: Vec<&Listed> = listed.iter().map(|(_, one)| one).collect();
        out.show_table(&listed, NONE, &["name", "project", "branch", "size", "age", "state"], |one| row(one));
        return Ok(ExitCode::SUCCESS);
    };
    let name = match &name {
        Some(name) => Some(named(name, listed.iter().map(|(_, one)| one.name.as_str()))?),
        None => None,
    };
    let chosen: Vec<_> =
        listed.into_iter().filter(|(_, one)| name.as_ref().is_none_or(|name| one.name == *name)).collect();
    let mut told = Vec::new();
    for (state, one) in chosen {
        // Who names one wants it gone: what is nowhere else is bundled first.
        let cleaned = if dry_run {
            would(&one, name.is_some())
        } else {
            workspace::remove(state, &one.name, name.is_some()).await?
        };
        let workspace::Cleaned { removed, bundle, why } = cleaned;
        told.push(Told { name: one.name, project: one.project, removed, bundle, why });
    }
    out.show_table(&told, NONE, &["name", "project", "outcome"], |one| {
        let outcome = match (&one.why, &one.bundle) {
            (Some(why), _) if !one.removed => format!("stays: {why}"),
            (_, Some(bundle)) => format!("{}; its work is in {}", removed(dry_run), bundle.display()),
            _ if dry_run && name.is_some() => "would be removed; what is nowhere else would be bundled".into(),
            _ => removed(dry_run).into(),
        };
        vec![one.name.clone(), one.project.clone(), outcome]
    });
    let done = name.is_none() || !told.is_empty() && told.iter().all(|one| one.removed);
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The one that is meant: by its whole name, or by how only it begins.
fn named<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Result<String> {
    let begin: BTreeSet<&str> = names.filter(|name| !wanted.is_empty() && name.starts_with(wanted)).collect();
    match begin.first() {
        None => bail!("There is no workspace named {wanted:?} here: hub workspaces lists those that there are"),
        Some(first) if begin.len() == 1 || *first == wanted => Ok((*first).to_owned()),
        Some(_) => {
            let all: Vec<&str> = begin.into_iter().collect();
            bail!("Several workspaces begin with {wanted}: {}", all.join(", "))
        }
    }
}

const NONE: &str =
    "No workspaces here. A worker makes one for each task in a git project; --state-dir says where it keeps them.";

fn removed(dry_run: bool) -> &'static str {
    if dry_run { "would be removed" } else { "removed" }
}

fn would(one: &Listed, named: bool) -> workspace::Cleaned {
    let why = match &one.state {
        State::Merged | State::Pushed => None,
        State::Uncommitted | State::Unpushed { .. } if named => None,
        State::InUse | State::Broken { .. } => Some(words(&one.state)),
        State::Uncommitted | State::Unpushed { .. } => {
            Some(format!("{}: hub workspaces clean {} bundles that first", words(&one.state), one.name))
        }
    };
    workspace::Cleaned { removed: why.is_none(), bundle: None, why }
}

fn row(one: &Listed) -> Vec<String> {
    let age = Utc::now().timestamp().saturating_sub(i64::try_from(one.made_at).unwrap_or(i64::MAX)).max(0);
    let cells = [one.name.clone(), one.project.clone(), one.branch.clone(), size(one.size_bytes), age_of(age)];
    cells.into_iter().chain([words(&one.state)]).collect()
}

fn age_of(seconds: i64) -> String {
    match seconds {
        0..172_800 => duration(seconds),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn words(state: &State) -> String {
    match state {
        State::InUse => "in use".into(),
        State::Uncommitted => "uncommitted".into(),
        State::Unpushed { commits: 1 } => "1 commit neither merged nor pushed".into(),
        State::Unpushed { commits } => format!("{commits} commits neither merged nor pushed"),
        State::Pushed => "clean, pushed".into(),
        State::Merged => "clean, merged".into(),
        State::Broken { why } => format!("broken: {why}"),
    }
}

/// Where this machine's workers keep theirs, unless it is said: each device's state, and that of the `hub dev` of this folder.
pub fn states(given: Option<PathBuf>, data_dir: &std::path::Path) -> Vec<PathBuf> {
    if let Some(given) = given {
        return vec![given];
    }
    let devices = crate::commands::states(&|name| std::env::var_os(name));
    let devices = devices.map(std::fs::read_dir).into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = devices.chain([data_dir.join("worker")]).collect();
    found.retain(|state| state.join("workspaces").is_dir());
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(state: State) -> Listed {
        Listed {
            name: "a1b2c3d4".into(),
            project: "team/app".into(),
            branch: "hub/a1b2c3d4".into(),
            path: "/x".into(),
            size_bytes: 1_500_000,
            made_at: u64::try_from(Utc::now().timestamp()).unwrap() - 7200,
            state,
        }
    }

    #[test]
    fn a_line_says_how_large_how_old_and_whether_its_work_is_safe() {
        let cells = row(&one(State::Unpushed { commits: 2 }));
        assert_eq!(
            cells,
            ["a1b2c3d4", "team/app", "hub/a1b2c3d4", "1.5 MB", "2 h 0 min", "2 commits neither merged nor pushed"]
        );
    }

    #[test]
    fn one_is_named_by_how_only_it_begins_and_one_that_is_not_there_is_said() {
        let find = |wanted: &str| named(wanted, ["a1b2c3d4", "a1b2", "a1f0", "a1f0"].into_iter());
        assert_eq!(find("a1b2c").unwrap(), "a1b2c3d4");
        // A whole name is meant, whatever else begins with it; the same line of work in two repositories is one.
        assert_eq!((find("a1b2").unwrap(), find("a1f").unwrap()), ("a1b2".into(), "a1f0".into()));
        assert_eq!(find("a1").unwrap_err().to_string(), "Several workspaces begin with a1: a1b2, a1b2c3d4, a1f0");
        assert!(find("").is_err());
        let told = find("zzzz").unwrap_err().to_string();
        assert_eq!(told, "There is no workspace named \"zzzz\" here: hub workspaces lists those that there are");
    }

    #[test]
    fn a_dry_run_removes_what_is_safe_and_says_how_to_remove_the_rest() {
        assert!(would(&one(State::Merged), false).removed && would(&one(State::Uncommitted), true).removed);
        assert!(!would(&one(State::InUse), true).removed);
        let why = would(&one(State::Uncommitted), false).why.unwrap();
        assert!(why.contains("hub workspaces clean a1b2c3d4"), "{why}");
    }
}
