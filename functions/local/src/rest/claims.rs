//! Who asks: the role and the claims of a bearer token, checked as PostgREST checks them and refused in its words.

use super::{refusal::Refusal, schema::Settings};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

/// Clocks differ by as much.
const LEEWAY_SECONDS: i64 = 30;

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The role that the transaction takes.
    pub role: String,
    /// `request.jwt.claims`: a JSON object that has the role.
    pub claims: String,
    /// It has another role than those who show no token.
    pub known: bool,
    /// The claim `sub`.
    pub subject: Option<String>,
    /// There is a token, and it does not say when it ends.
    pub endless: bool,
}

impl Caller {
    /// Whom to count its requests to: the token's subject, else its role.
    pub fn name(&self) -> &str {
        self.subject.as_deref().unwrap_or(&self.role)
    }

    /// PostgREST takes a token that lasts for ever; on a port of this machine that is no token to hand out.
    ///
    /// # Errors
    /// 401, PGRST303.
    pub fn ending(self) -> Result<Self, Refusal> {
        if self.endless { Err(no_claims("The JWT does not say when it ends ('exp')")) } else { Ok(self) }
    }
}

/// Reads tokens of the project: HS256 with its secret, whatever a token says of itself.
#[derive(Clone)]
pub struct Tokens {
    key: DecodingKey,
}

impl Tokens {
    /// With the project's secret.
    pub fn new(secret: &SecretString) -> Self {
        Self { key: DecodingKey::from_secret(secret.expose_secret().as_bytes()) }
    }

    /// Who sends a request with these headers at this time (seconds since 1970).
    ///
    /// # Errors
    /// 401: PGRST301 for what is no token of the project, PGRST303 for claims that do not count, PGRST302 for none where a token
    /// is needed.
    pub fn caller(&self, headers: &HeaderMap, settings: &Settings, now: i64) -> Result<Caller, Refusal> {
        let token = bearer(headers);
        let mut claims = match token {
            Some(token) => {
                let claims = self.decoded(token)?;
                check(&claims, settings.audience.as_deref(), now)?;
                claims
            }
            None => Map::new(),
        };
        let role = settings
            .role_claim
            .split_first()
            .and_then(|(first, rest)| rest.iter().try_fold(claims.get(first)?, step))
            .map(|role| role.as_str().map_or_else(|| role.to_string(), str::to_owned))
            .or_else(|| settings.anon_role.clone())
            .ok_or_else(no_token)?;
        let subject = claims.get("sub").and_then(Value::as_str).map(str::to_owned);
        let known = settings.anon_role.as_deref() != Some(&role);
        let endless = token.is_some() && claims.get("exp").is_none_or(Value::is_null);
        claims.insert("role".into(), role.clone().into());
        Ok(Caller { role, claims: Value::Object(claims).to_string(), known, subject, endless })
    }

    fn decoded(&self, token: &str) -> Result<Map<String, Value>, Refusal> {
        if token.is_empty() {
            return Err(no_jwt("Empty JWT is sent in Authorization header"));
        }
        let parts = token.split('.').count();
        if parts != 3 {
            return Err(no_jwt(&format!("Expected 3 parts in JWT; got {parts}")));
        }
        // A header that names an algorithm nobody knows, `none` among them, can not be read.
        jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            ErrorKind::Json(_) => no_jwt("Wrong or unsupported encoding algorithm"),
            _ => no_jwt("JWT couldn't be decoded"),
        })?;
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        jsonwebtoken::decode(token, &self.key, &validation).map(|data| data.claims).map_err(|error| {
            match error.kind() {
                ErrorKind::InvalidAlgorithm => {
                    no_jwt("No suitable key or wrong key type").details("No suitable key was found to decode the JWT")
                }
                ErrorKind::InvalidSignature => {
                    no_jwt("No suitable key or wrong key type").details("None of the keys was able to decode the JWT")
                }
                // The signature counts, so somebody who has the secret wrote something else.
                ErrorKind::Json(_) => no_claims("Parsing claims failed"),
                _ => no_jwt("JWT couldn't be decoded"),
            }
        })
    }
}

/// The token of `Authorization`, which may be empty; of another scheme none.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || token.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    // What is no text has no three parts either.
    Some(std::str::from_utf8(token).map_or("?", str::trim))
}

