//! A push, from HTTP to a task: stored before anything else, once however often it comes, and taken up by a real worker, also by
//! one that starts later.

use hub::db::Db;
use hub_api::{Api, Secrets, Verifier};
use hub_tests::World;
use reqwest::{Client, StatusCode};
use tokio_util::sync::CancellationToken;

const PUSH: &str = r#"{"ref":"refs/heads/main","repository":{"full_name":"a/b"},"pusher":{"name":"ada"},"compare":"https://example.com/a/b","commits":[{"message":"Mend the roof"}]}"#;
/// HMAC-SHA256 of it with the secret `s`.
const SIGNATURE: &str = "sha256=9fbba0644b425dd2873ba4926b9e7386a4580d27742f9f3ed1eb7adbb825d8b8";

async fn deliver(url: &str, delivery: &str) -> (StatusCode, bool) {
    let response = Client::new()
        .post(format!("{url}/functions/v1/github-webhook"))
        .header("content-type", "application/json")
        .header("x-hub-signature-256", SIGNATURE)
        .header("x-github-event", "push")
        .header("x-github-delivery", delivery)
        .body(PUSH)
        .send()
        .await
        .unwrap();
    let status = response.status();
    let body: serde_json::Value = response.json().await.unwrap();
    (status, body["duplicate"].as_bool().unwrap())
}

#[tokio::test]
async fn a_push_becomes_one_task_however_often_and_whenever_it_arrives() {
    let world = World::new().await;
    hub_migrate::seed(&world.url, &|_| {}).await.unwrap();
    world
        .sql(
            "insert into public.hub_webhook_rules (server_id, event, repository, branch, channel_id, template)
             select c.server_id, 'push', 'a/*', 'main', c.id, 'Review what {author} pushed to {repository}: {commits}'
               from public.hub_channels c where c.name = 'quick'",
        )
        .await;
    let db = Db::connect(&world.url).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let secrets = Secrets::from(|name| (name == "GITHUB_WEBHOOK_SECRET").then(|| "s".into()));
    let verifier = Verifier::new(&"a secret of at least thirty-two characters".into());
    let serving = tokio::spawn(hub_api::serve(Api::new(db, verifier, secrets), listener, 0, stop.clone()));

    // Nobody keeps time yet: it is stored, and waits.
    assert_eq!(deliver(&url, "one").await, (StatusCode::ACCEPTED, false));
    let again = futures_util::future::join_all((0..20).map(|_| deliver(&url, "one"))).await;
    assert!(again.iter().all(|answer| *answer == (StatusCode::OK, true)), "{again:?}");
    world.until_text("select string_agg(status, ',') from public.hub_webhook_deliveries", "stored").await;

    let worker = world.worker("mac1", &[]).await;
    world.until_text("select string_agg(status, ',') from public.hub_webhook_deliveries", "done").await;
    assert_eq!(world.count_all("select count(*) from public.mac_tasks").await, 1);
    let task = world.one_text("select content from public.mac_tasks").await;
    assert!(task.contains("a/b") && task.contains("Mend the roof") && task.contains("ada"), "{task}");

    // Told of while the worker runs: by NOTIFY.
    assert_eq!(deliver(&url, "two").await, (StatusCode::ACCEPTED, false));
    world.until_text("select string_agg(status, ',') from public.hub_webhook_deliveries", "done,done").await;
    assert_eq!(world.count_all("select count(*) from public.mac_tasks").await, 2);
    worker.stop().await;
    stop.cancel();
    serving.await.unwrap();
}
