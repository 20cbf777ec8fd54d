//! What a program is started with, and which codec speaks with it: by its dialect.

use crate::{Acp, Claude, Codec, Codex, CodexExec, Job};

/// The languages of programs, and the ways in which one is started for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Claude Code, `stream-json` in both directions.
    Claude,
    /// `codex app-server`.
    Codex,
    /// `codex exec --json`, where there is no app server.
    CodexExec,
    /// The Agent Client Protocol, as Gemini CLI is started for it.
    Gemini,
    /// The Agent Client Protocol, of a program that needs no arguments but its own.
    Acp,
}

impl Dialect {
    /// Who speaks with it.
    #[must_use]
    pub fn codec(self, job: Job) -> Box<dyn Codec> {
        match self {
            Self::Claude => Box::new(Claude::new(job)),
            Self::Codex => Box::new(Codex::new(job)),
            Self::CodexExec => Box::new(CodexExec::new(job)),
            Self::Gemini | Self::Acp => Box::new(Acp::new(job)),
        }
    }

    /// The adapter that speaks it, by its name in a configuration.
    #[must_use]
    pub fn adapter(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex | Self::CodexExec => "codex",
            Self::Gemini | Self::Acp => "acp",
        }
    }

    /// What it is started with: what makes it speak, what it may do, whether the folder's own settings and hooks count (`trusted`), and
    /// the arguments of its owner.
    #[must_use]
    pub fn arguments(self, job: &Job, trusted: bool, extra: &[String]) -> Vec<String> {
        match self {
            Self::Claude => crate::claude::arguments(job, trusted, extra),
            Self::Codex => crate::codex::app_server_arguments(job, trusted, extra),
            Self::CodexExec => crate::codex::exec_arguments(job, trusted, extra),
            Self::Gemini => crate::acp::gemini_arguments(job, trusted, extra),
            Self::Acp => extra.to_vec(),
        }
    }

    /// Variables that it is started with, where its owner has not set them.
    #[must_use]
    pub fn environment(self, job: &Job) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Claude => crate::claude::environment(job.policy),
            _ => Vec::new(),
        }
    }
}
