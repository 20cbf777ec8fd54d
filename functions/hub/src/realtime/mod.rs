//! Supabase Realtime from a client's end.

pub mod frame;
