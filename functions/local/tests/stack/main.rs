//! `hub dev` and its parts, each test on a Postgres of its own. One program for all of them: each one more is linked with the whole stack.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod auth;
mod common;
mod dev;
mod gateway;
mod realtime;
mod rest;
mod rest_attacks;
mod rest_settings;
mod rest_types;
