//! The records: their fields, how they are drawn from `(SEED, kind, id)`, and their encoding.
//!
//! A record is a small value without heap memory: choices from static tables, numbers, and (for texts) the generator
//! that draws the words. Encoding writes it directly into a [`TextBuf`](crate::text::TextBuf); no record allocates.
//! Each JSON record also implements `serde::Serialize` with the same fields, and tests check that `serde_json` writes
//! the same bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod order;
pub mod planted;
pub mod product;
pub mod session;
pub mod user;
pub mod vip;

/// The highest id of any entity: the tables have `int` columns, so ids must fit into signed 32-bit integers.
pub const MAX_ID: u64 = i32::MAX as u64;

/// The version of the data. Every change after which a seed gives different bytes must increase it.
pub const DATA_VERSION: u32 = 3;

/// The model of orders and sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A shop with effects to discover: popular products, good customers, seasons, incidents and others.
    #[default]
    Shop,
    /// Uniform and independent draws, as in data version 2.
    Uniform,
}

impl Profile {
    /// All profiles, the default first.
    pub const ALL: [Self; 2] = [Self::Shop, Self::Uniform];

    /// The profile's name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Uniform => "uniform",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
