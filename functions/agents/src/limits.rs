//! When a limit ends, out of sentences for people.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// Only so much of a message is looked at, in characters.
const LONGEST: usize = 4000;
/// A time further away than this is a mistake, in days.
const FURTHEST: i64 = 20 * 366;

/// The time of which a message says that it goes on then: `resets 3pm (America/New_York)`, `try again at Jan 1st, 2030 12:00 AM`,
/// `Please retry in 34.07s`, `"retryDelay": "34s"`. A time of day is the next one after `now`; without a zone it is taken as UTC, which
/// is wrong by hours where the program means its own.
pub(crate) fn in_text(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text: String = text.chars().take(LONGEST).map(plain).collect();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '{' | '}' | '[' | ']' | '|' | '\\'))
        .map(|word| word.trim_end_matches(['.', '!', '?', '\'']).trim_start_matches('\''))
        .filter(|word| !word.is_empty() && *word != ":")
        .collect();
    (0..words.len()).find_map(|at| here(&words, at, now)).filter(|until| *until - now < Duration::days(FURTHEST))
}

/// Curly apostrophes and unusual spaces, as a keyboard has them; all small.
fn plain(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{a0}' | '\u{202f}' | '\u{2009}' => ' ',
        _ => c.to_ascii_lowercase(),
    }
}

/// A time that is introduced at this word.
fn here(words: &[&str], at: usize, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let word = words[at].trim_end_matches(':');
    let next = *words.get(at + 1)?;
    match word {
        "retrydelay" | "retry-after" | "retry_after" => duration(&words[at + 1..], true).map(|wait| now + wait),
        "in" | "after" if introduces(words, at) => duration(&words[at + 1..], false).map(|wait| now + wait),
        "at" | "on" | "until" if introduces(words, at) => moment(&words[at + 1..], now),
        "reset" | "resets" | "resume" | "resumes" if next != "at" && next != "in" && next != "on" => {
            let epoch = next.trim_start_matches(':').parse::<i64>().ok().filter(|seconds| *seconds > 1_000_000_000);
            epoch.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).or_else(|| moment(&words[at + 1..], now))
        }
        _ => None,
    }
}

/// Whether the words before speak of going on.
fn introduces(words: &[&str], at: usize) -> bool {
    let before = &words[at.saturating_sub(3)..at];
    before.iter().any(|word| {
        ["again", "retry", "retrying", "reset", "resets", "available", "wait", "back", "resume", "resumes", "renews"]
            .contains(word)
    })
}

/// `1.2s`, `34 seconds`, `3h12m5s`, `2 days 3 hours`. With `bare`, a number without a unit is seconds.
fn duration(words: &[&str], bare: bool) -> Option<Duration> {
    let (mut total, mut found) = (0.0, false);
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let mut rest = word.trim_start_matches([':', '~']);
        let mut more = false;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
            let Ok(number) = rest[..end].parse::<f64>() else { break };
            let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |more| more + end);
            let mut unit = &rest[end..unit_end];
            rest = &rest[unit_end..];
            if unit.is_empty() {
                match words.get(at + 1).and_then(|next| seconds(next)) {
                    Some(_) => {
                        at += 1;
                        unit = words[at];
                    }
                    None if bare && !found => unit = "s",
                    None => return None,
                }
            }
            total += number * seconds(unit)?;
            (found, more) = (true, true);
        }
        if (!more && *word != "and") || (bare && found) {
            break;
        }
        at += 1;
    }
    (found && total <= 86400.0 * 366.0).then(|| Duration::milliseconds((total * 1000.0).round() as i64))
}

fn seconds(unit: &str) -> Option<f64> {
    Some(match unit.trim_end_matches(['.', ',', ')']) {
        "ms" | "milliseconds" | "millisecond" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// A date, a time of day, or both, and the zone behind it.
fn moment(words: &[&str], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let words = &words[..words.len().min(8)];
    if let Some(time) = words.first().and_then(|word| rfc3339(word)) {
        return Some(time);
    }
    let zone = words.iter().find_map(|word| zone(word)).unwrap_or(Tz::UTC);
    let local = now.with_timezone(&zone);
    let (mut month, mut day, mut year, mut date, mut time) = (None, None, None, None, None);
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).copied().unwrap_or_default();
        if let Some(found) = clock(word, next).filter(|_| time.is_none()) {
            time = Some(found);
        } else if let Some(found) = iso(word) {
            date = Some(found);
        } else if let Some(found) = month_of(word).filter(|_| month.is_none()) {
            month = Some(found);
        } else if let Some(number) = ordinal(word) {
            match number {
                1..=31 if day.is_none() && month.is_some() => day = Some(number),
                2000..=2999 if year.is_none() && day.is_some() => year = Some(number),
                _ => break,
            }
        } else if !matches!(*word, "at" | "on" | "am" | "pm" | "today" | "the" | "of" | "utc")
            && zone_like(word).is_none()
        {
            break;
        }
    }
    let named = match (date, month, day) {
        (Some(date), ..) => Some(date),
        (None, Some(month), Some(day)) => {
            let year_now = local.year();
            let with = |year| NaiveDate::from_ymd_opt(year, month, day);
            match year {
                Some(year) => Some(with(i32::try_from(year).ok()?)?),
                // Without a year it is the next such day: December speaks of January.
                None => Some(with(year_now).filter(|date| *date >= local.date_naive()).or_else(|| with(year_now + 1))?),
            }
        }
        _ => None,
    };
    let when = |date: NaiveDate, time: NaiveTime| {
        zone.from_local_datetime(&date.and_time(time)).earliest().map(|time| time.with_timezone(&Utc))
    };
    match (named, time) {
        (Some(date), time) => when(date, time.unwrap_or(NaiveTime::MIN)),
        (None, Some(time)) => {
            when(local.date_naive(), time).filter(|at| *at > now).or_else(|| when(local.date_naive().succ_opt()?, time))
        }
        (None, None) => None,
    }
}

fn rfc3339(word: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(&word.to_uppercase()).ok().map(|time| time.with_timezone(&Utc))
}

fn iso(word: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(word, "%Y-%m-%d").ok()
}

/// `3pm`, `12:00`, `12:00:30`, `3:15 pm`.
fn clock(word: &str, next: &str) -> Option<NaiveTime> {
    let (digits, half) = match (word.strip_suffix("am"), word.strip_suffix("pm")) {
        (Some(digits), _) => (digits, Some(0)),
        (_, Some(digits)) => (digits, Some(12)),
        _ => (
            word,
            match next {
                "am" | "a.m" => Some(0),
                "pm" | "p.m" => Some(12),
                _ => None,
            },
        ),
    };
    let mut parts = digits.split(':').map(|part| part.parse::<u32>().ok());
    let hour = parts.next()??;
    let minute = parts.next();
    if minute.is_none() && half.is_none() {
        return None;
    }
    let minute = minute.unwrap_or(Some(0))?;
    let second = parts.next().unwrap_or(Some(0))?;
    let hour = match half {
        Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
        Some(_) => return None,
        None => hour,
    };
    NaiveTime::from_hms_opt(hour, minute, second)
}

fn month_of(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    if word.len() < 3 || !word.is_ascii() {
        return None;
    }
    let at = MONTHS.iter().position(|month| *month == word || (word.len() <= 4 && month.starts_with(word)))?;
    u32::try_from(at + 1).ok()
}

/// `1`, `1st`, `2nd`, `23rd`, `4th`.
fn ordinal(word: &str) -> Option<u32> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    digits.parse().ok()
}

