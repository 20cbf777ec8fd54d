//! `hub agents`: which agents this machine can run, a configuration that works, one small task to see that it does. Asks no hub.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use hub_agents::{KNOWN, Known};
use hub_worker::{
    AgentConfig, Kind, Outcome,
    agents::{
        installed::{Installed, look, look_all},
        login, try_out,
    },
};
use serde_json::{Value, json};

use crate::args::{self, Agents, Policy};
use crate::output::{Output, print_line, table};

/// What an agent is asked to see that it works.
const PROMPT: &str = "Reply with the single word pong, and use no tool.";

pub async fn agents(command: Option<Agents>, file: Option<PathBuf>, out: Output) -> Result<ExitCode> {
    let file = file.map_or_else(default_file, Ok)?;
    match command {
        None => list(&file, out).await,
        Some(Agents::Add { name, program, model, policy, account }) => {
            add(&file, &name, program, model, policy, account, out).await
        }
        Some(Agents::Check { name }) => check(&file, name.as_deref(), out).await,
    }
}

/// Where a worker finds its agents unless it is told: where the XDG Base Directory Specification has configuration.
pub fn default_file() -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".config")))
        .map(|config| config.join("aura-hub/agents.json"))
        .context("there is no HOME to keep the list of agents in: say where it is with --agents FILE")
}

/// The agents of a file. None if there is no such file.
pub fn read(file: &Path) -> Result<Option<Vec<AgentConfig>>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(AgentConfig::parse(&text).with_context(|| file.display().to_string())?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} can not be read", file.display())),
    }
}

/// The agents of the file that is named, else of the environment, else of the file that `hub agents add` writes. None if there is none
/// of them.
pub fn listed(file: Option<&Path>, environment: Option<String>) -> Result<Option<Vec<AgentConfig>>> {
    if let Some(file) = file {
        let agents = read(file).context("--agents")?;
        return agents
            .map(Some)
            .with_context(|| format!("--agents {} can not be read: it is not there", file.display()));
    }
    match environment {
        Some(text) => Ok(Some(AgentConfig::parse(&text).context("HUB_WORKER_AGENTS")?)),
        // Without a home there is no such file.
        None => default_file().map_or(Ok(None), |file| read(&file)),
    }
}

async fn list(file: &Path, out: Output) -> Result<ExitCode> {
    let listed = read(file)?;
    let configured = listed.is_some();
    let agents = listed.unwrap_or_default();
    // What is here and in no configuration is shown, too: this is where a person looks first.
    let known = KNOWN.iter().map(AgentConfig::known);
    let more = known.filter(|known| agents.iter().all(|config| config.program() != known.program()));
    let listed_here = agents.len();
    let all: Vec<AgentConfig> = agents.iter().cloned().chain(more).collect();
    let found = look_all(&all).await;
    let shown: Vec<_> =
        all.iter().zip(&found).enumerate().map(|(at, (config, found))| (config, at < listed_here, found)).collect();
    let as_json: Vec<Value> = shown.iter().map(|(config, listed, found)| described(config, *listed, found)).collect();
    out.show(&as_json, |_| {
        let rows: Vec<Vec<String>> = shown.iter().map(|(config, listed, found)| row(config, *listed, found)).collect();
        let mut text = table(&["agent", "program", "version", "needed", "login", "policy", "can", "here"], &rows);
        for hint in shown.iter().filter_map(|(config, _, found)| hint(config, found)) {
            text.push_str(&format!("\n{hint}"));
        }
        let source = if configured { "from" } else { "none in" };
        text.push_str(&format!(
            "\nConfigured agents: {source} {}. `hub agents add NAME` adds one, `hub agents check` tries them.",
            file.display()
        ));
        text
    });
    Ok(ExitCode::SUCCESS)
}

pub type Found = Result<Option<Installed>, String>;

fn described(config: &AgentConfig, listed: bool, found: &Found) -> Value {
    let installed = found.as_ref().ok().and_then(Option::as_ref);
    let policy = match &config.kind {
        Kind::Speaks(speaks) => Some(speaks.policy.name()),
        _ => None,
    };
    json!({
        "agent": config.agent,
        "configured": listed,
        "models": config.models,
        "program": config.program(),
        "path": installed.map(|installed| installed.program.display().to_string()),
        "version": installed.and_then(|installed| installed.version.clone().ok()).map(dotted),
        "needed": known(config).map(|known| dotted(known.oldest)),
        "new_enough": installed.map(Installed::is_new_enough),
        "logged_in": installed.and_then(|installed| installed.logged_in),
        "policy": policy,
        "can": installed.map(|installed| can(installed.known)),
        "problem": found.as_ref().err().cloned().or_else(|| hint(config, found)),
    })
}

