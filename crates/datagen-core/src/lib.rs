//! Generates the records of the data playground as pure functions of a seed and an id, without I/O and without state
//! between records.
//!
//! - [`rng`]: one random number generator per record;
//! - [`locale`]: the Czech fakers and their tables, which the build script generates from `data/`;
//! - [`world`]: the facts about users and products that all generators share, regardless of their seeds;
//! - [`model`]: the records and their encoding;
//! - [`text`]: the buffer into which records are encoded.
//!
//! Records do not depend on destinations, and this crate depends on no other crate of the workspace.

#![warn(missing_docs)]

pub mod locale;
pub mod model;
pub mod rng;
pub mod text;
pub mod world;
