//! When a login that a program keeps in a file expires, so that the program will soon change it for a new one.

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chrono::{DateTime, Duration, Utc};
use serde::Deserialize;

use crate::Known;

/// Codex changes its tokens when they are so old, whatever they say (`codex-rs/login/src/auth/manager.rs`).
const CODEX_DAYS: i64 = 8;
/// Parts of tokens are in base64 for URLs; whether they are padded is the provider's business.
const PART: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `.credentials.json` of Claude Code.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claude {
    claude_ai_oauth: ClaudeTokens,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClaudeTokens {
    refresh_token: String,
    expires_at: i64,
}

/// `auth.json` of Codex.
#[derive(Deserialize)]
struct Codex {
    tokens: CodexTokens,
    #[serde(default)]
    last_refresh: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct CodexTokens {
    access_token: String,
    refresh_token: String,
}

/// What a token says of itself.
#[derive(Deserialize)]
struct Claims {
    exp: i64,
}

impl Known {
    /// When the login in this file, the first of its credentials, expires. None: it does not, or is none that the program changes for a
    /// new one by itself.
    #[must_use]
    pub fn login_expires(&self, file: &[u8]) -> Option<DateTime<Utc>> {
        match self.name {
            "claude" => claude(file),
            "codex" => codex(file),
            // Google's tokens to refresh with are good for more than once.
            _ => None,
        }
    }
}

fn claude(file: &[u8]) -> Option<DateTime<Utc>> {
    let tokens = serde_json::from_slice::<Claude>(file).ok()?.claude_ai_oauth;
    DateTime::from_timestamp_millis(tokens.expires_at).filter(|_| !tokens.refresh_token.is_empty())
}

fn codex(file: &[u8]) -> Option<DateTime<Utc>> {
    let Codex { tokens, last_refresh } = serde_json::from_slice(file).ok()?;
    let of_token = expiry(&tokens.access_token);
    let of_age = last_refresh.and_then(|at| at.checked_add_signed(Duration::days(CODEX_DAYS)));
    of_token.into_iter().chain(of_age).min().filter(|_| !tokens.refresh_token.is_empty())
}

fn expiry(token: &str) -> Option<DateTime<Utc>> {
    let claims = PART.decode(token.split('.').nth(1)?).ok()?;
    DateTime::from_timestamp(serde_json::from_slice::<Claims>(&claims).ok()?.exp, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn expires(program: &str, file: &serde_json::Value) -> Option<String> {
        let at = Known::of(program).unwrap().login_expires(file.to_string().as_bytes());
        at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    }

    #[test]
    fn the_expiry_of_a_login_is_read_from_its_file() {
        let claude = |refresh: &str| json!({"claudeAiOauth": {"accessToken": "a", "refreshToken": refresh, "expiresAt": 1_893_456_000_123_i64, "scopes": []}});
        assert_eq!(expires("claude", &claude("r")).as_deref(), Some("2030-01-01T00:00:00Z"));
        // Nothing to refresh it with: a token that was made to last.
        assert_eq!(expires("claude", &claude("")), None);

        // {"exp":1893456000}
        let token = "eyJhbGciOiJub25lIn0.eyJleHAiOjE4OTM0NTYwMDB9.c2ln";
        let codex = |token: &str, last: Option<&str>| json!({"OPENAI_API_KEY": null, "tokens": {"id_token": "i", "access_token": token, "refresh_token": "r"}, "last_refresh": last});
        assert_eq!(expires("codex", &codex(token, None)).as_deref(), Some("2030-01-01T00:00:00Z"));
        assert_eq!(
            expires("codex", &codex(token, Some("2029-12-20T00:00:00.5Z"))).as_deref(),
            Some("2029-12-28T00:00:00Z"),
            "the earlier of the two"
        );
        assert_eq!(
            expires("codex", &codex("opaque", Some("2029-12-20T00:00:00Z"))).as_deref(),
            Some("2029-12-28T00:00:00Z")
        );
    }

    #[test]
    fn what_is_no_such_login_never_expires() {
        let key = json!({"OPENAI_API_KEY": "sk", "tokens": null, "last_refresh": null});
        for program in ["claude", "codex", "gemini"] {
            for file in [json!({}), json!([]), key.clone(), json!({"claudeAiOauth": {"expiresAt": "soon"}})] {
                assert_eq!(expires(program, &file), None, "{program}: {file}");
            }
            assert_eq!(Known::of(program).unwrap().login_expires(b"\xff{"), None);
        }
        let far = json!({"claudeAiOauth": {"refreshToken": "r", "expiresAt": i64::MAX}});
        assert_eq!(expires("claude", &far), None);
    }
}
