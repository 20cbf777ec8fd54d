//! Who connects, and what is said to them. Nothing that comes in by the socket ends anything but its own connection.

use std::{io, sync::Arc, time::Duration};

use hub::{Error, text::clean};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    CONNECTIONS, HOLD, LINE, LOOKS, Question, REQUESTS, Request, Said, Say, Subtask, SubtaskState, Way, peer::Wanted,
};
use crate::redact::Redactor;

const UNREADABLE: i64 = -32700;
const INVALID: i64 = -32600;
const UNKNOWN: i64 = -32601;
const BAD_PARAMS: i64 = -32602;
/// The hub, or the door, says no.
const REFUSED: i64 = -32000;
/// The attempt is over.
pub(super) const ENDED: i64 = -32001;
/// As many as may be are connected: that passes.
pub(super) const FULL: i64 = -32002;
const AT_AN_END: &str = "The attempt has ended.";
/// Who does not read for so long is let go.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);
/// As many messages as are given where no number is said, and at most.
const MESSAGES: u32 = 50;
const MESSAGES_AT_MOST: u32 = 200;

/// What the connections of a door share.
pub(super) struct Room {
    wanted: Wanted,
    way: Arc<dyn Way>,
    redactor: Arc<Redactor>,
    looks: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(wanted: Wanted, way: Arc<dyn Way>, redactor: Arc<Redactor>) -> Self {
        let [looks, connections, requests] =
            [LOOKS, CONNECTIONS, REQUESTS].map(|count| Arc::new(Semaphore::new(count)));
        Self { wanted, way, redactor, looks, connections, requests }
    }

    /// As people may read it.
    fn shown(&self, text: &str) -> String {
        self.redactor.text(&clean(text)).into_owned()
    }
}

