//! The HTTP functions: one router, mounted by `hub dev` in its gateway and served alone by `hub serve`.
//!
//! A function verifies who speaks, calls one function of the database in their name, and maps the answer. Rights are the
//! database's to decide.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

mod function;
mod host;
mod limit;
mod listen;
pub mod open_files;
mod openapi;
mod problem;
mod router;
mod serve;
mod settings;
mod token;

pub use crate::{
    host::{Address, Api},
    limit::Limit,
    listen::listen,
    serve::{cors, serve},
    settings::{Lookup, Settings, secrets},
    token::{BadToken, Claims, Verifier},
};
pub use hub_edge::{Problem, Secrets};
