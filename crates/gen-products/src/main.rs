//! The process `gen-products`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datagen_process::main::<gen_products::GenProducts>()
}
