//! What the real program said, in two versions.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// One recording.
pub(super) struct Recording {
    pub(super) output: Vec<u8>,
    pub(super) errors: String,
    pub(super) end: End,
}

impl Recording {
    pub(super) fn how(&self) -> How<'_> {
        How { end: self.end, errors: &self.errors }
    }
}

/// All recordings of Claude, by `<version>.<case>`.
pub(super) fn all() -> BTreeMap<String, Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/agents/fixtures");
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = name.strip_prefix("claude.2").and_then(|name| name.strip_suffix(".transcript")) else {
            continue;
        };
        let (mut output, mut errors, mut end) = (Vec::new(), String::new(), End::Lingered);
        for line in fs::read_to_string(&path).unwrap().lines() {
            match line.split_at_checked(3) {
                Some(("<< ", line)) => output.extend_from_slice(format!("{line}\n").as_bytes()),
                Some(("!! ", line)) => errors.extend([line, "\n"]),
                Some(("== ", line)) => {
                    let (what, number) = line.split_once(' ').unwrap();
                    let number = number.parse().unwrap();
                    end = if what == "exit" { End::Exit(number) } else { End::Signal(number) };
                }
                _ => {}
            }
        }
        all.insert(format!("2{name}"), Recording { output, errors, end });
    }
    all
}

/// The case of a recording: `2.1.197.ok` is `ok`.
fn case(name: &str) -> &str {
    name.rsplit('.').next().unwrap()
}

#[test]
fn every_recording_has_its_verdict() {
    use Class::{Auth, BadConfig, ContextFull, Crashed, Denied, Limit, Overloaded, Refused, SessionLost, Silent};
    // The class, whether trying again makes sense, and whether the session can be gone on with.
    let table: &[(&str, Option<Class>, bool, bool)] = &[
        ("agent", None, false, true),
        ("asked_allowed", None, false, true),
        ("asked_denied", Some(Denied), false, true),
        ("background", Some(Silent), true, true),
        // Older versions end it when their input is closed at the first result, as this recording did.
        ("2.1.197.background_short", Some(Silent), true, true),
        ("2.1.332.background_short", None, false, true),
        ("bad_image", Some(Crashed), true, false),
        ("bad_model", Some(BadConfig), false, true),
        ("bad_request", Some(Crashed), true, false),
        ("big_prompt", None, false, true),
        ("bypass", None, false, true),
        ("bypass_as_root", Some(BadConfig), false, false),
        ("change", None, false, true),
        ("closed_early", None, false, true),
        ("cut", Some(Overloaded), true, true),
        ("cut_once", None, false, true),
        ("denied", Some(Denied), false, true),
        ("edit", None, false, true),
        ("edit_and_run", None, false, true),
        ("edit_denied", Some(Denied), false, true),
        ("failed", Some(Overloaded), true, true),
        ("forbidden", Some(Auth), false, true),
        ("internal", Some(Overloaded), true, true),
        ("interrupt", Some(Silent), false, true),
        ("interrupt_words", Some(Silent), false, true),
        ("left_open", None, false, true),
        ("limit", Some(Limit), true, true),
        ("limit_login", Some(Limit), true, true),
        ("max_budget", Some(BadConfig), false, true),
        ("max_tokens", Some(BadConfig), false, true),
        ("max_turns", Some(BadConfig), false, true),
        ("no_login", Some(Auth), false, true),
        ("no_money", Some(Limit), true, true),
        ("ok", None, false, true),
        ("overloaded", Some(Overloaded), true, true),
        ("overloaded_fallback", None, false, true),
        ("partial", None, false, true),
        ("plan", None, false, true),
        ("plan_enabled", None, false, true),
        ("plan_mode", Some(Denied), false, true),
        ("project_hook", None, false, true),
        ("rate", Some(Limit), true, true),
        ("rate_once", None, false, true),
        ("read_refused", Some(Denied), false, true),
        ("refusal", Some(Refused), false, true),
        ("resume", None, false, true),
        ("resume_missing", Some(SessionLost), true, false),
        ("session_reused", Some(BadConfig), false, false),
        ("sigint", Some(Silent), false, true),
        ("sigkill", Some(Crashed), true, true),
        ("sigterm", Some(Crashed), true, true),
        ("steer", None, false, true),
        ("stops", Some(Crashed), true, true),
        ("thinking", None, false, true),
        ("too_long", Some(ContextFull), false, false),
        ("tool", None, false, true),
        ("tool_big", None, false, true),
        ("tool_fails", None, false, true),
        ("two_tools", None, false, true),
        ("two_turns", None, false, true),
        ("unauthorized", Some(Auth), false, true),
        ("unauthorized_login", Some(Auth), false, true),
        ("unauthorized_retries", Some(Auth), false, true),
        ("way_back", None, false, true),
        ("way_back_asked", None, false, true),
        ("way_back_reading", None, false, true),
        ("web", None, false, true),
    ];
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (name, recording) in all() {
        let (_, verdict) = run(job(), &[&recording.output], &recording.how());
        let Some((_, class, retry, resumable)) = table.iter().find(|row| row.0 == case(&name) || row.0 == name) else {
            continue;
        };
        seen += 1;
        if (verdict.class, verdict.retry, verdict.resumable) != (*class, *retry, *resumable) {
            wrong.push(format!("{name}: {verdict:?}"));
        }
    }
    assert!(seen > 100, "only {seen} recordings");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_recording_says_only_what_is_known() {
    for (name, recording) in all() {
        let (events, _) = run(job(), &[&recording.output], &recording.how());
        let raw: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Raw(_))).collect();
        assert!(raw.is_empty(), "{name}: {raw:?}");
    }
}

