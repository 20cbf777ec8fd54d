//! Connections: HTTP/1.1 over what a listener accepts, for `hub serve` and the gateway of `hub dev`. `axum::serve` waits for ever for a request
//! head that does not come; a thousand of those, and nobody else is served.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    serve::Listener,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Semaphore, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// A request head arrives within this, the first as every later one: so long may a connection be idle, too.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Connections of one address that have shown no request yet. Whoever is served has shown one at once.
const UNSHOWN: usize = 512;
/// Files that are open beside connections: the database, logs, programs that are started.
const OTHER_FILES: u64 = 256;

/// How many connections each address has open that showed no request.
type Unshown = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One of them, until its first request is there.
struct Stranger {
    counts: Unshown,
    address: IpAddr,
    shown: AtomicBool,
}

impl Stranger {
    fn admit(counts: &Unshown, address: IpAddr) -> Option<Self> {
        let mut all = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(address).or_default();
        if *count >= UNSHOWN {
            return None;
        }
        *count += 1;
        Some(Self { counts: counts.clone(), address, shown: AtomicBool::new(false) })
    }

    fn show(&self) {
        if self.shown.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut all = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.show();
    }
}

/// Serves `router` on what `listener` accepts, until `stop`; requests that run then get `drain` to end. Of as many connections as files may be open
/// some are left for everything else; the next one waits in the system's queue.
pub async fn listen<L>(mut listener: L, router: Router, stop: CancellationToken, drain: Duration)
where
    L: Listener<Addr = SocketAddr>,
{
    let most = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map_or(1024, |(soft, _)| soft)
        .saturating_sub(OTHER_FILES)
        .max(64);
    let room = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)));
    let (counts, connections) = (Unshown::default(), TaskTracker::new());
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, (io, peer)) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        let Some(stranger) = Stranger::admit(&counts, peer.ip()) else {
            tracing::debug!(client.address = %peer.ip(), "too many connections without a request: one is closed");
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let _place = place;
            let stranger = Arc::new(stranger);
            let served = service_fn(move |mut request: Request<Incoming>| {
                stranger.show();
                request.extensions_mut().insert(ConnectInfo(peer));
                let answer = router.clone().oneshot(request.map(Body::new));
                async { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(io), served)
                .with_upgrades();
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // Clients go when they like, and some never say a word.
                tracing::debug!(client.address = %peer.ip(), error = %error, "a connection ended");
            }
        });
    }
    connections.close();
    // Whoever is not done by then is cut off with the runtime.
    drop(time::timeout(drain, connections.wait()).await);
}
