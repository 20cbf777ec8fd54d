//! What every program of Aura Hub shares: configuration, errors, one typed call for each SQL function, the same calls
//! through a project's REST URL, and the wake-ups that make polling unnecessary.
//!
//! No decision about tasks is made here: a method calls one function of the contract and reads its answer.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

pub mod api;
pub mod config;
mod contract;
pub mod db;
pub mod error;
pub mod follow;
mod hub;
pub mod patience;
mod pooler;
pub mod realtime;
pub mod text;
pub mod types;
pub mod wake;

pub use crate::{
    config::Config,
    error::{Error, Result},
    hub::Hub,
};
