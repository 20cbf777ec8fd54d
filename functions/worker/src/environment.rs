//! What of the worker's environment an agent gets: what any program needs, what an agent of its kind is known to need, what its
//! configuration names. Everything else stays here: other vendors' keys, the cloud's, the database's.

use std::{ffi::OsString, path::Path};

use crate::agents::AgentConfig;

/// What any program needs, and toolchains to be found. Places, languages, proxies and certificates: none of it is a secret, but for
/// a password in a proxy's URL, without which nothing works behind that proxy. Not among them: sockets that speak for a person
/// (`SSH_AUTH_SOCK`, `XDG_RUNTIME_DIR`, `DBUS_SESSION_BUS_ADDRESS`), settings that hold keys (`GIT_CONFIG_*`, `GOPROXY`,
/// `PIP_INDEX_URL`, `npm_config_*`), and `PWD`, which would be the worker's.
const ANY: &str = "PATH HOME USER LOGNAME SHELL TMPDIR TMP TEMP TZ LANG LANGUAGE LC_* __CF_USER_TEXT_ENCODING TERM COLORTERM \
    NO_COLOR FORCE_COLOR CLICOLOR XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_CONFIG_DIRS \
    XDG_DATA_DIRS SSL_CERT_FILE SSL_CERT_DIR NIX_SSL_CERT_FILE NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE \
    REQUESTS_CA_BUNDLE GIT_SSL_CAINFO HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy \
    no_proxy GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL CARGO_HOME RUSTUP_HOME \
    RUSTUP_TOOLCHAIN NVM_DIR NVM_BIN FNM_DIR FNM_MULTISHELL_PATH VOLTA_HOME PNPM_HOME BUN_INSTALL DENO_DIR \
    DENO_INSTALL PYENV_ROOT VIRTUAL_ENV CONDA_PREFIX PIPX_HOME UV_CACHE_DIR RBENV_ROOT GEM_HOME GEM_PATH \
    JAVA_HOME GRADLE_USER_HOME SDKMAN_DIR ANDROID_HOME ANDROID_SDK_ROOT GOPATH GOROOT GOBIN GOCACHE GOMODCACHE \
    GOTOOLCHAIN ASDF_DIR ASDF_DATA_DIR MISE_DATA_DIR HOMEBREW_PREFIX HOMEBREW_CELLAR HOMEBREW_REPOSITORY \
    NIX_PATH NIX_PROFILES DEVELOPER_DIR SDKROOT LD_LIBRARY_PATH LIBRARY_PATH CPATH PKG_CONFIG_PATH";

/// What agents are known to need: their own keys, addresses and settings. `agy` is Gemini's successor; without `IS_SANDBOX` Claude's
/// permission mode "bypass" refuses to run as root.
const KNOWN: [(&str, &str); 4] =
    [("claude", CLAUDE), ("codex", "OPENAI_* CODEX_*"), ("gemini", GEMINI), ("agy", GEMINI)];
const CLAUDE: &str = "ANTHROPIC_* CLAUDE_* API_TIMEOUT_MS BASH_DEFAULT_TIMEOUT_MS BASH_MAX_TIMEOUT_MS BASH_MAX_OUTPUT_LENGTH \
    MAX_THINKING_TOKENS MCP_TIMEOUT MCP_TOOL_TIMEOUT MAX_MCP_OUTPUT_TOKENS DISABLE_AUTOUPDATER DISABLE_TELEMETRY \
    DISABLE_ERROR_REPORTING DISABLE_PROMPT_CACHING USE_BUILTIN_RIPGREP IS_SANDBOX";
const GEMINI: &str =
    "GEMINI_* GOOGLE_API_KEY GOOGLE_GENAI_* GOOGLE_GEMINI_* GOOGLE_CLOUD_PROJECT GOOGLE_CLOUD_LOCATION";

