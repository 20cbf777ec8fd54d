//! Which hub a command means, and as whom it speaks.
//!
//! In order: `--url`; the `dev.env` of `--data-dir`; `DATABASE_URL` or `SUPABASE_URL` of the environment; the `dev.env` of a `hub dev`
//! that runs here.

use anyhow::{Context, Result, bail};
use hub::{
    Hub,
    config::{Config, Lookup, file_problem},
    patience::until_there,
};
use secrecy::SecretString;
use std::{collections::BTreeMap, path::PathBuf};
use tokio_util::sync::CancellationToken;

use crate::args::Global;

/// The variables that say where the hub is.
const PLACES: [&str; 3] = ["HUB_URL", "DATABASE_URL", "SUPABASE_URL"];
/// With the keys that fit to them: what belongs to another hub than the one that `--data-dir` names.
const OF_ONE_HUB: [&str; 7] = [
    "HUB_URL",
    "DATABASE_URL",
    "DATABASE_ADMIN_URL",
    "SUPABASE_URL",
    "SUPABASE_ANON_KEY",
    "SUPABASE_SERVICE_ROLE_KEY",
    "SUPABASE_JWT_SECRET",
];

/// Reads a variable of the environment.
type Environment = Box<dyn Fn(&str) -> Option<String>>;

/// Names and values from the environment and, where that says nothing of a hub, from `dev.env`.
pub struct Target {
    url: Option<String>,
    environment: Environment,
    from_file: BTreeMap<String, String>,
    /// `dev.env`, and why it was not read although it is there.
    file: PathBuf,
    unreadable: Option<String>,
    /// `--data-dir` was given: its `hub dev` is meant and no other hub.
    chosen: bool,
}

/// What a command needs to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// A person: sends, cancels, asks why.
    Person,
    /// Who runs the deployment: sees everything, enrols, lets in.
    Operator,
}

impl Target {
    /// # Errors
    /// When `--url` is no address of a hub.
    pub fn new(global: &Global) -> Result<Target> {
        Self::within(global, hub::config::environment)
    }

    fn within(global: &Global, environment: impl Fn(&str) -> Option<String> + 'static) -> Result<Target> {
        if let Some(url) = &global.url
            && !["postgres://", "postgresql://", "http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            // Not the address itself: it may hold a password.
            bail!(
                "--url has no scheme: write http:// or https:// before the address of a project, postgres:// before that of a database"
            );
        }
        let chosen = global.url.is_none() && global.data_dir.is_some();
        // A file that is named counts as well if it can not be read: else a command would go to another hub than the one that is meant.
        let is_set = |name: &&str| environment(name).is_some() || environment(&format!("{name}_FILE")).is_some();
        let named = global.url.is_some() || PLACES.iter().any(is_set);
        let file = global.data_dir().join("dev.env");
        let (mut from_file, mut unreadable) = (BTreeMap::new(), None);
        if chosen || !named {
            match hub::config::read_env_file(&file) {
                Ok(values) => from_file = values,
                Err(error) if !matches!(std::fs::metadata(&file), Err(e) if is_missing(&e)) => {
                    unreadable = Some(error.to_string());
                }
                Err(_) => {}
            }
        }
        Ok(Target { url: global.url.clone(), environment: Box::new(environment), from_file, file, unreadable, chosen })
    }

    /// A variable, wherever it is said.
    pub fn get(&self, name: &str) -> Option<String> {
        let from_file = || self.from_file.get(name).cloned();
        if !self.chosen {
            return (self.environment)(name).or_else(from_file);
        }
        from_file().or_else(|| (self.environment)(name).filter(|_| !OF_ONE_HUB.contains(&name)))
    }

    /// Whether it is a `hub dev`, as far as can be told.
    pub fn is_hub_dev(&self) -> bool {
        self.get("HUB_DEVICE_JWT").is_some()
    }

    pub fn secret(&self, name: &str) -> Result<SecretString> {
        let lookup: Lookup<'_> = &|name| self.get(name);
        self.get(name)
            .map(SecretString::from)
            .with_context(|| file_problem(name, lookup).unwrap_or_else(|| format!("{name} is not set")))
    }

