use serde_json::{Value, json};

use super::*;
use crate::Policy;
pub(crate) use crate::testing::job;
use crate::{End, LimitSource, Window, testing};
use testing::{Recorded, heard, recorded};

fn numbers(method: &str) -> u64 {
    match method {
        "initialize" => INITIALIZE,
        "session/new" | "session/load" | "session/resume" => SESSION,
        "session/set_mode" => MODE,
        "session/set_model" => MODEL,
        "session/prompt" => PROMPT,
        _ => 9,
    }
}

fn case(name: &str) -> Recorded {
    Recorded::read(format!("gemini.0.61.0.{name}.transcript"), numbers)
}

/// As the recordings were made: nothing is allowed but by the one who answered then.
fn asking() -> Job {
    Job { policy: Policy::ReadOnly, ..job() }
}

#[test]
fn any_cutting_of_what_was_recorded_gives_the_same() {
    for recorded in recorded("gemini.", numbers) {
        testing::any_cutting(|| Acp::new(job()), &recorded.bytes());
    }
}

#[test]
fn hostile_output_ends_nothing() {
    for name in ["edit_denied", "limit"] {
        testing::hostile(|| Acp::new(job()), &case(name).bytes());
    }
}

#[test]
fn read_from_the_middle_the_verdict_is_the_same() {
    for name in ["tool", "limit", "too_long", "edit", "unauthorized", "max_tokens"] {
        let recorded = case(name);
        let bytes = recorded.bytes();
        let whole = heard(Acp::new(job()), &[&bytes]).2;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        // As long as something of its last words is left.
        for from in 0..lines.len() - usize::from(whole.class.is_none()) {
            let part = heard(Acp::new(job()), &lines[from..]).2;
            assert_eq!((part.class, part.retry), (whole.class, whole.retry), "{name} from line {from}");
            assert!(whole.class.is_some() || part.text == whole.text, "{name} from line {from}: {part:?}");
        }
    }
}

#[test]
fn verdicts_of_what_was_recorded() {
    for (name, class, retry, resumable) in [
        ("tool", None, false, true),
        ("edit_allowed", None, false, true),
        ("edit_denied", Some(Class::Denied), false, true),
        ("edit", None, false, true),
        ("yolo", None, false, true),
        ("thinking", None, false, true),
        ("mode_refused", None, false, true),
        ("plan_mode", Some(Class::Denied), false, true),
        ("write_outside", Some(Class::Denied), false, true),
        ("substitution", Some(Class::Denied), false, true),
        ("unauthorized", Some(Class::Auth), false, true),
        ("limit", Some(Class::Limit), true, true),
        ("too_long", Some(Class::ContextFull), false, false),
        // It goes on with what was cut off, until it may not.
        ("max_tokens", Some(Class::BadConfig), false, true),
        ("refusal", Some(Class::Silent), true, true),
        ("resume_missing", Some(Class::SessionLost), true, false),
    ] {
        let resume = name.starts_with("resume").then(|| "gone".to_owned());
        let (events, verdict) = case(name).again(Acp::new(Job { resume, ..asking() }));
        assert_eq!((verdict.class, verdict.retry, verdict.resumable), (class, retry, resumable), "{name}: {verdict:?}");
        assert!(verdict.text.chars().count() <= 300 && !verdict.text.contains(['\n', '{']), "{name}: {}", verdict.text);
        // Who recorded had other settings to say: the answers to those are for nobody here.
        assert!(
            events.iter().all(|event| !matches!(event, Event::Raw(raw) if !raw.contains("\"id\":3"))),
            "{name}: {events:?}"
        );
        assert!(events.ends_with(&[Event::Final]));
    }
    let verdict = case("limit").again(Acp::new(asking())).1;
    let limit = verdict.limit.unwrap();
    assert_eq!((limit.until, limit.source, limit.window), (None, LimitSource::Guess, Some(Window::Day)));
    assert_eq!(
        verdict.text,
        "Gemini CLI's account is at its limit: You have exhausted your daily quota on this model."
    );
}

