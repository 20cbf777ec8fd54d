//! What to tell when all is ready.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// The data directory, if commands must be told of it: it is not the default.
    pub data_dir: Option<PathBuf>,
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
        let given = self.data_dir.as_deref().map(|dir| format!(" --data-dir {}", in_shell(dir))).unwrap_or_default();
        writeln!(f, "  hub send buf-barista/quick \"What is in this folder?\" --wait{given}")?;
        writeln!(f, "  hub send cloud-hub/dispatch \"Survey the project\" --wait{given}")?;
        write!(f, "  hub devices{given}")
    }
}

/// As a shell reads it as one word.
fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().all(|c| c.is_alphanumeric() || "/._-+,:@%".contains(c)) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(data_dir: Option<&str>) -> String {
        let ready = Ready {
            api_url: "http://127.0.0.1:54321".into(),
            database_url: "postgres://postgres@127.0.0.1:54322/postgres".into(),
            env_file: ".hub/dev.env".into(),
            projects_root: ".hub/projects".into(),
            data_dir: data_dir.map(PathBuf::from),
            device: None,
            postgres_major: 15,
            took: Duration::from_secs(3),
        };
        ready.to_string()
    }

    #[test]
    fn the_commands_name_a_data_directory_that_is_not_the_default() {
        assert!(!banner(None).contains("--data-dir"));
        let told = banner(Some("/tmp/other hub"));
        assert_eq!(told.matches(" --data-dir '/tmp/other hub'\n").count(), 2, "{told}");
        assert!(told.ends_with("hub devices --data-dir '/tmp/other hub'"), "{told}");
        assert!(banner(Some("../hub2")).ends_with(" --data-dir ../hub2"));
    }
}