fn step<'v>(value: &'v Value, part: &String) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.get(part),
        Value::Array(members) => members.get(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn check(claims: &Map<String, Value>, audience: Option<&str>, now: i64) -> Result<(), Refusal> {
    let claim = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let time = |name: &str| match claim(name) {
        None => Ok(None),
        Some(value) => value
            .as_i64()
            .or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64))
            .map(Some)
            .ok_or_else(|| no_claims(&format!("The JWT '{name}' claim must be a number"))),
    };
    match time("exp")? {
        Some(ends) if now.saturating_sub(LEEWAY_SECONDS) > ends => return Err(no_claims("JWT expired")),
        Some(_) | None => {}
    }
    let ahead = now.saturating_add(LEEWAY_SECONDS);
    if time("nbf")?.is_some_and(|begins| begins > ahead) {
        return Err(no_claims("JWT not yet valid"));
    }
    if time("iat")?.is_some_and(|issued| issued > ahead) {
        return Err(no_claims("JWT issued at future"));
    }
    let is_ours = |named: &str| audience.is_none_or(|audience| audience == named);
    let no_audience = || no_claims("The JWT 'aud' claim must be a string or an array of strings");
    let meant = match claim("aud") {
        None => true,
        Some(Value::String(named)) => is_ours(named),
        Some(Value::Array(listed)) => {
            let named: Vec<&str> =
                listed.iter().map(|one| one.as_str().ok_or_else(no_audience)).collect::<Result<_, _>>()?;
            named.is_empty() || named.into_iter().any(is_ours)
        }
        Some(_) => return Err(no_audience()),
    };
    if meant { Ok(()) } else { Err(no_claims("JWT not in audience")) }
}

fn no_jwt(message: &str) -> Refusal {
    invalid("PGRST301", message)
}

fn no_claims(message: &str) -> Refusal {
    invalid("PGRST303", message)
}

fn invalid(code: &'static str, message: &str) -> Refusal {
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, code, message);
    let told = format!("Bearer error=\"invalid_token\", error_description=\"{message}\"");
    match HeaderValue::try_from(told) {
        Ok(value) => refusal.header(header::WWW_AUTHENTICATE, value),
        Err(_) => refusal,
    }
}

