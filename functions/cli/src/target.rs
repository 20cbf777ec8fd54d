//! Which hub a command means, and as whom it speaks.
//!
//! In order: `--url`; `DATABASE_URL` or `SUPABASE_URL` of the environment; the `dev.env` of a running `hub dev`.

use anyhow::{Context, Result, bail};
use hub::{Hub, config::Config};
use secrecy::SecretString;
use std::collections::BTreeMap;

use crate::args::Global;

/// Names and values from the environment and, where that says nothing of a hub, from `dev.env`.
pub struct Target {
    url: Option<String>,
    from_file: BTreeMap<String, String>,
    data_dir: String,
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
    pub fn new(global: &Global) -> Target {
        let named = global.url.is_some()
            || ["HUB_URL", "DATABASE_URL", "SUPABASE_URL"].iter().any(|name| hub::config::environment(name).is_some());
        let file = global.data_dir.join("dev.env");
        let from_file = if named { BTreeMap::new() } else { hub::config::read_env_file(&file).unwrap_or_default() };
        Target { url: global.url.clone(), from_file, data_dir: global.data_dir.display().to_string() }
    }

    /// A variable, wherever it is said.
    pub fn get(&self, name: &str) -> Option<String> {
        hub::config::environment(name).or_else(|| self.from_file.get(name).cloned())
    }

    pub fn secret(&self, name: &str) -> Result<SecretString> {
        self.get(name).map(SecretString::from).with_context(|| format!("{name} is not set"))
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

    /// Where the project's functions are, if that is known.
    pub fn project_url(&self) -> Option<String> {
        self.url.clone().filter(|url| url.starts_with("http")).or_else(|| self.get("SUPABASE_URL"))
    }

    pub async fn connect(&self, who: As) -> Result<Hub> {
        Ok(Hub::connect(&self.config(who, None)?).await?)
    }

    pub async fn connect_device(&self, device: &str) -> Result<Hub> {
        Ok(Hub::connect(&self.config(As::Operator, Some(device))?).await?)
    }

    fn config(&self, who: As, device: Option<&str>) -> Result<Config> {
        if self.url.is_none()
            && self.from_file.is_empty()
            && ["HUB_URL", "DATABASE_URL", "SUPABASE_URL"].iter().all(|n| self.get(n).is_none())
        {
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
        format!(
            "{variable} is not set, and no `hub dev` is running here ({}/dev.env): start one with `hub dev`, or give --url",
            self.data_dir
        )
    }
}
