//! A whole stack of its own for a test: `hub dev` on free ports in a directory that goes away.

use hub_local::{DevEvent, DevOptions, Ready, Result};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

pub struct Stack {
    pub env: HashMap<String, String>,
    pub ready: Ready,
    pub http: Client,
    pub events: Arc<Mutex<Vec<DevEvent>>>,
    pub stop: CancellationToken,
    pub running: JoinHandle<Result<()>>,
    pub dir: PathBuf,
    _home: Option<TempDir>,
}

/// Where root's Postgres gets in.
pub fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
    home
}

pub fn options(dir: &Path) -> DevOptions {
    DevOptions { port: 0, db_port: 0, data_dir: dir.to_path_buf(), worker: false, ..DevOptions::default() }
}

impl Stack {
    pub async fn start() -> Self {
        let home = home();
        let mut stack = Self::start_with(options(&home.path().join("hub"))).await;
        stack._home = Some(home);
        stack
    }

    pub async fn start_with(options: DevOptions) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let dir = options.data_dir.clone();
        let (tell, told) = oneshot::channel();
        let tell = Mutex::new(Some(tell));
        let running = tokio::spawn({
            let (events, stop) = (events.clone(), stop.clone());
            async move {
                hub_local::run(options, stop, move |event| {
                    if let DevEvent::Ready(ready) = &event
                        && let Some(tell) = tell.lock().unwrap().take()
                    {
                        let _ = tell.send(*ready.clone());
                    }
                    events.lock().unwrap().push(event);
                })
                .await
            }
        });
        let ready = match time::timeout(Duration::from_secs(60), told).await.expect("ready within a minute") {
            Ok(ready) => ready,
            Err(_) => panic!(
                "it ended before it was ready: {:?}",
                running.await.unwrap().err().map(|error| error.to_string())
            ),
        };
        let env = read_env(&dir.join("dev.env"));
        Self { env, ready, http: Client::new(), events, stop, running, dir, _home: None }
    }

    pub fn var(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("dev.env has no {name}"))
    }

    /// A request with the anon key, as a client's.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.ready.api_url))
            .header("apikey", self.var("SUPABASE_ANON_KEY"))
    }

    /// The same with somebody's token.
    pub fn ask_as(&self, who: &str, method: Method, path: &str) -> RequestBuilder {
        self.ask(method, path).bearer_auth(self.var(who))
    }

    pub async fn sql(&self, statements: &str) {
        let mut connection = PgConnection::connect(self.var("DATABASE_URL")).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    pub async fn stop(self) -> Duration {
        let began = std::time::Instant::now();
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        began.elapsed()
    }
}

pub fn read_env(path: &Path) -> HashMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Status and JSON body.
pub async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(if text.is_empty() { Value::Null } else { Value::String(text) }))
}
