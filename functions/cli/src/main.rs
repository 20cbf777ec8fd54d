//! The program `hub`: reads what was typed, calls a library, prints what came back.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

mod accounts;
mod agents;
mod args;
mod asks;
mod attempts;
mod budgets;
mod commands;
mod costs;
mod dev;
mod discord;
mod doctor;
mod limits;
mod mcp;
mod output;
mod shares;
mod shield;
mod target;
mod way_back;
mod workspaces;

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

use args::{Cli, Command};
use output::{Output, tell};
use target::Target;

fn main() -> ExitCode {
    // Before anything heavy: it lives as long as an agent does, and there are many. It is no command that a person types.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == hub_worker::host::COMMAND) {
        return hub_worker::host::main(arguments);
    }
    // Whatever the command: most of them hold a token or a password.
    let shielded = shield::raise();
    let cli = Cli::parse();
    if let Command::Completions { shell } = cli.command {
        // Into memory first: clap_complete panics where nobody reads its output (`hub completions bash | head`).
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "hub", &mut script);
        output::print_script(String::from_utf8_lossy(&script).trim_end());
        return ExitCode::SUCCESS;
    }
    let cli = match cli {
        Cli { command: Command::WayBack(command), global } => {
            return way_back::main(command, Output { json: global.json });
        }
        other => other,
    };
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if matches!(cli.command, Command::Serve(_) | Command::Dev(_)) {
        give_memory_back();
    }
    if let Err(why) = shielded {
        tell(&format!("hub: {why}"));
    }
    if let Some(told) = shield::told_by_arguments(cli.global.url.as_deref()) {
        tell(&format!("hub: {told}"));
    }
    // What `hub dev` says is its interface; its log is for those who ask.
    let quiet = if matches!(cli.command, Command::Worker(_) | Command::Serve(_) | Command::Bridge { .. }) {
        "info"
    } else {
        "error"
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("hub: no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let telemetry = runtime.block_on(async { hub_telemetry::start("hub", quiet) });
    let outcome = runtime.block_on(run(cli));
    telemetry.end();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            // The whole chain, each cause once: libraries often repeat their source in their own text.
            let mut text = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !text.contains(&cause) {
                    text = format!("{text}: {cause}");
                }
            }
            tell(&format!("hub: {text}"));
            ExitCode::FAILURE
        }
    }
}

/// glibc gives back at once what is larger than a size that it raises by itself, up to 32 MB: eight deliveries of 25 MB at once, and a program of 15 MB
/// keeps 200 MB for good. Where the environment says the size, it stays; that is read before the program begins, so it begins again.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    use std::os::unix::process::CommandExt;
    const NAME: &str = "MALLOC_MMAP_THRESHOLD_";
    if std::env::var_os(NAME).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        // Comes back only where it fails, and then all goes on, with more memory.
        let _ = std::process::Command::new(program).args(std::env::args_os().skip(1)).env(NAME, "1048576").exec();
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let out = Output { json: cli.global.json };
    let target = Target::new(&cli.global)?;
    match cli.command {
        Command::Dev(options) => dev::run(&cli.global, options, out).await,
        Command::Migrate { platform, repair } => commands::migrate(&target, platform, repair, out).await,
        Command::Seed => commands::seed(&target, out).await,
        Command::Worker(options) => commands::worker(&target, options).await,
        Command::Send { channel, text, wait, thread, reply_to, idempotency_key } => {
            let to = commands::To { thread, reply_to };
            commands::send(&target, &channel, text, wait, to, idempotency_key, out).await
        }
        Command::Tail { channel, thread, last, after } => {
            commands::tail(&target, &channel, thread, last, after, out).await
        }
        Command::Koji { command, channel } => commands::koji(&target, &channel, &command.join(" "), out).await,
        Command::Serve(options) => commands::serve(&target, options).await,
        Command::Task { command } => commands::task(&target, command, out).await,
        Command::Inbox { limit } => asks::inbox(&target, limit, out).await,
        Command::Agents { command, agents } => agents::agents(command, agents, out).await,
        Command::Workspaces { command, state_dir } => {
            let states = workspaces::states(state_dir, &cli.global.data_dir());
            workspaces::workspaces(command, &states, out).await
        }
        Command::Devices => commands::devices(&target, out).await,
        Command::Limits => limits::limits(&target, out).await,
        Command::Costs { by, days } => costs::costs(&target, by, days, out).await,
        Command::Budgets { command } => budgets::budgets(&target, command, out).await,
        Command::Shares { command } => shares::shares(&target, command, out).await,
        Command::Fallbacks { command } => shares::fallbacks(&target, command, out).await,
        Command::Threads { channel, status } => commands::threads(&target, channel.as_deref(), status, out).await,
        Command::Device { command } => commands::device(&target, command, out).await,
        Command::Link { command } => commands::link(&target, command, out).await,
        Command::Member { command } => commands::member(&target, command, out).await,
        Command::Places { command } => commands::places(&target, command, out).await,
        Command::Discord { command } => discord::discord(&target, command, out).await,
        Command::Bridge { command } => discord::bridge(&target, command).await,
        Command::Token { who } => commands::token(&target, who, out),
        Command::Doctor => doctor::run(&target, out).await,
        Command::Completions { .. } | Command::WayBack(_) => Ok(ExitCode::SUCCESS),
    }
}
