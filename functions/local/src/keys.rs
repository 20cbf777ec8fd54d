//! Secrets of one data directory and the tokens made with them.

use crate::{
    error::{Attempt, Error, Result},
    files,
};
use hub_api::Verifier;
pub use hub_api::{BadToken, Claims};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rand::{Rng, distr::Alphanumeric};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// As long as the keys of a local Supabase: what a person pastes into a program must not end next week.
const LONG_SECONDS: i64 = 10 * 365 * 24 * 3600;

/// A random string of letters and digits: about 5.95 bits each.
#[must_use]
pub fn random_text(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

/// What the data directory keeps in `secrets.json`, mode 0600.
#[derive(Clone)]
pub struct Secrets {
    /// Signs every token (HS256).
    pub jwt_secret: SecretString,
    /// Password of the superuser `supabase_admin`.
    pub admin_password: SecretString,
    /// Password of `postgres`, as which everything migrates and works: a role that may start programs on this machine.
    pub postgres_password: SecretString,
    /// Password of `authenticator`, as which REST signs in.
    pub authenticator_password: SecretString,
    /// Password of `supabase_auth_admin`, as which sign-in reads and writes `auth`.
    pub auth_password: SecretString,
    /// Password of `hub_realtime`, as which Realtime follows the log and asks policies.
    pub realtime_password: SecretString,
    /// Password of operator@hub.local.
    pub operator_password: SecretString,
    /// Password of viewer@hub.local.
    pub viewer_password: SecretString,
    /// Password of outsider@hub.local.
    pub outsider_password: SecretString,
    /// Password of the device `dev`'s own user.
    pub device_password: SecretString,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    jwt_secret: String,
    admin_password: String,
    /// A directory made before there was one gets its own at the next start.
    #[serde(default = "random_password")]
    postgres_password: String,
    authenticator_password: String,
    auth_password: String,
    #[serde(default = "random_password")]
    realtime_password: String,
    operator_password: String,
    viewer_password: String,
    outsider_password: String,
    device_password: String,
}

fn random_password() -> String {
    random_text(32)
}

impl Secrets {
    /// Fresh random secrets.
    #[must_use]
    pub fn random() -> Self {
        Self::from(Stored {
            jwt_secret: random_text(64),
            admin_password: random_password(),
            postgres_password: random_password(),
            authenticator_password: random_text(32),
            auth_password: random_text(32),
            realtime_password: random_text(32),
            operator_password: random_text(20),
            viewer_password: random_text(20),
            outsider_password: random_text(20),
            device_password: random_text(43),
        })
    }

    /// Reads `path`; `None` if there is no such file.
    ///
    /// # Errors
    /// When the file can not be read or is not what [`Secrets::store`] writes.
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).attempt(|| format!("read {}", path.display())),
        };
        match serde_json::from_str::<Stored>(&text) {
            Ok(stored) => {
                let secrets = Self::from(stored);
                if !["\"postgres_password\"", "\"realtime_password\""].iter().all(|name| text.contains(name)) {
                    secrets.store(path)?;
                }
                Ok(Some(secrets))
            }
            // The parser's message would quote the text.
            Err(_) => Err(Error::BrokenData {
                path: path.parent().unwrap_or(path).to_path_buf(),
                why: "secrets.json is damaged".into(),
            }),
        }
    }

    /// Writes them, mode 0600.
    ///
    /// # Errors
    /// When the file can not be written.
    pub fn store(&self, path: &Path) -> Result<()> {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        let stored = Stored {
            jwt_secret: text(&self.jwt_secret),
            admin_password: text(&self.admin_password),
            postgres_password: text(&self.postgres_password),
            authenticator_password: text(&self.authenticator_password),
            auth_password: text(&self.auth_password),
            realtime_password: text(&self.realtime_password),
            operator_password: text(&self.operator_password),
            viewer_password: text(&self.viewer_password),
            outsider_password: text(&self.outsider_password),
            device_password: text(&self.device_password),
        };
        let json =
            serde_json::to_string_pretty(&stored).map_err(|error| Error::Machine(format!("secrets.json: {error}")))?;
        files::write_private(path, &json)
    }
}

impl From<Stored> for Secrets {
    fn from(stored: Stored) -> Self {
        Self {
            jwt_secret: stored.jwt_secret.into(),
            admin_password: stored.admin_password.into(),
            postgres_password: stored.postgres_password.into(),
            authenticator_password: stored.authenticator_password.into(),
            auth_password: stored.auth_password.into(),
            realtime_password: stored.realtime_password.into(),
            operator_password: stored.operator_password.into(),
            viewer_password: stored.viewer_password.into(),
            outsider_password: stored.outsider_password.into(),
            device_password: stored.device_password.into(),
        }
    }
}

