//! Values of every type, with their odd ones: read, written and compared by REST as Postgres itself does, and told by Realtime.

use crate::common::Stack;
use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;
use url::form_urlencoded;

const SERVICE: &str = "SUPABASE_SERVICE_ROLE_KEY";

async fn stack() -> (Stack, PgConnection) {
    let stack = Stack::start().await;
    stack.sql(include_str!("sql/types.sql")).await;
    let database = PgConnection::connect(stack.var("DATABASE_URL")).await.unwrap();
    (stack, database)
}

/// One text that Postgres answers, or the SQLSTATE.
async fn postgres(database: &mut PgConnection, query: &str) -> Result<String, String> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
        .fetch_one(database)
        .await
        .map_err(|error| error.as_database_error().and_then(|error| error.code()).unwrap().into_owned())
}

/// Status and body, byte for byte.
async fn rest(stack: &Stack, method: Method, path: &str, accept: &str, body: Option<String>) -> (u16, String) {
    let mut request = stack.ask_as(SERVICE, method, path).header("accept", accept);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn columns(database: &mut PgConnection) -> Vec<(String, String)> {
    sqlx::query_as(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute
          where attrelid = 'public.every'::regclass and attnum > 0 order by attnum",
    )
    .fetch_all(database)
    .await
    .unwrap()
}

#[tokio::test]
async fn every_type_is_read_as_postgres_writes_it() {
    let (stack, mut database) = stack().await;
    // Types that no column can be made of, or that nobody can write.
    let forgotten = postgres(
        &mut database,
        "select coalesce(string_agg(t.typname, ' '), '') from pg_type t
          where t.typnamespace = 'pg_catalog'::regnamespace and t.typtype in ('b', 'r', 'm') and t.typcategory <> 'A' and t.typname !~ '^_'
            and t.typname not in ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'gtsvector', 'xml')
            and t.typname !~ '^pg_brin_'
            and not exists (select from pg_attribute a where a.attrelid = 'public.every'::regclass and a.atttypid = t.oid)",
    )
    .await;
    assert_eq!(forgotten.as_deref(), Ok(""), "the table has a column of each");

    let json = "application/json";
    let written =
        postgres(&mut database, "select json_agg(e)::text from (select * from public.every order by id) e").await;
    let (status, all) = rest(&stack, Method::GET, "/rest/v1/every?order=id", json, None).await;
    assert_eq!((status, Ok(all.clone())), (200, written));
    for id in 1..=5 {
        let written =
            postgres(&mut database, &format!("select to_json(e)::text from public.every e where id = {id}")).await;
        let single = "application/vnd.pgrst.object+json";
        let (status, one) = rest(&stack, Method::GET, &format!("/rest/v1/every?id=eq.{id}"), single, None).await;
        assert_eq!((status, Ok(one)), (200, written));
    }
    // As what functions return, and in an embed of itself.
    stack
        .sql(
            "create function public.every_row() returns setof public.every language sql stable as $$ select * from public.every order by id $$;
             create function public.row_of(public.every) returns setof public.every rows 1 language sql stable as $$ select * from public.every where id = $1.id $$;",
        )
        .await;
    assert_eq!(rest(&stack, Method::GET, "/rest/v1/rpc/every_row", json, None).await, (200, all.clone()));
    let written = "select json_agg(x)::text from (select row_to_json(e)::jsonb as e from public.every e order by id) x";
    let written = postgres(&mut database, written).await;
    let (status, embedded) = rest(&stack, Method::GET, "/rest/v1/every?select=e:row_of(*)&order=id", json, None).await;
    assert_eq!((status, Ok(embedded)), (200, written));

    let written = postgres(
        &mut database,
        "select string_agg(attname, ',' order by attnum) from pg_attribute where attrelid = 'public.every'::regclass and attnum > 0",
    )
    .await
    .unwrap();
    let lines = "select string_agg(substring(e::text, 2, length(e::text) - 2), e'\\n') from (select * from public.every order by id) e";
    let lines = postgres(&mut database, lines).await.unwrap();
    let (status, csv) = rest(&stack, Method::GET, "/rest/v1/every?order=id", "text/csv", None).await;
    assert_eq!((status, csv.as_str()), (200, format!("{written}\n{lines}").as_str()));
    // A reader of CSV finds the texts again, where they have no backslash, which Postgres doubles in a row.
    let parsed = parse(&csv);
    for (at, (name, kind)) in columns(&mut database).await.iter().enumerate() {
        assert_eq!(parsed[0][at], *name);
        for (id, row) in (1..=5).zip(&parsed[1..]) {
            let text = format!("select format('%s', {name}) from public.every where id = {id}");
            let text = postgres(&mut database, &text).await.unwrap();
            if !text.contains('\\') {
                assert_eq!(row[at], text, "{kind} in row {id}");
            }
        }
    }
    stack.stop().await;
}

