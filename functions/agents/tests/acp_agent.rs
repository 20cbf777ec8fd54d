//! The codec of the Agent Client Protocol with a program that speaks it, well and badly: `examples/acp_agent.rs`.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command as Program, Stdio},
};

use hub_agents::{Acp, Class, Codec, Command, Decision, End, Event, How, Job, Policy, Tokens, Turn, Verdict};

fn agent() -> PathBuf {
    // Beside the test: target/release/deps/acp_agent-…
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples/acp_agent")
}

struct Ran {
    events: Vec<Event>,
    verdict: Verdict,
    folder: PathBuf,
}

fn job(prompt: &str, folder: &Path) -> Job {
    Job {
        prompt: prompt.into(),
        folder: folder.to_string_lossy().into_owned(),
        model: None,
        policy: Policy::Edit,
        resume: None,
        used: (Tokens::default(), 0.0),
        hub: None,
        now: "2026-11-29T08:00:00Z".parse().unwrap(),
    }
}

/// A run. What it asks is refused; after `stop` so many texts it is ended.
fn run(job: Job, environment: &[(&str, &str)]) -> Ran {
    let folder = PathBuf::from(&job.folder);
    let mut child = Program::new(agent())
        .current_dir(&folder)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take();
    let mut output = child.stdout.take().unwrap();
    let mut codec = Acp::new(job);
    let (mut turn, mut events, mut buffer) = (Turn::default(), Vec::new(), vec![0; 65536]);
    codec.begin(&mut turn);
    loop {
        for event in std::mem::take(&mut turn.events) {
            if let Event::Ask(ask) = &event {
                assert!(
                    codec.command(
                        Command::Answer { id: ask.id.clone(), decision: Decision::Deny("no".into()) },
                        &mut turn
                    )
                );
            }
            events.push(event);
        }
        if let Some(input) = &mut input {
            input.write_all(&std::mem::take(&mut turn.input)).ok();
        }
        if std::mem::take(&mut turn.close_input) {
            input = None;
        }
        let read = output.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        codec.feed(&buffer[..read], &mut turn);
    }
    codec.finish(&mut turn);
    events.append(&mut turn.events);
    let status = child.wait().unwrap();
    let end = status.code().map_or(End::Signal(6), End::Exit);
    Ran { events, verdict: codec.verdict(&How { end, errors: "" }), folder }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("acp-agent-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn said(prompt: &str) -> Ran {
    let name: String = prompt.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let ran = run(job(prompt, &folder(&name)), &[]);
    std::fs::remove_dir_all(&ran.folder).ok();
    ran
}

#[test]
fn all_that_the_protocol_allows() {
    let folder = folder("all");
    let ran = run(job("think plan tool fails commands mode usage edit:notes.txt read say:all_done", &folder), &[]);
    let figures = ran.verdict.figures;
    assert_eq!((ran.verdict.class, ran.verdict.text.as_str()), (None, "No such method.all done"));
    assert_eq!(std::fs::read_to_string(folder.join("notes.txt")).unwrap(), "written\n");
    assert_eq!(
        (figures.files.as_slice(), figures.tool_calls, figures.cost_usd),
        (&["notes.txt".to_owned()][..], 3, Some(0.25))
    );
    assert_eq!(
        (figures.tokens, figures.model.as_deref()),
        (Tokens { input: 100, output: 5, cached: 20 }, Some("small"))
    );
    assert!(ran.events.iter().any(|event| matches!(event, Event::Plan(steps) if steps.len() == 3)));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn ends_have_their_class() {
    for (prompt, class) in [
        ("say:a refuse", Some(Class::Refused)),
        ("say:a max_tokens", Some(Class::BadConfig)),
        ("max_turns", Some(Class::BadConfig)),
        ("auth", Some(Class::Auth)),
        ("limit", Some(Class::Limit)),
        ("retry", Some(Class::Limit)),
        ("overloaded", Some(Class::Overloaded)),
        ("full", Some(Class::ContextFull)),
        ("error", Some(Class::Crashed)),
        ("say:half crash", Some(Class::Crashed)),
        ("say:half exit:3", Some(Class::Crashed)),
        ("say:half exit:0", Some(Class::Silent)),
        ("think", Some(Class::Silent)),
        ("tool", None),
        ("ask:execute say:a", None),
        ("ask:fetch say:a", Some(Class::Denied)),
        ("edit:../outside say:a", Some(Class::Denied)),
    ] {
        let ran = said(prompt);
        assert_eq!(ran.verdict.class, class, "{prompt}: {:?}", ran.verdict);
    }
}

#[test]
fn what_the_protocol_does_not_allow_is_survived() {
    for prompt in [
        "broken say:well",
        "binary say:well",
        "nobody say:well",
        "wrong_id say:well",
        "unknown say:well",
        "huge:40 say:well",
        "huge:3 say:well",
        "deep say:well",
        "say:well late",
    ] {
        let ran = said(prompt);
        assert_eq!((ran.verdict.class, ran.verdict.text.as_str()), (None, "well"), "{prompt}: {:?}", ran.verdict);
        for event in &ran.events {
            assert!(!matches!(event, Event::Raw(raw) if raw.len() > 4000), "{prompt}");
        }
    }
    // The first answer counts.
    assert_eq!(said("say:well twice").verdict.class, None);
}

#[test]
fn sessions_and_logins() {
    let folder = folder("sessions");
    let sessions = folder.to_string_lossy().into_owned();
    let here = [("ACP_AGENT_SESSIONS", sessions.as_str())];
    let session = run(job("say:one", &folder), &here).verdict.figures.session;
    let again = run(Job { resume: session.clone(), ..job("say:two", &folder) }, &here).verdict;
    assert_eq!(
        (again.class, again.text.as_str(), &again.figures.session, again.figures.tool_calls),
        (None, "two", &session, 0)
    );
    let gone = run(Job { resume: Some("gone".into()), ..job("say:two", &folder) }, &here).verdict;
    assert_eq!(
        (gone.class, gone.retry, gone.resumable, gone.figures.session),
        (Some(Class::SessionLost), true, false, None)
    );
    assert_eq!(run(job("say:a", &folder), &[("ACP_AGENT_LOGIN", "valid")]).verdict.class, None);
    assert_eq!(run(job("say:a", &folder), &[("ACP_AGENT_LOGIN", "wrong")]).verdict.class, Some(Class::Auth));
    std::fs::remove_dir_all(&folder).unwrap();
}
