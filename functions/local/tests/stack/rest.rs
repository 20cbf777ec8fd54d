//! REST as supabase-js speaks it, over a real Postgres, through the gateway.

use crate::common::{Stack, answer};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const SCHEMA: &str = r#"
create table public.notes (
  id int primary key, name text, "Mixed Case" text, "a.b" int, data jsonb, owner uuid default auth.uid(), unique (name)
);
alter table public.notes enable row level security;
create policy notes_all on public.notes for all to authenticated, service_role using (true) with check (true);
create policy notes_read on public.notes for select to anon using (true);
create table public.closed (id int primary key);
revoke all on public.closed from anon, authenticated;
create function public.add(a int, b int default 10, c text default 'x') returns int language sql immutable as $$ select a + b $$;
create function public.some_notes(p_from int default 0) returns setof public.notes language sql stable as $$ select * from public.notes where id >= p_from order by id $$;
create function public.one_note(p_id int) returns public.notes language sql stable as $$ select * from public.notes where id = p_id $$;
create function public.nothing() returns void language sql as $$ select $$;
create function public.both(p_id int) returns jsonb language sql stable as $$ select jsonb_build_object('id', p_id, 'list', jsonb_build_array(1, 2)) $$;
create function public.many() returns table (reason text, until timestamptz) language sql stable as $$ select 'why', null::timestamptz $$;
create function public.lost() returns void language plpgsql as $$ begin raise exception using errcode = 'UH002', message = 'lease lost', detail = 'the detail', hint = 'the hint'; end $$;
create function public.gone() returns void language plpgsql as $$ begin raise exception using errcode = 'PT404', message = 'not found', detail = 'd', hint = 'h'; end $$;
create function public.slow() returns void language sql as $$ select pg_sleep(20) $$;
"#;

async fn stack() -> Stack {
    let stack = Stack::start().await;
    stack.sql(SCHEMA).await;
    stack
}

#[tokio::test]
async fn requests_of_supabase_js_insert_and_find_rows() {
    let stack = stack().await;
    let operator = "HUB_OPERATOR_JWT";

    // .insert([{…}, {…}]).select(): the columns are quoted.
    let (status, rows) = answer(
        stack
            .ask_as(operator, Method::POST, "/rest/v1/notes?columns=%22id%22%2C%22name%22%2C%22Mixed+Case%22&select=*")
            .header("prefer", "return=representation")
            .json(&json!([{"id": 1, "name": "a b", "Mixed Case": "x"}, {"id": 2, "name": "c+d", "Mixed Case": "y"}])),
    )
    .await;
    assert_eq!(status, 201, "{rows}");
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(rows[0]["Mixed Case"], "x");

    // .eq('name', 'a b'): URLSearchParams writes a plus. A plus itself is escaped.
    let (_, rows) = answer(stack.ask(Method::GET, "/rest/v1/notes?select=id&name=eq.a+b")).await;
    assert_eq!(rows, json!([{"id": 1}]));
    let (_, rows) = answer(stack.ask(Method::GET, "/rest/v1/notes?select=id&name=eq.c%2Bd")).await;
    assert_eq!(rows, json!([{"id": 2}]));
    let (_, rows) = answer(stack.ask(Method::GET, "/rest/v1/notes?select=id&name=in.(%22a+b%22,%22zzz%22)")).await;
    assert_eq!(rows, json!([{"id": 1}]));
    let (_, rows) =
        answer(stack.ask(Method::GET, "/rest/v1/notes?select=id&or=(name.eq.a+b,id.eq.2)&order=%22id%22.desc")).await;
    assert_eq!(rows, json!([{"id": 2}, {"id": 1}]));

    // .upsert(…, {onConflict: 'name'})
    let (status, rows) = answer(
        stack
            .ask_as(
                operator,
                Method::POST,
                "/rest/v1/notes?on_conflict=%22name%22&columns=%22id%22,%22name%22&select=id,name",
            )
            .header("prefer", "resolution=merge-duplicates,return=representation")
            .json(&json!([{"id": 11, "name": "a b"}])),
    )
    .await;
    assert!(status == 200 || status == 201, "{status} {rows}");
    assert_eq!(rows, json!([{"id": 11, "name": "a b"}]));
    let (status, rows) = answer(
        stack
            .ask_as(operator, Method::POST, "/rest/v1/notes?on_conflict=id")
            .header("prefer", "resolution=ignore-duplicates,return=representation")
            .json(&json!({"id": 11, "name": "other"})),
    )
    .await;
    assert!(status < 300, "{status} {rows}");
    assert_eq!(rows, json!([]));

    // .single(), .maybeSingle()
    let single = "application/vnd.pgrst.object+json";
    let (status, row) =
        answer(stack.ask(Method::GET, "/rest/v1/notes?id=eq.11&select=name").header("accept", single)).await;
    assert_eq!((status, row), (200, json!({"name": "a b"})));
    let (status, row) = answer(stack.ask(Method::GET, "/rest/v1/notes?id=eq.99").header("accept", single)).await;
    assert_eq!((status, row["code"].as_str()), (406, Some("PGRST116")));

    // {count: 'exact', head: true}
    for method in [Method::GET, Method::HEAD] {
        let response =
            stack.ask(method, "/rest/v1/notes?select=*").header("prefer", "count=exact").send().await.unwrap();
        let range = response.headers()["content-range"].to_str().unwrap().to_owned();
        assert!(range.ends_with("/2"), "{range}");
    }
    // .range(0, 0)
    let (_, rows) = answer(stack.ask(Method::GET, "/rest/v1/notes?select=id&order=id.asc&offset=0&limit=1")).await;
    assert_eq!(rows, json!([{"id": 2}]));

    // .update().eq().select(), .delete()
    let (status, rows) = answer(
        stack
            .ask_as(operator, Method::PATCH, "/rest/v1/notes?id=eq.2&select=id,data")
            .header("prefer", "return=representation")
            .json(&json!({"data": {"k": [1, {"deep": true}]}})),
    )
    .await;
    assert_eq!((status, rows), (200, json!([{"id": 2, "data": {"k": [1, {"deep": true}]}}])));
    let (_, rows) = answer(stack.ask(Method::GET, "/rest/v1/notes?select=data->k->0&data->>k=not.is.null")).await;
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    let (status, _) = answer(stack.ask_as(operator, Method::DELETE, "/rest/v1/notes?id=eq.2")).await;
    assert_eq!(status, 204);

    // A duplicate is a conflict with Postgres' own words.
    let (status, error) =
        answer(stack.ask_as(operator, Method::POST, "/rest/v1/notes").json(&json!({"id": 11, "name": "n"}))).await;
    assert_eq!((status, error["code"].as_str()), (409, Some("23505")), "{error}");
    stack.stop().await;
}

