//! The programs against a database of their own: deploying, Koji's commands over HTTP, sweeps, webhooks, what goes out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deploying;
mod functions;
mod outbox;
mod sweeps;
mod webhooks;
