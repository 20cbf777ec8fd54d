//! The hub says whose work is over; what of it is on this device goes once it is safe.

use std::time::Duration;

use hub::{Hub, Result};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Workspaces;
use crate::executor::bounded;

/// Nobody waits for it: what is over has been so for days.
const EVERY: Duration = Duration::from_secs(30 * 60);

/// Looks from time to time, until `stopping`.
pub(crate) async fn keep_tidy(hub: Hub, device: String, all: Workspaces, stopping: CancellationToken) {
    let tidying = async {
        loop {
            if let Err(error) = tidy(&hub, &device, &all).await {
                tracing::debug!(device.name = %device, error = %error, "no workspaces were looked through");
            }
            sleep(EVERY).await;
        }
    };
    tokio::select! {
        biased;
        () = stopping.cancelled() => {}
        () = tidying => {}
    }
}

async fn tidy(hub: &Hub, device: &str, all: &Workspaces) -> Result<()> {
    for over in bounded(hub.workspaces_to_clean(device)).await? {
        let cleaned = all.clean(&over.name).await;
        if cleaned.removed {
            tracing::info!(workspace.branch = %over.branch, bundled = cleaned.bundle.is_some(), "a workspace whose work is over was removed");
            bounded(hub.workspace_removed(device, over.root, cleaned.bundle.is_some())).await?;
        } else {
            let why = cleaned.why.as_deref().unwrap_or_default();
            tracing::info!(workspace.branch = %over.branch, reason = why, "a workspace whose work is over stays");
        }
    }
    Ok(())
}
