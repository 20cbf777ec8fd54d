//! Koji's market sweeps: a city is looked up at a source, and what is found goes to the hub. The database says which sweep, whether
//! it is tried again, and what of the findings is new.

use std::{path::PathBuf, time::Duration};

use futures_util::future::BoxFuture;
use hub::{
    Error, Hub, Result,
    config::Lookup,
    types::{Lead, Sweep},
    wake::Errands,
};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use crate::{
    Keeper,
    errand::{Ends, Errand, MENDED, whenever_told},
};

/// What a claim asks for; longer than any search may take.
const LEASE: Duration = Duration::from_secs(180);
const SEARCH_WITHIN: Duration = Duration::from_secs(120);
/// What the Overpass server itself is told to take at most.
const OVERPASS_SECONDS: u32 = 60;
/// As many as `hub_complete_sweep` takes.
const MOST: usize = 1000;
const ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Where sweeps look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SweepSource {
    /// Nowhere: a sweep fails and says which settings are missing.
    #[default]
    None,
    /// An [Overpass API](https://wiki.openstreetmap.org/wiki/Overpass_API) over OpenStreetMap: the address of its interpreter.
    Overpass(Url),
    /// A CSV file with a header: `name` and `city` (or `market`), and as available `address`, `contact`, `rating`, `notes`.
    Csv(PathBuf),
}

/// Why a search came to nothing.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    text: String,
    retryable: bool,
}

impl Failure {
    fn for_good(text: impl Into<String>) -> Self {
        Self { text: text.into(), retryable: false }
    }

    fn for_now(text: impl Into<String>) -> Self {
        Self { text: text.into(), retryable: true }
    }
}

impl SweepSource {
    /// Reads `HUB_SWEEP_OVERPASS_URL` or `HUB_SWEEP_CSV_PATH`.
    ///
    /// # Errors
    /// [`Error::Config`] if both are set, or the URL is none.
    pub fn read(lookup: Lookup<'_>) -> Result<Self> {
        match (lookup("HUB_SWEEP_OVERPASS_URL"), lookup("HUB_SWEEP_CSV_PATH")) {
            (Some(_), Some(_)) => {
                Err(Error::Config("set HUB_SWEEP_OVERPASS_URL or HUB_SWEEP_CSV_PATH, not both".into()))
            }
            (Some(url), None) => match Url::parse(&url) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(Self::Overpass(url)),
                _ => Err(Error::Config(
                    "HUB_SWEEP_OVERPASS_URL must be an address such as https://overpass.example/api/interpreter".into(),
                )),
            },
            (None, Some(path)) => Ok(Self::Csv(path.into())),
            (None, None) => Ok(Self::None),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Overpass(_) => "OpenStreetMap",
            Self::Csv(_) => "CSV",
        }
    }

    async fn search(&self, city: &str) -> Result<Vec<Lead>, Failure> {
        let mut found = match self {
            Self::None => Err(Failure::for_good(
                "no source is configured: set HUB_SWEEP_OVERPASS_URL or HUB_SWEEP_CSV_PATH for the worker that keeps time",
            )),
            Self::Overpass(url) => timeout(SEARCH_WITHIN, overpass(url, city))
                .await
                .unwrap_or_else(|_| Err(Failure::for_now("OpenStreetMap did not answer in time"))),
            Self::Csv(path) => {
                let (path, city) = (path.clone(), city.to_owned());
                tokio::task::spawn_blocking(move || {
                    let file = std::fs::File::open(&path)
                        .map_err(|error| Failure::for_good(format!("the CSV file can not be read: {error}")))?;
                    read_csv(file, &city)
                })
                .await
                .unwrap_or_else(|_| Err(Failure::for_good("the CSV file can not be read")))
            }
        }?;
        found.truncate(MOST);
        Ok(found)
    }
}

pub(crate) fn errand(keeper: &Keeper) -> Option<Box<dyn Errand>> {
    Some(Box::new(Sweeper { hub: keeper.hub.clone(), source: keeper.sweeps.clone() }))
}

/// Carries sweeps out.
struct Sweeper {
    hub: Hub,
    source: SweepSource,
}

impl Errand for Sweeper {
    /// One after another; one that is cut off is another's when its lease runs out.
    fn run(self: Box<Self>, told: Errands, ends: Ends) -> BoxFuture<'static, ()> {
        Box::pin(whenever_told(
            told,
            ends,
            async move || self.sweep_all().await,
            |error| match error {
                Error::Forbidden(_) => {
                    tracing::error!(error = %error, "this worker may not carry out sweeps");
                    None
                }
                // Whatever it is, it may be mended while we run.
                error => {
                    tracing::error!(error = %error, "sweeps can not be carried out now");
                    Some(MENDED)
                }
            },
        ))
    }
}

