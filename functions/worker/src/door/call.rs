//! The other side of the door: what an agent's tools call.

use std::{io, path::Path, time::Duration};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::{Instant, sleep},
};

use super::{
    Request, place,
    serve::{ENDED, FULL},
};

/// So long a place at the door is waited for, and so often asked for: the agent's other tools are at it.
const PLACE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Why a call came to nothing. `Display` is for the agent.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nobody is there any more.
    #[error("The attempt that this belongs to has ended: nothing more can be said in its name.")]
    Ended,
    /// The hub, or the worker, said no.
    #[error("{0}")]
    Refused(String),
    /// The socket can not be used.
    #[error("The worker can not be reached by its socket: {0}")]
    Socket(#[from] io::Error),
    /// What came back is no answer.
    #[error("The worker's answer can not be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Reply<T> {
    result: Option<T>,
    error: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    code: i64,
    message: String,
}

/// Makes one request at the door of an attempt and waits for what comes of it. Dropped, it is not waited for any more.
///
/// # Errors
/// See [`Trouble`].
pub async fn call<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, Trouble> {
    let begun = Instant::now();
    loop {
        match once(socket, request).await? {
            Reply { error: Some(said), .. } if said.code == FULL && begun.elapsed() < PLACE => sleep(ASK_AGAIN).await,
            Reply { error: Some(said), .. } if said.code == ENDED => return Err(Trouble::Ended),
            Reply { error: Some(said), .. } => return Err(Trouble::Refused(said.message)),
            Reply { result: Some(result), .. } => return Ok(result),
            Reply { .. } => return Err(Trouble::Refused("The worker's answer is empty.".into())),
        }
    }
}

async fn once<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<Reply<T>, Trouble> {
    let stream = match place::connect(socket) {
        Ok(stream) => UnixStream::from_std(stream)?,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(Trouble::Ended);
        }
        Err(error) => return Err(error.into()),
    };
    let (method, params) = request.message();
    let mut line = serde_json::to_vec(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params?}))?;
    line.push(b'\n');
    let (read, mut write) = stream.into_split();
    // One that was sent away has a word to read, though it may be too late to write.
    let written = write.write_all(&line).await;
    let mut reply = Vec::new();
    match BufReader::new(read).read_until(b'\n', &mut reply).await {
        Ok(0) => return written.map_or_else(|error| Err(error.into()), |()| Err(Trouble::Ended)),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(serde_json::from_slice(&reply)?)
}
