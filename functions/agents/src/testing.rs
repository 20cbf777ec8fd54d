//! What tests of the codecs have in common.

use std::{fs, path::PathBuf};

use chrono::{TimeZone, Utc};

use crate::{Codec, End, Event, How, Job, Policy, Tokens, Turn, Verdict};

pub(crate) fn job() -> Job {
    Job {
        prompt: "ping".into(),
        folder: "/home/dev/project".into(),
        model: None,
        policy: Policy::Edit,
        resume: None,
        used: (Tokens::default(), 0.0),
        now: Utc.with_ymd_and_hms(2026, 11, 29, 8, 0, 0).unwrap(),
    }
}

/// What the programs said: standard output of the transcripts of a program, by the names of the cases.
pub(crate) fn recorded(program: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/agents/fixtures");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(program) && name.ends_with(".transcript") {
            let text = fs::read_to_string(&path).unwrap();
            let said: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("<< ")).collect();
            all.push((name, (said.join("\n") + "\n").into_bytes()));
        }
    }
    all.sort();
    assert!(!all.is_empty(), "no transcript of {program}");
    all
}

/// All that comes of an output that is fed in these pieces.
pub(crate) fn heard(mut codec: impl Codec, pieces: &[&[u8]]) -> (Vec<Event>, String, Verdict) {
    let mut turn = Turn::default();
    codec.begin(&mut turn);
    for piece in pieces {
        codec.feed(piece, &mut turn);
    }
    codec.finish(&mut turn);
    let verdict = codec.verdict(&How { end: End::Exit(0), errors: "" });
    (turn.events, String::from_utf8(turn.input).unwrap(), verdict)
}
