//! The process `stream-pageviews`.

use std::process::ExitCode;

/// librdkafka allocates memory on some threads and frees it on another, five times per message and its headers. With
/// the C library's allocator, this takes half of the time of a stream; this allocator replaces it in C code, too.
#[cfg(feature = "kafka")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    datagen_process::main::<stream_pageviews::StreamPageviews>()
}
