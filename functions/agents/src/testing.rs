//! What tests of the codecs have in common.

use std::{collections::HashMap, fs, path::PathBuf};

use chrono::{TimeZone, Utc};
use proptest::prelude::*;
use serde_json::Value;

use crate::{Codec, Command, Decision, End, Event, How, Job, Policy, Tokens, Turn, Verdict};

pub(crate) fn hub() -> crate::HubServer {
    crate::HubServer { program: "/opt/a b/hub".into(), socket: "/s/hub.sock".into() }
}

pub(crate) fn job() -> Job {
    Job {
        prompt: "ping".into(),
        folder: "/home/dev/project".into(),
        model: None,
        policy: Policy::Edit,
        resume: None,
        used: (Tokens::default(), 0.0),
        hub: None,
        now: Utc.with_ymd_and_hms(2026, 11, 29, 8, 0, 0).unwrap(),
    }
}

/// What was recorded of a run of a real program: see `tests/agents/fixtures`.
pub(crate) struct Recorded {
    pub(crate) name: String,
    lines: Vec<(char, String)>,
    end: End,
    errors: String,
}

/// The recordings of all programs, and those that are of no use but here.
fn folders() -> [PathBuf; 2] {
    ["../../tests/agents/fixtures", "tests/recorded"]
        .map(|folder| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder))
}

/// All of a program: `codex.`, `gemini.`.
pub(crate) fn recorded(program: &str, numbers: fn(&str) -> u64) -> Vec<Recorded> {
    let entries = folders().into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with(program) && name.ends_with(".transcript")).collect();
    names.sort();
    names.dedup();
    assert!(!names.is_empty(), "no transcript of {program}");
    names.into_iter().map(|name| Recorded::read(name, numbers)).collect()
}

impl Recorded {
    /// `numbers` gives the number by which we ask for something: who recorded had others.
    pub(crate) fn read(name: String, numbers: fn(&str) -> u64) -> Self {
        let text = folders().into_iter().find_map(|folder| fs::read_to_string(folder.join(&name)).ok()).unwrap();
        let (mut lines, mut errors, mut end) = (Vec::new(), String::new(), End::Cut);
        let mut asked: HashMap<String, u64> = HashMap::new();
        for line in text.lines() {
            let (mark, rest) = line.split_at_checked(3).unwrap_or((line, ""));
            let mut value: Value = serde_json::from_str(rest).unwrap_or_default();
            match mark {
                ">> " => {
                    if let (Some(method), id) = (value["method"].as_str(), value["id"].to_string()) {
                        asked.insert(id, numbers(method));
                    }
                    lines.push(('>', rest.to_owned()));
                }
                "<< " => {
                    let answers = value.get("method").is_none() && value.get("id").is_some();
                    match asked.get(&value["id"].to_string()).filter(|_| answers) {
                        Some(number) => {
                            value["id"] = (*number).into();
                            lines.push(('<', value.to_string()));
                        }
                        None => lines.push(('<', rest.to_owned())),
                    }
                }
                "!! " => errors += &format!("{rest}\n"),
                "== " => {
                    let number = rest.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
                    end = if rest.starts_with("exit") { End::Exit(number) } else { End::Signal(number) };
                }
                _ => {}
            }
        }
        Self { name, lines, end, errors }
    }

    /// Standard output.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let said = self.lines.iter().filter(|(mark, _)| *mark == '<');
        said.flat_map(|(_, line)| format!("{line}\n").into_bytes()).collect()
    }

    /// The run once more, with the answers that were given then.
    pub(crate) fn again(&self, codec: impl Codec) -> (Vec<Event>, Verdict) {
        self.again_with(codec, &Decision::Deny("no".into()))
    }

    /// The same, with another answer where it was a no.
    pub(crate) fn again_with(&self, mut codec: impl Codec, no: &Decision) -> (Vec<Event>, Verdict) {
        let mut turn = Turn::default();
        codec.begin(&mut turn);
        for (mark, line) in &self.lines {
            let value: Value = serde_json::from_str(line).unwrap_or_default();
            if *mark == '<' {
                codec.feed(format!("{line}\n").as_bytes(), &mut turn);
            } else if let (None, Some(id), Some(result)) = (value.get("method"), value.get("id"), value.get("result")) {
                let text = result.to_string();
                let yes = ["accept", "proceed", "allow"].iter().any(|word| text.contains(word));
                let decision = if yes { Decision::Allow(None) } else { no.clone() };
                codec.command(Command::Answer { id: id.to_string(), decision }, &mut turn);
            }
        }
        codec.finish(&mut turn);
        let verdict = codec.verdict(&How { end: self.end, errors: &self.errors });
        (turn.events, verdict)
    }
}

/// All that comes of an output that is fed in these pieces, and what is written.
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

