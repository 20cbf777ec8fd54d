use serde_json::{Value, json};

use super::*;
pub(crate) use crate::testing::job;
use crate::{
    Class, Codec, Command, Decision, End, Event, How, Job, LimitSource, Policy, StepState, Tokens, Turn, Verdict,
    Window, testing,
};
use testing::{Recorded, heard, recorded};

fn numbers(method: &str) -> u64 {
    match method {
        "initialize" => 1,
        "thread/start" | "thread/resume" => 2,
        "turn/start" => 3,
        "turn/interrupt" => 4,
        "turn/steer" => 100,
        _ => 99,
    }
}

fn case(name: &str) -> Recorded {
    Recorded::read(format!("codex.0.171.0.{name}.transcript"), numbers)
}

fn verdict(name: &str) -> Verdict {
    case(name).again(Codex::new(job())).1
}

fn exec_verdict(name: &str) -> Verdict {
    Recorded::read(format!("codex-exec.0.171.0.{name}.transcript"), numbers).again(CodexExec::new(job())).1
}

#[test]
fn any_cutting_of_what_was_recorded_gives_the_same() {
    for recorded in recorded("codex.", numbers) {
        testing::any_cutting(|| Codex::new(job()), &recorded.bytes());
    }
    for recorded in recorded("codex-exec.", numbers) {
        testing::any_cutting(|| CodexExec::new(job()), &recorded.bytes());
    }
}

#[test]
fn hostile_output_ends_nothing() {
    for name in ["edit", "limit", "asked_denied"] {
        testing::hostile(|| Codex::new(job()), &case(name).bytes());
    }
    let exec = Recorded::read("codex-exec.0.171.0.tool.transcript".into(), numbers);
    testing::hostile(|| CodexExec::new(job()), &exec.bytes());
}

#[test]
fn read_from_the_middle_the_verdict_is_the_same() {
    for name in ["ok", "tool", "edit", "limit", "unauthorized", "too_long", "tool_big"] {
        testing::from_the_middle(|| Codex::new(job()), &case(name));
    }
    for recorded in recorded("codex-exec.", numbers) {
        testing::from_the_middle(|| CodexExec::new(job()), &recorded);
    }
}

#[test]
fn nothing_that_was_recorded_is_unknown() {
    for recorded in recorded("codex.", numbers) {
        if ["unknown_method", "not_initialized", ".account."].iter().any(|name| recorded.name.contains(name)) {
            continue;
        }
        for event in recorded.again(Codex::new(job())).0 {
            assert!(!matches!(event, Event::Raw(_)), "{}: {event:?}", recorded.name);
        }
    }
}

#[test]
fn verdicts_of_what_was_recorded() {
    for (name, class, retry, resumable) in [
        ("ok", None, false, true),
        ("tool", None, false, true),
        ("tool_fails", None, false, true),
        ("edit", None, false, true),
        ("change", None, false, true),
        ("asked_allowed", None, false, true),
        ("edit_allowed", None, false, true),
        ("asked_denied", Some(Class::Denied), false, true),
        ("edit_denied", Some(Class::Denied), false, true),
        ("read_only", Some(Class::Denied), false, true),
        ("unauthorized", Some(Class::Auth), false, true),
        ("forbidden", Some(Class::Auth), false, true),
        ("limit", Some(Class::Limit), true, true),
        ("rate", Some(Class::Limit), true, true),
        ("no_money", Some(Class::Limit), true, true),
        ("internal", Some(Class::Overloaded), true, true),
        ("overloaded", Some(Class::Overloaded), true, true),
        ("too_long", Some(Class::ContextFull), false, false),
        ("bad_request", Some(Class::Crashed), false, false),
        ("bad_model", Some(Class::BadConfig), false, false),
        ("refusal", Some(Class::Silent), true, true),
        ("max_tokens", Some(Class::BadConfig), false, true),
        ("resume_missing", Some(Class::SessionLost), true, false),
        ("interrupt", Some(Class::Silent), true, true),
        ("sigint", Some(Class::Crashed), true, true),
    ] {
        let resume = name.starts_with("resume").then(|| "gone".to_owned());
        let (_, verdict) = case(name).again(Codex::new(Job { resume, ..job() }));
        assert_eq!((verdict.class, verdict.retry, verdict.resumable), (class, retry, resumable), "{name}: {verdict:?}");
        assert!(verdict.text.chars().count() <= 300 && !verdict.text.contains('\n'), "{name}: {}", verdict.text);
        assert_eq!(
            verdict.remedy.is_some(),
            class.is_some_and(|class| !matches!(class, Class::Crashed | Class::Silent)),
            "{name}"
        );
    }
}

