//! Answers to comments on GitHub. <https://docs.github.com/en/rest/issues/comments>

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use hub::types::Outgoing;
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use super::{
    Arrived, Carrier, Failure,
    discord::below,
    http::{self, Answer, Limit},
    is_number, text,
};

const VERSION: &str = "2022-11-28";
/// A hundred comments of the greatest length, escaped.
const ANSWER_BYTES: usize = 16 * 1024 * 1024;
const PAGE: usize = 100;
const PAGES: usize = 20;
/// Between GitHub's clock and the database's.
const SKEW: TimeDelta = TimeDelta::minutes(10);
/// GitHub asks for a minute where it says nothing else.
/// Renamed more than once, and given away.
const REDIRECTS: usize = 3;
const SECONDARY: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Body {
    repository: String,
    number: u64,
    text: String,
    /// Whether those that it names may be called.
    #[serde(default)]
    mentions: bool,
}

#[derive(Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: Option<String>,
}

pub(super) async fn deliver(
    carrier: &Carrier,
    row: &Outgoing,
    secret: &SecretString,
    until: Instant,
) -> Result<Arrived, Failure> {
    let bad = || Failure::for_good("the row's body is not of its provider's form");
    let body: Body = serde_json::from_str(row.body.get()).map_err(|_| bad())?;
    let (owner, name) = body
        .repository
        .split_once('/')
        .filter(|(owner, name)| is_segment(owner) && is_segment(name))
        .ok_or_else(bad)?;
    if row.target != format!("channel:{}#{}", body.repository, body.number) {
        return Err(bad());
    }
    let token = secret.expose_secret();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::for_now(format!("{} is no token of GitHub", row.secret_name)));
    }
    let url = below(&carrier.settings.github, &["repos", owner, name, "issues", &body.number.to_string(), "comments"]);
    let request = |method: Method, url: &Url| -> RequestBuilder {
        let request = carrier.trusted.request(method, url.clone());
        request
            .bearer_auth(token)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", VERSION)
    };
    let keys = [format!("github {}", row.secret_name), format!("github {}", row.target)];
    let mut moved = None;
    let mut ask = async |request: &(dyn Fn(&Url) -> RequestBuilder + Sync)| {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let made = || request(&url);
            let answer = http::call(&carrier.holds, [&keys[0], &keys[1]], until, ANSWER_BYTES, limit, made).await?;
            let Some(next) = redirect(&answer, &url) else { return Ok(answer) };
            moved = Some(format!(
                "the repository {} has moved: it was answered all the same, and bridges, rules and places should name it as it is now",
                body.repository
            ));
            url = next;
        }
        Err(Failure::for_good("GitHub sends from one address to the next"))
    };

    // The text's own mark is its task's, and a task may end twice. This one is the row's.
    let mark = format!("<!-- aura-hub-answer:{} -->", row.id);
    if row.attempt > 1 {
        // An attempt before may have got through without our hearing of it.
        let since = (row.created_at.with_timezone(&Utc) - SKEW).to_rfc3339_opts(SecondsFormat::Secs, true);
        for page in 1..=PAGES {
            let list = |url: &Url| {
                request(Method::GET, url).query(&[
                    ("since", since.as_str()),
                    ("per_page", &PAGE.to_string()),
                    ("page", &page.to_string()),
                ])
            };
            let answer = ask(&list).await?;
            if !answer.is_success() {
                return Err(refused(&answer, &row.secret_name));
            }
            let comments: Vec<Comment> =
                answer.json().ok_or_else(|| Failure::for_now("GitHub's list of comments can not be read"))?;
            if let Some(ours) =
                comments.iter().find(|comment| comment.body.as_ref().is_some_and(|body| body.contains(&mark)))
            {
                return Ok(Arrived { id: Some(ours.id.to_string()), note: moved });
            }
            if comments.len() < PAGE {
                break;
            }
        }
    }
    // What an agent writes may be what a stranger asked it to write.
    let text = if body.mentions { body.text } else { text::unmentioned(&body.text, true) };
    let comment = json!({"body": format!("{text}\n{mark}")});
    let answer = ask(&|url| request(Method::POST, url).json(&comment)).await?;
    if !answer.is_success() {
        return Err(refused(&answer, &row.secret_name));
    }
    Ok(Arrived { id: answer.json().map(|Comment { id, .. }| id.to_string()), note: moved })
}

