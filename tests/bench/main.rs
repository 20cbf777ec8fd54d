//! Measures the hub against its peers and prints a table of ratios. Started by `tests/bench/run`, which gives it a Postgres.

mod agent;
mod answer;
mod ask;
mod attempts;
mod backlog;
mod cancel;
mod changes;
mod codecs;
mod decay;
mod drain;
mod ears;
mod edge_koji;
mod edge_wasm;
mod edge_webhook;
mod fanout;
mod fleet;
mod graphile;
mod host;
mod http;
mod koji;
mod life;
mod limits;
mod neighbour;
mod output;
mod page;
mod pickup;
mod place;
mod push;
mod served;
mod stack;
mod start;
mod tools;

use anyhow::{Result, bail};
use clap::Parser;
use std::process::ExitCode;
use tools::{Aim, Bench, Figure};

const NAMES: [&str; 24] = [
    "life",
    "drain",
    "backlog",
    "limits",
    "pickup",
    "koji",
    "decay",
    "page",
    "push",
    "ask",
    "answer",
    "fanout",
    "changes",
    "edge-koji",
    "edge-webhook",
    "edge-wasm",
    "neighbour",
    "start",
    "host",
    "fleet",
    "cancel",
    "output",
    "codecs",
    "place",
];

/// Measures the hub against its peers, in one run on one machine.
#[derive(Parser)]
#[command(name = "tests/bench/run")]
struct Args {
    /// Which benches: life, drain, backlog, limits, pickup, koji, decay, page, push, ask, answer, fanout, changes, edge-koji, edge-webhook, edge-wasm, neighbour,
    /// start, host, fleet, cancel, output, codecs, place; all when none is named.
    names: Vec<String>,
    /// How long one round of one side runs.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// The size of what lies in the tables: 1 is 1,000,000 pending beside 10,000,000 finished tasks, 1,000,000 threads,
    /// 2,000,000 messages, 5,000 sockets.
    #[arg(long, default_value_t = 0.1)]
    scale: f64,
    /// Rounds of each side, in turn; the median of their ratios counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Prints the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Only whether each bench does its work: one second, one round, a thousandth of the size. Last line: "N passed, N failed".
    #[arg(long)]
    smoke: bool,
}

fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == agent::COMMAND) {
        return agent::main(arguments);
    }
    measure()
}

#[tokio::main]
async fn measure() -> Result<ExitCode> {
    let mut args = Args::parse();
    if args.smoke {
        (args.seconds, args.scale, args.rounds) = (1, 0.001, 1);
    }
    if !(0.0001..=10.0).contains(&args.scale) {
        bail!("--scale {}: 0.0001 to 10", args.scale);
    }
    if let Some(unknown) = args.names.iter().find(|n| !NAMES.contains(&n.as_str())) {
        bail!("no bench {unknown}: there are {}", NAMES.join(", "));
    }
    let bench = Bench::new(args.seconds, args.scale, args.rounds)?;
    let about = bench.about().await?;
    if !args.json {
        println!("{about}");
    }

    let (mut figures, mut passed, mut failed): (Vec<Figure>, u32, u32) = (Vec::new(), 0, 0);
    for name in NAMES.into_iter().filter(|n| args.names.is_empty() || args.names.iter().any(|a| a == n)) {
        eprintln!("… {name}");
        let done = match name {
            "life" => life::run(&bench).await,
            "drain" => drain::run(&bench).await,
            "backlog" => backlog::run(&bench).await,
            "limits" => limits::run(&bench).await,
            "pickup" => pickup::run(&bench).await,
            "koji" => koji::run(&bench).await,
            "decay" => decay::run(&bench).await,
            "page" => page::run(&bench).await,
            "push" => push::run(&bench).await,
            "ask" => ask::run(&bench).await,
            "answer" => answer::run(&bench).await,
            "fanout" => fanout::run(&bench).await,
            "changes" => changes::run(&bench).await,
            "edge-koji" => edge_koji::run(&bench).await,
            "edge-webhook" => edge_webhook::run(&bench).await,
            "neighbour" => neighbour::run(&bench).await,
            "start" => start::run(&bench).await,
            "host" => host::run(&bench).await,
            "fleet" => fleet::run(&bench).await,
            "cancel" => cancel::run(&bench).await,
            "output" => output::run(&bench).await,
            "codecs" => codecs::run(&bench),
            "place" => place::run(&bench).await,
            _ => edge_wasm::run(&bench).await,
        };
        match done {
            Ok(more) => {
                passed += 1;
                figures.extend(more);
            }
            Err(error) => {
                failed += 1;
                eprintln!("{name}: {error:#}");
                if args.smoke {
                    println!("not ok - {name}: {error:#}");
                }
            }
        }
    }

    if args.json {
        println!(
            "{}",
            serde_json::json!({ "about": about, "figures": figures.iter().map(Figure::json).collect::<Vec<_>>() })
        );
    } else {
        print_table(&figures);
    }
    if args.smoke {
        println!("{passed} passed, {failed} failed");
    }
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_table(figures: &[Figure]) {
    let mut rows = vec![["bench", "ours", "peer", "unit", "ratio", "aim", ""].map(String::from)];
    for figure in figures {
        rows.push([
            figure.name.clone(),
            round(figure.ours),
            round(figure.peer),
            figure.unit.into(),
            format!("{:.2}", figure.ratio),
            figure.aim.map_or_else(String::new, |aim| aim.to_string()),
            match figure.aim {
                Some(aim) if !aim.is_met(figure.ratio) => "missed".into(),
                _ => String::new(),
            },
        ]);
    }
    let widths: Vec<usize> = (0..7).map(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(
                |(i, (cell, width))| {
                    if matches!(i, 1 | 2 | 4) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        println!("{}", line.join("  ").trim_end());
    }
}

fn round(figure: f64) -> String {
    match figure {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f => format!("{f:.3}"),
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(ratio) => write!(f, "≥ {ratio}"),
            Self::AtMost(ratio) => write!(f, "≤ {ratio}"),
        }
    }
}
