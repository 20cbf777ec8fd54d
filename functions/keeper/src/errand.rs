//! What an errand is, and how most of them wait.

use std::time::Duration;

use futures_util::future::BoxFuture;
use hub::{Error, Result, wake::Errands};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// After a call to the hub that failed and may well succeed a little later.
pub(crate) const AGAIN: Duration = Duration::from_secs(5);
/// After an error that somebody has to mend.
pub(crate) const MENDED: Duration = Duration::from_secs(30);

/// When to stop. A keeper ends in two steps, so that what takes long to end begins to before the rest must.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// The end is near: begin nothing that must be drained.
    pub begin: CancellationToken,
    /// Stop.
    pub now: CancellationToken,
}

/// Something that is done when the database tells of it.
pub(crate) trait Errand: Send {
    /// Does it until the end: first for what nobody heard of, then whenever `told`.
    fn run(self: Box<Self>, told: Errands, ends: Ends) -> BoxFuture<'static, ()>;
}

/// Does all there is to do, and again whenever told. What does not pass by itself goes to `faulty`, which logs it and says after how
/// long it may be mended; none: never.
pub(crate) async fn whenever_told(
    told: Errands,
    ends: Ends,
    do_all: impl AsyncFn() -> Result<()>,
    faulty: impl Fn(Error) -> Option<Duration>,
) {
    let go_on = async {
        loop {
            let pause = match do_all().await {
                Ok(()) => {
                    told.next().await;
                    continue;
                }
                Err(error) if error.is_transient() => Some(AGAIN),
                Err(error) => faulty(error),
            };
            match pause {
                Some(pause) => sleep(pause).await,
                None => return,
            }
        }
    };
    tokio::select! {
        () = ends.now.cancelled() => {}
        () = go_on => {}
    }
}
