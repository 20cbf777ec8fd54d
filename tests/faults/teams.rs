//! Teams whose parts, or who gathers what those did, lose their worker; and questions whose machine is gone, or that are answered
//! twice.

use hub_tests::{World, agent};
use uuid::Uuid;

use crate::{
    speaking::{acp_worker, asked, result},
    work::{counted, nothing_left, open, reasons, repository, runs, told_once},
};

/// An agent that waits for the gate where it is told these words, and does anything else at once.
fn waits_at(world: &World, marker: &str, words: &str) -> String {
    let gate = world.root().join("gate").display().to_string();
    counted(
        world,
        &format!(": {marker}; case \"$1\" in *\"{words}\"*) echo up; until [ -e {gate} ]; do sleep 0.02; done;; esac"),
    )
}

const GATHERS: &str = "parts were done by others";

struct Team {
    whole: Uuid,
    parts: Vec<Uuid>,
}

async fn team(world: &World) -> Team {
    let whole = world.send("!team Do it\n- one\n- two\n- three").await;
    let parts = sqlx::query_scalar("select task_id from hub_internal.subtasks where parent_id = $1 order by position")
        .bind(whole)
        .fetch_all(&world.pool)
        .await
        .unwrap();
    Team { whole, parts }
}

#[tokio::test]
async fn a_gatherer_whose_worker_is_killed_gathers_again_and_no_part_is_done_twice() {
    let world = World::new().await;
    let marker = world.marker();
    let agents = [agent("sh", &waits_at(&world, &marker, GATHERS))];
    repository(&world);
    let doomed = world.worker("w1", &agents).await;
    let team = team(&world).await;
    world.until_note(team.whole, "up").await;
    doomed.kill().await;
    world.until_no_process(&marker).await;
    open(&world);
    let worker = world.worker("w1", &agents).await;
    told_once(&world, team.whole, "complete").await;
    assert_eq!(reasons(&world, team.whole).await, "worker_gone complete");
    assert_eq!(runs(&world, team.whole), (2, 1));
    for part in &team.parts {
        told_once(&world, *part, "complete").await;
        assert_eq!(runs(&world, *part), (1, 1));
    }
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_part_whose_worker_is_killed_goes_on_and_the_others_are_not_waited_for_twice() {
    let world = World::new().await;
    let marker = world.marker();
    let agents = [agent("sh", &waits_at(&world, &marker, "This is part 2 of 3"))];
    repository(&world);
    let doomed = world.worker("w1", &agents).await;
    let team = team(&world).await;
    world.until_note(team.parts[1], "up").await;
    for part in [team.parts[0], team.parts[2]] {
        told_once(&world, part, "complete").await;
    }
    doomed.kill().await;
    world.until_no_process(&marker).await;
    assert_eq!(world.text("select status from public.mac_tasks where id = $1", team.whole).await, "blocked");
    open(&world);
    let worker = world.worker("w1", &agents).await;
    told_once(&world, team.whole, "complete").await;
    assert_eq!(reasons(&world, team.parts[1]).await, "worker_gone complete");
    assert_eq!((runs(&world, team.parts[1]), runs(&world, team.whole)), ((2, 1), (1, 1)));
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_part_that_fails_is_named_and_one_that_is_tried_again_after_the_end_runs_alone() {
    let world = World::new().await;
    let marker = world.marker();
    let failing = world.root().join("failing");
    std::fs::write(&failing, "").unwrap();
    let script = format!(
        "case \"$1\" in *\"This is part 2 of 3\"*) if [ -e {} ]; then echo no; exit 3; fi;; esac",
        failing.display()
    );
    repository(&world);
    let worker = world.worker("w1", &[agent("sh", &counted(&world, &format!(": {marker}; {script}")))]).await;
    let whole = world.send("!team --join Do it\n- one\n- two\n- three").await;
    world.sql("update public.mac_tasks set max_attempts = 1 where status <> 'blocked'").await;
    told_once(&world, whole, "complete").await;
    let part: Uuid =
        sqlx::query_scalar("select task_id from hub_internal.subtasks where parent_id = $1 and position = 2")
            .bind(whole)
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let answer = result(&world, whole).await;
    assert!(answer.starts_with(&format!("1 of 3 failed: {}", &part.to_string()[..4])), "{answer}");
    assert_eq!(answer.matches("done").count(), 2, "{answer}");

    std::fs::remove_file(&failing).unwrap();
    world.sql(&format!("select public.hub_retry_task('{part}')")).await;
    world.until(part, "complete").await;
    told_once(&world, whole, "complete").await;
    assert_eq!(result(&world, whole).await, answer);
    assert_eq!(runs(&world, whole), (0, 0));
    nothing_left(&world, &marker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_machine_that_is_gone_while_its_task_waits_leaves_the_answer_to_another() {
    let world = World::new().await;
    world
        .sql(
            "update hub_internal.settings set value = '1 second' where name in ('ask_hold', 'session_wait');
             update hub_internal.settings set value = '2 seconds' where name = 'device_offline_after'",
        )
        .await;
    let doomed = acp_worker(&world, "w1").await;
    let task = world.send("say:one ask:other say:two").await;
    world.until(task, "waiting").await;
    doomed.kill().await;
    let other = acp_worker(&world, "w2").await;
    // Allowed for the whole of it: another agent asks the same once more.
    let ask = asked(&world, task).await;
    world.sql(&format!("select public.hub_answer_ask('{ask}', 'allow_task')")).await;
    let round = || async {
        world.sql("select public.hub_recover()").await;
        let ended = "select status from public.mac_tasks where id = $1";
        (world.text(ended, task).await == "complete").then_some(())
    };
    assert!(hub_tests::wait(round).await.is_some(), "nobody went on with it");
    told_once(&world, task, "complete").await;
    assert_eq!(world.text("select claimed_by from public.mac_tasks where id = $1", task).await, "w2");
    assert_eq!(reasons(&world, task).await, "parked complete");
    assert_eq!(
        world.count("select count(*) from public.hub_asks where task_id = $1 and state = 'open'", task).await,
        0
    );
    // What the machine that is gone has in its journal it keeps.
    assert_eq!(world.checked().await, "");
    other.stop().await;
}

#[tokio::test]
async fn an_answer_that_arrives_twice_counts_once() {
    let world = World::new().await;
    let worker = acp_worker(&world, "w1").await;
    for held in ["10 minutes", "1 second"] {
        world.sql(&format!("update hub_internal.settings set value = '{held}' where name = 'ask_hold'")).await;
        let task = world.send("ask:other say:done").await;
        let ask = asked(&world, task).await;
        if held == "1 second" {
            world.until(task, "waiting").await;
        }
        let [allow, deny] = ["allow", "deny"].map(|word| format!("select public.hub_answer_ask('{ask}', '{word}')"));
        let (allowed, denied) = tokio::join!(world.try_sql(&allow), world.try_sql(&deny));
        assert_eq!([&allowed, &denied].into_iter().filter(|said| said.is_ok()).count(), 1, "{allowed:?} {denied:?}");
        told_once(&world, task, "complete").await;
        let said = result(&world, task).await;
        assert_eq!(said.contains("It was allowed"), allowed.is_ok(), "{said}");
        assert_eq!(world.try_sql(&allow).await, Err("UH003".to_owned()));
        let given = "select count(*) from public.hub_asks where task_id = $1 and taken_at is not null";
        assert_eq!(world.count(given, task).await, 1);
    }
    nothing_left(&world, &world.marker()).await;
    worker.stop().await;
}
