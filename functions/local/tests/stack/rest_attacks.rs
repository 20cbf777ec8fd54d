//! Who shows a token that is none, who writes SQL where a name or a value belongs, and whoever sends what nobody would: refused, and nothing
//! of it runs.

use crate::common::{Stack, answer};
use hub_local::keys::Keys;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use url::form_urlencoded;

const OPERATOR: &str = "HUB_OPERATOR_JWT";

async fn stack() -> Stack {
    let stack = Stack::start().await;
    stack.sql(include_str!("sql/attacked.sql")).await;
    stack
}

/// What no attack may change.
async fn untouched(stack: &Stack) -> (bool, i64, i64, i64) {
    let mut database = PgConnection::connect(stack.var("DATABASE_URL")).await.unwrap();
    sqlx::query_as(
        "select (select is_called from hidden.wire), (select count(*) from public.closed), (select count(*) from public.films),
                (select count(*) from pg_class where relnamespace in ('public'::regnamespace, 'hidden'::regnamespace))",
    )
    .fetch_one(&mut database)
    .await
    .unwrap()
}

#[tokio::test]
async fn forged_tokens_open_nothing() {
    let stack = stack().await;
    let secret = stack.var("SUPABASE_JWT_SECRET").to_owned();
    let now = chrono::Utc::now().timestamp();
    let claims = json!({"role": "service_role", "exp": now + 3600});
    let sign = |algorithm: Algorithm, claims: &Value, secret: &str| {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    };
    let good = sign(Algorithm::HS256, &claims, &secret);
    let parts: Vec<&str> = good.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let other = sign(Algorithm::HS256, &json!({"role": "service_role", "exp": now + 7200}), "x");
    let other_body = other.split('.').nth(1).unwrap();
    let mut pointed = Header::new(Algorithm::HS256);
    pointed.kid = Some("../../dev/null".into());
    let pointed = jsonwebtoken::encode(&pointed, &claims, &EncodingKey::from_secret(b"")).unwrap();
    // {"alg":"none"}, {"alg":"nOnE"}, {"alg":"RS256"}, {"alg":"HS256","jwk":{"kty":"oct","k":"eA"}}
    let (none, mixed, rsa) = ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJuT25FIn0", "eyJhbGciOiJSUzI1NiJ9");
    let own_key = "eyJhbGciOiJIUzI1NiIsImp3ayI6eyJrdHkiOiJvY3QiLCJrIjoiZUEifX0";
    let forged = [
        ("rubbish".to_owned(), "PGRST301"),
        (format!("{none}.{body}."), "PGRST301"),
        (format!("{mixed}.{body}."), "PGRST301"),
        (format!("{none}.{body}.{signature}"), "PGRST301"),
        (format!("{rsa}.{body}.{signature}"), "PGRST301"),
        (format!("{own_key}.{body}.{signature}"), "PGRST301"),
        (format!("{head}.{body}."), "PGRST301"),
        (format!("{head}.{other_body}.{signature}"), "PGRST301"),
        (other.clone(), "PGRST301"),
        (sign(Algorithm::HS256, &claims, ""), "PGRST301"),
        (sign(Algorithm::HS512, &claims, &secret), "PGRST301"),
        (pointed, "PGRST301"),
        (format!("{good}.{signature}"), "PGRST301"),
        (sign(Algorithm::HS256, &json!({"role": "service_role", "exp": now - 60}), &secret), "PGRST303"),
        (
            sign(Algorithm::HS256, &json!({"role": "service_role", "exp": now + 600, "nbf": now + 300}), &secret),
            "PGRST303",
        ),
        (sign(Algorithm::HS256, &json!({"role": "service_role"}), &secret), "PGRST303"),
        (sign(Algorithm::HS256, &json!({"role": "service_role", "exp": "4000000000"}), &secret), "PGRST303"),
    ];
    let before = untouched(&stack).await;
    for (token, code) in &forged {
        for (method, path) in [
            (Method::GET, "/rest/v1/closed"),
            (Method::GET, "/rest/v1/"),
            (Method::POST, "/rest/v1/closed"),
            (Method::DELETE, "/rest/v1/films?id=gt.0"),
            (Method::POST, "/rest/v1/rpc/add"),
        ] {
            let (status, said) = answer(stack.ask(method, path).bearer_auth(token).json(&json!({"id": 2}))).await;
            assert_eq!((status, said["code"].as_str()), (401, Some(*code)), "{path} {token}: {said}");
        }
    }
    assert_eq!(untouched(&stack).await, before);
    let (status, rows) = answer(stack.ask(Method::GET, "/rest/v1/closed").bearer_auth(&good)).await;
    assert_eq!((status, rows[0]["word"].as_str()), (200, Some("xyzzy-closed")), "the one that is not forged");

    // A role that the layer may not take is no way in, whoever signed it.
    let keys = Keys::new(&secret.into(), "");
    for role in ["postgres", "supabase_admin", "nobody", "pg_read_all_data", "none\"; reset role; --", ""] {
        let token = keys.sign(&json!({"role": role, "exp": now + 600})).unwrap();
        let (status, said) = answer(stack.ask(Method::GET, "/rest/v1/closed").bearer_auth(token)).await;
        assert!((400..500).contains(&status), "{role}: {status} {said}");
    }
    stack.stop().await;
}

