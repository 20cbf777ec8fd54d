//! One error type. SQLSTATE becomes a variant in [`Error::refused`] and nowhere else; PostgREST's errors go the same way.

use std::{fmt, time::Duration};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What Postgres or PostgREST said when it refused: a constant message, the values, and what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// SQLSTATE, or PostgREST's own code (`PGRST…`).
    pub code: String,
    /// Constant for a kind of error.
    pub message: String,
    /// The values it is about.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// How long to wait before the same call, where the hint says so.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let (seconds, _) = self.hint.as_deref()?.split_once("Try again in ")?.1.split_once(" s")?;
        seconds.parse().ok().map(Duration::from_secs)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = self.detail.as_deref().filter(|text| !text.is_empty()) {
            write!(f, ": {detail}")?;
        }
        if let Some(hint) = self.hint.as_deref().filter(|text| !text.is_empty()) {
            write!(f, ". {hint}")?;
        }
        Ok(())
    }
}

/// Everything that can go wrong between a program and the hub. `Display` is for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong; the text names every problem and no value.
    #[error("{0}")]
    Config(String),
    /// `UH001`, or a value that Postgres can not take.
    #[error("{0}")]
    BadInput(Refusal),
    /// `UH002`: the attempt is no longer ours. What it did is to be discarded.
    #[error("{0}")]
    LeaseLost(Refusal),
    /// `UH003`, or a unique constraint: the state, or what is already there, does not allow it.
    #[error("{0}")]
    Conflict(Refusal),
    /// `UH004`: not there, or not to be seen by this caller.
    #[error("{0}")]
    NotFound(Refusal),
    /// `UH005`: the device is revoked or was never registered.
    #[error("{0}")]
    DeviceRevoked(Refusal),
    /// `UH006`: more than the hub's quotas let this caller write; [`Refusal::wait`] says for how long.
    #[error("{0}")]
    TooMany(Refusal),
    /// 42501: the caller may not.
    #[error("{0}")]
    Forbidden(Refusal),
    /// The token or password is missing, wrong or expired.
    #[error("not signed in: {0}")]
    Unauthorized(String),
    /// The database lacks what this program needs.
    #[error("{0}")]
    Schema(String),
    /// Nobody answers, or not in time. Trying again later makes sense.
    #[error("{0}")]
    Unreachable(String),
    /// Postgres asks to try again: a deadlock, a serialisation failure, a timeout.
    #[error("the database is busy: {0}")]
    Busy(Refusal),
    /// An answer over HTTP that is not PostgREST's.
    #[error("the hub's URL answered {status}: {text}")]
    Http {
        /// The HTTP status.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// Any other error of the database.
    #[error("the database reports {} ({})", .0, .0.code)]
    Database(Refusal),
    /// An answer that can not be read, or a fault of this program.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The one place where a code becomes a variant: SQLSTATE from Postgres, the same in PostgREST's `code`, or its own.
    #[must_use]
    pub fn refused(refusal: Refusal) -> Self {
        let code = refusal.code.as_str();
        match code {
            // As bytes of a text, and as an escape in JSON.
            "22021" if refusal.message.ends_with("0x00") => Self::BadInput(with_nul(refusal)),
            "22P05" if refusal.detail.as_deref().is_some_and(|text| text.starts_with("\\u0000")) => {
                Self::BadInput(with_nul(refusal))
            }
            "UH001" => Self::BadInput(refusal),
            "UH002" => Self::LeaseLost(refusal),
            "UH003" | "23505" => Self::Conflict(refusal),
            "UH004" | "PGRST116" => Self::NotFound(refusal),
            "UH005" => Self::DeviceRevoked(refusal),
            "UH006" => Self::TooMany(refusal),
            "42501" => Self::Forbidden(refusal),
            "40001" | "40P01" | "55P03" | "57014" => Self::Busy(refusal),
            "25006" => Self::Unreachable(format!(
                "Postgres takes no writes now ({refusal}); it may be a standby, or set read-only because its disk is full"
            )),
            "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25P03" => Self::Unreachable(format!(
                "Postgres takes no connection now ({refusal}); it may be starting, stopping or full"
            )),
            "28000" | "28P01" => Self::Unauthorized(format!("{refusal}; check user and password in the database URL")),
            "3D000" => Self::Schema(format!("{refusal}; check the name at the end of the database URL")),
            "42883" | "42P01" | "42703" | "3F000" | "PGRST202" | "PGRST205" => {
                Self::Schema(format!("the database is not at this program's schema ({refusal}): run `hub migrate`"))
            }
            // PostgREST, or what stands for it, can not reach its database.
            "PGRST000" | "PGRST001" | "PGRST002" | "PGRST003" => Self::Unreachable(refusal.to_string()),
            "PGRST300" | "PGRST301" | "PGRST302" | "PGRST303" => Self::Unauthorized(refusal.to_string()),
            // Class 08 is connections, 53 a want of disk or memory, 58 the system around, 22 values, 23 the other constraints.
            _ if code.starts_with("08") => Self::Unreachable(refusal.to_string()),
            _ if code.starts_with("53") || code.starts_with("58") => Self::Busy(refusal),
            _ if code.starts_with("22") || code.starts_with("23") => Self::BadInput(refusal),
            _ => Self::Database(refusal),
        }
    }

    /// Whether the same call may well succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy(_) => true,
            Self::TooMany(refusal) => refusal.wait().is_some(),
            Self::Http { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// What Postgres or PostgREST said, where the error comes from there.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::BadInput(r)
            | Self::LeaseLost(r)
            | Self::Conflict(r)
            | Self::NotFound(r)
            | Self::DeviceRevoked(r)
            | Self::TooMany(r)
            | Self::Forbidden(r)
            | Self::Busy(r)
            | Self::Database(r) => Some(r),
            _ => None,
        }
    }

    /// The SQLSTATE that says this error to whoever knows no more: the one it was made of, or that of a lost connection.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Unreachable(_) => Some("08006"),
            _ => self.refusal().map(|refusal| refusal.code.as_str()).filter(|code| !code.is_empty()),
        }
    }

    /// Not found, in our own words.
    #[must_use]
    pub fn not_found(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::NotFound(ours("UH004", "not found", what.into(), hint.into()))
    }

    /// Bad input, in our own words.
    #[must_use]
    pub fn bad_input(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::BadInput(ours("UH001", "bad input", what.into(), hint.into()))
    }
}

