//! Lines between a program and what it talks to, that fail as told.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// How a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// What is said passes.
    Open,
    /// Nothing passes, and nobody is told: a machine that sleeps, a cable that is pulled, a server that hangs.
    Frozen,
    /// What is asked passes; what is answered does not.
    Unanswered,
    /// What was open is broken, and nothing new is let in.
    Cut,
}

/// Before a port of this machine. Its own stays the same, whatever the line is like.
pub struct Proxy {
    pub port: u16,
    line: watch::Sender<Line>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("a port").port();
        let (line, watched) = watch::channel(Line::Open);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, port, watched.clone()));
            }
        });
        Proxy { port: own, line, accepting }
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// The same address, through it.
    pub fn url(&self, direct: &str) -> String {
        through(self.port, direct)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The address with another port.
fn through(port: u16, direct: &str) -> String {
    let (scheme, rest) = direct.split_once("://").expect("an address");
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    format!("{scheme}://{}:{port}{path}", authority.rsplit_once(':').expect("names a port").0)
}

async fn connection(client: TcpStream, port: u16, mut line: watch::Receiver<Line>) {
    let mut cut = line.clone();
    let talk = async {
        if line.wait_for(|line| matches!(line, Line::Open | Line::Unanswered)).await.is_err() {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::join!(
            pass(from_client, to_server, line.clone(), |line| matches!(line, Line::Open | Line::Unanswered)),
            pass(from_server, to_client, line.clone(), |line| line == Line::Open),
        );
    };
    tokio::select! {
        () = talk => {}
        _ = cut.wait_for(|line| *line == Line::Cut) => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    passes: fn(Line) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if line.wait_for(|line| passes(*line)).await.is_err() {
            return;
        }
        if read == 0 {
            to.shutdown().await.ok();
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Before a project: refuses tokens that it is told to refuse, as the project does once they are expired.
pub struct Expiring {
    pub port: u16,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    behind: String,
    client: reqwest::Client,
    tokens: Mutex<Tokens>,
}

#[derive(Default)]
struct Tokens {
    seen: HashSet<String>,
    expired: HashSet<String>,
}

impl Expiring {
    pub async fn before(port: u16) -> Expiring {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let own = listener.local_addr().expect("a port").port();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().expect("a client");
        let behind = format!("http://127.0.0.1:{port}");
        let shared = Arc::new(Shared { behind, client, tokens: Mutex::default() });
        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Expiring { port: own, shared, serving }
    }

    /// From now on every token that was seen is expired. Gives how many those are.
    pub fn expire(&self) -> usize {
        let mut tokens = self.shared.tokens.lock().expect("nobody panics");
        let seen = std::mem::take(&mut tokens.seen);
        let count = seen.len();
        tokens.expired.extend(seen);
        count
    }

    pub fn url(&self, direct: &str) -> String {
        through(self.port, direct)
    }
}

impl Drop for Expiring {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(token) = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let mut tokens = shared.tokens.lock().expect("nobody panics");
        if tokens.expired.contains(token) {
            let said = r#"{"code":"PGRST303","message":"JWT expired","details":null,"hint":null}"#;
            return (StatusCode::UNAUTHORIZED, [("content-type", "application/json")], said).into_response();
        }
        // Signing in goes by the key of the project, which does not expire.
        if parts.uri.path().starts_with("/rest/") {
            tokens.seen.insert(token.to_owned());
        }
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut asked = shared.client.request(parts.method, format!("{}{path}", shared.behind)).body(body);
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
        asked = asked.header(name, value);
    }
    let Ok(answer) = asked.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from(answer.bytes().await.unwrap_or_default()));
    *response.status_mut() = status;
    for (name, value) in headers.iter().filter(|(name, _)| *name != "transfer-encoding" && *name != "content-length") {
        response.headers_mut().append(name, value.clone());
    }
    response
}