/// Every single cut, and many at random, give the same.
pub(crate) fn any_cutting<C: Codec>(codec: impl Fn() -> C, bytes: &[u8]) {
    let whole = heard(codec(), &[bytes]);
    // Cuts at the same place of a line's inside do the same: near its ends all are tried, and in big ones some.
    let step = (bytes.len() / 400).max(1);
    let near = |at: usize| bytes[at.saturating_sub(2)..(at + 2).min(bytes.len())].contains(&b'\n');
    for at in (0..bytes.len()).filter(|at| at % step == 0 || near(*at)) {
        let (one, two) = bytes.split_at(at);
        assert!(heard(codec(), &[one, two]) == whole, "cut at {at}");
    }
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..Default::default()
    });
    let cuts = prop::collection::vec(0..=bytes.len(), 0..200);
    runner
        .run(&cuts, |mut cuts| {
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert!(heard(codec(), &pieces) == whole);
            Ok(())
        })
        .unwrap();
}

/// What a program could say by mistake, or to do harm: nothing of it may end us, or make us keep more than a bounded part.
pub(crate) fn hostile<C: Codec>(codec: impl Fn() -> C, said: &[u8]) {
    let lines: Vec<&[u8]> = said.split_inclusive(|byte| *byte == b'\n').collect();
    let strange: Vec<Vec<u8>> = [
        &b"not json"[..], b"[]", b"null", b"7", b"\"x\"", b"{}", b"{\"id\":null}", b"{\"id\":{},\"method\":\"x\",\"params\":7}", b"\xff\xfe{\"method\":\"a\"}",
        b"{\"method\":\"session/update\",\"params\":{\"update\":[]}}", b"{\"id\":1,\"result\":[]}", b"{\"id\":2,\"result\":\"x\"}", b"{\"id\":10,\"result\":7}",
        b"{\"id\":9999999999999999999999,\"result\":{}}", b"{\"id\":-1,\"error\":7}", b"{\"type\":\"item.completed\",\"item\":7}", b"{\"type\":7}",
        b"{\"method\":\"item/started\",\"params\":{\"item\":{\"type\":\"commandExecution\",\"id\":7,\"command\":[1]}}}", b"{\"a\":\"\\u0000\"}",
        b"{\"method\":\"turn/completed\",\"params\":{\"turn\":{\"status\":7,\"error\":[]}}}", b"{\"method\":\"thread/tokenUsage/updated\",\"params\":{\"tokenUsage\":{\"total\":{\"inputTokens\":\"100\"}}}}",
    ]
    .iter()
    .map(|line| [line, &b"\n"[..]].concat())
    .chain([
        [b"{\"method\":\"x\",\"params\":".as_slice(), &b"[".repeat(100_000), b"\n"].concat(),
        [b"{\"method\":\"x\",\"params\":".as_slice(), &b"{\"a\":".repeat(5000), b"1", &b"}".repeat(5000), b"}\n"].concat(),
        [b"{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{\"sessionId\":\"s\",\"update\":{\"sessionUpdate\":\"agent_message_chunk\",\"content\":{\"type\":\"text\",\"text\":\"".as_slice(), &b"x".repeat(3_000_000), b"\"}}}}\n"].concat(),
        b"\n\n\0\0\n".to_vec(),
    ])
    .collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..Default::default()
    });
    let order = prop::collection::vec(
        (0..lines.len() + strange.len(), any::<prop::sample::Index>(), any::<u8>(), 0u8..4),
        1..60,
    );
    runner
        .run(&order, |order| {
            let mut all = Vec::new();
            for (at, index, byte, how) in order {
                let line =
                    lines.get(at).copied().unwrap_or_else(|| &strange[at.saturating_sub(lines.len()) % strange.len()]);
                let mut line = line.to_vec();
                let place = index.index(line.len());
                match how {
                    0 => line[place] = byte,
                    1 => line.truncate(place),
                    _ => {}
                }
                all.extend(line);
            }
            let whole = heard(codec(), &[&all]);
            prop_assert!(whole == heard(codec(), &all.chunks(1021).collect::<Vec<_>>()));
            prop_assert!(whole.2.text.chars().count() <= 300 || whole.2.class.is_none());
            for event in whole.0 {
                if let Event::Raw(raw) = event {
                    prop_assert!(raw.len() <= 4000);
                }
            }
            Ok(())
        })
        .unwrap();
}

/// Read from any line on, the verdict is the same as far as what is left tells.
pub(crate) fn from_the_middle<C: Codec>(codec: impl Fn() -> C, recorded: &Recorded) {
    let bytes = recorded.bytes();
    let whole = heard(codec(), &[&bytes]).2;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for from in 0..lines.len() {
        let part = heard(codec(), &lines[from..]).2;
        let last = lines[from..].iter().any(|line| {
            ["agentMessage", "agent_message", "stopReason", "\"error\""]
                .iter()
                .any(|word| memchr::memmem::find(line, word.as_bytes()).is_some())
        });
        if last {
            assert_eq!(
                (part.class, &part.text, part.retry),
                (whole.class, &whole.text, whole.retry),
                "{} from line {from}",
                recorded.name
            );
        }
    }
}