#[test]
fn verdicts_of_exec() {
    for (name, class) in [
        ("ok", None),
        ("tool", None),
        ("edit", None),
        ("unauthorized", Some(Class::Auth)),
        ("limit", Some(Class::Limit)),
        ("rate", Some(Class::Limit)),
        ("too_long", Some(Class::ContextFull)),
        ("sigterm", Some(Class::Crashed)),
    ] {
        let verdict = exec_verdict(name);
        assert_eq!(verdict.class, class, "{name}: {verdict:?}");
    }
    let resumed = Job { resume: Some("gone".into()), ..job() };
    let (_, verdict) =
        Recorded::read("codex-exec.0.171.0.resume_missing.transcript".into(), numbers).again(CodexExec::new(resumed));
    assert_eq!(
        (verdict.class, verdict.retry, verdict.resumable, verdict.figures.session),
        (Some(Class::SessionLost), true, false, None)
    );
}

#[test]
fn a_limit_is_told_with_its_time() {
    let verdict = verdict("limit");
    let limit = verdict.limit.unwrap();
    assert!(limit.met && limit.source == LimitSource::Structured && limit.window == Some(Window::FiveHours));
    assert_eq!(limit.until.map(|until| until.timestamp()), Some(1_893_456_000));
    assert!(
        verdict.text.starts_with("Codex's account is at its limit until 2030-01-01 00:00 UTC: "),
        "{}",
        verdict.text
    );
    // Prose alone, with a curly apostrophe.
    let limit = exec_verdict("limit").limit.unwrap();
    assert_eq!((limit.source, limit.until.map(|until| until.timestamp())), (LimitSource::Text, Some(1_893_456_000)));
    let limit = exec_verdict("rate").limit.unwrap();
    assert_eq!((limit.source, limit.until), (LimitSource::Guess, None));
}

#[test]
fn hidden_retries_are_told_at_once() {
    let (events, _) = case("unauthorized").again(Codex::new(job()));
    let first = events.iter().find_map(|event| match event {
        Event::Retry { attempt, of, status, class, .. } => Some((*attempt, *of, *status, *class)),
        _ => None,
    });
    assert_eq!(first, Some((1, Some(5), Some(401), Some(Class::Auth))));
    // One that is ended while it tries in vain says why.
    let mut codec = Codex::new(job());
    let bytes = case("unauthorized").bytes();
    let end = memchr::memmem::find(&bytes, b"\"willRetry\":false").unwrap();
    codec.feed(&bytes[..end], &mut Turn::default());
    let verdict = codec.verdict(&How { end: End::Cut, errors: "" });
    assert_eq!(verdict.class, Some(Class::Auth));
}

#[test]
fn what_people_read_of_a_run() {
    let (events, verdict) = case("edit").again(Codex::new(job()));
    assert!(
        events.iter().any(|event| matches!(event, Event::ToolStart { words, .. } if words == "Editing notes.txt")),
        "{events:?}"
    );
    assert!(events.ends_with(&[Event::Final]));
    assert_eq!((verdict.text.as_str(), verdict.figures.files.as_slice()), ("pong", &["notes.txt".to_owned()][..]));
    assert_eq!(verdict.figures.version.as_deref(), Some("0.171.0"));
    assert!(verdict.figures.session.is_some() && verdict.figures.model.is_some() && verdict.figures.tool_calls >= 1);
    let (events, _) = case("tool_fails").again(Codex::new(job()));
    let end = events.iter().find_map(|event| match event {
        Event::ToolEnd { words, ok, .. } => Some((words.clone(), *ok)),
        _ => None,
    });
    assert_eq!(end, Some((Some("Running echo broken >&2; exit 3: exit 3".into()), false)));
}

#[test]
fn a_plan_is_told_whole() {
    let line = br#"{"method":"turn/plan/updated","params":{"threadId":"t","turnId":"u","plan":[{"step":"Look","status":"completed"},{"step":"Change","status":"inProgress"},{"step":"Test","status":"pending"}]}}"#;
    let (events, ..) = heard(Codex::new(job()), &[line]);
    let Event::Plan(steps) = &events[0] else { panic!("{events:?}") };
    assert_eq!(
        steps.iter().map(|step| step.state).collect::<Vec<_>>(),
        [StepState::Done, StepState::Running, StepState::Pending]
    );
    let line =
        br#"{"type":"item.updated","item":{"id":"i","type":"todo_list","items":[{"text":"Look","completed":true}]}}"#;
    assert!(
        matches!(&heard(CodexExec::new(job()), &[line]).0[0], Event::Plan(steps) if steps[0].state == StepState::Done)
    );
}

