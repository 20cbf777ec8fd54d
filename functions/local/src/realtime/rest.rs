//! Broadcasts over HTTP: for programs that have no socket.

use super::{
    BadBearer, PAYLOAD, Realtime,
    channel::Bearer,
    persist::Persist,
    rooms::{RoomKey, Said},
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use hub::realtime::frame::{Body, Broadcast};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use std::collections::HashMap;

const MESSAGES: usize = 1000;

/// A message that was checked.
struct Ready {
    room: RoomKey,
    said: Said,
}

fn bearer(realtime: &Realtime, headers: &HeaderMap) -> Result<Bearer, BadBearer> {
    let key = || headers.get("apikey").and_then(|value| value.to_str().ok());
    let token = crate::rest::bearer(headers).or_else(key);
    token.ok_or(BadBearer::Malformed).and_then(|token| realtime.bearer(&SecretString::from(token)))
}

fn unauthorized(bad: BadBearer) -> Response {
    (StatusCode::UNAUTHORIZED, Json(json!({"message": bad.to_string()}))).into_response()
}

fn unprocessable(errors: &Value) -> Response {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"errors": errors}))).into_response()
}

fn only_post() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], Json(json!({"message": "use POST"}))).into_response()
}

/// `POST /api/broadcast {messages: [{topic, event, payload, private?}]}`: all of them, or none if one is malformed. What the caller
/// may not say is silently left out, as on Supabase.
pub async fn batch(State(realtime): State<Realtime>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    #[derive(Deserialize)]
    struct Batch {
        messages: Option<Vec<Map<String, Value>>>,
    }
    if method != Method::POST {
        return only_post();
    }
    let bearer = match bearer(&realtime, &headers) {
        Ok(bearer) => bearer,
        Err(bad) => return unauthorized(bad),
    };
    let Ok(Batch { messages }) = serde_json::from_slice::<Batch>(&body) else {
        return (
            StatusCode::BAD_REQUEST,
            Json(json!({"message": "the body must be JSON: {messages: [{topic, event, payload}]}"})),
        )
            .into_response();
    };
    let Some(messages) = messages.filter(|messages| !messages.is_empty()) else {
        return unprocessable(&json!({"messages": ["can't be blank"]}));
    };
    if messages.len() > MESSAGES {
        let message = format!("Too many messages to broadcast, please reduce the batch size to {MESSAGES}");
        return (StatusCode::TOO_MANY_REQUESTS, Json(json!({"message": message}))).into_response();
    }
    let read: Vec<Result<Ready, Value>> = messages.into_iter().map(ready).collect();
    if read.iter().any(Result::is_err) {
        let faults: Vec<Value> = read.into_iter().map(|read| read.err().unwrap_or_else(|| json!({}))).collect();
        return unprocessable(&json!({"messages": faults}));
    }
    say(&realtime, &bearer, read.into_iter().flatten().collect()).await
}

fn ready(message: Map<String, Value>) -> Result<Ready, Value> {
    let mut faults = Map::new();
    for field in ["topic", "event"] {
        match message.get(field) {
            Some(Value::String(text)) if !text.is_empty() => {}
            None | Some(Value::Null | Value::String(_)) => drop(faults.insert(field.into(), json!(["can't be blank"]))),
            Some(_) => drop(faults.insert(field.into(), json!(["is invalid"]))),
        }
    }
    match message.get("payload") {
        Some(Value::Object(_)) => {}
        None | Some(Value::Null) => drop(faults.insert("payload".into(), json!(["can't be blank"]))),
        Some(_) => drop(faults.insert("payload".into(), json!(["is invalid"]))),
    }
    let private = match message.get("private") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(private)) => *private,
        Some(_) => {
            faults.insert("private".into(), json!(["is invalid"]));
            false
        }
    };
    let text = |field: &str| message.get(field).and_then(Value::as_str).unwrap_or_default();
    let (topic, event) = (text("topic"), text("event"));
    let said = json!({"type": "broadcast", "event": event, "payload": message.get("payload")}).to_string();
    if said.len() > PAYLOAD {
        faults.insert("payload".into(), json!(["Payload size exceeds tenant limit"]));
    }
    if !faults.is_empty() {
        return Err(faults.into());
    }
    Ok(Ready { room: RoomKey { private, topic: topic.into() }, said: Said::Text(said) })
}

