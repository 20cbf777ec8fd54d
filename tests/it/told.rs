//! What an agent is given of its machine, and what people read of what it prints.

use hub_tests::{World, agent};
use serde_json::json;
use uuid::Uuid;

async fn result(world: &World, task: Uuid) -> String {
    world.until(task, "complete").await;
    world.text("select result from public.mac_tasks where id = $1", task).await
}

#[tokio::test]
async fn an_agent_gets_no_key_of_its_machine_and_people_read_none() {
    let world = World::new().await;
    std::fs::create_dir_all(world.root().join("Desktop/homelab")).unwrap();
    let keys = [
        ("GITHUB_TOKEN", "github-0123-hush"),
        ("AWS_SECRET_ACCESS_KEY", "aws-0123-hush"),
        ("NPM_TOKEN", "npm-0123-hush"),
        ("SSH_AUTH_SOCK", "/tmp/agent-0123-hush"),
        ("ANTHROPIC_API_KEY", "anthropic-0123-hush"),
        ("MINE_TOKEN", "mine-0123-hush"),
        ("MINE_NUMBER", "42"),
    ];
    let mut own =
        agent("own", "env; echo \"for Basic: $(printf 'me:%s' \"$MINE_TOKEN\" | base64)\"; echo AKIAIOSFODNN7EXAMPLE");
    own["env"] = json!(["MINE_*"]);
    let worker = world.worker_with("told", &[own], &keys).await;
    let task = world.send("look around").await;
    let said = result(&world, task).await;
    assert!(said.contains("PATH=/") && said.contains("MINE_NUMBER=42") && said.contains("HUB_TASK_ID="), "{said}");
    assert!(said.contains("MINE_TOKEN=[redacted]") && said.ends_with("[redacted]"), "{said}");
    for hidden in [
        "hush",
        "GITHUB_TOKEN",
        "AWS_",
        "NPM_TOKEN",
        "SSH_AUTH_SOCK",
        "ANTHROPIC",
        "DATABASE_URL",
        "bWU6bWluZS0wMTIz",
        "AKIA",
    ] {
        assert!(!said.contains(hidden), "{hidden} in {said}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_result_of_98000_emoji_is_taken_and_a_longer_one_is_cut() {
    let world = World::new().await;
    std::fs::create_dir_all(world.root().join("Desktop/homelab")).unwrap();
    let script = "printf 'before \\342\\200\\256after\\n'; yes 🦀 | head -n $1 | tr -d '\\n'";
    let worker = world.worker("crab", &[agent("crabs", script)]).await;
    let task = world.send("98000").await;
    assert_eq!(result(&world, task).await, format!("before ‹U+202E›after\n{}", "🦀".repeat(98_000)));
    let task = world.send("120000").await;
    let cut = result(&world, task).await;
    assert!(cut.starts_with("(The beginning is cut off.)\n🦀") && cut.ends_with('🦀'), "{} …", &cut[..64]);
    assert!((99_000..100_000).contains(&cut.chars().count()));
    // The message that tells of it is whole.
    let told = world
        .text("select content from public.hub_channel_messages where task_id = $1 and content_type = 'result'", task)
        .await;
    assert!(told.starts_with('✅') && told.ends_with(&cut), "{}", told.chars().count());
    worker.stop().await;
}
