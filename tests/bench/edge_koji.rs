//! `koji-discord-bot` of `hub serve` at 64 connections: against the function of the database that it calls, by as many connections; and against the
//! same handler in TypeScript on Deno.

use crate::{
    http::{Asked, Outcome},
    served::{SECRET, Served},
    stack::processor,
    tools::{Aim, Bench, Figure, median, millis},
};
use anyhow::{Result, ensure};
use bytes::Bytes;
use hub::db::Db;
use jsonwebtoken::{EncodingKey, Header, encode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Of clients to the server, and of the server to Postgres; of the peer to Postgres, and of the handler in TypeScript.
const CONNECTIONS: u32 = 64;
/// What `hub serve` opens unless told.
const FEWER: u32 = 10;
const COMMAND: &str = "!stats";

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let database = bench.fresh("edge_koji").await?;
    let mut connection = database.connect("postgres").await?;
    let channel: Uuid = sqlx::query_scalar("select id from public.hub_channels where name = 'leads'")
        .fetch_one(&mut connection)
        .await?;
    drop(connection);
    // Any signed-in person may read there.
    let claims = json!({"sub": Uuid::new_v4(), "role": "authenticated", "exp": 4_000_000_000_i64});
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes()))?;

    // Each request is counted against the caller's limit, which is high.
    let limit = [("HUB_SERVE_CALLER_REQUESTS_PER_SECOND", "10000000")];
    let hub = Served::hub(bench, &database, CONNECTIONS, &limit).await?;
    let fewer = Served::hub(bench, &database, FEWER, &limit).await?;
    let url = database.url();
    let connections = CONNECTIONS.to_string();
    let settings =
        [("DATABASE_URL", url.expose_secret()), ("SUPABASE_JWT_SECRET", SECRET), ("CONNECTIONS", &connections)];
    let deno = Served::deno(bench, "tests/bench/deno/koji.ts", &settings).await?;
    let asks = |served: &Served| asked(served, &token, channel);
    let (ours, with_fewer, theirs) = (asks(&hub), asks(&fewer), asks(&deno));
    let direct = Direct { db: Db::connect_sized(&url, "bench", CONNECTIONS).await?, claims, channel };

    // Nobody is fast by saying something else.
    let said = hub.first(&ours).await?;
    ensure!(
        said == deno.first(&theirs).await? && said == fewer.first(&with_fewer).await?,
        "the handlers answer differently"
    );
    ensure!(
        said == serde_json::to_value(direct.db.execute_command_as(&direct.claims, channel, COMMAND).await?)?,
        "the function answers differently"
    );

    let (mut p50, mut direct_p50, mut fewer_p50, mut deno_p50) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut rate, mut deno_rate, mut direct_rate) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare, mut bare_p50) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        bare.push(database.connect("postgres").await?);
    }
    let (mut taken, mut deno_taken) = (Vec::new(), Vec::new());
    // Once unmeasured: connections are opened, statements prepared, TypeScript compiled.
    for measured in std::iter::once(false).chain((0..bench.rounds).map(|_| true)) {
        let seconds = if measured { bench.seconds } else { 1 };
        let (here, processor) = measured_load(&hub, &ours, seconds).await?;
        let there = direct.load(CONNECTIONS, seconds).await?;
        let bare = direct.bare_load(&mut bare, seconds).await?;
        let few = with_fewer.load(CONNECTIONS, seconds).await?;
        let (typescript, deno_processor) = measured_load(&deno, &theirs, seconds).await?;
        if measured {
            p50.push(median(&here.latencies));
            rate.push(here.per_second);
            direct_p50.push(median(&there.latencies));
            direct_rate.push(there.per_second);
            bare_p50.push(median(&bare));
            fewer_p50.push(median(&few.latencies));
            deno_p50.push(median(&typescript.latencies));
            deno_rate.push(typescript.per_second);
            taken.push(processor);
            deno_taken.push(deno_processor);
        }
    }
    for served in [hub, fewer, deno] {
        served.end().await?;
    }
    drop((direct, bare));
    bench.drop_database(&database).await?;
    let name = format!("edge-koji, {CONNECTIONS} connections");
    Ok(vec![
        Figure::of_rounds(
            format!("{name}, p50, against the function"),
            "ms",
            &p50,
            &direct_p50,
            Some(Aim::AtMost(1.3)),
        ),
        Figure::of_rounds(
            format!("{name}, p50, against the function by bare connections"),
            "ms",
            &p50,
            &bare_p50,
            None,
        ),
        Figure::of_rounds(format!("{name}, against the function"), "requests/s", &rate, &direct_rate, None),
        Figure::of_rounds(
            format!("{name}, {FEWER} to Postgres, p50, against the function by {CONNECTIONS}"),
            "ms",
            &fewer_p50,
            &direct_p50,
            None,
        ),
        Figure::of_rounds(
            format!("{name}, against TypeScript on Deno"),
            "requests/s",
            &rate,
            &deno_rate,
            Some(Aim::AtLeast(1.6)),
        ),
        Figure::of_rounds(format!("{name}, p50, against TypeScript on Deno"), "ms", &p50, &deno_p50, None),
        Figure::of_rounds(
            format!("{name}, processor of the program a request, against TypeScript on Deno"),
            "ms",
            &taken,
            &deno_taken,
            None,
        ),
    ])
}

