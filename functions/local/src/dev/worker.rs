//! TEMPORARY until hub_worker is there.
use crate::error::{Error, Result};
use secrecy::SecretString;
use std::{path::Path, time::Duration};
use tokio_util::sync::CancellationToken;
pub const AGENT: &str = "survey";
pub const MODELS: &[&str] = &["any", "claude", "codex", "gemini"];
pub const CAPACITY: i32 = 4;
pub struct Worker;
impl Worker {
    pub async fn start(_d: &SecretString, _r: &Path, _s: &CancellationToken) -> Result<Self> { Ok(Self) }
    pub async fn stop(self, _d: Duration) {}
}
pub async fn ended(_w: &mut Option<Worker>) -> Error { std::future::pending().await }
