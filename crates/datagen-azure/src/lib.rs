//! Microsoft Azure as the generators use it, below any particular service.
//!
//! - [`entra`]: sign-in with Microsoft Entra ID;
//! - [`http`]: the HTTP transport below Azure's SDKs.

#![warn(missing_docs)]

pub mod entra;
pub mod http;
