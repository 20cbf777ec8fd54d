//! Tokens of the project, verified with its secret, or with the keys it publishes.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, Validation,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk},
};
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

/// Published keys are asked for again after this, as Supabase's own servers do: a key that was taken back counts no longer than that.
const KEYS_LAST: Duration = Duration::from_secs(600);
/// While the project can not be asked, the keys that are known count this long.
const KEYS_LAST_AT_MOST: Duration = Duration::from_secs(3600);
/// An unknown key may be a new one. Anybody can name one, so that is asked no more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// By how much another machine's clock may be ahead, in seconds.
const AHEAD_SECONDS: f64 = 5.0;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A set of keys is a few hundred bytes each.
const KEYS_BYTES: usize = 256 * 1024;

/// Claims of a verified token.
pub type Claims = Map<String, Value>;

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// `exp` is past.
    Expired,
    /// Somebody else signed it.
    Signature,
    /// It does not say when it ends.
    Incomplete,
    /// `nbf` is to come.
    Early,
    /// No token: its form or its algorithm.
    Invalid,
}

/// Why it is not known whether a token counts, or why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unverified {
    Bad(BadToken),
    /// The published keys can not be fetched.
    NoKeys,
}

impl From<BadToken> for Unverified {
    fn from(bad: BadToken) -> Self {
        Self::Bad(bad)
    }
}

/// Verifies tokens: HS256 with the project's secret (`SUPABASE_JWT_SECRET`), ES256, RS256 and EdDSA with the keys it publishes. Which of
/// them is decided by the key, never by the token: a public key is no secret to sign with.
#[derive(Clone, Default)]
pub struct Verifier {
    secret: Option<DecodingKey>,
    published: Option<Arc<Published>>,
}

struct Published {
    url: Url,
    http: reqwest::Client,
    keys: RwLock<Keys>,
    /// Held while they are fetched: one asks for all.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, (Algorithm, DecodingKey)>,
    fetched: Option<Instant>,
    asked: Option<Instant>,
}

impl Verifier {
    /// With this secret.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        Self { secret: Some(DecodingKey::from_secret(secret.expose_secret().as_bytes())), published: None }
    }

    /// With the keys, too, that are published at `url` (`<project>/auth/v1/.well-known/jwks.json`). They are asked for when the
    /// first token needs them.
    #[must_use]
    pub fn published_at(mut self, url: Url) -> Self {
        let http =
            reqwest::Client::builder().timeout(ANSWER_WITHIN).redirect(reqwest::redirect::Policy::none()).build();
        self.published = Some(Arc::new(Published {
            url,
            http: http.unwrap_or_default(),
            keys: RwLock::default(),
            fetching: Mutex::default(),
        }));
        self
    }

    /// The claims of a token of ours that has not expired, by the secret alone.
    ///
    /// # Errors
    /// [`BadToken`], which tells no more than a client may know.
    pub fn verify(&self, token: &str) -> Result<Claims, BadToken> {
        let secret = self.secret.as_ref().ok_or(BadToken::Signature)?;
        decode(token, Algorithm::HS256, secret)
    }

    /// The claims of a token of ours that has not expired.
    pub(crate) async fn claims(&self, token: &str) -> Result<Claims, Unverified> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken::Invalid)?;
        match (&self.published, header.alg, header.kid) {
            (Some(published), Algorithm::ES256 | Algorithm::RS256 | Algorithm::EdDSA, Some(id)) => {
                let (algorithm, key) = published.key(&id).await?;
                Ok(decode(token, algorithm, &key)?)
            }
            _ => Ok(self.verify(token)?),
        }
    }
}

fn decode(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<Claims, BadToken> {
    let mut validation = Validation::new(algorithm);
    validation.validate_aud = false;
    validation.leeway = 0;
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation).map(|data| data.claims);
    // Whoever signed it may have a clock a little ahead of ours; one that is to count later does not count yet.
    let at = |claims: &Claims| claims.get("nbf").map(|nbf| nbf.as_f64().unwrap_or(f64::MAX));
    if decoded.as_ref().ok().and_then(at).is_some_and(|at| at > now() + AHEAD_SECONDS) {
        return Err(BadToken::Early);
    }
    decoded.map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => BadToken::Expired,
        ErrorKind::InvalidSignature => BadToken::Signature,
        ErrorKind::MissingRequiredClaim(_) => BadToken::Incomplete,
        _ => BadToken::Invalid,
    })
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn older(at: Option<Instant>, than: Duration) -> bool {
    at.is_none_or(|at| at.elapsed() > than)
}

impl Published {
    async fn key(&self, id: &str) -> Result<(Algorithm, DecodingKey), Unverified> {
        let (known, wanted) = self.look(id);
        if let (true, Some(known)) = (wanted, &known)
            && self.fetching.try_lock().is_err()
        {
            // Somebody asks already. What is known counts meanwhile.
            return Ok(known.clone());
        }
        if wanted {
            let _one = self.fetching.lock().await;
            if self.look(id).1 {
                let fetched = self.fetch().await;
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                keys.asked = Some(Instant::now());
                match fetched {
                    Ok(by_id) => *keys = Keys { by_id, fetched: keys.asked, asked: keys.asked },
                    Err(why) => {
                        tracing::warn!(keys.url = %self.url, %why, "the project's signing keys can not be fetched")
                    }
                }
            }
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if older(keys.fetched, KEYS_LAST_AT_MOST) {
            return Err(Unverified::NoKeys);
        }
        keys.by_id.get(id).cloned().ok_or(Unverified::Bad(BadToken::Signature))
    }

    /// A key that counts still, and whether the keys are to be asked for.
    fn look(&self, id: &str) -> (Option<(Algorithm, DecodingKey)>, bool) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let known = keys.by_id.get(id).filter(|_| !older(keys.fetched, KEYS_LAST_AT_MOST)).cloned();
        let wanted = (older(keys.fetched, KEYS_LAST) || known.is_none()) && older(keys.asked, ASK_AGAIN);
        (known, wanted)
    }

    async fn fetch(&self) -> Result<HashMap<String, (Algorithm, DecodingKey)>, String> {
        let told = |error: reqwest::Error| error.without_url().to_string();
        let response = self.http.get(self.url.clone()).send().await.map_err(told)?;
        let mut response = response.error_for_status().map_err(told)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > KEYS_BYTES {
                return Err(format!("the answer is larger than {} KB", KEYS_BYTES / 1024));
            }
            body.extend_from_slice(&chunk);
        }
        // Key by key: one of a kind that is not known here hides no other.
        let set: Value = serde_json::from_slice(&body).map_err(|error| format!("the answer is no JSON: {error}"))?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or("the answer has no list of keys")?;
        Ok(listed.iter().filter_map(|key| read(&Jwk::deserialize(key).ok()?)).collect())
    }
}

/// A key to verify with: its own kind says the algorithm. A shared secret in the set is none of ours to use.
fn read(key: &Jwk) -> Option<(String, (Algorithm, DecodingKey))> {
    let algorithm = match &key.algorithm {
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::OctetKeyPair(_) => Algorithm::EdDSA,
        _ => return None,
    };
    Some((key.common.key_id.clone()?, (algorithm, DecodingKey::from_jwk(key).ok()?)))
}
