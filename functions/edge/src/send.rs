//! `send`: the plain way in for scripts and CI. `{channel, content, idempotency_key}` with a person's token; `channel` is an id or
//! `server/channel`; answers what `hub_send` answers.

use crate::{
    Problem, Request, Step,
    call::{Answers, Call},
    json::Fields,
};
use secrecy::SecretString;

/// A message, as `hub_send` takes it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Outgoing {
    /// The channel's id, or `server/channel`.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, example = "buf-barista/quick"))]
    pub channel: String,
    /// What a person would type there.
    #[cfg_attr(
        feature = "openapi",
        schema(min_length = 1, max_length = 100_000, pattern = r"[^\x00 \t\r\n]", example = "What is in this folder?")
    )]
    pub content: String,
    /// The same key again with the same content gives the first answer and sends nothing.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200))]
    pub idempotency_key: Option<String>,
}

impl Outgoing {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let fields = Fields::read(body, r#"{"channel": "buf-barista/quick", "content": "…", "idempotency_key": "…"}"#)?;
        Ok(Self {
            channel: fields.text("channel")?,
            content: fields.text("content")?,
            idempotency_key: fields.optional_text("idempotency_key")?,
        })
    }
}

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    let token = bearer(request)?;
    let Outgoing { channel, content, idempotency_key: key } = Outgoing::read(request.body)?;
    Ok(Step::Call(Call::Send { token, channel, content, key }, Answers::PLAIN))
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