fn usage(turn: &str, total: u64, last: u64) -> Value {
    let tokens = |n: u64| json!({"inputTokens": n, "cachedInputTokens": n / 5, "outputTokens": n / 20});
    json!({"method": "thread/tokenUsage/updated", "params": {"threadId": "t", "turnId": turn, "tokenUsage": {"total": tokens(total), "last": tokens(last)}}})
}

/// What a codec writes and tells when it hears these.
fn after(codec: &mut dyn Codec, messages: &[Value]) -> Turn {
    let mut turn = Turn::default();
    for message in messages {
        codec.feed(format!("{message}\n").as_bytes(), &mut turn);
    }
    turn
}

fn begun() -> [Value; 3] {
    [
        json!({"id": 1, "result": {"userAgent": "aura-hub/0.171.0 (x)"}}),
        json!({"id": 2, "result": {"thread": {"id": "t", "cliVersion": "0.171.0"}, "model": "m"}}),
        json!({"id": 3, "result": {"turn": {"id": "u"}}}),
    ]
}

#[test]
fn multica_5568_a_resumed_thread_does_not_count_its_tokens_again() {
    let used = Tokens { input: 100, output: 5, cached: 20 };
    for known in [(used, 0.0), (Tokens::default(), 0.0)] {
        let mut codec = Codex::new(Job { resume: Some("t".into()), used: known, ..job() });
        let [hello, thread, turn] = begun();
        // The old total comes right after the thread, and the turn may not be known yet.
        after(
            &mut codec,
            &[
                hello,
                thread,
                usage("earlier", 100, 100),
                turn,
                usage("earlier", 100, 100),
                usage("u", 200, 100),
                usage("u", 300, 100),
            ],
        );
        let figures = codec.verdict(&How { end: End::Exit(0), errors: "" }).figures;
        assert_eq!(figures.tokens, Tokens { input: 200, output: 10, cached: 40 });
        assert_eq!(figures.turns, 2);
    }
    // Without the old total first.
    let mut codec = Codex::new(Job { resume: Some("t".into()), ..job() });
    after(&mut codec, &begun());
    after(&mut codec, &[usage("u", 200, 100)]);
    assert_eq!(codec.verdict(&How { end: End::Exit(0), errors: "" }).figures.tokens.input, 100);
    // 100, 200, 300 over three runs of exec.
    let line = br#"{"type":"turn.completed","usage":{"input_tokens":300,"cached_input_tokens":60,"output_tokens":15,"reasoning_output_tokens":6}}"#;
    let twice = Tokens { input: 200, output: 10, cached: 40 };
    let (_, _, verdict) = heard(CodexExec::new(Job { resume: Some("t".into()), used: (twice, 0.0), ..job() }), &[line]);
    assert_eq!(verdict.figures.tokens, used);
}

#[test]
fn multica_1284_a_session_that_is_gone_is_not_gone_on_with_for_ever() {
    let resume = Some("01a1".to_owned());
    let (_, verdict) = case("resume_missing").again(Codex::new(Job { resume, ..job() }));
    assert_eq!(
        (verdict.class, verdict.retry, verdict.resumable, verdict.figures.session),
        (Some(Class::SessionLost), true, false, None)
    );
}

#[test]
fn multica_6402_a_full_context_is_no_success_and_its_session_is_not_gone_on_with() {
    let verdict = verdict("too_long");
    assert_eq!((verdict.class, verdict.retry, verdict.resumable), (Some(Class::ContextFull), false, false));
    let said = br#"{"type":"item.completed","item":{"id":"i","type":"agent_message","text":"API Error: 400 prompt is too long"}}
{"type":"turn.completed"}"#;
    assert_eq!(heard(CodexExec::new(job()), &[said]).2.class, Some(Class::ContextFull));
}

#[test]
fn claude_code_25629_one_that_stays_after_its_final_word_has_done_its_work() {
    let mut codec = Codex::new(job());
    let mut turn = Turn::default();
    codec.feed(&case("ok").bytes(), &mut turn);
    assert!(turn.close_input && turn.events.ends_with(&[Event::Final]));
    assert_eq!(codec.verdict(&How { end: End::Lingered, errors: "" }).class, None);
    assert_eq!(codec.verdict(&How { end: End::Cut, errors: "" }).class, None);
}

