//! `github-webhook`: verified, then stored by its delivery id. What becomes of it is decided by rules, in the database, later: a crash
//! after the answer loses nothing.

use crate::{
    GITHUB_NAMED, Problem, Request, Response, Secrets, Step,
    call::{Answers, Call},
    json::storable,
    signature,
};
use secrecy::ExposeSecret;
use serde_json::Value;

/// The deployment's own.
const SECRET: &str = "GITHUB_WEBHOOK_SECRET";

/// Stored, and looked at later. The same delivery again is no news, and no error.
const ANSWERS: Answers = Answers::new(
    |value, _| {
        let known = value.get("duplicate") == Some(&Value::Bool(true));
        Response::json(if known { 200 } else { 202 }, value)
    },
    Answers::PROBLEM,
);

/// What a request is to be signed with, and by what name the database knows that.
pub struct Signed<'a, 's> {
    /// None: nobody has such a secret. A signature is computed all the same, so that the time it takes tells nothing.
    secret: Option<&'s str>,
    name: String,
    given: &'a str,
}

/// What is signed with, and the signature. A body is only read if there is a signature, and a secret that it may be of.
pub fn signed<'a, 's>(request: &Request<'a>, secrets: &'s Secrets) -> Result<Signed<'a, 's>, Problem> {
    if secrets.github_webhook.is_none() && secrets.github_named.is_empty() {
        return Err(Problem::new(503, "GitHub's webhooks are not configured here")
            .hint("Set GITHUB_WEBHOOK_SECRET to the webhook's secret."));
    }
    let (secret, name) = match request.name {
        None => (secrets.github_webhook.as_ref(), SECRET.to_owned()),
        Some(name) => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
            let plain = (1..=50).contains(&name.len()) && name.bytes().all(plain);
            let variable = format!("{GITHUB_NAMED}{}", name.replace('-', "_").to_ascii_uppercase());
            (secrets.github_named.get(&variable).filter(|_| plain), variable)
        }
    };
    let given =
        (request.header)("x-hub-signature-256").filter(|given| given.starts_with("sha256=")).ok_or_else(unsigned)?;
    Ok(Signed { secret: secret.map(ExposeSecret::expose_secret), name, given })
}

fn unsigned() -> Problem {
    Problem::new(401, "the signature is missing or wrong").hint(
        "The webhook's secret and GITHUB_WEBHOOK_SECRET must be the same; at …/github-webhook/<name>, HUB_GITHUB_WEBHOOK_SECRET_<NAME>.",
    )
}

pub fn plan(request: &Request<'_>, secrets: &Secrets) -> Result<Step, Problem> {
    let signed = signed(request, secrets)?;
    let good = signature::github(signed.secret.unwrap_or("nobody's").as_bytes(), request.body, signed.given);
    if !good || signed.secret.is_none() {
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
    Ok(Step::Call(Call::Webhook { provider: "github", delivery, event, payload, secret: signed.name }, ANSWERS))
}