/// Lets in who may come, until the end; then tells all who are there.
pub(super) async fn serve(listener: std::os::unix::net::UnixListener, room: Arc<Room>, end: CancellationToken) {
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(error = %error, "the door of an attempt can not be opened");
            return;
        }
    };
    let mut connected = JoinSet::new();
    loop {
        // Who is not looked at yet waits outside, where they cost this process no open file.
        let next = async {
            let look = Arc::clone(&room.looks).acquire_owned().await;
            (look, listener.accept().await)
        };
        let (look, accepted) = tokio::select! {
            biased;
            () = end.cancelled() => break,
            Some(_) = connected.join_next() => continue,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                connected.spawn(receive(stream, look, Arc::clone(&room), end.clone()));
            }
            // Too many open files: those who are here may go meanwhile.
            Err(error) => {
                tracing::warn!(error = %error, "nobody can be let in at the door of an attempt");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    while connected.join_next().await.is_some() {}
}

/// `look` is given back once it is known who it is: a stranger never has a place of the agent's.
async fn receive(
    stream: UnixStream,
    look: Result<OwnedSemaphorePermit, AcquireError>,
    room: Arc<Room>,
    end: CancellationToken,
) {
    // All of /proc may have to be read.
    let asked = Arc::clone(&room);
    let admitted = tokio::task::spawn_blocking(move || {
        let admitted = asked.wanted.admits(&stream);
        (stream, admitted)
    });
    let Ok((stream, admitted)) = admitted.await else { return };
    drop(look);
    if let Err(why) = admitted {
        tracing::warn!(reason = why, "somebody was sent away from the door of an attempt");
        return turn_away(stream, REFUSED, why).await;
    }
    let Ok(_place) = Arc::clone(&room.connections).try_acquire_owned() else {
        let why = format!("{CONNECTIONS} are connected already: close one of them, and try again.");
        return turn_away(stream, FULL, &why).await;
    };
    // Whoever is gone reads no answer.
    listen(stream, room, end).await.ok();
}

async fn turn_away(stream: UnixStream, code: i64, why: &str) {
    let (_read, mut write) = stream.into_split();
    tell(&mut write, &refusal(&Value::Null, code, why, None)).await.ok();
}

pub(super) async fn listen(stream: UnixStream, room: Arc<Room>, end: CancellationToken) -> io::Result<()> {
    let (incoming, mut write) = stream.into_split();
    let mut lines = Lines::new(incoming);
    let gone = CancellationToken::new();
    // However this ends, nobody waits here any more.
    let _gone = gone.clone().drop_guard();
    let mut requests: JoinSet<Value> = JoinSet::new();
    // Until it is gone, and all it wanted is done.
    while !(gone.is_cancelled() && requests.is_empty()) {
        tokio::select! {
            biased;
            () = end.cancelled() => break,
            Some(done) = requests.join_next() => {
                if let Ok(reply) = done {
                    tell(&mut write, &reply).await?;
                }
            }
            line = lines.next(), if !gone.is_cancelled() => match line {
                Line::Whole(line) => {
                    let place = Arc::clone(&room.requests).try_acquire_owned();
                    let message = read(&line);
                    let ((id, request), place) = match (message, place) {
                        (Ok(message), Ok(place)) => (message, place),
                        (Err(reply), _) => {
                            tell(&mut write, &reply).await?;
                            continue;
                        }
                        (Ok((id, _)), Err(_)) => {
                            let why = format!("{REQUESTS} requests of this attempt are under way already: wait for one of them.");
                            tell(&mut write, &refusal(&id, REFUSED, &why, None)).await?;
                            continue;
                        }
                    };
                    let (room, end, gone) = (Arc::clone(&room), end.clone(), gone.clone());
                    requests.spawn(async move {
                        let _place = place;
                        tokio::select! {
                            biased;
                            () = end.cancelled() => refusal(&id, ENDED, AT_AN_END, None),
                            reply = answer(&room, &id, request, gone) => reply,
                        }
                    });
                }
                Line::TooLong => {
                    let why = format!("A line of more than {LINE} bytes: say it in fewer words.");
                    return tell(&mut write, &refusal(&Value::Null, INVALID, &why, None)).await;
                }
                Line::End => gone.cancel(),
            },
        }
    }
    if !end.is_cancelled() {
        return Ok(());
    }
    while let Some(done) = requests.join_next().await {
        if let Ok(reply) = done {
            tell(&mut write, &reply).await?;
        }
    }
    tell(&mut write, &refusal(&Value::Null, ENDED, AT_AN_END, None)).await
}

/// A request by its line, with its id; or what to answer instead.
fn read(line: &[u8]) -> Result<(Value, Request), Value> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(default)]
        id: Value,
        method: String,
        #[serde(borrow, default)]
        params: Option<&'a RawValue>,
    }
    let message: Message<'_> = serde_json::from_slice(line).map_err(|error| {
        let code = if error.is_data() { INVALID } else { UNREADABLE };
        refusal(&Value::Null, code, &format!("This is no request: {error}"), None)
    })?;
    let Message { id, method, params } = message;
    if !(id.is_number() || id.is_string()) {
        return Err(refusal(&Value::Null, INVALID, "A request has an id: a number or a text.", None));
    }
    match Request::read(&method, params.map_or("{}", RawValue::get)) {
        Some(Ok(request)) => Ok((id, request)),
        Some(Err(error)) => Err(refusal(&id, BAD_PARAMS, &format!("{method}: {error}"), None)),
        None => Err(refusal(
            &id,
            UNKNOWN,
            &format!("There is no {method}: there are say, ask, subtask, subtask_result and thread."),
            None,
        )),
    }
}

async fn answer(room: &Room, id: &Value, request: Request, gone: CancellationToken) -> Value {
    let done = match request {
        Request::Say(say) => value(room.say(say).await),
        Request::Ask(question) => value(room.ask(question, gone).await),
        Request::Subtask(subtask) => value(room.subtask(subtask, &gone).await),
        Request::SubtaskResult(which) => value(room.result(which.id, which.wait, &gone).await),
        Request::Thread(last) => value(room.thread(last.limit).await),
    };
    match done {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(Error::LeaseLost(_) | Error::DeviceRevoked(_)) => refusal(id, ENDED, AT_AN_END, None),
        Err(error) if error.is_transient() => {
            let why = format!("{error}. That passes: try again in a minute.");
            refusal(id, REFUSED, &why, error.code())
        }
        Err(error) => refusal(id, REFUSED, &error.to_string(), error.code()),
    }
}