#[tokio::test]
async fn functions_answer_in_the_shape_of_what_they_return() {
    let stack = stack().await;
    stack.sql("insert into public.notes (id, name) values (1, 'one'), (2, 'two')").await;
    let rpc = |name: &str, body: Value| {
        stack.ask_as("HUB_OPERATOR_JWT", Method::POST, &format!("/rest/v1/rpc/{name}")).json(&body)
    };

    assert_eq!(answer(rpc("add", json!({"a": 1}))).await, (200, json!(11)), "defaults left out");
    assert_eq!(answer(rpc("add", json!({"a": 1, "b": null}))).await, (200, json!(null)), "a null is a null");
    assert_eq!(answer(rpc("add", json!({"a": 1, "b": 2}))).await, (200, json!(3)));
    assert_eq!(answer(stack.ask(Method::GET, "/rest/v1/rpc/add?a=1&b=5")).await, (200, json!(6)));
    let (status, rows) = answer(rpc("some_notes", json!({}))).await;
    assert_eq!((status, rows.as_array().unwrap().len()), (200, 2));
    let (status, rows) = answer(stack.ask(Method::GET, "/rest/v1/rpc/some_notes?p_from=2&select=name")).await;
    assert_eq!((status, rows), (200, json!([{"name": "two"}])));
    let (status, row) = answer(rpc("one_note", json!({"p_id": 2}))).await;
    assert_eq!((status, &row["name"]), (200, &json!("two")), "a row is an object: {row}");
    let (status, void) = answer(rpc("nothing", json!({}))).await;
    assert!(matches!(status, 200 | 204) && void.is_null(), "{status} {void}");
    assert_eq!(answer(rpc("both", json!({"p_id": 7}))).await, (200, json!({"id": 7, "list": [1, 2]})));
    assert_eq!(answer(rpc("many", json!({}))).await, (200, json!([{"reason": "why", "until": null}])));

    let (status, error) = answer(rpc("lost", json!({}))).await;
    assert_eq!(status, 400, "{error}");
    assert_eq!(error, json!({"code": "UH002", "message": "lease lost", "details": "the detail", "hint": "the hint"}));
    let (status, error) = answer(rpc("gone", json!({}))).await;
    assert_eq!((status, &error["message"]), (404, &json!("not found")), "{error}");
    let (status, error) = answer(rpc("no_such_function", json!({}))).await;
    assert_eq!((status, &error["code"]), (404, &json!("PGRST202")), "{error}");
    stack.stop().await;
}

