//! The hub in Discord: slash commands made from the registry ([`register`]), and a daemon that carries what people write in
//! bridged channels into the hub ([`Daemon`]).
//!
//! What a message becomes is the database's to say; what goes out is the outbox's.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on fails"))]

mod carry;
pub mod commands;
mod daemon;
mod error;
mod event;
pub mod register;
mod rest;
mod settings;

pub use crate::{
    daemon::Daemon,
    error::{Error, Result},
    rest::Discord,
    settings::Settings,
};