/// What any program gets of `from`: git, and a project's own commands.
pub(crate) fn for_any(from: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let allowed = |name: &str| ANY.split_ascii_whitespace().any(|allowed| matches(allowed, name));
    from.filter(|(name, _)| name.to_str().is_some_and(|name| !hub::config::is_secret(name) && allowed(name))).collect()
}

/// What an agent gets of `from`. Never a secret of the hub's, whatever its configuration says.
pub(crate) fn for_agent(
    config: &AgentConfig,
    from: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let known = KNOWN.iter().filter(|(agent, _)| is_like(config, agent)).map(|(_, names)| *names);
    let lists = std::iter::once(ANY).chain(known).flat_map(str::split_ascii_whitespace);
    let allowed: Vec<&str> = lists.chain(config.env.iter().map(String::as_str)).collect();
    // A name that is no text can not be told from a secret's.
    let passes = |name: &OsString| {
        name.to_str()
            .is_some_and(|name| !hub::config::is_secret(name) && allowed.iter().any(|allowed| matches(allowed, name)))
    };
    let (passed, kept): (Vec<_>, Vec<_>) = from.partition(|(name, _)| passes(name));
    tracing::debug!(
        agent.name = %config.agent,
        environment.passed = ?names(&passed),
        environment.kept = ?names(&kept),
        "what the agent gets of the worker's environment"
    );
    passed
}

fn names(variables: &[(OsString, OsString)]) -> Vec<&OsString> {
    variables.iter().map(|(name, _)| name).collect()
}

/// By its name (`claude`, `claude-opus`), or by the program that it runs.
fn is_like(config: &AgentConfig, agent: &str) -> bool {
    let program = config.program().and_then(|program| Path::new(program).file_name()?.to_str());
    program == Some(agent) || config.agent.split(['-', '_', '.']).next() == Some(agent)
}

fn matches(allowed: &str, name: &str) -> bool {
    allowed.strip_suffix('*').map_or(allowed == name, |prefix| name.starts_with(prefix))
}

