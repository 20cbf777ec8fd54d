//! What reaches an agent, and what of it reaches people.

use hub_tests::{World, agent};
use serde_json::{Value, json};

use crate::work::{nothing_left, told_once};

/// Without the prompt among its arguments: it comes by standard input.
fn reads(script: &str) -> Value {
    json!({ "agent": "sh", "models": ["any"], "kind": "command", "argv": ["sh", "-c", script] })
}

#[tokio::test]
async fn agor_761_an_agent_sees_nothing_of_its_workers_environment_but_what_it_is_given() {
    let world = World::new().await;
    let seen = world.root().join("seen");
    let mut config = agent("sh", &format!("env > {}; echo done", seen.display()));
    config["env"] = json!(["GIVEN", "GIVEN_BY_PREFIX_*"]);
    let secrets = [
        "DATABASE_URL",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "SSH_AUTH_SOCK",
        "NPM_TOKEN",
        "ANTHROPIC_API_KEY",
        "HUB_DEVICE_SECRET",
    ];
    let url = secrecy::ExposeSecret::expose_secret(&world.url).to_owned();
    let mut environment: Vec<(&str, &str)> = secrets.iter().map(|name| (*name, "not-for-agents")).collect();
    environment[0].1 = &url;
    environment.extend([("GIVEN", "one"), ("GIVEN_BY_PREFIX_TOO", "two"), ("GIVENNESS", "not-for-agents")]);
    let worker = world.worker_with("w1", &[config], &environment).await;
    let task = world.send("work").await;
    told_once(&world, task, "complete").await;

    let seen = std::fs::read_to_string(seen).unwrap();
    let names: Vec<&str> = seen.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for name in secrets.iter().chain(&["GIVENNESS"]) {
        assert!(!names.contains(name), "{name} in {names:?}");
    }
    assert!(!seen.contains("not-for-agents") && !seen.contains(&url), "{seen}");
    for line in ["GIVEN=one", "GIVEN_BY_PREFIX_TOO=two", &format!("HUB_TASK_ID={task}")] {
        assert!(seen.lines().any(|seen| seen == line), "{line} not in {seen}");
    }
    assert!(names.contains(&"PATH") && names.contains(&"HOME"), "{names:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_secret_that_an_agent_prints_is_seen_by_nobody() {
    let world = World::new().await;
    let marker = world.marker();
    // One that is known by its name in the worker's environment, one by its form.
    let (named, formed) = ("tr0ub4dor-and-three-more", format!("ghp_{}", "a1B2c3D4e5".repeat(4)));
    let (secret, gate) = (world.root().join("secret"), world.root().join("gate"));
    std::fs::write(&secret, format!("{named} {formed}\n")).unwrap();
    let script = format!(
        ": {marker}; cat {0} >&2; cat {0}; echo up $(cat {0}); until [ -e {1} ]; do sleep 0.02; done; cat {0}; echo done",
        secret.display(),
        gate.display()
    );
    let worker = world.worker_with("w1", &[agent("sh", &script)], &[("NPM_TOKEN", named)]).await;
    let task = world.send("work").await;
    // The first message of what it does comes after a second.
    let noted = || async {
        let notes = "select count(*) from public.hub_channel_messages where task_id = $1 and content like '📋%'";
        (world.count(notes, task).await > 0).then_some(())
    };
    assert!(hub_tests::wait(noted).await.is_some(), "no note");
    crate::work::open(&world);
    told_once(&world, task, "complete").await;

    let said = "select concat_ws(' ', t.result, t.error, t.partial_output, (select string_agg(m.content || coalesce(m.embed_data::text, ''), ' ') from public.hub_channel_messages m where m.task_id = t.id), (select string_agg(to_jsonb(a)::text, ' ') from public.hub_task_attempts a where a.task_id = t.id)) from public.mac_tasks t where t.id = $1";
    let said = world.text(said, task).await;
    assert!(!said.contains(named) && !said.contains(&formed), "{said}");
    assert!(said.contains("[redacted]"), "{said}");
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn no_mistakes_485_a_prompt_of_400_kb_reaches_the_agent_whole() {
    let world = World::new().await;
    let copy = world.root().join("copy");
    let worker = world.worker("w1", &[reads(&format!("cat > {}; echo done", copy.display()))]).await;
    // As many characters as a message may have, of four bytes each; the longest argument of a program has 128 KiB.
    let prompt = "🦀".repeat(100_000);
    let task = world.send(&prompt).await;
    told_once(&world, task, "complete").await;
    assert!(std::fs::read_to_string(&copy).unwrap().trim_end() == prompt, "another text arrived");
    worker.stop().await;
}

#[tokio::test]
async fn emoji_98_000_of_them_are_taken_and_given_back() {
    let world = World::new().await;
    let worker = world.worker("w1", &[reads("cat")]).await;
    let task = world.send(&"👩🏽‍🚀🙂".repeat(98_000 / 5)).await;
    told_once(&world, task, "complete").await;
    let lengths =
        "select length(content) || ' ' || (rtrim(result, E'\\n') = content)::text from public.mac_tasks where id = $1";
    assert_eq!(world.text(lengths, task).await, "98000 true");
    worker.stop().await;
}
