//! `hooks-agent`: what agents tell people and each other. `{message, channel, deliver, idempotency_key}` with a token of the
//! sender's own, which says which targets it may reach. A target is written `channel:<id>` or `user:<id>`; a bare id is refused,
//! since whoever guesses what it is guesses wrong one day.

use crate::{
    Problem, Request, Step,
    call::Call,
    json::{Fields, only_json},
    send::bearer,
};

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    only_json(request)?;
    let token = bearer(request)?;
    let body = Fields::read(request.body, r#"{"message": "…", "channel": "channel:<uuid>", "deliver": true}"#)?;
    let target = body.text("channel")?;
    if !matches!(target.split_once(':'), Some(("channel" | "user", id)) if !id.is_empty()) {
        return Err(body.bad("channel must be written `channel:<id>` or `user:<id>`"));
    }
    Ok(Step::Call(Call::Hook {
        token,
        message: body.text("message")?,
        target,
        deliver: body.flag("deliver", true)?,
        key: body.optional_text("idempotency_key")?,
    }))
}
