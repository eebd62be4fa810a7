//! The settings of the generators: environment variables, each declared once.
//!
//! [`catalog`] is the declaration: one struct per group of settings, made with [`settings!`]. It is the source of
//!
//! - parsing: [`Environment::read`] fills the struct with `envy`, checks each value, and reports everything that is
//!   wrong to [`ConfigurationErrors`], so that a user sees all problems at once;
//! - the texts: `--help`, the table of settings in the documentation, and a machine-readable form ([`render`]);
//! - advice on misspelt names ([`similar`]).
//!
//! [`value`] has the types that a setting can have, [`local_path`](fn@local_path) and [`is_host`] check the form of
//! some texts, and [`Secret`] is text that must never be printed.

#![warn(missing_docs)]

// `settings!` refers to this crate by its name, both inside and outside of it.
extern crate self as datagen_settings;
#[doc(hidden)]
pub use serde;

pub mod catalog;
mod environment;
mod host;
mod local_path;
mod problems;
pub mod render;
mod secret;
pub mod similar;
pub mod value;
mod variable;

pub use environment::{Environment, Settings};
pub use host::is_host;
pub use local_path::local_path;
pub use problems::ConfigurationErrors;
pub use secret::Secret;
pub use value::{TextLine, Value, ValueKind};
pub use variable::{DefaultValue, Variable};
#[doc(hidden)]
pub use variable::{Field, read};
