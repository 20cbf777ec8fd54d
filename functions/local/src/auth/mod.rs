//! Sign-in: as much of Supabase Auth's `/auth/v1` as its clients use, over the same tables. No mail is sent, so what needs a mail
//! (recovery, magic links) is not here, and an address counts as confirmed.

mod admin;
mod refusal;
mod session;
mod users;

pub use users::{NewUser, User};

use crate::{
    bounds::Tries,
    keys::{BadToken, Claims, Keys, Secrets},
    postgres::connect_options,
    rest::bearer,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, Query, Request, State},
    http::{HeaderMap, StatusCode},
    middleware,
    response::IntoResponse,
    routing::{any, get, post},
};
use refusal::{Answer, Refusal};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use uuid::Uuid;

const MAX_BODY_BYTES: usize = 1024 * 1024;
/// What Supabase Auth uses; about 50 ms.
const BCRYPT_COST: u32 = 10;
/// Longer ones bcrypt would cut.
const MAX_PASSWORD_BYTES: usize = 72;
const MIN_PASSWORD_CHARACTERS: usize = 6;

/// What is open to strangers.
#[derive(Clone, Debug)]
pub struct AuthOptions {
    /// Whether anybody may sign up; a local Supabase lets them.
    pub signup: bool,
    /// Whether one may sign in without an address; a local Supabase does not let them.
    pub anonymous: bool,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self { signup: true, anonymous: false }
    }
}

/// The sign-in service of one stack.
#[derive(Clone)]
pub struct Auth {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    keys: Keys,
    options: AuthOptions,
    /// A hash of nothing anybody knows: checking an unknown address takes as long as a known one.
    nobody: String,
    /// Hashing takes a core; strangers must not take them all.
    hashing: Semaphore,
    tries: Tries,
}

