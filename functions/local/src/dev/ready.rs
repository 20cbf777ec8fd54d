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
    /// The agents that it offers.
    pub agents: Vec<String>,
    /// How this program is called from here.
    pub program: String,
    /// The major version of Postgres.
    pub postgres_major: u32,
    /// From the start to now.
    pub took: Duration,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = match &self.device {
            Some(name) => match self.agents.as_slice() {
                [only] if only == "survey" => format!("{name}, which runs the agent survey for every model"),
                agents => format!("{name}, which runs {}", agents.join(", ")),
            },
            None => "none here (--no-worker): tasks wait until a worker runs".into(),
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
        let hub = &self.program;
        // Without a worker nobody answers whoever waits.
        let wait = if self.device.is_some() { " --wait" } else { "" };
        writeln!(f, "  {hub} send buf-barista/quick \"What is in this folder?\"{wait}{given}")?;
        writeln!(f, "  {hub} send cloud-hub/dispatch \"Survey the project\"{wait}{given}")?;
        writeln!(f, "  {hub} agents                # to have Claude, Codex or Gemini do the work")?;
        write!(f, "  {hub} devices{given}")
    }
}

/// The name of this program where `PATH` leads to it, else the way to it from here: after `cargo run` there is no `hub` yet.
pub(crate) fn program() -> String {
    let Ok(this) = std::env::current_exe().and_then(|exe| exe.canonicalize()) else {
        return "hub".into();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join("hub").canonicalize().is_ok_and(|found| found == this)) {
        return "hub".into();
    }
    let here = std::env::current_dir().and_then(|dir| dir.canonicalize()).ok();
    in_shell(here.and_then(|dir| this.strip_prefix(dir).ok()).unwrap_or(&this))
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

    fn banner(data_dir: Option<&str>, device: Option<&str>) -> String {
        let ready = Ready {
            api_url: "http://127.0.0.1:54321".into(),
            database_url: "postgres://postgres@127.0.0.1:54322/postgres".into(),
            env_file: ".hub/dev.env".into(),
            projects_root: ".hub/projects".into(),
            data_dir: data_dir.map(PathBuf::from),
            device: device.map(Into::into),
            agents: vec!["survey".into()],
            program: "target/release/hub".into(),
            postgres_major: 15,
            took: Duration::from_secs(3),
        };
        ready.to_string()
    }

    #[test]
    fn the_commands_name_a_data_directory_that_is_not_the_default() {
        assert!(!banner(None, Some("dev")).contains("--data-dir"));
        let told = banner(Some("/tmp/other hub"), Some("dev"));
        assert_eq!(told.matches(" --data-dir '/tmp/other hub'\n").count(), 2, "{told}");
        assert!(told.ends_with("hub devices --data-dir '/tmp/other hub'"), "{told}");
        assert!(banner(Some("../hub2"), Some("dev")).ends_with(" --data-dir ../hub2"));
    }

    #[test]
    fn the_commands_can_be_typed_as_they_stand() {
        let told = banner(None, Some("dev"));
        assert!(
            told.contains("  target/release/hub send buf-barista/quick \"What is in this folder?\" --wait\n"),
            "{told}"
        );
        let alone = banner(None, None);
        assert!(alone.contains("tasks wait until a worker runs") && !alone.contains("--wait"), "{alone}");
    }
}
