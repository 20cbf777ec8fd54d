//! From the commit of `hub_send` to an idle device holding the task, by the code that wakes the worker, against a notification; and the parts
//! of it.

use crate::tools::{Aim, Bench, Figure, millis, run as execute};
use anyhow::{Context, Result, ensure};
use hub::{
    Hub,
    db::Db,
    types::Meta,
    wake::{Signal, Wake},
};
use serde::Deserialize;
use serde_json::Value;
use sqlx::{PgConnection, postgres::PgListener};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const DEVICE: &str = "bench0";
const LEASE: Duration = Duration::from_secs(60);
const BOUND: Duration = Duration::from_secs(10);
/// Between samples, so that both sides are asleep.
const IDLE: Duration = Duration::from_millis(15);
/// What `hub.claim` sends.
const CLAIM: &str = include_str!("../../sql/queries/tasks/claim.sql");

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("pickup").await?;
    bench.script(&database, "life_setup.sql", &[]).await?;
    let hub = Hub::Postgres(Db::connect(&database.url()).await?);
    let wake = hub.wake(DEVICE).await;
    let mut sender = database.connect("postgres").await?;
    let mut alone = database.connect("postgres").await?;
    execute(&mut sender, "create table bare.notified (id uuid primary key default gen_random_uuid(), content text)")
        .await?;
    let mut listener =
        PgListener::connect_with(&sqlx::PgPool::connect(secrecy::ExposeSecret::expose_secret(&database.url())).await?)
            .await?;
    listener.listen("bench").await?;

    let channel = Uuid::parse_str("00000000-0000-4000-8000-000000000000")?;
    let samples = 60 * bench.rounds;
    let (mut ours, mut raw, mut durable) = (Vec::new(), Vec::new(), Vec::new());
    let (mut row_written, mut parts) = (Vec::new(), Parts::default());
    for sample in 0..samples + 10 {
        nothing_waits(&hub, &wake).await?;
        send(&mut sender, channel).await?;
        let begun = Instant::now();
        let (committed, held) = tokio::join!(
            async {
                execute(&mut sender, "commit").await?;
                anyhow::Ok(millis(begun))
            },
            async {
                loop {
                    let signal = timeout(BOUND, wake.next()).await.context("the device was not woken")?;
                    let woken = millis(begun);
                    if signal == Signal::Look
                        && let Some(task) = hub.claim(DEVICE, 1, LEASE).await?.pop()
                    {
                        return anyhow::Ok((task, woken, millis(begun)));
                    }
                }
            }
        );
        let (committed, (task, woken, took)) = (committed?, held?);
        hub.complete(task.id, task.attempt, "done", &Meta::default()).await?;

        sleep(IDLE).await;
        let begun = Instant::now();
        let (sent, heard) = tokio::join!(
            execute(&mut sender, "select pg_notify('bench', '')"),
            timeout(BOUND, async { listener.recv().await.map(|_| millis(begun)) })
        );
        sent?;
        let raw_took = heard.context("no notification")??;

        sleep(IDLE).await;
        execute(
            &mut sender,
            "begin; insert into bare.notified (content) values ('Do a thing please'); select pg_notify('bench', '')",
        )
        .await?;
        let begun = Instant::now();
        let (sent, heard) = tokio::join!(
            async {
                execute(&mut sender, "commit").await?;
                anyhow::Ok(millis(begun))
            },
            timeout(BOUND, async { listener.recv().await.map(|_| millis(begun)) })
        );
        let (row_took, durable_took) = (sent?, heard.context("no notification")??);

        // The same claim on a connection alone: the statement, and what its commit takes.
        send(&mut sender, channel).await?;
        execute(&mut sender, "commit").await?;
        execute(&mut alone, "begin").await?;
        sleep(IDLE).await;
        let begun = Instant::now();
        let claimed: Option<Value> =
            sqlx::query_scalar(CLAIM).bind(DEVICE).bind(1).bind(LEASE.as_secs_f64()).fetch_optional(&mut alone).await?;
        let stated = millis(begun);
        let begun = Instant::now();
        execute(&mut alone, "commit").await?;
        let claim_committed = millis(begun);
        let claimed: Claimed = serde_json::from_value(claimed.context("there was nothing to claim")?)?;
        hub.complete(claimed.id, claimed.attempt, "done", &Meta::default()).await?;

        if sample >= 10 {
            ours.push(took);
            raw.push(raw_took);
            durable.push(durable_took);
            row_written.push(row_took);
            parts.committed.push(committed);
            parts.woken.push(woken);
            parts.claimed.push(took - woken);
            parts.stated.push(stated);
            parts.claim_committed.push(claim_committed);
        }
    }
    let row = "a row and its NOTIFY";
    let whole = |name: &str, peer: &str, samples: &[f64], share, aim| {
        Figure::of_samples(format!("pickup {name}, against {peer}"), "ms", &ours, samples, share, aim)
    };
    let part = |name: &str, samples: &[f64], peer: &[f64]| {
        Figure::of_samples(format!("pickup p50, part: {name}"), "ms", samples, peer, 0.5, None)
    };
    let figures = vec![
        whole("p50", "a raw NOTIFY", &raw, 0.5, None),
        whole("p50", row, &durable, 0.5, Some(Aim::AtMost(2.0))),
        whole("p99", "a raw NOTIFY", &raw, 0.99, None),
        whole("p99", row, &durable, 0.99, None),
        part("COMMIT is answered, against that of a row and its NOTIFY", &parts.committed, &row_written),
        part("woken, against hearing the NOTIFY of a row", &parts.woken, &durable),
        part("the claim, against the COMMIT of a row", &parts.claimed, &row_written),
        part("the statement of the claim, against the whole claim", &parts.stated, &parts.claimed),
        part("the COMMIT of the claim, against that of a row", &parts.claim_committed, &row_written),
    ];
    drop((wake, hub, listener, sender, alone));
    bench.drop_database(&database).await?;
    Ok(figures)
}

/// Milliseconds of what a pickup is made of.
#[derive(Default)]
struct Parts {
    /// From sending the COMMIT of `hub_send` to its answer.
    committed: Vec<f64>,
    /// From sending it until the device is woken.
    woken: Vec<f64>,
    /// From there until it holds the task.
    claimed: Vec<f64>,
    /// The claim's statement in a transaction that is open, without a pool.
    stated: Vec<f64>,
    /// That transaction's COMMIT.
    claim_committed: Vec<f64>,
}

#[derive(Deserialize)]
struct Claimed {
    id: Uuid,
    attempt: i32,
}

/// Whatever woke the device before has been looked at.
async fn nothing_waits(hub: &Hub, wake: &Wake) -> Result<()> {
    while timeout(IDLE, wake.next()).await.is_ok() {
        ensure!(hub.claim(DEVICE, 1, LEASE).await?.is_empty(), "a task that nobody sent");
    }
    Ok(())
}

/// Up to the COMMIT.
async fn send(sender: &mut PgConnection, channel: Uuid) -> Result<()> {
    execute(sender, "begin").await?;
    sqlx::query("select public.hub_send($1, 'Do a thing please')").bind(channel).execute(sender).await?;
    Ok(())
}