#[tokio::test]
async fn missing_rights_answer_403_and_401_for_anon() {
    let stack = stack().await;
    let (status, error) = answer(stack.ask_as("HUB_OPERATOR_JWT", Method::GET, "/rest/v1/closed")).await;
    assert_eq!((status, error["code"].as_str()), (403, Some("42501")), "{error}");
    let (status, error) = answer(stack.ask(Method::GET, "/rest/v1/closed")).await;
    assert_eq!((status, error["code"].as_str()), (401, Some("42501")), "{error}");
    // A row level policy refuses with the same code.
    let (status, error) = answer(stack.ask(Method::POST, "/rest/v1/notes").json(&json!({"id": 5}))).await;
    assert_eq!((status, error["code"].as_str()), (401, Some("42501")), "{error}");
    // What a service key may.
    let (status, _) = answer(stack.ask_as("SUPABASE_SERVICE_ROLE_KEY", Method::GET, "/rest/v1/closed")).await;
    assert_eq!(status, 200);
    // A token that is no token, and one of another project.
    let (status, error) = answer(stack.ask(Method::GET, "/rest/v1/notes").bearer_auth("rubbish")).await;
    assert_eq!(status, 401, "{error}");
    let foreign = hub_local::keys::Keys::new(&"x".repeat(64).into(), "elsewhere").api_key("service_role").unwrap();
    let (status, error) = answer(stack.ask(Method::GET, "/rest/v1/closed").bearer_auth(foreign)).await;
    assert_eq!(status, 401, "{error}");
    // Roles have their timeouts: anon 3 s.
    let began = std::time::Instant::now();
    let (status, error) = answer(stack.ask(Method::POST, "/rest/v1/rpc/slow").json(&json!({}))).await;
    assert_eq!(error["code"], "57014", "{status} {error}");
    assert!((2.5..6.0).contains(&began.elapsed().as_secs_f64()));
    stack.stop().await;
}

#[tokio::test]
async fn a_new_table_is_there_at_once_and_after_postgres_was_killed() {
    let stack = stack().await;
    let operator = "HUB_OPERATOR_JWT";
    for round in 0..5 {
        stack.sql(&format!("create table public.fresh_{round} (id int primary key, word text); insert into public.fresh_{round} values (1, 'here')")).await;
        let (status, rows) =
            answer(stack.ask_as(operator, Method::GET, &format!("/rest/v1/fresh_{round}?select=word"))).await;
        assert_eq!((status, rows), (200, json!([{"word": "here"}])), "round {round}");
        stack.sql(&format!("alter table public.fresh_{round} add column more int")).await;
        let path = format!("/rest/v1/fresh_{round}?columns=%22id%22,%22more%22");
        let (status, error) =
            answer(stack.ask_as(operator, Method::POST, &path).json(&json!([{"id": 2, "more": 3}]))).await;
        assert_eq!(status, 201, "{error}");
    }

    let pid: i32 = std::fs::read_to_string(stack.dir.join("postgres/postmaster.pid"))
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let mut well = false;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let after = stack.ask(Method::GET, "/health").send().await.unwrap();
        if after.status() == 200 {
            well = true;
            break;
        }
    }
    assert!(well, "Postgres is started again");
    // The listener, too: a change that nobody asks about is seen by its notification alone. A function that gained a
    // parameter is not a miss, so only the notification can tell.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    stack.sql("create or replace function public.both(p_id int) returns jsonb language sql stable as $$ select '1'::jsonb $$; drop function public.both(int); create function public.both(p_id int) returns setof int language sql stable as $$ select 1 $$").await;
    let mut said = (0, json!(null));
    for _ in 0..300 {
        said = answer(stack.ask_as(operator, Method::POST, "/rest/v1/rpc/both").json(&json!({"p_id": 1}))).await;
        if said.1 == json!([1]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(said, (200, json!([1])), "the schema was read again");
    stack.sql("create table public.after_the_kill (id int)").await;
    let (status, _) = answer(stack.ask_as(operator, Method::GET, "/rest/v1/after_the_kill")).await;
    assert_eq!(status, 200);
    stack.stop().await;
}
