//! `hub dev`: says what the local stack does while it starts, and then where everything is.

use anyhow::Result;
use hub_local::{DevEvent, DevOptions};
use hub_worker::{
    AgentConfig,
    agents::installed::{installed, present},
};
use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};
use tokio_util::sync::CancellationToken;

use crate::args::{Dev, Global};
use crate::output::{Output, print_line, tame, try_print_json_line};

pub async fn run(global: &Global, options: Dev, out: Output) -> Result<ExitCode> {
    let shutdown = CancellationToken::new();
    tokio::spawn(crate::commands::until_told_to_stop(shutdown.clone()));
    let dev = DevOptions {
        port: options.port,
        db_port: options.db_port,
        data_dir: global.data_dir(),
        reset: options.reset,
        worker: !options.no_worker,
        agents: agents(options.agents.as_deref(), out).await?,
        projects_root: options.projects_root,
        ..DevOptions::default()
    };
    hub_local::run(dev, shutdown, move |event| tell(&event, out)).await?;
    Ok(ExitCode::SUCCESS)
}

/// What the device `dev` offers: what any worker on this machine would, else the known programs that are here, and `survey`. Without any
/// of those that are listed, `survey` is what shows that it works.
async fn agents(named: Option<&std::path::Path>, out: Output) -> Result<Vec<AgentConfig>> {
    if let Some(agents) = crate::agents::listed(named, hub::config::environment("HUB_WORKER_AGENTS"))? {
        let (mut here, missing) = present(&agents);
        for missing in missing.iter().filter(|_| !out.json) {
            print_line(&format!("! {missing}; then start hub dev again"));
        }
        if here.is_empty() {
            here.push(AgentConfig::survey());
        }
        return Ok(here);
    }
    let mut agents = Vec::new();
    for found in installed().await {
        let config = AgentConfig::known(found.known);
        let hint = crate::agents::hint(&config, &Ok(Some(found)));
        if let Some(hint) = hint.filter(|_| !out.json) {
            print_line(&format!("! {hint}"));
        }
        agents.push(config);
    }
    agents.push(AgentConfig::survey());
    Ok(agents)
}

fn tell(event: &DevEvent, out: Output) {
    if out.json {
        if let DevEvent::Ready(ready) = event {
            let ready = serde_json::json!({
                "api_url": ready.api_url, "database_url": ready.database_url, "env_file": ready.env_file,
                "projects_root": ready.projects_root, "device": ready.device, "postgres_major": ready.postgres_major,
            });
            try_print_json_line(&ready);
        }
        return;
    }
    match event {
        DevEvent::Step(what) => print_line(&format!("▸ {what}")),
        DevEvent::Progress(what) if std::io::stdout().is_terminal() => {
            // One line that changes, so that a hundred small steps are not a hundred lines.
            let mut stdout = std::io::stdout().lock();
            let _ = write!(stdout, "\r\u{1b}[2K  {}\r", tame(what)).and_then(|()| stdout.flush());
        }
        // In a log, only what says that something long goes on.
        DevEvent::Progress(what) if what.starts_with("still") => print_line(&format!("  {what}")),
        DevEvent::Progress(_) => {}
        DevEvent::Warning(what) => print_line(&format!("! {what}")),
        DevEvent::Ready(ready) => print_line(&ready.to_string()),
        DevEvent::Stopping => print_line("▸ stopping"),
    }
}