fn no_token() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "PGRST302", "Anonymous access is disabled")
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;
    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    const SECRET: &str = "a secret that is long enough for anybody";
    const NOW: i64 = 1_800_000_000;

    fn signed(algorithm: Algorithm, claims: &Value, secret: &str) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn asked(value: Option<&str>, settings: &Settings) -> Result<Caller, (String, String)> {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Tokens::new(&SECRET.to_owned().into()).caller(&headers, settings, NOW).map_err(|refusal| {
            let code = refusal.code().to_owned();
            let answer = refusal.into_response();
            assert_eq!(answer.status(), 401);
            (code, answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned())
        })
    }

    fn with(claims: Value) -> Result<Caller, (String, String)> {
        asked(Some(&format!("Bearer {}", signed(Algorithm::HS256, &claims, SECRET))), &Settings::default())
    }

    #[test]
    fn a_token_without_an_end_is_told_apart() {
        let settings = Settings::default();
        for (claims, endless) in [(json!({}), true), (json!({"exp": null}), true), (json!({"exp": NOW}), false)] {
            let value = format!("Bearer {}", signed(Algorithm::HS256, &claims, SECRET));
            let caller = asked(Some(&value), &settings).unwrap();
            assert_eq!((caller.endless, caller.ending().is_err()), (endless, endless));
        }
        assert!(asked(None, &settings).unwrap().ending().is_ok());
    }

    #[test]
    fn a_token_of_the_project_says_who_asks() {
        let caller =
            with(json!({"role": "authenticated", "sub": "ada", "exp": NOW, "app_metadata": {"a": 1}})).unwrap();
        assert_eq!(
            (caller.role.as_str(), caller.known, caller.subject.as_deref()),
            ("authenticated", true, Some("ada"))
        );
        let claims: Value = serde_json::from_str(&caller.claims).unwrap();
        assert_eq!(claims, json!({"role": "authenticated", "sub": "ada", "exp": NOW, "app_metadata": {"a": 1}}));

        let nobody = asked(None, &Settings::default()).unwrap();
        assert_eq!((nobody.role.as_str(), nobody.known, nobody.claims.as_str()), ("anon", false, r#"{"role":"anon"}"#));
        assert_eq!(asked(Some("Basic YTpi"), &Settings::default()).unwrap(), nobody, "another scheme is none");
        assert_eq!(with(json!({"exp": NOW, "role": 7})).unwrap().role, "7");
        assert_eq!(with(json!({"exp": NOW})).unwrap().role, "anon");
    }

    #[test]
    fn the_role_may_be_elsewhere_and_nobody_unwelcome() {
        let mut settings =
            Settings { role_claim: vec!["roles".into(), "1".into()], anon_role: None, ..Settings::default() };
        let token = |claims| format!("bearer {}", signed(Algorithm::HS256, &claims, SECRET));
        let caller = asked(Some(&token(json!({"roles": ["a", "b"], "exp": NOW}))), &settings).unwrap();
        assert_eq!((caller.role.as_str(), caller.known), ("b", true));
        for value in [None, Some(token(json!({"role": "b", "exp": NOW})))] {
            assert_eq!(asked(value.as_deref(), &settings).unwrap_err(), ("PGRST302".into(), "Bearer".into()));
        }
        settings = Settings { audience: Some("us".into()), ..Settings::default() };
        for (audience, fits) in [
            (json!("us"), true),
            (json!(["them", "us"]), true),
            (json!([]), true),
            (Value::Null, true),
            (json!("them"), false),
            (json!(["them"]), false),
        ] {
            let caller = asked(Some(&token(json!({"aud": audience, "exp": NOW}))), &settings);
            assert_eq!(caller.is_ok(), fits, "{audience}");
        }
    }

    #[test]
    fn clocks_may_differ_by_half_a_minute() {
        for claims in [
            json!({"exp": NOW - 30}),
            json!({"exp": NOW, "nbf": NOW + 30}),
            json!({"exp": NOW, "iat": NOW + 30}),
            json!({"exp": NOW as f64 + 0.5}),
        ] {
            assert!(with(claims.clone()).is_ok(), "{claims}");
        }
        for (claims, message) in [
            (json!({"exp": NOW - 31}), "JWT expired"),
            (json!({"exp": NOW, "nbf": NOW + 31}), "JWT not yet valid"),
            (json!({"exp": NOW, "iat": NOW + 31}), "JWT issued at future"),
            (json!({"exp": "invalid"}), "The JWT 'exp' claim must be a number"),
            (json!({"exp": NOW, "nbf": "invalid"}), "The JWT 'nbf' claim must be a number"),
            (json!({"exp": NOW, "iat": []}), "The JWT 'iat' claim must be a number"),
            (json!({"exp": NOW, "aud": {"a": "b"}}), "The JWT 'aud' claim must be a string or an array of strings"),
            (json!({"exp": NOW, "aud": ["a", 1]}), "The JWT 'aud' claim must be a string or an array of strings"),
        ] {
            let told = format!("Bearer error=\"invalid_token\", error_description=\"{message}\"");
            assert_eq!(with(claims.clone()).unwrap_err(), ("PGRST303".into(), told), "{claims}");
        }
    }

    #[test]
    fn what_is_no_token_of_the_project_is_refused() {
        let good = signed(Algorithm::HS256, &json!({"role": "service_role", "exp": NOW}), SECRET);
        let parts: Vec<&str> = good.split('.').collect();
        let (head, body, signature) = (parts[0], parts[1], parts[2]);
        // {"alg":"none"}, {"alg":"RS256"} over our secret, and a body that somebody else wrote.
        let none = "eyJhbGciOiJub25lIn0";
        let rsa = "eyJhbGciOiJSUzI1NiJ9";
        let other = signed(Algorithm::HS256, &json!({"role": "service_role", "exp": NOW + 1}), SECRET);
        let other_body = other.split('.').nth(1).unwrap();
        for (token, message) in [
            (String::new(), "Empty JWT is sent in Authorization header"),
            ("rubbish".into(), "Expected 3 parts in JWT; got 1"),
            (format!("{head}.{body}"), "Expected 3 parts in JWT; got 2"),
            (format!("{good}.{signature}"), "Expected 3 parts in JWT; got 4"),
            ("a.b.c".into(), "JWT couldn't be decoded"),
            ("..".into(), "Wrong or unsupported encoding algorithm"),
            (format!("{none}.{body}."), "Wrong or unsupported encoding algorithm"),
            (format!("{none}.{body}.{signature}"), "Wrong or unsupported encoding algorithm"),
            (format!("{rsa}.{body}.{signature}"), "No suitable key or wrong key type"),
            (format!("{head}.{body}."), "No suitable key or wrong key type"),
            (format!("{head}.{other_body}.{signature}"), "No suitable key or wrong key type"),
            (signed(Algorithm::HS256, &json!({"exp": NOW}), "another secret"), "No suitable key or wrong key type"),
            (signed(Algorithm::HS256, &json!({"exp": NOW}), ""), "No suitable key or wrong key type"),
            (signed(Algorithm::HS512, &json!({"exp": NOW}), SECRET), "No suitable key or wrong key type"),
        ] {
            let told = format!("Bearer error=\"invalid_token\", error_description=\"{message}\"");
            assert_eq!(
                asked(Some(&format!("Bearer {token}")), &Settings::default()).unwrap_err(),
                ("PGRST301".into(), told),
                "{token}"
            );
        }
        assert_eq!(asked(Some("Bearer"), &Settings::default()).unwrap_err().0, "PGRST301");
        let told = "Bearer error=\"invalid_token\", error_description=\"Parsing claims failed\"";
        assert_eq!(with(json!([1])).unwrap_err(), ("PGRST303".into(), told.into()));
    }
}
