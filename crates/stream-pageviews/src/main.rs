//! stream-pageviews
fn main() {}