impl Auth {
    /// Connects to the database on `port` of this machine.
    ///
    /// # Errors
    /// When the database can not be reached.
    pub async fn start(port: u16, secrets: &Secrets, keys: Keys, options: AuthOptions) -> crate::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(6)
            .acquire_timeout(Duration::from_secs(8))
            .connect_with(connect_options(port, "supabase_auth_admin", &secrets.auth_password))
            .await?;
        let nobody =
            hash(crate::keys::random_text(32)).await.map_err(|_| crate::Error::Machine("bcrypt failed".into()))?;
        Ok(Self {
            inner: Arc::new(Inner { pool, keys, options, nobody, hashing: Semaphore::new(2), tries: Tries::default() }),
        })
    }

    /// The routes, without their mount `/auth/v1`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/health", get(health))
            .route("/settings", get(settings))
            .route("/.well-known/jwks.json", get(key_set))
            .route("/signup", post(signup))
            .route("/token", post(token))
            .route("/logout", post(logout))
            .route("/user", get(get_user).put(put_user))
            .route("/admin/users", get(admin::list).post(admin::create))
            .route("/admin/users/{id}", get(admin::show).put(admin::update).delete(admin::delete))
            .fallback(any(unknown))
            .method_not_allowed_fallback(wrong_method)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn(refusal::render))
            .with_state(self.clone())
    }

    /// Makes a user, or brings an existing one of that address to what `wanted` says. For whoever sets a stack up.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn ensure_user(&self, wanted: NewUser) -> crate::Result<User> {
        let found = users::by_email(&self.inner.pool, &wanted.email).await?;
        let password = match &wanted.password {
            Some(password) => {
                let known = match found.as_ref().and_then(|user| user.encrypted_password.clone()) {
                    Some(known) => self.password_is(password, Some(known)).await.unwrap_or(false),
                    None => false,
                };
                if known {
                    None
                } else {
                    Some(hash(password.clone()).await.map_err(|_| crate::Error::Machine("bcrypt failed".into()))?)
                }
            }
            None => None,
        };
        let mut transaction = self.inner.pool.begin().await?;
        let user = match found {
            Some(user) => users::set_up(&mut transaction, user.id, password.as_deref(), &wanted.app_metadata).await?,
            None => users::insert(&mut transaction, &wanted, password.as_deref()).await?,
        };
        transaction.commit().await?;
        Ok(user)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.inner.pool.close().await;
    }

    /// Compares, in about the same time whether there is a hash or not.
    async fn password_is(&self, password: &str, hash: Option<String>) -> Result<bool, Refusal> {
        let _turn = self.inner.hashing.acquire().await.map_err(Refusal::internal)?;
        let known = hash.as_deref().is_some_and(|hash| !hash.is_empty());
        let against = if known { hash.unwrap_or_default() } else { self.inner.nobody.clone() };
        let password = password.to_owned();
        let same = tokio::task::spawn_blocking(move || {
            // A password longer than any that was set is wrong, after the same work.
            let fits = password.len() <= MAX_PASSWORD_BYTES && !password.contains('\0');
            let tried = if fits { password.as_str() } else { "" };
            bcrypt::verify(tried, &against).unwrap_or(false) && fits
        })
        .await
        .map_err(Refusal::internal)?;
        Ok(same && known)
    }

    async fn hashed(&self, password: &str) -> Result<String, Refusal> {
        strong(password)?;
        let _turn = self.inner.hashing.acquire().await.map_err(Refusal::internal)?;
        hash(password.to_owned()).await.map_err(|()| Refusal::internal("bcrypt"))
    }

    fn claims(&self, headers: &HeaderMap) -> Result<Claims, Refusal> {
        let token = bearer(headers).filter(|token| !token.is_empty()).ok_or_else(|| {
            Refusal::new(StatusCode::UNAUTHORIZED, "no_authorization", "This endpoint requires a valid Bearer token")
        })?;
        self.inner.keys.verify(token).and_then(at_once).map_err(|bad| {
            let why = match bad {
                BadToken::Expired => "token has invalid claims: token is expired",
                BadToken::Early => "token has invalid claims: token is not valid yet",
                BadToken::Incomplete => "token has invalid claims: exp claim is required",
                BadToken::Signature => "token signature is invalid: signature is invalid",
                BadToken::Invalid => "token is malformed: token contains an invalid number of segments",
            };
            Refusal::new(
                StatusCode::FORBIDDEN,
                "bad_jwt",
                format!("invalid JWT: unable to parse or verify signature, {why}"),
            )
        })
    }

    /// The user of the bearer token and, when the token belongs to one, the session, which must still be there.
    async fn caller(&self, headers: &HeaderMap) -> Result<(User, Option<Uuid>), Refusal> {
        let claims = self.claims(headers)?;
        let missing = |what: &str| Refusal::new(StatusCode::FORBIDDEN, "bad_jwt", format!("invalid claim: {what}"));
        let subject = claims
            .get("sub")
            .and_then(Value::as_str)
            .filter(|sub| !sub.is_empty())
            .ok_or_else(|| missing("missing sub claim"))?;
        let id = Uuid::parse_str(subject)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "bad_jwt", "invalid claim: sub claim must be a UUID"))?;
        let user = users::by_id(&self.inner.pool, id).await?.ok_or_else(|| {
            Refusal::new(StatusCode::FORBIDDEN, "user_not_found", "User from sub claim in JWT does not exist")
        })?;
        let session = match claims.get("session_id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            Some(text) => {
                let session = Uuid::parse_str(text).map_err(|_| missing("session_id claim must be a UUID"))?;
                if !session::exists(&self.inner.pool, session, id).await? {
                    return Err(Refusal::new(
                        StatusCode::FORBIDDEN,
                        "session_not_found",
                        "Session from session_id claim in JWT does not exist",
                    ));
                }
                Some(session)
            }
            None => None,
        };
        // Of before the ban.
        if user.is_banned() {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "user_banned", "User is banned"));
        }
        Ok((user, session))
    }
}

fn strong(password: &str) -> Result<(), Refusal> {
    if password.chars().count() < MIN_PASSWORD_CHARACTERS {
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "weak_password",
            format!("Password should be at least {MIN_PASSWORD_CHARACTERS} characters."),
        )
        .with("weak_password", json!({"reasons": ["length"]})));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(Refusal::bad(format!("Password cannot be longer than {MAX_PASSWORD_BYTES} characters")));
    }
    if password.contains('\0') {
        return Err(Refusal::bad("Password cannot contain a null character"));
    }
    Ok(())
}

async fn hash(password: String) -> Result<String, ()> {
    tokio::task::spawn_blocking(move || bcrypt::hash(password, BCRYPT_COST)).await.map_err(|_| ())?.map_err(|_| ())
}

/// A JSON body.
struct Body<T>(T);

/// A JSON body, or none, which counts as `{}`.
struct PerhapsBody<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        read(&body_of(request, state).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for PerhapsBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = body_of(request, state).await?;
        read(if bytes.is_empty() { b"{}" } else { &bytes }).map(Self)
    }
}

async fn body_of<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Refusal> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "request_entity_too_large",
                format!("Request body too large (max {MAX_BODY_BYTES} bytes)"),
            )
        } else {
            Refusal::bad("Could not read the request's body")
        }
    })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if has_nul(bytes) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "validation_failed",
            "A text has the character NUL, which can not be kept",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        // The parser's own words may quote the input; where it stopped is enough.
        let why = match error.is_eof() {
            true => "unexpected end of JSON input".to_owned(),
            false => format!("unexpected value at line {} column {}", error.line(), error.column()),
        };
        Refusal::new(StatusCode::BAD_REQUEST, "bad_json", format!("Could not parse request body as JSON: {why}"))
    })
}