#[test]
fn what_the_hubs_own_tools_do_is_asked_of_nobody() {
    for program in ["gemini.0.61.0", "claude-agent-acp.0.101.0"] {
        let recorded = Recorded::read(format!("{program}.way_back.transcript"), numbers);
        for (hub, asked) in [(Some(testing::hub()), 0), (None, 2)] {
            let events = heard(Acp::new(Job { hub, ..asking() }), &[&recorded.bytes()]).0;
            let asks = events.iter().filter(|event| matches!(event, Event::Ask(_))).count();
            assert_eq!(asks, asked, "{program}: {events:?}");
        }
    }
    for (kind, title, is) in [
        (Some("other"), "say (hub MCP Server)", true),
        (None, "mcp__hub__ask", true),
        (Some("execute"), "say (hub MCP Server)", false),
        (Some("other"), "say (other MCP Server)", false),
        (Some("other"), "mcp__hub__burn", false),
        (Some("other"), "say", false),
    ] {
        assert_eq!(crate::HubServer::has(kind, None, Some(title)), is, "{kind:?} {title}");
        // What it is called counts over what is shown.
        assert!(!crate::HubServer::has(kind, Some("shell"), Some(title)));
    }
}

#[test]
fn the_hub_is_a_server_of_every_session() {
    for (resume, method) in [(None, "session/new"), (Some("s".to_owned()), "session/load")] {
        let mut acp = Acp::new(Job { resume, hub: Some(testing::hub()), ..job() });
        let mut turn = Turn::default();
        acp.begin(&mut turn);
        turn.input.clear();
        let able = json!({"jsonrpc": "2.0", "id": INITIALIZE, "result": {"protocolVersion": 1, "agentCapabilities": {"loadSession": true}}});
        acp.feed(format!("{able}\n").as_bytes(), &mut turn);
        let opened: Value = serde_json::from_slice(&turn.input).unwrap();
        assert_eq!(opened["method"], method);
        assert_eq!(
            opened["params"]["mcpServers"],
            json!([{"name": "hub", "command": "/opt/a b/hub", "args": ["mcp"], "env": [{"name": "HUB_ATTEMPT_SOCKET", "value": "/s/hub.sock"}]}])
        );
    }
}

#[test]
fn what_people_read_of_a_run() {
    let (events, verdict) = case("edit").again(Acp::new(job()));
    let figures = verdict.figures;
    assert_eq!(
        (verdict.text.as_str(), figures.files.as_slice(), figures.tool_calls),
        ("pong", &["notes.txt".to_owned()][..], 1)
    );
    assert_eq!((figures.tokens.input, figures.tokens.output, figures.cost_usd), (200, 10, None));
    assert_eq!((figures.model.as_deref(), figures.version.as_deref()), (Some("gemini-3.8-flash"), Some("0.61.0")));
    let words: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::ToolStart { words, .. } => Some(words.as_str()),
            Event::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    // `[MODE_UPDATE] autoEdit` is no word of it.
    assert_eq!(words, ["Editing notes.txt", "pong"]);
    assert_eq!(case("thinking").again(Acp::new(job())).1.text, "pong");
}

#[test]
fn what_the_policy_covers_is_answered_at_once() {
    let bytes = case("edit_allowed").bytes();
    let (events, written, _) = heard(Acp::new(job()), &[&bytes]);
    assert!(written.contains(r#""optionId":"proceed_once""#), "{written}");
    assert!(events.iter().all(|event| !matches!(event, Event::Ask(_))));
    let (events, written, _) = heard(Acp::new(asking()), &[&bytes]);
    assert!(!written.contains("proceed"));
    let ask = events.iter().find_map(|event| if let Event::Ask(ask) = event { Some(ask) } else { None }).unwrap();
    assert_eq!((ask.title.as_str(), ask.tool.as_deref(), ask.permission), ("Editing notes.txt", Some("edit"), true));
    assert_eq!(ask.options[1], ("proceed_once".into(), "Allow".into()));
    assert_eq!(ask.input["content"][0]["newText"], "one\ntwo\n");
}

fn after(codec: &mut Acp, messages: &[Value]) -> (Vec<Value>, Turn) {
    let mut turn = Turn::default();
    for message in messages {
        codec.feed(format!("{message}\n").as_bytes(), &mut turn);
    }
    let written = String::from_utf8(turn.input.clone()).unwrap();
    (written.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), turn)
}

fn hello(able: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": 1, "agentInfo": {"name": "x"}, "agentCapabilities": able, "authMethods": [{"id": "browser"}, {"id": "x-api-key"}]}})
}

fn update(update: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "s", "update": update}})
}

