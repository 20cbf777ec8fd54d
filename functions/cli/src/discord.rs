//! `hub discord register` and `hub bridge discord`.

use anyhow::Result;
use hub_discord::{Daemon, Settings, commands::slash_commands, register::register};
use serde_json::Value;
use std::process::ExitCode;

use crate::args::{Bridge, Discord};
use crate::output::{Output, print_json, table};
use crate::target::{As, Target};

pub async fn discord(target: &Target, command: Discord, out: Output) -> Result<ExitCode> {
    let Discord::Register { guild, dry_run } = command;
    let settings = if dry_run { None } else { Some(Settings::read(&|name| target.get(name))?) };
    let commands = slash_commands(&target.connect(As::Operator).await?.commands().await?)?;
    let Some(settings) = settings else {
        print_json(&commands);
        return Ok(ExitCode::SUCCESS);
    };
    // A database's address says nothing of where its functions are.
    let project = target.project_address().unwrap_or_else(|| "https://<project>".into());
    let endpoint = format!("{}/functions/v1/koji-discord-bot", project.trim_end_matches('/'));
    let registered = register(&settings, &commands, guild.as_deref(), &endpoint).await?;
    out.show(&registered, |registered| {
        let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let rows: Vec<Vec<String>> = registered
            .commands
            .as_array()
            .into_iter()
            .flatten()
            .map(|command| {
                let options = command["options"].as_array().into_iter().flatten().map(|option| {
                    let name = text(option, "name");
                    if option["required"] == true { format!("<{name}>") } else { format!("[{name}]") }
                });
                let words: Vec<String> =
                    std::iter::once(format!("/{}", text(command, "name"))).chain(options).collect();
                vec![words.join(" "), text(command, "description"), text(command, "id")]
            })
            .collect();
        let place =
            registered.guild.as_ref().map_or_else(|| "everywhere".into(), |guild| format!("in the server {guild}"));
        format!(
            "{} commands of the application {} stand {place}:\n{}\n\nNext:\n{}",
            rows.len(),
            registered.application,
            table(&["command", "description", "id"], &rows),
            registered.next.iter().map(|step| format!("- {step}")).collect::<Vec<_>>().join("\n"),
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// Carries until it is told to stop.
pub async fn bridge(target: &Target, command: Bridge) -> Result<ExitCode> {
    let Bridge::Discord = command;
    let settings = Settings::read(&|name| target.get(name))?;
    let hub = target.connect(As::Operator).await?;
    let shutdown = tokio_util::sync::CancellationToken::new();
    tokio::spawn(crate::commands::until_told_to_stop(shutdown.clone()));
    Daemon::new(hub, settings).run(shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
