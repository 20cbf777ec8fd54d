//! `github-webhook` of `hub serve`: signed deliveries of 20 KB and 1 MB, verified, stored and answered, against pgbench inserting the same payload into
//! a table of the same columns, indexes and storage; and whether the program's memory stays flat.

use crate::{
    http::{Asked, Make},
    served::Served,
    tools::{Aim, Amount, Bench, Figure, median, run as execute},
};
use anyhow::{Result, ensure};
use bytes::Bytes;
use ring::hmac;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// Of clients to the server, of the server to Postgres, and of pgbench.
const CONNECTIONS: u32 = 16;
const SECRET: &str = "a webhook's secret";

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("edge_webhook").await?;
    let mut connection = database.superuser().await?;
    execute(
        &mut connection,
        "create table public.bench_deliveries (like public.hub_webhook_deliveries including all);
         create table public.bench_payload (payload text);
         grant all on public.bench_deliveries, public.bench_payload to postgres;
         grant usage on all sequences in schema public to postgres",
    )
    .await?;
    let hub = Served::hub(bench, &database, CONNECTIONS, &[("GITHUB_WEBHOOK_SECRET", SECRET)]).await?;
    let mut figures = Vec::new();
    let mut memory = Vec::new();
    for (name, bytes) in [("20 KB", 20 * 1024), ("1 MB", 1024 * 1024)] {
        let payload = payload(bytes);
        execute(&mut connection, "truncate public.bench_payload").await?;
        sqlx::query("insert into public.bench_payload values ($1)").bind(&payload).execute(&mut connection).await?;
        let asked = Asked {
            place: hub.place.clone(),
            path: "/functions/v1/github-webhook",
            make: deliveries("push", payload.into()),
            check: |status, body| {
                ensure!(status == 202, "status {status}: {}", String::from_utf8_lossy(body));
                Ok(())
            },
        };
        hub.first(&asked).await?;
        if memory.is_empty() {
            memory.push(hub.memory()?);
        }
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            let outcome = asked.load(CONNECTIONS, bench.seconds).await?;
            ours.push(outcome.per_second);
            memory.push(hub.memory()?);
            let stored = database.count("select count(*) from public.hub_webhook_deliveries").await?;
            ensure!(
                usize::try_from(stored)? >= outcome.latencies.len(),
                "{} were answered and {stored} are there",
                outcome.latencies.len()
            );
            let inserted = bench
                .pgbench(
                    &database.url(),
                    "edge_webhook_peer.sql",
                    CONNECTIONS,
                    Amount::Seconds(bench.seconds),
                    &[("first", "1")],
                )
                .await?;
            peer.push(inserted.tps);
            // So that neither is measured on what the other left behind.
            execute(&mut connection, "truncate public.hub_webhook_deliveries, public.bench_deliveries cascade").await?;
        }
        figures.push(Figure::of_rounds(
            format!("edge-webhook, {name}, {CONNECTIONS} connections"),
            "deliveries/s",
            &ours,
            &peer,
            Some(Aim::AtLeast(0.5)),
        ));
    }
    hub.end().await?;
    bench.drop_database(&database).await?;
    // Of the start, then of each round of 20 KB, then of each round of 1 MB. From one round to the next it goes up and down.
    let rounds = bench.rounds as usize;
    let (start, small, large) = (&memory[..1], &memory[1..=rounds], &memory[rounds + 1..]);
    let mut of = |name: &str, ours: &[f64], peer: &[f64], aim| {
        let (ours, peer) = (median(ours), median(peer));
        figures.push(Figure::of_rounds(format!("edge-webhook, memory {name}"), "MB", &[ours], &[peer], aim));
    };
    of("after 20 KB, against the start", small, start, None);
    of("after 1 MB, against the start", large, start, None);
    for (name, all) in [("20 KB", small), ("1 MB", large)] {
        let half = rounds.div_ceil(2);
        of(
            &format!("in the later rounds of {name}, against the earlier"),
            &all[rounds - half..],
            &all[..half],
            Some(Aim::AtMost(1.2)),
        );
    }
    Ok(figures)
}

/// A push of many commits, about so long.
pub fn payload(bytes: usize) -> String {
    let mut commits = Vec::new();
    let mut length = 0;
    while length < bytes - 400 {
        let commit = json!({
            "id": Uuid::new_v4().simple().to_string(), "message": "Mend the roof before the rain comes in", "timestamp": "2026-11-21T10:00:00Z",
            "author": {"name": "ada", "email": "ada@example.com"}, "added": ["roof/tiles.txt"], "removed": [], "modified": ["roof/beams.txt"],
        });
        length += commit.to_string().len() + 1;
        commits.push(commit);
    }
    json!({"ref": "refs/heads/main", "repository": {"full_name": "a/b"}, "pusher": {"name": "ada"}, "commits": commits})
        .to_string()
}

/// Signed once, since the bytes are the same; each with an id of its own.
pub fn deliveries(event: &str, body: Bytes) -> Make {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &body);
    let lines = format!(
        "content-type: application/json\r\nx-github-event: {event}\r\nx-hub-signature-256: sha256={}\r\n",
        hex::encode(mac)
    );
    Arc::new(move || (format!("{lines}x-github-delivery: {}\r\n", Uuid::new_v4()), body.clone()))
}

/// The secret that they are signed with, for who verifies them.
pub const fn secret() -> &'static str {
    SECRET
}
