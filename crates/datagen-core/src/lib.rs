//! Makes the records of the data playground: pure functions of a seed and an id, without I/O and without state between records.
//!
//! - [`rng`]: one random number generator per record;
//! - [`locale`]: the Czech fakers and their tables, which the build script makes from `data/`;
//! - [`world`]: the facts about users and products that all generators share, whatever their seeds;
//! - [`model`]: the records and their encoding;
//! - [`text`]: the buffer that records are encoded into.
//!
//! Records know nothing of destinations, and this crate depends on no other crate of the workspace.

#![warn(missing_docs)]

pub mod locale;
pub mod model;
pub mod rng;
pub mod text;
pub mod world;
