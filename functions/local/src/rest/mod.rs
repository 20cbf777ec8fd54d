//! REST: what PostgREST means, over the schemas that are exposed.
//!
//! A request is read ([`request`]), planned for the schema ([`plan`]), written as one statement ([`statement`]), run in one transaction
//! ([`run`]) and answered ([`answer`]). Values are never read here: Postgres writes the body. A table or function made a moment ago is
//! there at once.

mod answer;
mod claims;
mod openapi;
mod plan;
mod refusal;
mod refuse;
mod request;
mod run;
mod schema;
mod statement;

use crate::{
    error::{Error, Result},
    keys::Secrets,
    postgres::connect_options,
};
use axum::{
    body::Bytes,
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
pub(crate) use claims::bearer;
use claims::{Caller, Tokens};
use refusal::Refusal;
use request::{Action, Request, media::Media};
use schema::{Name, OpenApi, Schema};
use sqlx::{
    Connection,
    postgres::{PgListener, PgPool, PgPoolOptions},
};
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::Mutex, time};
use tokio_util::sync::CancellationToken;

const POOL: u32 = 12;
/// A connection that lay idle for longer is asked whether it still lives.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// A migration is many statements, each with its own notification.
const SETTLE: Duration = Duration::from_millis(40);
const RETRY: Duration = Duration::from_millis(500);

/// The REST layer of one stack.
#[derive(Clone)]
pub struct Rest {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    tokens: Tokens,
    timezones: HashSet<String>,
    schema: RwLock<Arc<Schema>>,
    /// When the schema that is in use was begun to be read.
    read_at: Mutex<Instant>,
}