    /// What it was told beside the environment, for who must not repeat it: an address with a password, the keys of `dev.env`.
    pub fn secrets(&self) -> Vec<SecretString> {
        let keys = self.from_file.iter().filter(|(name, _)| !name.ends_with("_EMAIL")).map(|(_, value)| value);
        self.url.iter().chain(keys).cloned().map(SecretString::from).collect()
    }

    /// The database's address, for commands that need Postgres itself.
    pub fn database_url(&self) -> Result<SecretString> {
        match &self.url {
            Some(url) if url.starts_with("postgres") => Ok(url.clone().into()),
            Some(_) => bail!("this command needs Postgres itself: give --url postgres://…, or DATABASE_URL"),
            None => {
                self.get("DATABASE_URL").map(SecretString::from).with_context(|| self.nothing_found("DATABASE_URL"))
            }
        }
    }

    /// The project's address and service key, for commands that make Auth users.
    pub fn project(&self) -> Result<(String, SecretString)> {
        let url = match &self.url {
            Some(url) if url.starts_with("http") => url.clone(),
            _ => self.get("SUPABASE_URL").with_context(|| self.nothing_found("SUPABASE_URL"))?,
        };
        Ok((url, self.secret("SUPABASE_SERVICE_ROLE_KEY")?))
    }

    /// Where Postgres is, if that is said anywhere.
    pub fn database_address(&self) -> Option<SecretString> {
        let postgres = |url: &String| url.starts_with("postgres");
        let url = self.url.clone().filter(postgres).or_else(|| self.get("HUB_URL").filter(postgres));
        url.or_else(|| self.get("DATABASE_URL")).map(SecretString::from)
    }

    /// Where the project's API is, if that is said anywhere.
    pub fn project_address(&self) -> Option<String> {
        let http = |url: &String| url.starts_with("http");
        let url = self.url.clone().filter(http).or_else(|| self.get("HUB_URL").filter(http));
        url.or_else(|| self.get("SUPABASE_URL")).map(|url| url.trim_end_matches('/').to_owned())
    }

    /// The project at `url`, as who runs the deployment, else as a person.
    pub async fn connect_project(&self, url: &str) -> Result<Hub> {
        let service = self.get("SUPABASE_SERVICE_ROLE_KEY").is_some();
        let lookup = |name: &str| match name {
            "HUB_TOKEN" if service => None,
            _ => self.get(name),
        };
        Ok(Hub::connect(&Config::read(Some(url), None, &lookup)?).await?)
    }

    pub async fn connect(&self, who: As) -> Result<Hub> {
        Ok(Hub::connect(&self.config(who, None)?).await?)
    }

