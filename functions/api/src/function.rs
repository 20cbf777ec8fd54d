//! A request to a function: who asks, its bytes, what they come to (`hub_edge`), the call, the answer. In this order, since each step
//! costs more than the one before: who shows no credentials sends no body.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{
    body::{Body, BodyDataStream},
    extract::{Request, State},
    http::{HeaderMap, header, request::Parts},
    response::Response,
};
use futures_util::StreamExt;
use hub::{Error, error::Refusal, types::Bridged};
use hub_edge::{Call, Function, Problem, Step};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument, field::Empty};

use crate::{
    host::{Address, Api},
    limit::Caller,
    problem::{self, respond},
    token::{BadToken, Claims, Unverified},
};

/// As long as a statement of a signed-in person may take on Supabase, and a little.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// Who was refused may still be sending, and reads the answer only when it is done: that much is let in, and thrown away.
const DRAINED_BYTES: usize = 32 * 1024 * 1024;

pub(crate) async fn serve(State(api): State<Api>, request: Request) -> Response {
    // Not an extractor: whoever mounts these routes may have captured parts of the path, too.
    let Some((function, _)) = Function::addressed(request.uri().path()) else { return unknown().await };
    let (parts, body) = request.into_parts();
    let address = address(&parts);
    let caller = match api.admit(function, &parts).await {
        Ok(caller) => caller,
        Err(refused) => {
            let answer = api.refuse(refused, address);
            api.drain(&parts.headers, body.into_data_stream()).await;
            return answer;
        }
    };
    let answered = async {
        let (body, _room) = api.read(function, &parts.headers, body).await?;
        let step = asked(&parts, &body, |request| hub_edge::plan(function, request, &api.secrets));
        // A large payload is in the step by now.
        drop(body);
        match step {
            Step::Answer(answer) => Ok(answer),
            Step::Call(call, answers) => {
                let span = tracing::info_span!(
                    "call",
                    otel.name = call.function(),
                    otel.kind = "client",
                    db.system.name = "postgresql",
                    error = Empty
                );
                let said = timeout(CALL_WITHIN, api.call(&call, caller).instrument(span.clone())).await;
                match said.unwrap_or_else(|_| Err(Problem::new(504, "this took too long").into())) {
                    Ok(value) => Ok(answers.answer(&value)),
                    Err(Failed::Database(error)) => {
                        span.record("error", true);
                        Ok(answers.refuse(&problem::refused(&error)))
                    }
                    Err(refused) => Err(refused),
                }
            }
        }
    };
    match answered.await {
        Ok(answer) if answer.status == 401 => api.strange(address).unwrap_or_else(|| respond(answer)),
        Ok(answer) => respond(answer),
        Err(refused) => api.refuse(refused, address),
    }
}

pub(crate) async fn unknown() -> Response {
    problem::problem(hub_edge::unknown())
}

