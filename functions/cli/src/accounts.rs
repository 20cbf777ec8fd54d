//! Auth users: a device is one, and a person is looked up by the email they sign in with. Takes the service key.

use anyhow::{Context, Result, bail};
use hub::{Hub, db::Unnamed};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::target::Target;

/// What a device got.
pub struct Enrolled {
    pub secret: SecretString,
    /// It had another secret before, which is good for nothing now.
    pub replaced: bool,
}

/// Makes the Auth user that a device signs in as, or gives the one there is a new secret.
pub async fn enrol_device(target: &Target, name: &str) -> Result<Enrolled> {
    let (url, key) = target.project().context("a device is an Auth user: making one takes the project's API")?;
    let secret = SecretString::from(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
    let email = hub::config::device_email(name);
    let body = json!({
        "email": email, "password": secret.expose_secret(), "email_confirm": true, "app_metadata": { "device": name },
    });
    let found = find(&url, &key, &email).await?;
    match found {
        Some(user) => request(&url, &key, reqwest::Method::PUT, &format!("admin/users/{user}"), Some(body)).await?,
        None => request(&url, &key, reqwest::Method::POST, "admin/users", Some(body)).await?,
    };
    Ok(Enrolled { secret, replaced: found.is_some() })
}

/// A person by id or email.
pub async fn person(target: &Target, hub: &Hub, user: &str) -> Result<Uuid> {
    if let Ok(id) = user.parse() {
        return Ok(id);
    }
    if !user.contains('@') {
        bail!("{user:?} is neither a user's id nor an email");
    }
    let found = match hub {
        Hub::Postgres(db) => {
            let mut transaction = db.begin().await?;
            sqlx::query_scalar("select id from auth.users where lower(email) = lower($1)")
                .bind(user)
                .fetch_optional(Unnamed(&mut transaction))
                .await?
        }
        Hub::Api(_) => {
            let (url, key) = target.project()?;
            find(&url, &key, user).await?
        }
    };
    found.with_context(|| format!("nobody signs in with {user}: they must have signed up first"))
}

async fn find(url: &str, key: &SecretString, email: &str) -> Result<Option<Uuid>> {
    const PAGE: usize = 200;
    for page in 1.. {
        let answer =
            request(url, key, reqwest::Method::GET, &format!("admin/users?page={page}&per_page={PAGE}"), None).await?;
        let users = answer["users"].as_array().cloned().unwrap_or_default();
        if let Some(user) =
            users.iter().find(|user| user["email"].as_str().is_some_and(|e| e.eq_ignore_ascii_case(email)))
        {
            return Ok(user["id"].as_str().and_then(|id| id.parse().ok()));
        }
        if users.len() < PAGE {
            break;
        }
    }
    Ok(None)
}

async fn request(
    url: &str,
    key: &SecretString,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) -> Result<Value> {
    let client = reqwest::Client::builder().timeout(std::time::Duration::from_secs(20)).build()?;
    let mut request = client
        .request(method, format!("{}/auth/v1/{path}", url.trim_end_matches('/')))
        .header("apikey", key.expose_secret())
        .bearer_auth(key.expose_secret());
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response =
        request.send().await.map_err(|error| error.without_url()).with_context(|| format!("can not reach {url}"))?;
    let status = response.status();
    let answer: Value = response.json().await.unwrap_or_default();
    if !status.is_success() {
        let said = ["msg", "message", "error_description"]
            .iter()
            .find_map(|name| answer[*name].as_str())
            .unwrap_or("no reason given");
        bail!("sign-in service at {url}: {said} ({status})");
    }
    Ok(answer)
}
