//! Media types: what a body is, and what an answer may be.

use axum::http::{HeaderMap, header};

/// A media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/vnd.pgrst.array+json;nulls=stripped`: without members that are null.
    ArrayStripped,
    /// `application/vnd.pgrst.object+json`: exactly one row.
    Object {
        /// Without members that are null.
        stripped: bool,
    },
    /// `text/csv`
    Csv,
    /// `text/plain`
    Text,
    /// `text/xml`
    Xml,
    /// `application/geo+json`
    GeoJson,
    /// `application/openapi+json`
    OpenApi,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `application/octet-stream`
    Octets,
    /// `*/*`
    Any,
    /// How Postgres would do it.
    Plan(Box<Plan>),
    /// Another one.
    Other(String),
}

/// `application/vnd.pgrst.plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Of an answer of this type.
    pub of: Media,
    /// JSON, not text.
    pub json: bool,
    /// `analyze`, `verbose`, `settings`, `buffers`, `wal`.
    pub options: Vec<&'static str>,
}

const OPTIONS: [&str; 5] = ["analyze", "verbose", "settings", "buffers", "wal"];

impl Media {
    /// Of a header's value.
    pub fn parse(text: &str) -> Self {
        let Some((kind, parameters)) = parts(text) else { return Self::Other(text.to_owned()) };
        let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let stripped = parameter("nulls") == Some("stripped");
        let plan = |json| {
            let asked: Vec<_> = parameter("options").unwrap_or("").split('|').collect();
            let options = OPTIONS.into_iter().filter(|option| asked.contains(option)).collect();
            Self::Plan(Box::new(Plan { of: parameter("for").map_or(Self::Json, Self::parse), json, options }))
        };
        match kind.as_str() {
            "application/json" => Self::Json,
            "application/geo+json" => Self::GeoJson,
            "text/csv" => Self::Csv,
            "text/plain" => Self::Text,
            "text/xml" => Self::Xml,
            "application/openapi+json" => Self::OpenApi,
            "application/x-www-form-urlencoded" => Self::Form,
            "application/octet-stream" => Self::Octets,
            "application/vnd.pgrst.plan" | "application/vnd.pgrst.plan+text" => plan(false),
            "application/vnd.pgrst.plan+json" => plan(true),
            "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object" => Self::Object { stripped },
            "application/vnd.pgrst.array+json" | "application/vnd.pgrst.array" if stripped => Self::ArrayStripped,
            "application/vnd.pgrst.array+json" | "application/vnd.pgrst.array" => Self::Json,
            "*/*" => Self::Any,
            _ => Self::Other(text.to_owned()),
        }
    }

    /// Without a charset.
    pub fn name(&self) -> String {
        match self {
            Self::Json => "application/json".into(),
            Self::ArrayStripped => "application/vnd.pgrst.array+json;nulls=stripped".into(),
            Self::Object { stripped: true } => "application/vnd.pgrst.object+json;nulls=stripped".into(),
            Self::Object { stripped: false } => "application/vnd.pgrst.object+json".into(),
            Self::Csv => "text/csv".into(),
            Self::Text => "text/plain".into(),
            Self::Xml => "text/xml".into(),
            Self::GeoJson => "application/geo+json".into(),
            Self::OpenApi => "application/openapi+json".into(),
            Self::Form => "application/x-www-form-urlencoded".into(),
            Self::Octets => "application/octet-stream".into(),
            Self::Any => "*/*".into(),
            Self::Other(name) => name.clone(),
            Self::Plan(plan) => {
                let kind = if plan.json { "json" } else { "text" };
                let mut name = format!("application/vnd.pgrst.plan+{kind}; for=\"{}\"", plan.of.name());
                if !plan.options.is_empty() {
                    name.push_str("; options=");
                    name.push_str(&plan.options.join("|"));
                }
                name
            }
        }
    }

    /// As `Content-Type` of an answer.
    pub fn content_type(&self) -> String {
        match self {
            Self::Octets | Self::Other(_) => self.name(),
            _ => format!("{}; charset=utf-8", self.name()),
        }
    }
}

/// `type/subtype` in small letters, and the parameters.
fn parts(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let mut pieces = outside_quotes(text, ';').into_iter();
    let kind = pieces.next()?.trim().to_ascii_lowercase();
    let (main, sub) = kind.split_once('/')?;
    let fine = |word: &str, more: &str| {
        !word.is_empty() && word.chars().all(|char| char.is_ascii_alphanumeric() || more.contains(char))
    };
    if !fine(main, ".*") || !fine(sub, ".*+-") {
        return None;
    }
    let parameters = pieces
        .filter_map(|piece| piece.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        .collect();
    Some((kind, parameters))
}

/// Cut at a sign that does not stand in quotes.
fn outside_quotes(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    let cut = move |char| {
        if char == '"' {
            quoted = !quoted;
        }
        char == at && !quoted
    };
    text.split(cut).collect()
}

/// What the header `Accept` lists, the most wanted first; anything if there is none.
pub fn accepted(headers: &HeaderMap) -> Vec<Media> {
    let Some(value) = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()) else {
        return vec![Media::Any];
    };
    let mut wanted: Vec<(String, f64, i64)> = outside_quotes(value, ',')
        .into_iter()
        .map(|kind| {
            let spaceless: String = kind.chars().filter(|char| *char != ' ').collect();
            let (name, quality) = spaceless.split_once(";q=").unwrap_or((&spaceless, "1"));
            let quality = quality.split(';').next().and_then(|text| text.parse().ok()).unwrap_or(1.0);
            let special = name.matches(';').count() as i64 - name.matches('*').count() as i64;
            (name.to_owned(), quality, special)
        })
        .collect();
    // Of equals the one that says more, of these the first.
    wanted.sort_by(|one, other| other.1.total_cmp(&one.1).then(other.2.cmp(&one.2)));
    wanted.into_iter().map(|(name, ..)| Media::parse(&name)).collect()
}

/// Of a body; JSON if it does not say.
pub fn of_body(headers: &HeaderMap) -> Media {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map_or(Media::Json, Media::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn names_are_read_in_any_case_and_with_parameters() {
        for (text, media) in [
            ("application/json; charset=utf-8", Media::Json),
            ("ApplicatIon/vnd.PgRsT.object+json", Media::Object { stripped: false }),
            ("application/vnd.pgrst.object+json;nulls=stripped", Media::Object { stripped: true }),
            ("application/vnd.pgrst.array", Media::Json),
            ("application/vnd.pgrst.array+json; nulls=stripped", Media::ArrayStripped),
            ("application/vnd.twkb", Media::Other("application/vnd.twkb".into())),
            ("what?", Media::Other("what?".into())),
        ] {
            assert_eq!(Media::parse(text), media, "{text}");
        }
        let plan = Media::parse("application/vnd.pgrst.plan+json; for=\"text/csv\"; options=analyze|odd|wal");
        assert_eq!(plan.name(), "application/vnd.pgrst.plan+json; for=\"text/csv\"; options=analyze|wal");
    }

    #[test]
    fn the_most_wanted_comes_first() {
        let mut headers = HeaderMap::new();
        let value = "text/html, application/xhtml+xml, application/xml;q=0.9, text/csv;q=0.95, */*;q=0.8";
        headers.insert(header::ACCEPT, HeaderValue::from_static(value));
        let names: Vec<_> = accepted(&headers).iter().map(Media::name).collect();
        assert_eq!(names, ["text/html", "application/xhtml+xml", "text/csv", "application/xml", "*/*"]);
        assert_eq!(accepted(&HeaderMap::new()), [Media::Any]);
    }
}
