//! The `pgrst.*` settings of the role `authenticator`, with what hosted Supabase has where there are none.

/// How REST behaves. A setting that can not be read as what it should be is as if it were not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `db_schemas`: what is exposed; the first is meant where a request names none.
    pub schemas: Vec<String>,
    /// `db_extra_search_path`.
    pub extra_search_path: Vec<String>,
    /// `db_max_rows`: no answer has more.
    pub max_rows: Option<i64>,
    /// `db_aggregates_enabled`: `sum()`, `count()` and others in `select`.
    pub aggregates: bool,
    /// `db_plan_enabled`: `application/vnd.pgrst.plan`.
    pub plans: bool,
    /// `db_anon_role`: who has no token, or one without a role; none: PGRST302.
    pub anon_role: Option<String>,
    /// `db_pre_request`: a function that is called in each transaction before the statement, as it is written there.
    pub pre_request: Option<String>,
    /// `db_root_spec`: a function that answers `/` instead.
    pub root_spec: Option<String>,
    /// `db_tx_end`.
    pub tx_end: TxEnd,
    /// `db_hoisted_tx_settings`: settings of a function that hold for its transaction.
    pub hoisted: Vec<String>,
    /// `jwt_aud`: what a token's `aud` has to have, if it has one.
    pub audience: Option<String>,
    /// `jwt_role_claim_key`, as a path of keys.
    pub role_claim: Vec<String>,
    /// `openapi_mode`.
    pub openapi: OpenApi,
    /// `openapi_security_active`.
    pub openapi_security: bool,
    /// `openapi_server_proxy_uri`.
    pub openapi_uri: Option<String>,
}

/// How a transaction ends that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxEnd {
    /// Always committed.
    Commit,
    /// Committed, unless the request prefers `tx=rollback`.
    CommitAllowOverride,
    /// Always rolled back.
    Rollback,
    /// Rolled back, unless the request prefers `tx=commit`.
    RollbackAllowOverride,
}

/// What the document at `/` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenApi {
    /// What the role may use.
    FollowPrivileges,
    /// Everything that is exposed.
    IgnorePrivileges,
    /// There is none: 404.
    Disabled,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            schemas: vec!["public".into(), "graphql_public".into()],
            extra_search_path: vec!["public".into(), "extensions".into()],
            max_rows: Some(1000),
            aggregates: false,
            plans: false,
            anon_role: Some("anon".into()),
            pre_request: None,
            root_spec: None,
            tx_end: TxEnd::Commit,
            hoisted: vec![
                "statement_timeout".into(),
                "plan_filter.statement_cost_limit".into(),
                "default_transaction_isolation".into(),
            ],
            audience: None,
            role_claim: vec!["role".into()],
            openapi: OpenApi::FollowPrivileges,
            openapi_security: false,
            openapi_uri: None,
        }
    }
}

impl Settings {
    /// From the settings as they are written, those that count more behind the others.
    #[must_use]
    pub fn read(written: &[(String, String)]) -> Self {
        let mut settings = Self::default();
        for (name, value) in written {
            settings.set(name.strip_prefix("pgrst.").unwrap_or(name), value);
        }
        settings
    }

    fn set(&mut self, name: &str, value: &str) {
        let text = || Some(value.to_owned()).filter(|value| !value.is_empty());
        match name {
            "db_schemas" => {
                let schemas = listed(value);
                if !schemas.is_empty() {
                    self.schemas = schemas;
                }
            }
            "db_extra_search_path" => self.extra_search_path = listed(value),
            "db_max_rows" => self.max_rows = value.trim().parse().ok(),
            "db_aggregates_enabled" => self.aggregates = is_on(value),
            "db_plan_enabled" => self.plans = is_on(value),
            "db_anon_role" => self.anon_role = text(),
            "db_pre_request" => self.pre_request = text(),
            "db_root_spec" => self.root_spec = text(),
            "db_tx_end" => {
                self.tx_end = match value {
                    "commit" => TxEnd::Commit,
                    "commit-allow-override" => TxEnd::CommitAllowOverride,
                    "rollback" => TxEnd::Rollback,
                    "rollback-allow-override" => TxEnd::RollbackAllowOverride,
                    _ => self.tx_end,
                }
            }
            "db_hoisted_tx_settings" => self.hoisted = listed(value),
            "jwt_aud" => self.audience = text(),
            "jwt_role_claim_key" => {
                if let Some(path) = path(value) {
                    self.role_claim = path;
                }
            }
            "openapi_mode" => {
                self.openapi = match value {
                    "follow-privileges" => OpenApi::FollowPrivileges,
                    "ignore-privileges" => OpenApi::IgnorePrivileges,
                    "disabled" => OpenApi::Disabled,
                    _ => self.openapi,
                }
            }
            "openapi_security_active" => self.openapi_security = is_on(value),
            "openapi_server_proxy_uri" => self.openapi_uri = text(),
            _ => {}
        }
    }
}

fn listed(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn is_on(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || value.trim().parse::<i64>().is_ok_and(|number| number > 0)
}

/// `.a."b c"[0]` as its parts.
fn path(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = if let Some(quoted) = rest.strip_prefix(".\"") {
            quoted.split_once('"')?
        } else if let Some(plain) = rest.strip_prefix('.') {
            plain.split_at(plain.find(['.', '[']).unwrap_or(plain.len()))
        } else {
            let (number, after) = rest.strip_prefix('[')?.split_once(']')?;
            number.parse::<usize>().ok()?;
            (number, after)
        };
        if part.is_empty() {
            return None;
        }
        parts.push(part.to_owned());
        rest = after;
    }
    (!parts.is_empty()).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &[(&str, &str)]) -> Settings {
        let written: Vec<_> = written.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(&written)
    }

    #[test]
    fn what_is_written_counts_and_the_rest_is_as_hosted() {
        let settings = read(&[
            ("pgrst.db_schemas", "api, public"),
            ("pgrst.db_max_rows", "5"),
            ("pgrst.db_aggregates_enabled", "true"),
            ("pgrst.db_tx_end", "rollback-allow-override"),
            ("pgrst.jwt_role_claim_key", r#".app_metadata."the role"[1]"#),
            ("pgrst.db_pre_request", "public.check_it"),
            ("pgrst.unknown", "x"),
        ]);
        let expected = Settings {
            schemas: vec!["api".into(), "public".into()],
            max_rows: Some(5),
            aggregates: true,
            tx_end: TxEnd::RollbackAllowOverride,
            role_claim: vec!["app_metadata".into(), "the role".into(), "1".into()],
            pre_request: Some("public.check_it".into()),
            ..Settings::default()
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn the_last_counts_and_nothing_takes_away() {
        let settings = read(&[("pgrst.db_max_rows", "5"), ("pgrst.db_max_rows", ""), ("pgrst.db_anon_role", "")]);
        assert_eq!((settings.max_rows, settings.anon_role), (None, None));
        let extra = read(&[("pgrst.db_extra_search_path", "")]).extra_search_path;
        assert!(extra.is_empty());
    }

    #[test]
    fn what_can_not_be_read_is_as_if_it_were_not_there() {
        for (name, value) in [
            ("db_schemas", " , "),
            ("db_tx_end", "never"),
            ("openapi_mode", "x"),
            ("jwt_role_claim_key", "role"),
            ("jwt_role_claim_key", ".a..b"),
            ("jwt_role_claim_key", ".a[x]"),
            ("jwt_role_claim_key", ".\"a"),
        ] {
            assert_eq!(read(&[(&format!("pgrst.{name}"), value)]), Settings::default(), "{name} {value}");
        }
    }
}