/// Texts that mean something to SQL.
const SNIPPETS: [&str; 15] = [
    "1;select hidden.trip()",
    "1; select hidden.trip(); --",
    "' or hidden.trip() is not null --",
    "'||hidden.trip()||'",
    "\\'; select hidden.trip(); --",
    "\"; select hidden.trip(); --",
    "\"||hidden.trip()||\"",
    "1) union select hidden.trip() --",
    "$1); select hidden.trip(); --",
    "$$||hidden.trip()||$$",
    "id/**/;/**/select/**/hidden.trip()",
    "(select hidden.trip())",
    "hidden.trip()",
    "E'\\047||hidden.trip()||\\047'",
    "\u{2019}\u{ff07}; select hidden.trip(); --",
];

#[tokio::test]
async fn sql_in_a_request_does_not_run() {
    let stack = stack().await;
    let before = untouched(&stack).await;
    // Where a name or a value belongs: names and values of parameters.
    let places: [(&str, &str); 24] = [
        ("/films", "id=eq.%"),
        ("/films", "title=eq.%"),
        ("/films", "title=like.%"),
        ("/films", "title=in.(%)"),
        ("/films", "title=in.(\"%\")"),
        ("/films", "tags=cs.{%}"),
        ("/films", "data=cs.%"),
        ("/films", "words=fts(%).x"),
        ("/films", "words=fts.%"),
        ("/films", "data->%=eq.1"),
        ("/films", "data->>%=eq.1"),
        ("/films", "title=%.1"),
        ("/films", "%=eq.1"),
        ("/films", "or=(%)"),
        ("/films", "or=(title.eq.%,id.eq.1)"),
        ("/films", "select=%"),
        ("/films", "select=%:id"),
        ("/films", "select=id::%"),
        ("/films", "select=id,roles!%(part)"),
        ("/films", "select=roles(%)"),
        ("/films", "order=%"),
        ("/films", "limit=%&offset=%"),
        ("/rpc/add", "a=%"),
        ("/rpc/%", "a=1"),
    ];
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let mut tried = 0;
    for (path, place) in places {
        for snippet in SNIPPETS {
            let snippet = encoded(snippet);
            let (name, value) = place.split_once('=').unwrap();
            let fill = |text: &str| text.split('%').map(encoded).collect::<Vec<_>>().join(&snippet);
            let value = value.split('&').map(|value| {
                value.split_once('=').map_or_else(|| fill(value), |(name, value)| format!("{name}={}", fill(value)))
            });
            let query = format!("{}={}", fill(name), value.collect::<Vec<_>>().join("&"));
            let target = format!("/rest/v1{}?{query}", path.replace('%', &snippet));
            held(&target, stack.ask_as(OPERATOR, Method::GET, &target)).await;
            tried += 1;
        }
    }
    // Bodies, headers, and the parameters of writes.
    for snippet in SNIPPETS {
        let write = |method: Method, path: String| stack.ask_as(OPERATOR, method, &path);
        let quoted = encoded(snippet);
        let films = "/rest/v1/films";
        let header = |name: &str, value: String| {
            stack
                .ask_as(OPERATOR, Method::GET, films)
                .header(name, reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let requests = [
            ("a key of the body", write(Method::POST, films.into()).json(&json!({snippet: 1}))),
            (
                "a value of the body",
                write(Method::PATCH, format!("{films}?id=eq.1")).json(&json!({"Mixed \"Case": snippet})),
            ),
            ("a number in the body", write(Method::PATCH, format!("{films}?id=eq.1")).json(&json!({"id": snippet}))),
            ("columns", write(Method::POST, format!("{films}?columns={quoted}")).json(&json!([{"id": 1}]))),
            (
                "on_conflict",
                write(Method::POST, format!("{films}?on_conflict={quoted}"))
                    .header("prefer", "resolution=merge-duplicates")
                    .json(&json!([{"id": 1}])),
            ),
            ("csv", write(Method::POST, films.into()).header("content-type", "text/csv").body(format!("{snippet}\n1"))),
            ("an argument", write(Method::POST, "/rest/v1/rpc/found".into()).json(&json!({"p_title": snippet}))),
            ("the name of an argument", write(Method::POST, "/rest/v1/rpc/found".into()).json(&json!({snippet: 1}))),
            (
                "a variadic argument",
                write(Method::POST, "/rest/v1/rpc/listed".into()).json(&json!({"words": [snippet]})),
            ),
            ("accept-profile", header("accept-profile", snippet.to_owned())),
            ("prefer: timezone", header("prefer", format!("timezone={snippet}"))),
            ("prefer", header("prefer", snippet.to_owned())),
            ("accept", header("accept", snippet.to_owned())),
            ("range", header("range", snippet.to_owned())),
            ("x-any", header("x-any", snippet.to_owned())),
            ("cookie", header("cookie", format!("a={snippet}"))),
        ];
        for (place, request) in requests {
            held(&format!("{place}: {snippet}"), request).await;
            tried += 1;
        }
    }
    assert!(tried >= 75, "{tried} attempts");
    assert_eq!(untouched(&stack).await, before);
    let (_, rows) = answer(stack.ask_as(OPERATOR, Method::GET, "/rest/v1/films?select=id,sequel_of&order=id")).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(5));
    stack.stop().await;
}

/// No fault of the server, nothing that is nobody's to read, and no statement that Postgres could not parse.
async fn held(what: &str, request: reqwest::RequestBuilder) {
    let response = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let status = response.status().as_u16();
    let said = response.text().await.unwrap();
    assert!(status < 500, "{what}: {status} {said}");
    assert!(!said.contains("xyzzy"), "{what}: {said}");
    // Postgres has the same code for texts that it parses as values, and for what a name or a type may not be: these stand in the statement by
    // themselves, a type as letters and digits alone, as with PostgREST.
    let refused = serde_json::from_str::<Value>(&said).unwrap_or_default();
    let syntax = refused["code"] == "42601" || refused["code"] == "42P02";
    let message = refused["message"].as_str().unwrap_or("");
    let of_a_value = ["tsquery", "tsvector", "jsonpath", "zero-length delimited identifier"]
        .iter()
        .any(|word| message.contains(word));
    let of_a_type = what.contains("::") || what.contains("%3A%3A");
    assert!(!syntax || of_a_value || of_a_type, "{what} came into the statement: {said}");
}

/// Parts of requests: those that fit, and those that may not.
const NAMES: [&str; 12] =
    ["id", "title", "tags", "data", "shown", "rating", "span", "words", "\"Mixed \\\"Case\"", "sequel_of", "age", "*"];
const EMBEDS: [&str; 14] = [
    "roles",
    "actors",
    "posters",
    "films",
    "roles!inner",
    "actors!left",
    "posters!film",
    "...posters",
    "...roles",
    "sequel:films!sequel_of",
    "r:roles",
    "roles!roles_film_fkey",
    "people:actors!inner",
    "films!films_sequel_of_fkey",
];
const ODD_NAMES: [&str; 18] = [
    "part",
    "name",
    "film",
    "actor",
    "closed",
    "hidden",
    "hidden.secrets",
    "nothing",
    "\"",
    "\\",
    "é",
    "中",
    " ",
    "%00",
    "",
    "a,b",
    "count()",
    "\u{0}",
];
const OPERATORS: [&str; 30] = [
    "eq",
    "neq",
    "gt",
    "gte",
    "lt",
    "lte",
    "like",
    "ilike",
    "match",
    "imatch",
    "in",
    "is",
    "isdistinct",
    "fts",
    "plfts",
    "phfts",
    "wfts",
    "cs",
    "cd",
    "ov",
    "sl",
    "sr",
    "nxr",
    "nxl",
    "adj",
    "not.eq",
    "not.in",
    "eq(any)",
    "like(all)",
    "fts(simple)",
];
const VALUES: [&str; 16] = [
    "1",
    "3",
    "0",
    "2.5",
    "film 1",
    "film*",
    "null",
    "true",
    "{a,b1}",
    "(1,2)",
    "(a,\"b\")",
    "[1,5)",
    "{\"n\":1}",
    "2026-01-01",
    "film & 1",
    "m1",
];
const ODD_VALUES: [&str; 26] = [
    "-1",
    "9999999999999999999",
    "NaN",
    "not_null",
    "unknown",
    "",
    " ",
    "*",
    "%",
    "_",
    "{",
    "}",
    "(",
    ")",
    "()",
    "(\"a",
    "\"",
    "\\",
    "'",
    "'';",
    "--",
    "$1",
    "[]",
    "a | !",
    "\u{0}",
    "(x+x+)+y\\1",
];
const JOINTS: [&str; 12] = [
    "->n",
    "->list->0",
    "->>n",
    "->list->>-1",
    "::text",
    ".count()",
    ".sum()",
    ".avg()::int",
    ".desc",
    ".asc.nullslast",
    ".nullsfirst",
    "::int",
];
const ODD_JOINTS: [&str; 14] = [",", ".", ":", "::", "->", "->>", "!", "!fk", "(", ")", "()", "...", "\t", "::\"x"];

struct Fuzz(StdRng);

impl Fuzz {
    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of.choose(&mut self.0).copied().unwrap()
    }

    fn chance(&mut self, of: u32) -> bool {
        self.0.random_ratio(1, of)
    }

    /// Mostly one that fits.
    fn mostly<'t>(&mut self, fit: &[&'t str], odd: &[&'t str]) -> &'t str {
        if self.chance(12) { self.one(odd) } else { self.one(fit) }
    }

    fn value(&mut self) -> &'static str {
        self.mostly(&VALUES, &ODD_VALUES)
    }

    fn filter(&mut self) -> String {
        let (operator, value) = (self.one(&OPERATORS), self.value());
        match operator {
            "in" | "not.in" if !value.starts_with('(') && !self.chance(9) => format!("{operator}.({value})"),
            "eq(any)" | "like(all)" if !value.starts_with('{') && !self.chance(9) => format!("{operator}.{{{value}}}"),
            _ => format!("{operator}.{value}"),
        }
    }

    fn field(&mut self, joints: u32) -> String {
        let mut field = self.mostly(&NAMES, &ODD_NAMES).to_owned();
        if self.chance(3) {
            for _ in 0..self.0.random_range(0..=joints) {
                field.push_str(self.mostly(&JOINTS, &ODD_JOINTS));
            }
        }
        field
    }

    fn select(&mut self, depth: u32) -> String {
        let items: Vec<String> = (0..self.0.random_range(1..4))
            .map(|_| {
                let alias =
                    if self.chance(8) { format!("{}:", self.mostly(&["x", "y"], &ODD_NAMES)) } else { String::new() };
                if depth > 0 && self.chance(3) {
                    let embed = self.mostly(&EMBEDS, &ODD_NAMES);
                    let within = if self.chance(2) { "*".to_owned() } else { self.select(depth - 1) };
                    format!("{alias}{embed}({within})")
                } else {
                    format!("{alias}{}", self.field(2))
                }
            })
            .collect();
        items.join(",")
    }

    fn order(&mut self) -> String {
        let terms: Vec<String> = (0..self.0.random_range(1..3))
            .map(|_| {
                let field = if self.chance(5) {
                    format!("{}(id)", self.mostly(&EMBEDS, &ODD_NAMES))
                } else {
                    self.mostly(&NAMES, &ODD_NAMES).into()
                };
                format!(
                    "{field}{}",
                    self.mostly(&["", ".desc", ".asc", ".nullsfirst", ".desc.nullslast", "->n"], &ODD_JOINTS)
                )
            })
            .collect();
        terms.join(",")
    }

    fn logic(&mut self, depth: u32) -> String {
        let items: Vec<String> = (0..self.0.random_range(1..4))
            .map(|_| match self.0.random_range(0..3) {
                0 if depth > 0 => format!(
                    "{}{}({})",
                    if self.chance(2) { "not." } else { "" },
                    self.one(&["and", "or"]),
                    self.logic(depth - 1)
                ),
                _ => format!("{}.{}", self.mostly(&NAMES, &ODD_NAMES), self.filter()),
            })
            .collect();
        items.join(",")
    }

    fn parameter(&mut self) -> (String, String) {
        match self.0.random_range(0..14) {
            0..4 => ("select".into(), self.select(3)),
            4 => ("order".into(), self.order()),
            5 => (self.one(&["or", "and", "not.or", "not.and", "roles.or"]).into(), format!("({})", self.logic(3))),
            6 => (
                self.one(&["limit", "offset", "roles.limit", "roles.offset"]).into(),
                self.mostly(&["0", "1", "2", "100"], &ODD_VALUES).into(),
            ),
            7 => (
                format!(
                    "{}.{}",
                    self.mostly(&["roles", "posters", "r"], &EMBEDS),
                    self.one(&["order", "limit", "or", "id"])
                ),
                self.filter(),
            ),
            8 => (self.one(&["columns", "on_conflict"]).into(), self.select(0)),
            9 => (self.one(&["a", "b", "words", "p_title"]).into(), self.value().into()),
            _ => (self.field(1), self.filter()),
        }
    }

    /// A query with its characters escaped, or as it is; now and then with some of them lost.
    fn query(&mut self) -> String {
        let mut query = String::new();
        for _ in 0..self.0.random_range(0..5) {
            let (name, value) = self.parameter();
            if !query.is_empty() {
                query.push('&');
            }
            query.extend(form_urlencoded::byte_serialize(name.as_bytes()));
            query.push('=');
            query.extend(form_urlencoded::byte_serialize(value.as_bytes()));
        }
        if self.chance(12) && !query.is_empty() {
            let at = self.0.random_range(0..query.len());
            query.replace_range(at..=at, self.one(&["", "%", "%2", "&", "=", "(", "%28", "%22", "%FF", "%00"]));
        }
        query
    }

    fn body(&mut self) -> String {
        let row = |fuzz: &mut Self| {
            let members = (0..fuzz.0.random_range(0..4)).map(|_| {
                let value = match fuzz.0.random_range(0..4) {
                    0 => Value::Null,
                    1 => json!(fuzz.0.random_range(-3..9)),
                    2 => json!([fuzz.value(), {"a": null}]),
                    _ => json!(fuzz.value()),
                };
                (fuzz.mostly(&NAMES, &ODD_NAMES).replace("\"Mixed \\\"Case\"", "Mixed \"Case"), value)
            });
            Value::Object(members.collect())
        };
        match self.0.random_range(0..8) {
            0 => {
                self.one(&["", "[", "{}", "[]", "null", "1", "\"x\"", "[1]", "[[]]", "{\"a\":1}{", "\u{feff}{}"]).into()
            }
            1 | 2 => Value::Array((0..self.0.random_range(0..4)).map(|_| row(self)).collect()).to_string(),
            3 => format!("{},{}\n{},{}", self.one(&NAMES), self.one(&NAMES), self.value(), self.value()),
            _ => row(self).to_string(),
        }
    }
}

