//! Where Discord is and with which token; all problems at once, by name and never by value.

use hub::config::{Lookup, file_problem};
use secrecy::SecretString;
use url::{Host, Url};

use crate::error::{Error, Result};

/// Where Discord is, and the bot's token.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `DISCORD_BOT_TOKEN`, without `Bot` in front.
    pub token: SecretString,
    /// `HUB_DISCORD_API_URL`: what `/api/v10/…` is put behind.
    pub api: Url,
    /// `HUB_DISCORD_APPLICATION_ID`. Without it the token says which.
    pub application: Option<String>,
    /// `DISCORD_PUBLIC_KEY`, in hex: what the hub's endpoint checks signatures with, where it is set on this machine, too.
    pub public_key: Option<String>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem, a line each.
    pub fn read(lookup: Lookup<'_>) -> Result<Self> {
        let mut problems: Vec<String> = Vec::new();
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let token = get("DISCORD_BOT_TOKEN").map(|text| text.strip_prefix("Bot ").unwrap_or(&text).trim().to_owned());
        match &token {
            None => problems.push(file_problem("DISCORD_BOT_TOKEN", lookup).unwrap_or_else(|| {
                "DISCORD_BOT_TOKEN is not set: make a bot at https://discord.com/developers/applications and give its token".into()
            })),
            Some(token) if token.starts_with("http") => problems.push(
                "DISCORD_BOT_TOKEN is a webhook's URL, which can only post: this needs the token of a bot".into(),
            ),
            Some(token) if !token.chars().all(|char| char.is_ascii_graphic()) => {
                problems.push("DISCORD_BOT_TOKEN has blanks or other characters that no token has".into());
            }
            Some(_) => {}
        }
        let api = match Url::parse(&get("HUB_DISCORD_API_URL").unwrap_or_else(|| "https://discord.com".into())) {
            Ok(url) if is_safe(&url, "https", "http") && url.query().is_none() && url.username().is_empty() => {
                Some(url)
            }
            _ => {
                problems.push(
                    "HUB_DISCORD_API_URL is to be an https:// address (http:// on this machine only) without user or query".into(),
                );
                None
            }
        };
        let application = get("HUB_DISCORD_APPLICATION_ID");
        if application.as_deref().is_some_and(|id| !is_snowflake(id)) {
            problems.push("HUB_DISCORD_APPLICATION_ID is not an id of Discord: up to 20 digits".into());
        }
        match (token, api) {
            (Some(token), Some(api)) if problems.is_empty() => {
                Ok(Self { token: token.into(), api, application, public_key: get("DISCORD_PUBLIC_KEY") })
            }
            _ => Err(Error::Config(problems.join("\n"))),
        }
    }
}

/// Whether a token may be sent there: encrypted, or to this machine.
pub(crate) fn is_safe(url: &Url, encrypted: &str, plain: &str) -> bool {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.has_host() && (url.scheme() == encrypted || (url.scheme() == plain && local))
}

/// Whether it can be an id of Discord.
pub(crate) fn is_snowflake(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(&|name| values.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn all_settings_problems_are_reported_by_name_never_by_value() {
        let error = read(&[
            ("DISCORD_BOT_TOKEN", "top secret"),
            ("HUB_DISCORD_API_URL", "http://discord.example"),
            ("HUB_DISCORD_APPLICATION_ID", "x1"),
        ])
        .unwrap_err()
        .to_string();
        for name in ["DISCORD_BOT_TOKEN has blanks", "HUB_DISCORD_API_URL", "HUB_DISCORD_APPLICATION_ID"] {
            assert!(error.contains(name), "{error}");
        }
        assert!(!error.contains("top secret") && !error.contains("discord.example"), "{error}");
        let webhook = read(&[("DISCORD_BOT_TOKEN", "https://discord.com/api/webhooks/1/hush")]).unwrap_err();
        assert!(webhook.to_string().contains("webhook") && !webhook.to_string().contains("hush"));
        let file = read(&[("DISCORD_BOT_TOKEN_FILE", "/nope")]).unwrap_err().to_string();
        assert!(file.contains("DISCORD_BOT_TOKEN_FILE names /nope"), "{file}");
        assert!(read(&[]).unwrap_err().to_string().contains("DISCORD_BOT_TOKEN is not set"));
    }

    #[test]
    fn a_token_is_not_printed_and_needs_tls_except_to_this_machine() {
        let settings =
            read(&[("DISCORD_BOT_TOKEN", "Bot hush"), ("HUB_DISCORD_API_URL", "http://127.0.0.1:1")]).unwrap();
        assert!(!format!("{settings:?}").contains("hush"));
        assert_eq!(secrecy::ExposeSecret::expose_secret(&settings.token), "hush");
        for (url, safe) in [
            ("wss://gateway.discord.gg", true),
            ("ws://localhost:9", true),
            ("ws://gateway.discord.gg", false),
            ("mailto:gateway", false),
            ("https://gateway.discord.gg", false),
        ] {
            assert_eq!(Url::parse(url).is_ok_and(|url| is_safe(&url, "wss", "ws")), safe, "{url}");
        }
    }
}