impl Sweeper {
    async fn sweep_all(&self) -> Result<()> {
        loop {
            let Some(sweep) = self.hub.claim_sweeps(1, LEASE).await?.into_iter().next() else { return Ok(()) };
            match self.carry_out(&sweep).await {
                Ok(ended) => tracing::info!(
                    sweep.id = %ended.id, sweep.status = %ended.status, sweep.attempt = ended.attempt, sweep.added = ended.added, "swept"
                ),
                // It is another's by now.
                Err(Error::LeaseLost(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn carry_out(&self, sweep: &Sweep) -> Result<Sweep> {
        match self.source.search(&sweep.city).await {
            Ok(found) => self.hub.complete_sweep(sweep, &found, self.source.name()).await,
            Err(failure) => self.hub.fail_sweep(sweep, &failure.text, failure.retryable).await,
        }
    }
}

/// What Overpass answers with `[out:json]`: <https://wiki.openstreetmap.org/wiki/OSM_JSON>.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    elements: Vec<Element>,
    /// Set with status 200, too, when the query ran out of time or memory.
    #[serde(default)]
    remark: Option<String>,
}

#[derive(Deserialize)]
struct Element {
    #[serde(default)]
    tags: std::collections::BTreeMap<String, String>,
}

impl Element {
    fn tag(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.tags.get(*name)).map(|text| text.trim().to_owned()).filter(|t| !t.is_empty())
    }

    fn lead(&self) -> Option<Lead> {
        let street = self.tag(&["addr:street"]);
        let address = match (self.tag(&["addr:housenumber"]), street) {
            (Some(number), Some(street)) => Some(format!("{number} {street}")),
            (_, street) => street,
        };
        let notes = [self.tag(&["amenity"]), self.tag(&["cuisine"])];
        let notes = notes.into_iter().flatten().collect::<Vec<_>>().join(", ").replace('_', " ");
        Some(Lead {
            name: self.tag(&["name"])?,
            address,
            contact: self.tag(&["contact:email", "email", "phone", "contact:phone", "website", "contact:website"]),
            rating: None,
            notes: Some(notes).filter(|notes| !notes.is_empty()),
        })
    }
}

/// Places that eat and drink, inside the administrative area of that name. A name in Overpass QL stands in quotes, where `\` and `"`
/// are escaped; control characters do not reach us.
fn query(city: &str) -> String {
    let name = area_name(city).replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "[out:json][timeout:{OVERPASS_SECONDS}];\
         area[\"boundary\"=\"administrative\"][\"name\"=\"{name}\"]->.city;\
         nwr[\"amenity\"~\"^(restaurant|cafe|bar|pub)$\"][\"name\"](area.city);\
         out tags {MOST};"
    )
}

/// OpenStreetMap compares letter by letter, and people type `brooklyn`.
fn area_name(city: &str) -> String {
    if city.chars().any(char::is_uppercase) {
        return city.to_owned();
    }
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    city.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

async fn overpass(url: &Url, city: &str) -> Result<Vec<Lead>, Failure> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("aura-hub/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .build()
        .map_err(|_| Failure::for_good("no HTTP client can be made"))?;
    let mut response = client
        .post(url.clone())
        .form(&[("data", query(city))])
        .send()
        .await
        .map_err(|_| Failure::for_now("OpenStreetMap can not be reached"))?;
    let status = response.status();
    if !status.is_success() {
        let text = format!("OpenStreetMap answered {}", status.as_u16());
        let passes = status.is_server_error() || status.as_u16() == 429;
        return Err(if passes { Failure::for_now(text) } else { Failure::for_good(text) });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Failure::for_now("OpenStreetMap's answer broke off"))? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(Failure::for_good("OpenStreetMap's answer is too large: sweep a smaller area"));
        }
        body.extend_from_slice(&chunk);
    }
    read_answer(&body)
}

fn read_answer(body: &[u8]) -> Result<Vec<Lead>, Failure> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Failure::for_now("OpenStreetMap's answer can not be read"))?;
    if answer.remark.is_some_and(|remark| remark.contains("error")) {
        return Err(Failure::for_now("OpenStreetMap ran out of time or memory"));
    }
    Ok(answer.elements.iter().filter_map(Element::lead).collect())
}

