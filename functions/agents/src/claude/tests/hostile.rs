//! What no program should say.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const RESULT: &str = r#"{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}"#;

/// JSON of any shape, with the names and types that mean something to us among others.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let key = prop::sample::select(vec![
        "type",
        "subtype",
        "message",
        "content",
        "id",
        "name",
        "input",
        "usage",
        "model",
        "error",
        "result",
        "is_error",
        "task_id",
        "tasks",
        "request",
        "request_id",
        "tool_use_id",
        "tool_name",
        "text",
        "input_tokens",
        "modelUsage",
        "total_cost_usd",
        "permission_denials",
        "rate_limit_info",
        "resetsAt",
        "status",
        "attempt",
        "session_id",
        "errors",
        "patch",
        "todos",
        "x",
    ]);
    let word = prop::sample::select(vec![
        "assistant",
        "user",
        "system",
        "result",
        "control_request",
        "can_use_tool",
        "init",
        "tool_use",
        "tool_result",
        "text",
        "api_retry",
        "rate_limit_event",
        "task_started",
        "TodoWrite",
        "TaskUpdate",
        "Write",
        "Bash",
        "AskUserQuestion",
        "rejected",
        "success",
        "",
        "\u{0}\u{1b}[31m",
        "é",
        "12",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        word.prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(serde_json::Value::Array),
            prop::collection::vec((key.clone(), inner), 0..8)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn json_of_any_shape_does_no_harm(values in prop::collection::vec(json(), 0..12)) {
        let text = values.iter().fold(String::new(), |mut text, value| {
            let _ = writeln!(text, "{value}");
            text
        });
        let (whole, verdict) = turn(job(), &[text.as_bytes()], &EXITED);
        let (left, right) = text.as_bytes().split_at(text.len() / 2);
        prop_assert_eq!(turn(job(), &[left, right], &EXITED), (whole, verdict));
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = [&bytes[..], b"\n", RESULT.as_bytes()].concat();
        prop_assert_eq!(run(job(), &[&text], &EXITED).1.class, None);
    }

    #[test]
    fn a_recording_with_a_hole_does_no_harm(which in 0usize..1_000, from in 0.0f64..1.0, length in 0usize..400) {
        let all = fixtures::all();
        let (_, recording) = all.iter().nth(which % all.len()).unwrap();
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let from = (from * recording.output.len() as f64) as usize;
        let to = (from + length).min(recording.output.len());
        turn(job(), &[&recording.output[..from], &recording.output[to..]], &recording.how());
    }
}

#[test]
fn a_field_of_another_type_costs_only_itself() {
    let (events, verdict) = lines(&[
        r#"{"type":"system","subtype":"init","session_id":7,"model":["x"],"claude_code_version":{"a":1},"tools":"none"}"#,
        r#"{"type":"assistant","message":{"id":"m","model":"opus","content":[5,"x",null,{"type":"text","text":"hi"}],"usage":"none"}}"#,
        r#"{"type":"assistant","message":{"id":"m","model":"opus","content":{"type":"text"}},"error":false}"#,
        r#"{"type":"assistant","message":"hello"}"#,
        r#"{"type":"result","is_error":"false","subtype":7,"result":"done","usage":{"input_tokens":"12"},"total_cost_usd":"0.5",
            "permission_denials":{},"modelUsage":[1]}"#.replace('\n', " ").as_str(),
    ]);
    assert_eq!(verdict.class, None, "{verdict:?}");
    assert_eq!(
        (verdict.figures.session.as_deref(), verdict.figures.tokens.input, verdict.figures.cost_usd),
        (Some("7"), 12, Some(0.5))
    );
    assert!(events.contains(&Event::Text("hi".to_owned())));
}

#[test]
fn what_is_not_known_is_kept_raw_and_short() {
    let long = format!(r#"{{"type":"new_thing","text":"{}"}}"#, "é".repeat(10_000));
    let (events, verdict) = lines(&["not json", r#"{"type":"system","subtype":"new"}"#, "[1]", "{}", &long, RESULT]);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Raw(_))).count(), 5);
    assert_eq!(verdict.class, None);
}

#[test]
fn deep_nesting_and_what_is_no_text_are_passed_over() {
    let deep = format!(r#"{{"type":"assistant","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let deeper =
        format!(r#"{{"type":"control_request","request_id":"r","request":{{"input":{}}}}}"#, "[".repeat(100_000));
    let bytes = [
        deep.as_bytes(), b"\n", deeper.as_bytes(), b"\n\0\0\n",
        b"{\"type\":\"assistant\",\"message\":{\"id\":\"m\",\"model\":\"opus\",\"content\":[{\"type\":\"text\",\"text\":\"a\xff\"}]}}\n",
        RESULT.as_bytes(),
    ]
    .concat();
    let (events, verdict) = run(job(), &[&bytes], &EXITED);
    assert!(events.contains(&Event::Text("a\u{fffd}".to_owned())), "{events:?}");
    assert_eq!(verdict.class, None);
}

#[test]
fn nothing_grows_without_bound() {
    let (mut claude, mut turn) = (Claude::new(job()), Turn::default());
    for number in 0..20_000 {
        let lines = format!(
            r#"{{"type":"assistant","message":{{"id":"m{number}","model":"o","content":[{{"type":"tool_use","id":"t{number}","name":"Write","input":{{"file_path":"f{number}"}}}},{{"type":"tool_use","id":"c{number}","name":"TaskCreate","input":{{"subject":"s"}}}}]}}}}
{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"t{number}","content":"ok"}},{{"type":"tool_result","tool_use_id":"c{number}","content":"Task #{number} created"}}]}}}}
{{"type":"assistant","message":{{"id":"n{number}","model":"o","content":[{{"type":"tool_use","id":"o{number}","name":"Bash"}}]}}}}
{{"type":"system","subtype":"task_started","task_id":"b{number}"}}
{{"type":"system","subtype":"permission_denied","tool_name":"Bash","tool_use_id":"d{number}"}}
{{"type":"control_request","request_id":"r{number}","request":{{"subtype":"can_use_tool","tool_name":"Bash","input":{{}}}}}}
"#
        );
        claude.feed(lines.as_bytes(), &mut turn);
        turn = Turn::default();
        claude.command(Command::Steer("more".to_owned()), &mut turn);
    }
    let state = &claude.state;
    assert!(state.background.len() <= KEPT && state.denied.len() <= KEPT && state.steers.len() <= KEPT);
    assert!(state.asked.len() <= input::OPEN && state.figures.files.len() <= FILES && state.messages.len() <= 64);
    assert_eq!((state.figures.tool_calls, state.figures.turns), (60_000, 40_000));
    assert!(format!("{:?}", state.tools).len() < 200_000);
}

#[test]
fn an_id_that_comes_again_is_one_use() {
    let start = r#"{"type":"assistant","message":{"id":"m","model":"o","content":[{"type":"tool_use","id":"t","name":"Bash","input":{"command":"ls"}}]}}"#;
    let end = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"a"}]}}"#;
    let (events, verdict) = lines(&[end, start, start, end, end, RESULT]);
    assert_eq!(verdict.figures.tool_calls, 1);
    assert_eq!(events.iter().filter(|event| matches!(event, Event::ToolEnd { .. })).count(), 1);
}
