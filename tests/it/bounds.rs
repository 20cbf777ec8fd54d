//! What bounds work, from a terminal: budgets, shares and fallbacks, over Postgres and with a person's own token, and who answers a budget in a `hub dev`.

use hub_tests::World;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::time::Duration;

use crate::{doctor::Stack, terminal::hub};

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[tokio::test]
async fn budgets_shares_and_fallbacks_are_set_by_names_shown_and_taken_away() {
    let world = World::new().await;
    let environment = [("DATABASE_URL", world.url.expose_secret())];
    let run = async |line: &str| hub(&words(line), &environment).await;

    assert!(run("budgets").await.fine().starts_with("No budgets. Set one: "));
    let said = run("budgets set cloud-hub cost 50 --per month").await.fine();
    assert!(said.ends_with("$50.00 a month of cloud-hub\n"), "{said}");
    let said = run("budgets set cloud-hub cost 40 --per month --on-silence cancel --silence 2h").await.fine();
    assert!(said.ends_with("$40.00 a month of cloud-hub\n"), "{said}");
    run("budgets set cloud-hub/dispatch running 3").await.fine();
    run("budgets set deployment tokens 1,000 --per day").await.fine();
    run("budgets set cloud-hub seconds 90m --agent claude").await.fine();
    let said = run("budgets set cloud-hub seconds 2h --project nowhere").await.refused();
    assert!(
        said.contains("p_subject: project `nowhere`") && said.contains("The projects of that server are"),
        "{said}"
    );
    let said = run("budgets set cloud-hub cost 5 --on-silence cancel").await.refused();
    assert!(said.contains("p_silence is null") && said.contains("1 minute to 90 days"), "{said}");
    let said = run("budgets set nowhere cost 5").await.refused();
    assert!(said.contains("server nowhere") && said.contains("There are: "), "{said}");
    let said = run("budgets set deployment cost 5 --agent claude").await.refused();
    assert!(said.contains("--agent is of a server"), "{said}");

    let shown = run("budgets").await.fine();
    let line = |of: &str| shown.lines().find(|line| line.contains(of)).unwrap_or_else(|| panic!("no {of}: {shown}"));
    let of_server = line("cancelled after 2 h 0 min of silence");
    assert!(
        of_server.contains("$0.00") && of_server.contains("$40.00") && of_server.contains("month, until "),
        "{shown}"
    );
    assert!(line("#dispatch").contains("waits for room") && line("the deployment").contains("asks who runs the hub"));
    assert!(line("agent claude").contains("1 h 30 min"), "{shown}");
    let all: Value = serde_json::from_str(&run("budgets list --json").await.fine()).unwrap();
    let all = all.as_array().unwrap();
    assert_eq!((all.len(), all.iter().filter(|one| one["remaining"] == 40.0).count()), (4, 1), "{all:?}");
    for one in all {
        let said = run(&format!("budgets remove {}", one["id"])).await.fine();
        assert!(said.contains("is gone: what it held back goes on"), "{said}");
    }
    let said = run(&format!("budgets remove {}", all[0]["id"])).await.refused();
    assert!(said.contains("not found: budget "), "{said}");

    assert!(run("shares").await.fine().starts_with("All weigh 1"));
    run("shares set cloud-hub 0.5").await.fine();
    let said = run("shares set cloud-hub 1000").await.refused();
    assert!(said.contains("p_weight 1000") && said.contains("0.1 to 100"), "{said}");
    assert!(run("shares").await.fine().lines().any(|line| line.starts_with("cloud-hub") && line.contains("0.5")));
    run("shares remove cloud-hub").await.fine();
    assert!(run("shares remove cloud-hub").await.refused().contains("It has none of its own"));

    run("fallbacks set cloud-hub claude gemini wait").await.fine();
    let shown = run("fallbacks").await.fine();
    let of = |server: &str| shown.lines().find(|line| line.starts_with(server) && line.contains("claude ")).unwrap();
    assert!(of("cloud-hub").ends_with("gemini, then wait") && of("—").ends_with("codex, then gemini"), "{shown}");
    let said = run("fallbacks set cloud-hub claude wait gemini").await.refused();
    assert!(said.contains("p_fallbacks") && said.contains("wait only as the last"), "{said}");
    run("fallbacks remove cloud-hub claude").await.fine();
    assert!(!run("fallbacks").await.fine().contains("cloud-hub"));
}

