//! gen-products
fn main() {}