/// Whether a text in this JSON has the character that Postgres has in no text.
fn has_nul(json: &[u8]) -> bool {
    let mut escaped = false;
    json.iter().enumerate().any(|(at, byte)| {
        let begins = escaped && json[at..].starts_with(b"u0000");
        escaped = *byte == b'\\' && !escaped;
        begins
    })
}

/// Supabase Auth allows nobody's clock to be ahead, the rest of the stack a few seconds.
fn at_once(claims: Claims) -> Result<Claims, BadToken> {
    let now = chrono::Utc::now().timestamp_micros();
    // Seconds since 1970 have fifteen digits and more left.
    #[allow(clippy::cast_precision_loss, reason = "microseconds of these centuries are exact")]
    let early = claims.get("nbf").and_then(Value::as_f64).is_some_and(|nbf| nbf * 1e6 > now as f64);
    if early { Err(BadToken::Early) } else { Ok(claims) }
}

async fn health() -> Json<Value> {
    Json(
        json!({"version": env!("CARGO_PKG_VERSION"), "name": "Aura Hub local sign-in", "description": "Sign-in of hub dev, for one machine"}),
    )
}

async fn settings(State(auth): State<Auth>) -> Json<Value> {
    Json(json!({
        "external": {"anonymous_users": auth.inner.options.anonymous, "email": true, "phone": false},
        "disable_signup": !auth.inner.options.signup, "mailer_autoconfirm": true, "phone_autoconfirm": false,
        "sms_provider": "", "saml_enabled": false, "mfa_enabled": false, "passkeys_enabled": false,
    }))
}

/// Tokens are signed with a shared secret, so there is no key to publish.
async fn key_set() -> Json<Value> {
    Json(json!({"keys": []}))
}

async fn unknown() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "Not here: a local stack signs in with passwords and sends no mail",
    )
}

async fn wrong_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed")
}

#[derive(Deserialize)]
struct SignUp {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    data: Option<Map<String, Value>>,
}

async fn signup(State(auth): State<Auth>, headers: HeaderMap, Body(ask): Body<SignUp>) -> Answer {
    let inner = &auth.inner;
    let open = || match inner.options.signup {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "signup_disabled",
            "Signups not allowed for this instance",
        )),
    };
    let given = |field: &Option<String>| field.as_deref().unwrap_or("").trim().to_owned();
    let (email, phone) = (given(&ask.email), given(&ask.phone));
    if email.is_empty() && phone.is_empty() {
        if !inner.options.anonymous {
            return Err(Refusal::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "anonymous_provider_disabled",
                "Anonymous sign-ins are disabled",
            ));
        }
        open()?;
        let mut transaction = inner.pool.begin().await?;
        let user = users::insert_anonymous(&mut transaction, ask.data.unwrap_or_default()).await?;
        let session = session::open(&mut transaction, &inner.keys, &user, "anonymous", &headers).await?;
        transaction.commit().await?;
        return Ok(session.into_response());
    }
    open()?;
    let password = ask.password.as_deref().filter(|password| !password.is_empty());
    let password = password.ok_or_else(|| Refusal::bad("Signup requires a valid password"))?;
    strong(password)?;
    if !email.is_empty() && !phone.is_empty() {
        return Err(Refusal::bad("Only an email address or phone number should be provided on signup."));
    }
    if email.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "phone_provider_disabled", "Phone signups are disabled"));
    }
    let email = users::address(&email)?;
    let password = auth.hashed(password).await?;
    let mut wanted = NewUser::new(&email);
    wanted.user_metadata = ask.data.unwrap_or_default();
    wanted.signed_up = true;
    let mut transaction = inner.pool.begin().await?;
    let user = users::insert(&mut transaction, &wanted, Some(&password)).await.map_err(|error| {
        Refusal::taken(&error, "user_already_exists", "User already registered")
            .unwrap_or_else(|| Refusal::saving(&error))
    })?;
    let session = session::open(&mut transaction, &inner.keys, &user, "password", &headers).await?;
    transaction.commit().await?;
    Ok(session.into_response())
}

#[derive(Deserialize)]
struct Grant {
    #[serde(default)]
    grant_type: String,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
}

