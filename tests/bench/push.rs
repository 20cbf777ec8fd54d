//! From the commit of `hub_report_progress` to the subscriber of the task's private topic, through `hub dev`, against a notification.

use crate::{
    ears::{self, Socket},
    stack::Stack,
    tools::{Aim, Bench, Figure, millis, run as execute},
};
use anyhow::{Context, Result, ensure};
use hub::realtime::frame::{Body, Payload};
use serde_json::Value;
use sqlx::{PgConnection, postgres::PgListener};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const BOUND: Duration = Duration::from_secs(10);
/// Between samples, so that all sides are asleep.
const IDLE: Duration = Duration::from_millis(15);
/// So many notes of an attempt are rows of the conversation as well; after them comes another task.
const NOTES: u32 = 15;
const DEVICE: &str = "bench0";
const SETUP: &str = r#"
    insert into public.mesh_devices (name, platform, capacity, agents, serves_all)
    values ('bench0', 'linux', 1000, '[{"agent": "claude", "models": ["any"]}]', true);
    create table public.bench_notified (id uuid primary key default gen_random_uuid(), content text)"#;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let stack = Stack::start(bench, &["--no-worker"]).await?;
    let mut sender = stack.connect().await?;
    execute(&mut sender, SETUP).await?;
    let channel: Uuid = sqlx::query_scalar(
        "select c.id from hub_channels c join hub_servers s on s.id = c.server_id
          where s.architecture_type = 'threaded_task_isolation' order by s.name, c.name limit 1",
    )
    .fetch_one(&mut sender)
    .await?;
    let mut listener = PgListener::connect(stack.env("DATABASE_URL")?).await?;
    listener.listen("bench").await?;

    let [mut progress, mut after, mut alone, mut raw, mut durable] = [(); 5].map(|()| Vec::new());
    for round in 0..(4 * bench.rounds).max(2) {
        let (task, attempt, thread) = claimed(&mut sender, channel).await?;
        let topic = format!("task:{task}");
        let mut socket = ears::open(&stack).await?;
        // As the app does: the conversation as well, so that a note is two messages on one socket, the task's the second.
        for topic in [&format!("thread:{thread}"), &topic] {
            ears::join(&mut socket, topic, stack.env("HUB_VIEWER_JWT")?, true, None).await?;
        }
        // That it was claimed may be told after the join: what comes before this is none of ours.
        say(&mut sender, &topic, "begin").await?;
        while commit(&mut sender, &mut socket, &topic).await?.heard["note"] != "begin" {}
        for note in 0..NOTES {
            sleep(IDLE).await;
            let text = format!("Note {note} of {round}");
            execute(&mut sender, "begin").await?;
            sqlx::query("select public.hub_report_progress($1, $2, $3)")
                .bind(task)
                .bind(attempt)
                .bind(&text)
                .execute(&mut sender)
                .await?;
            let told = commit(&mut sender, &mut socket, &topic).await?;
            let heard = &told.heard;
            ensure!(heard["partial_output"].as_str() == Some(&text), "another message came than was due: {heard}");

            sleep(IDLE).await;
            say(&mut sender, &topic, &text).await?;
            let alone_told = commit(&mut sender, &mut socket, &topic).await?;
            let heard = &alone_told.heard;
            ensure!(heard["note"].as_str() == Some(&text), "another message came than was due: {heard}");

            sleep(IDLE).await;
            let raw_took = notified(&mut sender, &mut listener, "select pg_notify('bench', '')").await?;
            sleep(IDLE).await;
            let row = "begin; insert into public.bench_notified (content) values ('Do a thing please'); select pg_notify('bench', '')";
            execute(&mut sender, row).await?;
            let durable_took = notified(&mut sender, &mut listener, "commit").await?;

            // The first finds everything cold.
            if round > 0 {
                progress.push(told.took);
                after.push(told.after);
                alone.push(alone_told.took);
                raw.push(raw_took);
                durable.push(durable_took);
            }
        }
        sqlx::query("select 1 from public.hub_complete_task($1, $2, 'done')")
            .bind(task)
            .bind(attempt)
            .execute(&mut sender)
            .await?;
    }

    let mut figures = Vec::new();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        for (what, ours, peer, against, aim) in [
            ("hub_report_progress", &progress, &raw, "a raw NOTIFY", Some(Aim::AtMost(5.0))),
            ("realtime.send alone", &alone, &raw, "a raw NOTIFY", None),
            ("hub_report_progress once its commit is answered", &after, &raw, "a raw NOTIFY", None),
            ("hub_report_progress", &progress, &durable, "a row and its NOTIFY", None),
        ] {
            figures.push(Figure::of_samples(
                format!("push {name}, {what}, against {against}"),
                "ms",
                ours,
                peer,
                share,
                aim,
            ));
        }
    }
    stack.end()?;
    Ok(figures)
}

/// A new task that a device runs, its attempt and its thread.
async fn claimed(connection: &mut PgConnection, channel: Uuid) -> Result<(Uuid, i32, Uuid)> {
    sqlx::query("select public.hub_send($1, 'Do a thing please')").bind(channel).execute(&mut *connection).await?;
    sqlx::query_as("select id, attempt, thread_id from public.hub_claim_tasks($1, 1, '1 hour')")
        .bind(DEVICE)
        .fetch_optional(connection)
        .await?
        .context("there was nothing to claim")
}

/// Begins a transaction that sends and does nothing else.
async fn say(connection: &mut PgConnection, topic: &str, note: &str) -> Result<()> {
    execute(connection, "begin").await?;
    sqlx::query("select realtime.send(jsonb_build_object('note', $1::text), 'task', $2, true)")
        .bind(note)
        .bind(topic)
        .execute(connection)
        .await?;
    Ok(())
}

/// What the subscriber heard.
struct Told {
    /// Milliseconds from sending COMMIT.
    took: f64,
    /// Milliseconds from the answer to COMMIT: none, if the subscriber heard first.
    after: f64,
    heard: Value,
}

/// Commits, and waits for the next broadcast of the topic.
async fn commit(connection: &mut PgConnection, socket: &mut Socket, topic: &str) -> Result<Told> {
    let begun = Instant::now();
    let (committed, heard) = tokio::join!(
        async {
            execute(connection, "commit").await?;
            anyhow::Ok(millis(begun))
        },
        timeout(BOUND, async {
            loop {
                let message = ears::next(socket).await?;
                if let Payload::Broadcast(broadcast) = message.payload
                    && message.topic.strip_prefix("realtime:") == Some(topic)
                {
                    return anyhow::Ok((millis(begun), broadcast.body));
                }
            }
        })
    );
    let committed = committed?;
    let (took, Body::Json(body)) = heard.context("no broadcast came")?? else {
        anyhow::bail!("the broadcast is no JSON");
    };
    Ok(Told { took, after: (took - committed).max(0.0), heard: serde_json::from_slice(&body)? })
}

async fn notified(connection: &mut PgConnection, listener: &mut PgListener, sql: &str) -> Result<f64> {
    let begun = Instant::now();
    let (sent, heard) =
        tokio::join!(execute(connection, sql), timeout(BOUND, async { listener.recv().await.map(|_| millis(begun)) }));
    sent?;
    Ok(heard.context("no notification")??)
}