/// Where a repository is now that was renamed or given away. Only on the same host, which alone may see the token.
fn redirect(answer: &Answer, from: &Url) -> Option<Url> {
    if !matches!(answer.status, 301 | 302 | 307 | 308) {
        return None;
    }
    let mut to = from.join(answer.header("location")?).ok()?;
    // The question is asked again; it need not be there twice.
    to.set_query(None);
    (to.origin() == from.origin() && to.username().is_empty() && to.password().is_none()).then_some(to)
}

/// A name that stands for itself in a path.
fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    message: String,
}

fn message(answer: &Answer) -> String {
    answer
        .json()
        .map_or_else(String::new, |Problem { message }| text::shorten(&message.replace(char::is_control, " "), 150))
}

/// GitHub's limits come as 403 as well as 429, and are those of the token.
fn limit(answer: &Answer) -> Option<Limit> {
    if !matches!(answer.status, 403 | 429) {
        return None;
    }
    let spent = answer.header("x-ratelimit-remaining") == Some("0");
    let reset = || {
        let at: i64 = answer.header("x-ratelimit-reset").filter(|at| spent && is_number(at))?.parse().ok()?;
        Some(http::bounded(Duration::from_secs(u64::try_from(at - Utc::now().timestamp()).unwrap_or(0) + 1)))
    };
    let after = answer.header("retry-after").and_then(|_| answer.retry_after()).or_else(reset);
    let limited =
        answer.status == 429 || after.is_some() || spent || message(answer).to_lowercase().contains("rate limit");
    limited.then(|| Limit { after: Some(after.unwrap_or(SECONDARY)), global: true })
}

fn refused(answer: &Answer, name: &str) -> Failure {
    let message = message(answer);
    let why = if message.is_empty() { String::new() } else { format!(": {message}") };
    match answer.status {
        401 => Failure::for_now(format!("GitHub does not take the token in {name}")),
        301 | 302 | 307 | 308 => {
            Failure::for_good(format!("GitHub answered {}: the repository has moved to another host", answer.status))
        }
        400 | 403 | 404 | 410 | 413 | 422 => Failure::for_good(format!("GitHub answered {}{why}", answer.status)),
        status => {
            Failure { retry_after: answer.retry_after(), ..Failure::for_now(format!("GitHub answered {status}{why}")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_on_the_same_host_alone() {
        let from = Url::parse("https://api.github.com/repos/a/b/issues/1/comments").unwrap();
        let to = |status: u16, location: &str| {
            redirect(&Answer::of(status, &[("location", location)]), &from).map(|url| url.to_string())
        };
        let there = "https://api.github.com/repositories/5/issues/1/comments";
        assert_eq!(to(307, there).as_deref(), Some(there));
        assert_eq!(to(301, "/repositories/5/issues/1/comments?page=1").as_deref(), Some(there));
        assert_eq!(to(200, there), None);
        for elsewhere in [
            "https://evil.example/",
            "http://api.github.com/",
            "https://api.github.com:444/",
            "//evil.example",
            "https://u:p@api.github.com/",
            "",
        ] {
            assert_ne!(
                to(307, elsewhere).map(|url| url.contains("evil")
                    || url.contains('@')
                    || !url.starts_with("https://api.github.com/")),
                Some(true),
                "{elsewhere}"
            );
        }
    }

    #[test]
    fn a_repository_is_owner_and_name_only() {
        for good in ["a", "a-b", "a.b_c", ".github", "..."] {
            assert!(is_segment(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a%2f", "ä", "a#1", "a?x"] {
            assert!(!is_segment(bad), "{bad}");
        }
    }
}
