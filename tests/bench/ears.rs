//! Websockets that listen, as many as thousands, and cost little: two tasks read them all.

use crate::stack::Stack;
use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, Stream, StreamExt, TryStreamExt, stream, stream::SelectAll};
use hub::realtime::frame::{self, Payload, Version};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    task::{JoinSet, unconstrained},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

const BOUND: Duration = Duration::from_secs(60);
/// So many join at once.
const AT_ONCE: usize = 32;
const TASKS: usize = 2;

pub type Socket = WebSocketStream<TcpStream>;

/// Small buffers: what is read is small, and there are thousands.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(1024).write_buffer_size(0)
}

/// As many files as the machine lets us, and an error if they are too few for so many sockets.
pub fn allow_sockets(count: usize) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")?;
    ensure!(
        most > count as u64 + 200,
        "{count} sockets need more open files than the {most} allowed: raise the hard limit (ulimit -Hn)"
    );
    Ok(())
}

/// Opens a socket to Realtime, version 2.
pub async fn open(stack: &Stack) -> Result<Socket> {
    let host = stack.env("SUPABASE_URL")?.strip_prefix("http://").context("SUPABASE_URL")?;
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    let key = stack.env("SUPABASE_ANON_KEY")?;
    let address = format!("ws://{host}/realtime/v1/websocket?apikey={key}&vsn=2.0.0");
    let (socket, _) = client_async_with_config(address, stream, Some(config())).await?;
    Ok(socket)
}

/// Joins a channel; `changes`, a table whose new rows it wants: then it waits until they flow.
pub async fn join(socket: &mut Socket, topic: &str, token: &str, private: bool, changes: Option<&str>) -> Result<()> {
    let wanted: Vec<Value> =
        changes.iter().map(|table| json!({"event": "INSERT", "schema": "public", "table": table})).collect();
    let join = json!(["1", "1", format!("realtime:{topic}"), "phx_join", {
        "config": {"private": private, "broadcast": {}, "presence": {}, "postgres_changes": wanted}, "access_token": token,
    }]);
    socket.send(Message::text(join.to_string())).await?;
    timeout(BOUND, async {
        let mut joined = false;
        loop {
            let message = next(socket).await?;
            let Payload::Json(payload) = &message.payload else { continue };
            let payload: Value = serde_json::from_str(payload.get())?;
            match message.event.as_str() {
                "phx_reply" => {
                    ensure!(payload["status"] == "ok", "joining {topic}: {payload}");
                    joined = true;
                }
                "system" if payload["extension"] == "postgres_changes" => {
                    ensure!(payload["status"] == "ok", "listening to rows: {payload}");
                    return Ok(());
                }
                _ => {}
            }
            if joined && changes.is_none() {
                return Ok(());
            }
        }
    })
    .await
    .with_context(|| format!("joining {topic}: no answer"))?
}

/// The next message that is one.
pub async fn next(socket: &mut Socket) -> Result<frame::Message> {
    loop {
        match socket.next().await.context("the socket was closed")?? {
            Message::Text(text) => return Ok(frame::read_text(Version::V2, &text)?),
            Message::Binary(bytes) => return Ok(frame::read_server_binary(&bytes)?),
            Message::Close(why) => bail!("the socket was closed: {why:?}"),
            _ => {}
        }
    }
}

/// When the numbered messages were sent.
pub struct Times {
    base: Instant,
    sent: Vec<AtomicU64>,
}

impl Times {
    pub fn new(messages: usize) -> Self {
        Self { base: Instant::now(), sent: (0..messages).map(|_| AtomicU64::new(0)).collect() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn mark(&self, number: usize) {
        self.sent[number].store(self.now(), Ordering::Release);
    }

    #[allow(clippy::cast_precision_loss)]
    fn since(&self, number: usize) -> f64 {
        (self.now() - self.sent[number].load(Ordering::Acquire)) as f64 / 1e6
    }
}

/// A socket that hears numbered messages, each once and in order.
pub struct Ear {
    socket: Socket,
    next: usize,
}

impl Stream for Ear {
    type Item = Result<usize>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let heard = match ready!(self.socket.poll_next_unpin(context)) {
                None => return Poll::Ready(Some(Err(anyhow::anyhow!("a socket was closed")))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(Message::Close(why))) => {
                    return Poll::Ready(Some(Err(anyhow::anyhow!("a socket was closed: {why:?}"))));
                }
                Some(Ok(Message::Text(text))) => number(text.as_bytes()),
                Some(Ok(Message::Binary(bytes))) => number(&bytes),
                Some(Ok(_)) => None,
            };
            if let Some(heard) = heard {
                if heard != self.next {
                    let why = anyhow::anyhow!("message {heard} came where {} was due", self.next);
                    return Poll::Ready(Some(Err(why)));
                }
                self.next += 1;
                return Poll::Ready(Some(Ok(heard)));
            }
        }
    }
}

/// What stands after the key `n`, as Postgres writes an object.
fn number(frame: &[u8]) -> Option<usize> {
    const KEY: &[u8] = b"\"n\": ";
    let at = frame.windows(KEY.len()).rposition(|window| window == KEY)? + KEY.len();
    let digits = frame[at..].split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Many ears.
pub struct Crowd {
    ears: Vec<Ear>,
}

impl Crowd {
    /// So many sockets, opened a few at a time.
    pub async fn gather<F: Future<Output = Result<Socket>>>(count: usize, open: impl Fn(usize) -> F) -> Result<Self> {
        let sockets = stream::iter((0..count).map(open)).buffer_unordered(AT_ONCE);
        let ears = sockets.map_ok(|socket| Ear { socket, next: 0 }).try_collect().await?;
        Ok(Self { ears })
    }

    pub fn len(&self) -> usize {
        self.ears.len()
    }

    /// So that nobody is taken for idle.
    pub async fn beat(&mut self) -> Result<()> {
        for ear in &mut self.ears {
            ear.socket.send(Message::text(r#"[null,"2","phoenix","heartbeat",{}]"#)).await?;
        }
        Ok(())
    }

    /// Hears the next `messages` on every socket while `send` sends them: milliseconds from each message's mark, one for each socket.
    /// One that is lost, heard twice or out of order is an error.
    pub async fn hear(
        &mut self,
        messages: usize,
        times: &Arc<Times>,
        send: impl Future<Output = Result<()>>,
    ) -> Result<Vec<f64>> {
        let share = self.ears.len().div_ceil(TASKS).max(1);
        let mut tasks = JoinSet::new();
        while !self.ears.is_empty() {
            let mut all: SelectAll<Ear> = self.ears.drain(..share.min(self.ears.len())).collect();
            let times = Arc::clone(times);
            tasks.spawn(unconstrained(async move {
                let expected = all.len() * messages;
                let mut took = Vec::with_capacity(expected);
                while took.len() < expected {
                    let heard = timeout(BOUND, all.next())
                        .await
                        .with_context(|| format!("{} of {expected} frames were lost", expected - took.len()))?;
                    took.push(times.since(heard.context("no sockets")??));
                }
                anyhow::Ok((all, took))
            }));
        }
        send.await?;
        let mut took = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (all, some) = done??;
            self.ears.extend(all);
            took.extend(some);
        }
        Ok(took)
    }
}