fn read_csv(file: impl std::io::Read, city: &str) -> Result<Vec<Lead>, Failure> {
    let bad = |error: csv::Error| Failure::for_good(format!("the CSV file can not be read: {error}"));
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(file);
    let header = reader.headers().map_err(bad)?.clone();
    let column =
        |name: &str| header.iter().position(|title| title.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let (Some(name), Some(place)) = (column("name"), column("city").or_else(|| column("market"))) else {
        return Err(Failure::for_good("the CSV file needs a header with the columns name and city"));
    };
    let (address, contact, rating, notes) = (column("address"), column("contact"), column("rating"), column("notes"));
    let mut found = Vec::new();
    for row in reader.records() {
        let row = row.map_err(bad)?;
        let field =
            |at: Option<usize>| at.and_then(|at| row.get(at)).filter(|text| !text.is_empty()).map(str::to_owned);
        if row.get(place).is_none_or(|text| text.to_lowercase() != city.to_lowercase()) {
            continue;
        }
        if let Some(name) = field(Some(name)) {
            let rating = field(rating).and_then(|text| text.parse().ok());
            found.push(Lead { name, address: field(address), contact: field(contact), rating, notes: field(notes) });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(values: &[(&str, &str)]) -> Result<SweepSource> {
        SweepSource::read(&|name| values.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_sweep_source_is_one_of_two_settings() {
        assert_eq!(source(&[]).unwrap(), SweepSource::None);
        assert_eq!(source(&[("HUB_SWEEP_CSV_PATH", "a.csv")]).unwrap(), SweepSource::Csv("a.csv".into()));
        assert!(matches!(source(&[("HUB_SWEEP_OVERPASS_URL", "https://o.example/api")]), Ok(SweepSource::Overpass(_))));
        for wrong in [
            &[("HUB_SWEEP_OVERPASS_URL", "file:///etc/passwd")][..],
            &[("HUB_SWEEP_OVERPASS_URL", "o.example")],
            &[("HUB_SWEEP_OVERPASS_URL", "https://o.example"), ("HUB_SWEEP_CSV_PATH", "a.csv")],
        ] {
            assert!(source(wrong).unwrap_err().to_string().contains("HUB_SWEEP_OVERPASS_URL"), "{wrong:?}");
        }
    }

    #[test]
    fn a_citys_name_is_escaped_in_the_overpass_query() {
        assert!(query("brooklyn").contains(r#"["name"="Brooklyn"]"#));
        assert!(query("New York").contains(r#"["name"="New York"]"#));
        assert!(query("new york").contains(r#"["name"="New York"]"#));
        assert!(query(r#"X"];node(1);out;//"#).contains(r#"["name"="X\"];node(1);out;//"]"#));
        assert!(query(r"A\").contains(r#"["name"="A\\"]"#));
    }

    #[test]
    fn an_answer_of_overpass_is_read() {
        let body = br#"{"version": 0.6, "elements": [
            {"type": "node", "id": 1, "lat": 40.7, "lon": -73.9, "tags": {"amenity": "cafe", "name": "Bakeri", "cuisine": "coffee_shop",
             "addr:housenumber": "105", "addr:street": "Freeman Street", "phone": "+1 718 349 1542"}},
            {"type": "way", "id": 2, "tags": {"amenity": "bar"}},
            {"type": "node", "id": 3}]}"#;
        let found = read_answer(body).unwrap();
        assert_eq!(found.len(), 1, "what has no name is no lead");
        assert_eq!(found[0].address.as_deref(), Some("105 Freeman Street"));
        assert_eq!(found[0].notes.as_deref(), Some("cafe, coffee shop"));
        assert!(read_answer(br#"{"elements": [], "remark": "runtime error: Query timed out"}"#).unwrap_err().retryable);
        assert!(read_answer(b"<html>busy</html>").unwrap_err().retryable);
        assert_eq!(read_answer(br#"{"elements": []}"#).unwrap(), []);
    }

    #[test]
    fn a_csv_file_is_read_by_its_header() {
        let text = "\u{feff}Name,City,Rating,Contact\n\"Ops, Coffee\",BROOKLYN,4.5,a@b.example\nOther,Queens,1,\n,Brooklyn,,\nShort,brooklyn\n";
        let found = read_csv(text.as_bytes(), "Brooklyn").unwrap();
        assert_eq!(found.iter().map(|lead| lead.name.as_str()).collect::<Vec<_>>(), ["Ops, Coffee", "Short"]);
        assert_eq!(found[0].rating, Some(4.5));
        assert!(!read_csv("a,b\n1,2\n".as_bytes(), "x").unwrap_err().retryable);
    }
}
