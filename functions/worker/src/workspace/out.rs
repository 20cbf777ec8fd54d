//! Out: the branch goes to the remote, and becomes a pull request. By the worker, never by the agent, which has no credentials for it.

use std::time::Duration;

use hub::{config::environment, text::clean};
use octocrab::Octocrab;
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Trouble,
    git::{Call, Said},
    place::Place,
};

/// For all that is asked of GitHub for one pull request.
const GITHUB: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
/// What GitHub takes, in characters.
const TITLE: usize = 256;
const BODY: usize = 60_000;

/// A pull request as it is wanted. Its texts are what people may read: without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// `owner/name`.
    pub repository: String,
    /// The variable of the worker's environment that has the token: `HUB_GITHUB_TOKEN` (the default) or `HUB_BRIDGE_…`.
    pub secret_name: Option<String>,
    /// Ready for review; else a draft. Of one that is open that is left as it is.
    pub ready: bool,
    /// In a line.
    pub title: String,
    /// In Markdown.
    pub body: String,
}

impl Place {
    /// Gives the remote what the branch has. It replaces there only what this worktree gave it before. Nothing in place.
    ///
    /// # Errors
    /// It could not; the work is here as before, and the text says why.
    pub async fn push(&mut self) -> Result<(), Trouble> {
        let Some((_, about)) = &self.held else { return Ok(()) };
        let (reference, before) = (about.reference(), about.pushed.clone());
        let head = self.call().args(["rev-parse", "--verify", "HEAD^{commit}"]).line().await?;
        if before.as_deref() == Some(&head) {
            return Ok(());
        }
        let Some(remote) = remote(self.call()).await? else {
            return Err(Trouble::lasting("the project's repository has no remote named origin, and not just one"));
        };
        let refspec = format!("{head}:{reference}");
        let push = async |lease: Option<String>| {
            let arguments = ["push", "--porcelain", "--no-follow-tags"].map(str::to_owned).into_iter();
            let arguments = arguments.chain(lease).chain([remote.clone(), refspec.clone()]);
            Ok::<_, Trouble>(self.call().asking().await?.args(arguments).run().await?)
        };
        let mut said = push(None).await?;
        if said.signal().is_some() {
            // Killed by somebody: the remote may have it all the same, and says so when it is asked again.
            said = push(None).await?;
        }
        if let Some(before) = before.filter(|_| rejected(&said)) {
            // The agent has rewritten what it had: the lease says that nobody else has been there since.
            said = push(Some(format!("--force-with-lease={reference}:{before}"))).await?;
        }
        if !said.status.success() {
            let why = if rejected(&said) {
                "the remote's branch has commits of others that are not here".to_owned()
            } else {
                said.complaint()
            };
            return Err(Trouble::passing(format!("the branch could not be pushed: {why}")));
        }
        self.change(|about| about.pushed = Some(head))
    }

    /// Opens the pull request of the branch, or brings the one that is open up to date. Its address. None in place.
    ///
    /// # Errors
    /// It could not; the text says why.
    pub async fn pull_request(&mut self, wanted: &PullRequest) -> Result<Option<String>, Trouble> {
        let api = environment("HUB_GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".into());
        let name = wanted.secret_name.as_deref().unwrap_or("HUB_GITHUB_TOKEN");
        // What a server names must not send the worker's other secrets anywhere.
        if name != "HUB_GITHUB_TOKEN" && !name.starts_with("HUB_BRIDGE_") {
            return Err(no_pull_request(
                "the project names a secret that may not be used for it: HUB_GITHUB_TOKEN or HUB_BRIDGE_<NAME>",
            ));
        }
        let token = environment(name).ok_or_else(|| no_pull_request(&format!("this device's worker has no {name}")))?;
        self.pull_request_at(&api, SecretString::from(token), wanted).await
    }

    pub(super) async fn pull_request_at(
        &mut self,
        api: &str,
        token: SecretString,
        wanted: &PullRequest,
    ) -> Result<Option<String>, Trouble> {
        let Some((_, about)) = &self.held else { return Ok(None) };
        let (branch, base) = (about.branch.clone(), about.base_branch.clone());
        let told = timeout(GITHUB, tell(api, token, wanted, &branch, base)).await;
        let url = told
            .unwrap_or_else(|_| Err("GitHub did not answer in time".into()))
            .map_err(|why| no_pull_request(&why))?;
        self.change(|about| about.pull_request = Some(url.clone()))?;
        Ok(Some(url))
    }
}

fn no_pull_request(why: &str) -> Trouble {
    Trouble::passing(format!("no pull request could be opened: {why}"))
}

