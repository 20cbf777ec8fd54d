//! What the project's API shows: keys, Realtime, functions and their secrets.

use hub::{
    Hub,
    realtime::{Event, Topic},
};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use std::time::Duration;

use super::Report;
use crate::target::Target;

const WITHIN: Duration = Duration::from_secs(10);
const FUNCTIONS: [&str; 6] =
    ["answer", "github-webhook", "hooks-agent", "koji-discord-bot", "send", "telegram-webhook"];
const KEYS: &str = "SUPABASE_SERVICE_ROLE_KEY, or HUB_TOKEN with SUPABASE_ANON_KEY";

/// Looks; gives the API if it may be used for more.
pub(super) async fn look(target: &Target, url: Option<&str>, report: &mut Report) -> Option<Hub> {
    let lines = ["project", "keys", "realtime"].into_iter().map(str::to_owned);
    let lines: Vec<String> =
        lines.chain(FUNCTIONS.map(|name| format!("function {name}"))).chain(["secrets".into()]).collect();
    let Some(url) = url else {
        for what in lines {
            report.not_checked(what, "give --url https://… or SUPABASE_URL, the project's address");
        }
        return None;
    };
    let client = match Client::builder().timeout(WITHIN).build() {
        Ok(client) => client,
        Err(error) => {
            report.wrong("project", error.without_url().to_string(), "HTTP does not work on this machine");
            return None;
        }
    };
    // Whatever it answers, it is there.
    if let Err(error) = client.get(format!("{url}/auth/v1/health")).send().await {
        report.wrong(
            "project",
            format!("{url} is not reached: {}", reason(&error)),
            "check the address; is the project paused?",
        );
        for what in &lines[1..] {
            report.not_checked(what, "the project was not reached");
        }
        return None;
    }
    report.ok("project", format!("{url} answers"));

    let accepted = keys(target, &client, url, report).await;
    let api = if accepted { target.connect_project(url).await.ok() } else { None };
    match &api {
        Some(hub) => realtime(hub, report).await,
        None => report.not_checked("realtime", format!("give {KEYS}")),
    }
    let mut deployed = Vec::new();
    for name in FUNCTIONS {
        if function(&client, url, name, report).await {
            deployed.push(name);
        }
    }
    secrets(&client, url, &deployed, report).await;
    if let Some(token) = target.get("TELEGRAM_BOT_TOKEN") {
        let base = target.get("HUB_TELEGRAM_API_URL").unwrap_or_else(|| "https://api.telegram.org".into());
        telegram(&client, &base, &token, url, report).await;
    }
    api
}

fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within 10 s".into();
    }
    let mut source = std::error::Error::source(error);
    let mut text = "no connection".to_owned();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

/// Whether what was given is accepted, enough of it to go on with.
async fn keys(target: &Target, client: &Client, url: &str, report: &mut Report) -> bool {
    const REMEDY: &str = "copy it anew from the project's API keys; a token ends after an hour (`hub token`)";
    let (service, anon, person) =
        (target.get("SUPABASE_SERVICE_ROLE_KEY"), target.get("SUPABASE_ANON_KEY"), target.get("HUB_TOKEN"));
    let servers = format!("{url}/rest/v1/hub_servers?select=id&limit=1");
    let mut asked: Vec<(&str, RequestBuilder)> = Vec::new();
    if let Some(key) = &service {
        asked.push(("SUPABASE_SERVICE_ROLE_KEY", client.get(&servers).header("apikey", key).bearer_auth(key)));
    }
    if let Some(key) = &anon {
        asked.push(("SUPABASE_ANON_KEY", client.get(format!("{url}/auth/v1/settings")).header("apikey", key)));
    }
    if let (Some(token), Some(key)) = (&person, anon.as_ref().or(service.as_ref())) {
        asked.push(("HUB_TOKEN", client.get(&servers).header("apikey", key).bearer_auth(token)));
    }
    if asked.is_empty() || (service.is_none() && person.is_none()) {
        report.not_checked("keys", format!("give {KEYS}"));
        return false;
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, request) in asked {
        match request.send().await {
            Err(error) => bad.push(format!("{name}: {}", reason(&error))),
            Ok(response) if response.status().is_success() => good.push(name),
            Ok(response) => {
                let status = response.status();
                let body: Value = response.json().await.unwrap_or_default();
                let said = ["message", "msg", "error"].iter().find_map(|field| body[*field].as_str()).unwrap_or("");
                bad.push(match status {
                    StatusCode::NOT_FOUND => {
                        format!("{name}: REST knows no hub_servers ({said}); migrated, and is `public` exposed?")
                    }
                    status if status.is_server_error() => {
                        format!("{name} can not be checked, the project does not answer: {said} ({})", status.as_u16())
                    }
                    _ => format!("{name} is refused: {said} ({})", status.as_u16()),
                });
            }
        }
    }
    if bad.is_empty() {
        report.ok("keys", format!("accepted: {}", good.join(", ")));
        return true;
    }
    report.wrong("keys", bad.join("; "), REMEDY);
    good.iter().any(|name| *name != "SUPABASE_ANON_KEY")
}

