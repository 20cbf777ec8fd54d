//! `!stats` over HTTP, through a stack of its own (`hub dev`), against the query that it is.

use crate::tools::{Aim, Amount, Bench, Figure, median, millis};
use anyhow::{Context, Result, bail, ensure};
use hub::config::read_env_file;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{process::Child, task::JoinSet, time::sleep};

/// For a machine that hangs.
const BOUND: Duration = Duration::from_secs(120);

/// A running `hub dev`, stopped and removed when it is dropped.
struct Stack {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // It stops its Postgres in order; its folder goes after that.
            kill(Pid::from_raw(id), Signal::SIGTERM).ok();
            let begun = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < BOUND {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    ensure!(bench.hub.is_file(), "no program at {}: cargo build --release first", bench.hub.display());
    let folder = tempfile::tempdir()?;
    // As root, the database in it belongs to another user.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
    let data = folder.path().join("hub");
    let log = std::fs::File::create(folder.path().join("log"))?;
    let child = tokio::process::Command::new(&bench.hub)
        .args(["dev", "--port", &free_port()?, "--db-port", &free_port()?, "--data-dir"])
        .arg(&data)
        .stdout(log.try_clone()?)
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .context("hub dev")?;
    let mut stack = Stack { child, _folder: folder };
    // Ready when dev.env is there; gone when the process is.
    let file = data.join("dev.env");
    let begun = Instant::now();
    while !file.is_file() {
        if let Some(status) = stack.child.try_wait()? {
            let said = std::fs::read_to_string(data.with_file_name("log")).unwrap_or_default();
            bail!("hub dev ended with {status}: {said}");
        }
        ensure!(begun.elapsed() < BOUND, "hub dev is not ready after {} s", BOUND.as_secs());
        sleep(Duration::from_millis(50)).await;
    }
    let mut env = read_env_file(&file)?;
    let mut take = |name: &str| env.remove(name).with_context(|| format!("dev.env has no {name}"));
    let url = format!("{}/functions/v1/koji-discord-bot", take("SUPABASE_URL")?);
    let (key, token, database) = (take("SUPABASE_ANON_KEY")?, take("HUB_VIEWER_JWT")?, take("DATABASE_URL")?);
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
    drop(stack);
    Ok(figures)
}

fn free_port() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
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