/// Makes and verifies tokens: HS256 with the data directory's secret, nothing else.
#[derive(Clone)]
pub struct Keys {
    encoding: EncodingKey,
    verifier: Verifier,
    issuer: String,
}

impl Keys {
    /// `issuer` is what `iss` says, the address of the sign-in service.
    #[must_use]
    pub fn new(secret: &SecretString, issuer: impl Into<String>) -> Self {
        let encoding = EncodingKey::from_secret(secret.expose_secret().as_bytes());
        Self { encoding, verifier: Verifier::new(secret), issuer: issuer.into() }
    }

    /// The `iss` of the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs the claims as they are.
    ///
    /// # Errors
    /// Never with HS256 and JSON objects; the signature of the library has it.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding)
            .map_err(|error| Error::Machine(format!("sign a token: {error}")))
    }

    /// A key for programs, as Supabase's: no subject, a role, ten years.
    ///
    /// # Errors
    /// As [`Keys::sign`].
    pub fn api_key(&self, role: &str) -> Result<String> {
        let now = chrono::Utc::now().timestamp();
        self.sign(&json!({"iss": "supabase-local", "role": role, "iat": now, "exp": now + LONG_SECONDS}))
    }

    /// A user's token that lives ten years and belongs to no session: for `dev.env`.
    ///
    /// # Errors
    /// As [`Keys::sign`].
    pub fn long_token(&self, user: uuid::Uuid, email: &str, app: &Value, data: &Value) -> Result<String> {
        let now = chrono::Utc::now().timestamp();
        self.sign(&json!({
            "iss": self.issuer, "sub": user, "aud": "authenticated", "role": "authenticated", "email": email, "phone": "",
            "app_metadata": app, "user_metadata": data, "aal": "aal1", "is_anonymous": false,
            "iat": now, "exp": now + LONG_SECONDS,
        }))
    }

    /// The claims of a token of ours that has not expired.
    ///
    /// # Errors
    /// [`BadToken`], which tells no more than a client may know.
    pub fn verify(&self, token: &str) -> Result<Claims, BadToken> {
        self.verifier.verify(token)
    }

    /// What verifies them elsewhere.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_verifies_with_its_own_secret_only() {
        let ours = Keys::new(&random_text(64).into(), "http://127.0.0.1/auth/v1");
        let other = Keys::new(&random_text(64).into(), "http://127.0.0.1/auth/v1");
        let key = ours.api_key("anon").unwrap();
        assert_eq!(ours.verify(&key).unwrap()["role"], "anon");
        assert_eq!(other.verify(&key), Err(BadToken::Signature));
        let old = ours.sign(&json!({"role": "anon", "exp": 1})).unwrap();
        assert_eq!(ours.verify(&old), Err(BadToken::Expired));
        let eternal = ours.sign(&json!({"role": "service_role"})).unwrap();
        assert_eq!(ours.verify(&eternal), Err(BadToken::Incomplete), "a token must say when it ends");
    }

    #[test]
    fn secrets_are_loaded_as_stored_and_not_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.json");
        assert!(Secrets::load(&path).unwrap().is_none());
        let made = Secrets::random();
        made.store(&path).unwrap();
        let read = Secrets::load(&path).unwrap().unwrap();
        assert_eq!(read.jwt_secret.expose_secret(), made.jwt_secret.expose_secret());
        assert_eq!(read.postgres_password.expose_secret(), made.postgres_password.expose_secret());
        // One from before: it gets a password of its own, and keeps it.
        let mut before: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        before.as_object_mut().unwrap().remove("postgres_password");
        fs::write(&path, before.to_string()).unwrap();
        let given = Secrets::load(&path).unwrap().unwrap().postgres_password;
        assert_ne!(given.expose_secret(), "postgres");
        assert_eq!(Secrets::load(&path).unwrap().unwrap().postgres_password.expose_secret(), given.expose_secret());
        assert_ne!(made.jwt_secret.expose_secret(), Secrets::random().jwt_secret.expose_secret());
        fs::write(&path, "{\"jwt_secret\":\"tell nobody\"").unwrap();
        let error = Secrets::load(&path).err().unwrap().to_string();
        assert!(error.contains("--reset") && !error.contains("tell nobody"), "{error}");
    }
}