/// Joins a private topic, as a client does.
async fn realtime(hub: &Hub, report: &mut Report) {
    const REMEDY: &str = "is Realtime on, and are its policies there (line \"realtime policies\")? A person must be able to read the channel";
    let Hub::Api(api) = hub else { return };
    let channel = match hub.channels(None).await {
        Ok(channels) => channels.into_iter().next(),
        Err(error) => return report.wrong("realtime", error.to_string(), REMEDY),
    };
    let Some(channel) = channel else {
        return report.not_checked("realtime", "there is no channel that this caller may read");
    };
    let mut subscription = match api.realtime() {
        Ok(realtime) => realtime.join(Topic::private(format!("channel:{}", channel.id))),
        Err(error) => return report.wrong("realtime", error.to_string(), REMEDY),
    };
    let mut why = "no answer within 10 s".to_owned();
    let joined = tokio::time::timeout(WITHIN, async {
        loop {
            match subscription.next().await {
                Some(Event::Joined { .. }) => return Ok(()),
                Some(Event::Refused(reason)) => return Err(reason),
                Some(Event::Away { why: reason }) => why = reason,
                Some(_) => {}
                None => return Err("the socket was given up".into()),
            }
        }
    })
    .await;
    match joined {
        Ok(Ok(())) => report.ok("realtime", format!("joined the private topic of #{}", channel.name)),
        Ok(Err(reason)) => {
            report.wrong("realtime", format!("the topic of #{} refuses: {reason}", channel.name), REMEDY)
        }
        Err(_) => report.wrong("realtime", why, REMEDY),
    }
}

fn is_problem(response: &reqwest::Response) -> bool {
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.starts_with("application/problem+json"))
}

/// Whether it is there and starts: each of ours answers a GET with 405 and a problem.
async fn function(client: &Client, url: &str, name: &str, report: &mut Report) -> bool {
    let what = format!("function {name}");
    let response = match client.get(format!("{url}/functions/v1/{name}")).send().await {
        Ok(response) => response,
        Err(error) => {
            report.wrong(what, reason(&error), "look into its log in the dashboard");
            return false;
        }
    };
    let status = response.status();
    if is_problem(&response) && status == StatusCode::METHOD_NOT_ALLOWED {
        report.ok(what, "answers");
        return true;
    }
    let deploy = format!("`supabase functions deploy {name}`");
    match status.as_u16() {
        404 => report.wrong(what, "is not deployed (404)", deploy),
        401 => report.wrong(
            what,
            "the gateway asks for a token before the function is asked (401)",
            format!("{deploy} with supabase/config.toml, which says verify_jwt = false"),
        ),
        500.. => report.wrong(
            what,
            format!("does not start ({})", status.as_u16()),
            format!("build the WebAssembly into supabase/functions/_shared (supabase/README.md says how), then {deploy}; its log says more"),
        ),
        code => report.wrong(what, format!("answers {code} where ours says 405"), deploy),
    }
    false
}

/// Which providers can be believed. An unsigned request is refused with 401, or with 503 where there is no secret to check by.
async fn secrets(client: &Client, url: &str, deployed: &[&str], report: &mut Report) {
    const SECRETS: [(&str, &str, &str, &str); 3] = [
        ("github-webhook", "GITHUB_WEBHOOK_SECRET", "x-hub-signature-256", "sha256=00"),
        ("koji-discord-bot", "DISCORD_PUBLIC_KEY", "x-signature-ed25519", "00"),
        ("telegram-webhook", "TELEGRAM_WEBHOOK_SECRET", "x-telegram-bot-api-secret-token", "-"),
    ];
    let (mut set, mut missing) = (Vec::new(), Vec::new());
    for (name, secret, header, value) in SECRETS.into_iter().filter(|(name, ..)| deployed.contains(name)) {
        let request = client.post(format!("{url}/functions/v1/{name}")).header(header, value);
        let Ok(response) = request.header("content-type", "application/json").body("{}").send().await else { continue };
        match response.status().as_u16() {
            401 => set.push(secret),
            503 if response.text().await.is_ok_and(|text| text.contains(secret)) => missing.push(secret),
            _ => {}
        }
    }
    if !missing.is_empty() {
        report.note(
            "secrets",
            format!("not set: {}", missing.join(", ")),
            "`supabase secrets set NAME=…` for the providers you use; their requests are refused until then",
        );
    } else if set.is_empty() {
        report.not_checked("secrets", "the functions come first");
    } else {
        report.ok("secrets", format!("set: {}", set.join(", ")));
    }
}

/// Whether Telegram sends what is written there, and what is pressed. Its answers to our own requests name no token; errors are
/// shown without their address, which has it.
async fn telegram(client: &Client, base: &str, token: &str, url: &str, report: &mut Report) {
    const WHAT: &str = "telegram webhook";
    const REMEDY: &str = "call setWebhook as supabase/README.md has it, with its allowed_updates";
    let address = format!("{}/bot{token}/getWebhookInfo", base.trim_end_matches('/'));
    let body: Value = match client.get(address).send().await {
        Ok(response) => response.json().await.unwrap_or_default(),
        Err(error) => return report.wrong(WHAT, reason(&error), "is Telegram reached from here?"),
    };
    if body["ok"] != true {
        return report.wrong(WHAT, "Telegram does not take TELEGRAM_BOT_TOKEN", "copy it anew from @BotFather");
    }
    let info = &body["result"];
    let there = info["url"].as_str().unwrap_or("");
    let expected = format!("{}/functions/v1/telegram-webhook", url.trim_end_matches('/'));
    if there != expected {
        let there = if there.is_empty() { "it is not set".to_owned() } else { format!("it goes to {there}") };
        return report.note(WHAT, there, REMEDY);
    }
    // Without a list Telegram sends what is pressed, too.
    let listed: Vec<&str> =
        info["allowed_updates"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let missing: Vec<&str> =
        ["message", "callback_query"].into_iter().filter(|kind| !listed.is_empty() && !listed.contains(kind)).collect();
    if missing.is_empty() {
        report.ok(WHAT, "sends what is written and what is pressed");
    } else {
        report.wrong(WHAT, format!("its allowed_updates lack {}", missing.join(", ")), REMEDY);
    }
}
