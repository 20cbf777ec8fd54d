//! What an agent may do without asking.

/// What an agent may do without asking. What goes beyond is refused, and a run with a refusal is no success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Read and search in its folder.
    ReadOnly,
    /// Change files in its folder and run programs there.
    #[default]
    Edit,
    /// Everything that the worker's user can.
    Full,
}

impl Policy {
    /// By the name in a configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::Edit => "edit",
            Self::Full => "full",
        }
    }
}
