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
    /// A button of an ask that was pressed in a chat.
    Pressed {
        /// Which chat.
        provider: &'static str,
        /// What the button carries: it says which ask and which answer.
        key: SecretString,
        /// The account that pressed it, as the chat numbers it.
        author_id: String,
        /// `channel:<id>` or `user:<id>` there.
        chat: String,
    },
    /// A code that ties an account of a chat to a person.
    Linked {
        /// Which chat.
        provider: &'static str,
        /// The account, as the chat numbers it.
        author_id: String,
        /// Its name there.
        author: String,
        /// The code, good for one use.
        code: SecretString,
    },
    /// An answer to an ask, by a token that went out with it.
    Answered {
        /// Good for one answer.
        token: SecretString,
        /// An option's key, where the token does not say it alone.
        answer: Option<String>,
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
            Self::Webhook { .. }
            | Self::Bridged { .. }
            | Self::Hook { .. }
            | Self::Pressed { .. }
            | Self::Linked { .. }
            | Self::Answered { .. } => Caller::Service,
        }
    }
}

/// How the door that a request came by answers it.
#[derive(Debug, Clone)]
pub struct Answers {
    answer: fn(&Value, &str) -> Response,
    refuse: fn(&Refused, &str) -> Response,
    /// What of the request its answer needs.
    about: String,
}

impl Answers {
    /// What the function returned, or the problem.
    pub(crate) const PLAIN: Self = Self::new(|value, _| Response::json(200, value), Self::PROBLEM);
    /// A refusal as it is.
    pub(crate) const PROBLEM: fn(&Refused, &str) -> Response = |refused, _| refused.problem().into();

    pub(crate) const fn new(answer: fn(&Value, &str) -> Response, refuse: fn(&Refused, &str) -> Response) -> Self {
        Self { answer, refuse, about: String::new() }
    }

    /// The same, of a request of which its answer needs that.
    pub(crate) fn about(self, what: impl Into<String>) -> Self {
        Self { about: what.into(), ..self }
    }

    /// The response to what the function returned.
    #[must_use]
    pub fn answer(&self, value: &Value) -> Response {
        (self.answer)(value, &self.about)
    }

    /// The response to a refusal.
    #[must_use]
    pub fn refuse(&self, refused: &Refused) -> Response {
        (self.refuse)(refused, &self.about)
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
        if code == "PGRST303" && self.message.as_deref() == Some("JWT not yet valid") {
            return Problem::early();
        }
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
            Self::Pressed { .. } => "hub_answer_from_chat",
            Self::Linked { .. } => "hub_link_chat",
            Self::Answered { .. } => "hub_answer_by_token",
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
            Self::Pressed { provider, key, author_id, chat } => json!({
                "p_provider": provider, "p_key": key.expose_secret(), "p_author_id": author_id, "p_chat": chat,
            })
            .to_string(),
            Self::Linked { provider, author_id, author, code } => json!({
                "p_provider": provider, "p_author_id": author_id, "p_author": author, "p_code": code.expose_secret(),
            })
            .to_string(),
            Self::Answered { token, answer } => {
                json!({"p_token": token.expose_secret(), "p_answer": answer}).to_string()
            }
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
    fn a_token_that_does_not_count_yet_is_refused_as_sign_in_refuses_it() {
        let refused = |message: &str| Refused {
            code: Some("PGRST303".into()),
            message: Some(message.into()),
            ..Refused::default()
        };
        let early = refused("JWT not yet valid").problem();
        assert_eq!((early.status, early.code.as_deref()), (403, Some("bad_jwt")));
        assert_eq!(refused("JWT expired").problem().status, 401);
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
