//! The functions as WebAssembly in Deno (`tests/edge/serve.ts`), beside a `hub dev`: the processor that the Deno process takes for a request.

use crate::{
    edge_webhook::{deliveries, payload, secret},
    http::Asked,
    served::Served,
    stack::{Stack, processor},
    tools::{Aim, Bench, Figure},
};
use anyhow::{Result, ensure};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

const CONNECTIONS: u32 = 4;
/// What Supabase's functions may take of the processor, and what is to be left of it, in milliseconds.
const AIM_MS: f64 = 5.0;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let stack = Stack::start(bench, &[]).await?;
    let pool = sqlx::PgPool::connect(stack.env("DATABASE_URL")?).await?;
    let channel: Uuid =
        sqlx::query_scalar("select id from public.hub_channels where name = 'leads'").fetch_one(&pool).await?;
    pool.close().await;
    let mut settings = vec![("GITHUB_WEBHOOK_SECRET", secret())];
    for name in ["SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY"] {
        settings.push((name, stack.env(name)?));
    }
    let deno = Served::deno(bench, "tests/edge/serve.ts", &settings).await?;
    let lines = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", stack.env("HUB_VIEWER_JWT")?);
    let command = Bytes::from(json!({"channel_id": channel, "command": "!stats"}).to_string());
    let kinds = [
        (
            "a ping of 20 KB",
            Asked {
                place: deno.place.clone(),
                path: "/functions/v1/github-webhook",
                make: deliveries("ping", payload(20 * 1024).into()),
                check: |status, body| {
                    ensure!(status == 202, "status {status}: {}", String::from_utf8_lossy(body));
                    Ok(())
                },
            },
        ),
        (
            "!stats",
            Asked {
                place: deno.place.clone(),
                path: "/functions/v1/koji-discord-bot",
                make: Arc::new(move || (lines.clone(), command.clone())),
                check: |status, body| {
                    ensure!(status == 200, "status {status}: {}", String::from_utf8_lossy(body));
                    Ok(())
                },
            },
        ),
    ];
    let mut figures = Vec::new();
    for (name, asked) in kinds {
        deno.first(&asked).await?;
        // Once unmeasured: WebAssembly and JavaScript are compiled while they run.
        asked.load(CONNECTIONS, bench.seconds.min(2)).await?;
        let mut ours = Vec::new();
        for _ in 0..bench.rounds {
            let before = processor(deno.pid()?)?;
            let outcome = asked.load(CONNECTIONS, bench.seconds).await?;
            #[allow(clippy::cast_precision_loss)]
            ours.push((processor(deno.pid()?)? - before) / outcome.latencies.len() as f64);
        }
        figures.push(Figure::of_rounds(
            format!("edge-wasm, {name}, processor of Deno a request"),
            "ms",
            &ours,
            &vec![AIM_MS; ours.len()],
            Some(Aim::AtMost(1.0)),
        ));
    }
    deno.end().await?;
    stack.end()?;
    Ok(figures)
}
