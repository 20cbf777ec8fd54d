//! How fast what an agent program says is understood: a run of it that was recorded, with large results of tools, again and again.

use crate::tools::{Aim, Bench, Figure};
use anyhow::{Context, Result, ensure};
use hub_agents::{Dialect, Event, Job, Policy, Turn};
use std::time::Instant;

/// What is understood in a round, in bytes.
const BYTES: usize = 32 * 1024 * 1024;
/// As a host gives it.
const PIECE: usize = 64 * 1024;
const AIM_MB: f64 = 200.0;

const RECORDED: [(&str, Dialect, &str); 3] = [
    ("claude", Dialect::Claude, "claude.2.1.332.tool_big"),
    ("codex", Dialect::Codex, "codex.0.171.0.tool_big"),
    ("acp", Dialect::Acp, "gemini.0.61.0.tool"),
];

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, dialect, file) in RECORDED {
        let path = format!("{}/agents/fixtures/{file}.transcript", env!("CARGO_MANIFEST_DIR"));
        let recorded = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let lines: Vec<&str> = recorded.lines().filter_map(|line| line.strip_prefix("<< ")).collect();
        // The beginning once, and what lies between it and the end as often as it takes.
        let (begin, rest) = lines.split_at(lines.len().min(4));
        let once = rest.iter().map(|line| line.len() + 1).sum::<usize>().max(1);
        let mut said = begin.join("\n").into_bytes();
        said.push(b'\n');
        for line in rest.iter().cycle().take(rest.len() * BYTES.div_ceil(once)) {
            said.extend_from_slice(line.as_bytes());
            said.push(b'\n');
        }
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            ours.push(understood(dialect, &said)?);
            peer.push(parsed(&said)?);
        }
        let title = |against: &str| format!("codec of {name}, against {against}");
        figures.push(Figure::of_rounds(
            title("the aim"),
            "MB/s",
            &ours,
            &[AIM_MB].repeat(ours.len()),
            Some(Aim::AtLeast(1.0)),
        ));
        figures.push(Figure::of_rounds(title("serde_json::Value of each line"), "MB/s", &ours, &peer, None));
    }
    Ok(figures)
}

fn understood(dialect: Dialect, said: &[u8]) -> Result<f64> {
    let job = Job {
        prompt: "count".into(),
        folder: "/home/dev/project".into(),
        model: None,
        policy: Policy::Full,
        resume: None,
        used: Default::default(),
        now: chrono::Utc::now(),
        hub: None,
    };
    let mut codec = dialect.codec(job);
    let (mut turn, mut events) = (Turn::default(), 0_usize);
    let begun = Instant::now();
    codec.begin(&mut turn);
    for piece in said.chunks(PIECE) {
        codec.feed(piece, &mut turn);
        events += turn.events.iter().filter(|event| !matches!(event, Event::Raw(_))).count();
        turn = Turn::default();
    }
    codec.finish(&mut turn);
    let took = begun.elapsed().as_secs_f64();
    ensure!(events > 0, "nothing was understood");
    Ok(megabytes(said) / took)
}

fn parsed(said: &[u8]) -> Result<f64> {
    let begun = Instant::now();
    for line in said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let value: serde_json::Value = serde_json::from_slice(line)?;
        std::hint::black_box(value);
    }
    Ok(megabytes(said) / begun.elapsed().as_secs_f64())
}

#[allow(clippy::cast_precision_loss, reason = "it is far below 2^52")]
fn megabytes(said: &[u8]) -> f64 {
    said.len() as f64 / 1e6
}
