//! From the commit of `hub_send` to an idle device holding the task, by the code that wakes the worker, against a notification.

use crate::tools::{Aim, Bench, Figure, millis, run as execute};
use anyhow::{Context, Result, ensure};
use hub::{Hub, db::Db, types::Meta, wake::Signal};
use sqlx::postgres::PgListener;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const DEVICE: &str = "bench0";
const LEASE: Duration = Duration::from_secs(60);
const BOUND: Duration = Duration::from_secs(10);
/// Between samples, so that both sides are asleep.
const IDLE: Duration = Duration::from_millis(15);

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("pickup").await?;
    bench.script(&database, "life_setup.sql", &[]).await?;
    let hub = Hub::Postgres(Db::connect(&database.url()).await?);
    let wake = hub.wake(DEVICE).await;
    let mut sender = database.connect("postgres").await?;
    execute(&mut sender, "create table bare.notified (id uuid primary key default gen_random_uuid(), content text)")
        .await?;
    let mut listener =
        PgListener::connect_with(&sqlx::PgPool::connect(secrecy::ExposeSecret::expose_secret(&database.url())).await?)
            .await?;
    listener.listen("bench").await?;

    let channel = Uuid::parse_str("00000000-0000-4000-8000-000000000000")?;
    let samples = 60 * bench.rounds;
    let (mut ours, mut raw, mut durable) = (Vec::new(), Vec::new(), Vec::new());
    for sample in 0..samples + 10 {
        // Whatever woke it before has been looked at.
        while timeout(IDLE, wake.next()).await.is_ok() {
            ensure!(hub.claim(DEVICE, 1, LEASE).await?.is_empty(), "a task that nobody sent");
        }
        execute(&mut sender, "begin").await?;
        sqlx::query("select public.hub_send($1, 'Do a thing please')").bind(channel).execute(&mut sender).await?;
        let begun = Instant::now();
        let (committed, task) = tokio::join!(execute(&mut sender, "commit"), async {
            loop {
                let signal = timeout(BOUND, wake.next()).await.context("the device was not woken")?;
                if signal == Signal::Look
                    && let Some(task) = hub.claim(DEVICE, 1, LEASE).await?.pop()
                {
                    return anyhow::Ok((task, millis(begun)));
                }
            }
        });
        committed?;
        let (task, took) = task?;
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
            execute(&mut sender, "commit"),
            timeout(BOUND, async { listener.recv().await.map(|_| millis(begun)) })
        );
        sent?;
        let durable_took = heard.context("no notification")??;

        if sample >= 10 {
            ours.push(took);
            raw.push(raw_took);
            durable.push(durable_took);
        }
    }
    let at = |share| {
        [("a raw NOTIFY", &raw, true), ("a row and its NOTIFY", &durable, false)].map(|(peer, samples, judged)| {
            let (name, aim) = if share < 0.9 { ("p50", 2.0) } else { ("p99", 4.0) };
            Figure::of_samples(
                format!("pickup {name}, against {peer}"),
                "ms",
                &ours,
                samples,
                share,
                judged.then_some(Aim::AtMost(aim)),
            )
        })
    };
    let figures = at(0.5).into_iter().chain(at(0.99)).collect();
    drop((wake, hub, listener, sender));
    bench.drop_database(&database).await?;
    Ok(figures)
}
