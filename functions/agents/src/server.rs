//! How a program finds the hub while it works: as a server of the Model Context Protocol, which it starts for itself. Each program is
//! told of it at its start, by its own means; no file of its owner's is changed.

use serde_json::{Value, json};

/// The hub as such a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubServer {
    /// The program `hub`, by its full path.
    pub program: String,
    /// The socket of the attempt.
    pub socket: String,
}

impl HubServer {
    /// Its name among the servers that a program has.
    pub const NAME: &'static str = "hub";
    /// What the program `hub` is started with.
    pub const COMMAND: &'static str = "mcp";
    /// The variable that says where the socket is. It is no secret: who may use it is asked there.
    pub const VARIABLE: &'static str = "HUB_ATTEMPT_SOCKET";
    /// The tools it has.
    pub const TOOLS: [&'static str; 5] = ["say", "ask", "subtask", "subtask_result", "thread"];
    /// The longest that a call takes, in seconds: a person may have to answer it. The worker ends it before.
    const CALL_SECONDS: u32 = 24 * 3600;

    /// For Claude's `--mcp-config`.
    pub(crate) fn claude(&self) -> String {
        let server = json!({
            "type": "stdio",
            "command": self.program,
            "args": [Self::COMMAND],
            "env": {Self::VARIABLE: self.socket},
            "timeout": Self::CALL_SECONDS * 1000,
        });
        json!({"mcpServers": {Self::NAME: server}}).to_string()
    }

    /// Whether a tool of this kind, as a program of the Agent Client Protocol names it or shows it to people, is one of the hub's.
    pub(crate) fn has(kind: Option<&str>, name: Option<&str>, title: Option<&str>) -> bool {
        let is = |text: &str, tool: &str| {
            // Claude's adapter; Gemini CLI.
            text.strip_prefix("mcp__hub__") == Some(tool) || text.strip_suffix(" (hub MCP Server)") == Some(tool)
        };
        // What a shell is to run stands in the title, too.
        matches!(kind, None | Some("other"))
            && name.or(title).is_some_and(|text| Self::TOOLS.iter().any(|tool| is(text, tool)))
    }

    /// For Codex' `-c`. A JSON string is a TOML string, but for the delete character, which is in no path that anybody meant.
    pub(crate) fn codex(&self) -> String {
        let text = |text: &str| Value::from(text);
        format!(
            "mcp_servers.{}={{command={},args=[{}],env={{{}={}}},tool_timeout_sec={}}}",
            Self::NAME,
            text(&self.program),
            text(Self::COMMAND),
            Self::VARIABLE,
            text(&self.socket),
            Self::CALL_SECONDS
        )
    }

    /// For the list `mcpServers` of the Agent Client Protocol.
    pub(crate) fn acp(&self) -> Value {
        let variable = json!({"name": Self::VARIABLE, "value": self.socket});
        json!({"name": Self::NAME, "command": self.program, "args": [Self::COMMAND], "env": [variable]})
    }
}