const OWNS: &str = "update public.hub_members m set role = 'owner' from public.hub_servers s, auth.users u
                     where s.id = m.server_id and s.name = 'buf-barista' and u.id = m.user_id and u.email = 'operator@hub.local'";

#[tokio::test]
async fn an_owner_bounds_their_own_server_with_their_own_token_and_a_hub_devs_budgets_are_answered_by_who_runs_it() {
    let stack = Stack::start(&[]).await;
    stack.sql(OWNS).await;
    let person = [
        ("SUPABASE_URL", stack.get("SUPABASE_URL")),
        ("SUPABASE_ANON_KEY", stack.get("SUPABASE_ANON_KEY")),
        ("HUB_TOKEN", stack.get("HUB_OPERATOR_JWT")),
    ];
    let run = async |line: &str| hub(&words(line), &person).await;
    let said = run("budgets set buf-barista notional 2.5 --per day --on-silence continue --silence 30m").await.fine();
    assert!(said.contains("$2.50 that nobody is billed a day of buf-barista"), "{said}");
    run("shares set buf-barista 3 --project Desktop/homelab").await.fine();
    run("fallbacks set buf-barista codex wait").await.fine();
    for (line, why) in [
        ("budgets set cloud-hub cost 5", "budgets of this server"),
        ("budgets set deployment cost 5", "budgets of the deployment"),
        ("shares set cloud-hub 2 --project app", "shares of this server"),
        ("shares set buf-barista 2", "the share of a server among servers"),
        ("fallbacks set cloud-hub codex wait", "fallbacks of this server"),
        ("fallbacks set deployment codex wait", "fallbacks of all servers"),
    ] {
        let said = run(line).await.refused();
        assert!(said.contains("permission denied") && said.contains(why), "{line}: {said}");
    }
    let shown = run("budgets").await.fine();
    assert!(shown.contains("goes on after 30 min 0 s of silence"), "{shown}");
    assert!(run("shares").await.fine().contains("Desktop/homelab"));
    assert!(
        run("fallbacks").await.fine().lines().any(|line| line.starts_with("buf-barista") && line.ends_with("wait"))
    );

    // A budget that the first task uses up: the next asks owners, of whom there are none.
    let at = stack.data_dir();
    let here = async |line: &str| hub(&[words(line), vec!["--data-dir", &at]].concat(), &[]).await;
    here("budgets set cloud-hub seconds 0.001").await.fine();
    hub(&["send", "cloud-hub/dispatch", "Survey the project", "--wait", "--data-dir", &at], &[]).await.fine();
    let (mut task, mut inbox) = (String::new(), String::new());
    for look in 0..1500 {
        // One that is taken before the use of the last one was counted is let through.
        if look % 100 == 0 {
            let sent = here("send cloud-hub/dispatch again --json").await.fine();
            let sent: Value = serde_json::from_str(&sent).unwrap();
            sent["task"]["id"].as_str().unwrap().clone_into(&mut task);
        }
        inbox = here("inbox").await.fine();
        if inbox.contains("The budget of this server is used up") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(inbox.contains(&task[..4]), "{inbox}");
    let said = here(&format!("task explain {task}")).await.fine();
    assert!(said.contains("owners (nobody is one now: whoever runs the hub answers)"), "{said}");
    let said = hub(&["task", "answer", &task, "cancel"], &person).await.refused();
    assert!(said.contains("not yours to answer"), "{said}");
    let said = here(&format!("task answer {task} cancel")).await.fine();
    assert!(said.contains("Answered cancel"), "{said}");
}