impl Rest {
    /// Connects, reads the schema and follows its changes until `stop`.
    ///
    /// # Errors
    /// [`Error::Rest`] when the database can not be reached or read.
    pub async fn start(port: u16, secrets: &Secrets, stop: CancellationToken) -> Result<Self> {
        let failed = |error: sqlx::Error| Error::Rest(error.to_string());
        let pool = PgPoolOptions::new()
            .max_connections(POOL)
            // As hub::db does: to ask each connection before each request whether it lives would be an exchange more.
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                Box::pin(async move {
                    if known.idle_for > ASK_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .acquire_timeout(Duration::from_secs(8))
            .connect_with(connect_options(port, "authenticator", &secrets.authenticator_password))
            .await
            .map_err(failed)?;
        let began = Instant::now();
        let mut connection = pool.acquire().await.map_err(failed)?;
        let schema = schema::load(&mut connection).await.map_err(failed)?;
        let timezones = schema::timezones(&mut connection).await.map_err(failed)?;
        drop(connection);
        let rest = Self {
            inner: Arc::new(Inner {
                pool,
                tokens: Tokens::new(&secrets.jwt_secret),
                timezones,
                schema: RwLock::new(Arc::new(schema)),
                read_at: Mutex::new(began),
            }),
        };
        tokio::spawn(rest.clone().follow(stop));
        Ok(rest)
    }

    /// Whether the database answers REST's own role.
    pub async fn healthy(&self) -> bool {
        let ask = sqlx::query("select 1").execute(&self.inner.pool);
        matches!(time::timeout(Duration::from_secs(2), ask).await, Ok(Ok(_)))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    /// Who asks, before anything else is looked at.
    ///
    /// # Errors
    /// The answer to who shows no token of this project, or one that lasts for ever.
    pub fn admit(&self, headers: &HeaderMap) -> Result<Caller, Box<Response>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let caller = self.inner.tokens.caller(headers, &self.schema().settings, now).and_then(Caller::ending);
        caller.map_err(|refusal| Box::new(refusal.into_response()))
    }

    /// Answers one request of who was admitted; its path is without the mount (`/messages`, `/rpc/send`).
    pub async fn handle(&self, parts: &Parts, body: Bytes, caller: &Caller) -> Response {
        let arrived = Instant::now();
        let answer = match self.ask(parts, body.clone(), caller).await {
            // Something the schema in use does not have. That a notification about it is on its way helps nobody who asks now.
            Err(refusal) if is_a_miss(&refusal) && self.reload(arrived).await => self.ask(parts, body, caller).await,
            answer => answer,
        };
        answer.unwrap_or_else(IntoResponse::into_response)
    }

    /// What a caller gets who has too much under way.
    pub fn busy(caller: &Caller) -> Response {
        Refusal::of_database(&sqlx::Error::PoolTimedOut, caller.known).into_response()
    }

    fn schema(&self) -> Arc<Schema> {
        self.inner.schema.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ask(&self, parts: &Parts, body: Bytes, caller: &Caller) -> Result<Response, Refusal> {
        let schema = self.schema();
        let request = Request::read(parts, body, &schema.settings, &self.inner.timezones)?;
        match request.action {
            Action::Root => self.root(parts, &schema, &request, caller).await,
            Action::RootInfo => Ok(answer::root_info()),
            Action::TableInfo => {
                let name = Name::new(request.schema.clone(), request.target.clone());
                schema.table(&name).map(answer::table_info).ok_or_else(|| plan::no_table(&schema, &name))
            }
            Action::FunctionInfo => Ok(answer::function_info(plan::find_function(&schema, &request)?)),
            _ => {
                let plan = plan::plan(&schema, &request)?;
                let statement = statement::write(&schema, &request, &plan);
                let outcome = run::run(&self.inner.pool, &schema, &request, &plan, &statement, caller).await?;
                answer::answer(&request, &plan, outcome)
            }
        }
    }

    /// The document at `/`.
    async fn root(
        &self,
        parts: &Parts,
        schema: &Schema,
        request: &Request,
        caller: &Caller,
    ) -> Result<Response, Refusal> {
        if !request.accept.iter().any(|media| matches!(media, Media::Any | Media::Json | Media::OpenApi)) {
            let names: Vec<String> = request.accept.iter().map(Media::name).collect();
            return Err(refuse::not_acceptable(&names));
        }
        let usable = match schema.settings.openapi {
            OpenApi::IgnorePrivileges => None,
            _ => Some(run::usable(&self.inner.pool, schema, request, caller).await?),
        };
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let at = openapi::Address::new(schema.settings.openapi_uri.as_deref(), host);
        Ok(answer::root(request, &openapi::document(schema, &request.schema, usable.as_ref(), &at)))
    }

    /// Reads the schema, unless that has been done since `needed`. One reads, the others wait for it.
    async fn reload(&self, needed: Instant) -> bool {
        let mut read_at = self.inner.read_at.lock().await;
        if *read_at >= needed {
            return true;
        }
        let began = Instant::now();
        let loaded = async { schema::load(&mut *self.inner.pool.acquire().await?).await };
        match loaded.await {
            Ok(schema) => {
                *self.inner.schema.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(schema);
                *read_at = began;
                true
            }
            Err(error) => {
                tracing::warn!(rest.error = %error, "the schema could not be read; the previous one stays");
                false
            }
        }
    }

    /// Reads the schema at each notification, and after every gap in listening, when notifications were lost.
    async fn follow(self, stop: CancellationToken) {
        let mut first = true;
        while !stop.is_cancelled() {
            let listening = async {
                let mut listener = PgListener::connect_with(&self.inner.pool).await?;
                // A reconnect must come back here, to look again.
                listener.eager_reconnect(false);
                listener.listen("pgrst").await?;
                if !first {
                    self.reload(Instant::now()).await;
                }
                first = false;
                while listener.try_recv().await?.is_some() {
                    while let Ok(Ok(Some(_))) = time::timeout(SETTLE, listener.try_recv()).await {}
                    self.reload(Instant::now()).await;
                }
                Ok::<_, sqlx::Error>(())
            };
            tokio::select! {
                () = stop.cancelled() => return,
                outcome = listening => tracing::debug!(rest.listening = ?outcome.err(), "the REST layer listens again"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = time::sleep(RETRY) => {}
            }
        }
    }
}

fn is_a_miss(refusal: &Refusal) -> bool {
    matches!(refusal.code(), "PGRST200" | "PGRST202" | "PGRST204" | "PGRST205")
}
