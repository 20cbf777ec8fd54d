//! The programs against a database of their own: deploying, Koji's commands over HTTP, sweeps, webhooks, Discord.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod deploying;
mod discord;
mod functions;
mod sweeps;
mod webhooks;