#[test]
fn claude_code_39700_a_stream_that_stops_is_no_success() {
    let mut codec = Codex::new(job());
    let bytes = case("tool").bytes();
    let end = memchr::memmem::find(&bytes, b"turn/completed").unwrap();
    codec.feed(&bytes[..end], &mut Turn::default());
    for end in [End::Exit(0), End::Cut] {
        let verdict = codec.verdict(&How { end, errors: "" });
        assert_eq!((verdict.class, verdict.retry, verdict.resumable), (Some(Class::Silent), true, true));
    }
}

#[test]
fn claude_code_76867_a_denied_tool_is_no_success() {
    assert_eq!(verdict("asked_denied").class, Some(Class::Denied));
    // It says so to standard error alone.
    assert_eq!(verdict("read_only").class, Some(Class::Denied));
}

#[test]
fn what_a_person_declines_is_no_failure_and_nobodys_silence_is_told_as_such() {
    let declined = case("asked_denied").again_with(Codex::new(job()), &Decision::Decline("not this".into()));
    assert_eq!(declined.1.class, None, "{:?}", declined.1);
    // What it tells of an answer that was given takes nothing back.
    assert!(declined.0.iter().all(|event| !matches!(event, Event::Withdrawn(_))), "{:?}", declined.0);
    let silence = case("asked_denied").again_with(Codex::new(job()), &Decision::Unanswered("nobody".into()));
    assert_eq!(silence.1.class, None, "{:?}", silence.1);
    let mut codec = Codex::new(job());
    let ask = json!({"id": 7, "method": "item/commandExecution/requestApproval", "params": {"threadId": "t", "turnId": "u", "itemId": "i", "command": "rm x"}});
    after(&mut codec, &[begun().as_slice(), &[ask]].concat());
    let mut turn = Turn::default();
    assert!(codec.command(
        Command::Answer { id: "7".into(), decision: Decision::Unanswered("nobody answered".into()) },
        &mut turn
    ));
    let written = String::from_utf8(turn.input).unwrap();
    assert!(written.contains("decline") && written.contains("turn/steer") && written.contains("nobody answered"));
    let turn =
        after(&mut codec, &[json!({"method": "serverRequest/resolved", "params": {"threadId": "t", "requestId": 7}})]);
    assert_eq!(turn.events, []);
}

#[test]
fn what_it_takes_back_is_told() {
    let mut codec = Codex::new(job());
    let ask = json!({"id": 7, "method": "item/commandExecution/requestApproval", "params": {"threadId": "t", "turnId": "u", "itemId": "i", "command": "rm x"}});
    after(&mut codec, &[begun().as_slice(), &[ask]].concat());
    let turn =
        after(&mut codec, &[json!({"method": "serverRequest/resolved", "params": {"threadId": "t", "requestId": 7}})]);
    assert_eq!(turn.events, [Event::Withdrawn("7".into())]);
}

#[test]
fn it_begins_with_the_policy_and_closes_after_the_final_word() {
    for (policy, sandbox, approval) in [
        (Policy::ReadOnly, "read-only", "on-request"),
        (Policy::Edit, "workspace-write", "on-request"),
        (Policy::Full, "danger-full-access", "never"),
    ] {
        let mut codec = Codex::new(Job { policy, model: Some("x".into()), ..job() });
        let mut turn = Turn::default();
        codec.begin(&mut turn);
        turn.input.extend(after(&mut codec, &begun()[..2]).input);
        let written = String::from_utf8(turn.input).unwrap();
        let written: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(written.iter().all(|line| line.get("jsonrpc").is_none()));
        assert_eq!(
            written.iter().map(|line| line["method"].as_str().unwrap()).collect::<Vec<_>>(),
            ["initialize", "initialized", "thread/start", "turn/start"]
        );
        assert_eq!(
            written[2]["params"],
            json!({"cwd": "/home/dev/project", "sandbox": sandbox, "approvalPolicy": approval, "model": "x"})
        );
        assert_eq!(written[3]["params"]["input"][0]["text"], "ping");
    }
}

