//! Keeping time for the hub: threads decay, leases run out, what was never told is told, feeds are posted. Any number of keepers
//! may; one at a time does, the one that holds the advisory lock, and when it dies its connection ends and another takes over.

use std::time::Duration;

use hub::{Error, Hub, Result, db::KeeperSession, wake::Errands};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The errands that tell of what is due before the next round would be: a lease that ends, lanes that are to be weighed, what was
/// used and counts against a budget.
pub(crate) const TOLD: &[&str] = &["leases", "lanes_weighed", "spendings"];
const EVERY: Duration = Duration::from_secs(60);
/// Between two rounds, however many leases end.
const APART: Duration = Duration::from_secs(1);
/// Behind the end of a lease: then it is over.
const OVER: Duration = Duration::from_millis(50);
/// How soon another keeper takes over at the latest.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// A batch: as much as one transaction should hold.
const BATCH: i32 = 1000;
const BATCH_WITHIN: Duration = Duration::from_secs(120);

/// Keeps time until `end`. A hub that is away, or is being made anew, is waited for; who may not keep time stops with a log line.
pub(crate) async fn keep(hub: Hub, told: Errands, end: CancellationToken) {
    tokio::select! {
        () = end.cancelled() => {}
        () = go_on(&hub, &told) => {}
    }
}

async fn go_on(hub: &Hub, told: &Errands) {
    let mut faults = 0;
    loop {
        let outcome = match hub {
            // A transaction pooler keeps no session, so no session lock. The functions do no harm to each other.
            Hub::Postgres(db) if !db.is_pooled() => match KeeperSession::open(db).await {
                Ok(session) => lead(session, told).await,
                Err(error) => Err(error),
            },
            hub => unlocked(hub, told).await,
        };
        match outcome {
            Ok(()) => {
                faults = 0;
                sleep(ASK_AGAIN).await;
            }
            Err(error @ Error::Forbidden(_)) => {
                tracing::error!(error = %error, "this worker may not keep time for the hub");
                return;
            }
            // Tables that are being made anew, a password that is being changed: it may be mended while we run.
            Err(error @ (Error::Schema(_) | Error::Unauthorized(_))) => {
                faults = 0;
                tracing::error!(error = %error, "time can not be kept now; trying again every 15 s");
                sleep(ASK_AGAIN).await;
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
async fn lead(mut session: KeeperSession, told: &Errands) -> Result<()> {
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
        // Told of something, it looks again when the next round is due.
        while timeout(pause(bounded(session.next_due()).await?, begun.elapsed()), told.next()).await.is_ok() {}
    }
}

/// The same without a lock.
async fn unlocked(hub: &Hub, told: &Errands) -> Result<()> {
    loop {
        let begun = Instant::now();
        bounded(async {
            while hub.decay_threads(BATCH).await? >= BATCH {}
            while hub.recover(BATCH).await? >= BATCH {}
            hub.post_feeds().await?;
            Ok(())
        })
        .await?;
        while timeout(pause(bounded(hub.next_due()).await?, begun.elapsed()), told.next()).await.is_ok() {}
    }
}

/// How long until the next round: a minute after the last one began, or when something is due, in so many seconds. A lost attempt is
/// taken back when its lease is over, what waits for a limit goes on when that is, and not at the next full minute.
fn pause(due: Option<f64>, since: Duration) -> Duration {
    let round = EVERY.saturating_sub(since);
    let end = due.map_or(EVERY, |seconds| {
        Duration::try_from_secs_f64(seconds.max(0.0)).map_or(EVERY, |left| left.saturating_add(OVER))
    });
    round.min(end).max(APART.saturating_sub(since))
}

/// A round that hangs holds the lock for nothing: the session is given up.
async fn bounded<T>(round: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(BATCH_WITHIN, round)
        .await
        .unwrap_or_else(|_| Err(Error::Unreachable("the database does not answer".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_due_after_a_minute_or_when_a_lease_ends_but_not_twice_a_second() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(None, seconds(2)), seconds(58));
        assert_eq!(pause(Some(3.0), seconds(2)), seconds(3) + OVER);
        assert_eq!(pause(Some(600.0), seconds(2)), seconds(58));
        assert_eq!(pause(Some(0.1), Duration::ZERO), APART);
        assert_eq!(pause(Some(-86400.0), seconds(2)), OVER);
        assert_eq!(pause(Some(f64::MAX), seconds(0)), EVERY);
        assert_eq!(pause(None, seconds(100)), Duration::ZERO);
    }
}
