//! The lists of `data/` as constants, made by the build script.

include!(concat!(env!("OUT_DIR"), "/tables.rs"));