#[test]
fn what_is_said_too_late_for_a_turn_is_the_next() {
    let mut codec = Codex::new(job());
    after(&mut codec, &begun());
    let mut turn = Turn::default();
    assert!(codec.command(Command::Steer("and this".into()), &mut turn));
    assert!(String::from_utf8_lossy(&turn.input).contains("\"expectedTurnId\":\"u\""));
    let over =
        json!({"method": "turn/completed", "params": {"threadId": "t", "turn": {"id": "u", "status": "completed"}}});
    let turn = after(&mut codec, &[over]);
    assert!(!turn.close_input && turn.events.is_empty(), "it has not said that it heard");
    let turn =
        after(&mut codec, &[json!({"id": 100, "error": {"code": -32600, "message": "no active turn to steer"}})]);
    assert!(String::from_utf8_lossy(&turn.input).contains("turn/start") && !turn.close_input);
    let turn = after(
        &mut codec,
        &[
            json!({"id": 3, "result": {"turn": {"id": "v"}}}),
            json!({"method": "turn/completed", "params": {"threadId": "t", "turn": {"id": "v", "status": "completed"}}}),
        ],
    );
    assert!(turn.close_input);
    assert!(
        !codec.command(Command::Steer("x".into()), &mut Turn::default())
            && !codec.command(Command::Interrupt, &mut Turn::default())
    );
}

#[test]
fn questions_are_answered_once_and_only_with_an_answer() {
    let mut codec = Codex::new(job());
    after(&mut codec, &begun());
    let ask = |id: Value, method: &str, params: Value| json!({"id": id, "method": method, "params": params});
    let command = json!({"threadId": "t", "itemId": "i", "command": "/bin/bash -lc 'curl x | sh'", "availableDecisions": ["accept", {"x": 1}, "cancel"]});
    let turn = after(
        &mut codec,
        &[
            ask(json!(0), "item/commandExecution/requestApproval", command),
            ask(
                json!("a"),
                "item/tool/requestUserInput",
                json!({"questions": [{"id": "q", "question": "Which?", "options": [{"label": "One"}]}]}),
            ),
            ask(json!(2), "item/permissions/requestApproval", json!({"permissions": {"network": {"enabled": true}}})),
            ask(
                json!(3),
                "mcpServer/elicitation/request",
                json!({"serverName": "s", "message": "m", "_meta": {"codex_approval_kind": "mcp_tool_call"}}),
            ),
            ask(json!(4), "account/chatgptAuthTokens/refresh", json!({})),
        ],
    );
    assert!(String::from_utf8_lossy(&turn.input).contains("-32601"));
    let asks: Vec<_> =
        turn.events.iter().filter_map(|event| if let Event::Ask(ask) = event { Some(ask) } else { None }).collect();
    assert_eq!(
        asks.iter().map(|ask| (ask.id.as_str(), ask.permission)).collect::<Vec<_>>(),
        [("0", true), ("\"a\"", false), ("2", true), ("3", true)]
    );
    assert_eq!((asks[0].title.as_str(), asks[0].options.len()), ("Running curl x | sh", 2));
    let mut answer = |id: &str, decision: Decision| {
        let mut turn = Turn::default();
        let taken = codec.command(Command::Answer { id: id.into(), decision }, &mut turn);
        (taken, String::from_utf8(turn.input).unwrap(), turn.events.len())
    };
    assert!(!answer("0", Decision::Choose("nothing of it".into())).0);
    let (taken, written, events) = answer("0", Decision::Deny("no".into()));
    assert!(taken && written.contains("\"decision\":\"decline\"") && events == 1);
    assert!(!answer("0", Decision::Allow(None)).0, "once");
    assert!(answer("\"a\"", Decision::Say("One".into())).1.contains(r#"{"answers":{"q":{"answers":["One"]}}}"#));
    assert!(answer("2", Decision::Allow(None)).1.contains(r#""permissions":{"network":{"enabled":true}}"#));
    assert!(answer("3", Decision::Allow(None)).1.contains(r#""action":"accept""#));
    assert!(!answer("4", Decision::Allow(None)).0);
}

#[test]
fn other_agents_of_a_thread_are_not_the_agent() {
    let mut codec = Codex::new(job());
    after(&mut codec, &begun());
    let other = json!({"method": "turn/completed", "params": {"threadId": "other", "turn": {"id": "x", "status": "completed"}}});
    let words = json!({"method": "item/completed", "params": {"threadId": "other", "item": {"type": "agentMessage", "id": "m", "text": "mine"}}});
    let turn = after(&mut codec, &[words, other]);
    assert!(turn.events.is_empty() && !turn.close_input);
}
