//! The records: what each is, how it is drawn from `(SEED, kind, id)`, and its encoding.
//!
//! A record is a small value without heap memory: choices from static tables, numbers, and (for texts) the
//! generator that draws the words. Encoding writes it straight into a [`TextBuf`](crate::text::TextBuf); no
//! record allocates. Each JSON record also implements `serde::Serialize`, by the same parts: tests hold
//! that `serde_json` writes the same bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod order;
pub mod planted;
pub mod product;
pub mod session;
pub mod user;
pub mod vip;

/// The highest id of any entity: the tables have `int` columns, so that ids must fit 32 bits with a sign.
pub const MAX_ID: u64 = i32::MAX as u64;

/// The version of the data: raised by every change that gives a seed other bytes.
pub const DATA_VERSION: u32 = 3;

/// What the orders and sessions look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A shop with effects to discover: popular products, good customers, seasons, incidents, ….
    #[default]
    Shop,
    /// Uniform and independent draws, as data version 2 had them.
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