async fn token(
    State(auth): State<Auth>,
    Query(grant): Query<Grant>,
    headers: HeaderMap,
    Body(given): Body<Credentials>,
) -> Answer {
    let session = match grant.grant_type.as_str() {
        "password" => {
            let email = given.email.as_deref().unwrap_or("").trim().to_lowercase();
            let phone = given.phone.as_deref().is_some_and(|phone| !phone.is_empty());
            // None at all is a wrong one.
            let password = given.password.unwrap_or_default();
            if !email.is_empty() && phone {
                return Err(Refusal::bad("Only an email address or phone number should be provided on login."));
            }
            if phone {
                return Err(Refusal::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "phone_provider_disabled",
                    "Phone logins are disabled",
                ));
            }
            if email.is_empty() {
                return Err(Refusal::bad("missing email or phone"));
            }
            // Of an account that is not there, too: that one waits tells nothing.
            if let Some(wait) = auth.inner.tries.wait(&email) {
                return Err(Refusal::later(wait));
            }
            let user = users::by_email(&auth.inner.pool, &email).await?;
            let right =
                auth.password_is(&password, user.as_ref().and_then(|user| user.encrypted_password.clone())).await?;
            let wrong = || Refusal::new(StatusCode::BAD_REQUEST, "invalid_credentials", "Invalid login credentials");
            let Some(user) = user.filter(|_| right) else {
                auth.inner.tries.wrong(&email);
                return Err(wrong());
            };
            auth.inner.tries.right(&email);
            user.may_sign_in()?;
            let mut transaction = auth.inner.pool.begin().await?;
            let user = users::signed_in(&mut transaction, user.id).await?;
            let session = session::open(&mut transaction, &auth.inner.keys, &user, "password", &headers).await?;
            transaction.commit().await?;
            session
        }
        "refresh_token" => {
            let token = given.refresh_token.unwrap_or_default();
            if token.is_empty() {
                return Err(Refusal::bad("refresh_token required"));
            }
            session::refresh(&auth.inner.pool, &auth.inner.keys, &token).await?
        }
        _ => return Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid_credentials", "unsupported_grant_type")),
    };
    Ok(session.into_response())
}

#[derive(Deserialize)]
struct Scope {
    #[serde(default)]
    scope: Option<String>,
}

async fn logout(State(auth): State<Auth>, Query(scope): Query<Scope>, headers: HeaderMap) -> Answer {
    let (user, session) = auth.caller(&headers).await?;
    match scope.scope.as_deref().unwrap_or("global") {
        "global" => session::end_all(&auth.inner.pool, user.id, None).await?,
        "local" => session::end(&auth.inner.pool, session).await?,
        "others" => session::end_all(&auth.inner.pool, user.id, session).await?,
        other => return Err(Refusal::bad(format!("Unsupported logout scope {other:?}"))),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn get_user(State(auth): State<Auth>, headers: HeaderMap) -> Answer {
    let (user, _) = auth.caller(&headers).await?;
    let identities = users::identities(&auth.inner.pool, &[user.id]).await?;
    Ok(Json(user.json(&identities)).into_response())
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    data: Option<Map<String, Value>>,
    #[serde(default)]
    app_metadata: Option<Value>,
    #[serde(default)]
    phone: Option<String>,
}

async fn put_user(State(auth): State<Auth>, headers: HeaderMap, Body(change): Body<Change>) -> Answer {
    let (user, session) = auth.caller(&headers).await?;
    if change.app_metadata.is_some() {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "not_admin",
            "Updating app_metadata requires admin privileges",
        ));
    }
    if change.phone.as_deref().is_some_and(|phone| !phone.is_empty()) {
        return Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "phone_provider_disabled",
            "Phone changes are disabled",
        ));
    }
    let email = match change.email.as_deref().map(str::trim).filter(|email| !email.is_empty()) {
        Some(email) => Some(users::address(email)?).filter(|email| Some(email) != user.email.as_ref()),
        None => None,
    };
    let password = match change.password.as_deref().filter(|password| !password.is_empty()) {
        Some(password) => {
            if auth.password_is(password, user.encrypted_password.clone()).await? {
                return Err(Refusal::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "same_password",
                    "New password should be different from the old password.",
                ));
            }
            Some(auth.hashed(password).await?)
        }
        None => None,
    };
    let mut transaction = auth.inner.pool.begin().await?;
    let update = users::Update {
        email: email.as_deref(),
        password: password.as_deref(),
        user_metadata: change.data.as_ref(),
        // No mail is sent here: a changed address counts as confirmed.
        confirm: email.is_some(),
        ..Default::default()
    };
    let user = users::update(&mut transaction, user.id, &update).await.map_err(|error| {
        Refusal::taken(&error, "email_exists", "A user with this email address has already been registered")
            .unwrap_or_else(|| Refusal::saving(&error))
    })?;
    if password.is_some() {
        // Whoever knew the old password is out.
        session::end_all(&mut *transaction, user.id, session).await?;
    }
    let identities = users::identities(&mut *transaction, &[user.id]).await?;
    transaction.commit().await?;
    Ok(Json(user.json(&identities)).into_response())
}
