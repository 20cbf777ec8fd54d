//! `koji-discord-bot` as Aura calls it: `{channel_id, command}` with the caller's token; answers `{text, chunks}`, each chunk at most
//! 2000 characters, which is Discord's limit for a message. Whatever a person mistypes is answered; only a channel that is not
//! there (404), one that takes no commands (409) and missing rights (403) are errors.

use crate::{
    Problem, Request, Step,
    call::Call,
    json::{Fields, only_json},
    send::bearer,
};

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    only_json(request)?;
    let token = bearer(request)?;
    let body = Fields::read(request.body, r#"{"channel_id": "<uuid>", "command": "!stats"}"#)?;
    Ok(Step::Call(Call::Command { token, channel: body.id("channel_id")?, command: body.text("command")? }))
}
