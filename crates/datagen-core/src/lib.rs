//! Shared by the generators.

#[cfg(feature = "entra")]
pub mod azure_http;
#[cfg(feature = "entra")]
pub mod entra;
