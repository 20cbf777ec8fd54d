//! What `hub serve` and the Lambda program are told by the environment, read in one place.

use std::num::NonZeroU32;

use hub::{Error, db::Db};
use hub_edge::Secrets;
use reqwest::Url;
use secrecy::SecretString;

use crate::{host::Api, limit::Limit, token::Verifier};

/// Enough for a person with a script, too little for a script that runs wild.
const CALLER_REQUESTS: u32 = 50;

/// Reads a setting by its name.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What there is to know before the database is.
pub struct Settings {
    verifier: Verifier,
    secrets: Secrets,
    limit: Option<Limit>,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::Config`], naming the variable.
    pub fn read(setting: Lookup<'_>) -> Result<Self, Error> {
        Ok(Self { verifier: verifier(setting)?, secrets: secrets(setting), limit: limit(setting)? })
    }

    /// The functions over this database.
    #[must_use]
    pub fn over(self, db: Db) -> Api {
        Api::new(db, self.verifier, self.secrets).limited(self.limit)
    }
}

/// What the providers sign with. Which of GitHub's further secrets there are, only the environment's own names tell.
pub fn secrets(setting: Lookup<'_>) -> Secrets {
    let names = hub::config::names(hub_edge::GITHUB_NAMED);
    Secrets::from(setting).named(names.iter().map(String::as_str), setting)
}

/// Whose tokens count: those signed with `SUPABASE_JWT_SECRET`, and those signed with the keys that the project at `SUPABASE_URL` publishes
/// (or that are published at `HUB_SERVE_JWKS_URL`).
fn verifier(setting: Lookup<'_>) -> Result<Verifier, Error> {
    let secret = setting("SUPABASE_JWT_SECRET").map(SecretString::from);
    let (name, url) = match setting("HUB_SERVE_JWKS_URL") {
        Some(url) => ("HUB_SERVE_JWKS_URL", Some(url)),
        None => (
            "SUPABASE_URL",
            setting("SUPABASE_URL").map(|url| format!("{}/auth/v1/.well-known/jwks.json", url.trim_end_matches('/'))),
        ),
    };
    let verifier = secret.as_ref().map(Verifier::new);
    match url {
        Some(url) => {
            let url = Url::parse(&url)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| Error::Config(format!("{name} must be a URL that begins with https://")))?;
            Ok(verifier.unwrap_or_default().published_at(url))
        }
        None => verifier.ok_or_else(|| {
            Error::Config(
                "whose tokens count? Set SUPABASE_URL (https://<ref>.supabase.co), whose published keys verify them, or SUPABASE_JWT_SECRET"
                    .into(),
            )
        }),
    }
}

/// How often a caller may ask: `HUB_SERVE_CALLER_REQUESTS_PER_SECOND`, 50 unless set; 0 is as often as they like.
fn limit(setting: Lookup<'_>) -> Result<Option<Limit>, Error> {
    let name = "HUB_SERVE_CALLER_REQUESTS_PER_SECOND";
    let count = match setting(name) {
        None => CALLER_REQUESTS,
        Some(text) => {
            text.trim().parse().map_err(|_| Error::Config(format!("{name} must be a number, 0 for no limit")))?
        }
    };
    Ok(NonZeroU32::new(count).map(Limit::per_second))
}
