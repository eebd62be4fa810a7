//! The records: what each is, how it is drawn from `(SEED, kind, id)`, and its encoding.
//!
//! A record is a small value without heap memory: choices from static tables, numbers, and (for texts) the
//! generator that draws the words. Encoding writes it straight into a [`TextBuf`](crate::text::TextBuf); no
//! record allocates. Each JSON record also implements `serde::Serialize`, by the same parts: tests hold
//! that `serde_json` writes the same bytes.

pub mod defaults;
pub mod order;
pub mod product;
pub mod session;
pub mod user;
pub mod vip;

/// The highest id of any entity: the tables have `int` columns, so that ids must fit 32 bits with a sign.
pub const MAX_ID: u64 = i32::MAX as u64;

/// The version of the data: raised by every change that gives a seed other bytes.
pub const DATA_VERSION: u32 = 2;