    /// For a worker, which waits for a hub that is away. None if `shutdown` came first.
    pub async fn connect_device(&self, device: &str, shutdown: &CancellationToken) -> Result<Option<Hub>> {
        let config = self.config(As::Operator, Some(device))?;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(None),
            hub = until_there(|| Hub::connect(&config)) => Ok(Some(hub?)),
        }
    }

    fn config(&self, who: As, device: Option<&str>) -> Result<Config> {
        if self.url.is_none() && self.from_file.is_empty() && PLACES.iter().all(|name| self.get(name).is_none()) {
            bail!(self.nothing_found("DATABASE_URL"));
        }
        let as_person = who == As::Person && self.from_file.contains_key("HUB_OPERATOR_JWT");
        let lookup = |name: &str| match name {
            // A person of `hub dev` speaks as the operator, through the API, as Aura does.
            "HUB_URL" if as_person => self.get("SUPABASE_URL"),
            "HUB_TOKEN" if as_person => self.get("HUB_TOKEN").or_else(|| self.get("HUB_OPERATOR_JWT")),
            // Who runs the deployment does not speak as a person who happens to be signed in here.
            "HUB_TOKEN" if who == As::Operator && self.get("SUPABASE_SERVICE_ROLE_KEY").is_some() => None,
            _ => self.get(name),
        };
        Ok(Config::read(self.url.as_deref(), device, &lookup)?)
    }

    fn nothing_found(&self, variable: &str) -> String {
        if let Some(why) = &self.unreadable {
            return format!(
                "{why}. It belongs to whoever runs the `hub dev` there: run this as the same user, or give --url"
            );
        }
        let file = self.file.display();
        if self.chosen {
            return format!(
                "no `hub dev` is running there ({file} is missing): start it with `hub dev --data-dir DIR`, or name the folder where one runs"
            );
        }
        if let Some(why) = PLACES.iter().find_map(|name| file_problem(name, &*self.environment)) {
            return why;
        }
        format!(
            "{variable} is not set, and no `hub dev` is running here ({file} is missing): start one with `hub dev`, give --url, or say where \
             a `hub dev` runs with --data-dir or HUB_DEV_DATA_DIR"
        )
    }
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const DEV: &str = "DATABASE_URL=postgres://dev@127.0.0.1:54322/postgres\nSUPABASE_SERVICE_ROLE_KEY=of-dev\n";

    /// A folder with a `dev.env`, and what a command there takes from it and from these variables.
    fn target(dev: Option<&str>, variables: &'static [(&str, &str)]) -> (Target, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = dev {
            std::fs::write(dir.path().join("dev.env"), text).unwrap();
        }
        let environment = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let global = Global { url: None, json: false, data_dir: Some(dir.path().to_path_buf()) };
        (Target::within(&global, environment).unwrap(), dir)
    }

    #[test]
    fn a_data_dir_that_is_given_wins_over_the_environment() {
        let elsewhere = &[("DATABASE_URL", "postgres://x@prod/x"), ("SUPABASE_SERVICE_ROLE_KEY", "of-prod")];
        let (here, _dir) = target(Some(DEV), elsewhere);
        assert!(here.database_url().unwrap().expose_secret().contains("127.0.0.1:54322"));
        assert_eq!(here.get("SUPABASE_SERVICE_ROLE_KEY").as_deref(), Some("of-dev"));
        // Nor does it where there is nothing.
        let (nothing, _dir) = target(None, elsewhere);
        let said = nothing.database_url().unwrap_err().to_string();
        assert!(said.contains("dev.env is missing"), "{said}");
        assert!(nothing.database_address().is_none() && nothing.project_address().is_none());
        assert!(nothing.config(As::Operator, None).is_err());
    }

    #[test]
    fn other_variables_of_the_environment_still_count() {
        let (here, _dir) = target(Some(DEV), &[("DISCORD_BOT_TOKEN", "t"), ("HUB_TOKEN", "mine")]);
        assert_eq!(here.get("DISCORD_BOT_TOKEN").as_deref(), Some("t"));
        assert_eq!(here.get("HUB_TOKEN").as_deref(), Some("mine"));
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let (nothing, _dir) = target(None, &[]);
        assert!(nothing.database_url().unwrap_err().to_string().contains("--data-dir"));
        let dir = tempfile::tempdir().unwrap();
        // A folder can not be read as a file, whoever asks.
        std::fs::create_dir(dir.path().join("dev.env")).unwrap();
        let global = Global { url: None, json: false, data_dir: Some(dir.path().to_path_buf()) };
        let said = Target::within(&global, |_| None).unwrap().database_url().unwrap_err().to_string();
        assert!(said.contains("dev.env can not be read") && said.contains("same user"), "{said}");
        let absent = Global { url: None, json: false, data_dir: None };
        let said = Target::within(&absent, |_| None).unwrap().nothing_found("DATABASE_URL");
        assert!(said.contains("--data-dir") && said.contains("HUB_DEV_DATA_DIR"), "{said}");
    }

    #[test]
    fn a_file_that_is_named_and_can_not_be_read_is_not_passed_over() {
        let lookup = |name: &str| (name == "DATABASE_URL_FILE").then(|| "/nope".to_owned());
        let global = Global { url: None, json: false, data_dir: None };
        let said = Target::within(&global, lookup).unwrap().database_url().unwrap_err().to_string();
        assert!(said.contains("DATABASE_URL_FILE") && said.contains("/nope"), "{said}");
    }

    #[test]
    fn an_address_without_a_scheme_is_refused_without_repeating_it() {
        let global = Global { url: Some("user:hush@127.0.0.1:54321".into()), json: false, data_dir: None };
        let said = Target::within(&global, |_| None).err().unwrap().to_string();
        assert!(said.contains("http://") && said.contains("https://") && !said.contains("hush"), "{said}");
    }
}
