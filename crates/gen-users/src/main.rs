//! gen-users
fn main() {}
