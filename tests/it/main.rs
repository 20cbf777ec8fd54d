//! The programs against a database of their own: attempts among many, deploying, looking at a deployment, Koji's commands over HTTP, who comes in
//! at all, hostile input, sweeps, webhooks, what goes out, Discord, what agents get and people read, databases that are not the usual ones, and the
//! program as it is typed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attempts;
mod deploying;
mod discord;
mod doctor;
mod doors;
mod functions;
mod hostile;
mod outbox;
mod shield;
mod sweeps;
mod terminal;
mod told;
mod webhooks;
mod world;
