//! `!stats` over HTTP, through a stack of its own (`hub dev`): by the function at `/functions/v1` against the query that it is; and by REST
//! against the function of the database that REST calls.

use crate::{
    stack::Stack,
    tools::{Aim, Amount, Bench, Figure, median, millis, with_options},
};
use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// For a machine that hangs.
const BOUND: Duration = Duration::from_secs(120);
const COMMAND: &str = "!stats";

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let stack = Stack::start(bench, &[]).await?;
    let database: SecretString = stack.env("DATABASE_URL")?.to_owned().into();
    let channel: uuid::Uuid = sqlx::query_scalar(
        "select c.id from hub_channels c join hub_servers s on s.id = c.server_id where s.name = 'koji-pipeline' and c.name = 'leads'",
    )
    .fetch_one(&mut stack.connect().await?)
    .await?;

    let caller = |path, body| -> Result<Caller> {
        Ok(Caller {
            url: format!("{}{path}", stack.env("SUPABASE_URL")?),
            key: stack.env("SUPABASE_ANON_KEY")?.to_owned(),
            token: stack.env("HUB_VIEWER_JWT")?.to_owned(),
            body,
        })
    };
    let function = caller("/functions/v1/koji-discord-bot", json!({"channel_id": channel, "command": COMMAND}))?;
    let rest = caller("/rest/v1/rpc/hub_execute_command", json!({"p_channel_id": channel, "p_command": COMMAND}))?;
    let mut figures = Vec::new();
    if function.client()?.call().await?.is_some() {
        for connections in [1, 64] {
            let (mut ours, mut peer) = (Vec::new(), Vec::new());
            for _ in 0..bench.rounds {
                ours.push(median(&function.load(connections, bench.seconds).await?));
                let amount = Amount::Seconds(bench.seconds);
                let outcome = bench.pgbench(&database, "koji_peer.sql", connections, amount, &[]).await?;
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
    } else {
        eprintln!(
            "koji: /functions/v1/koji-discord-bot answers 404: this `hub dev` does not serve it, REST alone is measured"
        );
    }
    figures.extend(by_rest(bench, &rest, &database, &channel.to_string()).await?);
    stack.end()?;
    Ok(figures)
}

/// One connection, in turn with the function alone and with the transaction that REST makes of it.
async fn by_rest(bench: &Bench, rest: &Caller, database: &SecretString, channel: &str) -> Result<Vec<Figure>> {
    let claims = rest.claims()?;
    // A blank would end the option, and a backslash stands before what does not.
    let written = claims.replace('\\', "\\\\").replace(' ', "\\ ");
    let as_caller = with_options(database, &format!("-c role=authenticated -c request.jwt.claims={written}"));
    let said: Value = sqlx::query_scalar("select public.hub_execute_command($1::uuid, $2)")
        .bind(channel)
        .bind(COMMAND)
        .fetch_one(&mut PgConnection::connect(as_caller.expose_secret()).await?)
        .await?;
    ensure!(is_pipeline(&said), "the function answers {said}");
    let amount = Amount::Seconds(bench.seconds);
    let (mut ours, mut alone, mut within) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        ours.push(median(&rest.load(1, bench.seconds).await?));
        let outcome = bench.pgbench(&as_caller, "koji_function.sql", 1, amount, &[("channel", channel)]).await?;
        alone.push(median(&outcome.latencies));
        let values = [("channel", channel), ("claims", &claims)];
        let outcome = bench.pgbench(database, "koji_transaction.sql", 1, amount, &values).await?;
        within.push(median(&outcome.latencies));
    }
    let name = "koji by REST, 1 connection, p50, against the function";
    Ok(vec![
        Figure::of_rounds(name, "ms", &ours, &alone, Some(Aim::AtMost(1.5))),
        Figure::of_rounds(format!("{name} in REST's transaction"), "ms", &ours, &within, None),
    ])
}

fn is_pipeline(reply: &Value) -> bool {
    reply["text"].as_str().is_some_and(|text| text.starts_with("Pipeline: "))
}

struct Caller {
    url: String,
    key: String,
    token: String,
    body: Value,
}

struct Client {
    http: reqwest::Client,
    request: reqwest::Request,
}

impl Caller {
    /// One that has a connection of its own.
    fn client(&self) -> Result<Client> {
        let http = reqwest::Client::builder().timeout(BOUND).build()?;
        let request =
            http.post(&self.url).header("apikey", &self.key).bearer_auth(&self.token).json(&self.body).build()?;
        Ok(Client { http, request })
    }

    /// What the token says of its bearer.
    fn claims(&self) -> Result<String> {
        let part = self.token.split('.').nth(1).context("a token of another form")?;
        Ok(String::from_utf8(URL_SAFE_NO_PAD.decode(part)?)?)
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
        ensure!(status.is_success() && is_pipeline(&body), "status {status}: {body}");
        Ok(Some(()))
    }
}