/// `(america/new_york)`, `utc`, `(pst)`: zones of their own names, and the few that are written short and mean one thing.
fn zone(word: &str) -> Option<Tz> {
    zone_like(word).flatten()
}

/// Some(None): it looks like a zone, and none is known by that name.
fn zone_like(word: &str) -> Option<Option<Tz>> {
    let name = word.trim_matches(['(', ')']);
    let short = match name {
        "utc" | "gmt" | "z" => Some(Tz::UTC),
        "pt" | "pst" | "pdt" => Some(Tz::America__Los_Angeles),
        "et" | "est" | "edt" => Some(Tz::America__New_York),
        "cet" | "cest" => Some(Tz::Europe__Paris),
        _ => None,
    };
    if short.is_some() {
        return Some(short);
    }
    let looks = word.starts_with('(') || name.contains('/');
    looks.then(|| chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Option<String> {
        let now = Utc.with_ymd_and_hms(2026, 11, 29, 8, 0, 0).unwrap();
        in_text(text, now).map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }

    #[test]
    fn times_in_sentences_of_the_programs() {
        for (text, time) in [
            (
                "You\u{2019}ve hit your usage limit. Visit https://x/usage to purchase more credits or try again at Jan 1st, 2030 12:00 AM.",
                "2030-01-01T00:00:00Z",
            ),
            ("You've hit your limit \u{b7} resets Jan 1, 2030, 12am (UTC)", "2030-01-01T00:00:00Z"),
            ("5-hour limit reached \u{2219} resets 3pm (America/New_York)", "2026-11-29T20:00:00Z"),
            ("Your limit resets at 3:30 PM (Europe/Berlin).", "2026-11-29T14:30:00Z"),
            ("resets 3am (UTC)", "2026-11-30T03:00:00Z"),
            ("try again at 9:15 PM.", "2026-11-29T21:15:00Z"),
            ("Your weekly limit resets Jan 3, 5pm (Asia/Tokyo)", "2027-01-03T08:00:00Z"),
            ("try again in 1.2s", "2026-11-29T08:00:01.200Z"),
            ("rate limit exceeded: Rate limit reached. Please try again in 1.2s.", "2026-11-29T08:00:01.200Z"),
            ("Please retry in 34.07s.", "2026-11-29T08:00:34.070Z"),
            ("Please try again in 2 days 3 hours 4 minutes.", "2026-12-01T11:04:00Z"),
            ("Your quota will reset after 3h12m5s.", "2026-11-29T11:12:05Z"),
            (r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}"#, "2026-11-29T08:00:34Z"),
            (r#"{\"retryDelay\": \"34.5s\"}"#, "2026-11-29T08:00:34.500Z"),
            ("retry-after: 60", "2026-11-29T08:01:00Z"),
            ("Claude AI usage limit reached|resets 1893456000", "2030-01-01T00:00:00Z"),
            ("available again at 2027-02-01T10:00:00Z", "2027-02-01T10:00:00Z"),
            ("resets on 2027-02-01", "2027-02-01T00:00:00Z"),
            ("try again at 7 am", "2026-11-30T07:00:00Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn other_sentences_have_no_time() {
        for text in [
            "",
            "try again later",
            "It failed at 12:00",
            "in 5 files",
            "Please try again in a moment.",
            "resets soon",
            "You have exhausted your daily quota on this model.",
            "Limit 30000, Used 30000",
            "resets Feb 31, 2030",
            "try again in 99999999999999s",
            "try again at 99:99 PM",
            "resets 13pm",
            "may reset the index at line 40",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_in_a_text_is_too_strange(text in "\\PC{0,80}", tail in "(resets|try again (in|at)|retryDelay) [0-9a-z:.,/() \\-]{0,30}") {
            at(&text);
            at(&tail);
            at(&format!("{text} {tail}"));
        }
    }
}
