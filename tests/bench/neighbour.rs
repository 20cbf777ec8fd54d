//! How long an operator waits for `hub_send`, while somebody who is no member of the server misbehaves in every way that an attack tried, against the
//! same on a quiet hub: p99 stays within three times. Over REST of a stack of its own (`hub dev`), as both would come.

use crate::{
    stack::Stack,
    tools::{Aim, Bench, Figure, millis},
};
use anyhow::{Context, Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet, time};
use tokio_util::sync::CancellationToken;

/// The operator sends so many a second: a person does not, a fleet might.
const EVERY: Duration = Duration::from_millis(40);
/// Half a request, and then nothing.
const HALF_HEAD: &[u8] = b"POST /rest/v1/mac_tasks HTTP/1.1\r\nHost: 127.0.0.1\r\n";
const HALVES: usize = 300;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let stack = Stack::start(bench, &["--no-worker"]).await?;
    let url = stack.env("SUPABASE_URL")?.to_owned();
    let key = stack.env("SUPABASE_ANON_KEY")?.to_owned();
    let operator = Person {
        http: Client::new(),
        url: url.clone(),
        key: key.clone(),
        token: stack.env("HUB_OPERATOR_JWT")?.to_owned(),
    };
    let outsider = Arc::new(Person { http: Client::new(), url, key, token: stack.env("HUB_OUTSIDER_JWT")?.to_owned() });
    let channel = |name: &str| {
        let person = operator.clone();
        let name = name.to_owned();
        async move { person.channel(&name).await }
    };
    let (ours, quick, leads) = (channel("garden").await?, channel("quick").await?, channel("leads").await?);
    // The operator is one person here and sends as a fleet would; the outsider's quotas stay as they are shipped.
    let pool = sqlx::PgPool::connect(stack.env("DATABASE_URL")?).await?;
    sqlx::query("update hub_internal.quotas set amount = 1000000 where name in ('person_tasks', 'person_messages')")
        .execute(&pool)
        .await?;
    pool.close().await;
    // Plans are made, caches filled.
    for _ in 0..20 {
        operator.send(&ours).await?;
    }
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        quiet.extend(measure(bench, &operator, &ours).await?);
        let stop = CancellationToken::new();
        let mut attack = JoinSet::new();
        for way in 0..6 {
            attack.spawn(misbehave(outsider.clone(), way, quick.clone(), leads.clone(), stop.clone()));
        }
        busy.extend(measure(bench, &operator, &ours).await?);
        stop.cancel();
        while attack.join_next().await.is_some() {}
    }
    stack.end()?;
    Ok(vec![
        Figure::of_samples("neighbour, hub_send beside one who misbehaves, p50", "ms", &busy, &quiet, 0.5, None),
        Figure::of_samples(
            "neighbour, hub_send beside one who misbehaves, p99",
            "ms",
            &busy,
            &quiet,
            0.99,
            Some(Aim::AtMost(3.0)),
        ),
    ])
}

async fn measure(bench: &Bench, operator: &Person, channel: &str) -> Result<Vec<f64>> {
    let end = Instant::now() + Duration::from_secs(u64::from(bench.seconds));
    let (mut turns, mut samples) = (time::interval(EVERY), Vec::new());
    while Instant::now() < end {
        turns.tick().await;
        let begun = Instant::now();
        operator.send(channel).await?;
        samples.push(millis(begun));
    }
    Ok(samples)
}

/// One way of it, again and again. What it is answered does not matter here: refused or not, the operator must not feel it.
async fn misbehave(outsider: Arc<Person>, way: usize, quick: String, leads: String, stop: CancellationToken) {
    let work = async {
        let mut halves = Vec::new();
        for turn in 0_u64.. {
            match way {
                // Nine thousand messages in one request.
                0 => {
                    let rows: Vec<Value> =
                        (0..9000).map(|n| json!({"channel_id": quick, "content": format!("spam {n}")})).collect();
                    let _ = outsider.post("hub_channel_messages", &json!(rows)).await;
                }
                // Long ones.
                1 => {
                    let rows: Vec<Value> =
                        (0..15).map(|_| json!({"channel_id": quick, "content": "x".repeat(100_000)})).collect();
                    let _ = outsider.post("hub_channel_messages", &json!(rows)).await;
                }
                // Answers that are kept.
                2 => {
                    let body = json!({"p_channel_id": leads, "p_content": "!stats", "p_idempotency_key": format!("k{turn}-{}", uuid::Uuid::new_v4())});
                    let _ = outsider.post("rpc/hub_send", &body).await;
                }
                // A pattern that is tried in every way there is; embeds without end.
                3 => {
                    let _ = outsider.get("hub_channel_messages?select=id&content=match.%5E(x%2Bx%2B)%2By%5C1").await;
                    let _ = outsider
                        .get(&format!("hub_servers?select=id{}", ",hub_channels(id".repeat(20) + &")".repeat(20)))
                        .await;
                }
                // Half a request head, and half a body with a junk token.
                4 => {
                    if halves.len() < HALVES
                        && let Ok(mut half) = outsider.connect().await
                    {
                        let _ = half.write_all(HALF_HEAD).await;
                        halves.push(half);
                    } else {
                        time::sleep(Duration::from_millis(100)).await;
                    }
                }
                _ => {
                    let _ = outsider
                        .http
                        .post(format!("{}/rest/v1/mac_tasks", outsider.url))
                        .header("apikey", &outsider.key)
                        .bearer_auth("junk")
                        .body("x".repeat(1 << 20))
                        .send()
                        .await;
                }
            }
            // Bounded in count, too: no more than a client that waits for each answer.
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

#[derive(Clone)]
struct Person {
    http: Client,
    url: String,
    key: String,
    token: String,
}

impl Person {
    async fn channel(&self, name: &str) -> Result<String> {
        let found: Value = self.get(&format!("hub_channels?select=id&name=eq.{name}")).await?.json().await?;
        Ok(found[0]["id"].as_str().with_context(|| format!("no channel {name}"))?.to_owned())
    }

    async fn send(&self, channel: &str) -> Result<()> {
        let answer =
            self.post("rpc/hub_send", &json!({"p_channel_id": channel, "p_content": "Water the plants"})).await?;
        let status = answer.status();
        ensure!(status == StatusCode::OK, "hub_send answered {status}: {}", answer.text().await?);
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
        self.http
            .post(format!("{}/rest/v1/{path}", self.url))
            .header("apikey", &self.key)
            .bearer_auth(&self.token)
            .json(body)
            .send()
            .await
    }

    async fn get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.http
            .get(format!("{}/rest/v1/{path}", self.url))
            .header("apikey", &self.key)
            .bearer_auth(&self.token)
            .send()
            .await
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(self.url.trim_start_matches("http://")).await
    }
}