/// Lets `hub_edge` see a request.
fn asked<T>(parts: &Parts, body: &[u8], see: impl FnOnce(&hub_edge::Request<'_>) -> T) -> T {
    // What is no text, or there twice, is there, and is none that counts: a proxy before us may have looked at the other one.
    let header = |name: &str| {
        let mut values = parts.headers.get_all(name).iter();
        let value = values.next()?;
        Some(value.to_str().ok().filter(|_| values.next().is_none()).unwrap_or("\u{fffd}"))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    see(&hub_edge::Request {
        method: parts.method.as_str(),
        name: Function::addressed(parts.uri.path()).and_then(|(_, name)| name),
        header: &header,
        body,
        now: i64::try_from(now).unwrap_or(i64::MAX),
    })
}

/// Where it comes from, if whoever serves knows.
fn address(parts: &Parts) -> &str {
    parts.extensions.get::<Address>().map_or("", |Address(address)| address)
}

/// What the client says of its body. It may say anything: nothing is set aside for it.
fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(crate) enum Failed {
    Refused(Problem),
    /// Too often; again in so long.
    Later(Duration),
    Database(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl Api {
    /// Whether a request's body is read at all; for a function that takes the project's tokens, whose it is.
    async fn admit(&self, function: Function, parts: &Parts) -> Result<Option<Claims>, Failed> {
        let token = asked(parts, &[], |request| {
            hub_edge::look(function, request, &self.secrets).map(|()| hub_edge::token(function, request))
        })?;
        let Some(token) = token else {
            if function == Function::Answer {
                self.check(Caller::Hooks(address(parts)))?;
            }
            if function == Function::Hooks {
                let shown =
                    parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
                self.check(Caller::Hook(shown))?;
                self.check(Caller::Hooks(address(parts)))?;
            }
            return Ok(None);
        };
        let claims = self.claims(&token).await?;
        let role = claims.get("role").and_then(Value::as_str);
        match (role, claims.get("sub").and_then(Value::as_str)) {
            // The project's own programs.
            (Some("service_role"), _) => {}
            (_, Some(person)) => self.check(Caller::Person(person))?,
            _ => self.check(Caller::Stranger(address(parts)))?,
        }
        Ok(Some(claims))
    }

    fn check(&self, caller: Caller<'_>) -> Result<(), Failed> {
        self.limit.as_ref().map_or(Ok(()), |limit| limit.check(caller)).map_err(Failed::Later)
    }

    fn refuse(&self, failed: Failed, address: &str) -> Response {
        match failed {
            Failed::Refused(problem) if matches!(problem.status, 401 | 408) => {
                self.strange(address).unwrap_or_else(|| problem::problem(problem))
            }
            Failed::Refused(problem) => problem::problem(problem),
            Failed::Later(wait) => problem::later(wait),
            Failed::Database(error) => problem::problem(problem::refused(&error).problem()),
        }
    }

    /// Counts what does not count: who guesses is told no more than to wait. Who shows what counts is not held up by it.
    fn strange(&self, address: &str) -> Option<Response> {
        let wait = self.limit.as_ref()?.check(Caller::Stranger(address)).err()?;
        Some(problem::later(wait))
    }

    /// The body, and the room it takes, which is bounded over all requests. Room is taken for what has arrived and not for what is announced, or
    /// who announces much and sends nothing would keep everybody else out.
    async fn read(
        &self,
        function: Function,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Failed> {
        let limit = function.body_limit();
        let said = length(headers).unwrap_or(0);
        let mut chunks = body.into_data_stream();
        if said > limit {
            self.drain(headers, chunks).await;
            return Err(hub_edge::too_large(function).into());
        }
        let slow = || Problem::new(408, format!("the body did not arrive within {} s", self.body_within.as_secs_f64()));
        let (mut body, mut room) = (Vec::new(), None);
        let mut deadline = Instant::now() + self.body_within;
        while let Some(chunk) = timeout_at(deadline, chunks.next()).await.map_err(|_| slow())? {
            let chunk = chunk.map_err(|_| Problem::new(400, "the body ended before its end"))?;
            let length = body.len() + chunk.len();
            if length > limit {
                self.drain(headers, chunks).await;
                return Err(hub_edge::too_large(function).into());
            }
            let waits = room.is_none();
            room = Some(self.room_for(room, length).await?);
            if waits {
                deadline = Instant::now() + self.body_within;
            }
            if body.capacity() < length {
                // Twice what there is, but no more than what is to come.
                let most = if said >= length { said } else { limit };
                body.reserve_exact((length * 2).min(most) - body.len());
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, room))
    }

    /// Room for so many bytes in all. Who has none yet waits; who has some and would need more is refused at once: two that wait for each
    /// other's would wait for nothing.
    async fn room_for<'a>(
        &'a self,
        held: Option<SemaphorePermit<'a>>,
        bytes: usize,
    ) -> Result<SemaphorePermit<'a>, Problem> {
        let full =
            || Problem::new(503, "the hub takes in as much as it can hold already").hint("Try again in a few seconds.");
        let kilobytes = |bytes: usize| u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        match held {
            None => timeout(self.body_within, self.room.acquire_many(kilobytes(bytes)))
                .await
                .ok()
                .and_then(Result::ok)
                .ok_or_else(full),
            Some(mut held) => {
                let more = kilobytes(bytes) - u32::try_from(held.num_permits()).unwrap_or(u32::MAX);
                held.merge(self.room.try_acquire_many(more).map_err(|_| full())?);
                Ok(held)
            }
        }
    }

    /// Lets in what is still on its way, and throws it away.
    async fn drain(&self, headers: &HeaderMap, mut body: BodyDataStream) {
        // Whoever waits for `100 Continue` has sent nothing.
        if headers.contains_key(header::EXPECT) || length(headers).is_some_and(|length| length > DRAINED_BYTES) {
            return;
        }
        let mut left = DRAINED_BYTES;
        let emptied = async {
            while let Some(Ok(chunk)) = body.next().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    return;
                }
            }
        };
        // Whoever is slower than that reads no answer.
        drop(timeout(self.body_within, emptied).await);
    }

    async fn call(&self, call: &Call, caller: Option<Claims>) -> Result<Value, Failed> {
        let bearer =
            || caller.map(Value::Object).ok_or_else(|| Problem::new(401, "the header Authorization is missing"));
        Ok(match call {
            Call::Command { channel, command, .. } => {
                let reply = self.db.execute_command_as(&bearer()?, *channel, command).await?;
                serde_json::to_value(reply).map_err(|error| internal(&error))?
            }
            Call::Send { channel, content, key, .. } => {
                self.db.send_to_as(&bearer()?, channel, content, key.as_deref()).await?
            }
            Call::Webhook { provider, delivery, event, payload, secret } => {
                self.db.receive_webhook(provider, delivery, event, payload, secret).await?
            }
            Call::Bridged {
                provider,
                target,
                elsewhere,
                external,
                author,
                content,
                reply_to,
                interaction,
                author_id,
                kind,
            } => {
                let message = Bridged {
                    provider,
                    target,
                    elsewhere,
                    external,
                    author,
                    content,
                    reply_to: reply_to.as_deref(),
                    interaction: *interaction,
                    author_id: author_id.as_deref(),
                    kind,
                };
                self.db.receive_bridged(&message).await?
            }
            Call::Hook { token, message, target, deliver, key } => {
                self.db.receive_hook(token, message, target, *deliver, key.as_deref()).await?
            }
            Call::Pressed { provider, key, author_id, chat } => {
                self.db.answer_from_chat(provider, key.expose_secret(), author_id, chat).await?
            }
            Call::Linked { provider, author_id, author, code } => {
                self.db.link_chat(provider, author_id, author, code.expose_secret()).await?
            }
            Call::Answered { token, answer } => self.db.answer_by_token(token, answer.as_deref()).await?,
        })
    }

    /// What a token says, if it is one of the project and names a role of a caller.
    async fn claims(&self, token: &SecretString) -> Result<Claims, Problem> {
        let refuse = |detail: &str| {
            let hint = "Send the header `Authorization: Bearer <token>` with a signed-in person's token.";
            Problem::new(401, detail).hint(hint)
        };
        let claims = self.verifier.claims(token.expose_secret()).await.map_err(|why| match why {
            Unverified::Bad(BadToken::Expired) => refuse("the token has expired"),
            Unverified::Bad(BadToken::Early) => Problem::early(),
            Unverified::Bad(BadToken::Signature | BadToken::Incomplete | BadToken::Invalid) => {
                refuse("the token is not one of this project")
            }
            Unverified::NoKeys => {
                Problem::new(503, "the project's signing keys can not be fetched now, so no token can be verified")
                    .hint("Try again in a few seconds.")
            }
        })?;
        match claims.get("role").and_then(|role| role.as_str()) {
            Some("anon" | "authenticated" | "service_role") => Ok(claims),
            _ => Err(refuse("the token says no role of this project")),
        }
    }
}

fn internal(error: &serde_json::Error) -> Error {
    Error::refused(Refusal { message: error.to_string(), ..Refusal::default() })
}
