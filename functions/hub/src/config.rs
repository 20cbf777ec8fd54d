//! Where the hub is and as whom to speak to it. Read through a lookup function, so that tests and `hub dev` can say what the
//! environment says; every problem is reported at once, by name and never by value.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use secrecy::SecretString;
use url::Url;

use crate::error::{Error, Result};

/// Reads a setting by its name.
pub type Lookup<'a> = &'a (dyn Fn(&str) -> Option<String> + 'a);

/// As whom to speak to a project's URL.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The service key is the token: everything is allowed.
    ServiceKey,
    /// A signed-in person's token, as it is; it is not renewed.
    Token(SecretString),
    /// E-mail and password: signs in, and again when the token ends.
    Password {
        /// The e-mail address.
        email: String,
        /// The password; of a device, its secret.
        password: SecretString,
    },
}

impl Credential {
    /// Adds to a refused sign-in which variable is wrong, and what to do.
    pub(crate) fn refused(&self, error: Error) -> Error {
        let Error::Unauthorized(why) = error else { return error };
        let remedy = match self {
            Self::ServiceKey => {
                "SUPABASE_SERVICE_ROLE_KEY is refused: take the key from the project's dashboard (Settings, API Keys)"
            }
            Self::Token(_) => {
                "HUB_TOKEN or SUPABASE_ANON_KEY is refused: sign in again for a new token (`hub token` prints one of a `hub dev`); \
                 the key is in the project's dashboard"
            }
            Self::Password { .. } => {
                "HUB_DEVICE_SECRET or SUPABASE_ANON_KEY is refused: `hub device add NAME` makes a new secret; the key is in the \
                 project's dashboard"
            }
        };
        // A retry may add to what has it already.
        if why.contains(remedy) { Error::Unauthorized(why) } else { Error::Unauthorized(format!("{why}. {remedy}")) }
    }
}

/// Where the hub is.
#[derive(Debug, Clone)]
pub enum Target {
    /// A database.
    Postgres {
        /// With user and password.
        url: SecretString,
    },
    /// A project's URL, `/rest/v1` and the others below it.
    Api {
        /// Without a trailing slash.
        url: Url,
        /// What the gateway wants in `apikey`.
        key: SecretString,
        /// As whom.
        credential: Credential,
    },
}

/// Where the hub is and as whom to speak to it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where.
    pub target: Target,
    /// Shown to an operator in `pg_stat_activity`.
    pub application: String,
}

/// The e-mail address a device signs in with.
#[must_use]
pub fn device_email(device: &str) -> String {
    format!("device+{device}@hub.invalid")
}

/// Whether `name` can be a device's name: 1 to 63 letters, digits, dots, dashes and underscores, as in `mesh_devices`.
#[must_use]
pub fn is_device_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Looks in the environment: `NAME`, else the contents of the file that `NAME_FILE` names (how secrets are mounted).
/// An empty value is none.
#[must_use]
pub fn environment(name: &str) -> Option<String> {
    let plain = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    plain.or_else(|| {
        let path = std::env::var(format!("{name}_FILE")).ok()?;
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned()).filter(|value| !value.is_empty())
    })
}

/// Why a setting is not there although `NAME_FILE` names a file for it: that file can not be read, or is empty.
#[must_use]
pub fn file_problem(name: &str, lookup: Lookup<'_>) -> Option<String> {
    let variable = format!("{name}_FILE");
    let path = lookup(&variable)?;
    match std::fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => Some(format!("{variable} names {path}, which is empty")),
        Ok(_) => None,
        Err(error) => Some(format!("{variable} names {path}, which can not be read: {error}")),
    }
}

/// Whether a variable of this name may hold a secret of the hub's, or say where one is. What is started (an agent, git, Postgres) needs
/// none of them, and a program that is told a secret tells it to all that it starts.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    // With `_FILE` a name says where its secret is kept.
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    const NAMES: [&str; 8] = [
        "DATABASE_URL",
        "DATABASE_ADMIN_URL",
        "GITHUB_WEBHOOK_SECRET",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGSERVICEFILE",
        // Keys of the collector that traces go to.
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    ];
    const PREFIXES: [&str; 4] = ["HUB_", "SUPABASE_", "DISCORD_", "TELEGRAM_"];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The variables of this process that whatever it starts must not get.
