//! Load over HTTP/1.1, the same for each side: connections of their own that ask again as soon as they have their answer. Little more than the
//! bytes, since on a small machine what asks takes its time from what answers.

use crate::tools::millis;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

/// For a machine that hangs.
const BOUND: Duration = Duration::from_secs(120);

/// What is asked, made anew each time: the lines of the head after the first two and before the body's length, and the body.
pub type Make = Arc<dyn Fn() -> (String, Bytes) + Send + Sync>;
/// What the answer must be.
pub type Check = fn(u16, &[u8]) -> Result<()>;

/// Where, and what.
#[derive(Clone)]
pub struct Asked {
    /// `127.0.0.1:8787`.
    pub place: String,
    /// `/functions/v1/send`.
    pub path: &'static str,
    pub make: Make,
    pub check: Check,
}

pub struct Outcome {
    /// Milliseconds of each request.
    pub latencies: Vec<f64>,
    pub per_second: f64,
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Asked {
    /// One request on a connection of its own: the status and the body.
    pub async fn once(&self) -> Result<(u16, Vec<u8>)> {
        Connection::open(&self.place).await?.ask(self).await
    }

    /// From so many connections, for so long.
    pub async fn load(&self, connections: u32, seconds: u32) -> Result<Outcome> {
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        for _ in 0..connections {
            let asked = self.clone();
            tasks.spawn(async move {
                let (mut connection, mut samples) = (Connection::open(&asked.place).await?, Vec::new());
                while begun.elapsed() < Duration::from_secs(seconds.into()) {
                    let at = Instant::now();
                    let (status, body) =
                        tokio::time::timeout(BOUND, connection.ask(&asked)).await.context("no answer")??;
                    samples.push(millis(at));
                    (asked.check)(status, &body)?;
                }
                anyhow::Ok(samples)
            });
        }
        let mut latencies = Vec::new();
        while let Some(samples) = tasks.join_next().await {
            latencies.extend(samples??);
        }
        ensure!(!latencies.is_empty(), "no request was answered");
        #[allow(clippy::cast_precision_loss)]
        let per_second = latencies.len() as f64 / begun.elapsed().as_secs_f64();
        Ok(Outcome { latencies, per_second })
    }
}

impl Connection {
    async fn open(place: &str) -> Result<Self> {
        let stream = TcpStream::connect(place).await.with_context(|| place.to_owned())?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    async fn ask(&mut self, asked: &Asked) -> Result<(u16, Vec<u8>)> {
        let (lines, body) = (asked.make)();
        let (path, place) = (asked.path, &asked.place);
        let mut head =
            format!("POST {path} HTTP/1.1\r\nhost: {place}\r\n{lines}content-length: {}\r\n\r\n", body.len())
                .into_bytes();
        if body.len() <= 64 * 1024 {
            head.extend_from_slice(&body);
            self.stream.write_all(&head).await?;
        } else {
            self.stream.write_all(&head).await?;
            self.stream.write_all(&body).await?;
        }
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status =
            line.get(9..12).and_then(|status| status.parse().ok()).with_context(|| format!("no answer: {line:?}"))?;
        let mut length = None;
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line).await? > 0, "the answer ended in its head");
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let Some(length) = length else { bail!("an answer of unsaid length") };
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        Ok((status, answer))
    }
}
