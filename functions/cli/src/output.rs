//! How results are printed: text for people, JSON for scripts. Nothing is decided here.

use serde::Serialize;
use std::io::{IsTerminal, Write};

/// Where a command's result goes.
#[derive(Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    /// The value as JSON, or the text that `text` makes of it.
    pub fn show<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            print_line(
                &serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")),
            );
        } else {
            print_line(&text(value));
        }
    }
}

/// A closed pipe (`hub … | head`) is no reason to panic.
pub fn print_line(text: &str) {
    try_print_line(text);
}

/// Whether anybody reads it.
pub fn try_print_line(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// To standard error, whether or not anybody reads it.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What others wrote, without what would steer the terminal.
pub fn tame(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

/// Columns, as wide as their widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|&h| h.to_owned()).collect();
    let mut lines =
        vec![if std::io::stdout().is_terminal() { format!("\u{1b}[1m{}\u{1b}[0m", line(&head)) } else { line(&head) }];
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
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
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
        assert_eq!(tame("a\n\u{1b}[2Jb\r\u{9b}c"), "a\n[2Jbc");
    }

    #[test]
    fn shortening_counts_characters_and_folds_lines() {
        assert_eq!(shorten("a\n b", 10), "a b");
        assert_eq!(shorten("ööööö", 3), "öö…");
    }
}
