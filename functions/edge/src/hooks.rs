//! `hooks-agent`: what agents tell people and each other. `{message, channel, deliver, idempotency_key}` with a token of the
//! sender's own, which says which targets it may reach. A target is written `channel:<id>` or `user:<id>`; a bare id is refused,
//! since whoever guesses what it is guesses wrong one day.

use crate::{
    Problem, Request, Response, Step,
    call::{Answers, Call},
    json::Fields,
    send::bearer,
};

/// As they are; but who shows a token that is none is not known, rather than known and not allowed.
const ANSWERS: Answers = Answers::new(
    |value, _| Response::json(200, value),
    |refused, _| {
        let problem = refused.problem();
        if problem.status == 403 && refused.message.as_deref() == Some("token not valid") {
            return not_valid().into();
        }
        problem.into()
    },
);

fn not_valid() -> Problem {
    Problem::new(401, "the token is not valid").hint("hub_create_hook_token makes one.")
}

/// What an agent tells somebody.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hook {
    /// What it says.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 100_000, pattern = r"[^\x00 \t\r\n]"))]
    pub message: String,
    /// To whom: `channel:<id>` or `user:<id>`, never a bare id.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^(channel|user):[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    )]
    pub channel: String,
    /// False checks everything and says nothing. True unless given.
    pub deliver: Option<bool>,
    /// The same key again with the same message gives the first answer and says nothing.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 200))]
    pub idempotency_key: Option<String>,
}

impl Hook {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let fields = Fields::read(body, r#"{"message": "…", "channel": "channel:<uuid>", "deliver": true}"#)?;
        let channel = fields.text("channel")?;
        if !matches!(channel.split_once(':'), Some(("channel" | "user", id)) if !id.is_empty()) {
            return Err(fields.bad("channel must be written `channel:<id>` or `user:<id>`"));
        }
        Ok(Self {
            channel,
            message: fields.text("message")?,
            deliver: fields.optional_flag("deliver")?,
            idempotency_key: fields.optional_text("idempotency_key")?,
        })
    }
}

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    let token = bearer(request)?;
    // Told without asking the database: who guesses costs it nothing.
    let form = secrecy::ExposeSecret::expose_secret(&token).strip_prefix("hubhook_");
    if !form.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(not_valid());
    }
    let Hook { message, channel: target, deliver, idempotency_key: key } = Hook::read(request.body)?;
    Ok(Step::Call(Call::Hook { token, message, target, deliver: deliver.unwrap_or(true), key }, ANSWERS))
}
