//! The worker and the keeper of a local stack, in this process.

use super::DEVICE;
use crate::error::{Error, Result};
use hub::{Hub, db::Db};
use hub_worker::{AgentConfig, Delivery, SweepSource};
use secrecy::SecretString;
use std::{path::Path, time::Duration};
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

/// Attempts at once: as many as show that they run side by side.
pub const CAPACITY: u16 = 4;
/// A survey that is at it when the stack ends gets this long; then its task is handed back.
const FINISH: Duration = Duration::from_millis(500);

/// A running worker.
pub struct Worker(JoinHandle<hub::Result<()>>);

impl Worker {
    /// Starts it as the role `postgres`, so it also keeps time.
    ///
    /// # Errors
    /// When the database can not be reached.
    pub async fn start(url: &SecretString, projects_root: &Path, stop: &CancellationToken) -> Result<Self> {
        let db = Db::connect(url).await.map_err(|error| Error::Worker(error.to_string()))?;
        let mut worker = hub_worker::Worker::new(Hub::Postgres(db), DEVICE, projects_root);
        worker.agents = vec![agent()];
        worker.capacity = CAPACITY;
        worker.drain = FINISH;
        worker.grace = FINISH;
        worker.sweeps =
            SweepSource::read(&hub::config::environment).map_err(|error| Error::Worker(error.to_string()))?;
        worker.delivery =
            Some(Delivery::read(&hub::config::environment).map_err(|error| Error::Worker(error.to_string()))?);
        Ok(Self(tokio::spawn(worker.run(stop.clone()))))
    }

    /// Waits until it ended, after its token was cancelled.
    pub async fn stop(mut self, patience: Duration) {
        if time::timeout(patience, &mut self.0).await.is_err() {
            self.0.abort();
        }
    }
}

/// What the device offers.
pub fn agent() -> AgentConfig {
    AgentConfig::survey()
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