/// And the processor that the program took for a request, in milliseconds.
async fn measured_load(served: &Served, asked: &Asked, seconds: u32) -> Result<(Outcome, f64)> {
    let before = processor(served.pid()?)?;
    let outcome = asked.load(CONNECTIONS, seconds).await?;
    #[allow(clippy::cast_precision_loss)]
    let each = (processor(served.pid()?)? - before) / outcome.latencies.len() as f64;
    Ok((outcome, each))
}

fn asked(served: &Served, token: &str, channel: Uuid) -> Asked {
    let lines = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    let body = Bytes::from(json!({"channel_id": channel, "command": COMMAND}).to_string());
    Asked {
        place: served.place.clone(),
        path: "/functions/v1/koji-discord-bot",
        make: Arc::new(move || (lines.clone(), body.clone())),
        check: |status, body| {
            ensure!(
                status == 200 && String::from_utf8_lossy(body).contains("\"text\":\"Pipeline: "),
                "status {status}: {}",
                String::from_utf8_lossy(body)
            );
            Ok(())
        },
    }
}

/// The statement that the functions send, by the code that sends it there.
struct Direct {
    db: Db,
    claims: Value,
    channel: Uuid,
}

impl Direct {
    /// The same without the pool, which asks a connection that is given back whether it lives: one exchange instead of two.
    async fn bare_load(&self, connections: &mut [PgConnection], seconds: u32) -> Result<Vec<f64>> {
        let begun = Instant::now();
        let loads = connections.iter_mut().map(|connection| async move {
            let mut samples = Vec::new();
            while begun.elapsed() < Duration::from_secs(seconds.into()) {
                let at = Instant::now();
                let reply: Value = sqlx::query_scalar("select hub_internal.execute_command_as($1, $2, $3)")
                    .bind(&self.claims)
                    .bind(self.channel)
                    .bind(COMMAND)
                    .fetch_one(&mut *connection)
                    .await?;
                samples.push(millis(at));
                ensure!(reply["text"].as_str().is_some_and(|text| text.starts_with("Pipeline: ")), "{reply}");
            }
            anyhow::Ok(samples)
        });
        Ok(futures_util::future::try_join_all(loads).await?.concat())
    }

    async fn load(&self, connections: u32, seconds: u32) -> Result<Outcome> {
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        for _ in 0..connections {
            let (db, claims, channel) = (self.db.clone(), self.claims.clone(), self.channel);
            tasks.spawn(async move {
                let mut samples = Vec::new();
                while begun.elapsed() < Duration::from_secs(seconds.into()) {
                    let at = Instant::now();
                    let reply = db.execute_command_as(&claims, channel, COMMAND).await?;
                    samples.push(millis(at));
                    ensure!(reply.text.starts_with("Pipeline: "), "{}", reply.text);
                }
                Ok(samples)
            });
        }
        let mut latencies = Vec::new();
        while let Some(samples) = tasks.join_next().await {
            latencies.extend(samples??);
        }
        #[allow(clippy::cast_precision_loss)]
        let per_second = latencies.len() as f64 / begun.elapsed().as_secs_f64();
        Ok(Outcome { latencies, per_second })
    }
}
