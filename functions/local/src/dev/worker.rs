//! The worker and the keeper of a local stack, in this process.

use super::DEVICE;
use crate::error::{Error, Result};
use hub::{Hub, db::Db};
use hub_keeper::{Delivery, Keeper, SweepSource};
use hub_worker::AgentConfig;
use secrecy::SecretString;
use std::{path::Path, time::Duration};
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

/// Attempts at once: as many as show that they run side by side.
pub const CAPACITY: u16 = 4;
/// A survey that is at it when the stack ends gets this long; then its task is handed back.
const FINISH: Duration = Duration::from_millis(500);

/// A running worker, and the keeper beside it.
pub struct Worker(JoinHandle<hub::Result<()>>);

impl Worker {
    /// Starts them as the role `postgres`, which may keep time.
    ///
    /// # Errors
    /// When the database can not be reached.
    pub async fn start(
        url: &SecretString,
        agents: Vec<AgentConfig>,
        projects_root: &Path,
        state: &Path,
        stop: &CancellationToken,
    ) -> Result<Self> {
        let db = Db::connect(url).await.map_err(|error| Error::Worker(error.to_string()))?;
        let hub = Hub::Postgres(db);
        let mut worker = hub_worker::Worker::new(hub.clone(), DEVICE, projects_root, state);
        worker.secrets = vec![url.clone()];
        worker.agents = agents;
        worker.capacity = CAPACITY;
        worker.drain = FINISH;
        worker.grace = FINISH;
        let mut keeper = Keeper::new(hub);
        keeper.sweeps =
            SweepSource::read(&hub::config::environment).map_err(|error| Error::Worker(error.to_string()))?;
        keeper.delivery =
            Some(Delivery::read(&hub::config::environment).map_err(|error| Error::Worker(error.to_string()))?);
        keeper.drain = FINISH;
        Ok(Self(tokio::spawn(run(worker, keeper, stop.clone()))))
    }

    /// Waits until it ended, after its token was cancelled.
    pub async fn stop(mut self, patience: Duration) {
        if time::timeout(patience, &mut self.0).await.is_err() {
            self.0.abort();
        }
    }
}

async fn run(worker: hub_worker::Worker, keeper: Keeper, stop: CancellationToken) -> hub::Result<()> {
    let Some(ready) = worker.start(&stop).await? else { return Ok(()) };
    let keeping = keeper.start(ready.wake(), &stop);
    let ended = ready.run(&stop).await;
    keeping.end().await;
    ended
}

/// Waits until the worker ends by itself (a person revoked its device, say), and says why. Without one, for ever.
pub async fn ended(worker: &mut Option<Worker>) -> Error {
    let outcome = match worker {
        Some(worker) => (&mut worker.0).await,
        None => std::future::pending().await,
    };
    // It is done; waiting for it again would panic.
    *worker = None;
    Error::Worker(match outcome {
        Ok(Ok(())) => "it was told to".into(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    })
}
