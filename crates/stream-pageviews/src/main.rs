//! The process `stream-pageviews`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datagen_process::main::<stream_pageviews::StreamPageviews>()
}
