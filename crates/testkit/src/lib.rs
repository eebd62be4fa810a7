//! Development only: strict fake servers and fault injection that the generators are tested against.

pub mod kafka;
