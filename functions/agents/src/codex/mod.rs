//! Codex: `codex app-server`, which can be told things while it works, and `codex exec`, which can not.

mod app_server;
mod asks;
mod exec;
mod item;
mod launch;
mod messages;
#[cfg(test)]
mod tests;

pub use app_server::Codex;
pub use exec::CodexExec;
pub use launch::{app_server_arguments, exec_arguments};

use crate::story::Name;

fn name() -> Name {
    Name {
        name: "Codex".into(),
        login: "Run codex login on this machine as the worker's user, or give it a valid CODEX_API_KEY.".into(),
    }
}