/// RFC 4180.
fn parse(csv: &str) -> Vec<Vec<String>> {
    let mut lines = vec![vec![String::new()]];
    let mut quoted = false;
    let mut chars = csv.chars().peekable();
    while let Some(char) = chars.next() {
        let line = lines.last_mut().unwrap();
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => line.last_mut().unwrap().push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(String::new()),
            '\n' if !quoted => lines.push(vec![String::new()]),
            other => line.last_mut().unwrap().push(other),
        }
    }
    lines
}

#[tokio::test]
async fn every_value_is_written_and_found_again() {
    let (stack, mut database) = stack().await;
    let json = "application/json";

    // What was read is written, row by row and all at once.
    let (_, all) = rest(&stack, Method::GET, "/rest/v1/every?order=id", json, None).await;
    let (status, said) = rest(&stack, Method::POST, "/rest/v1/again", json, Some(all.clone())).await;
    assert_eq!((status, said.as_str()), (201, ""));
    assert_eq!(rest(&stack, Method::GET, "/rest/v1/again?order=id", json, None).await, (200, all.clone()));
    for id in 1..=5 {
        let (_, one) = rest(&stack, Method::GET, &format!("/rest/v1/every?id=eq.{id}"), json, None).await;
        let row = one.strip_prefix('[').and_then(|one| one.strip_suffix(']')).unwrap().to_owned();
        let (status, said) = rest(&stack, Method::PATCH, &format!("/rest/v1/again?id=eq.{id}"), json, Some(row)).await;
        assert_eq!((status, said.as_str()), (204, ""), "row {id}");
    }
    assert_eq!(rest(&stack, Method::GET, "/rest/v1/again?order=id", json, None).await, (200, all));

    // Each value is found by its text, as Postgres finds it, or refused as Postgres refuses it.
    for (name, kind) in columns(&mut database).await {
        // Of a composite Postgres reads no text without a type, and the names of `reg…` as numbers: REST reads both.
        if kind == "pair" || kind.starts_with("reg") {
            continue;
        }
        for id in 1..=5 {
            let text = format!("select coalesce({name}::text, 'null') from public.every where id = {id}");
            let text = postgres(&mut database, &text).await.unwrap();
            let literal = format!("'{}'", text.replace('\'', "''"));
            let found = postgres(
                &mut database,
                &format!(
                    "select coalesce(json_agg(id order by id), '[]')::text from public.every where {name} = {literal}"
                ),
            )
            .await;
            let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("select", "id")
                .append_pair("order", "id")
                .append_pair(&name, &format!("eq.{text}"))
                .finish();
            let (status, said) = rest(&stack, Method::GET, &format!("/rest/v1/every?{query}"), json, None).await;
            let said: Value = serde_json::from_str(&said).unwrap();
            match found {
                Ok(ids) => {
                    let ids: Vec<i64> = serde_json::from_str(&ids).unwrap();
                    let rows: Vec<i64> = said
                        .as_array()
                        .unwrap_or_else(|| panic!("{kind} {text}: {said}"))
                        .iter()
                        .map(|row| row["id"].as_i64().unwrap())
                        .collect();
                    assert_eq!(rows, ids, "{kind} {text}");
                }
                Err(code) => assert_eq!(
                    (said["code"].as_str(), status < 500),
                    (Some(code.as_str()), true),
                    "{kind} {text}: {said}"
                ),
            }
        }
    }
    stack.stop().await;
}

#[tokio::test]
async fn every_value_is_told_as_json() {
    let (stack, mut database) = stack().await;
    stack.sql("alter publication supabase_realtime add table public.again").await;
    let url = stack.ready.api_url.replace("http://", "ws://");
    let url = format!("{url}/realtime/v1/websocket?vsn=2.0.0&apikey={}", stack.var(SERVICE));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let changes = json!([{"event": "INSERT", "schema": "public", "table": "again"}]);
    let join = json!(["1", "1", "realtime:types", "phx_join", {"config": {"postgres_changes": changes}, "access_token": stack.var(SERVICE)}]);
    socket.send(Message::text(join.to_string())).await.unwrap();
    let mut next = async |event: &str| loop {
        let heard =
            tokio::time::timeout(Duration::from_secs(30), socket.next()).await.expect("it is heard").unwrap().unwrap();
        let Message::Text(text) = heard else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame[3] == event {
            return frame[4].clone();
        }
    };
    assert_eq!(next("system").await["status"], "ok");
    // What is named by a name is told with its schema.
    postgres(&mut database, "select set_config('search_path', 'pg_catalog', false)").await.unwrap();
    stack.sql("insert into public.again select * from public.every order by id").await;
    for id in 1..=5 {
        let told = next("postgres_changes").await["data"]["record"].take();
        let written = format!("select to_jsonb(e)::text from public.every e where id = {id}");
        let written: Value = serde_json::from_str(&postgres(&mut database, &written).await.unwrap()).unwrap();
        for (name, value) in written.as_object().unwrap() {
            assert_eq!(told[name], *value, "{name} of row {id}");
        }
    }
    stack.stop().await;
}
