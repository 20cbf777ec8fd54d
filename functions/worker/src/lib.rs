//! The worker: what a machine of the mesh runs. It listens for work, claims what fits its free slots, runs each attempt with an
//! agent, reports, heartbeats, stops what is cancelled or lost, and hands back what it can not finish.
//!
//! Nothing about tasks is decided here: which task, which attempt, tried again or not, is the database's to say.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

pub mod agents;
mod deliver;
pub mod door;
mod environment;
mod executor;
mod heartbeat;
pub mod host;
mod journal;
mod line;
mod machine;
mod output;
mod process;
mod progress;
mod project;
mod redact;
mod spent;
mod turns;
mod way;
mod worker;
pub mod workspace;

use std::{path::PathBuf, time::Duration};

use hub::{Hub, Result};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub use crate::{
    agents::{Adapter, Agent, AgentConfig, Context, Kind, Outcome, Speaks},
    progress::Progress,
    worker::Ready,
};

/// One machine's worker. Make it with [`Worker::new`], change what is to differ, then [`Worker::start`] and [`Ready::run`].
#[derive(Debug, Clone)]
pub struct Worker {
    /// The hub it works for.
    pub hub: Hub,
    /// The device's name in the mesh.
    pub device: String,
    /// `macos`, `linux` or `windows`.
    pub platform: String,
    /// What it offers, in the order of preference.
    pub agents: Vec<AgentConfig>,
    /// Under this folder lie the projects; nothing runs outside of it.
    pub projects_root: PathBuf,
    /// Here it keeps its journal, for itself and for the next worker of the device.
    pub state: PathBuf,
    /// How many attempts at once, 1 to 1000.
    pub capacity: u16,
    /// How long a stopping worker lets attempts finish.
    pub drain: Duration,
    /// How long a stopped agent's processes have between TERM and KILL.
    pub grace: Duration,
    /// Secrets that are not in this process' environment, such as the password in the hub's URL: they are blacked out, as those of the
    /// environment are, of what people read.
    pub secrets: Vec<SecretString>,
    /// What hosts agents: `hub`, or another program that calls [`host::main`].
    pub host: PathBuf,
}

impl Worker {
    /// A worker for this machine's platform that runs one attempt at a time, offers the agent `survey` for every model, and takes the
    /// running program as the host of agents.
    #[must_use]
    pub fn new(
        hub: Hub,
        device: impl Into<String>,
        projects_root: impl Into<PathBuf>,
        state: impl Into<PathBuf>,
    ) -> Self {
        Self {
            hub,
            device: device.into(),
            platform: platform().into(),
            agents: vec![AgentConfig::survey()],
            projects_root: projects_root.into(),
            state: state.into(),
            capacity: 1,
            drain: Duration::from_secs(30),
            grace: Duration::from_secs(2),
            secrets: Vec::new(),
            host: host::own_program(),
        }
    }

    /// Checks this machine, ends what a killed worker of the device left, listens and registers. A hub that is away is waited for;
    /// none if `shutdown` came first.
    ///
    /// # Errors
    /// [`hub::Error::Config`] with every problem of the configuration; what registering says if that passes not by itself.
    pub async fn start(self, shutdown: &CancellationToken) -> Result<Option<Ready>> {
        worker::start(self, shutdown).await
    }
}

/// This machine's platform, as tasks name it.
#[must_use]
pub fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" | "ios" => "macos",
        "windows" => "windows",
        _ => "linux",
    }
}