fn words(text: &str) -> Value {
    update(&json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}))
}

fn verdict(codec: &Acp) -> Verdict {
    codec.verdict(&How { end: End::Exit(0), errors: "" })
}

#[test]
fn mode_and_model_are_said_before_the_prompt() {
    let mut codec = Acp::new(Job { model: Some("big".into()), ..job() });
    let opened = json!({"id": 2, "result": {"sessionId": "s", "modes": {"currentModeId": "default", "availableModes": [{"id": "default"}, {"id": "acceptEdits"}]},
        "configOptions": [{"id": "model", "category": "model", "currentValue": "small"}]}});
    let (written, _) = after(
        &mut codec,
        &[hello(&json!({})), opened, json!({"id": 3, "error": {"code": -32603}}), json!({"id": 4, "result": {}})],
    );
    let methods: Vec<_> = written.iter().map(|line| line["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["session/new", "session/set_mode", "session/set_config_option", "session/prompt"]);
    assert_eq!(
        (&written[1]["params"]["modeId"], &written[2]["params"]["value"]),
        (&json!("acceptEdits"), &json!("big"))
    );
    // A model that it does not have.
    let mut codec = Acp::new(Job { model: Some("big".into()), ..job() });
    after(
        &mut codec,
        &[
            hello(&json!({})),
            json!({"id": 2, "result": {"sessionId": "s", "models": {"currentModelId": "small", "availableModels": []}}}),
        ],
    );
    assert_eq!(verdict(&codec).class, Some(Class::BadConfig));
}

#[test]
fn who_has_no_login_is_offered_its_key_and_no_browser() {
    let mut codec = Acp::new(job());
    let refused = json!({"id": 2, "error": {"code": -32000, "message": "Authentication required"}});
    let (written, _) =
        after(&mut codec, &[hello(&json!({})), refused.clone(), json!({"id": 5, "result": {}}), refused]);
    let methods: Vec<_> = written.iter().map(|line| line["method"].as_str().unwrap()).collect();
    assert_eq!(methods, ["session/new", "authenticate", "session/new"]);
    assert_eq!(written[1]["params"]["methodId"], "x-api-key");
    assert_eq!(verdict(&codec).class, Some(Class::Auth));
}

#[test]
fn a_session_that_is_gone_on_with_tells_nothing_of_its_past() {
    let used = (crate::Tokens::default(), 1.0);
    let mut codec = Acp::new(Job { resume: Some("s".into()), used, ..job() });
    let (written, turn) =
        after(&mut codec, &[hello(&json!({"loadSession": true})), words("earlier"), json!({"id": 2, "result": {}})]);
    assert_eq!(written[0]["method"], "session/load");
    assert!(turn.events.iter().all(|event| !matches!(event, Event::Text(_))));
    let spent = |amount: f64| {
        update(
            &json!({"sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": {"amount": amount, "currency": "USD"}}),
        )
    };
    after(
        &mut codec,
        &[
            words("now"),
            spent(1.25),
            spent(1.25),
            spent(1.5),
            json!({"id": 10, "result": {"stopReason": "end_turn", "usage": {"inputTokens": 5, "cachedReadTokens": 7, "outputTokens": 1}}}),
        ],
    );
    let verdict = verdict(&codec);
    assert_eq!(
        (verdict.text.as_str(), verdict.figures.cost_usd, verdict.figures.tokens.input, verdict.figures.tokens.cached),
        ("now", Some(0.5), 12, 7)
    );
    let mut codec = Acp::new(Job { resume: Some("s".into()), ..job() });
    let (written, _) =
        after(&mut codec, &[hello(&json!({"loadSession": true, "sessionCapabilities": {"resume": {}}}))]);
    assert_eq!(written[0]["method"], "session/resume");
}

#[test]
fn what_a_person_adds_is_the_next_turn() {
    let mut codec = Acp::new(job());
    let mut turn = Turn::default();
    assert!(!codec.command(Command::Steer("early".into()), &mut turn));
    after(&mut codec, &[hello(&json!({})), json!({"id": 2, "result": {"sessionId": "s"}})]);
    assert!(codec.command(Command::Steer("more".into()), &mut turn) && turn.input.is_empty());
    let done = |id: u64| json!({"id": id, "result": {"stopReason": "end_turn"}});
    let (written, turn) = after(&mut codec, &[words("one"), done(10)]);
    assert_eq!(
        (&written[0]["id"], &written[0]["params"]["prompt"][0]["text"], turn.close_input),
        (&json!(11), &json!("more"), false)
    );
    let (_, turn) = after(&mut codec, &[words("two"), done(11)]);
    assert!(turn.close_input);
    assert_eq!((verdict(&codec).text.as_str(), verdict(&codec).figures.turns), ("two", 2));
}

#[test]
fn an_end_for_a_reason_that_is_not_known_is_no_success() {
    for (result, class, text) in [
        (json!({"stopReason": "end_turn"}), None, "done"),
        (json!({"stopReason": "refusal"}), Some(Class::Refused), "The model would not do it."),
        (json!({"stopReason": "max_tokens"}), Some(Class::BadConfig), "The answer is longer than the model may write."),
        (
            json!({"stopReason": "paused"}),
            Some(Class::Crashed),
            "x failed: it stopped for a reason that is not known: paused.",
        ),
        (json!({}), Some(Class::Crashed), "x failed: it stopped and did not say why."),
    ] {
        let mut codec = Acp::new(job());
        after(&mut codec, &[hello(&json!({})), json!({"id": 2, "result": {"sessionId": "s"}})]);
        after(&mut codec, &[words("done"), json!({"id": 10, "result": result})]);
        let verdict = verdict(&codec);
        assert_eq!((verdict.class, verdict.text.as_str(), verdict.retry), (class, text, false));
    }
}

#[test]
fn what_the_machine_forbids_is_no_refusal() {
    for (printed, refused) in [
        ("EACCES: permission denied, open '/etc/x'", false),
        ("ERROR 1045 (28000): Access denied for user 'root'", false),
        ("Trailing commas are not allowed in JSON", false),
        ("```\nUser refused permission to run tool\n```", true),
        ("Access denied: plan path (/p/x) must be within the plans directory", true),
    ] {
        let mut codec = Acp::new(job());
        after(&mut codec, &[hello(&json!({})), json!({"id": 2, "result": {"sessionId": "s"}})]);
        let failed = json!({"sessionUpdate": "tool_call_update", "toolCallId": "t", "title": "x", "status": "failed", "content": [{"type": "content", "content": {"type": "text", "text": printed}}]});
        after(&mut codec, &[update(&failed), words("done"), json!({"id": 10, "result": {"stopReason": "end_turn"}})]);
        assert_eq!(verdict(&codec).class, refused.then_some(Class::Denied), "{printed}");
    }
}

#[test]
fn an_interrupt_cancels_what_is_asked() {
    let mut codec = Acp::new(asking());
    after(&mut codec, &[hello(&json!({})), json!({"id": 2, "result": {"sessionId": "s"}})]);
    let options = json!([{"optionId": "y", "kind": "allow_once"}, {"optionId": "n", "kind": "reject_once"}]);
    let ask = |id: u64| json!({"id": id, "method": "session/request_permission", "params": {"sessionId": "s", "options": options, "toolCall": {"toolCallId": "t", "title": "rm x", "kind": "execute"}}});
    after(&mut codec, &[ask(0), ask(1)]);
    let mut turn = Turn::default();
    assert!(!codec.command(Command::Answer { id: "0".into(), decision: Decision::Choose("x".into()) }, &mut turn));
    assert!(codec.command(Command::Answer { id: "0".into(), decision: Decision::Choose("n".into()) }, &mut turn));
    assert!(matches!(&turn.events[0], Event::Denied { what, .. } if what == "Running rm x"));
    assert!(codec.command(Command::Interrupt, &mut turn));
    let written = String::from_utf8(turn.input).unwrap();
    assert!(
        written.contains("session/cancel")
            && written.contains(r#""id":1"#)
            && written.contains(r#""outcome":"cancelled""#),
        "{written}"
    );
    let (_, turn) = after(&mut codec, &[json!({"id": 10, "result": {"stopReason": "cancelled"}})]);
    assert!(turn.close_input && verdict(&codec).class == Some(Class::Silent));
}

#[test]
fn errors_are_classes() {
    for (error, class, until) in [
        (
            json!({"code": 429, "message": "Resource exhausted. Please retry in 34.07s."}),
            Class::Limit,
            Some(LimitSource::Text),
        ),
        (
            json!({"code": -32603, "message": "Internal error", "data": {"errorKind": "rate_limit", "_meta": {"x": {"resetsAt": 1_893_456_000}}}}),
            Class::Limit,
            Some(LimitSource::Structured),
        ),
        (
            json!({"code": 429, "message": "quota", "data": {"details": [{"@type": "RetryInfo", "retryDelay": "34s"}]}}),
            Class::Limit,
            Some(LimitSource::Text),
        ),
        (json!({"code": 500, "message": "terminated"}), Class::Overloaded, None),
        (json!({"code": 500, "message": "models/nothing is not found for API version v1beta"}), Class::BadConfig, None),
        (json!({"code": -32000, "message": "x"}), Class::Auth, None),
        (
            json!({"code": -32603, "message": "Internal error", "data": {"details": "Prompt is too long"}}),
            Class::ContextFull,
            None,
        ),
        (json!({"code": "x", "message": 7, "data": 7}), Class::Crashed, None),
        (json!(7), Class::Crashed, None),
    ] {
        let mut codec = Acp::new(job());
        after(
            &mut codec,
            &[hello(&json!({})), json!({"id": 2, "result": {"sessionId": "s"}}), json!({"id": 10, "error": error})],
        );
        let verdict = verdict(&codec);
        let source = verdict.limit.as_ref().map(|limit| limit.source);
        assert_eq!(
            (verdict.class, source.filter(|source| *source != LimitSource::Guess)),
            (Some(class), until),
            "{error}: {verdict:?}"
        );
        assert_eq!(verdict.limit.is_some(), class == Class::Limit);
    }
}

#[test]
fn claude_agent_acp_681_and_1011_it_is_closed_after_its_final_word() {
    // Programs that stay for another session pile up: one session a process, and its input ends with the turn.
    let (events, _, _) = heard(Acp::new(job()), &[&case("tool").bytes()]);
    assert_eq!(events.iter().filter(|event| **event == Event::Final).count(), 1);
    let mut codec = Acp::new(job());
    let mut turn = Turn::default();
    codec.feed(&case("tool").bytes(), &mut turn);
    assert!(turn.close_input);
}

#[test]
fn codex_42717_what_runs_when_it_is_cut_off_is_no_success() {
    let mut codec = Acp::new(job());
    let bytes = case("tool").bytes();
    let end = memchr::memmem::find(&bytes, b"tool_call_update").unwrap();
    codec.feed(&bytes[..end], &mut Turn::default());
    assert_eq!(codec.verdict(&How { end: End::Cut, errors: "" }).class, Some(Class::Silent));
}