pub fn secret_names() -> impl Iterator<Item = OsString> {
    // A name that is no text can not be told from a secret's.
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_str().is_none_or(is_secret))
}

/// The names in the environment that begin with this, those given as `NAME_FILE` among them, in order.
#[must_use]
pub fn names(prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .map(|name| name.strip_suffix("_FILE").map_or(name.clone(), str::to_owned))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Reads a file of `NAME=value` lines, such as the `dev.env` of `hub dev`. Quotes around a value are taken off.
///
/// # Errors
/// [`Error::Config`] if the file can not be read.
pub fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::Config(format!("{} can not be read: {error}", path.display())))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
            let value = value.trim();
            let unquoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
            Some((name.trim().to_owned(), unquoted.unwrap_or(value).to_owned()))
        })
        .collect())
}

impl Config {
    /// Reads the configuration. `url` (from `--url`) wins over `HUB_URL`, `DATABASE_URL` and `SUPABASE_URL`, in this order;
    /// `device` is the device that speaks, if one does.
    ///
    /// Over `http(s)://` speaks, in this order: the device with `HUB_DEVICE_SECRET`, the person with `HUB_TOKEN`, the
    /// service with `SUPABASE_SERVICE_ROLE_KEY`.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem, a line each.
    pub fn read(url: Option<&str>, device: Option<&str>, lookup: Lookup<'_>) -> Result<Self> {
        let mut problems = Vec::new();
        let (source, text) = match url {
            Some(url) => ("--url", Some(url.to_owned())),
            None => {
                let names = ["HUB_URL", "DATABASE_URL", "SUPABASE_URL"];
                let at = names.iter().position(|name| lookup(name).is_some());
                // One before it that names a file is meant to win: what is wrong with the file is said, not another hub used.
                problems
                    .extend(names.iter().take(at.unwrap_or(names.len())).filter_map(|name| file_problem(name, lookup)));
                at.map_or(("DATABASE_URL", None), |at| (names[at], lookup(names[at])))
            }
        };
        if let Some(name) = device.filter(|name| !is_device_name(name)) {
            problems.push(format!(
                "{name:?} is no name for a device: use 1 to 63 letters, digits, dots, dashes and underscores"
            ));
        }
        let target = match text.as_deref().map(|text| (text, Url::parse(text))) {
            None if !problems.is_empty() => None,
            None => {
                problems.push(
                    "where is the hub? Give --url or DATABASE_URL: postgres://… for a database, https://… for a Supabase project; \
                     `hub dev` runs one on this machine"
                        .into(),
                );
                None
            }
            // `localhost:54321` would be a URL, whose scheme is localhost.
            Some((text, _)) if !text.contains("://") => {
                problems.push(format!(
                    "{source} has no scheme: write http:// or https:// before the address of a project, postgres:// before that of a \
                     database"
                ));
                None
            }
            Some((_, Err(_))) => {
                problems.push(format!(
                    "{source} is not a URL; characters such as @ and / in a password must be percent-encoded"
                ));
                None
            }
            Some((text, Ok(parsed))) => match parsed.scheme() {
                "postgres" | "postgresql" => Some(Target::Postgres { url: SecretString::from(text.to_owned()) }),
                "http" | "https" => Self::api(parsed, device, lookup, &mut problems),
                _ => {
                    problems.push(format!("{source} must begin with postgres://, http:// or https://"));
                    None
                }
            },
        };
        match target {
            Some(target) if problems.is_empty() => Ok(Self {
                target,
                application: device.map_or_else(|| "hub".into(), |name| format!("hub worker {name}")),
            }),
            _ => Err(Error::Config(problems.join("\n"))),
        }
    }

