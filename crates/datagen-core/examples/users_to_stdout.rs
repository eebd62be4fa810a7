//! Writes COUNT users (the only argument) as JSON lines to standard output, on one thread. `cargo xtask bench`
//! compares its running time with those of programs that use other generators.

use std::io::Write;

use datagen_core::model::user::Users;
use datagen_core::text::TextBuf;

fn main() -> std::io::Result<()> {
    let count = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .expect("an argument: COUNT");
    let users = Users::new(0, count);
    let mut stdout = std::io::stdout().lock();
    let mut buffer = TextBuf::with_capacity(1 << 20);
    for start in (0..count).step_by(1_000) {
        buffer.clear();
        (start..count.min(start + 1_000)).for_each(|id| users.get(id).write_json_line(&mut buffer));
        stdout.write_all(buffer.as_bytes())?;
    }
    Ok(())
}
