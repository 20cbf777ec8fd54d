//! Discord's REST, as far as it is needed here: one request, its limits obeyed, its errors in a sentence.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, header::RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::sleep;
use url::Url;

use crate::{
    error::{Error, Result},
    settings::Settings,
};

const WITHIN: Duration = Duration::from_secs(20);
/// Longer pauses are the caller's business.
const PATIENCE: Duration = Duration::from_secs(60);
const TRIES: usize = 5;
/// Discord refuses callers that do not name themselves so.
const AGENT: &str = concat!("DiscordBot (aura-hub, ", env!("CARGO_PKG_VERSION"), ")");

/// Discord's REST as one bot. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Discord {
    http: Client,
    base: String,
    token: SecretString,
}

impl Discord {
    /// As the bot of these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`] if no HTTP client can be made.
    pub fn new(settings: &Settings) -> Result<Self> {
        let http = Client::builder()
            .timeout(WITHIN)
            .user_agent(AGENT)
            // The token goes where the settings say and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::Config(format!("no HTTP client: {}", error.without_url())))?;
        Ok(Self { http, base: base(&settings.api), token: settings.token.clone() })
    }

    /// One request to `/api/v10/<path>`. A 429 is waited for; nothing else is tried again.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Limited`], [`Error::Unreachable`].
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut waited = Duration::ZERO;
        let mut tries = 0;
        loop {
            let mut request = self.http.request(method.clone(), format!("{}/{path}", self.base));
            request = request.header("authorization", format!("Bot {}", self.token.expose_secret()));
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.map_err(unreachable)?;
            let status = answer.status();
            let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let text = answer.text().await.map_err(unreachable)?;
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            if status.is_success() {
                return Ok(said);
            }
            if status != StatusCode::TOO_MANY_REQUESTS {
                return Err(refused(status, path, &said));
            }
            // The body counts in fractions of a second, the header in whole ones. 10,000 refusals are a ban: this is obeyed.
            let seconds = said["retry_after"].as_f64().or(header).unwrap_or(1.0).clamp(0.05, 86_400.0);
            let pause = Duration::from_secs_f64(seconds);
            waited += pause;
            tries += 1;
            if waited > PATIENCE || tries >= TRIES {
                return Err(Error::Limited { seconds: pause.as_secs_f64().ceil() as u64 });
            }
            tracing::info!(pause_ms = pause.as_millis() as u64, "Discord asks to wait");
            sleep(pause).await;
        }
    }
}

fn base(api: &Url) -> String {
    format!("{}/api/v10", api.as_str().trim_end_matches('/'))
}

fn unreachable(error: reqwest::Error) -> Error {
    let why = if error.is_timeout() { "does not answer in time" } else { "can not be reached" };
    Error::Unreachable(format!("Discord {why}: check the network, and HUB_DISCORD_API_URL if it is set"))
}

fn refused(status: StatusCode, path: &str, said: &Value) -> Error {
    let code = said["code"].as_u64().unwrap_or(0);
    let words = said["message"].as_str().unwrap_or("it does not say why");
    let text = match (status.as_u16(), code) {
        (500.., _) => {
            return Error::Unreachable(format!("Discord answers {}: try again a little later", status.as_u16()));
        }
        (401, _) => "Discord does not accept DISCORD_BOT_TOKEN: reset the token on the application's page Bot, and set the new one".to_owned(),
        (403, 50001) if path.contains("/guilds/") => "Discord refuses (Missing Access): the application is not in that server, or without the scope applications.commands; invite it with both scopes, bot and applications.commands".to_owned(),
        (403, _) => format!("Discord refuses ({words}): the bot lacks the right; give it to its role, or invite it anew"),
        (404, 10002) => "Discord knows no such application: HUB_DISCORD_APPLICATION_ID is to be the token's own, or not set".to_owned(),
        (404, 10004) => "Discord knows no such server: --guild takes the server's id (Copy Server ID, with developer mode on)".to_owned(),
        (400, _) if said["errors"].is_object() => {
            format!("Discord refuses what was sent ({words}):\n{}", field_errors(&said["errors"]).join("\n"))
        }
        (status, _) => format!("Discord refuses with {status} ({words})"),
    };
    Error::Refused { status: status.as_u16(), text }
}

/// `{"0": {"name": {"_errors": [{"message"}]}}}` as `0.name: message`.
fn field_errors(errors: &Value) -> Vec<String> {
    fn walk(at: &str, value: &Value, found: &mut Vec<String>) {
        let Some(map) = value.as_object() else { return };
        for (name, inner) in map {
            match inner.as_array().filter(|_| name == "_errors") {
                Some(list) => {
                    found.extend(list.iter().filter_map(|e| e["message"].as_str()).map(|text| format!("{at}: {text}")));
                }
                None => walk(&if at.is_empty() { name.clone() } else { format!("{at}.{name}") }, inner, found),
            }
        }
    }
    let mut found = Vec::new();
    walk("", errors, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(status: u16, path: &str, said: Value) -> String {
        refused(StatusCode::from_u16(status).unwrap(), path, &said).to_string()
    }

    #[test]
    fn refusals_say_what_to_do() {
        assert!(text(401, "applications/@me", json!({"message": "401: Unauthorized", "code": 0})).contains("reset"));
        let path = "applications/1/guilds/2/commands";
        assert!(text(403, path, json!({"message": "Missing Access", "code": 50001})).contains("applications.commands"));
        assert!(text(404, path, json!({"message": "Unknown Guild", "code": 10004})).contains("--guild"));
        let fields = json!({"code": 50035, "message": "Invalid Form Body", "errors":
            {"0": {"name": {"_errors": [{"code": "X", "message": "too long"}]}, "options": {"1": {"description": {"_errors": [{"message": "required"}]}}}}}});
        let said = text(400, path, fields);
        assert!(said.contains("0.name: too long") && said.contains("0.options.1.description: required"), "{said}");
        assert!(matches!(refused(StatusCode::BAD_GATEWAY, path, &Value::Null), Error::Unreachable(_)));
        assert_eq!(base(&Url::parse("http://127.0.0.1:1/").unwrap()), "http://127.0.0.1:1/api/v10");
    }
}
