//! A hub whose time is the test's: one connection, which is at the moment that was set last.

use chrono::{DateTime, Duration, TimeZone, Utc};
use hub_tests::World;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::Mutex;

pub struct Timed {
    /// Gone with this.
    _world: World,
    inner: Mutex<(PgConnection, DateTime<Utc>)>,
}

impl Timed {
    /// At the beginning.
    pub async fn new() -> Timed {
        let world = World::with_clock().await;
        let connection = PgConnection::connect(world.url.expose_secret()).await.unwrap();
        let timed = Timed { _world: world, inner: Mutex::new((connection, Timed::start())) };
        timed.pass(0).await;
        timed
    }

    /// The first hour of a Monday to come.
    pub fn start() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2040, 1, 2, 0, 0, 0).unwrap()
    }

    pub async fn now(&self) -> DateTime<Utc> {
        self.inner.lock().await.1
    }

    /// So many seconds go by.
    pub async fn pass(&self, seconds: i64) {
        let mut inner = self.inner.lock().await;
        inner.1 += Duration::seconds(seconds);
        let now = inner.1.to_rfc3339();
        sqlx::query("select set_config('hub_test.now', $1, false)").bind(now).execute(&mut inner.0).await.unwrap();
    }

    /// A new morning, and nothing of what earlier cases did.
    pub async fn fresh(&self) {
        self.pass(24 * 3600).await;
        self.run(
            "truncate public.mac_tasks, public.hub_channel_messages, public.hub_task_threads, public.mesh_quota_pools cascade;
             delete from public.hub_budgets;
             truncate hub_internal.spendings, hub_internal.budget_use, hub_internal.weighed_budgets, hub_internal.weigh_requests, hub_internal.share_use;
             delete from hub_internal.lanes;
             update public.hub_channels set message_count = 0;
             update hub_internal.rounds set ran_at = null, due_at = null, outage_from = null, outage_to = null",
        )
        .await;
    }

    pub async fn run(&self, sql: &str) {
        let mut inner = self.inner.lock().await;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut inner.0).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// One value of a query, or the SQLSTATE of why there is none.
    pub async fn value(&self, sql: &str) -> Result<Value, String> {
        let mut inner = self.inner.lock().await;
        let value: Result<Option<Value>, sqlx::Error> =
            sqlx::query_scalar(AssertSqlSafe(format!("select to_jsonb(x) from ({sql}) as q (x)")))
                .fetch_one(&mut inner.0)
                .await;
        value.map(Option::unwrap_or_default).map_err(|error| {
            let code = error.as_database_error().and_then(|e| e.code()).map(|code| code.into_owned());
            code.unwrap_or_else(|| panic!("{sql}: {error}"))
        })
    }

    pub async fn got(&self, sql: &str) -> Value {
        self.value(sql).await.unwrap_or_else(|code| panic!("{sql}: {code}"))
    }
}
