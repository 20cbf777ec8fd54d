//! The programs against a database of their own: asks that are answered in chats, attempts among many, deploying, looking at a deployment, Koji's
//! commands over HTTP, who comes in at all, hostile input, sweeps, webhooks, what goes out, Discord, what agents get and people read, talking to
//! tasks that run, databases that are not the usual ones, and the program as it is typed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod asks;
mod attempts;
mod bounds;
mod deploying;
mod discord;
mod doctor;
mod doors;
mod functions;
mod hostile;
mod outbox;
mod shield;
mod sweeps;
mod talking;
mod terminal;
mod told;
mod webhooks;
mod working;
mod world;