/// `POST /api/broadcast/:topic/events/:event?private=true&persist=true`: the body is the payload, JSON or bytes.
pub async fn single(
    State(realtime): State<Realtime>,
    method: Method,
    Path((topic, event)): Path<(String, String)>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != Method::POST {
        return only_post();
    }
    let bearer = match bearer(&realtime, &headers) {
        Ok(bearer) => bearer,
        Err(bad) => return unauthorized(bad),
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body = match kind.split(';').next().map(str::trim) {
        Some("application/json") => {
            if serde_json::from_slice::<&RawValue>(&body).is_err() {
                return (StatusCode::BAD_REQUEST, Json(json!({"message": "the body is no JSON"}))).into_response();
            }
            Body::Json(body)
        }
        Some("application/octet-stream") => Body::Binary(body),
        _ => {
            let message = "Content-Type must be application/json or application/octet-stream";
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, Json(json!({"message": message}))).into_response();
        }
    };
    let (Body::Json(bytes) | Body::Binary(bytes)) = &body;
    if bytes.len() > PAYLOAD {
        return unprocessable(&json!({"payload": ["Payload size exceeds tenant limit"]}));
    }
    let private = query.get("private").is_some_and(|private| private == "true");
    let persist = match Persist::in_query(&query) {
        Ok(Some(_)) if !private => return unprocessable(&json!({"persist": ["can only be used on private channels"]})),
        Ok(persist) => persist,
        Err(bad) => return unprocessable(&json!({"persist": [bad.to_string()]})),
    };
    let room = RoomKey { private, topic: topic.into() };
    if private {
        match realtime.authoriser().ask(&room.topic, &bearer.claims).await {
            Ok(rights) if rights.says.broadcast => {}
            Ok(_) => return (StatusCode::FORBIDDEN, Json(json!({"message": "Unauthorized"}))).into_response(),
            Err(error) => return unavailable(&error),
        }
    }
    let kept = match persist {
        Some(persist) => match realtime.authoriser().may_persist(&room.topic, &bearer.claims).await {
            Ok(may) => may.then_some(persist),
            Err(error) => return unavailable(&error),
        },
        None => None,
    };
    let broadcast = Broadcast { event, body, meta: None };
    realtime.rooms().say(&room, &Said::Broadcast(broadcast.clone(), None), None);
    if let Some(persist) = kept {
        persist.keep(realtime.pool(), &room.topic, &broadcast).await;
    }
    StatusCode::ACCEPTED.into_response()
}

async fn say(realtime: &Realtime, bearer: &Bearer, messages: Vec<Ready>) -> Response {
    // Asked once for each topic.
    let mut may: HashMap<RoomKey, bool> = HashMap::new();
    for Ready { room, .. } in &messages {
        if !may.contains_key(room) {
            let says = !room.private
                || match realtime.authoriser().ask(&room.topic, &bearer.claims).await {
                    Ok(rights) => rights.says.broadcast,
                    Err(error) => return unavailable(&error),
                };
            may.insert(room.clone(), says);
        }
    }
    for Ready { room, said } in &messages {
        if may.get(room).copied().unwrap_or(false) {
            realtime.rooms().say(room, said, None);
        }
    }
    StatusCode::ACCEPTED.into_response()
}

fn unavailable(error: &sqlx::Error) -> Response {
    tracing::warn!(%error, "policies could not be asked");
    let message = "Realtime was unable to connect to the project database";
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"message": message}))).into_response()
}
