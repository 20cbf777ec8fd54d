//! Programs that are known by name: how each is asked for its version and its login, which version is needed, how to get it.

use crate::Dialect;

/// What is known of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// Its name in `PATH`, and the model preference it stands for.
    pub name: &'static str,
    /// What it speaks.
    pub dialect: Dialect,
    /// The oldest version that was tried with what is here.
    pub oldest: [u32; 3],
    /// How to get it.
    pub install: &'static str,
    /// The arguments by which it says whether somebody is logged in: exit code 0 if so. Asks no network.
    pub login: Option<&'static [&'static str]>,
    /// Variables any of which is a login, whatever the program itself says.
    pub keys: &'static [&'static str],
    /// The folder of its settings, below the home folder, and the variable that says another.
    pub settings: (&'static str, &'static str),
    /// Files below that folder which hold a login.
    pub credentials: &'static [&'static str],
    /// How to log in.
    pub how: &'static str,
    /// What it can do besides working: go on with a session, take a word while it works, ask, tell its limits.
    pub can: Can,
}

/// What a program can do besides working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Can {
    /// Go on with an earlier session.
    pub resume: bool,
    /// Take a word while it works.
    pub steer: bool,
    /// Ask before it does something.
    pub ask: bool,
    /// Tell when its limits end.
    pub limits: bool,
}

/// All of them.
pub const KNOWN: [Known; 3] = [
    Known {
        name: "claude",
        dialect: Dialect::Claude,
        oldest: [2, 1, 197],
        install: "npm install -g @anthropic-ai/claude-code@latest",
        login: Some(&["auth", "status"]),
        keys: &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"],
        settings: (".claude", "CLAUDE_CONFIG_DIR"),
        credentials: &[".credentials.json"],
        how: "run claude there and type /login, or give its worker ANTHROPIC_API_KEY",
        can: Can { resume: true, steer: true, ask: true, limits: true },
    },
    Known {
        name: "codex",
        dialect: Dialect::Codex,
        oldest: [0, 160, 0],
        install: "npm install -g @openai/codex",
        login: Some(&["login", "status"]),
        keys: &["CODEX_API_KEY"],
        settings: (".codex", "CODEX_HOME"),
        credentials: &["auth.json"],
        how: "run codex login there",
        can: Can { resume: true, steer: true, ask: true, limits: true },
    },
    Known {
        name: "gemini",
        dialect: Dialect::Gemini,
        oldest: [0, 61, 0],
        install: "npm install -g @google/gemini-cli",
        login: None,
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"],
        settings: (".gemini", "GEMINI_CLI_HOME"),
        credentials: &["oauth_creds.json", ".env"],
        how: "give its worker GEMINI_API_KEY",
        can: Can { resume: true, steer: false, ask: true, limits: false },
    },
];

impl Known {
    /// By the name of a program, without its folder.
    #[must_use]
    pub fn of(program: &str) -> Option<&'static Self> {
        let name = program.rsplit('/').next().unwrap_or(program);
        KNOWN.iter().find(|known| known.name == name)
    }

    /// Whether a version is one that was tried, or newer.
    #[must_use]
    pub fn is_new_enough(&self, version: [u32; 3]) -> bool {
        version >= self.oldest
    }
}

/// The first version in a line that programs print: `2.1.332 (Claude Code)`, `codex-cli 0.171.0`.
#[must_use]
pub fn version(printed: &str) -> Option<[u32; 3]> {
    printed.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let mut numbers = word.split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Some([major, minor, patch]),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert_eq!(version("2.1.332 (Claude Code)"), Some([2, 1, 332]));
        assert_eq!(version("codex-cli 0.171.0\n"), Some([0, 171, 0]));
        assert_eq!(version("v20.20.2"), Some([20, 20, 2]));
        assert_eq!(version("1.2 and 99999999999.1.1 and 1.2.3.4"), None);
        let claude = Known::of("/usr/bin/claude").unwrap();
        assert!(claude.is_new_enough([2, 2, 0]) && !claude.is_new_enough([2, 1, 196]));
        assert_eq!(Known::of("cat"), None);
    }
}
