//! Answers that come before the body was read. A client that is still writing when its connection closes sees a broken pipe and not the
//! answer: Node's `fetch` always does with a form. So what is on its way is let in first, and thrown away.

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody},
    extract::Request,
    http::header,
    middleware::Next,
    response::Response,
};
use futures_util::{Stream, StreamExt};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::timeout;

/// As much is let in. Who sends more reads no answer.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// In so long,
const WITHIN: Duration = Duration::from_secs(30);
/// and while something comes at least this often: who announces a body and sends nothing waits for the answer.
const QUIET: Duration = Duration::from_secs(2);

type Left = Arc<Mutex<Option<BodyDataStream>>>;

/// A body that leaves what was not read of it to whoever lent it.
struct Lent {
    body: Option<BodyDataStream>,
    left: Left,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = body.poll_next_unpin(context);
        if !matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))) {
            self.body = None;
        }
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}

/// Answers when nothing of the request is on its way any more, within bounds.
pub async fn drained(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let length: Option<usize> = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    // Whoever waits for `100 Continue` has sent nothing.
    if request.body().is_end_stream()
        || headers.contains_key(header::EXPECT)
        || length.is_some_and(|length| length > MOST_BYTES)
    {
        return next.run(request).await;
    }
    let left = Left::default();
    let (parts, body) = request.into_parts();
    let lent = Lent { body: Some(body.into_data_stream()), left: left.clone() };
    let response = next.run(Request::from_parts(parts, Body::from_stream(lent))).await;
    let rest = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(rest) = rest {
        // Whoever is slower than that reads no answer.
        drop(timeout(WITHIN, empty(rest)).await);
    }
    response
}

async fn empty(mut body: BodyDataStream) {
    let mut most = MOST_BYTES;
    while let Ok(Some(Ok(chunk))) = timeout(QUIET, body.next()).await {
        most = most.saturating_sub(chunk.len());
        if most == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, http::StatusCode, middleware::from_fn, routing::post};
    use std::{convert::Infallible, net::SocketAddr};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::mpsc,
    };

    async fn refusing() -> SocketAddr {
        let router = Router::new().route("/", post(|| async { StatusCode::UNAUTHORIZED })).layer(from_fn(drained));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, router).await });
        address
    }

    async fn status(connection: &mut TcpStream) -> String {
        let mut said = [0; 12];
        timeout(Duration::from_secs(20), connection.read_exact(&mut said)).await.unwrap().unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    #[tokio::test]
    async fn who_is_refused_may_finish_and_then_reads_why() {
        let mut connection = TcpStream::connect(refusing().await).await.unwrap();
        let chunk = vec![b'x'; 64 * 1024];
        // More than all buffers between here and there hold.
        let length = chunk.len() * 256;
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..256 {
            connection.write_all(&chunk).await.unwrap();
        }
        assert_eq!(status(&mut connection).await, "HTTP/1.1 401");
        // Nothing of it is left: the connection takes another request.
        connection.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        while !rest.windows(12).any(|window| window == b"HTTP/1.1 401") {
            let mut more = [0; 512];
            let read = timeout(Duration::from_secs(20), connection.read(&mut more)).await.unwrap().unwrap();
            assert!(read > 0, "it was closed");
            rest.extend_from_slice(&more[..read]);
        }
    }

    #[tokio::test]
    async fn who_announces_and_sends_nothing_or_waits_for_a_word_is_answered() {
        let address = refusing().await;
        for more in
            ["Content-Length: 1000", "Content-Length: 1000\r\nExpect: 100-continue", "Content-Length: 99999999999"]
        {
            let mut connection = TcpStream::connect(address).await.unwrap();
            let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{more}\r\n\r\n");
            connection.write_all(head.as_bytes()).await.unwrap();
            assert_eq!(status(&mut connection).await, "HTTP/1.1 401", "{more}");
        }
    }

    #[tokio::test]
    async fn what_was_read_is_not_waited_for() {
        let (send, receive) = mpsc::channel::<Result<Bytes, Infallible>>(4);
        let stream =
            futures_util::stream::unfold(receive, |mut receive| async { Some((receive.recv().await?, receive)) });
        let left = Left::default();
        let mut lent = Lent { body: Some(Body::from_stream(stream).into_data_stream()), left: left.clone() };
        send.send(Ok(Bytes::from_static(b"a"))).await.unwrap();
        assert_eq!(lent.next().await.unwrap().unwrap(), "a");
        drop(send);
        assert!(lent.next().await.is_none());
        drop(lent);
        assert!(left.lock().unwrap().is_none());
    }
}
