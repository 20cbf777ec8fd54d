//! `send`: the plain way in for scripts and CI. `{channel, content, idempotency_key}` with a person's token; `channel` is an id or
//! `server/channel`; answers what `hub_send` answers.

use crate::{
    Problem, Request, Step,
    call::Call,
    json::{Fields, only_json},
};
use secrecy::SecretString;

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    only_json(request)?;
    let token = bearer(request)?;
    let body =
        Fields::read(request.body, r#"{"channel": "buf-barista/quick", "content": "…", "idempotency_key": "…"}"#)?;
    Ok(Step::Call(Call::Send {
        token,
        channel: body.text("channel")?,
        content: body.text("content")?,
        key: body.optional_text("idempotency_key")?,
    }))
}

/// The token of the header Authorization.
pub fn bearer(request: &Request<'_>) -> Result<SecretString, Problem> {
    let refuse = |detail: &str| {
        Problem::new(401, detail)
            .hint("Send the header `Authorization: Bearer <token>` with a signed-in person's token.")
    };
    let value = (request.header)("authorization").ok_or_else(|| refuse("the header Authorization is missing"))?;
    let (_, token) = value
        .split_once(' ')
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
        .ok_or_else(|| refuse("the header Authorization is not of the form `Bearer <token>`"))?;
    Ok(SecretString::from(token.trim()))
}
