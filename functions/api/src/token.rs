//! Tokens of the project, verified with its secret.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

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
    /// No token: its form or its algorithm.
    Invalid,
}

/// Verifies tokens: HS256 with the project's secret (`SUPABASE_JWT_SECRET`), nothing else.
#[derive(Clone)]
pub struct Verifier {
    secret: DecodingKey,
}

impl Verifier {
    /// With this secret.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        Self { secret: DecodingKey::from_secret(secret.expose_secret().as_bytes()) }
    }

    /// The claims of a token of ours that has not expired.
    ///
    /// # Errors
    /// [`BadToken`], which tells no more than a client may know.
    pub fn verify(&self, token: &str) -> Result<Claims, BadToken> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_aud = false;
        validation.leeway = 0;
        jsonwebtoken::decode::<Claims>(token, &self.secret, &validation).map(|data| data.claims).map_err(|error| {
            match error.kind() {
                ErrorKind::ExpiredSignature => BadToken::Expired,
                ErrorKind::InvalidSignature => BadToken::Signature,
                ErrorKind::MissingRequiredClaim(_) => BadToken::Incomplete,
                _ => BadToken::Invalid,
            }
        })
    }
}
