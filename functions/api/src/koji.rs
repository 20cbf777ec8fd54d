//! `koji-discord-bot`: one command, one answer. `{channel_id, command}` with the caller's token; answers `{text, chunks}`, each
//! chunk at most 2000 characters, which is Discord's limit for a message. Whatever a person mistypes is answered; only a channel
//! that is not there (404), one that takes no commands (409) and missing rights (403) are errors.

use axum::{Json, body::Bytes, extract::State, http::StatusCode};
use hub::types::Reply;
use serde_json::Value;
use uuid::Uuid;

use crate::{caller::Caller, problem::Problem, router::Api};

pub(crate) async fn command(
    State(api): State<Api>,
    Caller(claims): Caller,
    body: Bytes,
) -> Result<Json<Reply>, Problem> {
    let (channel, command) = read(&body)?;
    Ok(Json(api.db.execute_command_as(&Value::Object(claims), channel, &command).await?))
}

fn read(body: &[u8]) -> Result<(Uuid, String), Problem> {
    let bad = |detail: String| {
        Problem::new(StatusCode::BAD_REQUEST, detail).hint(r#"Send {"channel_id": "<uuid>", "command": "!stats"}."#)
    };
    let body: Value = serde_json::from_slice(body).map_err(|error| bad(format!("the body is not JSON: {error}")))?;
    let field = |name: &str| match body.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(bad(format!("{name} must be a string"))),
        None => Err(bad(format!("{name} is missing"))),
    };
    let channel = field("channel_id")?;
    let channel = Uuid::try_parse(channel).map_err(|_| bad("channel_id is not a UUID".into()))?;
    // Postgres' text holds every character but this one.
    Ok((channel, field("command")?.replace('\0', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_body_is_named() {
        for (body, says) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("\"x\"", "channel_id is missing"),
            ("[]", "channel_id is missing"),
            (r#"{"command": "!stats"}"#, "channel_id is missing"),
            (r#"{"channel_id": 7, "command": "!stats"}"#, "channel_id must be a string"),
            (r#"{"channel_id": "leads", "command": "!stats"}"#, "channel_id is not a UUID"),
            (r#"{"channel_id": "00000000-0000-0000-0000-000000000000"}"#, "command is missing"),
            (r#"{"channel_id": "00000000-0000-0000-0000-000000000000", "command": null}"#, "command must be a string"),
        ] {
            let problem = read(body.as_bytes()).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(says), "{body}: {}", problem.detail);
        }
        assert!(read(b"\xff\xfe").is_err());
        let body = r#"{"channel_id": "00000000-0000-0000-0000-000000000000", "command": "!st\u0000ats", "more": 1}"#;
        assert_eq!(read(body.as_bytes()).unwrap().1, "!st ats");
    }
}
