//! Faults by name, against real programs: `hub worker` processes, agents that are real processes, a real Postgres.
//! Nothing here waits for a time to pass: it waits for a state, with a bound for a machine that hangs.

#![allow(clippy::unwrap_used)]

mod agents;
mod attempts;
mod away;
mod devices;
mod hosts;
mod listening;
mod logins;
mod migrating;
mod restarts;
mod signed_in;
mod speaking;
mod teams;
mod work;
