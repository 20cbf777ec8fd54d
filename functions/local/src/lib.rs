//! One machine's Supabase: an embedded Postgres, sign-in, REST, Realtime and a gateway, and `hub dev` that runs them with a worker.
//!
//! In production all of it is Supabase's own. Nothing of the hub's meaning lives here: that is SQL.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod auth;
mod bounds;
pub mod dev;
mod drain;
mod error;
pub mod files;
pub mod gateway;
pub mod keys;
mod lenient;
pub mod postgres;
pub mod realtime;
pub mod rest;

pub use dev::{DevEvent, DevOptions, Ready, run};
pub use error::{Error, Result};
