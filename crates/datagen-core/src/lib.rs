//! Shared by the generators.
