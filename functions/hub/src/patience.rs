//! Waiting for a hub that is away, as a process does that is started before its hub.

use std::{mem, time::Duration};

use tokio::time::sleep;

use crate::Result;

/// The first pause between two tries, and the longest.
const PAUSE: Duration = Duration::from_millis(250);
const AT_MOST: Duration = Duration::from_secs(5);

/// Makes the call until it succeeds or fails with what does not pass by itself. That the hub is away is said once in the log, with what is
/// wrong. May be dropped.
///
/// # Errors
/// What the call says, where [`crate::Error::is_transient`] does not hold.
pub async fn until_there<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    let mut pause = PAUSE;
    let mut away = false;
    loop {
        match call().await {
            Err(error) if error.is_transient() => {
                if !mem::replace(&mut away, true) {
                    tracing::warn!(error = %error, "the hub is away; trying again until it is there");
                }
                sleep(pause).await;
                pause = (pause * 2).min(AT_MOST);
            }
            Ok(answer) => {
                if away {
                    tracing::info!("the hub is there");
                }
                return Ok(answer);
            }
            error => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::cell::Cell;

    #[tokio::test]
    async fn only_what_passes_by_itself_is_waited_for() {
        let calls = Cell::new(0);
        let there = until_there(|| {
            calls.set(calls.get() + 1);
            let away = calls.get() < 3;
            async move { if away { Err(Error::Unreachable("away".into())) } else { Ok(7) } }
        });
        assert_eq!((there.await.unwrap(), calls.get()), (7, 3));

        let wrong = until_there(|| async { Err::<(), _>(Error::Unauthorized("wrong password".into())) });
        assert!(matches!(wrong.await, Err(Error::Unauthorized(_))));
    }
}