#[test]
fn any_single_cut_gives_the_same() {
    for (name, recording) in all() {
        let output = &recording.output;
        let whole = run(job(), &[output], &recording.how());
        // A cut within a text of thousands of letters is like the one before it.
        let step = (output.len() / 400).max(1);
        for at in (0..output.len()).step_by(step).chain(memchr::memchr_iter(b'\n', output).flat_map(|at| [at, at + 1]))
        {
            let cut = run(job(), &[&output[..at], &output[at..]], &recording.how());
            assert_eq!(cut, whole, "{name}, cut at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_cutting_gives_the_same(cuts in prop::collection::vec(0.0f64..1.0, 0..24)) {
        for (name, recording) in all() {
            let output = &recording.output;
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let mut at: Vec<usize> = cuts.iter().map(|cut| (cut * output.len() as f64) as usize).collect();
            at.extend([0, output.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &output[pair[0]..pair[1]]).collect();
            prop_assert_eq!(run(job(), &pieces, &recording.how()), run(job(), &[output], &recording.how()), "{}", name);
        }
    }
}

#[test]
fn without_its_beginning_the_class_is_the_same() {
    for (name, recording) in all() {
        let whole = run(job(), &[&recording.output], &recording.how()).1;
        // Only the last line is left, and that a part of the line before it.
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', &recording.output).collect();
        let Some(before) = ends.iter().rev().nth(1) else { continue };
        let left = &recording.output[before.saturating_sub(7)..];
        if !String::from_utf8_lossy(left).contains("\"type\":\"result\"") {
            continue;
        }
        let verdict = run(job(), &[left], &recording.how()).1;
        // What an older version does not list as refused is only in what was cut off.
        if whole.class != Some(Class::Denied) && case(&name) != "background" {
            assert_eq!(verdict.class, whole.class, "{name}");
            // A message that was broken off is in no result's count, and newer versions count since the result before.
            let results = memchr::memmem::find_iter(&recording.output, br#""type":"result""#).count();
            if results == 1 && !case(&name).starts_with("interrupt") {
                let figures = |verdict: &Verdict| (verdict.figures.tokens, verdict.figures.cost_usd);
                assert_eq!(figures(&verdict), figures(&whole), "{name}");
            }
        }
    }
}

#[test]
fn figures_and_files() {
    let all = all();
    for version in ["2.1.197", "2.1.332"] {
        let verdict = |case: &str| {
            let recording = &all[&format!("{version}.{case}")];
            run(job(), &[&recording.output], &recording.how())
        };
        let (_, ok) = verdict("ok");
        assert_eq!((ok.text.as_str(), ok.figures.turns, ok.figures.tool_calls), ("pong", 1, 0));
        assert_eq!((ok.figures.tokens.input, ok.figures.tokens.cached, ok.figures.tokens.output), (130, 20, 30));
        assert!(ok.figures.cost_usd.is_some_and(|cost| cost > 0.0) && !ok.figures.notional);
        assert_eq!(ok.figures.version.as_deref(), Some(version));
        assert!(ok.figures.model.is_some());

        let (events, edit) = verdict("edit");
        assert_eq!((edit.figures.files.as_slice(), edit.figures.tool_calls), (["notes.txt".to_owned()].as_slice(), 1));
        assert!(
            events.iter().any(|event| matches!(event, Event::ToolStart { words, .. } if words == "Writing notes.txt"))
        );

        let (events, fails) = verdict("tool_fails");
        assert!(fails.class.is_none());
        assert!(events.iter().any(|event| matches!(event, Event::ToolEnd { words: Some(words), ok: false, .. }
            if words.starts_with("Running ") && words.ends_with(": exit 3"))));

        let (events, _) = verdict("overloaded_fallback");
        assert!(events.iter().any(|event| matches!(event, Event::Fallback { to, .. } if to == "claude-haiku-4-5")));

        let (events, _) = verdict("plan_enabled");
        let last =
            events.iter().rev().find_map(|event| if let Event::Plan(steps) = event { Some(steps) } else { None });
        assert!(
            last.is_some_and(|steps| steps.len() == 2 && steps.iter().all(|step| step.state == crate::StepState::Done))
        );

        let (events, limit) = verdict("limit_login");
        let reset = Some("2030-01-01T00:00:00Z".parse().unwrap());
        let of = limit.limit.unwrap();
        assert_eq!(
            (of.until, of.source, of.window),
            (reset, crate::LimitSource::Structured, Some(crate::Window::FiveHours))
        );
        assert!(limit.figures.notional);
        assert!(events.iter().any(|event| matches!(event, Event::Limit(limit) if limit.met)));

        let (events, auth) = verdict("unauthorized");
        assert!(matches!(
            events.iter().find(|event| matches!(event, Event::Retry { .. })),
            Some(Event::Retry { attempt: 1, status: Some(401), class: Some(Class::Auth), .. })
        ));
        assert!(auth.remedy.unwrap().contains("/login"));

        assert_eq!(verdict("resume_missing").1.figures.session, None);
    }
}

#[test]
fn reasoning_and_a_helpers_words_are_not_the_agents() {
    for (name, recording) in all() {
        if !matches!(case(&name), "thinking" | "partial" | "agent") {
            continue;
        }
        let (events, _) = run(job(), &[&recording.output], &recording.how());
        let texts: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Text(_))).collect();
        assert!(texts.iter().all(|text| **text == Event::Text("pong".to_owned())), "{name}: {texts:?}");
    }
}
