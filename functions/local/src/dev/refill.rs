//! `supabase db reset` empties the database of a stack that runs, its people with it. They are made again, with the ids that their tokens
//! name, as soon as there is something to be a member of.

use super::{
    Database,
    people::{self, People},
    projects,
};
use crate::{auth::Auth, error::Result, postgres::connect_options};
use hub_worker::AgentConfig;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection,
    postgres::{PgListener, PgPoolOptions},
};
use std::{path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep_until};

/// `refill.sql` tells here,
const CHANNEL: &str = "hub_dev";
/// and what else is made is told here: a reset is many statements.
const SCHEMA: &str = "pgrst";
/// It is over when nothing was told for this long.
const SETTLE: Duration = Duration::from_millis(250);
/// New servers belong to the reset this long. One that is made later has the members that its maker gives it.
const RESET: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

/// Hears that the database was emptied.
pub struct Emptied<'a> {
    database: &'a Database,
    listener: Option<PgListener>,
    /// When to look, if anything was told.
    due: Option<Instant>,
    /// Until when a reset is under way.
    until: Option<Instant>,
}

impl<'a> Emptied<'a> {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn follow(database: &'a Database) -> Result<Self> {
        let admin = connect_options(database.options.port, "supabase_admin", &database.secrets.admin_password);
        let mut connection = admin.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(include_str!("refill.sql"))).execute(&mut connection).await?;
        connection.close().await?;
        let mut emptied = Self { database, listener: None, due: None, until: None };
        emptied.listener = Some(emptied.listen().await?);
        Ok(emptied)
    }

    async fn listen(&self) -> sqlx::Result<PgListener> {
        let pool = PgPoolOptions::new().max_connections(1).connect_with(people::owner(self.database)).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        // What was told meanwhile is lost: it must come back here.
        listener.eager_reconnect(false);
        listener.listen_all([CHANNEL, SCHEMA]).await?;
        Ok(listener)
    }

    /// Waits until people may be missing. Whoever stops waiting misses nothing.
    pub async fn next(&mut self) {
        loop {
            let Some(listener) = &mut self.listener else {
                match self.listen().await {
                    Ok(listener) => self.listener = Some(listener),
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
                continue;
            };
            let due = self.due;
            tokio::select! {
                told = listener.try_recv() => match told {
                    Ok(Some(told)) => self.hear(told.channel(), told.payload()),
                    Ok(None) | Err(_) => self.listener = None,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.due = None;
                    return;
                }
            }
        }
    }

    fn hear(&mut self, channel: &str, table: &str) {
        let now = Instant::now();
        let resets = self.until.is_some_and(|until| now < until);
        match (channel, table) {
            (CHANNEL, "users") => (self.due, self.until) = (Some(now + SETTLE), Some(now + RESET)),
            (CHANNEL, _) if resets => (self.due, self.until) = (Some(now + SETTLE), Some(now + RESET)),
            (SCHEMA, _) if resets && self.due.is_some() => self.due = Some(now + SETTLE),
            _ => {}
        }
    }

    /// Looks once more in a moment, if the reset may still be under way.
    pub fn again(&mut self) -> bool {
        let now = Instant::now();
        let resets = self.until.is_some_and(|until| now < until);
        self.due = resets.then(|| now + RETRY);
        resets
    }
}

/// What fills it.
pub struct Refill<'a> {
    pub database: &'a Database,
    /// Who was there.
    pub people: People,
    pub agents: &'a [AgentConfig],
    pub projects_root: PathBuf,
    pub with_sample: bool,
}

impl Refill<'_> {
    /// People, members, the device, and the folders of new channels.
    ///
    /// # Errors
    /// When the database refuses, as it does while the hub's tables are not there.
    pub async fn run(&self, auth: &Auth) -> Result<()> {
        people::prepare(auth, self.database, self.agents, Some(&self.people)).await?;
        projects::prepare(self.database, &self.projects_root, self.with_sample).await
    }
}
