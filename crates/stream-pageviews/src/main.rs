//! The process `stream-pageviews`.

use std::process::ExitCode;

/// librdkafka frees on one thread what it allocates on others, five times per message and its headers. The C library's
/// allocator takes half of the time of a stream for that; this one replaces it in C code, too.
#[cfg(feature = "kafka")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    datagen_process::main::<stream_pageviews::StreamPageviews>()
}
