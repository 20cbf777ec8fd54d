//! `koji-discord-bot` as Aura calls it: `{channel_id, command}` with the caller's token; answers `{text, chunks}`, each chunk at most
//! 2000 characters, which is Discord's limit for a message. Whatever a person mistypes is answered; only a channel that is not
//! there (404), one that takes no commands (409) and missing rights (403) are errors.

use crate::{
    Problem, Request, Step,
    call::{Answers, Call},
    json::Fields,
    send::bearer,
};
use uuid::Uuid;

/// One command, asked in a channel.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Command {
    /// The channel in which it is asked: one of a server that takes commands.
    pub channel_id: Uuid,
    /// The command as a person types it: `!stats`, `!hot brooklyn`.
    #[cfg_attr(feature = "openapi", schema(example = "!stats"))]
    pub command: String,
}

impl Command {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let fields = Fields::read(body, r#"{"channel_id": "<uuid>", "command": "!stats"}"#)?;
        Ok(Self { channel_id: fields.id("channel_id")?, command: fields.text("command")? })
    }
}

pub fn plan(request: &Request<'_>) -> Result<Step, Problem> {
    let token = bearer(request)?;
    let Command { channel_id: channel, command } = Command::read(request.body)?;
    Ok(Step::Call(Call::Command { token, channel, command }, Answers::PLAIN))
}