#[tokio::test]
async fn no_request_is_a_fault_and_none_writes_its_own_statement() {
    let stack = stack().await;
    // So that there are rows until the end.
    stack.sql("alter role authenticator set pgrst.db_tx_end = 'rollback'; notify pgrst, 'reload config'").await;
    let (wire, closed, ..) = untouched(&stack).await;
    let tables = ["/films", "/films", "/films", "/roles", "/actors", "/posters", "/seen"];
    let functions = ["/rpc/add", "/rpc/found", "/rpc/found", "/rpc/lines", "/rpc/listed", "/rpc/taken"];
    let odd_paths = [
        "/closed",
        "/nothing",
        "/",
        "/rpc/nothing",
        "/rpc/",
        "/films/1",
        "/%22",
        "/hidden.secrets",
        "/%00",
        "//films",
        "/rpc/films",
    ];
    let headers = [
        ("prefer", "count=exact"),
        ("prefer", "count=planned"),
        ("prefer", "count=estimated"),
        ("prefer", "return=representation"),
        ("prefer", "return=headers-only"),
        ("prefer", "resolution=merge-duplicates"),
        ("prefer", "missing=default"),
        ("prefer", "tx=rollback"),
        ("prefer", "handling=strict,max-affected=1"),
        ("prefer", "timezone=Nowhere"),
        ("prefer", "timezone=Asia/Tokyo"),
        ("prefer", ",;=\"'"),
        ("accept", "text/csv"),
        ("accept", "application/vnd.pgrst.object+json"),
        ("accept", "application/vnd.pgrst.array+json;nulls=stripped"),
        ("accept", "application/vnd.pgrst.plan+json"),
        ("accept", "application/octet-stream"),
        ("accept", "text/plain"),
        ("accept", "a/b;q=x"),
        ("accept", "*/*;q=0.1, application/json"),
        ("range", "0-1"),
        ("range", "5-1"),
        ("range", "-"),
        ("range", "0-99999999999999999999"),
        ("content-type", "text/csv"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "text/plain"),
        ("content-type", "application/octet-stream"),
        ("content-type", "x"),
        ("accept-profile", "hidden"),
        ("content-profile", "hidden"),
        ("accept-profile", "graphql_public"),
        ("accept-profile", ""),
    ];
    let mut fuzz = Fuzz(StdRng::seed_from_u64(18));
    for n in 0..3000 {
        let called = fuzz.chance(4);
        let path = fuzz.mostly(if called { &functions } else { &tables }, &odd_paths);
        let methods: &[&str] = if called {
            &["GET", "POST", "HEAD"]
        } else {
            &["GET", "GET", "GET", "GET", "HEAD", "POST", "PATCH", "DELETE", "PUT"]
        };
        let method =
            Method::from_bytes(fuzz.mostly(methods, &["OPTIONS", "TRACE", "SEARCH", "PUT", "DELETE"]).as_bytes())
                .unwrap();
        let target = format!("/rest/v1{path}?{}", fuzz.query());
        let mut what = format!("request {n}: {method} {target}");
        let mut request = stack.ask_as(OPERATOR, method.clone(), &target);
        for _ in 0..fuzz.0.random_range(0..4_u32).saturating_sub(2) {
            let (name, value) = headers.choose(&mut fuzz.0).unwrap();
            what.push_str(&format!("\n{name}: {value}"));
            request = request.header(*name, *value);
        }
        if !matches!(method.as_str(), "GET" | "HEAD" | "TRACE" | "OPTIONS") {
            let body = fuzz.body();
            what.push_str(&format!("\n\n{body}"));
            request = request.body(body);
        }
        held(&what, request).await;
    }
    let after = untouched(&stack).await;
    assert_eq!((after.0, after.1), (wire, closed));
    stack.stop().await;
}
