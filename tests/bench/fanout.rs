//! One topic, many sockets: from the commit of `realtime.send` to each of them, against a loop that writes the same bytes to as many
//! bare connections when it is notified of a row that was committed.

use crate::{
    ears::{self, Crowd, Times},
    stack::{Stack, processor, processor_here},
    tools::{Aim, Bench, Figure, quantile, run as execute},
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hub::realtime::frame::{Body, Broadcast, Frame, Version};
use sqlx::{PgConnection, postgres::PgListener};
use std::{
    io::Write,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};
use uuid::Uuid;

const FULL: u64 = 5000;
/// Beyond, who is idle would have to be kept from being closed while it listens.
const LONGEST: u32 = 30;

pub async fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let most = usize::try_from(bench.scaled(FULL, 20).min(FULL))?;
    ears::allow_sockets(2 * most)?;
    let mut sizes: Vec<usize> = [most, 1000, 100, 1].into_iter().map(|size| size.min(most)).collect();
    sizes.dedup();
    let stack = Stack::start(bench, &["--no-worker"]).await?;
    execute(&mut stack.connect().await?, "create table public.bench_fanout (content text)").await?;
    let mut figures = Vec::new();
    // The most first: memory that a run before it left to the allocator would hide what it takes.
    for size in sizes {
        let mut more = measure(bench, &stack, size, size == most).await?;
        more.append(&mut figures);
        figures = more;
    }
    stack.end()?;
    Ok(figures)
}

async fn measure(bench: &Bench, stack: &Stack, size: usize, weigh: bool) -> Result<Vec<Figure>> {
    let mut sender = stack.connect().await?;
    let channel: Uuid =
        sqlx::query_scalar("select id from public.hub_channels order by id limit 1").fetch_one(&mut sender).await?;
    let topic = format!("channel:{channel}");
    let rate: u32 = if size <= 100 { 100 } else { 10 };
    let messages = usize::try_from(bench.seconds.min(LONGEST) * rate)?;
    let rounds = usize::try_from(bench.rounds)?;

    let before = stack.memory()?;
    let begun = Instant::now();
    let token = stack.env("HUB_VIEWER_JWT")?;
    let mut ours = Crowd::gather(size, async |_| {
        let mut socket = ears::open(stack).await?;
        ears::join(&mut socket, &topic, token, true, None).await?;
        Ok(socket)
    })
    .await?;
    let joining = begun.elapsed();
    sleep(Duration::from_millis(500)).await;
    let joined = stack.memory()?;

    let (mut peer, writer) = bare(stack, size, &topic).await?;
    let (times, peer_times) = (Arc::new(Times::new(messages * rounds)), Arc::new(Times::new(messages * rounds)));
    let shares = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
    let mut took = [(); 4].map(|()| (Vec::new(), Vec::new()));
    for round in 0..rounds {
        ours.beat().await?;
        sleep(Duration::from_millis(200)).await;
        let from = round * messages;
        let processor_before = processor(stack.pid()?)?;
        let sending = send(&mut sender, &times, from..from + messages, rate, Some(&topic));
        let heard = ours.hear(messages, &times, sending).await?;
        let processor_took = processor(stack.pid()?)? - processor_before;

        let sending = send(&mut sender, &peer_times, from..from + messages, rate, None);
        let peer_heard = peer.hear(messages, &peer_times, sending).await?;
        let peer_processor = writer.took()?;

        ensure!(heard.len() == size * messages && peer_heard.len() == heard.len(), "frames were lost");
        for ((_, share), (ours, peer)) in shares.iter().zip(&mut took) {
            ours.push(quantile(&heard, *share));
            peer.push(quantile(&peer_heard, *share));
        }
        #[allow(clippy::cast_precision_loss)]
        let each = messages as f64;
        took[3].0.push(processor_took / each);
        took[3].1.push(peer_processor / each);
    }
    let after = stack.memory()?;
    ensure!(ours.len() == size, "sockets were lost");
    eprintln!(
        "fanout: {size} socket(s) joined in {:.1} s; {} frames at {rate} messages a second, none lost",
        joining.as_secs_f64(),
        size * messages * rounds
    );

    let name = |what: &str| format!("fanout, {size} socket(s), {what}");
    let names = shares.map(|(name, _)| (name, "ms")).into_iter().chain([("processor a message", "ms")]);
    let mut figures: Vec<Figure> = names
        .zip(&took)
        .map(|((what, unit), (ours, peer))| Figure::of_rounds(name(what), unit, ours, peer, None))
        .collect();
    if weigh {
        // Fewer than that are lost in what the allocator keeps.
        let aim = (size >= 1000).then_some(Aim::AtMost(1.0));
        #[allow(clippy::cast_precision_loss)]
        let each = |memory: u64| memory.saturating_sub(before) as f64 / 1024.0 / size as f64;
        for (what, memory) in [("memory a socket when all have joined", joined), ("after the messages", after)] {
            figures.push(Figure::of_rounds(name(what), "KB", &[each(memory)], &[30.0], aim));
        }
    }
    Ok(figures)
}

