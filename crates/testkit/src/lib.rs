//! Development only: strict fake servers and fault injection that the generators are tested against.

pub mod dfs;
pub mod faults;
pub mod imds;
pub mod kafka;
