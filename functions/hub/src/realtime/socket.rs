//! Opening the socket. What goes wrong is said without the address, which carries the key.

use std::time::Duration;

use futures_util::{Sink, Stream, future::BoxFuture};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{self, protocol::WebSocketConfig},
};
use url::Url;

use crate::error::{Error, Result};

/// DNS, TCP, TLS and the handshake together.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// The server's frames have up to 5 MB.
const LARGEST_FRAME: usize = 8 << 20;

/// A websocket, over whatever.
pub(super) trait Wire:
    Stream<Item = Result<tungstenite::Message, tungstenite::Error>>
    + Sink<tungstenite::Message, Error = tungstenite::Error>
    + Send
    + Unpin
{
}

impl<T> Wire for T where
    T: Stream<Item = Result<tungstenite::Message, tungstenite::Error>>
        + Sink<tungstenite::Message, Error = tungstenite::Error>
        + Send
        + Unpin
{
}

/// Opens a socket.
pub(super) type Dial = Box<dyn Fn() -> BoxFuture<'static, Result<Box<dyn Wire>, Fault>> + Send + Sync>;

/// Why there is no socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) why: String,
    /// Trying again soon is of little use: the key is wrong, or there is no such endpoint.
    pub(super) lasting: bool,
}

impl Fault {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), lasting: false }
    }

    pub(super) fn of(error: &tungstenite::Error) -> Self {
        use tungstenite::Error as E;
        let why = match error {
            E::ConnectionClosed | E::AlreadyClosed => "the connection was closed".into(),
            E::Io(error) => error.to_string(),
            E::Tls(error) => format!("TLS: {error}"),
            E::Capacity(error) => error.to_string(),
            E::Protocol(error) => error.to_string(),
            E::Http(response) => {
                let status = response.status();
                return Self {
                    why: format!("the endpoint answers {}", status.as_u16()),
                    lasting: status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429),
                };
            }
            // Others repeat the address or the frame in their text.
            _ => "it can not be reached".into(),
        };
        Self::passing(why)
    }
}

/// Dials `/realtime/v1/websocket` under `base`, which is `http(s)://`.
pub(super) fn dial(base: &str, key: &SecretString) -> Result<Dial> {
    let no_url = || Error::Config("the hub's address is not a URL that realtime can use: http:// or https://".into());
    let mut url = Url::parse(base).map_err(|_| no_url())?;
    let scheme = match url.scheme() {
        "http" | "ws" => "ws",
        "https" | "wss" => "wss",
        _ => return Err(no_url()),
    };
    url.set_scheme(scheme).map_err(|()| no_url())?;
    url.path_segments_mut().map_err(|()| no_url())?.pop_if_empty().extend(["realtime", "v1", "websocket"]);
    url.query_pairs_mut().clear().append_pair("apikey", key.expose_secret()).append_pair("vsn", "2.0.0");
    url.set_fragment(None);
    let address = SecretString::from(String::from(url));
    Ok(Box::new(move || {
        let address = address.clone();
        Box::pin(async move {
            let config =
                WebSocketConfig::default().max_message_size(Some(LARGEST_FRAME)).max_frame_size(Some(LARGEST_FRAME));
            match timeout(OPEN_WITHIN, connect_async_with_config(address.expose_secret(), Some(config), true)).await {
                Ok(Ok((socket, _))) => Ok(Box::new(socket) as Box<dyn Wire>),
                Ok(Err(error)) => Err(Fault::of(&error)),
                Err(_) => Err(Fault::passing(format!("no answer within {} s", OPEN_WITHIN.as_secs()))),
            }
        })
    }))
}