fn row(config: &AgentConfig, listed: bool, found: &Found) -> Vec<String> {
    let installed = found.as_ref().ok().and_then(Option::as_ref);
    let login = match installed.map(|installed| installed.logged_in) {
        Some(Some(true)) => "yes",
        Some(Some(false)) => "no",
        Some(None) => "?",
        None => "",
    };
    let policy = match &config.kind {
        Kind::Speaks(speaks) if listed => speaks.policy.name(),
        _ => "",
    };
    let here = match (found, listed) {
        (Err(_), _) => "not installed",
        (Ok(_), true) => "configured",
        (Ok(_), false) => "installed",
    };
    vec![
        config.agent.clone(),
        config.program().unwrap_or("").to_owned(),
        installed.map(version).unwrap_or_default(),
        known(config).map(|known| dotted(known.oldest)).unwrap_or_default(),
        login.to_owned(),
        policy.to_owned(),
        installed.map(|installed| can(installed.known).join(" ")).unwrap_or_default(),
        here.to_owned(),
    ]
}

fn known(config: &AgentConfig) -> Option<&'static Known> {
    Known::of(config.program()?)
}

/// Its version, and in a word what is wrong with it.
fn version(installed: &Installed) -> String {
    match &installed.version {
        Ok(version) if installed.is_new_enough() => dotted(*version),
        Ok(version) => format!("{} (too old)", dotted(*version)),
        Err(_) => "?".into(),
    }
}

/// What is wrong with it, and how to mend that.
pub fn hint(config: &AgentConfig, found: &Found) -> Option<String> {
    let name = &config.agent;
    match found {
        Err(_) if config.program().is_some_and(|program| program == name.as_str()) => {
            let how =
                known(config).map(|known| format!(": {} (version {} or newer)", known.install, dotted(known.oldest)));
            Some(format!("{name}: not in PATH{}", how.unwrap_or_default()))
        }
        Err(problem) => Some(format!("{name}: {problem}")),
        Ok(Some(installed)) if !installed.is_new_enough() => {
            let Known { name: program, oldest, install, .. } = installed.known;
            let needed = dotted(*oldest);
            Some(match &installed.version {
                Ok(version) => {
                    let here = dotted(*version);
                    format!("{name}: {program} is {here}, too old: {needed} or newer is needed. To get it: {install}")
                }
                Err(instead) => {
                    let path = installed.program.display();
                    format!("{name}: {path} --version {instead}; {needed} or newer is needed. To get it: {install}")
                }
            })
        }
        Ok(Some(installed)) if installed.logged_in == Some(false) => {
            Some(format!("{name}: nobody is logged in: {}", installed.known.how))
        }
        Ok(_) => None,
    }
}

fn dotted([major, minor, patch]: [u32; 3]) -> String {
    format!("{major}.{minor}.{patch}")
}

fn can(known: &Known) -> Vec<&'static str> {
    let can = known.can;
    [("resume", can.resume), ("steer", can.steer), ("ask", can.ask), ("limits", can.limits)]
        .into_iter()
        .filter_map(|(what, it)| it.then_some(what))
        .collect()
}

/// Adds an agent to the file, and changes nothing else of it.
async fn add(
    file: &Path,
    name: &str,
    program: Option<String>,
    model: Option<String>,
    policy: Option<Policy>,
    account: Option<String>,
    out: Output,
) -> Result<ExitCode> {
    let written = program.as_deref().unwrap_or(name);
    let Some(known) = Known::of(written) else {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
        bail!(
            "{written} is none of the programs that are known ({}): write it into {} yourself; functions/worker/README.md says how",
            names.join(", "),
            file.display()
        );
    };
    let mut agent = json!({
        "agent": name, "models": [known.name], "kind": known.dialect.adapter(), "program": written,
        "policy": policy.map_or_else(|| "edit".to_owned(), args::name),
    });
    if let Some(model) = model {
        agent["model"] = model.into();
    }
    if let Some(account) = account {
        agent["account"] = account.into();
    }
    let mut list: Vec<Value> = match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is no JSON list", file.display()))?,
        // A worker with a file offers what is in it, so what it offered without one is kept.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            vec![json!({"agent": "survey", "models": ["any"], "kind": "survey"})]
        }
        Err(error) => return Err(error).with_context(|| format!("{} can not be read", file.display())),
    };
    if let Some(there) = list.iter().find(|agent| agent["agent"] == name) {
        bail!(
            "{name} is in {} already: {there}\nTo change it, edit it there (functions/worker/README.md lists the keys); to have another one \
             of the same program: hub agents add NAME --program {written}",
            file.display()
        );
    }
    // In front of the survey, which is what a machine does that has nothing better.
    let at = list.iter().position(|agent| agent["kind"] == "survey").unwrap_or(list.len());
    list.insert(at, agent);
    let text = serde_json::to_string_pretty(&list)? + "\n";
    let parsed = AgentConfig::parse(&text).context("nothing was written")?;
    let added = parsed.iter().find(|config| config.agent == name).context("nothing was written")?;
    let found = look(added).await;
    write_whole(file, &text)?;
    let hint = hint(added, &found);
    out.show(&json!({"file": file, "agent": list[at], "problem": hint}), |_| {
        let mut text = format!("{name} is in {}; a worker that starts offers it.", file.display());
        text.push_str(&match hint {
            Some(hint) => format!("\n{hint}"),
            None => format!("\nTry it: hub agents check {name}"),
        });
        text
    });
    Ok(ExitCode::SUCCESS)
}

