//! A request to a function: its bytes, what they come to (`hub_edge`), the call, the answer.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use hub::{Error, error::Refusal};
use hub_edge::{Call, Function, Problem, Step};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::{
    problem::{self, respond},
    router::Api,
    token::BadToken,
};

pub(crate) async fn serve(State(api): State<Api>, request: Request) -> Response {
    // Not an extractor: whoever mounts these routes may have captured parts of the path, too.
    let name = request.uri().path().rsplit('/').next().unwrap_or("");
    let Some(function) = Function::named(name) else { return unknown().await };
    let (parts, body) = request.into_parts();
    let body = match read(function, &parts.headers, body).await {
        Ok(body) => body,
        Err(refused) => return problem::problem(refused),
    };
    let step = {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let request = hub_edge::Request {
            method: parts.method.as_str(),
            header: &header,
            body: &body,
            now: i64::try_from(now).unwrap_or(i64::MAX),
        };
        match hub_edge::token(function, &request).map(|token| api.claims(&token)) {
            Some(Err(Failed::Token(problem))) if request.method == "POST" => Step::Answer(problem.into()),
            _ => hub_edge::plan(function, &request, &api.secrets),
        }
    };
    // A large payload is in the step by now.
    drop(body);
    match step {
        Step::Answer(answer) => respond(answer),
        Step::Call(call) => respond(match api.call(&call).await {
            Ok(value) => call.answer(&value),
            Err(Failed::Token(problem)) => problem.into(),
            Err(Failed::Database(error)) => call.refused(&problem::refused(&error)),
        }),
    }
}

pub(crate) async fn unknown() -> Response {
    problem::problem(hub_edge::unknown())
}

async fn read(function: Function, headers: &HeaderMap, body: Body) -> Result<axum::body::Bytes, Problem> {
    let limit = function.body_limit();
    let too_large = || Problem::new(413, format!("the body is larger than {} KB", limit / 1024));
    let said =
        headers.get("content-length").and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    if said.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    // One more than the limit, so that a body of exactly the limit and one above it can be told apart.
    match to_bytes(body, limit + 1).await {
        Ok(body) if body.len() <= limit => Ok(body),
        Ok(_) => Err(too_large()),
        Err(error) if error.to_string().contains("length limit") => Err(too_large()),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST.as_u16(), "the body ended before its end")),
    }
}

enum Failed {
    Token(Problem),
    Database(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl Api {
    async fn call(&self, call: &Call) -> Result<Value, Failed> {
        Ok(match call {
            Call::Command { token, channel, command } => {
                let reply = self.db.execute_command_as(&self.claims(token)?, *channel, command).await?;
                serde_json::to_value(reply).map_err(|error| internal(&error))?
            }
            Call::Send { token, channel, content, key } => {
                self.db.send_to_as(&self.claims(token)?, channel, content, key.as_deref()).await?
            }
            Call::Webhook { provider, delivery, event, payload } => {
                self.db.receive_webhook(provider, delivery, event, payload).await?
            }
            Call::Bridged { provider, target, external, author, content, reply_to } => {
                self.db.receive_bridged(provider, target, external, author, content, reply_to.as_deref()).await?
            }
            Call::Hook { token, message, target, deliver, key } => {
                self.db.receive_hook(token, message, target, *deliver, key.as_deref()).await?
            }
        })
    }

    /// What a token says, if it is one of the project and names a role of a caller.
    fn claims(&self, token: &SecretString) -> Result<Value, Failed> {
        let refuse = |detail: &str| {
            let hint = "Send the header `Authorization: Bearer <token>` with a signed-in person's token.";
            Failed::Token(Problem::new(401, detail).hint(hint))
        };
        let claims = self.verifier.verify(token.expose_secret()).map_err(|why| {
            refuse(match why {
                BadToken::Expired => "the token has expired",
                BadToken::Signature | BadToken::Incomplete | BadToken::Invalid => {
                    "the token is not one of this project"
                }
            })
        })?;
        match claims.get("role").and_then(|role| role.as_str()) {
            Some("anon" | "authenticated" | "service_role") => Ok(Value::Object(claims)),
            _ => Err(refuse("the token says no role of this project")),
        }
    }
}

fn internal(error: &serde_json::Error) -> Error {
    Error::refused(Refusal { message: error.to_string(), ..Refusal::default() })
}
