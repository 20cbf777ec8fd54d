//! The header `Prefer`.

use axum::http::HeaderMap;
use std::collections::HashSet;

/// What the answer to a write shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The rows.
    Representation,
    /// Where the one new row is.
    HeadersOnly,
    /// Nothing.
    Minimal,
}

/// How rows are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// One by one.
    Exact,
    /// As the planner guesses.
    Planned,
    /// One by one up to a bound, beyond it as the planner guesses.
    Estimated,
}

/// What to do with rows that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Change them.
    Merge,
    /// Leave them.
    Ignore,
}

/// What is preferred; of several values the first one that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preferences {
    /// `return`
    pub returns: Option<Return>,
    /// `resolution`
    pub resolution: Option<Resolution>,
    /// `count`
    pub count: Option<Count>,
    /// `tx`: true is `rollback`. Only where the settings let a request say so.
    pub rollback: Option<bool>,
    /// `missing`: true is `default`.
    pub missing_default: Option<bool>,
    /// `handling`: true is `strict`.
    pub strict: Option<bool>,
    /// `timezone`
    pub timezone: Option<String>,
    /// `max-affected`
    pub max_affected: Option<i64>,
    /// What nobody knows.
    pub unknown: Vec<String>,
}

impl Preferences {
    /// From all headers of this name.
    pub fn read(headers: &HeaderMap, tx_allowed: bool, timezones: &HashSet<String>) -> Self {
        let mut preferences = Self::default();
        let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split(',')).map(str::trim) {
            preferences.take(preference, tx_allowed);
        }
        if let Some(zone) = preferences.timezone.take_if(|zone| !timezones.contains(zone)) {
            preferences.unknown.push(format!("timezone={zone}"));
        }
        preferences
    }

    fn take(&mut self, preference: &str, tx_allowed: bool) {
        fn first<T>(place: &mut Option<T>, value: T) {
            if place.is_none() {
                *place = Some(value);
            }
        }
        match preference {
            "return=representation" => first(&mut self.returns, Return::Representation),
            "return=headers-only" => first(&mut self.returns, Return::HeadersOnly),
            "return=minimal" => first(&mut self.returns, Return::Minimal),
            "resolution=merge-duplicates" => first(&mut self.resolution, Resolution::Merge),
            "resolution=ignore-duplicates" => first(&mut self.resolution, Resolution::Ignore),
            "count=exact" => first(&mut self.count, Count::Exact),
            "count=planned" => first(&mut self.count, Count::Planned),
            "count=estimated" => first(&mut self.count, Count::Estimated),
            "tx=commit" | "tx=rollback" if !tx_allowed => {}
            "tx=commit" => first(&mut self.rollback, false),
            "tx=rollback" => first(&mut self.rollback, true),
            "missing=default" => first(&mut self.missing_default, true),
            "missing=null" => first(&mut self.missing_default, false),
            "handling=strict" => first(&mut self.strict, true),
            "handling=lenient" => first(&mut self.strict, false),
            other => {
                if let Some(zone) = other.strip_prefix("timezone=") {
                    first(&mut self.timezone, zone.to_owned());
                } else if let Some(most) = other.strip_prefix("max-affected=") {
                    if let Ok(most) = most.parse() {
                        first(&mut self.max_affected, most);
                    }
                } else {
                    self.unknown.push(other.to_owned());
                }
            }
        }
    }

    /// The value of `Preference-Applied`, if anything was applied.
    pub fn applied(&self) -> Option<String> {
        let mut applied: Vec<String> = Vec::new();
        let mut say = |said: Option<&str>| applied.extend(said.map(str::to_owned));
        say(self.resolution.map(|resolution| match resolution {
            Resolution::Merge => "resolution=merge-duplicates",
            Resolution::Ignore => "resolution=ignore-duplicates",
        }));
        say(self.missing_default.map(|default| if default { "missing=default" } else { "missing=null" }));
        say(self.returns.map(|returns| match returns {
            Return::Representation => "return=representation",
            Return::HeadersOnly => "return=headers-only",
            Return::Minimal => "return=minimal",
        }));
        say(self.count.map(|count| match count {
            Count::Exact => "count=exact",
            Count::Planned => "count=planned",
            Count::Estimated => "count=estimated",
        }));
        say(self.rollback.map(|rollback| if rollback { "tx=rollback" } else { "tx=commit" }));
        say(self.strict.map(|strict| if strict { "handling=strict" } else { "handling=lenient" }));
        say(self.timezone.as_ref().map(|zone| format!("timezone={zone}")).as_deref());
        if self.strict == Some(true) {
            say(self.max_affected.map(|most| format!("max-affected={most}")).as_deref());
        }
        (!applied.is_empty()).then(|| applied.join(", "))
    }

    /// The rows of the answer are counted one by one.
    pub fn counts(&self) -> bool {
        matches!(self.count, Some(Count::Exact | Count::Estimated))
    }

    /// The planner is asked for a number.
    pub fn asks_planner(&self) -> bool {
        matches!(self.count, Some(Count::Planned | Count::Estimated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(values: &[&'static str]) -> Preferences {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", HeaderValue::from_static(value));
        }
        Preferences::read(&headers, true, &HashSet::from(["UTC".to_owned()]))
    }

    #[test]
    fn the_first_known_value_of_a_preference_counts() {
        let preferences =
            read(&["count=many, count=exact,count=planned", "tx=rollback, max-affected=x, max-affected=5, odd"]);
        assert_eq!(preferences.count, Some(Count::Exact));
        assert_eq!((preferences.rollback, preferences.max_affected), (Some(true), Some(5)));
        assert_eq!(preferences.unknown, ["count=many", "odd"]);
    }

    #[test]
    fn what_was_applied_is_said_in_a_fixed_order() {
        let preferences = read(&["handling=strict, max-affected=3, timezone=UTC, return=minimal, missing=default"]);
        assert_eq!(
            preferences.applied().as_deref(),
            Some("missing=default, return=minimal, handling=strict, timezone=UTC, max-affected=3")
        );
        assert_eq!(read(&["max-affected=3"]).applied(), None);
        assert_eq!(read(&["timezone=Nowhere"]).unknown, ["timezone=Nowhere"]);
    }
}