fn with_nul(refusal: Refusal) -> Refusal {
    ours(
        &refusal.code,
        "bad input",
        "the text has a NUL character, which can not be kept".into(),
        "Send it without.".into(),
    )
}

fn ours(code: &str, message: &str, detail: String, hint: String) -> Refusal {
    Refusal { code: code.into(), message: message.into(), detail: Some(detail), hint: Some(hint) }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => {
                let (detail, hint) = match database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                    Some(e) => (e.detail().map(str::to_owned), e.hint().map(str::to_owned)),
                    None => (None, None),
                };
                Self::refused(Refusal {
                    code: database.code().map(Into::into).unwrap_or_default(),
                    message: database.message().to_owned(),
                    detail,
                    hint,
                })
            }
            sqlx::Error::Io(io) => Self::Unreachable(format!("the connection to Postgres failed: {io}")),
            sqlx::Error::Tls(tls) => Self::Unreachable(format!("the TLS connection to Postgres failed: {tls}")),
            sqlx::Error::PoolTimedOut => Self::Unreachable(
                "no connection to Postgres was free in time: it does not answer, or all connections are in use".into(),
            ),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                Self::Unreachable("the connections to Postgres were closed".into())
            }
            sqlx::Error::Protocol(text) => Self::Unreachable(format!("the connection to Postgres broke: {text}")),
            sqlx::Error::RowNotFound => Self::not_found("row", "Check the id, and that you may read it."),
            // What could not be decoded may be in the text: it goes no further than the kind.
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::Internal(format!("the database's answer can not be read (column {index})"))
            }
            other => Self::Internal(format!("the database driver reports: {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str) -> Error {
        Error::refused(Refusal { code: code.into(), message: "m".into(), ..Refusal::default() })
    }

    #[test]
    fn every_code_has_its_variant() {
        assert!(matches!(of("UH001"), Error::BadInput(_)));
        assert!(matches!(of("UH002"), Error::LeaseLost(_)));
        assert!(matches!(of("UH003"), Error::Conflict(_)));
        assert!(matches!(of("23505"), Error::Conflict(_)));
        assert!(matches!(of("UH004"), Error::NotFound(_)));
        assert!(matches!(of("UH005"), Error::DeviceRevoked(_)));
        assert!(matches!(of("42501"), Error::Forbidden(_)));
        assert!(matches!(of("40001"), Error::Busy(_)));
        assert!(matches!(of("57P01"), Error::Unreachable(_)));
        assert!(matches!(of("25006"), Error::Unreachable(why) if why.contains("takes no writes")));
        assert!(matches!(of("08006"), Error::Unreachable(_)));
        assert!(matches!(of("22P02"), Error::BadInput(_)));
        assert!(matches!(of("23514"), Error::BadInput(_)));
        assert!(matches!(of("42883"), Error::Schema(_)));
        assert!(matches!(of("PGRST202"), Error::Schema(_)));
        assert!(matches!(of("PGRST301"), Error::Unauthorized(_)));
        assert!(matches!(of("XX000"), Error::Database(_)));
    }

    #[test]
    fn only_errors_worth_a_retry_are_transient() {
        for code in ["57P01", "08006", "40P01", "53300", "57014", "53100", "53200", "53400", "58030", "25P03"] {
            assert!(of(code).is_transient(), "{code}");
        }
        for code in ["UH001", "UH002", "UH003", "UH004", "UH005", "42501", "42883", "XX000"] {
            assert!(!of(code).is_transient(), "{code}");
        }
        assert!(Error::Http { status: 503, text: String::new() }.is_transient());
        assert!(!Error::Http { status: 400, text: String::new() }.is_transient());
    }

    #[test]
    fn a_code_is_kept_and_who_is_not_reached_has_one() {
        for code in ["UH001", "22P02", "23505", "42501", "40P01", "57014", "XX000"] {
            assert_eq!(of(code).code(), Some(code));
        }
        assert_eq!(of("57P01").code(), Some("08006"));
        assert_eq!(Error::Internal("x".into()).code(), None);
    }

    /// The README's table and the migrations name the same codes, and none is left to the catch-all.
    #[test]
    fn every_code_of_the_migrations_is_in_the_table() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
        let table = include_str!("../README.md");
        let mut seen = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(root).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for (at, _) in text.match_indices("UH0") {
                let code: String = text[at..].chars().take(5).collect();
                if code[2..].chars().all(|c| c.is_ascii_digit()) {
                    seen.insert(code);
                }
            }
        }
        assert!(seen.contains("UH002"), "the migrations were not found");
        for code in seen {
            assert!(table.contains(&format!("| `{code}` |")), "{code} is missing in functions/hub/README.md");
            assert!(!matches!(of(&code), Error::Database(_)), "{code} has no variant");
        }
    }

    #[test]
    fn a_nul_character_is_named() {
        let bytes = ("22021", "invalid byte sequence for encoding \"UTF8\": 0x00", None);
        let json = ("22P05", "unsupported Unicode escape sequence", Some("\\u0000 cannot be converted to text."));
        for (code, message, detail) in [bytes, json] {
            let error = Error::refused(Refusal {
                code: code.into(),
                message: message.into(),
                detail: detail.map(str::to_owned),
                hint: None,
            });
            let text = error.to_string();
            assert_eq!(text, "bad input: the text has a NUL character, which can not be kept. Send it without.");
            assert_eq!(error.refusal().map(|refusal| refusal.code.as_str()), Some(code));
        }
        let other = "invalid byte sequence for encoding \"UTF8\": 0xff";
        let other = Refusal { code: "22021".into(), message: other.into(), ..Refusal::default() };
        assert!(Error::refused(other).to_string().contains("0xff"));
    }

    #[test]
    fn display_is_a_sentence_for_people() {
        let error = Error::Conflict(ours(
            "UH003",
            "conflict",
            "task is complete".into(),
            "There is nothing left to cancel.".into(),
        ));
        assert_eq!(error.to_string(), "conflict: task is complete. There is nothing left to cancel.");
    }
}