    fn api(url: Url, device: Option<&str>, lookup: Lookup<'_>, problems: &mut Vec<String>) -> Option<Target> {
        let before = problems.len();
        if url.scheme() == "http" && !is_local(&url) {
            problems.push("an http:// URL sends keys in the clear: use https://, except for this machine".into());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            problems.push("the hub's URL carries no user, password or query: keys have their own names".into());
        }
        let service = secret("SUPABASE_SERVICE_ROLE_KEY", lookup, problems);
        let anon = secret("SUPABASE_ANON_KEY", lookup, problems);
        let of_device = device.and_then(|device| Some((device, secret("HUB_DEVICE_SECRET", lookup, problems)?)));
        let credential = if let Some((device, secret)) = of_device {
            Some(Credential::Password { email: device_email(device), password: SecretString::from(secret) })
        } else if let Some(token) = secret("HUB_TOKEN", lookup, problems) {
            Some(Credential::Token(SecretString::from(token)))
        } else {
            service.as_ref().map(|_| Credential::ServiceKey)
        };
        let wanted = if device.is_some() { "HUB_DEVICE_SECRET" } else { "HUB_TOKEN" };
        match &credential {
            // What is wrong with the file is among the problems.
            None if file_problem(wanted, lookup).is_some() => {}
            None if device.is_some() => {
                problems.push("HUB_DEVICE_SECRET (shown once by `hub device add`) is missing".into())
            }
            None => problems.push(
                "HUB_TOKEN (a person's token; `hub token` prints one of a `hub dev`) or SUPABASE_SERVICE_ROLE_KEY is missing"
                    .into(),
            ),
            Some(Credential::ServiceKey) => {}
            Some(_) if anon.is_none() && service.is_none() => problems.push("SUPABASE_ANON_KEY is missing".into()),
            Some(_) => {}
        }
        if problems.len() > before {
            return None;
        }
        // A person's or device's requests carry the anon key: who holds the service key by accident gains nothing by it.
        let key = if matches!(credential, Some(Credential::ServiceKey)) { service } else { anon.or(service) };
        Some(Target::Api { url, key: SecretString::from(key?), credential: credential? })
    }
}

