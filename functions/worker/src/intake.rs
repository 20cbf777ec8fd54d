//! Deliveries that were stored (a push, a comment) become tasks: as soon as one is told of, and once a while in any case. What they
//! become is decided by rules, in SQL; here is only when.

use std::time::Duration;

use hub::{Error, Hub, Result, wake::Errands};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const AGAIN: Duration = Duration::from_secs(5);
/// After an error that somebody has to mend.
const MENDED: Duration = Duration::from_secs(30);
/// As many as one transaction should hold: each message takes the channel's row.
const BATCH: i32 = 100;

/// Looks at deliveries until `shutdown`. Only over Postgres or with the service key.
pub(crate) async fn run(hub: Hub, errands: Errands, shutdown: CancellationToken) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = async {
            loop {
                match process_all(&hub).await {
                    Ok(()) => errands.next().await,
                    Err(error) if error.is_transient() => sleep(AGAIN).await,
                    Err(error @ Error::Forbidden(_)) => {
                        tracing::error!(error = %error, "this worker may not turn deliveries into tasks");
                        return;
                    }
                    // Whatever it is, it may be mended while we run.
                    Err(error) => {
                        tracing::error!(error = %error, "deliveries can not be turned into tasks now");
                        sleep(MENDED).await;
                    }
                }
            }
        } => {}
    }
}

async fn process_all(hub: &Hub) -> Result<()> {
    loop {
        let looked_at = hub.process_webhooks(BATCH).await?;
        if looked_at > 0 {
            tracing::info!(deliveries.count = looked_at, "looked at deliveries");
        }
        if looked_at < BATCH {
            return Ok(());
        }
    }
}
