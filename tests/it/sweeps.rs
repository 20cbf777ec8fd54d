//! Market sweeps: a real worker, its sources, and what becomes of one that fails.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Form, Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use hub_tests::World;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Query {
    data: String,
}

/// Speaks as an Overpass interpreter does: busy at first, then with places, for a query of the right form.
async fn overpass(State(asked): State<Arc<AtomicUsize>>, Form(query): Form<Query>) -> impl IntoResponse {
    let time = asked.fetch_add(1, Ordering::SeqCst);
    if query.data.contains("\"Nowhere\"") {
        return (StatusCode::BAD_REQUEST, "line 1: parse error".to_owned()).into_response();
    }
    if time == 0 {
        return (StatusCode::TOO_MANY_REQUESTS, "rate_limited".to_owned()).into_response();
    }
    assert!(query.data.starts_with("[out:json]") && query.data.contains(r#"["name"="Red Hook"]"#), "{}", query.data);
    let place = |name: &str| json!({"type": "node", "id": 1, "tags": {"amenity": "bar", "name": name, "addr:street": "Van Brunt Street", "addr:housenumber": "253"}});
    axum::Json(json!({"version": 0.6, "elements": [place("Sunny's"), place("sunny's"), place("Fort Defiance"), {"type": "way", "id": 2}]})).into_response()
}

async fn world() -> World {
    let world = World::new().await;
    hub_migrate::seed(&world.url, &|_| {}).await.unwrap();
    world
}

async fn said(world: &World, command: &'static str) -> String {
    sqlx::query_scalar(
        "select public.hub_execute_command(id, $1) ->> 'text' from public.hub_channels where name = 'leads'",
    )
    .bind(command)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_sweep_is_carried_out_by_a_worker_and_tried_again_when_the_source_is_busy() {
    let world = world().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/api/interpreter", post(overpass)).with_state(Arc::clone(&asked));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let url = format!("http://{address}/api/interpreter");
    let worker = world.worker_with("sweeper", &[], &[("HUB_SWEEP_OVERPASS_URL", &url)]).await;

    assert_eq!(said(&world, "!sweep red hook").await, "Sweep of red hook queued. !sweep-status shows how it goes.");
    world.until_text("select status || attempt from public.koji_sweeps", "queued1").await;
    assert!(said(&world, "!sweep-status").await.contains("queued again after: OpenStreetMap answered 429"));
    // Its time comes at once, and a sweep of another place wakes the worker.
    world.sql("update public.koji_sweeps set run_after = now()").await;
    said(&world, "!sweep Nowhere").await;
    world
        .until_text("select string_agg(status, ',' order by created_at) from public.koji_sweeps", "complete,failed")
        .await;
    let status = said(&world, "!sweep-status").await;
    assert!(status.contains("red hook - complete: 3 found, 2 new (OpenStreetMap, "), "{status}");
    assert!(status.contains("Nowhere - failed: OpenStreetMap answered 400"), "{status}");
    assert!(said(&world, "!lead fort defiance").await.contains("Address: 253 Van Brunt Street"));
    assert_eq!(asked.load(Ordering::SeqCst), 3, "busy, refused for good, found");

    // What is known by now is not new.
    said(&world, "!sweep Red Hook").await;
    world
        .until_text(
            "select string_agg(status || coalesce(added::text, ''), ',' order by created_at) from public.koji_sweeps",
            "complete2,failed,complete0",
        )
        .await;
    worker.stop().await;
    server.abort();
}

#[tokio::test]
async fn a_sweep_reads_a_csv_file_or_names_what_is_missing() {
    let world = world().await;
    let file = world.root().join("leads.csv");
    std::fs::write(&file, "name,city,rating\nBaltazar,Hudson,4.4\nElsewhere,Albany,3\n").unwrap();
    let worker = world.worker_with("csv", &[], &[("HUB_SWEEP_CSV_PATH", file.to_str().unwrap())]).await;
    said(&world, "!sweep hudson").await;
    world.until_text("select status || coalesce(added::text, '') from public.koji_sweeps", "complete1").await;
    worker.stop().await;

    let worker = world.worker_with("none", &[], &[]).await;
    said(&world, "!sweep Albany").await;
    world
        .until_text("select string_agg(status, ',' order by created_at) from public.koji_sweeps", "complete,failed")
        .await;
    let status = said(&world, "!sweep-status").await;
    assert!(status.starts_with("Albany - failed: no source is configured: set HUB_SWEEP_OVERPASS_URL"), "{status}");
    worker.stop().await;
}

#[tokio::test]
async fn a_sweep_of_a_dead_worker_is_taken_by_another() {
    let world = world().await;
    said(&world, "!sweep Troy").await;
    world.sql("select public.hub_claim_sweeps(1, '1 second')").await;
    assert_eq!(world.count_all("select count(*) from public.hub_claim_sweeps()").await, 0, "it is held");
    world.sql("update public.koji_sweeps set lease_expires_at = now() - interval '1 second'").await;
    assert_eq!(world.count_all("select attempt::bigint from public.hub_claim_sweeps()").await, 2);
    let late = world.try_sql("select public.hub_complete_sweep(id, 1, '[]') from public.koji_sweeps").await;
    assert_eq!(late.unwrap_err(), "UH002");
    // Three times and no more.
    for _ in 0..2 {
        world.sql("update public.koji_sweeps set lease_expires_at = now() - interval '1 second'").await;
        world.sql("select public.hub_claim_sweeps()").await;
    }
    assert!(said(&world, "!sweep-status").await.contains("failed: the worker that ran it fell silent, three times"));
}
