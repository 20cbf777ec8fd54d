//! The functions on AWS Lambda: the router of `hub serve` behind a function URL, one program for all of them.
//!
//! A process answers one request at a time and is frozen between two, so it has one connection to Postgres, best by the transaction pooler (port 6543),
//! and asks it whether it still lives before it is used again. Nothing is prepared in a session that may be another one next time.

use std::sync::Arc;

use axum::{
    extract::Request,
    middleware::{self, Next},
};
use hub::{
    Error,
    config::{environment, file_problem},
    db::Db,
};
use hub_api::{Address, Settings, cors};
use lambda_http::{aws_lambda_events::apigw::ApiGatewayV2httpRequestContext, request::RequestContext, run};
use secrecy::SecretString;

/// A request at a time: more would only take room from other processes.
const CONNECTIONS: u32 = 1;

// Two threads: one for the request, one for what is sent to OpenTelemetry.
#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), lambda_http::Error> {
    let telemetry = Arc::new(hub_telemetry::start("hub-functions", "info"));
    let settings = Settings::read(&environment)?;
    let url = environment("DATABASE_URL").map(SecretString::from).ok_or_else(|| {
        Error::Config(file_problem("DATABASE_URL", &environment).unwrap_or_else(|| {
            "DATABASE_URL is not set: postgres://…, as postgres, by the transaction pooler (port 6543)".into()
        }))
    })?;
    let db = Db::lazy(&url, "hub lambda", CONNECTIONS)?;
    // Connects while Lambda still prepares the first request. One that fails is tried again by that request, which says so.
    tokio::spawn({
        let db = db.clone();
        async move { db.ping().await }
    });
    let flushed = middleware::from_fn(move |request: Request, next: Next| {
        let telemetry = Arc::clone(&telemetry);
        async move {
            let response = next.run(request).await;
            // After the answer the process is frozen.
            telemetry.flush().await;
            response
        }
    });
    let router = settings.over(db).router().layer(cors()).layer(middleware::map_request(addressed)).layer(flushed);
    run(router).await
}

/// Whoever asks, as the function URL knows them.
async fn addressed(mut request: Request) -> Request {
    let address = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(ApiGatewayV2httpRequestContext { http, .. })) => http.source_ip.clone(),
        _ => None,
    };
    if let Some(address) = address {
        request.extensions_mut().insert(Address(address.into()));
    }
    request
}