/// What is wrong with a name in the key `env` of an agent, and what to do about it.
pub(crate) fn problem(allowed: &str) -> Option<String> {
    let name = allowed.strip_suffix('*').unwrap_or(allowed);
    if allowed == "*" {
        return Some(
            "env has \"*\", which would pass on every key of this machine: list names, or a prefix such as \"AWS_*\""
                .into(),
        );
    }
    if name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        || name.is_empty()
    {
        return Some(format!(
            "env has {allowed:?}, which is no name of a variable: letters, digits and underscores, with a * at the end for all that begin so; a \
             value is set in the worker's environment"
        ));
    }
    hub::config::is_secret(name).then(|| {
        format!(
            "env has {allowed:?}, which is the hub's own and never passed on: give the agent what it needs under another name, such as \
             AGENT_{name}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(json: serde_json::Value) -> AgentConfig {
        AgentConfig::parse(&serde_json::json!([json]).to_string()).unwrap().remove(0)
    }

    fn named(agent: &str) -> serde_json::Value {
        serde_json::json!({"agent": agent, "models": ["any"], "kind": "command", "argv": ["run"]})
    }

    fn passed(config: &AgentConfig, variables: &[&str]) -> Vec<String> {
        let from = variables.iter().map(|name| (OsString::from(name), OsString::from("v")));
        for_agent(config, from).into_iter().map(|(name, _)| name.into_string().unwrap()).collect()
    }

    #[test]
    fn an_agent_gets_what_any_program_needs_and_nobodys_keys() {
        let needed = "PATH HOME LANG LC_ALL LC_TIME TZ https_proxy HTTPS_PROXY SSL_CERT_FILE CARGO_HOME TMPDIR";
        let kept = "GITHUB_TOKEN GH_TOKEN AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN NPM_TOKEN SSH_AUTH_SOCK \
            ANTHROPIC_API_KEY OPENAI_API_KEY GEMINI_API_KEY GOOGLE_APPLICATION_CREDENTIALS PGHOST KUBECONFIG \
            DOCKER_HOST PWD PATHOLOGY XDG_RUNTIME_DIR HUB_ATTEMPT CLAUDECODE";
        let needed: Vec<&str> = needed.split_ascii_whitespace().collect();
        let all: Vec<&str> = needed.iter().copied().chain(kept.split_ascii_whitespace()).collect();
        assert_eq!(passed(&agent(named("mine")), &all), needed);
        assert_eq!(passed(&AgentConfig::survey(), &all), needed);
    }

    #[test]
    fn agor_761_an_inherited_database_url_reaches_no_agent() {
        let every =
            ["DATABASE_URL", "DATABASE_URL_FILE", "PGPASSWORD", "PROD_DATABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"];
        for name in ["mine", "claude", "codex", "gemini"] {
            assert_eq!(passed(&agent(named(name)), &every), [""; 0], "{name}");
        }
        // Not even by a prefix that has it in it.
        let mut config = agent(named("mine"));
        config.env = ["DATABASE*", "PG*", "SUPA*", "PROD_DATABASE_URL"].map(String::from).to_vec();
        assert_eq!(passed(&config, &every), ["PROD_DATABASE_URL"]);
    }

    #[test]
    fn each_vendors_agent_gets_its_own_keys_only() {
        let keys = "ANTHROPIC_API_KEY ANTHROPIC_BASE_URL CLAUDE_CODE_MAX_RETRIES IS_SANDBOX OPENAI_API_KEY CODEX_HOME GEMINI_API_KEY \
            GOOGLE_GEMINI_BASE_URL GOOGLE_API_KEY";
        let keys: Vec<&str> = keys.split_ascii_whitespace().collect();
        for (name, own) in [
            ("claude", &keys[..4]),
            ("claude-opus", &keys[..4]),
            ("codex", &keys[4..6]),
            ("gemini", &keys[6..]),
            ("agy", &keys[6..]),
        ] {
            assert_eq!(passed(&agent(named(name)), &keys), own, "{name}");
        }
        let by_program = agent(
            serde_json::json!({"agent": "reviewer", "models": ["any"], "kind": "command", "argv": ["/opt/bin/codex", "exec"]}),
        );
        assert_eq!(passed(&by_program, &keys), keys[4..6]);
        assert_eq!(passed(&agent(named("claudette")), &keys), [""; 0]);
    }

    #[test]
    fn the_key_env_names_what_an_agent_gets_besides() {
        let mut json = named("mine");
        json["env"] = serde_json::json!(["GITHUB_TOKEN", "AWS_*"]);
        assert_eq!(
            passed(&agent(json), &["GITHUB_TOKEN", "GITHUB_TOKENS", "AWS_REGION", "AWS_PROFILE", "NPM_TOKEN"]),
            ["GITHUB_TOKEN", "AWS_REGION", "AWS_PROFILE"]
        );
    }

    #[test]
    fn a_wrong_env_is_refused_with_a_remedy() {
        for (bad, remedy) in [
            ("*", "list names"),
            ("A=1", "a value is set in the worker's environment"),
            ("", "letters, digits"),
            ("1A", "letters, digits"),
            ("A*B", "letters, digits"),
            ("DATABASE_URL", "under another name, such as AGENT_DATABASE_URL"),
            ("HUB_*", "the hub's own"),
        ] {
            let mut json = named("mine");
            json["env"] = serde_json::json!(["PATH", bad]);
            let error = AgentConfig::parse(&serde_json::json!([json]).to_string()).unwrap_err().to_string();
            assert!(error.contains("agent mine: env has ") && error.contains(remedy), "{bad}: {error}");
        }
        let survey = r#"[{"agent": "s", "models": ["any"], "kind": "survey", "env": ["A"]}]"#;
        assert!(AgentConfig::parse(survey).unwrap_err().to_string().contains("agent s: a survey takes no env"));
    }
}
