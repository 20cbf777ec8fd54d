//! The one function of the database that a request comes to, and what comes of it over HTTP. How a door words its answer it says itself:
//! who plans a call hands along [`Answers`].

use crate::{Problem, Response};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

/// In whose name the database is called.
#[derive(Debug, Clone)]
pub enum Caller {
    /// The bearer of a token of the project. Whoever reaches the database verifies it.
    Bearer(SecretString),
    /// The functions themselves, who checked a signature.
    Service,
}

/// A call.
#[derive(Debug)]
pub enum Call {
    /// A command of Koji.
    Command {
        /// The token of who typed it.
        token: SecretString,
        /// Where.
        channel: Uuid,
        /// What.
        command: String,
    },
    /// A message.
    Send {
        /// The token of who sends it.
        token: SecretString,
        /// Where: an id, or `server/channel`.
        channel: String,
        /// What.
        content: String,
        /// The same again is the same message.
        key: Option<String>,
    },
    /// A delivery, to be stored before anything else happens.
    Webhook {
        /// Who sent it.
        provider: &'static str,
        /// Its number there.
        delivery: String,
        /// What it tells of.
        event: String,
        /// All of it.
        payload: Box<RawValue>,
        /// The name of the secret that it was signed with.
        secret: String,
    },
    /// A message from a chat.
    Bridged {
        /// Which chat.
        provider: &'static str,
        /// `channel:<id>` there.
        target: String,
        /// What else that place is, in this order: a thread is of a channel.
        elsewhere: Vec<String>,
        /// The message's number there.
        external: String,
        /// Who wrote it.
        author: String,
        /// What.
        content: String,
        /// The message it answers.
        reply_to: Option<String>,
        /// It is no message there, and its answer is ours to give.
        interaction: bool,
        /// The account that wrote it, as the chat numbers it.
        author_id: Option<String>,
        /// `message`, `note` (a line on what is no words, which starts nothing) or `edit`.
        kind: &'static str,
    },
    /// A message of an agent.
    Hook {
        /// Its own token.
        token: SecretString,
        /// What it says.
        message: String,
        /// `channel:<id>` or `user:<id>`.
        target: String,
        /// Whether to say it, or only to check that it may.
        deliver: bool,
        /// The same again is the same message.
        key: Option<String>,
    },
}

/// What the database refuses with: a SQLSTATE and words.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Refused {
    /// The hub's code, Postgres', or PostgREST's.
    #[serde(default)]
    pub code: Option<String>,
    /// What.
    #[serde(default)]
    pub message: Option<String>,
    /// About what.
    #[serde(default, alias = "details")]
    pub detail: Option<String>,
    /// What to do.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Call {
    /// In whose name.
    #[must_use]
    pub fn caller(&self) -> Caller {
        match self {
            Self::Command { token, .. } | Self::Send { token, .. } => Caller::Bearer(token.clone()),
            Self::Webhook { .. } | Self::Bridged { .. } | Self::Hook { .. } => Caller::Service,
        }
    }
}

/// How the door that a request came by answers it.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    pub(crate) answer: fn(&Value) -> Response,
    pub(crate) refuse: fn(&Refused) -> Response,
}

impl Answers {
    /// What the function returned, or the problem.
    pub(crate) const PLAIN: Self =
        Self { answer: |value| Response::json(200, value), refuse: |refused| refused.problem().into() };

    /// The response to what the function returned.
    #[must_use]
    pub fn answer(self, value: &Value) -> Response {
        (self.answer)(value)
    }

    /// The response to a refusal.
    #[must_use]
    pub fn refuse(self, refused: &Refused) -> Response {
        (self.refuse)(refused)
    }
}

impl Refused {
    /// Seconds to wait, where the hint of `UH006` says how many.
    fn wait(&self) -> Option<u32> {
        let said = self.hint.as_deref().filter(|_| self.code.as_deref() == Some("UH006"))?;
        let (seconds, _) = said.split_once("Try again in ")?.1.split_once(" s")?;
        seconds.parse().ok()
    }

