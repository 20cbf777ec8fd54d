//! What to tell when all is ready.

use std::{fmt, path::PathBuf, time::Duration};

/// The addresses of a stack that is ready. It prints as the table that a person reads.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The gateway: `/rest/v1`, `/auth/v1`, `/health`.
    pub api_url: String,
    /// As the role `postgres`, without its password: what is printed ends up in logs, and [`Ready::env_file`] has it.
    pub database_url: String,
    /// Keys and tokens.
    pub env_file: PathBuf,
    /// Where the channels' projects are.
    pub projects_root: PathBuf,
    /// The device that runs in this process.
    pub device: Option<String>,
    /// The major version of Postgres.
    pub postgres_major: u32,
    /// From the start to now.
    pub took: Duration,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = match &self.device {
            Some(name) => format!("{name}, which runs the agent survey for every model"),
            None => "none here (--no-worker)".into(),
        };
        writeln!(f, "Ready in {:.1} s.", self.took.as_secs_f64())?;
        writeln!(f)?;
        writeln!(f, "  API       {}", self.api_url)?;
        writeln!(f, "  Keys      {}", self.env_file.display())?;
        writeln!(
            f,
            "  Postgres  {} (version {}; its password is in DATABASE_URL there)",
            self.database_url, self.postgres_major
        )?;
        writeln!(f, "  Projects  {}", self.projects_root.display())?;
        writeln!(f, "  Device    {device}")?;
        writeln!(f)?;
        writeln!(f, "Try, in another terminal:")?;
        writeln!(f, "  hub send buf-barista/quick \"What is in this folder?\" --wait")?;
        writeln!(f, "  hub send cloud-hub/dispatch \"Survey the project\" --wait")?;
        write!(f, "  hub devices")
    }
}