fn value<T: Serialize>(done: hub::Result<T>) -> hub::Result<Value> {
    serde_json::to_value(done?).map_err(|error| Error::Internal(error.to_string()))
}

impl Room {
    async fn say(&self, Say { text }: Say) -> hub::Result<Value> {
        let text = self.shown(&filled(&text, "text")?);
        self.way.say(text).await.map(|()| json!({}))
    }

    async fn ask(&self, question: Question, gone: CancellationToken) -> hub::Result<super::Answer> {
        let Question { title, body, options, approval, wait } = question;
        let question = Question {
            title: self.shown(&filled(&title, "title")?),
            body: body.map(|body| self.shown(&body)),
            options: options.iter().map(|option| self.shown(option)).collect(),
            approval,
            wait,
        };
        self.way.ask(question, gone).await
    }

    async fn subtask(&self, subtask: Subtask, gone: &CancellationToken) -> hub::Result<SubtaskState> {
        let text = self.shown(&filled(&subtask.text, "text")?);
        let wait = subtask.wait;
        let made = self.way.subtask(Subtask { text, ..subtask }).await?;
        if wait && !made.is_over() { self.result(made.id, true, gone).await } else { Ok(made) }
    }

    async fn result(&self, id: uuid::Uuid, wait: bool, gone: &CancellationToken) -> hub::Result<SubtaskState> {
        // Listening begins first, so that an end between the two is not missed.
        let ended = self.way.subtask_ended(id);
        tokio::pin!(ended);
        let state = self.way.subtask_result(id).await?;
        if !wait || state.is_over() {
            return Ok(state);
        }
        tokio::select! {
            () = &mut ended => {}
            () = sleep(HOLD) => {}
            () = gone.cancelled() => return Ok(state),
        }
        self.way.subtask_result(id).await
    }

    async fn thread(&self, limit: Option<u32>) -> hub::Result<Vec<Said>> {
        let messages = self.way.thread(limit.unwrap_or(MESSAGES).clamp(1, MESSAGES_AT_MOST)).await?;
        Ok(messages.into_iter().map(Said::from).collect())
    }
}

fn filled(text: &str, what: &str) -> hub::Result<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::bad_input(format!("{what} is empty"), "Say something."));
    }
    Ok(text.to_owned())
}

fn refusal(id: &Value, code: i64, message: &str, of_hub: Option<&str>) -> Value {
    let mut error = json!({"code": code, "message": message});
    if let Some(of_hub) = of_hub {
        error["data"] = json!({"code": of_hub});
    }
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

async fn tell(write: &mut OwnedWriteHalf, message: &Value) -> io::Result<()> {
    let line = format!("{message}\n");
    timeout(WRITTEN_WITHIN, write.write_all(line.as_bytes())).await?
}

/// What came in.
enum Line {
    Whole(Vec<u8>),
    TooLong,
    /// There is no more; half a line is none.
    End,
}

/// The lines of a stream.
struct Lines<R> {
    read: BufReader<R>,
    begun: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(read: R) -> Self {
        Self { read: BufReader::new(read), begun: Vec::new() }
    }

    /// The next one. May be dropped and called again.
    async fn next(&mut self) -> Line {
        loop {
            let Ok(bytes) = self.read.fill_buf().await else { return Line::End };
            if bytes.is_empty() {
                return Line::End;
            }
            let end = memchr::memchr(b'\n', bytes);
            let (part, used) = end.map_or((bytes, bytes.len()), |end| (&bytes[..end], end + 1));
            self.begun.extend_from_slice(part);
            self.read.consume(used);
            if self.begun.len() > LINE {
                return Line::TooLong;
            }
            if end.is_some() {
                return Line::Whole(std::mem::take(&mut self.begun));
            }
        }
    }
}
