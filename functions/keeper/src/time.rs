//! Keeping time for the hub: threads decay, leases run out, what was never told is told, feeds are posted. Any number of keepers
//! may; one at a time does, the one that holds the advisory lock, and when it dies its connection ends and another takes over.

use std::time::Duration;

use hub::{Error, Hub, Result, db::KeeperSession};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(60);
/// How soon another keeper takes over at the latest.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// A batch: as much as one transaction should hold.
const BATCH: i32 = 1000;
const BATCH_WITHIN: Duration = Duration::from_secs(120);

/// Keeps time until `end`. A hub that is away is waited for; who may not keep time stops with a log line.
pub(crate) async fn keep(hub: Hub, end: CancellationToken) {
    tokio::select! {
        () = end.cancelled() => {}
        () = go_on(&hub) => {}
    }
}

async fn go_on(hub: &Hub) {
    let mut faults = 0;
    loop {
        let outcome = match hub {
            // A transaction pooler keeps no session, so no session lock. The functions do no harm to each other.
            Hub::Postgres(db) if !db.is_pooled() => match KeeperSession::open(db).await {
                Ok(session) => lead(session).await,
                Err(error) => Err(error),
            },
            hub => unlocked(hub).await,
        };
        match outcome {
            Ok(()) => {
                faults = 0;
                sleep(ASK_AGAIN).await;
            }
            Err(error @ (Error::Forbidden(_) | Error::Schema(_) | Error::Unauthorized(_))) => {
                tracing::error!(error = %error, "this worker can not keep time for the hub");
                return;
            }
            Err(error) => {
                faults += 1;
                tracing::warn!(error = %error, "keeping time was interrupted");
                sleep(Duration::from_secs(1 << faults.min(4)).min(ASK_AGAIN)).await;
            }
        }
    }
}

/// Keeps time while the session lasts. Returns at once if another keeps it.
async fn lead(mut session: KeeperSession) -> Result<()> {
    if !session.try_lock().await? {
        session.close().await;
        return Ok(());
    }
    tracing::info!("keeping time for the hub");
    loop {
        let begun = Instant::now();
        let (decayed, recovered, posted) = bounded(async {
            let mut decayed = 0;
            loop {
                let done = session.decay_threads(BATCH).await?;
                decayed += done;
                if done < BATCH {
                    break;
                }
            }
            let mut recovered = 0;
            loop {
                let done = session.recover(BATCH).await?;
                recovered += done;
                if done < BATCH {
                    break;
                }
            }
            Ok((decayed, recovered, session.post_feeds().await?))
        })
        .await?;
        if decayed > 0 || recovered > 0 || posted > 0 {
            tracing::info!(threads.decayed = decayed, tasks.recovered = recovered, feeds.posted = posted, "kept time");
        }
        sleep(EVERY.saturating_sub(begun.elapsed()).max(Duration::from_secs(1))).await;
    }
}

/// The same without a lock.
async fn unlocked(hub: &Hub) -> Result<()> {
    loop {
        bounded(async {
            while hub.decay_threads(BATCH).await? >= BATCH {}
            while hub.recover(BATCH).await? >= BATCH {}
            hub.post_feeds().await?;
            Ok(())
        })
        .await?;
        sleep(EVERY).await;
    }
}

/// A round that hangs holds the lock for nothing: the session is given up.
async fn bounded<T>(round: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(BATCH_WITHIN, round)
        .await
        .unwrap_or_else(|_| Err(Error::Unreachable("the database does not answer".into())))
}
