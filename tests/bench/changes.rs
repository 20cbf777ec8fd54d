//! Postgres Changes with row level security: what a change costs when a few or many sockets, of few or many rights, listen.

use crate::{
    ears::{self, Crowd, Times},
    stack::{Stack, processor},
    tools::{Aim, Bench, Figure, median, run as execute},
};
use anyhow::{Context, Result, ensure};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::sync::Arc;
use tokio::time::{Duration, sleep};
use uuid::Uuid;

/// Changes of a round.
const CHANGES: usize = 20;

/// Sockets that listen to a table of their own.
struct Side {
    name: String,
    table: &'static str,
    crowd: Crowd,
    times: Arc<Times>,
    done: usize,
    /// Milliseconds of a round's changes: of the backends that decide, of the endpoint, and from the commit to the last frame.
    backends: Vec<f64>,
    endpoint: Vec<f64>,
    elapsed: Vec<f64>,
}

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    // A hundred groups are what is asked, whatever the size of tables; only whether it works needs no more than ten.
    let groups = if bench.scale < 0.01 { 10 } else { 100 };
    let sockets = groups * 10;
    ears::allow_sockets(groups + 2 * sockets)?;
    let stack = Stack::start(bench, &["--no-worker"]).await?;
    let mut connection = stack.connect().await?;
    let rounds = usize::try_from(bench.rounds)?;
    let mut sides = Vec::new();
    for (table, sockets, groups) in
        [("bench_few", groups, groups), ("bench_many", sockets, groups), ("bench_alike", sockets, 1)]
    {
        // Everybody sees every row, but only the policy knows, of each claim anew.
        execute(
            &mut connection,
            &format!(
                "create table public.{table} (n bigint primary key, content text);
                 alter table public.{table} enable row level security;
                 create policy everybody on public.{table} for select to authenticated
                   using ((auth.jwt() ->> 'group')::int >= 0);
                 grant select on public.{table} to authenticated;
                 alter publication supabase_realtime add table public.{table}"
            ),
        )
        .await?;
        let tokens: Vec<String> = (0..groups).map(|group| token(&stack, group)).collect::<Result<_>>()?;
        let (tokens, stack) = (&tokens, &stack);
        let crowd = Crowd::gather(sockets, async |at| {
            let mut socket = ears::open(stack).await?;
            ears::join(&mut socket, table, &tokens[at % groups], false, Some(table)).await?;
            Ok(socket)
        })
        .await
        .with_context(|| table)?;
        let asked: i64 = sqlx::query_scalar(
            "select count(*) from realtime.subscription where entity = to_regclass('public.' || $1)",
        )
        .bind(table)
        .fetch_one(&mut admin(stack).await?)
        .await?;
        ensure!(asked == i64::try_from(groups)?, "{sockets} sockets in {groups} groups ask {asked} times");
        sides.push(Side {
            name: format!("{sockets} sockets in {groups} group(s)"),
            table,
            crowd,
            times: Arc::new(Times::new(CHANGES * rounds)),
            done: 0,
            backends: Vec::new(),
            endpoint: Vec::new(),
            elapsed: Vec::new(),
        });
    }

    let backends: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity where application_name = 'hub realtime' and backend_type = 'client backend'",
    )
    .fetch_all(&mut admin(&stack).await?)
    .await?;
    let backends: Vec<u32> = backends.into_iter().map(u32::try_from).collect::<Result<_, _>>()?;
    ensure!(!backends.is_empty(), "nothing of \"hub realtime\" is connected");
    for _ in 0..rounds {
        for side in &mut sides {
            side.crowd.beat().await?;
            sleep(Duration::from_millis(200)).await;
            side.measure(&stack, &backends, &mut connection).await?;
        }
    }

    let mut figures = Vec::new();
    let [few, many, alike] = &sides[..] else { unreachable!("three sides") };
    for (side, aim) in [(many, Some(Aim::AtMost(1.5))), (alike, None)] {
        let against = |what: &str| format!("changes, {}, {what}", side.name);
        figures.push(Figure::of_rounds(
            against(&format!("processor of the database, against {}", few.name)),
            "ms",
            &side.backends,
            &few.backends,
            aim,
        ));
        figures.push(Figure::of_rounds(
            against("processor of the endpoint"),
            "ms",
            &side.endpoint,
            &few.endpoint,
            None,
        ));
        figures.push(Figure::of_rounds(against("commit to the last frame"), "ms", &side.elapsed, &few.elapsed, None));
    }
    drop(sides);
    stack.end()?;
    Ok(figures)
}

impl Side {
    async fn measure(&mut self, stack: &Stack, backends: &[u32], connection: &mut PgConnection) -> Result<()> {
        let taken = || backends.iter().map(|pid| processor(*pid)).sum::<Result<f64>>();
        let (before, endpoint_before) = (taken()?, processor(stack.pid()?)?);
        let mut last = Vec::new();
        for _ in 0..CHANGES {
            let (number, table, times) = (self.done, self.table, Arc::clone(&self.times));
            let write = async {
                execute(connection, "begin").await?;
                sqlx::query(AssertSqlSafe(format!("insert into public.{table} values ($1, 'A row')")))
                    .bind(i64::try_from(number)?)
                    .execute(&mut *connection)
                    .await?;
                times.mark(number);
                execute(connection, "commit").await
            };
            let heard = self.crowd.hear(1, &self.times, write).await?;
            ensure!(heard.len() == self.crowd.len(), "frames were lost");
            last.push(heard.into_iter().fold(0.0, f64::max));
            self.done += 1;
        }
        #[allow(clippy::cast_precision_loss)]
        let each = CHANGES as f64;
        self.backends.push((taken()? - before) / each);
        self.endpoint.push((processor(stack.pid()?)? - endpoint_before) / each);
        self.elapsed.push(median(&last));
        Ok(())
    }
}

async fn admin(stack: &Stack) -> Result<PgConnection> {
    Ok(PgConnection::connect(stack.env("DATABASE_ADMIN_URL")?).await?)
}

/// A person's token; its `group` is all that differs between equal rights.
fn token(stack: &Stack, group: usize) -> Result<String> {
    let key = EncodingKey::from_secret(stack.env("SUPABASE_JWT_SECRET")?.as_bytes());
    let claims = json!({
        "sub": Uuid::from_u128(group as u128 + 1), "role": "authenticated", "aud": "authenticated", "group": group,
        "exp": chrono::Utc::now().timestamp() + 3600,
    });
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &key)?)
}
