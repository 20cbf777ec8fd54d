//! What can go wrong between this program and Discord. No text of it carries a token or what somebody wrote.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// `Display` is for people, and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting, or the registry, is not what Discord takes. One problem a line.
    #[error("{0}")]
    Config(String),
    /// Discord refused, for good.
    #[error("{text}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What was refused and what to do about it.
        text: String,
    },
    /// Discord asks to wait for longer than this program does.
    #[error("Discord takes no more requests for {seconds} s: try again then")]
    Limited {
        /// Rounded up.
        seconds: u64,
    },
    /// Discord does not answer, or answers 5xx. Trying again later makes sense.
    #[error("{0}")]
    Unreachable(String),
    /// The Gateway ended the connection for good.
    #[error("{0}")]
    Gateway(String),
    /// The hub.
    #[error(transparent)]
    Hub(#[from] hub::Error),
}
