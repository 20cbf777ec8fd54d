//! Supabase Realtime from a client's end: one socket for many topics, private ones included, that comes back by itself.
//!
//! What is heard is a hint with a number in it. A subscriber fetches after every [`Event::Joined`] and [`Event::Gap`], and then
//! has missed nothing.

mod channel;
mod client;
pub mod frame;
mod queue;
mod session;
mod socket;
#[cfg(test)]
mod tests;

pub use self::{
    client::{Realtime, Subscription, Token, TokenSource, Topic},
    queue::Event,
};
