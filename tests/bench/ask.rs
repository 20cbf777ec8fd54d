//! From the commit of `hub_ask` to the request that the chat's server gets, through the keeper of a `hub dev`, and from the commit of the answer to
//! the edit.

use crate::{
    stack::Stack,
    tools::{Aim, Bench, Figure, run as execute},
};
use anyhow::{Context, Result, ensure};
use axum::{Json, Router, extract::State, routing::post};
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::time::{Duration, Instant};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{sleep, timeout},
};
use uuid::Uuid;

const BOUND: Duration = Duration::from_secs(10);
/// Between samples, so that all sides are asleep.
const IDLE: Duration = Duration::from_millis(15);
/// Of one task, which may not ask more often than that.
const ASKS: u32 = 30;
/// From asking to the door, at most.
const AIM_MS: f64 = 100.0;
const SETUP: &str = r#"
    insert into public.mesh_devices (name, platform, capacity, agents, serves_all)
    values ('bench0', 'linux', 1000, '[{"agent": "claude", "models": ["any"]}]', true);
    insert into public.hub_bridges (server_id, channel_id, provider, target)
    select c.server_id, c.id, 'telegram', 'channel:-1' from public.hub_channels c where c.name = 'quick'"#;

/// What came, and when.
struct Told {
    at: Instant,
    body: Value,
}

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let (tell, mut told) = unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let chat = Router::new().fallback(post(hear)).with_state(tell);
    tokio::spawn(async move { axum::serve(listener, chat).await });
    let environment =
        [("HUB_TELEGRAM_API_URL", url.as_str()), ("TELEGRAM_BOT_TOKEN", "1:bench"), ("NO_PROXY", "127.0.0.1")];
    let stack = Stack::start_with(bench, &[], &environment).await?;
    let mut asker = stack.connect().await?;
    execute(&mut asker, SETUP).await?;

    let (mut asked, mut closed) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds.max(2) {
        let (task, attempt) = claimed(&mut asker).await?;
        for n in 0..ASKS {
            sleep(IDLE).await;
            execute(&mut asker, "begin").await?;
            let input = json!({"tool": "Bash", "input": {"command": format!("make part-{round}-{n}")}});
            let ask: Uuid =
                sqlx::query_scalar("select (public.hub_ask($1, $2, 'approval', 'May I run this?', null, $3)).id")
                    .bind(task)
                    .bind(attempt)
                    .bind(input)
                    .fetch_one(&mut asker)
                    .await?;
            let (took, body) = commit(&mut asker, &mut told, |body| body["reply_markup"].is_object()).await?;
            let buttons = body["reply_markup"]["inline_keyboard"].as_array().map_or(0, Vec::len);
            ensure!(buttons == 3, "an ask came without its buttons: {body}");

            sleep(IDLE).await;
            execute(&mut asker, "begin").await?;
            sqlx::query("select 1 from public.hub_answer_ask($1, 'allow')").bind(ask).execute(&mut asker).await?;
            let (after, _) = commit(&mut asker, &mut told, |body| body["message_id"].is_number()).await?;
            // The first round finds everything cold.
            if round > 0 {
                asked.push(took);
                closed.push(after);
            }
        }
        sqlx::query("select 1 from public.hub_complete_task($1, $2, 'done')")
            .bind(task)
            .bind(attempt)
            .execute(&mut asker)
            .await?;
    }
    let mut figures = Vec::new();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        for (what, samples) in
            [("from asking to the chat's server", &asked), ("from the answer to the edit there", &closed)]
        {
            let name = format!("ask {name}, {what}");
            figures.push(Figure::of_samples(name, "ms", samples, &[AIM_MS], share, Some(Aim::AtMost(1.0))));
        }
    }
    stack.end()?;
    Ok(figures)
}

/// As much of Telegram as a keeper needs.
async fn hear(State(tell): State<UnboundedSender<Told>>, Json(body): Json<Value>) -> Json<Value> {
    let at = Instant::now();
    let id = body["message_id"].as_i64().unwrap_or(1);
    drop(tell.send(Told { at, body }));
    Json(json!({"ok": true, "result": {"message_id": id}}))
}

/// A task that nobody else claims: nobody sees it before.
async fn claimed(connection: &mut PgConnection) -> Result<(Uuid, i32)> {
    execute(connection, "begin").await?;
    sqlx::query("select public.hub_send(c.id, 'Do a thing please') from public.hub_channels c where c.name = 'quick'")
        .execute(&mut *connection)
        .await?;
    let claimed = sqlx::query_as("select id, attempt from public.hub_claim_tasks('bench0', 1, '1 hour')")
        .fetch_optional(&mut *connection)
        .await?
        .context("there was nothing to claim")?;
    execute(connection, "commit").await?;
    Ok(claimed)
}

/// Commits, and waits for such a request: what else is told of the task goes before it.
async fn commit(
    connection: &mut PgConnection,
    told: &mut UnboundedReceiver<Told>,
    is_it: impl Fn(&Value) -> bool,
) -> Result<(f64, Value)> {
    let begun = Instant::now();
    execute(connection, "commit").await?;
    timeout(BOUND, async {
        loop {
            let Told { at, body } = told.recv().await.context("the server is gone")?;
            if is_it(&body) {
                return anyhow::Ok(((at - begun).as_secs_f64() * 1000.0, body));
            }
        }
    })
    .await
    .context("no request came")?
}
