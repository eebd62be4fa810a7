//! gen-orders
fn main() {}