/// Whether the remote refused since its branch is not behind ours.
fn rejected(said: &Said) -> bool {
    let out = String::from_utf8_lossy(&said.out);
    !said.status.success()
        && [&*out, &said.err].iter().any(|text| {
            ["non-fast-forward", "fetch first", "stale info", "needs force"].iter().any(|why| text.contains(why))
        })
}

/// The remote that is meant: `origin`, or the only one.
pub(super) async fn remote(call: Call<'_>) -> Result<Option<String>, Trouble> {
    let listed = call.args(["remote"]).line().await?;
    let remotes: Vec<&str> = listed.lines().collect();
    let one = remotes.iter().find(|name| **name == "origin").or(match remotes.as_slice() {
        [only] => Some(only),
        _ => None,
    });
    Ok(one.map(|name| (*name).to_owned()))
}

/// What of an answer is needed.
#[derive(Debug, Deserialize)]
struct Opened {
    number: u64,
    html_url: String,
}

#[derive(Debug, Deserialize)]
struct Repository {
    default_branch: String,
}

async fn tell(
    api: &str,
    token: SecretString,
    wanted: &PullRequest,
    branch: &str,
    base: Option<String>,
) -> Result<String, String> {
    let is_segment = |text: &str| {
        !matches!(text, "" | "." | "..")
            && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
    };
    let (owner, name) = wanted
        .repository
        .split_once('/')
        .filter(|(owner, name)| is_segment(owner) && is_segment(name))
        .ok_or_else(|| format!("{:?} is no repository of GitHub", wanted.repository))?;
    let builder = Octocrab::builder().base_uri(api).map_err(|_| "HUB_GITHUB_API_URL is no URL".to_owned())?;
    let github =
        builder.personal_token(token).set_connect_timeout(Some(CONNECT)).build().map_err(|error| told(&error))?;
    let repository = format!("/repos/{owner}/{name}");
    let pulls = format!("{repository}/pulls");
    let title: String =
        clean(&wanted.title).split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TITLE).collect();
    let text =
        json!({"title": title, "body": unmentioned(&clean(&wanted.body)).chars().take(BODY).collect::<String>()});
    let open = async || {
        let head = format!("{owner}:{branch}");
        let query = [("head", head.as_str()), ("state", "open"), ("per_page", "1")];
        let found: Vec<Opened> = github.get(&pulls, Some(&query)).await.map_err(|error| told(&error))?;
        Ok::<_, String>(found.into_iter().next())
    };
    let update = async |opened: Opened| {
        let updated: Opened = patch(&github, &format!("{pulls}/{}", opened.number), &text).await?;
        Ok::<_, String>(updated.html_url)
    };
    if let Some(opened) = open().await? {
        return update(opened).await;
    }
    let base = match base {
        Some(base) => base,
        None => {
            let found: Repository = github.get(&repository, None::<&()>).await.map_err(|error| told(&error))?;
            found.default_branch
        }
    };
    let mut new = text.clone();
    new["head"] = branch.into();
    new["base"] = base.into();
    new["draft"] = (!wanted.ready).into();
    match github.post::<_, Opened>(&pulls, Some(&new)).await {
        Ok(opened) => Ok(opened.html_url),
        // Somebody was faster.
        Err(error) if told(&error).contains("already exists") => match open().await? {
            Some(opened) => update(opened).await,
            None => Err(told(&error)),
        },
        Err(error) => Err(told(&error)),
    }
}

async fn patch<T: DeserializeOwned + octocrab::FromResponse>(
    github: &Octocrab,
    route: &str,
    body: &Value,
) -> Result<T, String> {
    github.patch(route, Some(body)).await.map_err(|error| told(&error))
}

/// What GitHub said, for people.
fn told(error: &octocrab::Error) -> String {
    match error {
        octocrab::Error::GitHub { source, .. } => {
            let details = source.errors.iter().flatten().filter_map(|one| one.get("message").and_then(Value::as_str));
            let details: Vec<&str> = std::iter::once(source.message.as_str()).chain(details).collect();
            let remedy = match source.status_code.as_u16() {
                401 => " (the token is not accepted)",
                403 | 404 => " (may the token write pull requests there?)",
                _ => "",
            };
            format!(
                "GitHub says {}: {}{remedy}",
                source.status_code.as_u16(),
                clean(&details.join("; ")).replace('\n', " ")
            )
        }
        octocrab::Error::Json { .. } | octocrab::Error::Serde { .. } => "GitHub's answer can not be read".into(),
        _ => "GitHub can not be reached".into(),
    }
}

/// Text that calls nobody: what an agent writes may be what a stranger asked it to write.
fn unmentioned(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == '@' && rest.peek().is_some_and(|next| next.is_alphanumeric()) {
            out.push_str("<!-- -->");
        }
    }
    out
}
