//! What coding agents say, and how to talk to them. Pure: bytes in, events out; commands in, bytes out; a verdict at the end. Nothing
//! here reads a file, a clock or the network, so fixtures, properties and fuzzing hold all of it.
//!
//! A program that speaks is a [`Codec`]. What starts it and carries the bytes is the worker's (`functions/worker`).

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod acp;
pub mod claude;
mod codec;
pub mod codex;
mod dialect;
mod event;
mod failure;
mod known;
mod limits;
mod lines;
mod login;
mod policy;
mod prices;
mod rpc;
mod server;
mod story;
#[cfg(test)]
mod testing;
mod verdict;
mod words;

pub use acp::Acp;
pub use claude::Claude;
pub use codec::{Codec, Command, Decision, Job, Turn};
pub use codex::{Codex, CodexExec};
pub use dialect::Dialect;
pub use event::{Ask, Event, Limit, LimitSource, Step, StepState, Tokens, Window};
pub use known::{Can, KNOWN, Known, version};
pub use policy::Policy;
pub use prices::{Price, Prices, cost};
pub use server::HubServer;
pub use verdict::{Class, End, Figures, How, Verdict};