/// A secret that can stand in a header, or a problem by name.
fn secret(name: &str, lookup: Lookup<'_>, problems: &mut Vec<String>) -> Option<String> {
    let Some(value) = lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()) else {
        problems.extend(file_problem(name, lookup));
        return None;
    };
    if !value.chars().all(|c| c.is_ascii_graphic()) {
        problems.push(format!("{name} has blanks or other characters that no key has"));
    }
    Some(value)
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_private(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: Option<&str>, device: Option<&str>, values: &[(&str, &str)]) -> Result<Config> {
        let values: BTreeMap<&str, &str> = values.iter().copied().collect();
        Config::read(url, device, &|name| values.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn the_urls_scheme_decides_between_postgres_and_api() {
        let config = read(Some("postgres://u:p@h/db"), None, &[]).unwrap();
        assert!(matches!(config.target, Target::Postgres { .. }));
        let config = read(
            Some("https://x.example"),
            None,
            &[("SUPABASE_SERVICE_ROLE_KEY", "k"), ("DATABASE_URL", "postgres://h/db")],
        )
        .unwrap();
        assert!(matches!(config.target, Target::Api { credential: Credential::ServiceKey, .. }));
        let config = read(
            None,
            Some("mac1"),
            &[("SUPABASE_URL", "http://127.0.0.1:54321"), ("SUPABASE_ANON_KEY", "a"), ("HUB_DEVICE_SECRET", "s")],
        );
        let Target::Api { credential: Credential::Password { email, .. }, .. } = config.unwrap().target else {
            panic!("not a device")
        };
        assert_eq!(email, "device+mac1@hub.invalid");
    }

    #[test]
    fn a_persons_token_wins_over_the_service_key() {
        let config =
            read(Some("https://x.example"), None, &[("SUPABASE_SERVICE_ROLE_KEY", "k"), ("HUB_TOKEN", "t")]).unwrap();
        assert!(matches!(config.target, Target::Api { credential: Credential::Token(_), .. }));
    }

    #[test]
    fn all_problems_are_reported_at_once_by_name_never_by_value() {
        let error = read(Some("http://hub.example"), Some("bad name"), &[("SUPABASE_ANON_KEY", "top secret")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("bad name"), "{error}");
        assert!(error.contains("https://"), "{error}");
        assert!(error.contains("SUPABASE_ANON_KEY has blanks"), "{error}");
        assert!(error.contains("HUB_DEVICE_SECRET"), "{error}");
        assert!(!error.contains("top secret"), "{error}");
        let error = read(Some("postgres//no:secret@x"), None, &[]).unwrap_err().to_string();
        assert!(error.contains("--url") && !error.contains("secret@"), "{error}");
        assert!(read(None, None, &[]).unwrap_err().to_string().contains("DATABASE_URL"));
    }

    #[test]
    fn a_secrets_file_that_can_not_be_read_is_named() {
        let at = ("SUPABASE_URL", "https://x.example");
        for (name, device) in [("HUB_DEVICE_SECRET_FILE", Some("mac1")), ("HUB_TOKEN_FILE", None)] {
            let error = read(None, device, &[at, ("SUPABASE_ANON_KEY", "a"), (name, "/nope")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("/nope") && error.contains("can not be read"), "{error}");
        }
        // And no other hub is used in the place of the one that the file should name.
        let error = read(None, None, &[at, ("SUPABASE_SERVICE_ROLE_KEY", "k"), ("DATABASE_URL_FILE", "/nope")]);
        assert!(error.unwrap_err().to_string().contains("DATABASE_URL_FILE names /nope"));
    }

    #[test]
    fn a_refused_credential_is_named_by_its_variable() {
        let password =
            Credential::Password { email: "device+a@hub.invalid".into(), password: "hush".to_owned().into() };
        for (credential, name) in [
            (Credential::ServiceKey, "SUPABASE_SERVICE_ROLE_KEY"),
            (Credential::Token("hush".to_owned().into()), "HUB_TOKEN"),
            (password, "HUB_DEVICE_SECRET"),
        ] {
            let once = credential.refused(Error::Unauthorized("JWT cryptographic operation failed".into()));
            let text = credential.refused(once).to_string();
            assert!(text.starts_with("not signed in: JWT") && text.matches(name).count() == 1, "{text}");
            assert!(!text.contains("hush"), "{text}");
        }
        let other = Credential::ServiceKey.refused(Error::Unreachable("away".into()));
        assert_eq!(other.to_string(), "away");
    }

    #[test]
    fn an_address_without_a_scheme_says_which_there_are() {
        for address in ["127.0.0.1:54321", "localhost:54321", "user:hush@abc.supabase.co"] {
            let error = read(Some(address), None, &[]).unwrap_err().to_string();
            assert!(error.contains("http://") && error.contains("https://") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        let config = read(Some("postgres://u:hush@h/db"), None, &[]).unwrap();
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn started_programs_get_the_environment_without_secrets() {
        for name in [
            "DATABASE_URL",
            "DATABASE_URL_FILE",
            "GITHUB_WEBHOOK_SECRET_FILE",
            "SUPABASE_SERVICE_ROLE_KEY",
            "HUB_DEVICE_SECRET",
            "HUB_TOKEN",
            "HUB_GITHUB_TOKEN_FILE",
            "DISCORD_BOT_TOKEN",
            "PGPASSWORD",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "HOME", "PGHOST", "ANTHROPIC_API_KEY", "SSL_CERT_FILE", "OTEL_SERVICE_NAME"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn reads_an_env_file() {
        let path = std::env::temp_dir().join(format!("hub-env-{}", std::process::id()));
        std::fs::write(&path, "# note\nA=1\nexport B=\"two words\"\n\nC='x=y'\n").unwrap();
        let values = read_env_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(values.len(), 3);
        assert_eq!(values["B"], "two words");
        assert_eq!(values["C"], "x=y");
    }

    #[test]
    fn device_names_are_those_the_table_accepts() {
        for name in ["dev", "Mac-1", "a.b_c", "9"] {
            assert!(is_device_name(name), "{name}");
        }
        for name in ["", "-x", ".x", "a b", "ä", "a/b", &"x".repeat(64)] {
            assert!(!is_device_name(name), "{name}");
        }
    }
}