/// Another program that reads it meanwhile finds the old list or the new one.
fn write_whole(file: &Path, text: &str) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("{} can not be made", folder.display()))?;
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().sync_all()?;
    new.persist(file).with_context(|| format!("{} can not be written", file.display()))?;
    Ok(())
}

/// One small task each, in an empty folder.
async fn check(file: &Path, name: Option<&str>, out: Output) -> Result<ExitCode> {
    let listed = read(file)?.unwrap_or_default();
    let agents: Vec<AgentConfig> = match name {
        Some(name) => vec![
            listed
                .iter()
                .find(|config| config.agent == name)
                .cloned()
                .or_else(|| Known::of(name).map(AgentConfig::known))
                .with_context(|| format!("there is no agent {name} in {}", file.display()))?,
        ],
        None if listed.is_empty() => KNOWN.iter().map(AgentConfig::known).collect(),
        None => listed.into_iter().filter(AgentConfig::speaks).collect(),
    };
    if let Some(config) = agents.iter().find(|config| !config.speaks()) {
        bail!("{} is not of a kind that can be tried out: it says nothing of how it went", config.agent);
    }
    let mut results = Vec::new();
    for config in &agents {
        if name.is_none() && look(config).await.is_err() {
            continue;
        }
        if !out.json {
            print_line(&format!("▸ {} …", config.agent));
        }
        let begun = std::time::Instant::now();
        let outcome = try_out(config, &agents, PROMPT).await;
        let (well, text) = match &outcome {
            Ok(Outcome::Complete { result, .. }) => (true, result.clone()),
            Ok(Outcome::Failed { error, .. }) => (false, error.clone()),
            Ok(Outcome::Stopped { .. } | Outcome::Left { .. } | Outcome::Parked { .. }) => {
                (false, "it was stopped".into())
            }
            Err(problem) => (false, problem.clone()),
        };
        let seconds = begun.elapsed().as_secs_f64();
        if well {
            mark_checked(config);
        }
        if !out.json {
            let sign = if well { "✅" } else { "❌" };
            print_line(&format!("{sign} {} ({seconds:.1} s)\n{text}", config.agent));
        }
        results.push(json!({"agent": config.agent, "well": well, "text": text, "seconds": seconds}));
    }
    if out.json {
        print_line(&Value::Array(results.clone()).to_string());
    } else if results.is_empty() {
        print_line("No agent is configured or installed here. `hub agents` says how to get one.");
    }
    let all = results.iter().all(|result| result["well"] == true);
    Ok(if all && !results.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Tells this user's workers that a login works again. One that can not be told notices when its files change.
fn mark_checked(agent: &AgentConfig) {
    let Some(file) = login::checked(agent) else { return };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).ok();
    }
    std::fs::write(file, "").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_program_is_said_in_words() {
        let config = AgentConfig::known(&KNOWN[0]);
        let found = |version: Result<[u32; 3], &str>| {
            let program = "/opt/claude".into();
            let version = version.map_err(str::to_owned);
            Ok(Some(Installed { known: &KNOWN[0], program, version, logged_in: Some(true) }))
        };
        for (version, shown, hinted) in [
            (Ok([2, 1, 332]), "2.1.332", None),
            (
                Ok([1, 9, 0]),
                "1.9.0 (too old)",
                Some("claude: claude is 1.9.0, too old: 2.1.197 or newer is needed. To get it: npm install"),
            ),
            (
                Err("does not answer within 4 s"),
                "?",
                Some("claude: /opt/claude --version does not answer within 4 s; 2.1.197 or newer is needed."),
            ),
        ] {
            let found = found(version);
            let told = hint(&config, &found);
            assert_eq!(told.is_some(), hinted.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().starts_with(hinted.unwrap_or_default()));
            let row = row(&config, true, &found);
            assert_eq!((row[2].as_str(), row[3].as_str()), (shown, "2.1.197"));
        }
        let missing = Err("claude is not in PATH".to_owned());
        assert!(hint(&config, &missing).unwrap().ends_with("(version 2.1.197 or newer)"));
        assert_eq!(row(&config, false, &missing)[3], "2.1.197");
    }

    #[tokio::test]
    async fn one_that_is_there_is_not_added_twice() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("agents.json");
        let out = Output { json: true };
        add(&file, "review", Some("claude".into()), None, None, None, out).await.unwrap();
        let before = std::fs::read_to_string(&file).unwrap();
        let error = add(&file, "review", Some("claude".into()), None, None, None, out).await.unwrap_err().to_string();
        assert!(error.contains("already") && error.contains("hub agents add NAME --program claude"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    }
}
