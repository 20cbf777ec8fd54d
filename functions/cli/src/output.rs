//! How results are printed: text for people, JSON for scripts. Nothing is decided here.
//!
//! Most of what is printed, others wrote: whatever goes to a terminal is tamed on its way, so that no command can forget it.

use serde::Serialize;
use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{IsTerminal, Write},
};

use hub::text::is_unseen;

/// Where a command's result goes.
#[derive(Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// The value as JSON, or the text that `text` makes of it.
    pub fn show<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            print_json(value);
        } else {
            print_line(&text(value));
        }
    }

    /// The value as JSON, or a table of what `row` makes of each of it, or `none` if there is nothing.
    pub fn show_table<T: Serialize>(self, values: &[T], none: &str, head: &[&str], row: impl Fn(&T) -> Vec<String>) {
        if self.json {
            print_json(&values);
        } else if values.is_empty() {
            print_line(none);
        } else {
            let table = table(head, &values.iter().map(row).collect::<Vec<_>>());
            let (head, rows) = table.split_at(table.find('\n').unwrap_or(table.len()));
            if std::io::stdout().is_terminal() {
                write_line(&format!("\u{1b}[1m{head}\u{1b}[0m{rows}"));
            } else {
                write_line(&table);
            }
        }
    }
}

/// A closed pipe (`hub … | head`) is no reason to panic.
pub fn print_line(text: &str) {
    try_print_line(text);
}

/// Whether anybody reads it.
pub fn try_print_line(text: &str) -> bool {
    write_line(&tame(text))
}

/// On several lines, for whoever reads one value.
pub fn print_json<T: Serialize>(value: &T) {
    write_line(&visible(&serde_json::to_string_pretty(value).unwrap_or_else(no_json)));
}

/// On one line, for whoever reads many. Whether anybody does.
pub fn try_print_json_line<T: Serialize>(value: &T) -> bool {
    write_line(&visible(&serde_json::to_string(value).unwrap_or_else(no_json)))
}

/// What this program itself says to another program.
pub fn print_script(text: &str) {
    write_line(text);
}

fn write_line(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

fn no_json(error: serde_json::Error) -> String {
    format!("{{\"error\":\"{error}\"}}")
}

/// To standard error, whether or not anybody reads it.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", tame(text));
}

/// What others wrote, without what would steer the terminal, and with what a reader would not see.
pub fn tame(text: &str) -> String {
    hub::text::clean(text)
}

/// JSON in which that is escaped: it means the same. It stands in strings only.
fn visible(json: &str) -> Cow<'_, str> {
    let hides = |c: char| (c.is_control() && c != '\n') || is_unseen(c);
    if !json.contains(hides) {
        return json.into();
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if hides(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// Columns, as wide as their widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let one_line = |cell: &String| tame(cell).replace(['\n', '\t'], " ");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(one_line).collect()).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|&h| h.to_owned()).collect();
    let mut lines = vec![line(&head)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// So many bytes, as people read it: 1.5 GB.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // In tenths of a unit, so that what rounds up to a thousand becomes one of the next.
    let mut tenths = bytes.saturating_add(50) / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// One line of at most `length` characters.
pub fn shorten(text: &str, length: usize) -> String {
    let line = tame(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= length { line } else { line.chars().take(length - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_of_the_unit_that_fits() {
        let sizes = [0, 999, 1000, 1250, 999_949, 999_950, 1_500_000_000, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.3 kB", "999.9 kB", "1.0 MB", "1.5 GB", "18446744.1 TB"]);
    }

    #[test]
    fn table_columns_line_up_with_any_letters() {
        let text = table(&["name", "state"], &[vec!["é".into(), "on".into()], vec!["mac1".into(), "off".into()]]);
        assert_eq!(text, "name  state\né     on\nmac1  off");
    }

    #[test]
    fn terminal_control_characters_are_removed() {
        assert_eq!(tame("a\n\u{1b}[2Jb\u{1b}]0;title\u{7}\u{9b}c"), "a\nbc");
    }

    #[test]
    fn invisible_and_bidirectional_characters_are_shown() {
        assert_eq!(tame("\u{202e}txt.\u{200b}exe"), "‹U+202E›txt.‹U+200B›exe");
        assert_eq!(shorten("\u{1b}[2J\u{202e}x\n y", 20), "‹U+202E›x y");
        let text = table(&["name"], &[vec!["\u{1b}[31ma\nb\u{202e}".into()]]);
        assert_eq!(text, "name\na b‹U+202E›");
    }

    #[test]
    fn json_means_the_same_with_what_a_terminal_would_follow_escaped() {
        let text = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{e0041}\n\"ä👩\u{200d}👩";
        let json = serde_json::to_string(text).unwrap();
        let shown = visible(&json);
        assert!(!shown.chars().any(|c| c.is_control() || is_unseen(c)), "{shown}");
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        assert!(matches!(visible("{\n  \"a\": 1\n}"), Cow::Borrowed(_)));
    }

    #[test]
    fn shortening_counts_characters_and_folds_lines() {
        assert_eq!(shorten("a\n b", 10), "a b");
        assert_eq!(shorten("ööööö", 3), "öö…");
    }
}
