//! `!stats` over HTTP, through a stack of its own (`hub dev`), against the query that it is.

use crate::{
    stack::Stack,
    tools::{Aim, Amount, Bench, Figure, median, millis},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// For a machine that hangs.
const BOUND: Duration = Duration::from_secs(120);

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let stack = Stack::start(bench, &[]).await?;
    let url = format!("{}/functions/v1/koji-discord-bot", stack.env("SUPABASE_URL")?);
    let (key, token) = (stack.env("SUPABASE_ANON_KEY")?.to_owned(), stack.env("HUB_VIEWER_JWT")?.to_owned());
    let database = stack.env("DATABASE_URL")?.to_owned();
    let pool = sqlx::PgPool::connect(&database).await?;
    let channel: uuid::Uuid = sqlx::query_scalar(
        "select c.id from hub_channels c join hub_servers s on s.id = c.server_id where s.name = 'koji-pipeline' and c.name = 'leads'",
    )
    .fetch_one(&pool)
    .await?;
    pool.close().await;

    let caller = Caller { url, key, token, channel };
    if caller.client()?.call().await?.is_none() {
        eprintln!(
            "koji: /functions/v1/koji-discord-bot answers 404: this `hub dev` does not serve it, nothing is measured"
        );
        return Ok(Vec::new());
    }
    let mut figures = Vec::new();
    let database = database.into();
    for connections in [1, 64] {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            ours.push(median(&caller.load(connections, bench.seconds).await?));
            let outcome =
                bench.pgbench(&database, "koji_peer.sql", connections, Amount::Seconds(bench.seconds), &[]).await?;
            peer.push(median(&outcome.latencies));
        }
        figures.push(Figure::of_rounds(
            format!("koji, {connections} connection(s), p50"),
            "ms",
            &ours,
            &peer,
            Some(Aim::AtMost(3.0)),
        ));
    }
    stack.end()?;
    Ok(figures)
}

struct Caller {
    url: String,
    key: String,
    token: String,
    channel: uuid::Uuid,
}

struct Client {
    http: reqwest::Client,
    request: reqwest::Request,
}

impl Caller {
    /// One that has a connection of its own.
    fn client(&self) -> Result<Client> {
        let http = reqwest::Client::builder().timeout(BOUND).build()?;
        let request = http
            .post(&self.url)
            .header("apikey", &self.key)
            .bearer_auth(&self.token)
            .json(&json!({ "channel_id": self.channel, "command": "!stats" }))
            .build()?;
        Ok(Client { http, request })
    }

    /// Milliseconds of each call, from so many connections, each of which asks again as soon as it has its answer.
    async fn load(&self, connections: u32, seconds: u32) -> Result<Vec<f64>> {
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let client = self.client()?;
            tasks.spawn(async move {
                client.call().await?.context("404")?;
                let (begun, mut samples) = (Instant::now(), Vec::new());
                while begun.elapsed() < Duration::from_secs(seconds.into()) {
                    let asked = Instant::now();
                    client.call().await?.context("404")?;
                    samples.push(millis(asked));
                }
                anyhow::Ok(samples)
            });
        }
        let mut all = Vec::new();
        while let Some(samples) = tasks.join_next().await {
            all.extend(samples??);
        }
        Ok(all)
    }
}

impl Client {
    /// `None`: there is no such function.
    async fn call(&self) -> Result<Option<()>> {
        let request = self.request.try_clone().context("a request that can not be sent again")?;
        let answer = self.http.execute(request).await?;
        let status = answer.status();
        if status == reqwest::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let body: Value = answer.json().await.with_context(|| format!("status {status}, and no JSON"))?;
        ensure!(
            status.is_success() && body["text"].as_str().is_some_and(|text| text.starts_with("Pipeline: ")),
            "status {status}: {body}"
        );
        Ok(Some(()))
    }
}
