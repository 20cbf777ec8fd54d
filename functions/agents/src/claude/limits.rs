//! When Claude goes on: from its own event, else from its words.

use chrono::{DateTime, Utc};

use crate::{Limit, LimitSource, Window, limits::in_text};

use super::wire::RateLimit;

/// From its own event, which has the time as a number.
pub(super) fn from_event(info: &RateLimit<'_>) -> Limit {
    let (window, model) = match info.kind.or_empty() {
        "five_hour" => (Some(Window::FiveHours), None),
        kind => match kind.strip_prefix("seven_day") {
            Some(model) => (
                Some(Window::SevenDays),
                Some(model.trim_start_matches('_').to_owned()).filter(|model| !model.is_empty()),
            ),
            None => (None, None),
        },
    };
    let until = info.resets_at.0.and_then(epoch);
    let status = info.status.or_empty();
    Limit {
        // Whoever pays for more than the subscription is not held up by it.
        met: status == "rejected" && !info.overage.0,
        until,
        source: if until.is_some() { LimitSource::Structured } else { LimitSource::Guess },
        window,
        model,
        used: info.utilization.0.map(|used| used.clamp(0.0, 1.0)),
        text: status.to_owned(),
    }
}

/// From its words.
pub(super) fn from_text(text: &str, now: DateTime<Utc>) -> Limit {
    let lower = text.to_lowercase();
    let window = [
        ("5-hour", Window::FiveHours),
        ("session limit", Window::FiveHours),
        ("week", Window::SevenDays),
        ("per-minute", Window::Minute),
        ("per minute", Window::Minute),
        ("daily", Window::Day),
    ];
    // `Claude AI usage limit reached|1760000000`: what is for a program stands behind the bar.
    let number = text.rsplit_once('|').and_then(|(_, number)| epoch(number.trim().parse().ok()?));
    let until = number.or_else(|| in_text(text, now));
    Limit {
        met: true,
        until,
        source: match (number, until) {
            (Some(_), _) => LimitSource::Structured,
            (None, Some(_)) => LimitSource::Text,
            (None, None) => LimitSource::Guess,
        },
        window: window.iter().find(|(words, _)| lower.contains(words)).map(|(_, window)| *window),
        model: ["opus", "sonnet", "haiku"]
            .iter()
            .find(|model| lower.contains(**model))
            .map(|model| (*model).to_owned()),
        used: None,
        text: text.to_owned(),
    }
}

/// Seconds since 1970, or milliseconds: nothing else is a time of this century.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a cast from a float saturates, and chrono refuses what is out of its range"
)]
fn epoch(number: f64) -> Option<DateTime<Utc>> {
    match number {
        number if !(1e9..1e14).contains(&number) => None,
        number if number < 1e11 => DateTime::from_timestamp(number as i64, 0),
        number => DateTime::from_timestamp_millis(number as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_from_words() {
        let now: DateTime<Utc> = "2026-11-29T15:30:00Z".parse().unwrap();
        for (text, then) in [
            ("You've hit your session limit · resets Jan 1, 2030, 12am (UTC)", Some("2030-01-01T00:00:00Z")),
            ("You've hit your limit · resets 3pm (UTC)", Some("2026-11-30T15:00:00Z")),
            ("You've hit your limit · resets 4:20pm (UTC)", Some("2026-11-29T16:20:00Z")),
            ("You've hit your weekly limit · resets Dec 3 at 9am (UTC)", Some("2026-12-03T09:00:00Z")),
            ("You've hit your limit · resets Feb 3, 9am (UTC)", Some("2027-02-03T09:00:00Z")),
            ("resets 13pm (UTC)", None),
            ("resets Feb 31, 2030, 12am (UTC)", None),
            ("Request rejected (429)", None),
        ] {
            assert_eq!(in_text(text, now), then.map(|then| then.parse().unwrap()), "{text}");
        }
        let limit = from_text("Claude AI usage limit reached|1893456000", now);
        assert_eq!((limit.until, limit.source), (epoch(1_893_456_000.0), LimitSource::Structured));
        assert_eq!(epoch(1_893_456_000_000.0), epoch(1_893_456_000.0));
        assert_eq!(epoch(f64::MAX), None);
    }
}