    /// What a client is told: the one place where a code becomes a status. What is ours to mend shows nothing of itself.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let code = self.code.as_deref().unwrap_or("");
        let status = match code {
            "UH001" => 400,
            "PGRST301" | "PGRST302" | "PGRST303" => 401,
            "42501" | "UH005" => 403,
            "UH004" | "PGRST116" => 404,
            "UH002" | "UH003" | "23505" => 409,
            "UH006" => 429,
            "57014" => 504,
            // Somebody else holds what it would lock.
            "55P03" => 503,
            // Values that Postgres does not hold: a number of too many digits, text that is none; or that break a rule of a table.
            _ if code.starts_with("22") || code.starts_with("23") => 400,
            _ if code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("40")
                || code.starts_with("57P")
                || code.starts_with("PGRST00") =>
            {
                503
            }
            _ => 500,
        };
        match status {
            401 => Problem::new(401, "the token is not one of this project, or has expired")
                .hint("Send the header `Authorization: Bearer <token>` with a signed-in person's token."),
            504 => Problem::new(504, "this took too long"),
            503 => Problem::new(503, "the hub is not available now")
                .hint("Try again in a few seconds.")
                .retry_after(Some(2)),
            500 => Problem::new(500, "the hub could not do this; its log says why"),
            status => {
                let message = self.message.as_deref().unwrap_or("refused");
                let detail = match self.detail.as_deref().filter(|detail| !detail.is_empty()) {
                    Some(detail) => format!("{message}: {detail}"),
                    None => message.to_owned(),
                };
                let problem = Problem::new(status, detail).code(code).retry_after(self.wait());
                match &self.hint {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
            }
        }
    }
}

/// The name of the function, and its arguments, as PostgREST takes them.
impl Call {
    /// `/rest/v1/rpc/<name>`.
    #[must_use]
    pub fn function(&self) -> &'static str {
        match self {
            Self::Command { .. } => "hub_execute_command",
            Self::Send { .. } => "hub_send_to",
            Self::Webhook { .. } => "hub_receive_webhook",
            Self::Bridged { .. } => "hub_receive_bridged",
            Self::Hook { .. } => "hub_receive_hook",
        }
    }

    /// Its arguments as a JSON object.
    #[must_use]
    pub fn arguments(&self) -> String {
        use secrecy::ExposeSecret;
        match self {
            Self::Command { channel, command, .. } => {
                json!({"p_channel_id": channel, "p_command": command}).to_string()
            }
            Self::Send { channel, content, key, .. } => {
                json!({"p_channel": channel, "p_content": content, "p_idempotency_key": key}).to_string()
            }
            Self::Webhook { provider, delivery, event, payload, secret } => {
                let rest = json!({
                    "p_provider": provider, "p_delivery_id": delivery, "p_event": event, "p_secret_name": secret,
                })
                .to_string();
                // The payload is passed on as it is: parsed and written again, a number could change.
                format!(r#"{},"p_payload":{payload}}}"#, rest.strip_suffix('}').unwrap_or(&rest))
            }
            Self::Bridged {
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
            } => json!({
                "p_provider": provider, "p_target": target, "p_external_id": external, "p_author": author,
                "p_content": content, "p_reply_to": reply_to, "p_interaction": interaction, "p_author_id": author_id,
                "p_kind": kind, "p_elsewhere": elsewhere,
            })
            .to_string(),
            Self::Hook { token, message, target, deliver, key } => json!({
                "p_token": token.expose_secret(), "p_message": message, "p_target": target, "p_deliver": deliver,
                "p_idempotency_key": key,
            })
            .to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_numbers_keep_every_digit() {
        let payload = RawValue::from_string(r#"{"n":0.10000000000000000001}"#.into()).unwrap();
        let secret = "GITHUB_WEBHOOK_SECRET".into();
        let call = Call::Webhook { provider: "github", delivery: "d}".into(), event: "push".into(), payload, secret };
        let arguments = call.arguments();
        assert!(arguments.ends_with(r#","p_payload":{"n":0.10000000000000000001}}"#), "{arguments}");
        let read: Value = serde_json::from_str(&arguments).unwrap();
        assert_eq!((&read["p_delivery_id"], &read["p_event"]), (&json!("d}"), &json!("push")));
    }

    #[test]
    fn each_error_code_has_its_status_and_internal_errors_show_no_detail() {
        for (code, status) in [
            ("UH001", 400),
            ("42501", 403),
            ("UH004", 404),
            ("UH003", 409),
            ("UH005", 403),
            ("UH006", 429),
            ("PGRST301", 401),
            ("40001", 503),
            ("55P03", 503),
            ("08006", 503),
            ("57014", 504),
            ("22003", 400),
            ("23514", 400),
            ("23505", 409),
            ("XX000", 500),
            ("42883", 500),
        ] {
            let refused = Refused {
                code: Some(code.into()),
                message: Some("m".into()),
                detail: Some("internals".into()),
                hint: None,
            };
            let problem = refused.problem();
            assert_eq!(problem.status, status, "{code}");
            assert_eq!(problem.detail.contains("internals"), status < 500 && status != 401, "{code}");
        }
    }
}
