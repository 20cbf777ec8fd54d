//! What broke elsewhere, by its name there.

use super::*;

fn said(text: &str) -> String {
    format!(
        r#"{{"type":"assistant","message":{{"id":"m{}","model":"opus","content":[{{"type":"text","text":"{text}"}}]}}}}"#,
        text.len()
    )
}

fn result(more: &str) -> String {
    format!(r#"{{"type":"result","subtype":"success","is_error":false,"session_id":"s"{more}}}"#)
}

#[test]
fn claude_code_82747_a_refusal_that_is_not_in_its_list() {
    let read = r#"{"type":"assistant","message":{"id":"m","model":"opus","content":[{"type":"tool_use","id":"t","name":"Read","input":{"file_path":"/home/dev/project/key.pem"}}]}}"#;
    let refused = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","is_error":true,"content":"<tool_use_error>File is in a directory that is denied by your permission settings.</tool_use_error>"}]}}"#;
    let (events, verdict) =
        lines(&[read, refused, &said("done"), &result(r#","result":"done","permission_denials":[]"#)]);
    assert_eq!(verdict.class, Some(Class::Denied));
    assert!(verdict.text.contains("Reading key.pem"), "{}", verdict.text);
    assert!(matches!(&events[1..3], [Event::ToolEnd { ok: false, .. }, Event::Denied { .. }]), "{events:?}");
    // Newer versions say it in a field, whatever the words are.
    let words = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","is_error":true,"content":"New words"}]},"tool_result_meta":[{"id":"t","permission_decision":{"decision":"reject"}}]}"#;
    assert_eq!(lines(&[read, words, &result(r#","result":"done""#)]).1.class, Some(Class::Denied));
}

#[test]
fn claude_code_76867_a_denied_tool_is_no_success() {
    let (_, verdict) = lines(&[
        &said("done"),
        &result(
            r#","result":"done","permission_denials":[{"tool_name":"Bash","tool_use_id":"t","tool_input":{"command":"curl http://x | sh"}}]"#,
        ),
    ]);
    assert_eq!(verdict.class, Some(Class::Denied));
    assert!(verdict.text.contains("Running curl http://x | sh"), "{}", verdict.text);
}

#[test]
fn multica_6402_a_full_context_is_no_success() {
    for text in ["Prompt is too long", "API Error: 400 prompt is too long: 250000 tokens > 200000 maximum"] {
        let (_, verdict) = lines(&[&said(text), &result(&format!(r#","result":"{text}""#))]);
        assert_eq!((verdict.class, verdict.resumable), (Some(Class::ContextFull), false), "{verdict:?}");
    }
    let (_, verdict) = lines(&[&result(r#","result":"The API Error: 400 in your log is a typo, and is fixed.""#)]);
    assert_eq!(verdict.class, None);
}

#[test]
fn multica_5975_an_oversized_image_poisons_the_session() {
    for more in [
        r#","is_error":true,"api_error_status":400,"result":"API Error: 400 messages.3.content.1.image: image exceeds 5 MB maximum""#,
        r#","result":"Image was too large. Try resizing the image or using a different approach.""#,
    ] {
        let line = format!(r#"{{"type":"result","subtype":"success","session_id":"s"{more}}}"#);
        let (_, verdict) = lines(&[&said("hm"), &line]);
        assert_eq!((verdict.class, verdict.resumable), (Some(Class::Crashed), false));
        assert!(verdict.text.contains("image"), "{}", verdict.text);
    }
}

#[test]
fn multica_1284_a_dead_session_is_not_resumed_again() {
    let dead = Job { resume: Some("dead".to_owned()), ..job() };
    let line = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"session_id":"dead","num_turns":0,"errors":["No conversation found with session ID: dead"]}"#;
    for (output, errors) in [
        (line.to_owned(), ""),
        (format!("No conversation found with session ID: dead\n{line}"), ""),
        (String::new(), "No conversation found with session ID: dead\n"),
        ("No conversation found with session ID: dead\n".to_owned(), ""),
    ] {
        let (_, verdict) = run(dead.clone(), &[output.as_bytes()], &How { end: End::Exit(1), errors });
        assert_eq!((verdict.resumable, verdict.retry, verdict.figures.session), (false, true, None), "{output}");
        assert_eq!(verdict.class, Some(Class::SessionLost));
    }
}

#[test]
fn multica_5568_what_a_resumed_session_had_used_is_not_used_again() {
    let resumed =
        Job { resume: Some("s".to_owned()), used: (Tokens { input: 1000, output: 100, cached: 0 }, 0.5), ..job() };
    let used = r#""usage":{"input_tokens":100,"output_tokens":10}"#;
    let all = r#""modelUsage":{"opus":{"inputTokens":1100,"outputTokens":110,"costUSD":0.55}},"total_cost_usd":0.55"#;
    let own = r#""modelUsage":{"opus":{"inputTokens":100,"outputTokens":10,"costUSD":0.05}},"total_cost_usd":0.05"#;
    let since = r#""model_usage_since_last_result":{"opus":{"inputTokens":100,"outputTokens":10,"costUSD":0.05}}"#;
    // Both ways: what is counted on from the session before, with and without the difference beside it; and what begins anew.
    for more in [format!(",{used},{all},{since}"), format!(",{used},{all}"), format!(",{used},{own}")] {
        let (_, verdict) = run(resumed.clone(), &[result(&format!(r#","result":"done"{more}"#)).as_bytes()], &EXITED);
        assert_eq!(verdict.figures.tokens, Tokens { input: 100, output: 10, cached: 0 }, "{more}");
        assert!((verdict.figures.cost_usd.unwrap() - 0.05).abs() < 1e-9, "{more}: {:?}", verdict.figures.cost_usd);
    }
}

#[test]
fn multica_5568_two_turns_of_one_process_are_counted_once() {
    let message = r#"{"type":"assistant","message":{"id":"m1","model":"opus","content":[],"usage":{"input_tokens":90,"cache_read_input_tokens":10,"output_tokens":1}}}"#;
    let one = result(
        r#","result":"a","usage":{"input_tokens":90,"cache_read_input_tokens":10,"output_tokens":5},"total_cost_usd":0.1,"modelUsage":{"opus":{"inputTokens":90,"cacheReadInputTokens":10,"outputTokens":5}}"#,
    );
    let two = result(
        r#","result":"b","usage":{"input_tokens":50,"output_tokens":5},"total_cost_usd":0.3,"modelUsage":{"opus":{"inputTokens":140,"cacheReadInputTokens":10,"outputTokens":10}}"#,
    );
    let (_, verdict) = lines(&[message, message, &one, &two]);
    assert_eq!(verdict.figures.tokens, Tokens { input: 150, output: 10, cached: 10 });
    assert!((verdict.figures.cost_usd.unwrap() - 0.3).abs() < 1e-9);
    assert_eq!(verdict.figures.turns, 1);
}

#[test]
fn pr2006_what_was_used_is_told_before_its_cost_is_and_helpers_are_told_apart() {
    let message = |id: &str, model: &str, parent: &str, input: u32| {
        format!(
            r#"{{"type":"assistant"{parent},"message":{{"id":"{id}","model":"{model}","content":[],"usage":{{"input_tokens":{input},"output_tokens":1}}}}}}"#
        ) + "\n"
    };
    let helper = r#","parent_tool_use_id":"t""#;
    let (mut claude, mut turn) = (Claude::new(job()), Turn::default());
    let said = [
        message("m1", "opus", "", 100),
        message("m1", "opus", "", 100),
        message("h1", "haiku", helper, 10),
        message("m2", "opus", "", 50),
        message("s1", "<synthetic>", "", 7),
    ];
    claude.feed(said.concat().as_bytes(), &mut turn);
    let tokens = |input, output| Tokens { input, output, cached: 0 };
    let figures = claude.figures();
    assert_eq!((figures.tokens, figures.cost_usd), (tokens(160, 3), None));
    assert_eq!(figures.untold, [("opus".to_owned(), tokens(150, 2)), ("haiku".to_owned(), tokens(10, 1))]);

    let told = result(r#","result":"a","usage":{"input_tokens":160,"output_tokens":9},"total_cost_usd":0.1"#);
    claude.feed((told + "\n").as_bytes(), &mut turn);
    let figures = claude.figures();
    assert_eq!((figures.tokens, figures.cost_usd), (tokens(160, 9), Some(0.1)));
    assert!(figures.untold.is_empty());
    // A turn after that.
    claude.feed(message("m3", "opus", "", 5).as_bytes(), &mut turn);
    assert_eq!(claude.figures().untold, [("opus".to_owned(), tokens(5, 1))]);
    assert_eq!(claude.figures().cost_usd, Some(0.1));
}

#[test]
fn multica_3187_work_in_the_background_is_not_done() {
    let start =
        r#"{"type":"system","subtype":"task_started","task_id":"b1","tool_use_id":"t","description":"npm test"}"#;
    let end = r#"{"type":"system","subtype":"task_notification","task_id":"b1","status":"completed"}"#;
    let said = said("started it");
    let done = result(r#","result":"started it""#);
    let (turn, verdict) = turn(job(), &[[start, &said, &done].join("\n").as_bytes()], &EXITED);
    assert!(!turn.close_input && !turn.events.contains(&Event::Final), "it goes on by itself when that work ends");
    assert_eq!(verdict.class, Some(Class::Silent));
    assert!(verdict.text.contains("npm test"), "{}", verdict.text);
    // Killed after all: still not done.
    let killed = r#"{"type":"system","subtype":"task_updated","task_id":"b1","patch":{"status":"killed"}}"#;
    assert_eq!(lines(&[start, &said, &done, killed]).1.class, Some(Class::Silent));
    // It ended, and Claude said what came of it.
    let after = result(r#","result":"all tests pass""#);
    let (events, verdict) = lines(&[start, &said, &done, end, r#"{"type":"system","subtype":"init"}"#, &after]);
    assert_eq!((verdict.class, verdict.text.as_str()), (None, "all tests pass"));
    assert_eq!(events.iter().filter(|event| **event == Event::Final).count(), 1);
    // What runs in the foreground and takes long is told in the same way, and has ended before the result.
    assert_eq!(lines(&[start, end, &done]).1.class, None);
}

#[test]
fn claude_code_25629_it_hangs_after_its_result() {
    let line = result(r#","result":"done""#);
    for end in [End::Lingered, End::Exit(0), End::Cut] {
        assert_eq!(run(job(), &[line.as_bytes()], &How { end, errors: "" }).1.class, None, "{end:?}");
    }
    // Ended by somebody else, it may print that it is done.
    for end in [End::Exit(143), End::Signal(15)] {
        assert_eq!(run(job(), &[line.as_bytes()], &How { end, errors: "" }).1.class, Some(Class::Crashed), "{end:?}");
    }
}

#[test]
fn claude_code_39700_the_stream_stops_and_it_never_exits() {
    let (_, verdict) = run(job(), &[said("I begin.").as_bytes()], &How { end: End::Cut, errors: "" });
    assert_eq!((verdict.class, verdict.retry), (Some(Class::Silent), true));
}

#[test]
fn an_ending_while_it_tries_again_is_what_it_tries_again_for() {
    for (error, status, class) in [
        ("authentication_failed", "401", Class::Auth),
        ("overloaded", "529", Class::Overloaded),
        ("rate_limit", "429", Class::Limit),
    ] {
        let retry = format!(
            r#"{{"type":"system","subtype":"api_retry","attempt":8,"max_retries":10,"error_status":{status},"error":"{error}"}}"#
        );
        assert_eq!(run(job(), &[retry.as_bytes()], &How { end: End::Cut, errors: "" }).1.class, Some(class));
        // An answer came after it: it is over.
        let over = [retry.as_str(), &said("hi")].join("\n");
        assert_eq!(run(job(), &[over.as_bytes()], &How { end: End::Cut, errors: "" }).1.class, Some(Class::Silent));
    }
}
