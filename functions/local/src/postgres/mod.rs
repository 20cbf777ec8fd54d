//! A Postgres of our own: found or fetched, initialised, started as a child process, stopped with us.

mod cluster;
mod fetch;
mod find;
mod place;

pub use cluster::{Cluster, ClusterOptions, Passwords, connect_options};
pub use fetch::fetch;
pub use find::{Binaries, MAJORS, find};
pub use place::{Owner, Place};