/// Commits so many messages a second, numbered: broadcasts, or rows and their notifications when there is no topic.
async fn send(
    connection: &mut PgConnection,
    times: &Times,
    numbers: std::ops::Range<usize>,
    rate: u32,
    topic: Option<&str>,
) -> Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in numbers {
        ticks.tick().await;
        execute(connection, "begin").await?;
        match topic {
            Some(topic) => {
                sqlx::query("select realtime.send(jsonb_build_object('n', $1), 'message', $2, true)")
                    .bind(i64::try_from(number)?)
                    .bind(topic)
                    .execute(&mut *connection)
                    .await?;
            }
            None => {
                sqlx::query(
                    "with told as (select pg_notify('bench_fanout', $1)) insert into public.bench_fanout select $1 from told",
                )
                    .bind(number.to_string())
                    .execute(&mut *connection)
                    .await?;
            }
        }
        times.mark(number);
        execute(connection, "commit").await?;
    }
    Ok(())
}

/// The other end of the bare connections: a thread of its own.
struct Writer {
    processor: mpsc::Receiver<f64>,
    ask: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Writer {
    /// Milliseconds of processor since it was last asked.
    fn took(&self) -> Result<f64> {
        self.ask.send(()).context("the writer ended")?;
        self.processor.recv_timeout(Duration::from_secs(10)).context("the writer ended")
    }
}

async fn bare(stack: &Stack, size: usize, topic: &str) -> Result<(Crowd, Writer)> {
    let door = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = door.local_addr()?;
    let accepting = tokio::task::spawn_blocking(move || {
        let accept = || {
            let (stream, _) = door.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        (0..size).map(|_| accept()).collect::<std::io::Result<Vec<_>>>()
    });
    let crowd = Crowd::gather(size, async |_| {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, Some(ears::config())).await)
    })
    .await?;
    let mut streams = accepting.await??;

    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let (tell, processor) = mpsc::channel();
    let (database, topic) = (stack.env("DATABASE_URL")?.to_owned(), format!("realtime:{topic}"));
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut listener = PgListener::connect(&database).await?;
            listener.listen("bench_fanout").await?;
            ready.send(()).ok();
            let mut before = processor_here()?;
            loop {
                tokio::select! {
                    notification = listener.recv() => {
                        let frame = frame(&topic, notification?.payload())?;
                        for stream in &mut streams {
                            stream.write_all(&frame)?;
                        }
                    }
                    question = asked.recv() => {
                        if question.is_none() {
                            return Ok(());
                        }
                        let now = processor_here()?;
                        tell.send(now - before)?;
                        before = now;
                    }
                }
            }
        })
    });
    is_ready.await.context("the writer did not start")?;
    Ok((crowd, Writer { processor, ask }))
}

/// The bytes that Realtime sends for the same.
fn frame(topic: &str, number: &str) -> Result<Vec<u8>> {
    let id = Uuid::nil();
    let broadcast = Broadcast {
        event: "message".into(),
        body: Body::Json(Bytes::from(format!(r#"{{"n": {number}, "id": "{id}"}}"#))),
        meta: Some(format!(r#"{{"id":"{id}"}}"#)),
    };
    let Some(Frame::Binary(body)) = broadcast.to_client(Version::V2, topic) else {
        anyhow::bail!("the broadcast is no binary frame");
    };
    let length = u16::try_from(body.len())?;
    let mut frame = vec![0x82, 126];
    frame.extend(length.to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}
