//! `github-webhook`: verified, then stored by its delivery id. What becomes of it is decided by rules, in the database, later: a crash
//! after the answer loses nothing.

use crate::{Problem, Request, Secrets, Step, call::Call, json::storable, signature};
use secrecy::{ExposeSecret, SecretString};

/// What is signed with, and the signature. A body is only read if there are both.
pub fn signed<'a, 's>(request: &Request<'a>, secrets: &'s Secrets) -> Result<(&'s SecretString, &'a str), Problem> {
    let secret = secrets.github_webhook.as_ref().ok_or_else(|| {
        Problem::new(503, "GitHub's webhooks are not configured here")
            .hint("Set GITHUB_WEBHOOK_SECRET to the webhook's secret.")
    })?;
    let given =
        (request.header)("x-hub-signature-256").filter(|given| given.starts_with("sha256=")).ok_or_else(unsigned)?;
    Ok((secret, given))
}

fn unsigned() -> Problem {
    Problem::new(401, "the signature is missing or wrong")
        .hint("The webhook's secret and GITHUB_WEBHOOK_SECRET must be the same.")
}

pub fn plan(request: &Request<'_>, secrets: &Secrets) -> Result<Step, Problem> {
    let (secret, given) = signed(request, secrets)?;
    if !signature::github(secret.expose_secret().as_bytes(), request.body, given) {
        return Err(unsigned());
    }
    let header = request.header;
    let named = |name: &str| {
        header(name)
            .filter(|value| (1..=200).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(str::to_owned)
            .ok_or_else(|| Problem::new(400, format!("the header {name} is missing or odd")))
    };
    let (delivery, event) = (named("x-github-delivery")?, named("x-github-event")?);
    let kind = header("content-type")
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    let payload = match kind.as_str() {
        "application/json" => storable(request.body)?,
        "application/x-www-form-urlencoded" => {
            let (_, payload) = form_urlencoded::parse(request.body)
                .find(|(name, _)| name == "payload")
                .ok_or_else(|| Problem::new(400, "the form has no field payload"))?;
            storable(payload.as_bytes())?
        }
        _ => return Err(Problem::new(415, "the body must be application/json or application/x-www-form-urlencoded")),
    };
    if !payload.get().trim_start().starts_with('{') {
        return Err(Problem::new(400, "the payload must be an object"));
    }
    Ok(Step::Call(Call::Webhook { provider: "github", delivery, event, payload }))
}
